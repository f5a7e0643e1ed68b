"""Compare tensors and series with JAX, closed forms and finite differences."""

import dataclasses
import warnings
from math import factorial

import mpmath
import numpy as np
import oracles
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles import refusal
from reference_recursion import packed_entries

from paperlib.networks.activations import SMOOTH
from paperlib.networks.mlp import MLP
from paperlib.taylor import series
from paperlib.taylor.propagators import propagator, vertices
from paperlib.taylor.series import directional_derivatives, taylor_expand
from paperlib.taylor.symmetric import index_table
from paperlib.taylor.tensors import derivative_tensor

AT = np.array([0.3, -0.2, 0.5])


@pytest.fixture(scope="module")
def jax():
    jax = pytest.importorskip(
        "jax", reason="the comparison with nested JAX needs the [test] extra"
    )
    jax.config.update("jax_enable_x64", True)
    return jax


def jax_function(jax, mlp):
    functions = {
        "tanh": jax.numpy.tanh,
        "sigmoid": jax.nn.sigmoid,
        "softplus": jax.nn.softplus,
        "gelu": lambda z: jax.nn.gelu(z, approximate=False),
        "gelu_tanh": jax.nn.gelu,
        "silu": jax.nn.silu,
        "sin": jax.numpy.sin,
        "exp": jax.numpy.exp,
        "linear": lambda z: z,
        "elu(0.5)": lambda z: jax.nn.elu(z, 0.5),
        "mish": jax.nn.mish,
        "log_sigmoid": jax.nn.log_sigmoid,
        "tanhshrink": lambda z: z - jax.numpy.tanh(z),
        "squareplus": jax.nn.squareplus,
    }

    def function(x):
        for weight, bias, name in zip(mlp.weights, mlp.biases, mlp.activations):
            x = functions[name](weight @ x + bias)
        y = mlp.weights[-1] @ x + mlp.biases[-1]
        return y[0] if mlp.outputs == 1 else y

    return function


@pytest.mark.parametrize(
    ("widths", "activation", "highest"),
    [
        ([3, 5, 1], "tanh", 6),
        ([3, 5, 4, 1], "gelu", 5),
        ([3, 4, 5, 4, 1], "tanh", 6),
        ([3, 4, 4, 4, 4, 1], "sigmoid", 5),
        ([3, 4, 4, 2], ["silu", "softplus"], 4),
        *(([3, 4, 4, 1], name, 4) for name in [*SMOOTH, "elu(0.5)"]),
        *(([2, 3, 3, 1], name, 6) for name in SMOOTH),
        ([2, 3, 3, 3, 3, 1], "tanh", 6),
    ],
)
def test_against_nested_jax(jax, random_mlp, widths, activation, highest):
    mlp, at = random_mlp(widths, activation), AT[: widths[0]]
    nested = jax_function(jax, mlp)
    for order in range(1, highest + 1):
        nested = jax.jacfwd(nested)
        expected = packed_entries(
            np.asarray(jax.jit(nested)(at)), order, mlp.dim, mlp.outputs
        )
        got = derivative_tensor(mlp, order, at).packed
        assert np.linalg.norm(got - expected) <= 1e-12 * np.linalg.norm(expected)


@given(
    st.integers(1, 9),
    st.integers(1, 3),
    st.lists(st.integers(1, 3), max_size=3),
    st.integers(0, 99),
)
@settings(max_examples=60)
def test_a_contracted_tensor_is_the_directional_derivative(order, dim, hidden, seed):
    rng = np.random.default_rng(seed)
    widths = [dim, *hidden, 1]
    mlp = MLP(
        [rng.standard_normal((b, a)) for a, b in zip(widths, widths[1:])],
        [rng.standard_normal(b) for b in widths[1:]],
        "silu",
    )
    at, direction = rng.standard_normal((2, dim))
    tensor = derivative_tensor(mlp, order, at)
    along = directional_derivatives(mlp, order, direction, at)[order]
    scale = tensor.norm() * np.linalg.norm(direction) ** order
    assert abs(tensor.contract(direction) - along) <= 1e-12 * scale + 1e-300


