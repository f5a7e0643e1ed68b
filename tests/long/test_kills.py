"""Test that a reproduction that is killed at twenty random moments and run again ends like one without interruption."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import numpy as np

ROOT = Path(__file__).parents[2]
CELLS = """
from paperlib import perturbation, reproduction, targets
from paperlib.learning.training import TrainingConfig

for seed in range(8):
    config = TrainingConfig(
        d=6, hidden=(12, 12), sampling="signed", fit="hessian_vectors", samples=4096, batch=64, steps=640, warmup=50,
        validation=256, sample_seed=seed, seeds=(0, 1),
    )
    series = perturbation.iterative(targets.scattering_length_target(), (config,) * 2, cache=cache)
    for k, ensemble in enumerate(series.ensembles, 1):
        ensemble.save(f"{results}/networks/seed_{seed}_order_{k}.npz")
number = reproduction.Number(series.tensor(2).norm(), "norm")
reproduction.record("01_training", results, numbers={"norm": number}, figures={}, retrained=True)
"""


def checkout(root):
    notebook = nbformat.v4.new_notebook(
        metadata={
            "kernelspec": {"name": "python3", "display_name": "", "language": "python"}
        }
    )
    notebook.cells = [
        nbformat.v4.new_markdown_cell("# Training"),
        nbformat.v4.new_code_cell(
            "results = ''\ncache = ''\nretrain = False",
            metadata={"tags": ["parameters"]},
        ),
        nbformat.v4.new_code_cell(CELLS),
    ]
    (root / "notebooks").mkdir(parents=True)
    (root / "paperlib").mkdir()
    nbformat.write(notebook, root / "notebooks" / "01_training.ipynb")


def start(root, build):
    command = [
        "-m",
        "paperlib",
        "reproduce",
        "--profile",
        "full",
        "--root",
        root,
        "--build",
        build,
    ]
    return subprocess.Popen(
        [sys.executable, *map(str, command)],
        cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)}, start_new_session=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip


def networks(build):
    found = {}
    for path in sorted((build / "full" / "networks").iterdir()):
        with np.load(path) as file:
            found |= {
                f"{path.name} {name}": file[name]
                for name in file.files
                if name != "seconds"
            }
    return found


def test_twenty_kills(tmp_path):
    checkout(tmp_path / "checkout")
    began = time.monotonic()
    undisturbed = start(tmp_path / "checkout", tmp_path / "undisturbed")
    assert "1 failed" in undisturbed.communicate()[0], (
        "nothing is stored to compare with"
    )
    whole = time.monotonic() - began

    chance, killed = random.Random(0), []
    while len(killed) < 20:
        run, wait = (
            start(tmp_path / "checkout", tmp_path / "build"),
            whole * chance.uniform(0.1, 0.9),
        )
        started = time.monotonic()
        while time.monotonic() < started + wait and run.poll() is None:
            time.sleep(0.01)
        if run.poll() is None:
            # Half of the time kill the whole process group, as a power cut would,
            # otherwise only the parent process.
            (os.killpg if chance.random() < 0.5 else os.kill)(run.pid, signal.SIGKILL)
            killed.append(wait)
        # The run had finished: delete most of its results, so that kills reach every
        # part of a run
        else:
            (tmp_path / "build" / "full" / "done.json").unlink()
            for path in list((tmp_path / "build" / "trained").iterdir())[:12]:
                path.unlink()
        run.communicate()
    said = start(tmp_path / "checkout", tmp_path / "build").communicate()[0]
    assert "Traceback" not in said

    expected, found = networks(tmp_path / "undisturbed"), networks(tmp_path / "build")
    assert expected.keys() == found.keys() and len(expected) == 16 * 11
    for name, array in expected.items():
        np.testing.assert_array_equal(found[name], array, err_msg=name)
    files = [path for path in (tmp_path / "build").rglob("*") if path.is_file()]
    assert not [
        path for path in files if path.name.startswith(".part-") or "lock" in path.name
    ]
    time.sleep(3)
    lines = subprocess.run(
        ["ps", "-eo", "args"], capture_output=True, text=True
    ).stdout.splitlines()
    assert not [line for line in lines if str(tmp_path) in line]
