"""Compare chosen derivatives and operators with whole tensors, series and JAX."""

import threading
from itertools import combinations_with_replacement

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from paperlib import taylor
from paperlib.networks.mlp import MLP
from paperlib.taylor.program import program

RANDOM = np.random.default_rng(25)


def network(sizes, activation="tanh", seed=0):
    random = np.random.default_rng(seed)
    weights = [
        random.standard_normal((o, i)) / np.sqrt(i)
        for i, o in zip(sizes[:-1], sizes[1:])
    ]
    return MLP(weights, [random.standard_normal(o) / 4 for o in sizes[1:]], activation)


def entry(mlp, index, at):
    """Return the derivative of a multi-index as an entry of the tensor."""
    return taylor.derivative_tensor(mlp, len(index), at)[index]


SHAPES = [(3, 1), (3, 5, 1), (3, 5, 4, 1), (2, 4, 4, 4, 1), (3, 4, 5, 2)]


def assert_close(result, expected, tolerance=1e-11):
    np.testing.assert_allclose(
        result,
        expected,
        rtol=tolerance,
        atol=tolerance * (np.abs(expected).max() + 1e-300),
    )


@given(
    st.sampled_from(SHAPES), st.sampled_from(["tanh", "gelu", "silu", "sin", "exp"]), st.integers(0, 99),
    st.sampled_from([(), (4,), (2, 3)]), st.data(),
)  # fmt: skip
def test_partials_are_entries_of_the_tensors(sizes, activation, seed, batch, data):
    mlp = network(sizes, activation, seed)
    tuples = data.draw(
        st.lists(
            st.lists(st.integers(0, sizes[0] - 1), min_size=1, max_size=6),
            min_size=1,
            max_size=6,
        )
    )
    at = np.random.default_rng(seed).uniform(-1, 1, (*batch, sizes[0]))
    expected = np.stack([entry(mlp, tuple(index), at) for index in tuples], axis=-1)
    result = taylor.partial_derivatives(mlp, tuples, at)
    assert result.shape == expected.shape
    scale = [
        taylor.derivative_tensor(mlp, len(index), at).norm().max() + 1e-300
        for index in tuples
    ]
    assert (np.abs(result - expected) <= 1e-12 * np.array(scale)).all()


@given(
    st.sampled_from(SHAPES),
    st.integers(1, 6),
    st.integers(0, 99),
    st.sampled_from([(), (3,)]),
)
def test_mixed_derivative_is_the_contracted_tensor(sizes, order, seed, batch):
    mlp, random = network(sizes, "tanh", seed), np.random.default_rng(seed)
    at, directions = (
        random.uniform(-1, 1, (*batch, sizes[0])),
        random.standard_normal((order, sizes[0])),
    )
    expected = taylor.derivative_tensor(mlp, order, at).full()
    for v in directions:
        expected = np.tensordot(v, expected, axes=(0, 0))
    assert_close(taylor.mixed_derivative(mlp, list(directions), at), expected, 1e-10)


def test_mixed_derivative_along_equal_directions():
    mlp, v, at = (
        network((4, 8, 8, 1)),
        RANDOM.standard_normal((7, 4)),
        RANDOM.uniform(-1, 1, (7, 4)),
    )
    for n in range(1, 8):
        assert_close(
            taylor.mixed_derivative(mlp, [v] * n, at),
            taylor.directional_derivatives(mlp, n, v, at)[..., n],
        )


@pytest.mark.parametrize("sizes", SHAPES)
@pytest.mark.parametrize("batch", [(), (5,), (2, 3)])
def test_operators_are_sums_over_the_tensors(sizes, batch):
    mlp, at = network(sizes, "silu", 3), RANDOM.uniform(-1, 1, (*batch, sizes[0]))
    hessian, fourth = (taylor.derivative_tensor(mlp, n, at).full() for n in (2, 4))
    weights, matrix = (
        RANDOM.standard_normal(sizes[0]),
        RANDOM.standard_normal((sizes[0], sizes[0])),
    )
    assert_close(taylor.laplacian(mlp, at), np.einsum("ii...->...", hessian))
    assert_close(
        taylor.laplacian(mlp, at, weights), np.einsum("i,ii...->...", weights, hessian)
    )
    assert_close(
        taylor.laplacian(mlp, at, matrix), np.einsum("ij,ij...->...", matrix, hessian)
    )
    assert_close(taylor.bilaplacian(mlp, at), np.einsum("iijj...->...", fourth), 1e-10)
    v = RANDOM.standard_normal(sizes[0])
    assert_close(
        taylor.hvp(mlp, v, at),
        np.moveaxis(np.tensordot(v, hessian, axes=(0, 0)), 0, -1),
    )


def test_against_jax():
    jax = pytest.importorskip("jax")
    with jax.enable_x64(True):
        mlp, at = network((4, 8, 8, 1)), RANDOM.uniform(-1, 1, (6, 4))

        def f(x):
            for weight, bias in zip(mlp.weights[:-1], mlp.biases[:-1]):
                x = jax.numpy.tanh(weight @ x + bias)
            return (mlp.weights[-1] @ x + mlp.biases[-1])[0]

        def trace(g):
            return lambda x: jax.numpy.trace(jax.hessian(g)(x))

        assert_close(taylor.laplacian(mlp, at), np.array(jax.vmap(trace(f))(at)))
        assert_close(
            taylor.bilaplacian(mlp, at), np.array(jax.vmap(trace(trace(f)))(at)), 1e-10
        )
        v = RANDOM.standard_normal((6, 4))
        products = jax.vmap(lambda x, v: jax.jvp(jax.grad(f), (x,), (v,))[1])(at, v)
        assert_close(taylor.hvp(mlp, v, at), np.array(products))


