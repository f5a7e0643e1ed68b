"""Derivative tensors against the public tools that give them: `pytest tests/benchmarks`.

The network is 64-64-64-64-1, tanh, float64, unless the test says otherwise. Every peer is compiled and warmed
up first, and its result is compared with ours before it is timed; a peer that is not installed is skipped.
Ours gives the packed tensor, the peers the full one, so ours with `.full()` is timed too. Ratios mean
something within one run on a quiet machine only.
"""

import subprocess
import sys
import time
from itertools import product

import numpy as np
import pytest

from paperlib.taylor.compilation import BEYOND, compile
from paperlib.taylor.series import directional_derivatives
from paperlib.taylor.symmetric import index_table, packed_size
from paperlib.taylor.tensors import derivative_tensor

WIDTHS = [64, 64, 64, 64, 1]
DIMS = (8, 16, 32, 64, 128)
ROUNDS = {1: 30, 2: 30, 3: 20, 4: 5, 5: 2, 6: 1}


@pytest.fixture(scope="module")
def mlp(random_mlp):
    return random_mlp(WIDTHS)


def point(d):
    return np.random.default_rng(1).uniform(-0.5, 0.5, d)


@pytest.fixture(scope="module")
def at():
    return point(WIDTHS[0])


@pytest.fixture
def timed(benchmark, request):
    """timed(order, function): warmed up, then a few rounds; the order groups the report."""
    pytest.importorskip("pytest_benchmark")

    def run(order, function, group=None):
        benchmark.group = group or f"order {order}, d = 64"
        return benchmark.pedantic(
            function, rounds=ROUNDS[order], warmup_rounds=order < 6
        )

    return run


@pytest.mark.parametrize(
    ("order", "d"),
    [c for c in product(range(1, 7), DIMS) if packed_size(c[1], c[0]) <= 2.5e8],
)
def test_packed(timed, random_mlp, order, d):
    """Whole tensors of up to 2 GB."""
    mlp, at = random_mlp([d, *WIDTHS[1:]]), point(d)
    timed(
        order,
        lambda: derivative_tensor(mlp, order, at),
        group=f"order {order}, d = {d}",
    )


@pytest.mark.parametrize("order", [2, 3, 4])
def test_full(timed, mlp, at, order):
    timed(order, lambda: derivative_tensor(mlp, order, at).full())


@pytest.mark.parametrize(("order", "gib"), [(5, 2), (6, 6)])
def test_peak_memory(order, gib):
    """Of a process of its own, NumPy and the network included; packed, order 5 is 0.08 GiB and order 6 is 0.89 GiB."""
    script = f"""
import resource
import numpy as np
from paperlib import MLP
from paperlib.taylor import derivative_tensor
random, widths = np.random.default_rng(0), {WIDTHS}
weights = [random.standard_normal((o, i)) / 8 for i, o in zip(widths, widths[1:])]
derivative_tensor(MLP(weights, [np.zeros(o) for o in widths[1:]], "tanh"), {order}, np.full(64, 0.1))
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20)
"""
    peak = float(
        subprocess.run(
            [sys.executable, "-c", script], capture_output=True, text=True, check=True
        ).stdout
    )
    print(f"order {order}: peak memory {peak:.2f} GiB")
    assert peak < gib


def jax_function(jax, mlp):
    parameters = [
        (jax.numpy.asarray(w), jax.numpy.asarray(b))
        for w, b in zip(mlp.weights, mlp.biases)
    ]
    phi = getattr(jax.nn, mlp.activation)

    def function(x):
        *hidden, (w, b) = parameters
        for weight, bias in hidden:
            x = phi(weight @ x + bias)
        return (w @ x + b)[0]

    return function


def jax_tensor(jax, mlp, order):
    nested = jax.grad(jax_function(jax, mlp))
    for _ in range(order - 1):
        nested = jax.jacfwd(nested)
    return nested


def agree(full, mlp, order, at):
    ours = derivative_tensor(mlp, order, at).packed
    theirs = np.asarray(full)[tuple(index_table(mlp.dim, order).T)]
    assert np.linalg.norm(ours - theirs) < 1e-10 * np.linalg.norm(ours)


