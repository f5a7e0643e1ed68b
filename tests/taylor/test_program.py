"""Compare programs with recursions and JAX, and the compiled loop with NumPy."""

import contextlib
import pickle
import subprocess
import sys
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reference_recursion import derivative_tensors, packed_entries

from paperlib import taylor
from paperlib._support import jit as support
from paperlib.networks.mlp import MLP
from paperlib.taylor import compilation
from paperlib.taylor.compilation import compile, prepare
from paperlib.taylor.executor import execute
from paperlib.taylor.program import Derivatives, Laplacian
from paperlib.taylor.symmetric import SymmetricTensor

needs_numba = pytest.mark.skipif(
    support.numba() is None, reason="compiled loops need the [fast] extra"
)
NAMES = [
    "tanh",
    "sigmoid",
    "silu",
    "gelu",
    "softplus(2.0)",
    "sin",
    "mish",
    "selu",
    "elu(0.5)",
    "squareplus",
    "softsign",
]


def close(got, expected, digits=1e-12):
    assert got.shape == expected.shape
    np.testing.assert_allclose(
        got, expected, rtol=0, atol=digits * (np.abs(expected).max(initial=0) + 1e-290)
    )


def with_numpy(mlp, request, at, **directions):
    """Return the result of `compile` by the NumPy executor."""
    function = compile(mlp, request)
    object.__setattr__(function, "_prepared", function._prepared._replace(layout=None))
    return function(at, **directions)


@pytest.mark.parametrize("order", range(1, 7))
@pytest.mark.parametrize("widths", [[1, 3, 1], [2, 4, 3, 1], [4, 3, 5, 2, 1]])
def test_a_program_is_the_centroid_rule(random_mlp, widths, order):
    mlp = random_mlp(widths, "gelu")
    at = np.random.default_rng(1).standard_normal((1, mlp.dim))
    request = (
        Derivatives(mlp.dim, order) if order > 1 else Derivatives(mlp.dim, (), ((),))
    )
    values, gradients = execute(mlp, request, list(mlp.weights[0].T[:, None]), at)
    found = values[0, 0] if order > 1 else gradients[0, 0, 0]
    close(
        found,
        packed_entries(derivative_tensors(mlp, order, at[0])[order], order, mlp.dim),
    )


@pytest.mark.parametrize("signs", [(3, 3), (3, 1), (3, 0)])
def test_laplacians_are_sums_of_derivatives(random_mlp, signs):
    mlp = random_mlp([3, 5, 4, 6, 2], "silu")
    at, letters = (
        np.random.default_rng(1).standard_normal((2, 3)),
        list(mlp.weights[0].T[:, None]),
    )
    sign = np.where(np.arange(3) < signs[1], 1, -1)
    second, fourth = (taylor.derivative_tensor(mlp, n, at).full() for n in (2, 4))
    close(
        execute(mlp, Laplacian(*signs, 1), letters, at)[0][..., 0],
        np.einsum("i,iino->on", sign, second),
    )
    close(
        execute(mlp, Laplacian(*signs, 2), letters, at)[0][..., 0],
        np.einsum("i,j,iijjno->on", sign, sign, fourth),
    )


@st.composite
def requests(draw, dim):
    """Draw a request by indices, and the names of its directions."""
    entries = st.one_of(st.integers(0, dim - 1), st.sampled_from(["u", "v", "w"]))
    free = draw(st.booleans())
    indices = draw(
        st.lists(
            st.lists(entries, min_size=not free, max_size=4), min_size=1, max_size=4
        )
    )
    request = [(*index, ...) if free else tuple(index) for index in indices]
    return request, {
        entry for index in indices for entry in index if isinstance(entry, str)
    }


@st.composite
def networks(draw):
    units = draw(st.lists(st.integers(1, 9), min_size=2, max_size=4))
    outputs, random = (
        draw(st.integers(1, 2)),
        np.random.default_rng(draw(st.integers(0, 99))),
    )
    weights = [
        random.standard_normal((b, a)) / np.sqrt(a)
        for a, b in zip(units, [*units[1:], outputs])
    ]
    names = []
    for count in units[1:]:
        first, second = (
            draw(st.sampled_from(NAMES)),
            draw(st.sampled_from([*NAMES, "linear"])),
        )
        cut = draw(st.integers(0, count - 1))
        names.append(f"{first}*{cut} + {second}*{count - cut}" if cut else second)
    return MLP(weights, [random.standard_normal(len(w)) for w in weights], names)


