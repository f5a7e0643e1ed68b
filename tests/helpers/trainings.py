"""Define a training of a few seconds that several test files use. The fixture `trained` is its ensemble."""

import numpy as np

from paperlib.learning.targets import scattering_length_target
from paperlib.learning.training import TrainingConfig

SMALL = TrainingConfig(
    d=6,
    hidden=(12, 12),
    activation="gelu",
    samples=2048,
    batch=32,
    steps=320,
    warmup=10,
    learning_rate=1e-2,
    validation=64,
    seeds=(3, 5),
    optimizer="adam",
)


TARGET = scattering_length_target()


def same(one, other):
    return all(
        np.array_equal(a, b)
        for m, n in zip(one.members, other.members, strict=True)
        for a, b in zip(m.weights + m.biases, n.weights + n.biases, strict=True)
    )
