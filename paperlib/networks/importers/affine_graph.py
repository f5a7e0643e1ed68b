"""Read a graph of operations as layers of affine maps and elementwise functions.

An importer describes a network as a sequence of `Node`, one for each operation, and
`evaluate` visits the nodes in turn. Each value inside the network is an affine
expression of *blocks*. A block is the network's inputs, or neurons that an earlier
node computes. `applied` evaluates an operation of the framework at many arrays and
finds which of three kinds it is:

- affine: f(x + y) - f(y) = f(x) - f(0). Unit vectors give its matrix;
- elementwise: a known activation, recognised by its values. The function may take
  several operations, z / (1 + exp(-z));
- neither: a ValueError names the operation.

`layers` turns the last value into weights, biases and activations. Linear neurons carry
a block past the layers in between to a later operation, as for a skip connection.
Vertices of linear neurons with two or more legs vanish.

To add an importer, write the nodes of the framework's graph, with functions that call
`applied`, and return the result of the last node as a `Converted`. To make
an importer read a layer exactly, let its node's function call `dense` or `neurons` in
place of `applied`, which finds weights only up to rounding (see `Linear` in
`importers.pytorch`). An example with two nodes:

>>> def doubled(value):
...     return [applied("node 'double'", lambda x: 2 * x, [value])]
>>> def tanh(value):
...     return [neurons(value, ["tanh"] * value.size)]
>>> nodes = [Node(["x"], ["y"], doubled), Node(["y"], ["z"], tanh)]
>>> weights, biases, names = layers(evaluate(nodes, {"x": inputs((2,))})["z"])
>>> [weight.tolist() for weight in weights], names
([[[2.0, 0.0], [0.0, 2.0]], [[1.0, 0.0], [0.0, 1.0]]], ['tanh'])
"""

from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from itertools import pairwise
from math import prod
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from paperlib._support.validation import Floats
from paperlib.networks import activations

ADVICE = (
    "import the part before or after it alone, or replace it by an activation of "
    "activations.parse"
)
# Kinks lie at round numbers, which these sizes avoid
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
    label : str
        The operation, for messages.
    """

    level: int
    source: "Value"
    names: tuple[str, ...]
    label: str = ""

    @property
    def size(self) -> int:
        """Number of elements."""
        return self.source.size


@dataclass(frozen=True, eq=False)
class Value:
    """An array inside the network: matrix @ block, summed over blocks, and a constant.

    Attributes
    ----------
    shape : tuple of int
    terms : dict of Block to array of shape (size, block.size)
    constant : array of shape (size,)
    origins : dict of Value to function
        The elementwise functions that compute this value from earlier values of the
        same shape, the latest first.
    is_mask : bool
        Whether the framework has an array of bool here.
    """

    shape: tuple[int, ...]
    terms: dict[Block, Floats]
    constant: Floats
    origins: dict["Value", Function] = field(default_factory=dict)
    is_mask: bool = False

    @property
    def size(self) -> int:
        """Number of elements."""
        return self.constant.size


class Node(NamedTuple):
    """One operation of a framework's graph.

    Attributes
    ----------
    inputs, outputs : sequence of hashable
        The names of the results that the operation takes and computes.
    function : callable
        Takes the result of each input, a Value or a constant, and returns a list with
        the result of each output. See `applied`, `dense` and `neurons`.
    """

    inputs: Sequence[Hashable]
    outputs: Sequence[Hashable]
    function: Callable[..., Sequence[Any]]


class Converted(NamedTuple):
    """A network that an importer has read, and the original for a comparison.

    Attributes
    ----------
    output : Value
        The output of the network. Any other object means that the original does not
        have exactly one output that depends on its input.
    original : callable
        Returns the output of the original for an array of shape (1, ...).
    inputs : ndarray of float64, shape (rows, ...)
        Typical inputs, for the comparison.
    """

    output: Any
    original: Callable[[np.ndarray], Any]
    inputs: np.ndarray


def evaluate(nodes: Iterable[Node], results: dict[Any, Any]) -> dict[Any, Any]:
    """Add the results of all nodes to `results`, a dictionary by name, and return it.

    Each node must come after the nodes whose results it takes. A KeyError names a
    missing input.
    """
    for node in nodes:
        arguments = [results[name] for name in node.inputs]
        results.update(zip(node.outputs, node.function(*arguments)))
    return results


def first_line(error: Exception) -> str:
    """Return the first line of a framework's error, or its type if it has no text."""
    return (str(error) or type(error).__name__).splitlines()[0]


