"""A network as a graph of affine maps and functions of single numbers, whatever framework spells it, and its layers.

Each value on the way is an affine expression of *blocks*: the inputs, and neurons that came before. An operation is tried: it is
affine if it adds, and then its matrix is what it makes of unit vectors; or it is a function of each number alone, recognised by
its values, also where it was put together, z / (1 + exp(-z)); or it is refused. A block that is met again further up, as a skip's is,
is carried there by linear neurons, whose vertices of two legs or more vanish.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from math import log, prod
from typing import Any, NamedTuple

import numpy as np

from paperlib._support.checks import Floats
from paperlib.networks import activations

__all__ = [
    "Block", "Converted", "Value", "affine", "applied", "first_line", "inputs", "layers", "neurons", "nth", "recognise",
]  # fmt: skip

TAKEN = "bring the part before or after it alone, or with one of activations.parse in its place"
SIZES = np.logspace(-6, 6, 49) * 1.0123  # from small to large, and no round numbers, at which kinks are
PROBES = np.concatenate([[-1e6, -1.0, 0.0], np.linspace(-6, 6, 49), SIZES, -SIZES])
SCALES = 10.0 ** np.arange(-4, 6.5, 0.5)


class Converted(NamedTuple):
    """Weights (out, in), biases and activations of a network, and what the original gives at a few inputs."""

    weights: list[Floats]
    biases: list[Floats]
    activations: list[str]
    inputs: np.ndarray
    outputs: np.ndarray


@dataclass(frozen=True, eq=False)
class Block:
    """The inputs, or neurons that are computed together: their pre-activations and the activation of each.

    Without names they are a function of single numbers that is none of ours, but may be a part of one that is.
    """

    level: int
    size: int
    source: "Value | None" = None
    names: tuple[str, ...] = ()
    what: str = ""


@dataclass(frozen=True, eq=False)
class Value:
    """An array of this shape: the sum over blocks of matrix @ block, and a constant.

    `made_of` are the values of which it is, number by number, a function, the nearest first; `boolean` are masks.
    """

    shape: tuple[int, ...]
    terms: dict[Block, Floats]
    constant: Floats
    made_of: tuple[tuple["Value", Callable[[Floats], Floats]], ...] = ()
    boolean: bool = False

    @property
    def size(self) -> int:
        return prod(self.shape)


def first_line(error: Exception) -> str:
    """What a framework's error says, in one line, for a message of ours."""
    return (str(error) or type(error).__name__).splitlines()[0]


def nth(operation: Callable[..., Any], place: int) -> Callable[..., Any]:
    """One of the results of an operation that has several."""
    return lambda *arrays: operation(*arrays)[place]


def inputs(shape: tuple[int, ...]) -> Value:
    size = prod(shape)
    return Value(shape, {Block(0, size): np.eye(size)}, np.zeros(size))


def affine(shape: tuple[int, ...], parts: Sequence[tuple[Floats, Value]], constant: Floats) -> Value:
    """The sum of matrix @ value, and a constant."""
    terms: dict[Block, Floats] = {}
    for matrix, value in parts:
        constant = constant + matrix @ value.constant
        for block, inner in value.terms.items():
            terms[block] = terms.get(block, 0.0) + matrix @ inner
    return Value(shape, terms, constant)


def neurons(value: Value, names: Sequence[str], what: str = "") -> Value:
    """What functions of single numbers, one for each, make of a value."""
    if set(names) == {"linear"}:
        return value
    block = Block(1 + max((each.level for each in value.terms), default=0), value.size, value, tuple(names), what)
    return Value(value.shape, {block: np.eye(value.size)}, np.zeros(value.size))


def _plain(value: float) -> float:
    """The decimal that a number stands for: 0.2, where a float32 made float64 would read 0.20000000298."""
    short = float(f"{value:.6g}")
    return short if abs(short - value) <= 6e-8 * abs(value) else float(value)


def recognise(values: Floats) -> str | None:
    """The activation that has these values at PROBES, or None; where a value overflows, nothing is asked."""
    finite = np.isfinite(values)
    if not finite[:3].all() and not finite[1:3].all():
        return None
    floor, slope, middle = _plain(-values[0]), _plain(-values[1]), values[2]
    names = [*activations.SMOOTH, *activations.PIECEWISE, f"leaky_relu({slope})"]
    if finite[0]:
        names += [f"elu({floor})", *[f"celu({floor})"] * (floor > 0)]
    if middle > 0:
        names += [f"softplus({_plain(log(2) / middle)})", f"squareplus({_plain(4 * middle * middle)})"]
    for name in names:
        expected = activations.of_layer(name, PROBES, 0)[0][finite]
        if np.allclose(values[finite], expected, rtol=1e-5, atol=1e-6):
            return name
    return None


