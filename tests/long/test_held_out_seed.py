"""Seeds that nobody tuned on: notebook 03's single network, of other samples and other first weights, half a minute of training."""

from pathlib import Path

import pytest

from paperlib import born, perturbation, targets
from paperlib.companion.reproduction import read_record
from paperlib.learning.training import TrainingConfig

STORED = Path(__file__).parents[2] / "figures" / "numbers" / "03_training_mlps.json"


@pytest.mark.parametrize("seed", [4711, 271828])
def test_it_reaches_the_stored_accuracy(seed):
    config = TrainingConfig(kind="signed", fit="hessian_vectors", steps=6_000, sample_seed=seed, seeds=(seed,))
    series = perturbation.direct(targets.scattering_length_target(), config, 4)
    errors = perturbation.relative_errors(series, [born.born_tensor(n, 64) for n in (1, 2, 3, 4)])[0]
    numbers = read_record(STORED).numbers
    print(errors)
    for n, error in enumerate(errors, 1):
        number = numbers[f"one_network_born_{n}_error"]
        assert error <= number.at_most and error <= number.value + number.spread
