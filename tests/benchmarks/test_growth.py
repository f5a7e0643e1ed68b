"""How costs grow, with the order, the inputs, the width, the members and the potentials: `pytest tests/benchmarks/test_growth.py`.

Networks d-64-64-64-1, tanh, double precision, unless the test says otherwise.
"""

import numpy as np
import pytest

from paperlib import potentials, scattering
from paperlib.taylor.series import directional_derivatives
from paperlib.taylor.tensors import derivative_tensor

ROUNDS = {"rounds": 5, "warmup_rounds": 1}


def directions(n, d):
    return np.random.default_rng(2).standard_normal((n, d))


@pytest.mark.parametrize("order", range(1, 13))
def test_series_by_order(benchmark, random_mlp, order):
    mlp, along = random_mlp([64, 64, 64, 64, 1]), directions(10_000, 64)
    benchmark.pedantic(lambda: directional_derivatives(mlp, order, along), **ROUNDS)


@pytest.mark.parametrize("width", [16, 32, 64, 128, 256, 512])
def test_series_by_width(benchmark, random_mlp, width):
    mlp, along = random_mlp([64, width, width, width, 1]), directions(10_000, 64)
    benchmark.pedantic(lambda: directional_derivatives(mlp, 5, along), **ROUNDS)


@pytest.mark.parametrize("width", [16, 32, 64, 128, 256, 512])
def test_tensor_by_width(benchmark, random_mlp, width):
    mlp = random_mlp([64, width, width, width, 1])
    benchmark.pedantic(lambda: derivative_tensor(mlp, 4), **ROUNDS)


@pytest.mark.parametrize("d", [64, 128, 256, 512, 1024])
@pytest.mark.parametrize("order", [2, 4, 8])
def test_series_by_inputs(benchmark, random_mlp, order, d):
    mlp, along = random_mlp([d, 64, 64, 64, 1]), directions(1_000, d)
    benchmark.pedantic(lambda: directional_derivatives(mlp, order, along), **ROUNDS)


@pytest.mark.parametrize(
    ("order", "d"),
    [(2, 256), (2, 512), (2, 1024), (3, 256), (3, 512), (3, 1024), (4, 256)],
)
def test_large_tensor(benchmark, random_mlp, order, d):
    """Beside test_packed, which ends at d = 128; the last two take 1.4 GB."""
    mlp = random_mlp([d, 64, 64, 64, 1])
    benchmark.pedantic(lambda: derivative_tensor(mlp, order), rounds=2, warmup_rounds=1)


@pytest.mark.parametrize("members", [1, 2, 4, 8, 16])
def test_steps_by_members(benchmark, members):
    """128 steps of batch 512, all fitted, SOAP, single precision, compiled by XLA."""
    from test_training import epoch

    benchmark.pedantic(
        epoch(members, "hessian_vectors", "soap"), rounds=5, warmup_rounds=2
    )


@pytest.mark.parametrize("count", [100, 1_000, 10_000, 100_000, 1_000_000])
def test_a0_by_potentials(benchmark, count):
    U = potentials.sample(count, 64, depth=2.0, seed=0)
    benchmark.pedantic(
        lambda: scattering.scattering_length(U), rounds=9, warmup_rounds=1
    )
