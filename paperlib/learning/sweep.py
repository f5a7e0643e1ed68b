"""Learn Taylor series for many configurations, and collect the errors in a table.

A sweep is given as a list of points. A *point* is one configuration of the sweep: the
configuration of the training, the protocol, and the number of orders to learn. For each
point, networks are trained on the target, by default the scattering length a_0. Their
derivatives of order n at zero, divided by n!, are the learned Taylor tensor of order n.
The row of the point in the table holds the relative errors of the learned tensors,
compared with the exact Taylor tensors of the target. The table is a Parquet file.

dask.distributed assigns the points to workers, which are processes of this machine or
of a cluster. The table is written whenever a row arrives, and a second run of the sweep
computes only the points that have no row yet. If a worker dies, its point is assigned
to another worker. That worker resumes from the last checkpoint if both workers can read
the same folder.
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

# The fields of a Point besides `config`
POINT_FIELDS = ("protocol", "orders")
MAX_POINTS = 100_000


@dataclass(frozen=True)
class Point:
    """One configuration of a sweep.

    Parameters
    ----------
    config : TrainingConfig
        Configuration of the training or, for the iterative protocol, of each of its
        trainings.
    protocol : {"direct", "iterative"}
        "direct" trains one ensemble and computes the Taylor tensors of all orders from
        it. "iterative" trains one ensemble for each order, after the learned lower
        orders are subtracted from the target.
    orders : int
        Number of orders to learn, from 1 to 20. The orders are 1, 2, .., `orders`.

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
        """Return the key of the point in the table of a sweep on the default target.

        The default target is the scattering length a_0.

        Returns
        -------
        str
            The protocol, the number of orders, and a hash of the configuration and the
            target's name. Different points have different keys.

        Examples
        --------
        >>> Point(TrainingConfig(), "iterative", orders=3).key[:12]
        'iterative_3_'
        """
        return _key(self, scattering_length_target())


def _key(point: Point, target: Target) -> str:
    """Return the key of a point in the table of a sweep on `target`.

    It is the protocol, the number of orders, and a hash of the configuration and the
    target's name, joined by underscores.
    """
    return f"{point.protocol}_{point.orders}_{point.config.fingerprint(target)}"


def read_grid(path: str | Path) -> tuple[Point, ...]:
    """Read the configurations of a sweep from a JSON file.

    Parameters
    ----------
    path : str or Path
        A JSON file that holds an object with the field `grid` and, optionally, the
        field `fixed`. `grid` is an object that maps names to lists of values. `fixed`
        is an object that maps names to single values. A name is a field of
        TrainingConfig, "protocol" or "orders". If it is in both objects, `grid` counts.

    Returns
    -------
    tuple of Point
        One point for each combination of the values in `grid`, at most 100,000. All
        points have the values of `fixed`, and the defaults of the other fields. The
        values of the last name in `grid` change fastest.

    Raises
    ------
    FileNotFoundError
        If the file does not exist.
    ValueError
        If the file does not hold such an object, has a name that is not allowed or
        more than 100,000 combinations, or if a field does not allow a value.

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
    """Return the objects `grid` and `fixed` of the decoded content of a grid file.

    Raise a ValueError, which begins with `path`, unless all names are fields of
    TrainingConfig or Point, all items of `grid` are lists that are not empty, and the
    number of combinations is at most MAX_POINTS.
    """
    parts: dict = content if isinstance(content, dict) else {}
    grid, fixed = parts.get("grid"), parts.get("fixed", {})
    objects = isinstance(grid, dict) and isinstance(fixed, dict)
    if not (objects and grid and set(parts) <= {"grid", "fixed"}):
        raise ValueError(
            f"{path}: must be an object with a non-empty object `grid` and, "
            "optionally, an object `fixed`"
        )
    names = sorted((*FIELDS, *POINT_FIELDS))
    for part, fields in (("grid", grid), ("fixed", fixed)):
        for name in sorted(set(fields) - set(names)):
            raise ValueError(
                f"{path}: {part}: {name}: must be a field among {', '.join(names)}"
            )
    for name, values in grid.items():
        if not isinstance(values, list) or not values:
            raise ValueError(
                f"{path}: grid: {name}: must be a list of at least one value"
            )
    count = prod(map(len, grid.values()))
    if count > MAX_POINTS:
        raise ValueError(
            f"{path}: grid: has {count} points; must have at most {MAX_POINTS}"
        )
    return grid, fixed


def _row(
    point: Point,
    target: Target,
    exact: Callable[[int, int], SymmetricTensor],
    cache: str | Path,
) -> dict[str, Any]:
    """Learn the Taylor tensors for one point, and return its row of the table.

    `target` is the function to learn. `exact` maps an order n and the number of inputs
    d to the Taylor tensor of the target at zero. `cache` is the folder that stores the
    trainings. The row is a dict from names of columns to values: the key of the point;
    the protocol, the number of orders and the fields of the configuration; in
    "relative_error_n" the relative error, in the Frobenius norm, of the learned tensor
    of order n, for each n, where the mean of the members' tensors is compared with the
    exact tensor; and in
    "seconds" the wall time of the trainings.
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
        # The values of a column must have one type, so tuples are stored as text, and
        # so is the learning rate, which is a number or a tuple.
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
    """Compute the points that have no row in the table yet, and return the whole table.

    For each point, the Taylor tensors of the target are learned and compared with the
    exact ones. A point that fails does not stop the other points.

    Parameters
    ----------
    points : sequence of Point
        The configurations of the sweep.
    table : path
        The .parquet file of the table. If it exists, its rows are read first, and
        points that have a row are not computed again. The file is replaced whenever a
        row arrives. The trainings are stored in a folder of the same name with the
        ending ".trained".
    target : Target, optional
        The function to learn, which dask must be able to pickle. The default is the
        scattering length a_0.
    exact : callable, optional
        Maps an order n and the number of inputs d to the SymmetricTensor of the
        target's n-th derivatives at zero, divided by n!. It must be given if `target`
        is given, and only then. The default is `born.born_tensor`, the Born series of
        a_0.
    scheduler : str, optional
        Address of a running dask scheduler. If it is omitted, workers are started on
        this machine, one for each available core, and stopped at the end.
    log : callable
        Function that receives one line of text when the sweep starts, and one for each
        row that arrives.

    Returns
    -------
    pandas.DataFrame
        The table with one row for each computed point, including rows that the file
        already held. The columns are "key", "protocol", "orders", the fields of the
        configuration, "relative_error_n" for each order n, and "seconds", the wall time
        of the point's trainings. Tuples and the learning rate are text.

    Raises
    ------
    ModuleNotFoundError
        If dask, pandas or pyarrow is not installed.
    RuntimeError
        If points failed, after all other points are computed. A point is tried twice.
    ValueError
        If `target` is given without `exact`, or `exact` without `target`.

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