@pytest.mark.parametrize(
    ("order", "d"), [c for c in product(range(1, 5), DIMS) if 8 * c[1] ** c[0] <= 1e9]
)
def test_nested_jax(timed, jax, random_mlp, order, d):
    """Full tensors of up to 1 GB."""
    mlp, at = random_mlp([d, *WIDTHS[1:]]), point(d)
    nested, x = jax.jit(jax_tensor(jax, mlp, order)), jax.numpy.asarray(at)
    agree(nested(x), mlp, order, at)
    timed(order, lambda: nested(x).block_until_ready(), group=f"order {order}, d = {d}")


@pytest.mark.parametrize("order", range(1, 4))
def test_torch_func(timed, mlp, at, order):
    torch = pytest.importorskip("torch")
    parameters = [
        (torch.tensor(w), torch.tensor(b)) for w, b in zip(mlp.weights, mlp.biases)
    ]

    def function(x):
        *hidden, (w, b) = parameters
        for weight, bias in hidden:
            x = torch.tanh(weight @ x + bias)
        return (w @ x + b)[0]

    nested = torch.func.grad(function)
    for _ in range(order - 1):
        nested = torch.func.jacfwd(nested)
    point = torch.tensor(at)
    agree(nested(point).numpy(), mlp, order, at)
    timed(order, lambda: nested(point))


def torch_module(torch, mlp):
    layers = []
    for weight, bias in zip(mlp.weights, mlp.biases):
        layer = torch.nn.Linear(weight.shape[1], weight.shape[0], dtype=torch.float64)
        layer.weight.data, layer.bias.data = torch.tensor(weight), torch.tensor(bias)
        layers += [layer, torch.nn.Tanh()]
    return torch.nn.Sequential(*layers[:-1])


@pytest.mark.parametrize("order", [2, 3])
def test_thoad(timed, mlp, at, order):
    """It needs Python 3.12."""
    torch, thoad = pytest.importorskip("torch"), pytest.importorskip("thoad")
    module = torch_module(torch, mlp)

    def all_orders():
        point = torch.tensor(at[None], requires_grad=True)
        thoad.backward(tensor=module(point), order=order)
        return point.hgrad[order - 1]

    agree(all_orders().numpy().reshape((mlp.dim,) * order), mlp, order, at)
    timed(order, all_orders)


@pytest.mark.parametrize("order", [2, 3])
def test_tayloranalysis_at_8_inputs(timed, random_mlp, order):
    """It gives one coefficient for each index tuple it is asked for, so all packed ones are asked for."""
    torch, analysis = (
        pytest.importorskip("torch"),
        pytest.importorskip("tayloranalysis"),
    )
    mlp, at = random_mlp([8, *WIDTHS[1:]]), point(8)
    model = analysis.extend_model(torch_module(torch, mlp))
    tuples = [tuple(map(int, row)) for row in index_table(8, order)]
    x = torch.tensor(at[None])

    def all_coefficients():
        return model.get_tc(
            forward_kwargs_tctensor_key="input",
            forward_kwargs={"input": x},
            tc_idx_list=tuples,
            reduce_func=torch.mean,
        )

    assert len(all_coefficients()) == len(tuples)
    timed(order, all_coefficients, group=f"order {order}, 8 inputs")


@pytest.mark.parametrize("order", [2, 3])
def test_packed_at_8_inputs(timed, random_mlp, order):
    mlp, at = random_mlp([8, *WIDTHS[1:]]), point(8)
    timed(
        order,
        lambda: derivative_tensor(mlp, order, at),
        group=f"order {order}, 8 inputs",
    )


@pytest.mark.parametrize("order", [2, 3])
def test_nested_tensorflow_tapes(timed, mlp, at, order):
    pytest.importorskip("tensorflow")
    from paperlib._support import tensorflow as _tensorflow

    tf, _ = _tensorflow.load()
    parameters = [
        (tf.constant(w), tf.constant(b)) for w, b in zip(mlp.weights, mlp.biases)
    ]

    def function(x):
        *hidden, (w, b) = parameters
        for weight, bias in hidden:
            x = tf.tanh(tf.linalg.matvec(weight, x) + bias)
        return (tf.linalg.matvec(w, x) + b)[0]

    def differentiated(inner, x, first):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = inner(x)
        return tape.gradient(y, x) if first else tape.jacobian(y, x)

    nested = function
    for level in range(order):
        nested = (lambda inner, first: lambda x: differentiated(inner, x, first))(
            nested, level == 0
        )
    graph, x = tf.function(nested), tf.constant(at)
    agree(graph(x).numpy(), mlp, order, at)
    timed(order, lambda: graph(x).numpy())