@needs_numba
@settings(max_examples=100)
@given(networks(), st.data(), st.sampled_from([(), (1,), (9,), (2, 3)]))
def test_the_loop_and_numpy_agree(mlp, data, batch):
    request, names = data.draw(requests(mlp.dim))
    random = np.random.default_rng(len(batch))
    at = random.uniform(-1, 1, (*batch, mlp.dim))
    vectors = {
        name: random.standard_normal(data.draw(st.sampled_from([at.shape, (mlp.dim,)])))
        for name in names
    }
    function = compile(mlp, request)
    assert function.method == "compiled loop"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(compilation, "_run_numpy", None)
        got = function(at, **vectors)
    close(got, with_numpy(mlp, request, at, **vectors))
    for power in ("laplacian", "bilaplacian"):
        close(compile(mlp, power)(at), with_numpy(mlp, power, at))


@settings(max_examples=100)
@given(networks(), st.data(), st.integers(1, 3))
def test_derivatives_are_contractions_of_whole_tensors(mlp, data, centres):
    request, names = data.draw(requests(mlp.dim))
    random = np.random.default_rng(centres)
    at = random.uniform(-1, 1, (centres, mlp.dim))
    vectors = {name: random.standard_normal((centres, mlp.dim)) for name in names}
    unit = np.broadcast_to(np.eye(mlp.dim)[:, None], (mlp.dim, centres, mlp.dim))
    got = compile(mlp, request)(at, **vectors)
    for place, index in enumerate(request):
        packed = compilation.whole(mlp, len(index), at).reshape(
            -1, centres, mlp.outputs
        )
        full = SymmetricTensor(len(index), mlp.dim, packed).full()
        full = np.moveaxis(full, (-2, -1), (0, 1))  # (centres, outputs, dim, .., dim)
        scale = np.abs(packed).max()
        for entry in index:  # contract the first index, or keep it as the last
            if entry is ...:
                full = np.moveaxis(full, 2, -1)
                continue
            vector = vectors[entry] if isinstance(entry, str) else unit[entry]
            full, scale = (
                np.einsum("noi...,ni->no...", full, vector),
                scale * np.abs(vector).sum(axis=-1).max(),
            )
        found = got.reshape(centres, mlp.outputs, len(request), -1)[:, :, place]
        np.testing.assert_allclose(
            found, full.reshape(found.shape), rtol=0, atol=1e-12 * scale + 1e-290
        )


def test_against_nested_jax():
    jax = pytest.importorskip("jax")
    random = np.random.default_rng(7)
    weights = [random.normal(size=shape) / 2 for shape in ((6, 4), (6, 6), (1, 6))]
    mlp = MLP(
        weights,
        [random.normal(size=len(w)) for w in weights],
        ["tanh*3 + linear*3", "selu"],
    )
    at, u, v = random.normal(size=(3, 5, 4))

    def f(x):
        z = weights[0] @ x + mlp.biases[0]
        y = jax.numpy.concatenate([jax.numpy.tanh(z[:3]), z[3:]])
        return (
            weights[2] @ jax.nn.selu(weights[1] @ y + mlp.biases[1]) + mlp.biases[2]
        )[0]

    def along(g, direction):
        return lambda x: jax.jvp(g, (x,), (direction,))[1]

    with jax.enable_x64(True):
        for request in (
            [("u",)],
            [("u", 1, "v")],
            [(0, 0, 3, "v")],
            [("v", ...)],
            [("u", "u", 2, ...)],
        ):
            expected = []
            for x, one, other in zip(at, u, v):
                g = jax.grad(f) if ... in request[0] else f
                for entry in request[0]:
                    if entry is not ...:
                        g = along(
                            g,
                            {"u": one, "v": other}[entry]
                            if isinstance(entry, str)
                            else np.eye(4)[entry],
                        )
                expected.append(np.array(g(x)))
            given = {
                name: each for name, each in (("u", u), ("v", v)) if name in request[0]
            }
            close(compile(mlp, request)(at, **given)[:, 0], np.array(expected))


