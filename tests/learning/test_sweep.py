"""Test a grid on a real scheduler with two worker processes, one of them killed."""

import json
import os
import signal
import sys
import threading
import time

import numpy as np
import pytest

from paperlib import born, sweep, targets
from paperlib.__main__ import main

pytest.importorskip("tensorflow", reason="training needs the [train] extra")
pandas = pytest.importorskip("pandas", reason="sweeps need the [sweep] extra")
distributed = pytest.importorskip("distributed", reason="sweeps need the [sweep] extra")

FIXED = {
    "d": 4,
    "sampling": "signed",
    "samples": 256,
    "batch": 32,
    "steps": 64,
    "warmup": 8,
    "validation": 64,
    "seeds": [0],
}


GRADIENTS = {"fit": "gradients", "optimizer": "adam"}


def write(path, **content):
    path.write_text(json.dumps(content))
    return path


def row(point, cache):
    target = targets.scattering_length_target()
    return sweep._row(point, target, born.born_tensor, cache)


@pytest.fixture(scope="module")
def cluster():
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None
    ) as running:
        yield running


def test_every_combination_is_a_point(tmp_path):
    path = write(
        tmp_path / "grid.json",
        fixed=FIXED,
        grid={"hidden": [[4], [8]], "protocol": ["direct", "iterative"]},
    )
    points = sweep.read_grid(path)
    assert {(point.config.hidden, point.protocol) for point in points} == {
        ((4,), "direct"), ((8,), "direct"), ((4,), "iterative"), ((8,), "iterative"),
    }  # fmt: skip
    assert len({point.key for point in points}) == 4


def test_a_killed_worker_loses_nothing_and_a_second_run_goes_on(tmp_path, cluster):
    table = tmp_path / "table.parquet"
    grid = {"hidden": [[4], [8], [12], [16]], "protocol": ["direct"]}
    points = sweep.read_grid(write(tmp_path / "grid.json", fixed=FIXED, grid=grid))
    address = cluster.scheduler_address
    first = sweep.sweep(points[:1], table, scheduler=address, log=lambda line: None)
    assert len(first) == 1
    said, killed = [], []

    def kill():
        # The first line reports the number of points, the second the first result
        while len(said) < 2:
            time.sleep(0.02)
        killed.append(next(iter(cluster.workers.values())).pid)
        os.kill(killed[0], signal.SIGKILL)

    executioner = threading.Thread(target=kill)
    executioner.start()
    found = sweep.sweep(points, table, scheduler=address, log=said.append)
    executioner.join()
    assert killed and said[0] == "4 points, 1 of them in table.parquet"
    stored = pandas.read_parquet(table)
    assert (
        sorted(stored["key"])
        == sorted(found["key"])
        == sorted(point.key for point in points)
    )
    here = [row(point, tmp_path / "here")["relative_error_1"] for point in points]
    there = stored.set_index("key").loc[
        [point.key for point in points], "relative_error_1"
    ]
    np.testing.assert_allclose(there, here, rtol=1e-3)
    # The second run keeps the row of the first one instead of computing it again.
    assert (
        stored.loc[stored["key"] == points[0].key, "seconds"].item()
        == first["seconds"].item()
    )
    again = []
    sweep.sweep(points, table, scheduler=address, log=again.append)
    assert again == ["4 points, 4 of them in table.parquet"]


def test_a_point_that_fails_is_named_when_the_others_are_done(tmp_path, cluster):
    grid = {"learning_rate": [1e-3, 1e30]}
    points = sweep.read_grid(
        write(tmp_path / "grid.json", fixed=FIXED | {"hidden": [4]}, grid=grid)
    )
    with pytest.raises(
        RuntimeError, match="^1 points failed; the first, direct_2_.*diverged"
    ):
        sweep.sweep(
            points,
            tmp_path / "t.parquet",
            scheduler=cluster.scheduler_address,
            log=lambda line: None,
        )
    assert len(pandas.read_parquet(tmp_path / "t.parquet")) == 1


def test_another_target_has_its_own_rows_and_exact_tensors(tmp_path, cluster):
    def exact(order, dim):
        return born.born_tensor(order, dim) * 2

    target = targets.polynomial([exact(n, 4) for n in (1, 2)])
    grid = {"hidden": [[8]], "steps": [400], "warmup": [20], "learning_rate": [1e-2]}
    points = sweep.read_grid(
        write(tmp_path / "g.json", fixed={**FIXED, **GRADIENTS}, grid=grid)
    )
    common = {"scheduler": cluster.scheduler_address, "log": lambda line: None}
    table = tmp_path / "t.parquet"
    found = sweep.sweep(points, table, target=target, exact=exact, **common)
    assert found["relative_error_1"].item() < 0.2, "compared with a_0 it would be 1"
    assert found["key"].item() != points[0].key
    for only in ({"target": target}, {"exact": exact}):
        with pytest.raises(ValueError, match="^exact: must be given with target"):
            sweep.sweep(points, table, **only, **common)


def test_from_the_command_line(tmp_path, cluster):
    path = write(
        tmp_path / "grid.json",
        fixed=FIXED | {"hidden": [4]},
        grid={"protocol": ["direct", "iterative"]},
    )
    table = tmp_path / "t.parquet"
    assert (
        main(
            [
                "sweep",
                str(path),
                "--table",
                str(table),
                "--scheduler",
                cluster.scheduler_address,
            ]
        )
        == 0
    )
    found = pandas.read_parquet(table).set_index("protocol")["relative_error_2"]
    for point in sweep.read_grid(path):
        here = row(point, tmp_path / "here")["relative_error_2"]
        np.testing.assert_allclose(found[point.protocol], here, rtol=1e-3)


def test_without_the_extra_it_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(
        ModuleNotFoundError,
        match=r"^pandas: a sweep needs 'neural-born-series\[sweep\]'$",
    ):
        sweep.sweep((), tmp_path / "t.parquet")


@pytest.mark.parametrize(
    "content, message",
    [
        ([1], "must be an object with a non-empty object `grid`"),
        ({"fixed": {}}, "must be an object with a non-empty object `grid`"),
        (
            {"grid": {"widht": [1]}},
            "grid: widht: must be a field among",
        ),
        ({"grid": {"d": 4}}, "grid: d: must be a list"),
        (
            {"grid": {"d": [4]}, "fixed": {"protocl": 1}},
            "fixed: protocl: must be a field among",
        ),
        ({"grid": {"d": [0]}}, "d = 0: must be an integer >= 1"),
        ({"grid": {"protocol": ["both"]}}, "protocol = 'both': must be one of"),
    ],
)
def test_bad_grids(tmp_path, capsys, content, message):
    path = tmp_path / "grid.json"
    path.write_text(json.dumps(content))
    assert main(["sweep", str(path), "--table", str(tmp_path / "t.parquet")]) == 2
    assert message in capsys.readouterr().err