NETWORKS = (
    [2, 16, 1],
    [4, 8, 8, 1],
    [8, 32, 32, 1],
    [8, *WIDTHS[1:]],
    [16, *WIDTHS[1:]],
    [32, *WIDTHS[1:]],
    WIDTHS,
)
CENTRES = (1, 2_000, 1_000, 500, 500, 200, 100)  # of each, beside one
CELLS = [
    (name, order)
    for name, widths in {
        "-".join(map(str, widths)): widths for widths in NETWORKS
    }.items()
    for order in range(1, 5)
    if 8 * widths[0] ** order < 3e6
]


def widths_of(name):
    return [int(units) for units in name.split("-")]


def centres_of(name):
    count = dict(zip(map(tuple, NETWORKS), CENTRES, strict=True))[
        tuple(widths_of(name))
    ]
    return np.random.default_rng(0).uniform(-0.5, 0.5, (count, widths_of(name)[0]))


def often(benchmark, group, function):
    """Rounds that are long enough for the clock, for half a second or two of them."""
    pytest.importorskip("pytest_benchmark")
    benchmark.group = group
    function()
    begun = time.perf_counter()
    function()
    seconds = time.perf_counter() - begun
    iterations = max(1, int(2e-3 / seconds))
    rounds = min(max(2, int(0.5 / (iterations * seconds))), 100)
    benchmark.pedantic(function, rounds=rounds, iterations=iterations)


@pytest.mark.parametrize(("name", "order"), CELLS)
def test_compiled(benchmark, random_mlp, name, order):
    mlp = random_mlp(widths_of(name))
    tensor, at = compile(mlp, order), point(mlp.dim)
    often(benchmark, f"order {order}, {name}", lambda: tensor(at))


@pytest.mark.parametrize(("name", "order"), CELLS)
def test_compiled_jax(benchmark, jax, random_mlp, name, order):
    mlp = random_mlp(widths_of(name))
    nested, at = jax.jit(jax_tensor(jax, mlp, order)), jax.numpy.asarray(point(mlp.dim))
    agree(nested(at), mlp, order, point(mlp.dim))
    often(benchmark, f"order {order}, {name}", lambda: nested(at).block_until_ready())


MANY = [
    (name, order)
    for name, order in CELLS
    if len(centres_of(name)) > 1 and 8 * widths_of(name)[0] ** order < 1e5
]


@pytest.mark.parametrize(("name", "order"), MANY)
def test_compiled_many(benchmark, random_mlp, name, order):
    tensor, centres = compile(random_mlp(widths_of(name)), order), centres_of(name)
    often(
        benchmark,
        f"order {order}, {name}, {len(centres)} centres",
        lambda: tensor(centres),
    )


@pytest.mark.parametrize(("name", "order"), MANY)
def test_compiled_many_jax(benchmark, jax, random_mlp, name, order):
    mlp, centres = random_mlp(widths_of(name)), centres_of(name)
    nested, at = (
        jax.jit(jax.vmap(jax_tensor(jax, mlp, order))),
        jax.numpy.asarray(centres),
    )
    ours, theirs = compile(mlp, order)(centres), np.asarray(nested(at))
    np.testing.assert_allclose(
        ours,
        theirs[(slice(None), *index_table(mlp.dim, order).T)].T,
        atol=1e-10 * np.abs(ours).max(),
    )
    often(
        benchmark,
        f"order {order}, {name}, {len(centres)} centres",
        lambda: nested(at).block_until_ready(),
    )


SMALL = NETWORKS[1]