@needs_numba
def test_compiled_requests_are_cached_while_the_network_lives(random_mlp):
    mlp = random_mlp([3, 4, 1])
    assert prepare(mlp, 2) is prepare(mlp, 2) is compile(mlp, 2)._prepared
    count = len(compilation._prepared)
    # This entry is deleted with its network.
    taylor.partial_derivatives(random_mlp([3, 4, 1], seed=1), [(0, 1)])
    for n in range(2 * compilation.MAX_CACHED):
        taylor.partial_derivatives(mlp, [(n % 3,) * (1 + n // 30), (n % 2,)])
    assert (
        len(compilation._prepared) == count
        and len(compilation._prepared[mlp]) <= compilation.MAX_CACHED
    )


@needs_numba
def test_the_first_calls_of_eight_threads(random_mlp):
    mlp, at = (
        random_mlp([8, 16, 16, 1]),
        np.random.default_rng(0).uniform(-1, 1, (50, 8)),
    )
    calls = [
        lambda: taylor.partial_derivatives(mlp, [(0, 1), (2, 2, 3)], at),
        lambda: taylor.hvp(mlp, at[::-1], at),
        lambda: taylor.laplacian(mlp, at),
        lambda: taylor.derivative_tensor(mlp, 3, at).packed,
    ]
    begin = threading.Barrier(8)

    def call(k):
        begin.wait()
        return calls[k % 4]()

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(call, range(8)))
    for k, each in enumerate(found):
        assert np.array_equal(each, calls[k % 4]())


def test_pickle_as_network_and_request(random_mlp):
    mlp, at, v = random_mlp([3, 4, 1]), np.array([0.1, 0.2, 0.3]), np.ones(3)
    for request, vectors in (
        (2, {}),
        ([(0, 1)], {}),
        ([("v", ...)], {"v": v}),
        ("laplacian", {}),
    ):
        function = compile(mlp, request)
        again = pickle.loads(pickle.dumps(function))
        assert len(pickle.dumps(function)) < 3000
        assert np.array_equal(again(at, **vectors), function(at, **vectors))


@pytest.mark.parametrize(
    ("request_", "error", "message"),
    [
        ([], ValueError, r"request = \(\): must have at least one tuple"),
        ([()], ValueError, r"request\[0\] = \(\): must be 1 to 20 indices"),
        ([(0, 3)], ValueError, r"request\[0\] = 3: must be an integer from 0 to 2"),
        ([(..., ...)], ValueError, "must be 1 to 20 indices, with at most one `...`"),
        (
            [(0,), (0, ...)],
            ValueError,
            "request: `...` is in some tuples; must be in all tuples or in none",
        ),
        (
            [("not a name",)],
            TypeError,
            r"request\[0\] = 'not a name': must be an integer",
        ),
        (
            "hessian",
            ValueError,
            "request = 'hessian': must be one of 'laplacian', 'bilaplacian'",
        ),
        (2.0, TypeError, "request = 2.0: must be an integer"),
        (21, ValueError, "request = 21: must be at most 20"),
    ],
)
def test_bad_requests(random_mlp, request_, error, message):
    with pytest.raises(error, match=message) as raised:
        compile(random_mlp([3, 4, 1]), request_)
    assert "\n" not in str(raised.value)


def test_bad_directions(random_mlp):
    product = compile(random_mlp([3, 4, 1]), [("v", ...)])
    for vectors, error, message in (
        ({}, TypeError, "directions: none given; must be v"),
        (
            {"v": np.ones(3), "u": np.ones(3)},
            TypeError,
            "directions: v, u given; must be v",
        ),
        ({"u": np.ones(3)}, TypeError, "directions: u given; must be v"),
        (
            {"v": np.ones(2)},
            ValueError,
            r"v: shape \(2,\); the last axis must be 3 long",
        ),
        (
            {"v": np.array([0.0, np.nan, 0.0])},
            ValueError,
            r"v\[1\] = nan: must be finite",
        ),
        (
            {"v": np.ones((2, 3))},
            ValueError,
            r"directions: shapes \(2, 3\); must broadcast with at, \(4, 3\)",
        ),
    ):
        with pytest.raises(error, match=message):
            product(np.zeros((4, 3)), **vectors)
    with pytest.raises(TypeError, match="directions: v given; must be none"):
        compile(random_mlp([3, 4, 1]), 2)(np.zeros(3), v=np.ones(3))
    with pytest.raises(ValueError, match="metric: given for request"):
        compile(random_mlp([3, 4, 1]), 2, metric=np.ones(3))


def test_changed_internals_of_numba_are_reported_once_and_numpy_is_used():
    """Run a process in which an internal function of numba is missing."""
    code = """
import warnings
import numpy as np
import numba.np.arrayobj
del numba.np.arrayobj.populate_array
from paperlib import MLP, taylor
mlp = MLP([[[1.0, 2.0]], [[1.0]]], [[0.0], [0.0]], "tanh")
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    assert taylor.compile(mlp, 2).method == "matrix products"
    tensor = taylor.derivative_tensor(mlp, 2, np.zeros((20000, 2)))
    assert tensor.packed.shape == (3, 20000)
    assert taylor.hvp(mlp, np.ones((2, 2))).shape == (2, 2)
messages = [str(each.message) for each in caught]
message, = messages
assert "\\n" not in message and "NumPy is used" in message, message
"""
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("numba", [True, False])
@pytest.mark.parametrize(
    "request_",
    [
        [("v", 0), ("v",)],
        [("v", ...), (...,)],
        [(0, 1), (1,)],
        "laplacian",
        "bilaplacian",
    ],
)
def test_a_batch_in_parts_equals_single_centres(
    random_mlp, monkeypatch, request_, numba
):
    monkeypatch.setattr("paperlib.taylor.compiled.layout.TOGETHER", 1)
    if not numba:
        monkeypatch.setattr(compilation, "_compiled_loop", lambda: None)
        monkeypatch.setattr(compilation, "CHUNK_BYTES", 2**14)
    at, v = np.random.default_rng(1).uniform(-1, 1, (2, 43, 3))
    function = compile(random_mlp([3, 5, 4, 2], "silu"), request_)
    vectors = {"v": v} if "v" in function._prepared.names else {}
    alone = [function(x, **dict.fromkeys(vectors, y)) for x, y in zip(at, v)]
    close(function(at, **vectors), np.array(alone), 1e-13)


@pytest.mark.parametrize(
    "metric", [np.zeros(3), np.zeros((3, 3)), [0.0, 2.0, 0.0], [0.0, 0.0, -1.0]]
)
def test_a_metric_with_zeros(random_mlp, metric):
    mlp, at = (
        random_mlp([3, 5, 4, 2], "silu"),
        np.random.default_rng(1).uniform(-1, 1, (4, 3)),
    )
    g = np.diag(metric) if np.ndim(metric) == 1 else metric
    wanted = np.einsum("ij,ij...->...", g, taylor.derivative_tensor(mlp, 2, at).full())
    np.testing.assert_allclose(
        taylor.laplacian(mlp, at, metric), wanted, rtol=0, atol=1e-13
    )


def test_memory_is_checked_before_it_is_allocated(random_mlp, monkeypatch):
    small = random_mlp([3, 4, 1])
    wide = MLP(
        [np.zeros((300, 300)), np.zeros((1, 300))], [np.zeros(300), np.zeros(1)], "tanh"
    )
    many = np.broadcast_to(np.zeros(3), (2**20, 3))
    monkeypatch.setattr("paperlib._support.validation._free_bytes", lambda: 2**26)
    for call, message in (
        (lambda: taylor.bilaplacian(wide), "mlp: needs .* its bilaplacian"),
        (lambda: compile(small, [(...,)] * 9)(many), "at: needs"),
        (lambda: with_numpy(small, [(0,)] * 9, many), "at: needs"),
        (lambda: taylor.mixed_derivative(small, [many] * 4), "at: needs"),
        (lambda: taylor.hvp(small, np.broadcast_to(np.zeros(3), (2**36, 3))), "needs"),
    ):
        with pytest.raises(ValueError, match=message):
            call()


@needs_numba
def test_the_cache_of_a_network_is_bounded_in_bytes(random_mlp, monkeypatch):
    monkeypatch.setattr(compilation, "MAX_CACHED_BYTES", 2**20)
    mlp = random_mlp([64, 64, 64, 1])
    for scale in range(1, 20):
        taylor.laplacian(mlp, metric=np.full(64, float(scale)))
    assert sum(map(compilation._nbytes, compilation._prepared[mlp].values())) <= 2**20


def test_arrays_of_other_byte_orders_and_warnings(random_mlp):
    mlp, (at, v, w) = (
        random_mlp([3, 4, 1]),
        np.random.default_rng(0).uniform(-1, 1, (3, 5, 3)),
    )
    swapped = [each.astype(">f8") for each in (at, v, w)]
    assert np.array_equal(taylor.hvp(mlp, *swapped[:2]), taylor.hvp(mlp, at, v))
    assert np.array_equal(
        taylor.mixed_derivative(mlp, swapped[1:], swapped[0]),
        taylor.mixed_derivative(mlp, [v, w], at),
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        steep = MLP([[[1e150]], [[1.0]]], [[0.1], [0.0]], "celu(1e-200)")
        for call in (
            lambda: compile(steep, 2)([0.5]),
            lambda: taylor.laplacian(
                MLP([[[1e200, 1.0]], [[1.0]]], [[0.0]] * 2, "tanh"), metric=[1e300, 1.0]
            ),
        ):
            with contextlib.suppress(ValueError):
                call()


@pytest.mark.parametrize(
    ("name", "slope"),
    [
        ("elu(0.5)", 0.5),
        ("selu", 1.6732632423543772 * 1.0507009873554805),
        ("celu(2)", 1.0),
        ("leaky_relu(0.2)", 0.2),
        ("softsign", 1.0),
        ("relu", 0.0),
    ],
)
def test_the_slope_at_a_kink_is_that_of_the_side_below(name, slope):
    mlp = MLP([[[1.0]], [[1.0]]], [[0.0], [0.0]], name)
    for at in ([0.0], [-0.0]):
        np.testing.assert_allclose(compile(mlp, 1)(at), [slope], rtol=1e-15)
