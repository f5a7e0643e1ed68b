"""Read a network, whatever framework it is written in, as layers of affine maps and elementwise functions.

Each value inside the network is an affine expression of *blocks*. A block is the
network's inputs, or neurons computed in an earlier step. `applied` evaluates an
operation of the framework at many arrays and decides which of three kinds it is:

- affine: f(x + y) - f(y) = f(x) - f(0). Its matrix is found from unit vectors;
- elementwise: a known activation, recognised by its values. The function may take
  several operations, z / (1 + exp(-z));
- neither: a ValueError names the operation.

`layers` turns the last value into weights, biases and activations. Linear neurons carry a block past the layers in between to
an operation further up, as for a skip connection. Vertices of linear neurons with two or more legs vanish.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from itertools import pairwise
from math import prod
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from paperlib._support.validation import Floats
from paperlib.networks import activations

TAKEN = "bring the part before or after it alone, or with one of activations.parse in its place"
# from small to large; kinks lie at round numbers, which are avoided
SIZES = np.logspace(-6, 6, 49) * 1.0123
PROBES = np.concatenate([[-1e6, -1.0, 0.0], np.linspace(-6, 6, 49), SIZES, -SIZES])
SCALES = 10.0 ** np.arange(-4, 6.5, 0.5)

Function: TypeAlias = Callable[[Floats], Floats]  # of a vector


@dataclass(frozen=True, eq=False)
class Block:
    """The inputs of the network, or neurons that are computed together.

    Attributes
    ----------
    level : int
        The layer: 0 for the inputs.
    source : Value
        The pre-activations. A value without terms for the inputs.
    names : tuple of str
        The activation of each neuron. Empty if the function is elementwise but not a
        known activation. `layers` refuses such a block, but the function may be a part
        of a known activation.
    what : str
        The operation, for messages.
    """

    level: int
    source: "Value"
    names: tuple[str, ...]
    what: str = ""

    @property
    def size(self) -> int:
        return self.source.size


@dataclass(frozen=True, eq=False)
class Value:
    """An array inside the network: the sum over blocks of matrix @ block, and a constant.

    Attributes
    ----------
    shape : tuple of int
    terms : dict of Block to array of shape (size, block.size)
    constant : array of shape (size,)
    made_of : dict of Value to function
        The elementwise functions that compute this value from earlier values of the
        same shape, the latest first.
    boolean : bool
        Whether the framework has an array of bool here, a mask.
    """

    shape: tuple[int, ...]
    terms: dict[Block, Floats]
    constant: Floats
    made_of: dict["Value", Function] = field(default_factory=dict)
    boolean: bool = False

    @property
    def size(self) -> int:
        return self.constant.size


class Converted(NamedTuple):
    """The output of a network, and the outputs of the original at a few inputs."""

    output: Value
    inputs: np.ndarray
    outputs: np.ndarray


def first_line(error: Exception) -> str:
    """Return the first line of a framework's error, or its type if it has no text."""
    return (str(error) or type(error).__name__).splitlines()[0]


@contextmanager
def refusing(before: str, after: str = "") -> Iterator[None]:
    """Raise a ValueError with this message, around the first line of the error, if the framework raises any error."""
    try:
        yield
    except Exception as error:
        raise ValueError(f"{before} ({first_line(error)}){after}") from None


def inputs(shape: tuple[int, ...]) -> Value:
    """Return the inputs of a network."""
    return neurons(Value(shape, {}, np.zeros(prod(shape))), ["input"])


def affine(
    shape: tuple[int, ...], parts: Sequence[tuple[Floats, Value]], constant: Floats
) -> Value:
    """Return the sum of matrix @ value over the parts, plus the constant."""
    terms: dict[Block, Floats] = {}
    for matrix, value in parts:
        constant = constant + matrix @ value.constant
        for block, inner in value.terms.items():
            terms[block] = terms.get(block, 0.0) + matrix @ inner
    return Value(shape, terms, constant)


def dense(weight: Any, value: Value, bias: Any) -> Value:
    """Return weight @ value + bias, for a value that is a vector or a batch of one vector.

    `applied` returns the same up to rounding. Here the weights are exact.
    """
    weight, bias = (
        np.asarray(weight, dtype=np.float64),
        np.asarray(bias, dtype=np.float64),
    )
    return affine((*value.shape[:-1], len(weight)), [(weight, value)], bias)


def neurons(value: Value, names: Sequence[str], what: str = "") -> Value:
    """Return the outputs of neurons with these activations and a value as pre-activations."""
    if set(names) == {"linear"}:
        return value
    level = 1 + max((block.level for block in value.terms), default=-1)
    block = Block(level, value, tuple(names), what)
    return Value(value.shape, {block: np.eye(value.size)}, np.zeros(value.size))


def _plain(value: float) -> float:
    """Return the decimal that a float32 stands for: 0.2 for the float64 0.20000000298."""
    short = float(f"{value:.6g}")
    return short if abs(short - value) <= 6e-8 * abs(value) else float(value)


