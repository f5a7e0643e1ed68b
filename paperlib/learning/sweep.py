"""Train the points of a grid on this machine or a cluster, and collect a Parquet table.

Each point of the grid is a separate training, on a_0 unless another target is given.
Its row holds the relative errors of the learned tensors, compared with the exact ones.
dask.distributed assigns the points to workers. A row is written as soon as it arrives,
and a second run trains only the points that the table lacks. If a worker dies, its
point is given to another worker, which resumes from the last checkpoint if the two
share a disk.
"""

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from itertools import product
from math import prod
from pathlib import Path
from typing import Any

from paperlib._support import threads, validation
from paperlib._support.files import atomically, read_json
from paperlib.learning import perturbation
from paperlib.learning.config import FIELDS, TrainingConfig
from paperlib.learning.targets import Target, scattering_length_target
from paperlib.physics import born
from paperlib.taylor.symmetric import SymmetricTensor

__all__ = ["Point", "read_grid", "sweep"]

# The fields of a point besides those of its configuration
POINT_FIELDS = ("protocol", "orders")
MAX_POINTS = 100_000


@dataclass(frozen=True)
class Point:
    """One training of a grid.

    Parameters
    ----------
    config : TrainingConfig
        Configuration of the training, or of each order of an iteration.
    protocol : {"direct", "iterative"}
        Protocol of `perturbation` that learns the orders.
    orders : int
        Number of orders to learn, from 1 to 20.

    Raises
    ------
    TypeError
        If a field has the wrong type.
    ValueError
        If a field is out of its range.

    Examples
    --------
    >>> Point(TrainingConfig(hidden=(8,)), "iterative", orders=3).protocol
    'iterative'
    """

    config: TrainingConfig
    protocol: str = "direct"
    orders: int = 2

    def __post_init__(self) -> None:
        validation.instance("config", self.config, TrainingConfig)
        validation.choice("protocol", self.protocol, perturbation.PROTOCOLS)
        validation.integer("orders", self.orders, 1, limit=validation.TENSOR_ORDER)

    @property
    def key(self) -> str:
        """Return the key of the point in a table of trainings on a_0.

        Returns
        -------
        str
            The key, which differs from point to point.

        Examples
        --------
        >>> Point(TrainingConfig(), "iterative", orders=3).key[:12]
        'iterative_3_'
        """
        return _key(self, scattering_length_target())


def _key(point: Point, target: Target) -> str:
    return f"{point.protocol}_{point.orders}_{point.config.fingerprint(target)}"


def read_grid(path: str | Path) -> tuple[Point, ...]:
    """Read a grid of at most 100,000 points from a JSON file.

    The file holds an object with two fields. `grid` maps names to lists of values, and
    every combination of the values is a point. The optional `fixed` maps names to
    values that all points share. A name is a field of TrainingConfig, `protocol` or
    `orders`.

    Parameters
    ----------
    path : str or Path
        The JSON file.

    Returns
    -------
    tuple of Point
        The points of the grid.

    Raises
    ------
    FileNotFoundError
        If the file does not exist.
    ValueError
        If the file does not hold a grid, the grid has too many points, or a field
        cannot have one of its values.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder) / "grid.json"
    ...     _ = path.write_text('{"grid": {"d": [4, 8], "orders": [1, 2]}}')
    ...     [(point.config.d, point.orders) for point in read_grid(path)]
    [(4, 1), (4, 2), (8, 1), (8, 2)]
    """
    grid, fixed = _grid_and_fixed(path, read_json(path))
    points = []
    for values in product(*grid.values()):
        config = fixed | dict(zip(grid, values, strict=True))
        own = {name: config.pop(name) for name in POINT_FIELDS if name in config}
        try:
            points.append(Point(TrainingConfig.from_json("a point", config), **own))
        except (TypeError, ValueError) as error:
            raise ValueError(f"{path}: {error}") from None
    return tuple(points)


def _grid_and_fixed(path: str | Path, content: Any) -> tuple[dict, dict]:
    """Return the two parts of a decoded grid file, with known names and list values."""
    parts: dict = content if isinstance(content, dict) else {}
    grid, fixed = parts.get("grid"), parts.get("fixed", {})
    objects = isinstance(grid, dict) and isinstance(fixed, dict)
    if not (objects and grid and set(parts) <= {"grid", "fixed"}):
        raise ValueError(
            f"{path}: must be an object with `grid`, not empty, and, optionally, "
            f"`fixed`, both objects"
        )
    names = sorted((*FIELDS, *POINT_FIELDS))
    for part, fields in (("grid", grid), ("fixed", fixed)):
        for name in sorted(set(fields) - set(names)):
            raise ValueError(
                f"{path}: {part}: {name}: must be a field among {', '.join(names)}"
            )
    for name, values in grid.items():
        if not isinstance(values, list) or not values:
            raise ValueError(f"{path}: grid: {name}: must be a list of values")
    count = prod(map(len, grid.values()))
    if count > MAX_POINTS:
        raise ValueError(f"{path}: grid: {count} points; must be at most {MAX_POINTS}")
    return grid, fixed


