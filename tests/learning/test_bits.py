"""Test that deterministic mode trains to the same bits on every machine, by comparison with stored hashes."""

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from paperlib.__main__ import main
from paperlib._support import determinism
from paperlib.companion.pretrained import manifest
from paperlib.learning.checkpoints import Checkpoint

if find_spec("tensorflow") is None:
    pytest.skip("training needs the [train] extra", allow_module_level=True)

BITS = Path(__file__).parents[1] / "helpers" / "bits.py"
STATED = """
values,adam,2,16,32,8,12,1 59e7d0ff6634 9be3ef3d3938
values,muon,2,16,32,8,12,1 462f92e18a58 bca8607ae795
values,soap,2,16,32,8,12,1 707baaeac1d1 0dd5f2cbe5ea
gradients,adam,2,16,32,8,12,1 a038cb2d9a4e 988e23ee1d9e
gradients,muon,2,16,32,8,12,1 92bf0cbb0ddb 35347f9ea845
gradients,soap,2,16,32,8,12,1 5f776b459ae6 4f0451284249
hessian_vectors,adam,2,16,32,8,12,1 6cd5e69681e2 e35b4da0fc94
hessian_vectors,muon,2,16,32,8,12,1 39399cbd6f15 0ff52a7d8843
hessian_vectors,soap,2,16,32,8,12,2 11afc190ce2b 56c40aa1e7cd 717bed9ec8c2 601d8c376021
third_derivatives,adam,2,16,32,8,12,1 6f132efb3c88 97fc3f976dee
third_derivatives,muon,2,16,32,8,12,1 7e08ecd965cc a0f7a8ee6dba
third_derivatives,soap,2,16,32,8,12,1 76703135ce2b a9bffa7f3ee5
"""


HERE = determinism.impossible()


def run(*command, **variables):
    """Run this interpreter with the arguments, outside deterministic mode, and return its stdout and stderr."""
    plain = {
        name: value
        for name, value in os.environ.items()
        if name not in determinism.FIXED
    }
    done = subprocess.run(
        [sys.executable, *map(str, command)],
        capture_output=True,
        text=True,
        env=plain | variables,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout, done.stderr


@pytest.mark.skipif(bool(HERE), reason=HERE)
def test_each_fit_and_optimizer_trains_to_the_bits_that_are_stated():
    stated = STATED.strip().split("\n")
    cases = [line.split()[0] for line in stated]
    assert (
        run("-m", "paperlib", "deterministic", sys.executable, BITS, *cases)[0]
        .strip()
        .split("\n")
        == stated
    )


@pytest.mark.skipif(bool(HERE), reason=HERE)
def test_training_begins_in_it_and_a_users_own_settings_give_way(tmp_path):
    """A training writes the same file under contrary settings, and reports each overridden setting in one line."""
    (tmp_path / "mine.json").write_text(json.dumps({"d": 4, "sampling": "signed", "hidden": [8], "steps": 16, "warmup": 2, "samples": 64,
                                                    "batch": 16, "validation": 16, "seeds": [0], "optimizer": "adam"}))  # fmt: skip
    command = ("-m", "paperlib", "train", tmp_path / "mine.json", "--output")
    _, said = run(*command, tmp_path / "plain")
    assert not said
    given = {
        "XLA_FLAGS": "--xla_cpu_max_isa=SSE4_2",
        "TF_NUM_INTRAOP_THREADS": "4",
        "OPENBLAS_NUM_THREADS": "2",
    }
    _, said = run(*command, tmp_path / "asked", **given)
    lines = said.strip().split("\n")
    assert len(lines) == 3 and all("is replaced by" in line for line in lines)
    one, other = (
        manifest.digest(tmp_path / name / "order_1.npz") for name in ("plain", "asked")
    )
    assert one == other


def test_a_training_elsewhere_says_so_once_in_a_line():
    code = "import paperlib.learning.training as t, warnings; warnings.simplefilter('always'); "
    code += "[t._warn_of_other_bits() for _ in range(3)]"
    (line,) = [line for line in run("-c", code)[1].split("\n") if "UserWarning" in line]
    assert "the trained bits depend on this machine: " in line
    if not HERE:
        held = run("-m", "paperlib", "deterministic", sys.executable, "-c", code)
        assert held == ("", "")


def test_importing_the_library_sets_nothing():
    code = "import os, paperlib, paperlib.physics.born, paperlib.learning.training; print(*os.environ)"
    assert not set(run("-c", code)[0].split()) & determinism.FIXED.keys()


def test_where_it_cannot_be_held_nothing_is_set(monkeypatch):
    """One line names the reason: a processor without AVX2, another architecture or another TensorFlow."""

    def said():
        determinism.departures.cache_clear()
        lines = []
        assert determinism.environment(
            {"HOME": "x", "XLA_FLAGS": "mine"}, lines.append
        ) == {
            "HOME": "x",
            "XLA_FLAGS": "mine",
        }
        (line,) = lines
        assert determinism.departures() in line and "\n" not in line
        return line

    with monkeypatch.context() as patch:
        patch.setattr(determinism.platform, "machine", lambda: "aarch64")
        assert "has no AVX2" in said()
    with monkeypatch.context() as patch:
        patch.setattr(determinism, "_SIMD", {"baseline": ["X86_V2"]})
        assert "has no AVX2" in said()
    if not HERE:
        monkeypatch.setattr(determinism, "version", lambda name: "2.19.1")
        assert "TensorFlow 2.19.1 is not supported" in said()
    determinism.departures.cache_clear()


def test_a_checkpoint_of_another_arithmetic_is_not_gone_on_with(monkeypatch, tmp_path):
    values = np.zeros(2)
    monkeypatch.setattr(determinism, "departures", lambda: "")
    held = Checkpoint.of(tmp_path, "f", values)
    monkeypatch.setattr(
        determinism, "departures", lambda: "a processor of another kind"
    )
    assert Checkpoint.of(tmp_path, "f", values).origin != held.origin


def test_the_table_is_shown_with_its_reasons(capsys):
    assert main(["deterministic"]) == 0
    shown = capsys.readouterr().out
    assert all(
        f"{name}={value}\n" in shown for name, value in determinism.FIXED.items()
    )
    assert determinism.FIXED.keys() == determinism.WHY.keys() and all(
        determinism.WHY.values()
    )