def recognise(values: Floats) -> str | None:
    """Return the activation with these values at PROBES, or None. Values that overflow are not compared."""
    finite = np.isfinite(values)
    if not finite[1:3].all():
        return None
    floor, slope, middle = _plain(-values[0]), _plain(-values[1]), values[2]
    names = [
        *activations.SMOOTH,
        *activations.PIECEWISE,
        f"leaky_relu({slope})",
        f"elu({floor})",
        f"celu({floor})",
        f"softplus({_plain(np.log(2) / middle)})",
        f"squareplus({_plain(4 * middle * middle)})",
    ]
    for name in names:
        with suppress(ValueError):  # the function takes no such parameter
            expected = activations.of_layer(name, PROBES, 0)[0]
            if np.allclose(values[finite], expected[finite], rtol=1e-5, atol=1e-6):
                return name
    return None


def _is_affine(function: Function, size: int) -> bool:
    """Test f(x + y) - f(y) = f(x) - f(0) for each element of the result, with small and with large numbers."""
    random, zero = np.random.default_rng(0), function(np.zeros(size))
    for scale in np.repeat(SCALES, 2):
        x, y = scale * random.standard_normal((2, size))
        of_sum, of_x, of_y = function(x + y), function(x), function(y)
        sizes = np.abs([of_sum, of_x, of_y, zero]).max(axis=0)
        allowed = 1e-6 * sizes + 1e-10 * sizes.max(initial=0)
        if not (np.abs(of_sum - of_x - of_y + zero) <= allowed).all():
            return False
    return True


def _is_elementwise(function: Function, size: int) -> bool:
    """Test whether each element of the result depends on one element of the argument alone."""
    random = np.random.default_rng(0)
    x, other = random.standard_normal((2, size))
    of_x, of_other = function(x), function(other)
    alternate, drawn = np.arange(size) % 2 == 0, random.random(size) < 0.5
    return bool(np.isfinite(of_x).all()) and all(
        np.allclose(
            function(np.where(mask, other, x)),
            np.where(mask, of_other, of_x),
            rtol=1e-6,
            atol=1e-9,
            equal_nan=True,
        )
        for mask in (alternate, drawn)
    )


def _elementwise(
    function: Function, values: Sequence[Value], shape: tuple[int, ...]
) -> list[tuple[Value, Function]]:
    """Return each value that determines the result elementwise, with the function that computes it. The latest comes first."""
    found = []
    origins = [{value: lambda x: x} | value.made_of for value in values]
    for base in origins[0]:
        if base.shape == shape and all(base in each for each in origins):
            composed = _composed(function, [each[base] for each in origins])
            if _is_elementwise(composed, base.size):
                found.append((base, composed))
    return found


def _composed(function: Function, steps: Sequence[Function]) -> Function:
    return lambda x: function(np.concatenate([step(x) for step in steps]))


def _activated(function: Function, base: Value) -> Value | None:
    """Return the neurons that compute an elementwise function, or None if it is not a known activation.

    The function may also be f(inner z + offset) + outer, the same for all neurons: cos z, exp(z) - 1 or b^z.
    """
    size = base.size
    values = np.array([function(np.full(size, probe)) for probe in PROBES])
    columns, which = np.unique(values, axis=1, return_inverse=True)
    names = [recognise(column) for column in columns.T]
    if None not in names:
        return neurons(base, np.array(names)[which.ravel()].tolist())
    finite = np.isfinite(values).all(axis=1)
    rate = np.log(values[PROBES == 1.0][0, 0])
    for name, inner, offset, outer in (
        ("sin", 1.0, np.pi / 2, 0.0),
        ("exp", 1.0, 0.0, -1.0),
        ("exp", rate, 0.0, 0.0),
    ):
        expected = activations.of_layer(name, inner * PROBES + offset, 0)[0] + outer
        if np.allclose(values[finite], expected[finite, None], rtol=1e-5, atol=1e-6):
            before = affine(
                base.shape, [(inner * np.eye(size), base)], np.full(size, offset)
            )
            after = neurons(before, [name] * size)
            return replace(after, constant=after.constant + outer)
    return None


def _neurons(what: str, candidates: list[tuple[Value, Function]]) -> Value:
    """Return the neurons of the first candidate whose function is a known activation, or neurons without names."""
    for place, (base, function) in enumerate(candidates):
        found = _activated(function, base)
        if found is not None:
            return replace(found, made_of=dict(candidates[place:]))
    return replace(neurons(candidates[0][0], (), what), made_of=dict(candidates))


