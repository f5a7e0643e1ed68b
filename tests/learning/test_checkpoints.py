"""Test that a stored training resumes bit for bit, and that files of another training are not used."""

import dataclasses
from importlib.util import find_spec

import numpy as np
import pytest
from trainings import SMALL, TARGET, same

from paperlib.learning.targets import Target
from paperlib.learning.training import train_ensemble

if find_spec("tensorflow") is None:
    pytest.skip("training needs the [train] extra", allow_module_level=True)


def test_an_interrupted_training_resumes_bit_for_bit(trained, tmp_path, monkeypatch):
    """The target raises an error in the third epoch, and the training is called again."""
    monkeypatch.setattr("paperlib.learning.training._EVERY", 0)
    calls = []

    def values(U):
        calls.append(len(U))
        if len(calls) == 4 and len(U) == SMALL.samples:
            raise KeyboardInterrupt
        return TARGET.values(U)

    with pytest.raises(KeyboardInterrupt):
        train_ensemble(SMALL, Target(TARGET.name, values), cache=tmp_path / "run")
    (kept,) = (tmp_path / "run").iterdir()
    resumed = train_ensemble(SMALL, TARGET, cache=tmp_path / "run")
    assert same(trained, resumed)
    np.testing.assert_array_equal(trained.loss, resumed.loss)
    np.testing.assert_array_equal(trained.validation, resumed.validation)
    assert [*kept.parent.iterdir()] == [kept]


def test_a_finished_training_is_not_run_again(trained, tmp_path):
    train_ensemble(SMALL, TARGET, cache=tmp_path)

    def never(U):
        assert len(U) == SMALL.validation, (
            "samples were drawn for a training that was complete"
        )
        return TARGET.values(U)

    assert same(
        trained, train_ensemble(SMALL, Target(TARGET.name, never), cache=tmp_path)
    )


def test_another_configuration_is_another_training(tmp_path):
    train_ensemble(SMALL, TARGET, cache=tmp_path)
    train_ensemble(
        dataclasses.replace(SMALL, learning_rate=1e-3), TARGET, cache=tmp_path
    )
    train_ensemble(SMALL, Target("another", TARGET.values), cache=tmp_path)
    assert len([*tmp_path.iterdir()]) == 3


def test_what_was_kept_from_something_else_is_left_with_a_line(
    trained, tmp_path, monkeypatch
):
    """Other values under the same name, other code or a damaged file start the training again, to the right weights."""
    train_ensemble(
        SMALL, Target(TARGET.name, lambda U: 2 * TARGET.values(U)), cache=tmp_path
    )
    (kept,) = tmp_path.iterdir()
    with pytest.warns(
        UserWarning,
        match="^[^\n]*npz: was trained by other code [^\n]*; the training starts again$",
    ):
        assert same(trained, train_ensemble(SMALL, TARGET, cache=tmp_path))
    with monkeypatch.context() as patch:
        patch.setattr("paperlib.learning.checkpoints._CODE", ("learning/soap.py",))
        with pytest.warns(UserWarning, match="was trained by other code"):
            assert same(trained, train_ensemble(SMALL, TARGET, cache=tmp_path))
    train_ensemble(SMALL, TARGET, cache=tmp_path / "whole")
    (whole,) = (tmp_path / "whole").iterdir()
    kept.write_bytes(whole.read_bytes()[:-1000])
    with pytest.warns(
        UserWarning,
        match="^[^\n]*: must be a .npz file; it is damaged[^\n]*; the training starts again$",
    ):
        assert same(trained, train_ensemble(SMALL, TARGET, cache=tmp_path))
