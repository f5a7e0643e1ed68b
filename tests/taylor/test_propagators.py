"""Compare propagators and vertices with gradients, differences and closed forms."""

import numpy as np

from paperlib.taylor.propagators import propagator, vertices
from paperlib.taylor.tensors import derivative_tensor

AT = np.array([0.3, -0.2, 0.5])


def test_propagators_compose_and_differentiate(random_mlp):
    mlp = random_mlp([3, 5, 4, 2], "gelu")
    at = np.random.default_rng(0).standard_normal((4, 3))
    for low, middle, high in [(0, 1, 3), (1, 2, 3), (0, 0, 2), (0, 2, 2)]:
        whole = propagator(mlp, at, high, low)
        assert np.allclose(
            whole,
            propagator(mlp, at, high, middle) @ propagator(mlp, at, middle, low),
            rtol=0,
            atol=1e-13,
        )
    gradient = np.moveaxis(derivative_tensor(mlp, 1, at).packed, 0, -1)
    assert np.allclose(propagator(mlp, at, 3, 0), gradient, rtol=0, atol=1e-14)
    step = 1e-6 * np.eye(3)
    numerical = (mlp(at[:, None] + step) - mlp(at[:, None] - step)) / 2e-6
    assert np.allclose(
        propagator(mlp, at, 3, 0), numerical.swapaxes(1, 2), rtol=0, atol=1e-8
    )


def test_vertices(random_mlp):
    mlp = random_mlp([3, 5, 4, 1], ["exp", "sin"])
    z = mlp.weights[0] @ AT + mlp.biases[0]
    second = mlp.weights[1] @ np.exp(z) + mlp.biases[1]
    first_layer, second_layer = vertices(mlp, AT, 3)
    assert np.allclose(first_layer, np.exp(z), rtol=1e-14)
    assert np.allclose(second_layer, -np.cos(second), rtol=1e-13)
    assert np.allclose(vertices(mlp, AT, 1)[1], np.cos(second), rtol=1e-13)
