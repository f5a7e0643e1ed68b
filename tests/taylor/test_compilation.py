"""Compare compiled requests with matrix products; test activations in the loop."""

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles import ACTIVATIONS as EXACT
from oracles import POINTS, activation_derivatives

from paperlib._support import jit as support
from paperlib.networks import activations, bases
from paperlib.networks.mlp import MLP
from paperlib.taylor import compilation
from paperlib.taylor.compilation import compile, whole
from paperlib.taylor.tensors import derivative_tensor

PARAMETERS = [
    "leaky_relu(0.2)",
    "elu(0.5)",
    "celu(2.0)",
    "softplus(3.0)",
    "squareplus(0.25)",
]
NAMES = [*activations.SMOOTH, *activations.PIECEWISE, *PARAMETERS]
needs_numba = pytest.mark.skipif(
    support.numba() is None, reason="compiled loops need the [fast] extra"
)


def close(got, expected, digits=1e-13):
    assert got.shape == expected.shape
    return np.abs(got - expected).max(initial=0) <= digits * max(
        np.abs(expected).max(initial=0), 1e-300
    )


def looped(mlp, order, at):
    """Return the result of `compile`. Fail if the compiled loop does not compute it."""
    tensor = compile(mlp, order)
    assert tensor.method == ("compiled loop" if order else "matrix products")
    if not order:
        return tensor(at)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(compilation, "whole", None)
        return tensor(at)


@needs_numba
@settings(max_examples=60)
@given(
    st.lists(st.integers(1, 6), min_size=2, max_size=4),
    st.integers(1, 2),
    st.integers(0, 6),
    st.lists(st.sampled_from(NAMES), min_size=4, max_size=4),
    st.sampled_from([(), (1,), (7,), (2, 3)]),
)
def test_compiled_tensors_equal_matrix_products(
    random_mlp, units, outputs, order, names, batch
):
    one_for_all = random_mlp([*units, outputs], "tanh", seed=order)
    mlp = MLP(one_for_all.weights, one_for_all.biases, names[: one_for_all.depth])
    at = np.random.default_rng(len(names)).uniform(-2, 2, (*batch, mlp.dim))
    expected = whole(mlp, order, at)
    assert close(looped(mlp, order, at), expected)


@needs_numba
@pytest.mark.parametrize("wide", [60, 70])
def test_past_the_size_of_one_matrix_product(random_mlp, wide, monkeypatch):
    mlp, at = (
        random_mlp([5, wide, wide, 2], "silu"),
        np.random.default_rng(0).standard_normal((300, 5)),
    )
    for order in (1, 2, 3):
        expected = whole(mlp, order, at)
        for together in (1, 2**10, 2**22):
            monkeypatch.setattr("paperlib.taylor.compiled.layout.TOGETHER", together)
            assert close(looped(mlp, order, at), expected)


@needs_numba
@pytest.mark.parametrize("name", NAMES)
def test_activations_are_accurate_in_the_tails(name):
    """A network of one neuron returns phi^(n).

    It is accurate to rounding of the largest value nearby, also in the tails.
    """
    mlp = MLP([[[1.0]], [[1.0]]], [[0.0], [0.0]], name)
    far = [] if name in ("exp", "sin") else [1e5, -1e5, 1e12, -1e12]
    z = np.concatenate([np.linspace(-40, 40, 801) + 1e-3, [1e-8, -1e-8, 1e-200], far])
    phi = activations.derivatives(name, z, 8)
    for order in range(1, 9):
        got = looped(mlp, order, z[:, None])[0]
        rounding = (
            1e-13 * np.abs(phi[max(order - 2, 0) : order + 1]).max(axis=0) + 1e-290
        )
        assert (
            np.abs(got - phi[order])
            <= rounding + 1e-15 * np.abs(phi[order]).max() * (name == "sin")
        ).all()


@needs_numba
def test_the_loop_is_compiled_once_for_all_kinds_of_arrays(random_mlp):
    from paperlib.taylor.compiled.interpreter import run

    mlp, at = random_mlp([3, 4, 1]), np.random.default_rng(0).standard_normal((4, 3))
    hessian = compile(mlp, 2)
    expected = hessian(at)
    frozen = at.copy()
    frozen.flags.writeable = False
    strided = np.repeat(at, 2, axis=1)[:, ::2]
    swapped = at.astype(at.dtype.newbyteorder())
    unaligned = (
        np.frombuffer(b"x" + at.tobytes(), dtype=np.uint8)[1:]
        .view(np.float64)
        .reshape(4, 3)
    )
    for other in (
        frozen,
        strided,
        swapped,
        unaligned,
        at.tolist(),
        np.asfortranarray(at),
    ):
        assert np.array_equal(hessian(other), expected)
    assert np.array_equal(
        hessian(at.astype(np.float32)), hessian(at.astype(np.float32).astype(float))
    )
    assert len(run.signatures) == 1


