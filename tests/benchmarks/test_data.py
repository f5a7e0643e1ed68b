"""Exact data for training, against tuned rivals: `pytest tests/benchmarks/test_data.py`.

100,000 potentials of 64 shells. The rivals multiply the same transfer matrices, in NumPy and in JAX, with
functions of a shell that are accurate for these depths only. Ratios mean something within one run on a quiet
machine only, on one core for all.
"""

import numpy as np
import oracles
import pytest

from paperlib import potentials, scattering

N, D = 100_000, 64


@pytest.fixture(scope="module")
def U():
    return potentials.sample(N, D, depth=2.0, seed=0)


@pytest.fixture(scope="module")
def v():
    return np.random.default_rng(1).standard_normal((N, D))


@pytest.fixture
def timed(benchmark):
    def run(function, group, rounds=40):
        benchmark.group = group
        return benchmark.pedantic(function, rounds=rounds, warmup_rounds=1)

    return run


A0 = "a_0 of 100,000 potentials, d = 64"
DERIVATIVES = "a_0 and its derivatives, 100,000 potentials"


def test_a0(timed, U):
    a0 = timed(lambda: scattering.scattering_length(U), A0)
    np.testing.assert_allclose(
        a0[:1000], oracles.scattering_length_by_numpy(U[:1000]), rtol=1e-11
    )


COSINE, SINE = (-1 / 720, 1 / 24, -1 / 2), (-1 / 5040, 1 / 120, -1 / 6)


def series(x, coefficients):
    """Return cos(k) or sin(k) / k of x = k^2 < 1e-3, to double precision.

    Three terms take less time than a square root, a cosine and a sine.
    """
    y = coefficients[0] * x
    for coefficient in coefficients[1:]:
        y = (y + coefficient) * x
    return y + 1


def a0_by_transfer_matrices(columns):
    """Return a_0 of the potentials in `columns`, shape (D, n), for NumPy and for JAX."""
    u, slope = 0.0, 1.0  # u and h u'
    for i in range(D):
        x = columns[i] / D**2
        c, s = series(x, COSINE), series(x, SINE)
        u, slope = c * u + s * slope, c * slope - x * s * u
    return 1 - u / slope / D


def test_a0_by_transfer_matrices_in_numpy(timed, U):
    """Multiply in blocks whose arrays fit the cache."""

    def a0():
        blocks = (U[i : i + 8192].T for i in range(0, N, 8192))
        done = [a0_by_transfer_matrices(np.ascontiguousarray(b)) for b in blocks]
        return np.concatenate(done)

    result = timed(a0, A0)
    np.testing.assert_allclose(result, scattering.scattering_length(U), rtol=1e-12)


def test_a0_by_transfer_matrices_in_jax(timed, jax, U):
    """XLA fuses the loop over the shells into one kernel."""
    a0 = jax.jit(lambda U: a0_by_transfer_matrices(U.T))
    given = jax.numpy.asarray(U)
    result = timed(lambda: a0(given).block_until_ready(), A0)
    np.testing.assert_allclose(result, scattering.scattering_length(U), rtol=1e-12)


def test_reading_the_array_once(timed, U):
    timed(lambda: U.max(), A0)


def test_gradient(timed, U):
    timed(lambda: scattering.scattering_length_gradient(U), DERIVATIVES)


def test_hessian_vector_product(timed, U, v):
    timed(lambda: scattering.scattering_length_hvp(U, v), DERIVATIVES)


def test_value_gradient_and_product(timed, U, v):
    timed(lambda: scattering.scattering_length_jet(U, v), DERIVATIVES)