@pytest.mark.parametrize("name", sorted(set(SMOOTH) - {"linear"}))
def test_one_input_gives_the_univariate_series(name):
    mlp = MLP([[[0.7]], [[-1.3]], [[2.0]]], [[0.2], [0.4], [0.1]], name)
    phi = oracles.ACTIVATIONS[name]
    with mpmath.workdps(60):
        exact = mpmath.taylor(
            lambda x: (
                2
                * phi(
                    mpmath.mpf(-1.3) * phi(mpmath.mpf(0.7) * x + mpmath.mpf(0.2))
                    + mpmath.mpf(0.4)
                )
            ),
            mpmath.mpf(0.6),
            8,
        )
        exact = np.array([float(c * mpmath.factorial(k)) for k, c in enumerate(exact)])
    exact[0] += 0.1
    got = np.array(
        [derivative_tensor(mlp, order, [0.6]).packed[0] for order in range(9)]
    )
    assert np.allclose(got, exact, rtol=1e-11, atol=1e-12 * np.abs(exact).max())
    assert np.allclose(
        directional_derivatives(mlp, 8, [1.0], [0.6]),
        exact,
        rtol=1e-11,
        atol=1e-12 * np.abs(exact).max(),
    )


@given(st.integers(1, 5), st.sampled_from(["tanh", "gelu", "sin"]), st.integers(0, 20))
def test_the_remainder_scales_as_the_next_power(order, activation, seed):
    rng = np.random.default_rng(seed)
    widths = [4, 5, 5, 1]
    weights = [rng.standard_normal((b, a)) / 2 for a, b in zip(widths, widths[1:])]
    mlp = MLP(weights, [rng.standard_normal(b) for b in widths[1:]], activation)
    at, direction = rng.standard_normal((2, 4))
    direction /= np.linalg.norm(direction)
    step = 0.05 * 2.0 ** -np.arange(3)
    x = at + step[:, None] * direction
    remainder = mlp(x) - taylor_expand(mlp, order, at)(x)
    leading = (
        derivative_tensor(mlp, order + 1, at).contract(direction)
        / factorial(order + 1)
        * step ** (order + 1)
    )
    next_size = (
        derivative_tensor(mlp, order + 2, at).norm()
        / factorial(order + 2)
        * step ** (order + 2)
    )
    assert (
        np.abs(remainder - leading) <= 2 * next_size + 1e-14 * (1 + np.abs(mlp(x)))
    ).all()


def test_terms_and_tensors_agree(random_mlp):
    mlp = random_mlp([4, 6, 5, 2], "tanh")
    at = np.array([0.1, -0.3, 0.2, 0.4])
    x = np.random.default_rng(0).standard_normal((3, 2, 4))
    expansion = taylor_expand(mlp, 5, at)
    terms = expansion.terms(x)
    assert terms.shape == (3, 2, 2, 6)
    for n in range(6):
        expected = expansion.tensor(n).contract(x - at) / factorial(n)
        assert np.allclose(
            terms[..., n], expected, rtol=0, atol=1e-12 * np.abs(expected).max()
        )
    assert np.array_equal(expansion(x), terms.sum(axis=-1))
    with pytest.raises(ValueError, match="n = 6: must be an integer from 0 to 5"):
        expansion.tensor(6)


@pytest.mark.parametrize("outputs", [1, 3])
def test_a_batch_of_centres_agrees_with_single_centres(random_mlp, outputs):
    mlp = random_mlp([3, 5, 4, outputs], "gelu")
    at = np.random.default_rng(0).standard_normal((2, 4, 3))
    directions = np.random.default_rng(1).standard_normal((2, 4, 3))
    for order in range(7):
        batch = derivative_tensor(mlp, order, at).packed
        along = directional_derivatives(mlp, order, directions, at)
        for i in np.ndindex(2, 4):
            one = derivative_tensor(mlp, order, at[i]).packed
            assert np.allclose(
                batch[(slice(None), *i)], one, rtol=0, atol=1e-13 * np.abs(one).max()
            )
            assert np.allclose(
                along[i],
                directional_derivatives(mlp, order, directions[i], at[i]),
                rtol=1e-12,
                atol=1e-13,
            )
    expansion = taylor_expand(mlp, 3, at)
    assert np.allclose(expansion(at), mlp(at), rtol=1e-14)


