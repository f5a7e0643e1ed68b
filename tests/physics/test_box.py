"""Compare the energy of a particle in a box with its series and with JAX."""

import numpy as np
import pytest

from paperlib import box, targets
from paperlib.learning.targets import from_jax

D = 6


@pytest.fixture(scope="module")
def V():
    return np.random.default_rng(0).uniform(-1, 1, (5, D))


def test_the_free_energy_is_that_of_the_finite_difference_box():
    exact = 2 * (D + 1) ** 2 * (1 - np.cos(np.pi / (D + 1)))
    np.testing.assert_allclose(
        targets.box_target(D).values(np.zeros((1, D))), exact, rtol=1e-13
    )


@pytest.mark.parametrize("order", [0, 1, 2, 3])
def test_the_series_converges_as_its_next_order(V, order):
    target = targets.box_target(D)
    tensors = [box.box_tensor(n, D) for n in range(1, order + 1)]

    def error(scale):
        series = target.values(np.zeros((1, D))) + sum(
            tensor.contract(scale * V) for tensor in tensors
        )
        return np.abs(target.values(scale * V) - series).max()

    assert error(0.5) > 1e-9, "or rounding would decide"
    assert np.log2(error(1.0) / error(0.5)) == pytest.approx(order + 1, abs=0.15)


def test_tensors_against_nested_jax():
    jax = pytest.importorskip("jax")
    kinetic = box._kinetic(D)

    def energy(V):
        return jax.numpy.linalg.eigvalsh(kinetic + jax.numpy.diag(V))[0]

    with jax.enable_x64(True):
        hessian = np.asarray(jax.hessian(energy)(np.zeros(D)))
    np.testing.assert_allclose(2 * box.box_tensor(2, D).full(), hessian, atol=1e-12)


def test_derivatives_against_jax(V):
    jax = pytest.importorskip("jax")
    kinetic = box._kinetic(D)
    oracle = from_jax(
        "box", lambda V: jax.numpy.linalg.eigvalsh(kinetic + jax.numpy.diag(V))[0]
    )
    target, v = targets.box_target(D), V[::-1].copy()
    np.testing.assert_allclose(target.values(V), oracle.values(V), rtol=1e-12)
    np.testing.assert_allclose(target.gradients(V), oracle.gradients(V), atol=1e-12)
    np.testing.assert_allclose(
        target.hessian_vectors(V, v), oracle.hessian_vectors(V, v), atol=1e-12
    )
    for one, other in zip(
        target.jet(V, v), oracle.evaluate_fit("hessian_vectors", V, v), strict=True
    ):
        np.testing.assert_allclose(one, other, atol=1e-11)


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: box.box_tensor(4, D), "order = 4: must be an integer from 1 to 3"),
        (lambda: box.box_tensor(1, 1), "d = 1: must be an integer >= 2"),
        (
            lambda: targets.box_target(D).values(np.ones((2, 5))),
            r"V: shape \(2, 5\); the last axis must be 6 long",
        ),
        (
            lambda: targets.box_target(D).values(np.ones(D)),
            r"V: shape \(6,\); must be \(n, 6\)",
        ),
        (
            lambda: targets.box_target(D).values(np.full((2, D), -1e200)),
            r"V: holds a value of magnitude 1e\+200; must be at most 1e\+\d+",
        ),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=f"^{message}$"):
        call()