def test_a_thousand_inputs():
    """A Hessian has a million entries here. Compare with series along the axes."""
    mlp, at = network((1000, 16, 16, 1)), RANDOM.uniform(-1, 1, (3, 1000))
    axes = taylor.directional_derivatives(mlp, 4, np.eye(1000), at[:, None])
    assert_close(taylor.laplacian(mlp, at), axes[..., 2].sum(axis=-1))
    diagonal = taylor.partial_derivatives(
        mlp, [(i, i) for i in range(1000)] + [(i,) * 4 for i in range(0, 1000, 100)], at
    )
    assert_close(diagonal[:, :1000], axes[..., 2])
    assert_close(diagonal[:, 1000:], axes[:, ::100, 4], 1e-10)
    assert_close(taylor.laplacian(mlp, at), axes[..., 2].sum(axis=-1))


def test_pure_derivatives_to_the_twentieth_order():
    mlp = MLP([[[0.5, 1.0]], [[1.0]]], [[0.0], [0.0]], "exp")
    result = taylor.partial_derivatives(
        mlp, [(0,) * 20, (1,) * 20, (0,) * 10 + (1,) * 10], [0.2, -0.1]
    )
    np.testing.assert_allclose(result, [0.5**20, 1.0, 0.5**10], rtol=1e-9)


def test_only_needed_derivatives_are_computed():
    """Three of a thousand inputs are requested, and programs have no others."""
    mlp = network((1000, 8, 8, 1))
    assert all(
        program(request(mlp, [(5, 5, 999), (17, 5)]), 8, first).own_rows == 3 + 2 + 3
        for first in (True, False)
    )
    # As many directions as the first layer has units
    assert program(request(mlp, "laplacian"), 8).received == 8 + 1


def request(mlp, key):
    return taylor.compile(mlp, key)._prepared.request


def test_tuples_in_any_order_and_twice():
    mlp = network((3, 6, 6, 1))
    result = taylor.partial_derivatives(
        mlp, [(0, 2, 1), (2, 1, 0), [1, 0, 2]], np.full(3, 0.3)
    )
    assert result[0] == result[1] == result[2]
    every = list(combinations_with_replacement(range(3), 3))
    assert_close(
        taylor.partial_derivatives(mlp, every), taylor.derivative_tensor(mlp, 3).packed
    )


def test_from_many_threads_at_once():
    mlp, at = network((8, 16, 16, 1)), RANDOM.uniform(-1, 1, (50, 8))
    expected = taylor.partial_derivatives(mlp, [(0, 1), (2, 2, 3)], at)
    results = []
    threads = [
        threading.Thread(
            target=lambda: results.append(
                taylor.partial_derivatives(mlp, [(0, 1), (2, 2, 3)], at)
            )
        )
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 8 and all((each == expected).all() for each in results)


RELU = MLP([[[1.0, -1.0]], [[1.0]]], [[0.0], [0.0]], "relu")
NET = network((3, 4, 1))


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: taylor.partial_derivatives(NET, [(0, 3)]), ValueError, r"indices\[0\] = 3: must be an integer from 0 to 2"),
        (lambda: taylor.partial_derivatives(NET, [(0, -1)]), ValueError, r"indices\[0\] = -1: must be an integer from 0 to 2"),
        (lambda: taylor.partial_derivatives(NET, [(0,), ()]), ValueError, r"indices\[1\] = \(\): must be 1 to 20 indices"),
        (lambda: taylor.partial_derivatives(NET, [(0,) * 21]), ValueError, "must be 1 to 20 indices"),
        (lambda: taylor.partial_derivatives(network((12, 2, 1)), [tuple(range(12))]), ValueError, "over its different indices must be at most 1024; is 4096"),
        (lambda: taylor.partial_derivatives(NET, []), ValueError, "must have at least one tuple"),
        (lambda: taylor.partial_derivatives(NET, [(0,)], [1.0]), ValueError, "at: shape"),
        (lambda: taylor.mixed_derivative(NET, []), ValueError, "directions: has 0 entries; must have 1 to 10"),
        (lambda: taylor.mixed_derivative(NET, [np.ones(3), np.ones((2, 3)), np.ones((4, 3))]), ValueError,
         r"directions: shapes \(3,\), \(2, 3\), \(4, 3\); must broadcast with at, \(3,\)"),
        (lambda: taylor.mixed_derivative(NET, [np.ones(2)]), ValueError, r"directions\[0\]: shape \(2,\)"),
        (lambda: taylor.hvp(NET, np.ones((2, 3)), np.ones((4, 3))), ValueError, "v: shape"),
        (lambda: taylor.laplacian(NET, metric=np.ones((2, 3))), ValueError, "metric: shape"),
        (lambda: taylor.laplacian(RELU), ValueError, "neuron 0 of layer 1 sits at the kink of relu"),
        (lambda: taylor.bilaplacian(RELU), ValueError, "sits at the kink of relu"),
        (lambda: taylor.partial_derivatives(RELU, [(0, 0)]), ValueError, "sits at the kink of relu"),
        (lambda: taylor.laplacian(MLP([[[1e200]], [[1e200]]], [[0.0], [0.0]], "exp")), ValueError, "mlp, at: "),
    ],
)  # fmt: skip
def test_bad_input(call, error, message):
    with pytest.raises(error, match=message) as raised:
        call()
    assert "\n" not in str(raised.value)
