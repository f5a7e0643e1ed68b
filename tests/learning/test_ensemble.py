"""Test ensembles: the checks of their parts, independence of the arguments, and files that are complete or rejected."""

from importlib.util import find_spec

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles import refusal
from trainings import same

from paperlib import potentials
from paperlib._support.files import write_npz
from paperlib.learning.ensemble import Ensemble
from paperlib.networks.mlp import MLP


@given(st.data())
@settings(max_examples=60)
def test_damaged_ensembles_are_refused(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("damaged") / "file.npz"
    network = MLP([[[1.0, 2.0]], [[1.0]]], [[0.5], [0.0]], "tanh")
    Ensemble((network,), (0,), np.ones((3, 1)), np.ones((3, 1)), np.ones(3)).save(path)
    whole = path.read_bytes()
    path.write_bytes(whole[: data.draw(st.integers(0, len(whole) - 1))])
    with pytest.raises(ValueError, match="^[^\n]*file.npz[^\n]*$"):
        Ensemble.load(path)


GOOD = {
    "members": (MLP([[[1.0, 2.0]]], [[0.5]], "tanh"),) * 2,
    "seeds": (0, 1),
    "loss": np.ones((3, 2)),
    "validation": np.ones((3, 2)),
    "seconds": np.ones(3),
}


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"members": ()}, r"members = \(\): must be one MLP or more"),
        ({"members": ("text",)}, r"members\[0\]: str given; must be of type MLP"),
        (
            {"members": (GOOD["members"][0], MLP([[[1.0]]], [[0.5]], "tanh"))},
            r"members\[1\]: must have the shape and .*",
        ),
        ({"loss": np.ones(3)}, r"loss: shape \(3,\); must be \(epochs, members\)"),
        (
            {"seeds": (0,)},
            r"seeds = \(0,\): seeds, loss and validation must have one entry for each of 2 members",
        ),
        (
            {"seeds": (0, 1.5)},
            rf"seeds\[1\] = 1.5: must be an integer from {-(2**63)} to {2**63 - 1}",
        ),
        (
            {"seeds": (0, 2**63)},
            rf"seeds\[1\] = {2**63}: must be an integer from {-(2**63)} to {2**63 - 1}",
        ),
        (
            {"seconds": np.ones(2)},
            "seconds, loss and validation: have 2, 3 and 3 epochs; must have the same number",
        ),
    ],
)
def test_parts_of_an_ensemble_fit_together(changes, message):
    assert Ensemble(**GOOD).seeds == (0, 1)
    with pytest.raises(refusal(message), match=f"^{message}$"):
        Ensemble(**GOOD | changes)


def test_an_ensemble_does_not_follow_the_arrays_and_lists_it_was_given():
    curves = {
        name: np.ones_like(GOOD[name]) for name in ("loss", "validation", "seconds")
    }
    members, seeds = list(GOOD["members"]), list(GOOD["seeds"])
    ensemble = Ensemble(**GOOD | curves | {"members": members, "seeds": seeds})
    members.clear()
    seeds.clear()
    for name, curve in curves.items():
        curve[:] = 0
        assert (getattr(ensemble, name) == 1).all()
        with pytest.raises(ValueError, match="read-only"):
            getattr(ensemble, name)[:] = 0
    assert len(ensemble.members) == len(ensemble.seeds) == 2


def test_an_archive_of_other_arrays_is_no_ensemble(tmp_path):
    write_npz(
        tmp_path / "a.npz",
        format=np.array("ensemble"),
        seeds=np.arange(2),
        loss=np.ones((1, 2)),
    )
    with pytest.raises(ValueError, match="^[^\n]*a.npz[^\n]*$"):
        Ensemble.load(tmp_path / "a.npz")


@pytest.mark.skipif(
    find_spec("tensorflow") is None, reason="training needs the [train] extra"
)
def test_save_and_load(trained, tmp_path):
    trained.save(tmp_path / "ensemble.npz")
    again = Ensemble.load(tmp_path / "ensemble.npz")
    assert same(trained, again)
    assert again.seeds == trained.seeds
    U = potentials.sample(5, 6, depth=1.0, seed=0)
    np.testing.assert_array_equal(again.mean(U), trained.mean(U))
    np.testing.assert_array_equal(again.std(U), trained.std(U))