@contextmanager
def one_line_errors(before: str, after: str = "") -> Iterator[None]:
    """Replace any error of a framework by a ValueError of one line.

    The message consists of `before`, the first line of the error in parentheses, and
    `after`.
    """
    try:
        yield
    except Exception as error:
        raise ValueError(f"{before} ({first_line(error)}){after}") from None


def random_inputs(shape: tuple[int, ...]) -> Floats:
    """Return eight inputs of this shape from the normal distribution."""
    return np.random.default_rng(0).standard_normal((8, *shape))


def inputs(shape: tuple[int, ...]) -> Value:
    """Return the inputs of a network."""
    return neurons(Value(shape, {}, np.zeros(prod(shape))), ["input"])


def affine(
    shape: tuple[int, ...], parts: Iterable[tuple[Floats, Value]], constant: Floats
) -> Value:
    """Return the sum of matrix @ value over the parts, plus the constant."""
    terms: dict[Block, Floats] = {}
    for matrix, value in parts:
        constant = constant + matrix @ value.constant
        for block, inner in value.terms.items():
            terms[block] = terms.get(block, 0.0) + matrix @ inner
    return Value(shape, terms, constant)


def dense(weight: Any, value: Value, bias: Any) -> Value:
    """Return weight @ value + bias, for a value that is a vector or a batch of one.

    `applied` returns the same up to rounding. Here the weights are exact.
    """
    weight = np.asarray(weight, dtype=np.float64)
    bias = np.asarray(bias, dtype=np.float64)
    return affine((*value.shape[:-1], len(weight)), [(weight, value)], bias)


def is_vector(value: Any) -> bool:
    """Return whether a result is a value to which `dense` applies."""
    return isinstance(value, Value) and len(value.shape) == 2


def neurons(value: Value, names: Sequence[str], label: str = "") -> Value:
    """Return the outputs of neurons with these pre-activations and activations."""
    if set(names) == {"linear"}:
        return value
    level = 1 + max((block.level for block in value.terms), default=-1)
    block = Block(level, value, tuple(names), label)
    return Value(value.shape, {block: np.eye(value.size)}, np.zeros(value.size))


def _decimal(value: float) -> float:
    """Return the decimal that a float32 stands for: 0.2 for 0.20000000298."""
    short = float(f"{value:.6g}")
    return short if abs(short - value) <= 6e-8 * abs(value) else float(value)


def recognise(values: Floats) -> tuple[str, float, float, float] | None:
    """Return the activation with these values at PROBES, or None.

    The result is (name, inner, offset, outer) of f(inner z + offset) + outer. cos z,
    exp(z) - 1 and b^z are recognised beside the activations themselves. Values that
    overflow are not compared.
    """
    finite = np.isfinite(values)
    if not finite[1:3].all():
        return None
    floor, slope, middle = _decimal(-values[0]), _decimal(-values[1]), values[2]
    names = [
        *activations.SMOOTH,
        *activations.PIECEWISE,
        f"leaky_relu({slope})",
        f"elu({floor})",
        f"celu({floor})",
        f"softplus({_decimal(np.log(2) / middle)})",
        f"squareplus({_decimal(4 * middle * middle)})",
    ]
    rate = np.log(values[PROBES == 1.0][0])
    for candidate in (
        *((name, 1.0, 0.0, 0.0) for name in names),
        ("sin", 1.0, np.pi / 2, 0.0),
        ("exp", 1.0, 0.0, -1.0),
        ("exp", rate, 0.0, 0.0),
    ):
        name, inner, offset, outer = candidate
        with suppress(ValueError):  # the function takes no such parameter
            expected = activations.of_layer(name, inner * PROBES + offset, 0)[0] + outer
            if np.allclose(values[finite], expected[finite], rtol=1e-5, atol=1e-6):
                return candidate
    return None


