"""Exact data for training, against what its users would otherwise run: `pytest tests/benchmarks/test_data.py`.

100,000 potentials of 64 shells. Ratios mean something within one run on a quiet machine only.
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
    def run(function, group, rounds=9):
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


def test_a0_by_one_numpy_pass_per_shell(timed, U):
    timed(lambda: oracles.scattering_length_by_numpy(U), A0, rounds=3)


def test_reading_the_array_once(timed, U):
    timed(lambda: U.max(), A0)


def test_gradient(timed, U):
    timed(lambda: scattering.scattering_length_gradient(U), DERIVATIVES)


def test_hessian_vector_product(timed, U, v):
    timed(lambda: scattering.scattering_length_hvp(U, v), DERIVATIVES)


def test_value_gradient_and_product(timed, U, v):
    timed(lambda: scattering.scattering_length_jet(U, v), DERIVATIVES)


def test_ten_potentials_by_solve_ivp(timed, U):
    """SciPy's integrator at the same accuracy, shell by shell, since U jumps: per potential, a tenth of this."""
    from scipy.integrate import solve_ivp

    def one(potential):
        y = np.array([0.0, 1.0])
        for i, value in enumerate(potential):
            span = (i / D, (i + 1) / D)
            y = solve_ivp(
                lambda r, y: [y[1], -value * y[0]],
                span,
                y,
                method="DOP853",
                rtol=1e-12,
                atol=1e-14,
            ).y[:, -1]
        return 1 - y[0] / y[1]

    found = timed(
        lambda: [one(potential) for potential in U[:10]], "ten potentials", rounds=3
    )
    np.testing.assert_allclose(found, scattering.scattering_length(U[:10]), rtol=1e-11)