def _adds(operation: Callable, shapes: list[tuple[int, ...]]) -> bool:
    """Whether f(x + y) - f(y) is f(x) - f(0), of small and of large numbers, for each number of the result."""
    random, zero = np.random.default_rng(0), operation(*map(np.zeros, shapes))
    for scale in np.repeat(SCALES, 2):
        x, y = ([scale * random.standard_normal(shape) for shape in shapes] for _ in range(2))
        results = operation(*(a + b for a, b in zip(x, y))), operation(*x), operation(*y), zero
        both, of_x, of_y, _ = results
        sizes = np.abs(results).max(axis=0)
        allowed = 1e-6 * sizes + 1e-10 * sizes.max(initial=0)
        if not (np.abs(both - of_x - of_y + zero) <= allowed).all():
            return False
    return True


def _jacobians(operation: Callable, shapes: list[tuple[int, ...]]) -> tuple[list[Floats], Floats]:
    """The matrix of each argument of an affine operation, and its constant."""
    at = [np.zeros(shape) for shape in shapes]
    constant = operation(*at).ravel().copy()
    matrices = []
    for argument in at:
        matrix = np.empty((constant.size, argument.size))
        for k in range(argument.size):
            argument.flat[k] = 1.0
            matrix[:, k] = operation(*at).ravel() - constant
            argument.flat[k] = 0.0
        matrices.append(matrix)
    return matrices, constant


def _is_pointwise(function: Callable, shape: tuple[int, ...]) -> bool:
    """Whether each number of the result depends on one of the argument alone."""
    random = np.random.default_rng(0)
    x, other = random.standard_normal((2, *shape))
    found = function(x)
    if found.shape != shape or not np.isfinite(found).all():
        return False
    alternate, drawn = (np.arange(x.size) % 2 == 0).reshape(shape), random.random(shape) < 0.5
    return all(
        np.allclose(function(np.where(which, other, x))[~which], found[~which], rtol=1e-6, atol=1e-9)
        for which in (alternate, ~alternate, drawn, ~drawn)
    )


def _ours(function: Callable, base: Value) -> Value | None:
    """What a function of single numbers makes of a value, if it is one of ours for each of them, or None.

    Or one of ours between two scalings, the same for all numbers: cos z = sin(z + pi/2), exp(z) - 1, b^z.
    """
    values = np.stack([function(np.full(base.shape, probe)).ravel() for probe in PROBES])
    columns, which = np.unique(values, axis=1, return_inverse=True)
    names = [recognise(column) for column in columns.T]
    if None not in names:
        return neurons(base, [str(names[k]) for k in which.ravel()])
    finite = np.isfinite(values).all(axis=1)
    at_one, size = float(function(np.ones(base.shape)).flat[0]), base.size
    rate = log(at_one) if np.isfinite(at_one) and at_one > 0 else 1.0
    turned: list[tuple[str, Floats, float, float, float]] = [
        ("sin", np.cos(PROBES), 1.0, np.pi / 2, 0.0),
        ("exp", np.expm1(PROBES), 1.0, 0.0, -1.0),
        ("exp", np.exp(rate * PROBES), rate, 0.0, 0.0),
    ]
    for name, expected, inner, offset, outer in turned:
        if np.allclose(values[finite], expected[finite, None], rtol=1e-5, atol=1e-6):
            before = affine(base.shape, [(inner * np.eye(size), base)], np.full(size, offset))
            return affine(base.shape, [(np.eye(size), neurons(before, [name] * size))], np.full(size, outer))
    return None


def _origins(value: Value) -> list[tuple[Value, Callable[[Floats], Floats]]]:
    return [(value, lambda x: x), *value.made_of]


def _as_functions(operation: Callable[..., Floats], values: Sequence[Value]) -> Iterator[tuple[Value, Callable]]:
    """What an operation gives as a function of one value that all of those are made of; the nearest first."""
    for base, first in _origins(values[0]):
        others = [next((f for origin, f in _origins(value) if origin is base), None) for value in values[1:]]
        if None not in others:

            def function(x: Floats, steps: Any = (first, *others)) -> Floats:
                return operation(*(step(x) for step in steps))

            if _is_pointwise(function, base.shape):
                yield base, function


def _pointwise(what: str, operation: Callable[..., Floats], values: Sequence[Value]) -> Value | None:
    """What is, number by number, a function of one value, be it computed in steps; None where it is not."""
    candidates = list(_as_functions(operation, values))
    for base, function in candidates:
        found = _ours(function, base)
        if found is not None:
            return replace(found, made_of=_chain((base, function)))
    if not candidates:
        return None
    return replace(neurons(candidates[0][0], (), what), made_of=_chain(candidates[0]))