def test_many_directions_in_chunks(random_mlp, monkeypatch):
    mlp = random_mlp([5, 7, 7, 1])
    directions = np.random.default_rng(0).standard_normal((301, 5))
    expected = directional_derivatives(mlp, 5, directions)
    at = directions[::-1]
    each = [
        directional_derivatives(mlp, 2, v, c) for v, c in zip(directions[:9], at[:9])
    ]
    for chunk in (1, 400, 4000):
        monkeypatch.setattr("paperlib.taylor.series.CHUNK_BYTES", chunk)
        assert np.allclose(
            directional_derivatives(mlp, 5, directions),
            expected,
            rtol=1e-13,
            atol=1e-13,
        )
        assert np.allclose(
            directional_derivatives(mlp, 2, directions, at)[:9],
            each,
            rtol=1e-12,
            atol=1e-13,
        )


def test_terms_build_no_tensor(random_mlp):
    mlp = random_mlp([1000, 64, 64, 64, 1], "gelu")
    terms = taylor_expand(mlp, 8).terms(
        np.random.default_rng(0).uniform(size=(5, 1000)) / 30
    )
    assert terms.shape == (5, 9)
    assert np.allclose(terms[:, 0], mlp(np.zeros(1000)))
    step = 1e-4
    x = np.random.default_rng(0).uniform(size=1000) / 30
    slope = (mlp(step * x) - mlp(-step * x)) / (2 * step)
    assert np.isclose(taylor_expand(mlp, 8).terms(x)[1], slope, rtol=1e-7)


def test_too_large_a_tensor_raises_before_memory_is_allocated(random_mlp):
    mlp = random_mlp([1000, 8, 8, 1])
    with pytest.raises(
        ValueError,
        match=r"order = 8: needs .* GiB; .* GiB are free: use .terms of taylor_expand",
    ) as error:
        derivative_tensor(mlp, 8)
    assert "\n" not in str(error.value)
    assert taylor_expand(mlp, 8).terms(np.ones(1000)).shape == (9,)


def test_a_network_without_hidden_layers(random_mlp):
    mlp = random_mlp([3, 2])
    assert np.allclose(derivative_tensor(mlp, 1, AT).packed, mlp.weights[0].T)
    assert not derivative_tensor(mlp, 3, AT).packed.any()
    assert np.allclose(taylor_expand(mlp, 4, AT)(np.ones(3)), mlp(np.ones(3)))


def test_closed_form():
    # sin(a.x) has D^n = a a .. a times sin's n-th derivative.
    a = np.array([0.5, -1.0, 2.0])
    mlp = MLP([a[None], [[3.0]]], [[0.4], [0.0]], "sin")
    for order in range(1, 10):
        expected = (
            3
            * np.sin(0.4 + order * np.pi / 2)
            * np.prod(a[index_table(3, order)], axis=1)
        )
        assert np.allclose(
            derivative_tensor(mlp, order).packed,
            expected,
            rtol=1e-13,
            atol=1e-13 * 2.0**order,
        )


def test_kinks(random_mlp):
    mlp = random_mlp([3, 5, 4, 1], "relu")
    # Away from kinks a relu network is linear in pieces.
    assert np.allclose(
        derivative_tensor(mlp, 1, AT).packed, propagator(mlp, AT, 3, 0)[0]
    )
    assert not derivative_tensor(mlp, 2, AT).packed.any()
    at_kink = MLP(
        mlp.weights,
        [np.where(np.arange(5) == 2, 0.0, mlp.biases[0]), *mlp.biases[1:]],
        "relu",
    )
    assert derivative_tensor(at_kink, 1).packed.shape == (3,)
    assert np.allclose(
        propagator(at_kink, None, 3, 0)[0], derivative_tensor(at_kink, 1).packed
    )
    for call in (derivative_tensor, taylor_expand):
        with pytest.raises(
            ValueError, match="order 2: neuron 2 of layer 1 sits at the kink of relu"
        ):
            call(at_kink, 2)
    with pytest.raises(
        ValueError, match="order 3: neuron 2 of layer 1 sits at the kink of relu"
    ):
        vertices(at_kink, None, 3)