@needs_numba
def test_threads_share_a_compiled_request(random_mlp):
    mlp, at = (
        random_mlp([8, 32, 32, 1]),
        np.random.default_rng(0).standard_normal((32, 500, 8)),
    )
    third, begin = compile(mlp, 3), threading.Barrier(4)

    def call(k):
        if k < 4:
            begin.wait()
        return third(at[k])

    with ThreadPoolExecutor(4) as pool:
        for got, centres in zip(pool.map(call, range(32)), at):
            assert np.array_equal(got, third(centres))


def test_errors_are_those_of_the_numpy_methods(random_mlp):
    mlp = random_mlp([3, 4, 2, 1], "leaky_relu(0.1)")
    kinked = MLP([np.eye(2), [[1.0, 1.0]]], [[0.0, 1.0], [0.0]], "relu")
    steep = MLP([[[1e200, 1.0]], [[1e200]]], [[0.0], [0.0]], "tanh")
    large = MLP([[[1e308, 1e308]], [[1.0]], [[1.0]]], [[0.0]] * 3, "tanh")
    overflow = (
        "mlp, at: derivatives of order 2 overflow float64; "
        "scale the inputs or the weights"
    )
    for call, message in (
        (
            lambda: compile(mlp, 2)(np.zeros(2)),
            "at: shape (2,); the last axis must be 3 long",
        ),
        (
            lambda: compile(mlp, 2)(np.array(1.0)),
            "at = array(1.): must be an array with at least one axis",
        ),
        (
            lambda: compile(mlp, 2)(np.zeros((0, 3))),
            "at: shape (0, 3) is empty; every axis must be >= 1 long",
        ),
        (lambda: compile(mlp, 2)([0.0, np.nan, 0.0]), "at[1] = nan: must be finite"),
        (
            lambda: compile(mlp, 1)(np.array([0.0, 0.0, np.inf])),
            "at[2] = inf: must be finite",
        ),
        (
            lambda: compile(kinked, 2)(np.zeros(2)),
            "order 2: neuron 0 of layer 1 sits at the kink of relu, z = 0",
        ),
        (lambda: compile(steep, 2)(np.array([1e-201, 0.0])), overflow),
        (
            lambda: compile(large, 1)(np.array([10.0, -10.0])),
            "mlp, at: derivatives of order 1 overflow float64",
        ),
        (lambda: compile(mlp, 21), "request = 21: must be at most 20"),
        (lambda: compile(mlp, -1), "request = -1: must be an integer >= 0"),
    ):
        with pytest.raises(ValueError) as caught:
            call()
        assert message in str(caught.value)
    assert np.array_equal(
        compile(kinked, 1)(np.zeros(2)),
        derivative_tensor(kinked, 1, np.zeros(2)).packed,
    )


def test_memory_is_checked_before_a_batch_is_allocated(random_mlp):
    mlp = random_mlp([3, 4, 1])
    with pytest.raises(ValueError, match="at: needs .* are free: take fewer centres"):
        compile(mlp, 3)(np.broadcast_to(np.zeros(3), (2**45, 3)))


def test_without_numba_tensors_are_matrix_products(random_mlp, monkeypatch):
    monkeypatch.setattr(compilation, "_compiled_loop", lambda: None)
    mlp, at = random_mlp([3, 4, 1]), np.random.default_rng(0).standard_normal((2, 5, 3))
    third = compile(mlp, 3)
    assert (
        third.method == "matrix products"
        and repr(third) == "compile(MLP(3-4-1, tanh), 3)"
    )
    assert np.array_equal(third(at), whole(mlp, 3, at))


@needs_numba
def test_the_method(random_mlp):
    def method(widths, request, activation="tanh"):
        return compile(random_mlp(widths, activation), request).method

    custom = activations.Custom("none", activations.derivatives)
    for widths, request in (
        ([8, 4, 1], 6),
        ([64, 4, 1], 3),
        ([3, 1], 2),
        ([64, 4, 1], [(0, 1)]),
    ):
        assert method(widths, request) == "compiled loop"
    for name in (*NAMES, "tanh*3 + linear*1"):
        assert method([3, 4, 1], 2, name) == "compiled loop"
    assert (
        method([64, 4, 1], 4)
        == method([3, 4, 1], 2, custom)
        == method([3, 4, 1], 0)
        == "matrix products"
    )
    assert method([3, 4, 1], [(0, 1)], custom) == "NumPy program"
    mlp = random_mlp([3, 4, 1])
    for centres in (1, 2, 4000):
        at = np.random.default_rng(0).standard_normal((centres, 3))
        assert np.array_equal(derivative_tensor(mlp, 3, at).packed, compile(mlp, 3)(at))


