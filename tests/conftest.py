"""Configure all tests and provide random networks."""

import os

import numpy as np
import pytest
from hypothesis import settings

from paperlib.networks.mlp import MLP

settings.register_profile("paperlib", deadline=None, derandomize=True)
settings.register_profile("long", deadline=None, max_examples=10_000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "paperlib"))


@pytest.fixture(scope="session")
def random_mlp():
    """Return a function (widths, activation, seed) -> MLP. Weights have variance 1 / (units in)."""

    def build(widths, activation="tanh", seed=0):
        rng = np.random.default_rng(seed)
        weights = [
            rng.standard_normal((b, a)) / np.sqrt(a) for a, b in zip(widths, widths[1:])
        ]
        return MLP(
            weights, [0.3 * rng.standard_normal(b) for b in widths[1:]], activation
        )

    return build


collect_ignore = ["long/fuzz_files.py"]  # a script with other requirements


def pytest_ignore_collect(collection_path, config):
    """Ignore the folders `benchmarks` and `long`, unless the command line names them.

    Long tests take minutes, and benchmarks need a machine without other load.
    """
    if collection_path.name in ("benchmarks", "long"):
        return (
            not any(
                collection_path.name in str(argument)
                for argument in config.invocation_params.args
            )
            or None
        )
    return None