def _row(
    point: Point,
    target: Target,
    exact: Callable[[int, int], SymmetricTensor],
    cache: str | Path,
) -> dict[str, Any]:
    """Train one point and return its row of the table, from column names to cells.

    `target` and `exact` are the arguments of `sweep`. `cache` is the folder that stores
    the trainings.
    """
    config = point.config
    tensors = [exact(order, config.d) for order in range(1, point.orders + 1)]
    series, (errors, _) = perturbation.learn(
        target, config, tensors, point.protocol, cache
    )
    row: dict[str, Any] = {
        "key": _key(point, target),
        "protocol": point.protocol,
        "orders": point.orders,
        **asdict(config),
    }
    for name, value in row.items():
        # A column of a table holds values of one type, so tuples are stored as text.
        if isinstance(value, tuple):
            row[name] = str(list(value))
    row["learning_rate"] = str(row["learning_rate"])
    for order, error in enumerate(errors, 1):
        row[f"relative_error_{order}"] = float(error)
    row["seconds"] = float(sum(each.seconds.sum() for each in series.ensembles))
    return row


def sweep(
    points: Sequence[Point],
    table: str | Path,
    *,
    target: Target | None = None,
    exact: Callable[[int, int], SymmetricTensor] | None = None,
    scheduler: str | None = None,
    log: Callable[[str], object] = print,
) -> Any:
    """Train every point that the table lacks, and return the whole table.

    A point that fails does not stop the other points.

    Parameters
    ----------
    points : sequence of Point
        The points of the grid.
    table : path
        A .parquet file, replaced whenever a row arrives. Trainings are stored in a
        folder beside it.
    target : Target, optional
        The function to learn, which dask must be able to send to its workers. The
        default is the scattering length a_0.
    exact : callable, optional
        Maps an order n and the number of inputs d to the exact tensor of the target.
        It must be given with `target`. The default is `born.born_tensor`.
    scheduler : str, optional
        Address of a dask scheduler. If it is omitted, a cluster of this machine's cores
        is started.
    log : callable
        Function that receives each line of progress.

    Returns
    -------
    pandas.DataFrame
        The table, with one row per point.

    Raises
    ------
    ModuleNotFoundError
        If dask, pandas or pyarrow is not installed.
    RuntimeError
        If points failed. It is raised after all other points are done.
    ValueError
        If only one of `target` and `exact` is given.

    Examples
    --------
    This example needs the extra ``neural-born-series[sweep]``.

    >>> sweep(read_grid("grid.json"), "table.parquet")  # doctest: +SKIP
    """
    try:
        import pandas
        import pyarrow  # noqa: F401 - pandas needs it to write Parquet
        from distributed import Client, LocalCluster, as_completed
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"{error.name}: a sweep needs 'neural-born-series[sweep]'"
        ) from None
    if (target is None) != (exact is None):
        raise ValueError("exact: must be given with target, and only with it")
    function = target or scattering_length_target()
    table = Path(table).resolve()
    rows = pandas.read_parquet(table).to_dict("records") if table.exists() else []
    done = {row["key"] for row in rows}
    wanted = {_key(point, function): point for point in points}
    missing = {key: point for key, point in wanted.items() if key not in done}
    log(f"{len(wanted)} points, {len(wanted) - len(missing)} of them in {table.name}")
    if not missing:
        return pandas.DataFrame(rows)
    failed = []
    local = {"threads_per_worker": 1, "processes": True, "dashboard_address": None}
    with (
        nullcontext(scheduler)
        if scheduler
        else LocalCluster(n_workers=threads.count(), **local) as cluster,
        Client(cluster) as client,
    ):
        cache = str(table.with_suffix(".trained"))
        arguments = function, exact or born.born_tensor, cache
        futures = [
            client.submit(_row, point, *arguments, key=key, retries=1)
            for key, point in missing.items()
        ]
        for number, future in enumerate(as_completed(futures), 1):
            if future.status == "error":
                failed.append(f"{future.key}: {future.exception()}")
                continue
            rows.append(future.result())
            with atomically(table) as part:
                pandas.DataFrame(rows).to_parquet(part)
            log(f"[{number}/{len(missing)}] {future.key}")
    if failed:
        raise RuntimeError(f"{len(failed)} points failed; the first, {failed[0]}")
    return pandas.DataFrame(rows)