def _classified(
    what: str, operation: Callable[[Floats], Any], values: Sequence[Value], zero: Any
) -> Any:
    """Return the value that an operation gives. `zero` is its result at zero, a constant if not an array."""
    if not hasattr(zero, "__array__"):
        return zero
    out, ends = np.asarray(zero), np.cumsum([value.size for value in values])
    size = ends[-1]

    def function(x: Floats) -> Floats:
        return np.array(operation(x), dtype=np.float64).ravel()

    candidates = _elementwise(function, values, out.shape)
    masks = out.dtype == bool or any(value.boolean for value in values)
    if not masks and _is_affine(function, size):
        constant = function(np.zeros(size))
        columns = [function(unit) - constant for unit in np.eye(size)]
        matrix = np.reshape(columns, (size, out.size)).T
        parts = list(zip(np.split(matrix, ends, axis=1), values))
        return replace(affine(out.shape, parts, constant), made_of=dict(candidates))
    if candidates:
        return replace(_neurons(what, candidates), boolean=out.dtype == bool)
    several = "a product or the like of what depends on the inputs"
    kind = several if len(values) > 1 else "no function of each number alone"
    raise ValueError(f"{what} is {kind}, and not affine; {TAKEN}")


def applied(what: str, operation: Callable[..., Any], arguments: Sequence[Any]) -> Any:
    """Return the result of an operation whose arguments are values or constants.

    Parameters
    ----------
    what : str
        The operation, for messages.
    operation : callable
        Takes the arguments, with an array in place of each value, of bool for a mask.
        Returns an array, or a list or tuple.
    arguments : sequence of Value or constant

    Returns
    -------
    Value, or constant, or tuple of both
        Arrays become values. Other results are constants, and so are all results if no
        argument is a value.

    Raises
    ------
    ValueError
        If the operation is neither affine nor elementwise.
    """
    values = [each for each in arguments if isinstance(each, Value)]
    if not values:
        return operation(*arguments)
    ends = np.cumsum([value.size for value in values])

    def called(x: Floats) -> Any:
        arrays = (
            part.reshape(value.shape).astype(bool if value.boolean else float)
            for part, value in zip(np.split(x, ends), values)
        )
        return operation(
            *(next(arrays) if isinstance(each, Value) else each for each in arguments)
        )

    with np.errstate(all="ignore"):
        found = called(np.zeros(ends[-1]))
        if isinstance(found, (list, tuple)) and any(
            hasattr(each, "__array__") for each in found
        ):
            return tuple(
                _classified(what, lambda x, place=place: called(x)[place], values, each)  # type: ignore[misc]
                for place, each in enumerate(found)
            )
        return _classified(what, called, values, found)


def _ancestors(output: Value) -> list[Block]:
    """Return the inputs and all blocks that a value needs, each after the blocks that it needs itself.

    Raise a ValueError if a block is not a known activation.
    """
    found: list[Block] = []

    def visit(value: Value) -> None:
        for block in value.terms:
            if block not in found:
                visit(block.source)
                if not block.names:
                    raise ValueError(
                        f"{block.what} is a function of each number, but none of ours; {TAKEN}"
                    )
                found.append(block)

    visit(output)
    return found


def _carry(block: Block, sources: dict[Block, Value]) -> None:
    """Add linear neurons that carry a block past the level after its own, and let later blocks take these in its place."""
    users = [
        user
        for user, value in sources.items()
        if user.level > block.level + 1 and block in value.terms
    ]
    if not users:
        return
    needed = [sources[user].terms.pop(block) for user in users]
    rows = np.concatenate(needed)
    if len(rows) < block.size:
        # The combinations that the users need are fewer than the neurons, and are
        # carried themselves.
        needed = np.split(
            np.eye(len(rows)), np.cumsum([len(matrix) for matrix in needed])
        )
    else:
        rows = np.eye(block.size)
    size = len(rows)
    for level in range(block.level + 1, max(user.level for user in users)):
        source = Value((size,), {block: rows}, np.zeros(size))
        block, rows = Block(level, source, ("linear",) * size), np.eye(size)
        sources[block] = source
        for user, matrix in zip(users, needed):
            if user.level == level + 1:
                sources[user].terms[block] = matrix


def layers(output: Value) -> tuple[list[Floats], list[Floats], list[str]]:
    """Return the weights, biases and activations of a network with this output.

    A hidden layer consists of the blocks of one level, followed by linear neurons that carry earlier blocks to later layers.
    The output is the last layer and has no activation.
    """
    blocks = _ancestors(neurons(output, ["output"]))
    sources = {
        block: replace(block.source, terms=dict(block.source.terms)) for block in blocks
    }
    for block in blocks:
        _carry(block, sources)
    levels = [
        [block for block in sources if block.level == level]
        for level in range(blocks[-1].level + 1)
    ]
    weights, biases = [], []
    for below, here in pairwise(levels):
        matrices = [
            [sources[b].terms.get(a, np.zeros((b.size, a.size))) for a in below]
            for b in here
        ]
        weights.append(np.block(matrices))
        biases.append(np.concatenate([sources[block].constant for block in here]))
    names = [
        activations.spelled([name for block in level for name in block.names])
        for level in levels[1:-1]
    ]
    return weights, biases, names