def _is_affine(function: Function, size: int) -> bool:
    """Test f(x + y) - f(y) = f(x) - f(0) for each element of the result.

    x and y have small and large elements, because a kink may lie at any size.
    """
    random = np.random.default_rng(0)
    at_zero = function(np.zeros(size))
    for scale in np.repeat(SCALES, 2):
        x, y = scale * random.standard_normal((2, size))
        at_sum, at_x, at_y = function(x + y), function(x), function(y)
        sizes = np.abs([at_sum, at_x, at_y, at_zero]).max(axis=0)
        allowed = 1e-6 * sizes + 1e-10 * sizes.max(initial=0)
        if not (np.abs(at_sum - at_x - at_y + at_zero) <= allowed).all():
            return False
    return True


def _is_elementwise(function: Function, size: int) -> bool:
    """Test whether each element of the result depends on one element of x alone."""
    random = np.random.default_rng(0)
    x, y = random.standard_normal((2, size))
    at_x, at_y = function(x), function(y)
    if not np.isfinite(at_x).all():
        return False
    for mask in (np.arange(size) % 2 == 0, random.random(size) < 0.5):
        mixed, expected = function(np.where(mask, y, x)), np.where(mask, at_y, at_x)
        if not np.allclose(mixed, expected, rtol=1e-6, atol=1e-9, equal_nan=True):
            return False
    return True


def _elementwise_origins(
    function: Function, values: Sequence[Value], shape: tuple[int, ...]
) -> dict[Value, Function]:
    """Return the earlier values that determine a result elementwise, the latest first.

    Each is a key. Its item is the function that computes the result from it.
    """
    origins = {}
    steps = [{value: lambda x: x} | value.origins for value in values]
    for base in steps[0]:
        if base.shape == shape and all(base in each for each in steps):
            composed = _composed(function, [each[base] for each in steps])
            if _is_elementwise(composed, base.size):
                origins[base] = composed
    return origins


def _composed(function: Function, steps: Sequence[Function]) -> Function:
    return lambda x: function(np.concatenate([step(x) for step in steps]))


def _activated(function: Function, base: Value) -> Value | None:
    """Return the neurons that compute a known activation of each element, or None."""
    values = np.array([function(np.full(base.size, probe)) for probe in PROBES])
    columns, which = np.unique(values, axis=1, return_inverse=True)
    recognised = [recognise(column) for column in columns.T]
    if None in recognised:
        return None
    found = [recognised[k] for k in which.ravel()]
    names, inner, offset, outer = zip(*found)
    before = affine(base.shape, [(np.diag(inner), base)], np.array(offset))
    after = neurons(before, names)
    return replace(after, constant=after.constant + outer)


def _neurons(label: str, origins: dict[Value, Function]) -> Value:
    """Return the neurons of the latest origin from which the result is an activation.

    If there is none, the neurons have no names.
    """
    earlier = dict(origins)
    for base, function in origins.items():
        activated = _activated(function, base)
        if activated is not None:
            return replace(activated, origins=earlier)
        del earlier[base]
    return replace(neurons(next(iter(origins)), (), label), origins=origins)


def _classified(
    label: str, operation: Callable[[Floats], Any], values: Sequence[Value], zero: Any
) -> Any:
    """Return the value that an operation computes from other values.

    `operation` takes their concatenated elements. `zero` is its result at zero. If that
    is not an array, it is a constant of the network and is returned.
    """
    if not hasattr(zero, "__array__"):
        return zero
    out, ends = np.asarray(zero), np.cumsum([value.size for value in values])

    def function(x: Floats) -> Floats:
        return np.array(operation(x), dtype=np.float64).ravel()

    origins = _elementwise_origins(function, values, out.shape)
    masks = out.dtype == bool or any(value.is_mask for value in values)
    if not masks and _is_affine(function, ends[-1]):
        constant = function(np.zeros(ends[-1]))
        columns = [function(unit) - constant for unit in np.eye(ends[-1])]
        matrix = np.reshape(columns, (ends[-1], out.size)).T
        parts = zip(np.split(matrix, ends, axis=1), values)
        return replace(affine(out.shape, parts, constant), origins=origins)
    if origins:
        return replace(_neurons(label, origins), is_mask=out.dtype == bool)
    raise ValueError(f"{label} is neither affine nor elementwise; {ADVICE}")


