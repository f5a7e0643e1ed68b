"""A grid of trainings, on this machine or on many: dask.distributed spreads them, one parquet table keeps what they give.

Each point of the grid is a training on a_0 of its own; what is recorded is how far its tensors are from the Born series. A
row is written as soon as it arrives, and a second run goes on with the points that the table lacks. A worker that dies loses
nothing: its point is given to another, which goes on from the last epoch where the two share a disk.
"""

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from itertools import product
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from paperlib._support import checks, cores
from paperlib._support.files import atomically, read_json
from paperlib.learning import perturbation, targets
from paperlib.learning.configuration import FIELDS, TrainingConfig
from paperlib.physics import born

__all__ = ["Point", "read_grid", "sweep"]

PROTOCOLS = ("direct", "iterative")
OWN = ("protocol", "orders")  # of a point, beside the fields of its configuration
MOST_POINTS = 100_000


@dataclass(frozen=True)
class Point:
    """One training of a grid; `protocol` is direct or iterative, `orders` how many are learned."""

    config: TrainingConfig
    protocol: str = "direct"
    orders: int = 2

    def __post_init__(self) -> None:
        checks.instance("config", self.config, TrainingConfig)
        checks.choice("protocol", self.protocol, PROTOCOLS)
        checks.integer("orders", self.orders, minimum=1, limit=checks.TENSOR_ORDER)

    @property
    def key(self) -> str:
        """What tells it from others."""
        return f"{self.protocol}_{self.orders}_{self.config.fingerprint(targets.scattering_length_target())}"


def read_grid(path: str | Path) -> tuple[Point, ...]:
    """Read a grid of at most 100,000 points from a JSON file.

    It holds an object with `grid`: name -> list of values, every combination of which is a point; and, if wanted,
    `fixed`: name -> value for all. Names are the fields of TrainingConfig, `protocol` and `orders`. A FileNotFoundError
    if there is no such file; a ValueError if it holds something else, or a value is none that its field may have.
    """
    content = read_json(path)
    grid, fixed = (content.get(name, {}) if isinstance(content, dict) else None for name in ("grid", "fixed"))
    if not (isinstance(grid, dict) and isinstance(fixed, dict) and grid and set(content) <= {"grid", "fixed"}):
        raise ValueError(f"{path}: must be an object with `grid` and, if wanted, `fixed`, both objects")
    known = sorted((*FIELDS, *OWN))
    for name, values in grid.items():
        if name not in known or not isinstance(values, list) or not values:
            raise ValueError(f"{path}: grid: {name}: must be a list of values of a field among {', '.join(known)}")
    if prod(map(len, grid.values())) > MOST_POINTS:
        raise ValueError(f"{path}: grid: {prod(map(len, grid.values()))} points; at most {MOST_POINTS} are made")
    if unknown := sorted(set(fixed) - set(known)):
        raise ValueError(f"{path}: fixed: {unknown[0]}: must be a field among {', '.join(known)}")
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
    """Train one point; its row of the table."""
    target, config = targets.scattering_length_target(), point.config
    if point.protocol == "direct":
        series = perturbation.direct(target, config, point.orders, cache=cache)
    else:
        series = perturbation.iterative(target, (config,) * point.orders, cache=cache)
    exact = [born.born_tensor(n, config.d) for n in range(1, point.orders + 1)]
    errors = perturbation.relative_errors(series, exact)[0]
    # Tuples are written out: a column of a table holds one kind of thing.
    cells = {name: str(list(v)) if isinstance(v, tuple) else v for name, v in asdict(config).items()}
    cells["learning_rate"] = str(cells["learning_rate"])
    learned = {f"relative_error_{n}": float(error) for n, error in enumerate(errors, 1)}
    seconds = float(np.sum([ensemble.seconds.sum() for ensemble in series.ensembles]))
    own = {"key": point.key, "protocol": point.protocol, "orders": point.orders}
    return {**own, **cells, **learned, "seconds": seconds}


def sweep(
    points: Sequence[Point], table: str | Path, *, scheduler: str | None = None, say: Callable[[str], object] = print
) -> Any:
    """Train every point that the table lacks; the whole table as a pandas.DataFrame, one row a point.

    Without dask, pandas or pyarrow a ModuleNotFoundError; a RuntimeError if points failed, after all others are done.

    Parameters
    ----------
    points : sequence of Point
    table : path
        A .parquet file, replaced whenever a row arrives; trainings are kept in a folder beside it.
    scheduler : str, optional
        The address of a dask scheduler; a cluster of this machine's cores is started if none is given.
    say : callable
        Takes a line of progress.
    """
    try:
        import pandas
        import pyarrow  # noqa: F401 - pandas writes parquet by it
        from distributed import Client, LocalCluster, as_completed
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(f"{error.name}: a sweep needs 'neural-born-series[sweep]'") from None
    table = Path(table).resolve()
    rows = pandas.read_parquet(table).to_dict("records") if table.exists() else []
    done = {row["key"] for row in rows}
    wanted = {point.key: point for point in points}
    missing = {key: point for key, point in wanted.items() if key not in done}
    say(f"{len(wanted)} points, {len(wanted) - len(missing)} of them in {table.name}")
    failed = []
    if missing:
        here = {"n_workers": cores.count(), "threads_per_worker": 1, "processes": True, "dashboard_address": None}
        with nullcontext(scheduler) if scheduler else LocalCluster(**here) as cluster, Client(cluster) as client:
            cache = str(table.with_suffix(".trained"))
            futures = [client.submit(_learn, p, cache, key=key, retries=1) for key, p in missing.items()]
            for number, future in enumerate(as_completed(futures), 1):
                if future.status == "error":
                    failed.append(f"{future.key}: {future.exception()}")
                    continue
                rows.append(future.result())
                with atomically(table) as part:
                    pandas.DataFrame(rows).to_parquet(part)
                say(f"[{number}/{len(missing)}] {future.key}")
    if failed:
        raise RuntimeError(f"{len(failed)} points failed; the first, {failed[0]}")
    return pandas.DataFrame(rows)
