"""Compare activations and their derivatives with arbitrary-precision arithmetic."""

import math

import mpmath
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from oracles import ACTIVATIONS as EXACT
from oracles import POINTS, activation_derivatives

from paperlib.networks import bases
from paperlib.networks.activations import (
    PIECEWISE,
    SMOOTH,
    Custom,
    derivatives,
    groups,
    parse,
    scaled,
    spelled,
)

GRID = np.array(
    [
        -50,
        -30.5,
        -12,
        -9,
        -6,
        -3.2,
        -1.7,
        -1,
        -0.4,
        -1e-9,
        0,
        0.1,
        0.8,
        1.3,
        2.6,
        5,
        9,
        12,
        25,
        50,
    ],
    dtype=float,
)


SELU_ALPHA = mpmath.mpf("1.6732632423543772848170429916717")


def test_every_activation_is_checked():
    assert {*SMOOTH, *PIECEWISE} <= set(EXACT)


@pytest.mark.parametrize("name", SMOOTH)
def test_derivatives_to_order_8(name):
    with mpmath.workdps(60):
        exact = [
            [
                float(c * mpmath.factorial(k))
                for k, c in enumerate(mpmath.taylor(EXACT[name], mpmath.mpf(z), 8))
            ]
            for z in GRID
        ]
    exact = np.array(exact).T
    largest = np.abs(exact).max(axis=1, keepdims=True)
    error = np.abs(derivatives(name, GRID, 8) - exact) / np.where(
        largest > 0, largest, 1
    )
    assert error.max() < 2e-14


@pytest.mark.parametrize("name", EXACT)
def test_derivatives_keep_their_digits_at_every_point(name):
    """The error is a few roundings, at each point and also in the tails.

    It is compared with the derivative and the two lower ones at the same point.
    """
    z, exact = np.array(POINTS), activation_derivatives(name)
    base, parameter, inner, outer = scaled(name)
    from_bases = (
        outer
        * bases.derivatives(base, inner * z, 8, parameter)
        * inner ** np.arange(9.0)[:, None]
    )
    for k in range(9):
        size = np.abs(exact[max(k - 2, 0) : k + 1]).max(axis=0) + 1e-290
        assert (np.abs(derivatives(name, z, 8)[k] - exact[k]) <= 2e-14 * size).all()
        assert (np.abs(from_bases[k] - exact[k]) <= 2e-14 * size).all()


@pytest.mark.parametrize(
    "name", ["tanh", "sigmoid", "softplus", "silu", "mish", "log_sigmoid", "squareplus"]
)
def test_tails_keep_their_relative_accuracy(name):
    with mpmath.workdps(60):
        exact = [
            float(c * mpmath.factorial(k))
            for k, c in enumerate(mpmath.taylor(EXACT[name], mpmath.mpf(-40), 6))
        ]
    assert np.allclose(derivatives(name, np.array(-40.0), 6), exact, rtol=1e-13, atol=0)


@given(
    st.sampled_from(sorted(set(SMOOTH) - {"exp"})),
    st.floats(-1e300, 1e300),
    st.integers(0, 6),
)
def test_never_nan(name, z, order):
    if name in ("silu", "gelu", "gelu_tanh", "softplus", "linear") or abs(z) < 1e15:
        assert np.isfinite(derivatives(name, np.array([z]), order)).all()


@pytest.mark.parametrize(
    ("name", "below"),
    [
        ("relu", lambda z: 0 * z),
        ("leaky_relu", lambda z: z / 100),
        ("leaky_relu(0.3)", lambda z: mpmath.mpf(0.3) * z),
        ("elu", mpmath.expm1),
        ("elu(0.5)", lambda z: mpmath.expm1(z) / 2),
        ("celu", mpmath.expm1),
        ("celu(2.0)", lambda z: 2 * mpmath.expm1(z / 2)),
    ],
)
def test_piecewise(name, below):
    z = np.array([-2.0, -0.3, 0.3, 2.0])
    exact = [
        mpmath.taylor(below if point < 0 else (lambda z: z), point, 4) for point in z
    ]
    exact = np.array(
        [[float(c * mpmath.factorial(k)) for k, c in enumerate(row)] for row in exact]
    ).T
    assert np.allclose(derivatives(name, z, 4), exact, rtol=1e-14, atol=1e-16)


@pytest.mark.parametrize(
    ("name", "function"),
    [
        (
            "selu",
            lambda z: (
                mpmath.mpf("1.0507009873554804934193349852946")
                * (z if z > 0 else SELU_ALPHA * mpmath.expm1(z))
            ),
        ),
        ("softsign", lambda z: z / (1 + abs(z))),
        ("softplus(20.0)", lambda z: mpmath.log1p(mpmath.exp(20 * z)) / 20),
        ("softplus(0.5)", lambda z: mpmath.log1p(mpmath.exp(z / 2)) * 2),
        ("squareplus(0.25)", lambda z: (z + mpmath.sqrt(z * z + 0.25)) / 2),
    ],
)
def test_others_that_take_a_parameter_or_have_two_sides(name, function):
    z = np.array([-30.0, -2.0, -0.3, 0.3, 2.0, 30.0])
    with mpmath.workdps(60):
        exact = [mpmath.taylor(function, mpmath.mpf(point), 8) for point in z]
        exact = np.array(
            [
                [float(c * mpmath.factorial(k)) for k, c in enumerate(row)]
                for row in exact
            ]
        ).T
    largest = np.abs(exact).max(axis=1, keepdims=True)
    assert (np.abs(derivatives(name, z, 8) - exact) < 2e-14 * largest).all()


