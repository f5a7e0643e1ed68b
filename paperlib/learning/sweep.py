"""Train the points of a grid on this machine or on a cluster, and collect the results in one Parquet table.

Each point of the grid is a separate training on a_0. Its row holds the relative errors of the learned tensors, compared
with the Born series. dask.distributed assigns the points to workers. A row is written as soon as it arrives, and a
second run trains only the points that the table lacks. If a worker dies, its point is given to another worker, which
resumes from the last checkpoint if the two share a disk.
"""

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from itertools import product
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from paperlib._support import threads, validation
from paperlib._support.files import atomically, read_json
from paperlib.learning import perturbation, targets
from paperlib.learning.config import FIELDS, TrainingConfig
from paperlib.physics import born

__all__ = ["Point", "read_grid", "sweep"]

PROTOCOLS = ("direct", "iterative")
# The fields of a point that are not fields of its configuration
OWN = ("protocol", "orders")
MOST_POINTS = 100_000


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
        validation.choice("protocol", self.protocol, PROTOCOLS)
        validation.integer(
            "orders", self.orders, minimum=1, limit=validation.TENSOR_ORDER
        )

    @property
    def key(self) -> str:
        """Return the key of the point in the table, which differs from point to point."""
        return f"{self.protocol}_{self.orders}_{self.config.fingerprint(targets.scattering_length_target())}"


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
    ...     _ = path.write_text('{"grid": {"d": [4, 8], "orders": [1, 2]}, "fixed": {"hidden": [8]}}')
    ...     [(point.config.d, point.orders) for point in read_grid(path)]
    [(4, 1), (4, 2), (8, 1), (8, 2)]
    """
    content = read_json(path)
    grid, fixed = (
        content.get(name, {}) if isinstance(content, dict) else None
        for name in ("grid", "fixed")
    )
    if not (
        isinstance(grid, dict)
        and isinstance(fixed, dict)
        and grid
        and set(content) <= {"grid", "fixed"}
    ):
        raise ValueError(
            f"{path}: must be an object with `grid` and, if wanted, `fixed`, both objects"
        )
    known = sorted((*FIELDS, *OWN))
    for name, values in grid.items():
        if name not in known or not isinstance(values, list) or not values:
            raise ValueError(
                f"{path}: grid: {name}: must be a list of values of a field among {', '.join(known)}"
            )
    if prod(map(len, grid.values())) > MOST_POINTS:
        raise ValueError(
            f"{path}: grid: {prod(map(len, grid.values()))} points; at most {MOST_POINTS} are made"
        )
    if unknown := sorted(set(fixed) - set(known)):
        raise ValueError(
            f"{path}: fixed: {unknown[0]}: must be a field among {', '.join(known)}"
        )
    points = []
    for values in product(*grid.values()):
        named = fixed | dict(zip(grid, values, strict=True))
        own = {name: named.pop(name) for name in OWN if name in named}
        try:
            points.append(Point(TrainingConfig.from_json("a point", named), **own))
        except (TypeError, ValueError) as error:
            raise ValueError(f"{path}: {error}") from None
    return tuple(points)


def _learn(point: Point, cache: str) -> dict[str, Any]:
    """Train one point and return its row of the table, a dict from column names to cells.

    `cache` is the folder that stores the trainings.
    """
    target, config = targets.scattering_length_target(), point.config
    if point.protocol == "direct":
        series = perturbation.direct(target, config, point.orders, cache=cache)
    else:
        series = perturbation.iterative(target, (config,) * point.orders, cache=cache)
    exact = [born.born_tensor(n, config.d) for n in range(1, point.orders + 1)]
    errors = perturbation.relative_errors(series, exact)[0]
    # A column of a table holds values of one type, so tuples are stored as text.
    cells = {
        name: str(list(v)) if isinstance(v, tuple) else v
        for name, v in asdict(config).items()
    }
    cells["learning_rate"] = str(cells["learning_rate"])
    learned = {f"relative_error_{n}": float(error) for n, error in enumerate(errors, 1)}
    seconds = float(np.sum([ensemble.seconds.sum() for ensemble in series.ensembles]))
    own = {"key": point.key, "protocol": point.protocol, "orders": point.orders}
    return {**own, **cells, **learned, "seconds": seconds}


def sweep(
    points: Sequence[Point],
    table: str | Path,
    *,
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
    table = Path(table).resolve()
    rows = pandas.read_parquet(table).to_dict("records") if table.exists() else []
    done = {row["key"] for row in rows}
    wanted = {point.key: point for point in points}
    missing = {key: point for key, point in wanted.items() if key not in done}
    log(f"{len(wanted)} points, {len(wanted) - len(missing)} of them in {table.name}")
    failed = []
    if missing:
        here = {
            "n_workers": threads.count(),
            "threads_per_worker": 1,
            "processes": True,
            "dashboard_address": None,
        }
        with (
            nullcontext(scheduler) if scheduler else LocalCluster(**here) as cluster,
            Client(cluster) as client,
        ):
            cache = str(table.with_suffix(".trained"))
            futures = [
                client.submit(_learn, p, cache, key=key, retries=1)
                for key, p in missing.items()
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