def test_compiled_heyoka(benchmark, random_mlp):
    """Its expressions are compiled, which takes it from 8 inputs and 16 neurons on longer than all the rest here."""
    heyoka = pytest.importorskip("heyoka")
    mlp, at = random_mlp(SMALL), point(SMALL[0])
    symbols = heyoka.make_vars(*(f"x_{i}" for i in range(SMALL[0])))
    y = symbols
    for layer, (weight, bias) in enumerate(zip(mlp.weights, mlp.biases)):
        z = [
            heyoka.sum([w * v for w, v in zip(row, y)] + [heyoka.expression(float(b))])
            for row, b in zip(weight, bias)
        ]
        y = [heyoka.tanh(v) for v in z] if layer < mlp.depth else z
    tensors = heyoka.diff_tensors(y, diff_args=symbols, diff_order=3)
    function = heyoka.cfunc(
        [expression for _, expression in tensors.get_derivatives(3)], symbols
    )
    np.testing.assert_allclose(
        np.sort(function(at)), np.sort(derivative_tensor(mlp, 3, at).packed), atol=1e-12
    )
    often(benchmark, "order 3, 4-8-8-1", lambda: function(at))


# What a call is made of, from the outside in.


def test_call_what_it_returns_and_works_in(benchmark):
    often(
        benchmark,
        "a call: order 3, 4-8-8-1",
        lambda: (np.zeros(20)[:20], np.empty(1000)),
    )


def test_call_what_it_is_given(benchmark):
    at = point(SMALL[0])
    often(
        benchmark,
        "a call: order 3, 4-8-8-1",
        lambda: np.array(at, dtype=np.float64, order="C").reshape(-1),
    )


def called(mlp, at):
    """The compiled loop with all its arguments, without what `Compiled` does at a call."""
    from paperlib.taylor.compiled.interpreter import run

    of = compile(mlp, 3)._prepared.layout
    none, out, work = np.zeros(0), np.zeros(of.entries + BEYOND), np.empty(of.work)
    return lambda: run(at, none, out, work, 1, of.table, of.numbers)


def test_call_the_compiled_loop(benchmark, random_mlp):
    often(
        benchmark,
        "a call: order 3, 4-8-8-1",
        called(random_mlp(SMALL), point(SMALL[0])),
    )


def test_call_of_a_compiled_loop_that_has_nothing_to_do(benchmark, random_mlp):
    refused = np.full(4, np.nan)  # after the first product
    often(benchmark, "a call: order 3, 4-8-8-1", called(random_mlp(SMALL), refused))


def test_matrix_product_rate(timed):
    """What this machine's BLAS gives at best: 2 x 2000^3 FLOPs in double precision."""
    a = np.random.default_rng(0).standard_normal((2000, 2000))
    timed(4, lambda: a @ a, group="2 x 2000^3 FLOPs")


@pytest.fixture(scope="module")
def directions():
    return np.random.default_rng(2).standard_normal((10_000, WIDTHS[0]))


def test_series_along_10000_directions(timed, mlp, at, directions):
    timed(
        4,
        lambda: directional_derivatives(mlp, 5, directions, at),
        group="order-5 series, 10,000 directions",
    )


def test_jax_jet_along_10000_directions(timed, jax, mlp, at, directions):
    jet = pytest.importorskip("jax.experimental.jet")
    function, point = jax_function(jax, mlp), jax.numpy.asarray(at)

    def one(direction):
        zero = jax.numpy.zeros_like(direction)
        return jet.jet(function, (point,), ((direction, zero, zero, zero, zero),))[1]

    series, batch = jax.jit(jax.vmap(one)), jax.numpy.asarray(directions)
    theirs = np.stack(series(batch), axis=-1)
    ours = directional_derivatives(mlp, 5, directions, at)[:, 1:]
    assert np.linalg.norm(ours - theirs) < 1e-10 * np.linalg.norm(ours)
    timed(
        4,
        lambda: jax.block_until_ready(series(batch)),
        group="order-5 series, 10,000 directions",
    )


def test_omnibias_along_10000_directions(timed, mlp, at, directions):
    torch, jet = pytest.importorskip("torch"), pytest.importorskip("omnibias.torch.jet")
    names = ["tanh"] * mlp.depth + [None]
    layers = [
        (torch.tensor(w), torch.tensor(b), name)
        for w, b, name in zip(mlp.weights, mlp.biases, names)
    ]
    points, batch = (
        torch.tensor(at).expand(len(directions), -1),
        torch.tensor(directions),
    )

    def run():
        return jet.jet_to_tower(jet.mlp_jet(points, batch, layers, 5))

    ours = directional_derivatives(mlp, 5, directions, at)
    assert np.linalg.norm(ours.T - run()[..., 0].numpy()) < 1e-10 * np.linalg.norm(ours)
    timed(4, run, group="order-5 series, 10,000 directions")