def _chain(nearest: tuple[Value, Callable]) -> tuple:
    base, function = nearest
    return (nearest, *((each, lambda x, f=inner: function(f(x))) for each, inner in base.made_of))


def applied(what: str, operation: Callable[..., Any], values: Sequence[Value]) -> Value:
    """What an operation, from arrays to an array, makes of values; a ValueError that names it where it is none of the two kinds."""
    shapes = [value.shape for value in values]

    def of_numbers(*arrays: Floats) -> Floats:
        return np.array(operation(*(array.copy() for array in arrays)), dtype=np.float64)

    with np.errstate(all="ignore"):
        out = np.asarray(operation(*map(np.zeros, shapes)))
        masks = out.dtype == bool or any(value.boolean for value in values)
        if not masks and _adds(of_numbers, shapes):
            matrices, constant = _jacobians(of_numbers, shapes)
            found = affine(out.shape, list(zip(matrices, values, strict=True)), constant)
            made_of = next(_as_functions(of_numbers, values), None) if out.shape == shapes[0] else None
            return replace(found, made_of=_chain(made_of)) if made_of else found
        function = _pointwise(what, of_numbers, values) if out.shape == shapes[0] else None
    if function is None:
        kind = (
            "a product or the like of what depends on the inputs"
            if len(values) > 1
            else "no function of each number alone"
        )
        raise ValueError(f"{what} is {kind}, and not affine; {TAKEN}")
    return replace(function, boolean=out.dtype == bool)


def _consumers(output: Value) -> dict[Block, Value]:
    """All that is computed: the pre-activations of each block, from the inputs up, and the output as of one above them."""
    found: dict[Block, Value] = {}

    def visit(value: Value) -> None:
        for block in value.terms:
            if block.source is not None and block not in found:
                visit(block.source)
                found[block] = block.source

    visit(output)
    return found | {Block(1 + max((block.level for block in found), default=0), output.size): output}


def layers(output: Value) -> tuple[list[Floats], list[Floats], list[str]]:
    """Weights, biases and activations of the network whose output this is, one array of weights more than activations."""
    consumers = _consumers(output)
    *blocks, top = consumers
    for block in blocks:
        if not block.names:
            raise ValueError(f"{block.what} is a function of each number, but none of ours; {TAKEN}")
    origin = next(block for value in consumers.values() for block in value.terms if block.source is None)
    # What is carried of a block past the level after its own: its numbers, or what they are needed for if that is less.
    carried: dict[Block, tuple[Floats, int]] = {}
    for block in (origin, *blocks):
        later = [(c, v.terms[block]) for c, v in consumers.items() if block in v.terms and c.level > block.level + 1]
        if later:
            rows = np.concatenate([matrix for _, matrix in later])
            rows = rows if len(rows) < block.size else np.eye(block.size)
            carried[block] = rows, max(c.level for c, _ in later) - 1
    weights, biases, names = [], [], []
    below: list[tuple[Block, Floats]] = [(origin, np.eye(origin.size))]  # what is there: matrix @ block
    for here in range(1, top.level + 1):
        ends = np.cumsum([0, *(len(matrix) for _, matrix in below)])
        places = {block: (matrix, slice(*pair)) for (block, matrix), pair in zip(below, pairwise(ends))}

        def written(block: Block, matrix: Floats) -> Floats:
            there, place = places[block]
            row = np.zeros((len(matrix), ends[-1]))
            # Of a block that is there whole, the matrix itself; of combinations, which of them they are.
            row[:, place] = matrix if len(there) == block.size else np.linalg.lstsq(there.T, matrix.T, rcond=None)[0].T
            return row

        computed = [(c, v) for c, v in consumers.items() if c.level == here]
        passing = [(block, rows) for block, (rows, last) in carried.items() if block.level < here <= last]
        parts = [sum((written(b, m) for b, m in v.terms.items()), np.zeros((v.size, ends[-1]))) for _, v in computed]
        parts += [written(block, rows) for block, rows in passing]
        weights.append(np.concatenate(parts))
        past = sum(len(rows) for _, rows in passing)
        biases.append(np.concatenate([*(v.constant for _, v in computed), np.zeros(past)]))
        if here < top.level:
            neurons_here = [name for block, _ in computed for name in block.names]
            names.append(activations.spelled(neurons_here + ["linear"] * past))
        below = [(block, np.eye(block.size)) for block, _ in computed] + passing
    return weights, biases, names
