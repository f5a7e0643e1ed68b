"""Test seeds that nobody tuned on, by training one network as in notebook 06 with other samples and initial weights.

A training takes a minute.
"""

from pathlib import Path

import pytest

from paperlib import born, perturbation, targets
from paperlib.companion.reproduction import read_record
from paperlib.learning.training import TrainingConfig

STORED = (
    Path(__file__).parents[2] / "figures" / "numbers" / "06_taylor_versus_born.json"
)


@pytest.mark.parametrize("seed", [4711, 271828])
def test_it_reaches_the_stored_accuracy(seed):
    config = TrainingConfig(
        sampling="signed",
        fit="hessian_vectors",
        steps=8_000,
        sample_seed=seed,
        seeds=(seed,),
    )
    series = perturbation.direct(targets.scattering_length_target(), config, 3)
    errors = perturbation.relative_errors(
        series, [born.born_tensor(n, 64) for n in (1, 2, 3)]
    )[0]
    numbers = read_record(STORED).numbers
    print(errors)
    for n, error in enumerate(errors, 1):
        assert error <= numbers[f"taylor_born_{n}_relative_error"].at_most