def test_wrong_arguments_raise(random_mlp):
    mlp = random_mlp([3, 2, 1])
    for message, call in {
        r"at: shape \(4,\); the last axis must be 3 long": lambda: derivative_tensor(
            mlp, 2, np.zeros(4)
        ),
        "order = -1: must be an integer >= 0": lambda: derivative_tensor(mlp, -1),
        "order = 1.5: must be an integer": lambda: taylor_expand(mlp, 1.5),
        "mlp: list given": lambda: derivative_tensor([], 2),
        r"x: shape \(2, 3\); must broadcast with at, \(4, 3\)": lambda: taylor_expand(
            mlp, 2, np.zeros((4, 3))
        ).terms(np.zeros((2, 3))),
        "to_layer = 4: must be an integer from 0 to 2": lambda: propagator(
            mlp, None, 4, 0
        ),
        "from_layer = 2: must be an integer from 0 to 1": lambda: propagator(
            mlp, None, 1, 2
        ),
        "legs = 0": lambda: vertices(mlp, None, 0),
    }.items():
        with pytest.raises(refusal(message), match=message):
            call()


def test_a_tensor_that_overflows_raises():
    steep = MLP([[[1e120, 1.0]], [[1.0]]], [[0.0], [0.0]], "exp")
    with pytest.raises(
        ValueError, match="^mlp, at: derivatives of order 3 overflow float64; [^\n]*$"
    ):
        derivative_tensor(steep, 3)


@pytest.mark.parametrize("order", [-1, 171, 2.0, True, "2", None])
def test_orders_out_of_range_raise(random_mlp, order):
    mlp = random_mlp([3, 2, 1])
    for name, call in {
        "order": lambda: taylor_expand(mlp, order),
        "order ": lambda: directional_derivatives(mlp, order, np.ones(3)),
        "legs": lambda: vertices(mlp, None, order),
    }.items():
        with pytest.raises(
            ValueError if type(order) is int else TypeError,
            match=f"^{name.strip()} = {order!r}: must be [^\n]*$",
        ):
            call()
    with pytest.raises(ValueError, match="^order = 21: must be at most 20$"):
        derivative_tensor(mlp, 21)
    assert taylor_expand(mlp, 170).terms(np.ones(3)).shape == (171,)
    with pytest.raises(ValueError, match="^n = 21: must be an integer from 0 to 20$"):
        taylor_expand(mlp, 30).tensor(21)


def test_overflow_raises_without_a_warning():
    """Some of the sums have infinities of both signs."""
    steep = MLP(
        [[[1e200, 0.0], [0.0, 1e200]], [[1e200, -1e200]]], [[1.0, 1.0], [0.0]], "exp"
    )
    x = np.array([1e200, 1e200])
    for name, call in {
        "mlp, at": lambda: propagator(steep, None, 2, 0),
        "mlp, at: derivatives of order 2": lambda: derivative_tensor(steep, 2),
        "directions, order": lambda: directional_derivatives(steep, 2, x),
        "x": lambda: taylor_expand(steep, 2).terms(x),
        "x ": lambda: taylor_expand(MLP([[[1.0]]], [[0.0]], []), 1, [-1e308]).terms(
            [1e308]
        ),
        "x  ": lambda: taylor_expand(
            MLP([[[1.0]], [[1.0]]], [[0.0], [1e308]], "linear"), 1
        )([1e308]),
        "mlp, at ": lambda: vertices(
            MLP([[[1e300]], [[1.0]]], [[0.0], [0.0]], "exp"), [1.0], 2
        ),
    }.items():
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            with pytest.raises(
                ValueError,
                match=f"^{name.strip()}[^\n]* overflows? float64; [^\n]*$",
            ):
                call()


def test_centres_and_directions_broadcast(random_mlp):
    mlp = random_mlp([3, 4, 2], "gelu")
    centres, directions = (
        np.random.default_rng(n).standard_normal(shape)
        for n, shape in enumerate([(4, 1, 3), (5, 3)])
    )
    together = directional_derivatives(mlp, 4, directions, centres)
    assert together.shape == (4, 5, 2, 5)
    for i, j in np.ndindex(4, 5):
        alone = directional_derivatives(mlp, 4, directions[j], centres[i, 0])
        np.testing.assert_allclose(together[i, j], alone, rtol=1e-12, atol=1e-13)
    pairs = directional_derivatives(mlp, 4, directions[:4], centres[:, 0])
    np.testing.assert_allclose(
        pairs, together[range(4), range(4)], rtol=1e-12, atol=1e-13
    )
    with pytest.raises(
        ValueError,
        match=r"^directions: shape \(5, 3\); must broadcast with at, \(4, 3\)$",
    ):
        directional_derivatives(mlp, 4, directions, centres[:, 0])