@pytest.fixture(scope="module")
def activate():
    """Return `activate` as a function of arrays: own rows, auxiliary rows."""
    from paperlib.taylor.compiled.activations import CODES, activate

    called = support.numba().njit(lambda *arguments: activate(*arguments))

    def run(name, own, spare, first=0, length=None):
        width = own.shape[1]
        base, parameter, _, _ = activations.scaled(name)
        work = np.concatenate([own, spare]).reshape(-1)
        length = length or width
        called(
            CODES[base],
            parameter,
            work,
            first,
            first + own.size,
            width,
            length,
            len(own),
        )
        own[:], spare[:] = np.split(work.reshape(-1, width), [len(own)])

    return run


def columns(z, order, name):
    """Return own rows with z as the last, and auxiliary rows. All others are 7.5."""
    own = np.full((order + 2, len(z)), 7.5)
    own[-1] = z * activations.scaled(name).inner
    return own, np.full(
        (bases.spare_rows(activations.scaled(name).base, order), len(z)), 7.5
    )


def recurred(name, own, spare):
    order = len(own) - 2
    rows = dict(enumerate(np.concatenate([own, spare])))
    for out, terms in bases.recurrence(activations.scaled(name).base, order, order + 2):
        rows[out] = sum(
            weight * rows[left] * rows[right] for left, right, weight in terms
        )
    _, _, inner, outer = activations.scaled(name)
    return np.stack([outer * inner**k * rows[k] for k in range(order + 1)])


@needs_numba
@pytest.mark.parametrize("name", NAMES)
def test_values_and_slopes_are_accurate_in_the_tails(name, activate):
    z = np.concatenate([np.linspace(-36, 36, 717) + 1e-3, [1e-8, -1e-8, 1e-200]])
    own, spare = columns(z, 1, name)
    activate(name, own, spare)
    exact = activations.derivatives(name, z, 1)
    np.testing.assert_allclose(
        recurred(name, own, spare),
        exact,
        rtol=1e-12,
        atol=1e-15 if name == "sin" else 1e-300,
    )


@needs_numba
@pytest.mark.parametrize("name", EXACT)
def test_a_segment_of_columns_in_compiled_code(name, activate):
    """Compare the derivatives with mpmath.

    The columns beside the segment and the rows past the last are not changed.
    """
    z, exact = np.array(POINTS), activation_derivatives(name)
    own, spare = columns(np.concatenate([np.full(8, 7.5), z, np.full(8, 7.5)]), 8, name)
    own[-1, :8] = own[-1, -8:] = 7.5
    activate(name, own, spare, first=8, length=16)
    for rows in (own, spare):
        assert (rows[:, :8] == 7.5).all() and (rows[:, -8:] == 7.5).all()
    found = recurred(name, own[:, 8:24], spare[:, 8:24])
    for k in range(9):
        size = np.abs(exact[max(k - 2, 0) : k + 1]).max(axis=0) + 1e-290
        assert (np.abs(found[k] - exact[k]) <= 2e-14 * size).all()


@needs_numba
@pytest.mark.parametrize("name", activations.PIECEWISE)
def test_the_second_derivative_at_a_kink_is_nan(name, activate):
    own, spare = columns(np.array([1.0, -1.0, 0.0, 2.0] * 4), 2, name)
    activate(name, own, spare)
    kinks = own[-1] == 0
    assert (np.isnan(recurred(name, own, spare)[2]) == kinks).all() and np.isfinite(
        own[:2]
    ).all()


@needs_numba
def test_the_sine_of_large_numbers_is_that_of_numpy(activate):
    z = np.array([1e5, -1e5, 3e5 + 0.25, np.pi, 22 / 7, 1e-300, 2e6, -1e9] * 2)
    own, spare = columns(z, 1, "sin")
    activate("sin", own, spare)
    near = np.abs(z) < 1e6
    np.testing.assert_allclose(
        own[:2, near], [np.sin(z[near]), np.cos(z[near])], rtol=0, atol=3e-16
    )
    assert np.isnan(own[:2, ~near]).all()
    mlp = MLP([[[1.0]], [[1.0]]], [[0.0], [0.0]], "sin")
    assert np.array_equal(compile(mlp, 1)([1e9]), [np.cos(1e9)])


@needs_numba
def test_the_exponential_up_to_the_largest_number(activate):
    z = np.array([700.0, 708.9, 709.5, 800.0, -700.0, -709.0, -1e5, -1e300] * 2)
    own, spare = columns(z, 1, "exp")
    activate("exp", own, spare)
    np.testing.assert_allclose(
        own[0, :8],
        [np.exp(700.0), np.exp(708.9), np.inf, np.inf, np.exp(-700.0), 0, 0, 0],
        rtol=1e-14,
    )
