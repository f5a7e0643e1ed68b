"""Test the relative errors of quantities that nearly cancel, against mpmath.

The docstrings name the ranges.
"""

import mpmath
import numpy as np
import oracles
import pytest

from paperlib import born, scattering, taylor
from paperlib.networks.mlp import MLP

EPS = np.finfo(float).eps
SHAPE = np.random.default_rng(0).uniform(0.5, 1, 8)


def error(value, exact):
    return oracles.relative_error(value, exact)


@pytest.mark.parametrize("exponent", [0, -3, -8, -30, -100, -200, -290])
def test_weak_potentials(exponent):
    """Check that a_0 and r_e are accurate to rounding for any weak U.

    The remainder is accurate too, as long as float64 can represent it.
    """
    U = SHAPE * 10.0**exponent
    with mpmath.workdps(50 - 8 * exponent):
        exact = oracles.scattering_length(U)
        assert error(scattering.scattering_length(U), exact) < 4 * EPS
        assert (
            error(scattering.effective_range(U), oracles.effective_range(U)) < 8 * EPS
        )
        for order in (1, 3):
            rest = exact - mpmath.fsum(oracles.born_terms(U, order))
            if abs(rest) > 1e-300:
                assert error(born.born_remainder(U, order), rest) < 8 * EPS


@pytest.mark.parametrize("exponent", range(1, 13))
def test_near_a_resonance(exponent):
    """Check the loss of digits of a_0 near a resonance.

    u'(1) is a difference of two nearly equal numbers. a_0 loses the digits that the
    distance of U to the resonance has lost.
    """
    U = np.full(8, (np.pi / 2) ** 2 * (1 + 10.0**-exponent))
    with mpmath.workdps(50):
        exact = oracles.scattering_length(U)
        assert error(scattering.scattering_length(U), exact) < 4 * EPS * 10.0**exponent
        if exponent < 9:
            assert error(born.pade(U, 4, 4), exact) < 1e-11 * 10.0**exponent


@pytest.mark.parametrize("depth", [0.01, 1.0, 5.0])
def test_born_terms_to_order_12(depth):
    U = np.random.default_rng(3).uniform(-depth, depth, 16)
    with mpmath.workdps(50):
        for order, (term, exact) in enumerate(
            zip(born.born_terms(U, 12), oracles.born_terms(U, 12), strict=True), 1
        ):
            assert error(term, exact) < 4 * order * EPS


@pytest.mark.parametrize("size", [1, 5, 15, 40])
@pytest.mark.parametrize(
    "name, phi",
    [("tanh", mpmath.tanh), ("sigmoid", lambda z: 1 / (1 + mpmath.exp(-z)))],
)
def test_tensors_of_saturated_networks(name, phi, size):
    """Check that derivatives keep all digits where they decay as exp(-|z|)."""
    network = MLP([[[1.0], [-0.7]], [[1.0, 0.5]]], [[size, -0.9 * size], [0.0]], name)
    with mpmath.workdps(90):
        (a, b), (v, w) = (
            [mpmath.mpf(float(x)) for x in row]
            for row in (network.biases[0], network.weights[0][:, 0])
        )
        series = mpmath.taylor(lambda x: phi(v * x + a) + phi(w * x + b) / 2, 0, 5)
        for order in range(1, 6):
            found = taylor.derivative_tensor(network, order).packed[0]
            assert error(found, mpmath.factorial(order) * series[order]) < 100 * EPS