def applied(label: str, operation: Callable[..., Any], arguments: Sequence[Any]) -> Any:
    """Return the result of an operation whose arguments are values or constants.

    Parameters
    ----------
    label : str
        The operation, for messages.
    operation : callable
        Takes the arguments, with an array in place of each value, of bool for a mask.
        Returns an array, or a list or tuple.
    arguments : sequence of Value or constant

    Returns
    -------
    Value, or constant, or list of both
        Arrays become values. Other results are constants, and so are all results if no
        argument is a value.

    Raises
    ------
    ValueError
        If the operation is neither affine nor elementwise, or raises an error.

    Examples
    --------
    >>> applied("node 'mean'", lambda x: x.mean(keepdims=True), [inputs((2,))]).terms
    {Block(level=0, ...): array([[0.5, 0.5]])}
    """
    values = [each for each in arguments if isinstance(each, Value)]
    ends = np.cumsum([0, *(value.size for value in values)])

    def function(x: Floats) -> Any:
        arrays = (
            part.reshape(value.shape).astype(bool if value.is_mask else float)
            for part, value in zip(np.split(x, ends[1:]), values)
        )
        filled = [next(arrays) if isinstance(a, Value) else a for a in arguments]
        with one_line_errors(f"{label} cannot be evaluated"):
            return operation(*filled)

    with np.errstate(all="ignore"):
        zero = function(np.zeros(ends[-1]))
        if not values:
            return zero
        if not isinstance(zero, (list, tuple)):
            return _classified(label, function, values, zero)
        results = [
            _classified(label, lambda x, k=k: function(x)[k], values, each)  # type: ignore[misc]
            for k, each in enumerate(zero)
        ]
    # A tuple without values, such as a shape, keeps its type
    return results if any(isinstance(each, Value) for each in results) else zero


def _ancestors(output: Value) -> list[Block]:
    """Return all blocks that a value depends on, each after the blocks of its source.

    Raise a ValueError if a block is not a known activation.
    """
    blocks: list[Block] = []

    def visit(value: Value) -> None:
        for block in value.terms:
            if block not in blocks:
                visit(block.source)
                if not block.names:
                    raise ValueError(
                        f"{block.label} is an elementwise function that is not "
                        f"supported; {ADVICE}"
                    )
                blocks.append(block)

    visit(output)
    return blocks


def _carry(block: Block, terms: dict[Block, dict[Block, Floats]]) -> None:
    """Carry a block past the next level by linear neurons, which later blocks use.

    `terms` has the terms of each block's pre-activations and is changed in place.
    """
    following = block.level + 1
    users = [user for user in terms if user.level > following and block in terms[user]]
    if not users:
        return
    matrices = [terms[user].pop(block) for user in users]
    rows = np.concatenate(matrices)
    if len(rows) < block.size:
        # The combinations that the users need are fewer than the neurons, and are
        # carried themselves.
        ends = np.cumsum([user.size for user in users])
        matrices = np.split(np.eye(len(rows)), ends)
    else:
        rows = np.eye(block.size)
    size = len(rows)
    for level in range(following, max(user.level for user in users)):
        source = Value((size,), {block: rows}, np.zeros(size))
        block, rows = Block(level, source, ("linear",) * size), np.eye(size)
        terms[block] = source.terms
        for user, matrix in zip(users, matrices):
            if user.level == level + 1:
                terms[user][block] = matrix


def layers(output: Value) -> tuple[list[Floats], list[Floats], list[str]]:
    """Return the weights, biases and activations of a network with this output.

    A hidden layer consists of the blocks of one level, followed by linear neurons that
    carry earlier blocks to later layers. The output is the last layer and has no
    activation.
    """
    blocks = _ancestors(neurons(output, ["output"]))
    terms = {block: dict(block.source.terms) for block in blocks}
    for block in blocks:
        _carry(block, terms)
    levels: list[list[Block]] = [[] for _ in range(blocks[-1].level + 1)]
    for block in terms:
        levels[block.level].append(block)
    weights, biases, names = [], [], []
    for below, here in pairwise(levels):
        matrices = [
            [terms[b].get(a, np.zeros((b.size, a.size))) for a in below] for b in here
        ]
        weights.append(np.block(matrices))
        biases.append(np.concatenate([block.source.constant for block in here]))
        names.append(activations.spelled([n for block in here for n in block.names]))
    return weights, biases, names[:-1]
