"""Compare operators with JAX, folx and our own whole tensors: `pytest tests/benchmarks/test_operators.py`.

Every case has up to three benchmarks of the same result. `test_ours` calls the plain
function, `test_ours_compiled` calls the object that `taylor.compile` returns, and
`test_jax` calls jitted JAX in float64. Each result is compared with the plain function
before it is timed. `ROWS` names the benchmarks of each row of the table, with the
ratios that are required and aimed at. Ratios mean something within one run on a quiet
machine only; set OMP_NUM_THREADS=1 to use one core.

The JAX formulations are the fastest of those tried on one core:

- partial derivatives of orders 1 to 3 for 8 inputs: nested `jvp` of `grad` along unit
  vectors;
- the other partial derivatives and mixed derivatives: nested `jvp` along the
  directions;
- Hessian-vector product: `jvp` of `grad`;
- Laplacian: `jvp` of `jvp` along every unit vector, all at once (`vmap`) at one centre
  and one after another (`lax.map`) at many, where each step runs over all centres;
- bilaplacian: fourth derivatives by `jet` at one centre for 8 inputs, the Laplacian of
  the Laplacian above at many, and the Laplacian of the trace of the Hessian for 64
  inputs;
- tensors: `jacfwd` of `grad`.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest
from test_peers import jax_function, jax_tensor, often

from paperlib import taylor
from paperlib.taylor import compilation
from paperlib.taylor.symmetric import index_table, packed_position

# JAX's formulations: each takes (jax, mlp) and returns a function of one centre and the
# directions.


def jax_along(jax, function, direction):
    """Return the derivative of `function` along a direction, as a function."""
    return lambda x: jax.jvp(function, (x,), (direction,))[1]


def jax_partials(*indices):
    def build(jax, mlp):
        unit = jax.numpy.eye(mlp.dim)

        def derivatives(x):
            found = []
            for index in indices:
                function = jax_function(jax, mlp)
                for i in index:
                    function = jax_along(jax, function, unit[i])
                found.append(function(x))
            return jax.numpy.stack(found)

        return derivatives

    return build


def jax_mixed(jax, mlp):
    def derivative(x, *directions):
        function = jax_function(jax, mlp)
        for direction in directions:
            function = jax_along(jax, function, direction)
        return function(x)

    return derivative


def jax_partials_of_gradient(*indices):
    """Differentiate the gradient along unit vectors and take its component of the first index."""

    def build(jax, mlp):
        gradient, unit = jax.grad(jax_function(jax, mlp)), jax.numpy.eye(mlp.dim)

        def derivatives(x):
            found = []
            for first, *others in indices:
                function = gradient
                for i in others:
                    function = jax_along(jax, function, unit[i])
                found.append(function(x)[first])
            return jax.numpy.stack(found)

        return derivatives

    return build


def jax_hvp(jax, mlp):
    gradient = jax.grad(jax_function(jax, mlp))
    return lambda x, v: jax_along(jax, gradient, v)(x)


def laplacian_by_vmap(jax, function, dim):
    # A constant, so XLA computes its product with the first layer's weights once
    unit = jax.numpy.eye(dim)

    def second(x, v):
        return jax_along(jax, jax_along(jax, function, v), v)(x)

    return lambda x: jax.vmap(second, (None, 0))(x, unit).sum()


def laplacian_by_map(jax, function, dim):
    """Return the Laplacian of `function`. With `vmap` over the centres, each of the `dim` steps runs over all of them."""
    unit = jax.numpy.eye(dim)

    def laplacian(x):
        return jax.lax.map(
            lambda v: jax_along(jax, jax_along(jax, function, v), v)(x), unit
        ).sum()

    return laplacian


def trace_of_hessian(jax, function, dim):
    return lambda x: jax.numpy.trace(jax.hessian(function)(x))


def jax_by(*laplacians):
    """Apply one or two of the Laplacians above to the network, the first one first."""

    def build(jax, mlp):
        function = jax_function(jax, mlp)
        for laplacian in laplacians:
            function = laplacian(jax, function, mlp.dim)
        return function

    return build


def bilaplacian_by_jet(jax, mlp):
    """Return the bilaplacian from fourth derivatives along e_i and e_i +- e_j, by Taylor mode.

    D^4 f along e_i + e_j plus D^4 f along e_i - e_j is 2 f_iiii + 12 f_iijj + 2 f_jjjj.
    """
    from jax.experimental import jet

    d = mlp.dim
    function, unit, zero = jax_function(jax, mlp), np.eye(d), jax.numpy.zeros(d)
    i, j = np.triu_indices(d, 1)
    directions = np.concatenate([unit[i] + unit[j], unit[i] - unit[j], unit])
    factors = np.concatenate([np.full(2 * len(i), 1 / 6), np.full(d, 1 - (d - 1) / 3)])

    def bilaplacian(x):
        fourth = jax.vmap(
            lambda v: jet.jet(function, (x,), ((v, zero, zero, zero),))[1][3]
        )
        return factors @ fourth(jax.numpy.asarray(directions))

    return bilaplacian


# Operators and cases.


class Operator(NamedTuple):
    plain: Callable  # (mlp, at, *directions) -> array
    request: Any  # the second argument of `taylor.compile`
    # (jax, mlp) -> function of one centre and the directions
    jax: Callable | None = None
    directions: tuple[str, ...] = ()


class Case(NamedTuple):
    operator: Operator
    widths: str
    centres: int
    activation: str = "tanh"

    def arguments(self):
        """Return the centres and the directions, each of shape (dim,) at one centre and (centres, dim) at more."""
        shape = (self.centres, int(self.widths.split("-")[0]))
        random = np.random.default_rng(1)
        arrays = [
            random.uniform(-0.5, 0.5, shape)
            for _ in range(1 + len(self.operator.directions))
        ]
        return [array[0] if self.centres == 1 else array for array in arrays]


def partials(*indices, jax=jax_partials):
    return Operator(
        lambda mlp, at: taylor.partial_derivatives(mlp, indices, at),
        list(indices),
        jax(*indices),
    )


def tensor(order):
    return Operator(
        lambda mlp, at: taylor.derivative_tensor(mlp, order, at).packed,
        order,
        lambda jax, mlp: jax_tensor(jax, mlp, order),
    )


DRAWN = np.sort(np.random.default_rng(0).integers(0, 8, (30, 6)), axis=1)
RANDOM_TUPLES = list(dict.fromkeys(map(tuple, DRAWN.tolist())))[:20]  # all different
HVP = Operator(lambda mlp, at, v: taylor.hvp(mlp, v, at), [("v", ...)], jax_hvp, ("v",))
MIXED = Operator(
    lambda mlp, at, *directions: taylor.mixed_derivative(mlp, directions, at),
    [("u", "v", "s")],
    jax_mixed,
    ("u", "v", "s"),
)
LAPLACIAN = Operator(taylor.laplacian, "laplacian", jax_by(laplacian_by_map))
BILAPLACIAN = Operator(
    taylor.bilaplacian, "bilaplacian", jax_by(trace_of_hessian, laplacian_by_map)
)
CHOSEN = {
    "partials-orders-1-3": partials((0,), (0, 2, 2), jax=jax_partials_of_gradient),
    "partials-order-2": partials(
        (0, 1), (2, 3), (4, 5), (6, 7), jax=jax_partials_of_gradient
    ),
    "partials-order-4": partials((0, 0, 1, 2), (3, 3, 4, 5), (1, 2, 6, 7)),
}
PARTIALS_OF_1000 = partials(
    (0,), (1,), (500,), (999,), (0, 0), (0, 999), (3, 500), (998, 999)
)
OF_ORDER_6 = {  # compared with our whole tensor, not with JAX
    "partials-order-6-20-tuples": partials(*RANDOM_TUPLES),
    "partials-order-6-3-tuples": partials(
        (0, 0, 1, 2, 3, 4), (1, 2, 2, 5, 6, 7), (3, 3, 4, 4, 5, 5)
    ),
}
SMALL, WIDE, LONG = "8-32-32-1", "64-64-64-64-1", "1000-64-64-1"
MANY = {"partials-order-4": 200}  # 1,000 centres for the others


def _cases():
    for name, operator in CHOSEN.items():
        for centres in (1, MANY.get(name, 1000)):
            yield name, Case(operator, SMALL, centres)
    for name, operator in {"hvp": HVP, "mixed-order-3": MIXED}.items():
        for widths in (SMALL, WIDE):
            for centres in (1, 1000):
                yield name, Case(operator, widths, centres)
    yield "laplacian", Case(LAPLACIAN, WIDE, 500)
    yield "bilaplacian", Case(BILAPLACIAN._replace(jax=bilaplacian_by_jet), SMALL, 1)
    yield (
        "bilaplacian",
        Case(
            BILAPLACIAN._replace(jax=jax_by(laplacian_by_map, laplacian_by_map)),
            SMALL,
            1000,
        ),
    )
    for centres in (1, 8):
        yield "bilaplacian", Case(BILAPLACIAN, WIDE, centres)
    for name, operator in OF_ORDER_6.items():
        for centres in (1, 10):
            yield name, Case(operator._replace(jax=None), SMALL, centres)
    yield "tensor-order-1", Case(tensor(1), "16-64-64-64-1", 500)
    for order in (1, 2):
        yield f"tensor-order-{order}", Case(tensor(order), "4-8-8-1", 2000)
    for centres in (2, 10, 100):
        yield "tensor-order-2", Case(tensor(2), SMALL, centres)
    yield "selu-tensor-order-3", Case(tensor(3), "3-8-8-1", 1, "selu")
    for centres in (1, 100):
        yield "partials-8-tuples", Case(PARTIALS_OF_1000, LONG, centres)
        yield "hvp", Case(HVP, LONG, centres)
        laplacian = jax_by(laplacian_by_vmap if centres == 1 else laplacian_by_map)
        yield "laplacian", Case(LAPLACIAN._replace(jax=laplacian), LONG, centres)


CASES = {f"{name}-{case.widths}-at-{case.centres}": case for name, case in _cases()}
IN_JAX = [name for name, case in CASES.items() if case.operator.jax]
LAPLACIANS = [name for name in CASES if name.startswith("laplacian")]
TRACED = "laplacian-64-64-64-64-1-at-500"  # compared with traces of Hessians
SIXTH = [name for name in CASES if name.startswith("partials-order-6")]


@pytest.fixture
def ready(random_mlp):
    """Return, for the name of a case, the case, its network, its arguments and the result of the plain function."""

    def prepare(name):
        case = CASES[name]
        mlp = random_mlp(
            [int(width) for width in case.widths.split("-")], case.activation
        )
        arguments = case.arguments()
        return case, mlp, arguments, case.operator.plain(mlp, *arguments)

    return prepare


def equal(found, expected):
    found = np.asarray(found)
    np.testing.assert_allclose(
        found.reshape(expected.shape),
        expected,
        rtol=0,
        atol=1e-10 * np.abs(expected).max(),
    )


@pytest.mark.parametrize("name", CASES)
def test_ours(benchmark, ready, name):
    case, mlp, arguments, _ = ready(name)
    often(benchmark, name, lambda: case.operator.plain(mlp, *arguments))


@pytest.mark.parametrize("name", CASES)
def test_ours_compiled(benchmark, ready, name):
    case, mlp, (at, *vectors), expected = ready(name)
    function = taylor.compile(mlp, case.operator.request)
    along = dict(zip(case.operator.directions, vectors, strict=True))
    equal(function(at, **along), expected)
    often(benchmark, name, lambda: function(at, **along))


def batched(jax, function, centres):
    """Compile a function of one centre, with `vmap` if there are more."""
    return jax.jit(function if centres == 1 else jax.vmap(function))


@pytest.mark.parametrize("name", IN_JAX)
def test_jax(benchmark, jax, ready, name):
    case, mlp, arguments, expected = ready(name)
    function = batched(jax, case.operator.jax(jax, mlp), case.centres)
    arrays = [jax.numpy.asarray(argument) for argument in arguments]
    found = np.asarray(function(*arrays))
    if isinstance(case.operator.request, int):
        found = np.moveaxis(
            found[(..., *index_table(mlp.dim, case.operator.request).T)], -1, 0
        )
    equal(found, expected)
    often(benchmark, name, lambda: function(*arrays).block_until_ready())


@pytest.mark.parametrize("name", [TRACED])
def test_jax_trace_of_hessian(benchmark, jax, ready, name):
    case, mlp, (at,), expected = ready(name)
    function, at = (
        batched(jax, jax_by(trace_of_hessian)(jax, mlp), case.centres),
        jax.numpy.asarray(at),
    )
    equal(function(at), expected)
    often(benchmark, name, lambda: function(at).block_until_ready())


@pytest.mark.parametrize("name", LAPLACIANS)
def test_folx(benchmark, jax, ready, name):
    folx = pytest.importorskip("folx")
    case, mlp, (at,), expected = ready(name)
    forward = folx.forward_laplacian(jax_function(jax, mlp), 0)
    function, at = (
        batched(jax, lambda x: forward(x).laplacian, case.centres),
        jax.numpy.asarray(at),
    )
    equal(function(at), expected)
    often(benchmark, name, lambda: function(at).block_until_ready())


@pytest.mark.parametrize("name", [TRACED])
def test_trace_of_our_hessian(benchmark, ready, name):
    _, mlp, (at,), expected = ready(name)
    diagonal = packed_position(
        mlp.dim, np.repeat(np.arange(mlp.dim)[:, None], 2, axis=1)
    )

    def trace():
        return taylor.derivative_tensor(mlp, 2, at).packed[diagonal].sum(axis=0)

    equal(trace(), expected)
    often(benchmark, name, trace)


@pytest.mark.parametrize("name", SIXTH)
def test_whole_tensor(benchmark, ready, name):
    """Compute all 1,716 derivatives of order 6, of which the case asks for a part."""
    case, mlp, (at,), expected = ready(name)
    function = taylor.compile(mlp, 6)
    chosen = packed_position(mlp.dim, case.operator.request)
    equal(np.moveaxis(function(at)[chosen], 0, -1), expected)
    often(benchmark, name, lambda: function(at))


# The full tensor of order 3, d = 64, one centre.

FULL = "full tensor of order 3, d = 64"


@pytest.fixture
def wide(random_mlp):
    return random_mlp([int(width) for width in WIDE.split("-")]), Case(
        tensor(3), WIDE, 1
    ).arguments()[0]


def test_ours_full(benchmark, wide):
    mlp, at = wide
    often(benchmark, FULL, lambda: taylor.derivative_tensor(mlp, 3, at).full())


def test_jax_full(benchmark, jax, wide):
    mlp, at = wide
    function, point = jax.jit(jax_tensor(jax, mlp, 3)), jax.numpy.asarray(at)
    equal(function(point), taylor.derivative_tensor(mlp, 3, at).full())
    often(benchmark, FULL, lambda: function(point).block_until_ready())


def test_full_of_packed(benchmark, wide):
    mlp, at = wide
    often(benchmark, FULL, taylor.derivative_tensor(mlp, 3, at).full)


def test_copy_of_full(benchmark, wide):
    mlp, at = wide
    often(benchmark, FULL, taylor.derivative_tensor(mlp, 3, at).full().copy)


# Activations in the compiled loop. The hidden layers of "residual" have 16 tanh and 16
# linear neurons.

RESIDUAL = "tanh*16 + linear*16"
ACTIVATIONS = (
    "tanh", "gelu_tanh", "mish", "log_sigmoid", "tanhshrink", "squareplus", "softsign", "selu", "softplus(2)", "elu", "relu",
    "silu", "gelu", "sin", "residual",
)  # fmt: skip
OF_ACTIVATIONS = {
    f"{activation}-order-{order}-at-{centres}": (activation, order, centres)
    for order in (2, 3)
    for centres in (1, 1000)
    for activation in ACTIVATIONS
}


@pytest.mark.parametrize("name", OF_ACTIVATIONS)
def test_activation(benchmark, random_mlp, name):
    activation, order, centres = OF_ACTIVATIONS[name]
    mlp = random_mlp(
        [8, 32, 32, 1], RESIDUAL if activation == "residual" else activation
    )
    function, (at,) = (
        taylor.compile(mlp, order),
        Case(tensor(order), SMALL, centres).arguments(),
    )
    # A network with kinks may have a tensor of zeros alone.
    np.testing.assert_allclose(
        function(at), compilation.whole(mlp, order, at), rtol=1e-10, atol=1e-10
    )
    often(benchmark, f"order {order}, {SMALL}, {centres} centres", lambda: function(at))


# The border between the compiled loop and matrix products, `compilation.LONGEST`, lies
# within these sizes.

BORDER = {
    f"{d}-order-{order}-at-{centres}": (d, order, centres)
    for d, order in (
        (48, 3),
        (64, 3),
        (80, 3),
        (24, 4),
        (32, 4),
        (16, 5),
        (18, 5),
        (12, 6),
        (14, 6),
    )
    for centres in (1, 20)
}


def at_border(random_mlp, name):
    d, order, centres = BORDER[name]
    widths = [d, 64, 64, 64, 1]
    (at,) = Case(tensor(order), "-".join(map(str, widths)), centres).arguments()
    return random_mlp(widths), order, at


@pytest.mark.parametrize("name", BORDER)
def test_border_products(benchmark, random_mlp, name):
    mlp, order, at = at_border(random_mlp, name)
    often(benchmark, name, lambda: compilation.whole(mlp, order, at))


@pytest.mark.parametrize("name", BORDER)
def test_border_loop(benchmark, monkeypatch, random_mlp, name):
    mlp, order, at = at_border(random_mlp, name)
    monkeypatch.setattr(compilation, "LONGEST", 2**40)
    function = taylor.compile(mlp, order)
    assert function.method == "compiled loop"
    equal(function(at), compilation.whole(mlp, order, at))
    often(benchmark, name, lambda: function(at))


# {label: (plain function, compiled object, peer, required, aimed at)} by names of
# benchmarks. The ratio is the peer's time over that of the compiled object, or of the
# plain function where the second name is None.


def _limits(name, case):
    """Return the ratios to JAX that are required of the compiled object and aimed at."""
    if name.startswith("bilaplacian"):
        return 2.0, 5.0
    if case.centres == 1:
        return 2.0, 4.0
    if name.startswith(("partials", "mixed")):
        return 1.5, 3.0
    if name.startswith("hvp"):
        return 1.0, 1.5
    return None, None


def _rows():
    for name, case in CASES.items():
        ours, fast, what = (
            f"test_ours[{name}]",
            f"test_ours_compiled[{name}]",
            label(name),
        )
        if case.operator.jax:
            yield (
                f"{what}: JAX",
                (ours, fast, f"test_jax[{name}]", *_limits(name, case)),
            )
        if name in LAPLACIANS:
            yield f"{what}: folx", (ours, fast, f"test_folx[{name}]", 3.0, 5.0)
        if name in SIXTH:
            limits = (1.0, None) if "20-tuples" in name else (3.0, 5.0)
            yield (
                f"{what}: our whole tensor",
                (ours, fast, f"test_whole_tensor[{name}]", *limits),
            )
        if name.startswith("tensor"):
            yield f"{what}, plain: JAX", (ours, None, f"test_jax[{name}]", None, None)
            yield f"{what}, plain: compiled", (ours, None, fast, 1 / 1.3, 1.0)
    ours, fast, peer = (
        f"test_ours[{TRACED}]",
        f"test_ours_compiled[{TRACED}]",
        f"test_jax_trace_of_hessian[{TRACED}]",
    )
    yield f"{label(TRACED)}: JAX's trace of the Hessian", (ours, fast, peer, None, None)
    yield f"{FULL}: JAX", ("test_ours_full", None, "test_jax_full", 3.0, 5.0)
    yield (
        f"{FULL}, full() alone: copy",
        ("test_full_of_packed", None, "test_copy_of_full", None, None),
    )
    for name, (activation, order, centres) in OF_ACTIVATIONS.items():
        if activation != "tanh":
            what = f"{activation}, order {order}, {SMALL}, {counted(centres)}: tanh"
            peer = f"test_activation[tanh-order-{order}-at-{centres}]"
            yield what, (None, f"test_activation[{name}]", peer, 0.7, 0.9)


def counted(centres):
    return "1 centre" if centres == 1 else f"{centres:,} centres"


def label(name):
    """Return a case's name in words: "Partials, order 2, 8-32-32-1, 1 centre"."""
    case = CASES[name]
    words = name.removesuffix(f"-{case.widths}-at-{case.centres}")
    for plain, readable in LABELS.items():
        words = words.replace(plain, readable)
    return f"{words[0].upper()}{words[1:]}, {case.widths}, {counted(case.centres)}"


LABELS = {
    "hvp": "Hessian-vector product",
    "mixed": "mixed derivative",
    "-orders-1-3": ", orders 1 and 3",
    "-order-": ", order ",
    "-20-tuples": ", 20 tuples",
    "-3-tuples": ", 3 tuples",
    "-8-tuples": ", 8 tuples",
    "selu-tensor": "tensor, selu",
}
ROWS = dict(_rows())