def test_small_values_of_tanhshrink_keep_their_digits():
    z = np.array([1e-3, -1e-2, 0.1, 0.49, 0.51])
    exact = [float(mpmath.mpf(x) - mpmath.tanh(mpmath.mpf(x))) for x in z]
    np.testing.assert_allclose(derivatives("tanhshrink", z, 0)[0], exact, rtol=2e-15)


def test_a_layer_of_several_and_a_function_by_its_coefficients():
    z = np.random.default_rng(0).standard_normal((4, 6))
    mixed = derivatives("tanh*2 + linear*1 + elu(0.5)*3", z, 3)
    for name, part in (
        ("tanh", slice(0, 2)),
        ("linear", slice(2, 3)),
        ("elu(0.5)", slice(3, 6)),
    ):
        assert np.array_equal(mixed[..., part], derivatives(name, z[:, part], 3))
    with pytest.raises(
        ValueError,
        match="^order 2: neuron 4 of layer 1 sits at the kink of relu, z = 0",
    ):
        derivatives("tanh*3 + relu*3", np.array([0.0, 0, 0, 1, 0, 1]), 2, layer=1)
    given = Custom(
        "cosine",
        lambda z, order: np.stack(
            [np.cos(z + k * np.pi / 2) / math.factorial(k) for k in range(order + 1)]
        ),
    )
    np.testing.assert_allclose(
        derivatives(given, z, 5), derivatives("sin", z + np.pi / 2, 5), atol=1e-15
    )
    assert spelled(["tanh", "tanh", "linear", "tanh"]) == "tanh*2 + linear*1 + tanh*1"
    for name in ("tanh*2 + linear", "tanh*0", "tanh*2+linear*1", "swish*2"):
        with pytest.raises(ValueError, match="activation = "):
            groups(name)


@pytest.mark.parametrize("name", PIECEWISE)
def test_kink(name):
    z = np.array([[1.0, -0.0], [3.0, 2.0]])
    assert derivatives(name, z, 1)[0, 0, 1] == 0
    with pytest.raises(
        ValueError, match=f"order 3: neuron 1 of layer 2 sits at the kink of {name}"
    ):
        derivatives(name, z, 3, layer=2)


def test_the_kink_of_a_single_number():
    with pytest.raises(
        ValueError, match="^order 2: neuron 0 sits at the kink of relu, z = 0"
    ):
        derivatives("relu", 0.0, 2)


def test_of_several_at_the_kink_the_first_is_named():
    with pytest.raises(
        ValueError, match="^order 2: neuron 1 sits at the kink of relu, z = 0"
    ):
        derivatives("relu", [1.0, 0.0, 0.0], 2)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("name", [*SMOOTH, *PIECEWISE])
def test_z_must_be_finite(name, bad):
    with pytest.raises(ValueError, match=rf"^z\[1\] = {bad}: must be finite$"):
        derivatives(name, [0.5, bad], 1)


@pytest.mark.parametrize(
    "name",
    [
        "swish",
        "elu()",
        "elu(nan)",
        "celu(0)",
        "celu(-1)",
        "relu(1)",
        "leaky_relu(a)",
        3,
        None,
    ],
)
def test_unknown_names(name):
    with pytest.raises(
        ValueError if isinstance(name, str) else TypeError, match="activation = "
    ):
        parse(name)


@pytest.mark.parametrize(
    "name, positive",
    [("elu", ""), ("leaky_relu", ""), ("celu", " > 0"), ("softplus", " > 0")],
)
def test_the_message_about_a_parameter(name, positive):
    with pytest.raises(
        ValueError,
        match=rf"^activation = '{name}\(x\)': its parameter must be a finite "
        rf"number{positive}$",
    ):
        parse(f"{name}(x)")


def test_the_lower_tail_of_gelu_tanh_keeps_its_digits():
    """1 + tanh(u) would lose all digits. The expected values are from mpmath."""
    z = np.array([-5.0, -6.0, -7.0, -8.0, -10.0])
    value = [
        -2.291796196629506e-7,
        -8.439646700762297e-11,
        -2.315442262072549e-15,
        -3.107782937501111e-21,
        -1.204092348209806e-37,
    ]
    slope = [
        -1.5463619875325946e-6,
        -7.709973930953696e-10,
        -2.765117350706602e-14,
        -4.714784504106842e-20,
        -2.757638063854032e-36,
    ]
    np.testing.assert_allclose(
        derivatives("gelu_tanh", z, 2)[:2], [value, slope], rtol=1e-13
    )


def test_celu_of_a_small_parameter():
    """alpha^(1 - k) alone overflows, on either side of the kink."""
    found = derivatives("celu(0.001)", [1.0, -0.5, -1.0], 110)
    assert found[:, 0].tolist() == [1.0, 1.0] + [0.0] * 109
    right = [
        float(mpmath.mpf("0.001") ** (1 - k) * mpmath.exp(-500)) for k in (105, 110)
    ]
    np.testing.assert_allclose(found[[105, 110], 1], right, rtol=1e-12)
    # exp(-1000) underflows, and then the powers do not matter
    assert (found[:, 2] == [-0.001] + [0.0] * 110).all()


def test_steep_activations_overflow_only_where_their_derivatives_do():
    """inner^80 alone overflows. In the tail softplus(b) is exp(b z) / b."""
    with mpmath.workdps(400):
        tail = float(mpmath.mpf(10) ** 316 * mpmath.exp(-300))
        root = float(
            mpmath.diff(
                lambda z: (z + mpmath.sqrt(z * z + mpmath.mpf(1e-8))) / 2,
                mpmath.mpf(-0.03),
                80,
            )
        )
    np.testing.assert_allclose(
        derivatives("softplus(1e4)", [-0.03], 80)[80], tail, rtol=1e-12
    )
    np.testing.assert_allclose(
        derivatives("squareplus(1e-8)", [-0.03], 80)[80], root, rtol=1e-12
    )