def test_the_expansion_of_order_zero_is_the_value(random_mlp):
    for widths in ([3, 2], [3, 4, 1]):
        mlp = random_mlp(widths)
        x = np.ones((2, 3))
        np.testing.assert_allclose(
            taylor_expand(mlp, 0, AT).terms(x)[..., 0],
            np.stack([mlp(AT)] * 2),
            rtol=1e-14,
        )
        np.testing.assert_allclose(
            taylor_expand(mlp, 0, AT)(x), np.stack([mlp(AT)] * 2), rtol=1e-14
        )


def test_layers_are_counted_from_one_in_messages():
    """A neuron of the second layer sits at its kink, and none of the first layer."""
    mlp = MLP(
        [[[1.0]], [[1.0], [1.0]], [[1.0, 1.0]]], [[1.0], [2.0, -1.0], [0.0]], "relu"
    )
    for call in (
        lambda: vertices(mlp, None, 2),
        lambda: taylor_expand(mlp, 2),
        lambda: derivative_tensor(mlp, 2),
    ):
        with pytest.raises(
            ValueError, match="^order 2: neuron 1 of layer 2 sits at the kink of relu"
        ):
            call()


def test_an_expansion_is_frozen_and_hashable(random_mlp):
    expansion = taylor_expand(random_mlp([3, 2, 1]), 2)
    with pytest.raises(dataclasses.FrozenInstanceError):
        expansion.order = 3
    assert {expansion: 1}[expansion] == 1


def test_an_expansion_copies_its_centre(random_mlp):
    at, x = np.full(3, 0.5), np.ones(3)
    expansion = taylor_expand(random_mlp([3, 2, 1]), 2, at)
    before = expansion.terms(x)
    at += 1
    assert np.array_equal(expansion.terms(x), before) and (expansion.at == 0.5).all()
    with pytest.raises(ValueError, match="read-only"):
        expansion.at[0] = 2.0


def test_high_orders_along_short_directions_do_not_underflow():
    """Compare with closed forms, where x^n / n! alone would be zero.

    The n-th derivative of exp along x is x^n. The derivatives of tanh at 0 are
    2^(n+1) n! / pi^(n+1) times sums over odd numbers.
    """
    exp, tanh = (
        MLP([[[1.0]], [[1.0]]], [[0.0], [0.0]], name) for name in ("exp", "tanh")
    )
    for x in (0.02, 0.1, 1.0, 40.0):
        n = np.arange(171)
        found, right = directional_derivatives(exp, 170, [x]), np.exp(n * np.log(x))
        there = right > 1e-300
        np.testing.assert_allclose(found[there], right[there], rtol=1e-12)
    for x in (0.01, 0.5, 1.5):
        series = (
            sum(mpmath.mpf(k) ** -170 for k in (1, 3, 5)) * (2 / mpmath.pi) ** 170 * 2
        )
        right = mpmath.mpf(x) ** 169 * mpmath.factorial(169) * series
        np.testing.assert_allclose(
            directional_derivatives(tanh, 169, [x])[169], float(right), rtol=1e-11
        )
        np.testing.assert_allclose(
            taylor_expand(tanh, 169).terms([x])[169],
            float(right / mpmath.factorial(169)),
            rtol=1e-11,
        )


def test_scaling_the_directions_does_not_change_bits(monkeypatch):
    random = np.random.default_rng(3)
    weights = [random.standard_normal(shape) / 2 for shape in ((8, 5), (8, 8), (1, 8))]
    mlp = MLP(weights, [np.zeros(8), np.zeros(8), np.zeros(1)], "tanh")
    v = random.standard_normal((6, 5)) * np.geomspace(1e-2, 10, 6)[:, None]
    found = directional_derivatives(mlp, 60, v), taylor_expand(mlp, 60).terms(v)
    monkeypatch.setattr(series, "MAX_UNSCALED_ORDER", 60)
    assert (found[0] == directional_derivatives(mlp, 60, v)).all()
    assert (found[1] == taylor_expand(mlp, 60).terms(v)).all()
