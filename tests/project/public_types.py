"""Assert the types of the public API as a type checker infers them through the lazy imports.

`make lint` checks this file with mypy in strict mode.
"""

from typing import assert_type

import numpy as np

import paperlib
from paperlib import (
    MLP,
    born,
    perturbation,
    pretrained,
    scattering,
    targets,
    taylor,
    training,
)
from paperlib._support.validation import Floats


def public_types() -> None:
    mlp = MLP([np.ones((2, 3)), np.ones((1, 2))], [np.zeros(2), np.zeros(1)], "tanh")
    assert_type(mlp(np.ones(3)), Floats)
    assert_type(taylor.derivative_tensor(mlp, 2), paperlib.SymmetricTensor)
    assert_type(taylor.taylor_expand(mlp, 2), paperlib.TaylorExpansion)
    assert_type(taylor.taylor_expand(mlp, 2).terms([0.1, 0.2, 0.3]), Floats)
    assert_type(born.born_tensor(2, 8), paperlib.SymmetricTensor)
    assert_type(scattering.scattering_length([1.0, 2.0]), Floats)
    target = targets.scattering_length_target()
    assert_type(target, paperlib.Target)
    config = training.TrainingConfig(d=2, steps=1)
    assert_type(training.train_ensemble(config, target), paperlib.Ensemble)
    assert_type(perturbation.iterative(target, [config]), paperlib.LearnedSeries)
    assert_type(pretrained.series("born_signed"), paperlib.LearnedSeries)
