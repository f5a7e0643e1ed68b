"""Convert a graph of operations to layers of affine maps and elementwise functions.

An importer describes a network as a sequence of `Node`, one for each operation of the
framework's graph. `evaluate` calls the functions of the nodes one after another. They
do not compute numbers, but objects of the class `Value`: each describes an array inside
the network as an affine function of *blocks*. A block is either the inputs of the
network, or the outputs of some neurons whose pre-activations are a Value. `layers`
converts the Value of the network's output to weights, biases and activations.

The function of a node usually calls `applied`. It evaluates the framework's operation f
at many arrays x and y of numbers, to find which of three kinds the operation is:

- affine: f(x + y) - f(y) = f(x) - f(0) for all x and y. Its matrix is computed from the
  values of f at unit vectors.
- elementwise: entry i of the result depends only on entry i of x. The values of the
  function are compared with those of the supported activations. Several operations may
  form one activation together, such as z / (1 + exp(-z)).
- neither of them: a ValueError names the operation.

A skip connection passes a block over the layers between. `layers` then adds neurons
with the activation "linear" to these layers, which pass the block on unchanged.

To add an importer, write a function that makes the nodes of the framework's graph, and
return the result of the last node in a `Converted`. `applied` computes weights only up
to rounding. If a kind of layer must be converted exactly, let the function of its node
call `dense` or `neurons` instead, as `importers.pytorch` does for Linear. An example
with two nodes, which double two inputs and apply tanh:

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
# PROBES are the numbers at which a function is compared with the supported activations.
# The kinks of functions often lie at round numbers, so SIZES avoids them.
SIZES = np.logspace(-6, 6, 49) * 1.0123
PROBES = np.concatenate([[-1e6, -1.0, 0.0], np.linspace(-6, 6, 49), SIZES, -SIZES])
# The sizes of the arrays at which an operation is tested for being affine
SCALES = 10.0 ** np.arange(-4, 6.5, 0.5)

Function: TypeAlias = Callable[[Floats], Floats]  # of a vector


@dataclass(frozen=True, eq=False)
class Block:
    """The inputs of the network, or the outputs of neurons that one operation computes.

    Attributes
    ----------
    level : int
        The number of the layer that contains the neurons, at least 1, or 0 for the
        inputs.
    source : Value
        The pre-activations of the neurons. For the inputs, a Value without terms.
    names : tuple of str
        The activation of each neuron. The tuple is empty if the function of the neurons
        is elementwise but not a supported activation. It may be a part of a supported
        activation that later operations complete. If the output of the network depends
        on such a block, `layers` raises a ValueError.
    label : str
        The name of the operation, for messages.
    """

    level: int
    source: "Value"
    names: tuple[str, ...]
    label: str = ""

    @property
    def size(self) -> int:
        """Number of inputs or neurons in the block."""
        return self.source.size


@dataclass(frozen=True, eq=False)
class Value:
    """An array inside the network, as an affine function of blocks.

    The flattened array is the sum of ``terms[block] @ block`` over all blocks in
    `terms`, plus `constant`.

    Attributes
    ----------
    shape : tuple of int
        The shape of the array, with a batch axis of length 1 if the framework has one.
    terms : dict from Block to ndarray of float64
        The matrix of each block, shape (size, block.size), where size is the number of
        entries of the array.
    constant : ndarray of float64, shape (size,)
        The constant.
    origins : dict from Value to callable
        Earlier values of the same shape, and the elementwise functions that compute
        this value from them. The latest earlier value is the first item.
    is_mask : bool
        Whether the array has the dtype bool in the framework.
    """

    shape: tuple[int, ...]
    terms: dict[Block, Floats]
    constant: Floats
    origins: dict["Value", Function] = field(default_factory=dict)
    is_mask: bool = False

    @property
    def size(self) -> int:
        """Number of entries of the array."""
        return self.constant.size


class Node(NamedTuple):
    """One operation of a framework's graph.

    Attributes
    ----------
    inputs : sequence of hashable
        The names of the results that the operation takes.
    outputs : sequence of hashable
        The names of the results that the operation computes.
    function : callable
        Takes one argument for each name of `inputs`, and returns a list with one result
        for each name of `outputs`. Arguments and results are Values or constants.
    """

    inputs: Sequence[Hashable]
    outputs: Sequence[Hashable]
    function: Callable[..., Sequence[Any]]


class Converted(NamedTuple):
    """The result of an importer, with what is needed to compare it with the original.

    Attributes
    ----------
    output : Value or object
        The output of the network. If it is not a Value, the original does not have
        exactly one output that depends on its input, and the network is rejected.
    original : callable
        Maps an input of the original network, with a batch axis of length 1, to its
        output.
    inputs : ndarray of float64, shape (n, ...)
        Inputs at which the outputs of the converted and the original network are
        compared.
    """

    output: Any
    original: Callable[[np.ndarray], Any]
    inputs: np.ndarray


def evaluate(nodes: Iterable[Node], results: dict[Any, Any]) -> dict[Any, Any]:
    """Call the functions of all nodes, add their results to `results`, and return it.

    `results` maps names to Values and constants, at first those of the network's inputs
    and constants. Each node must follow the nodes whose results it takes. Raise a
    KeyError with the name of the result if one is missing.
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
    """Return eight inputs from the standard normal distribution, shape (8, *shape).

    They are the same at every call.
    """
    return np.random.default_rng(0).standard_normal((8, *shape))


def inputs(shape: tuple[int, ...]) -> Value:
    """Return the Value of the inputs of a network, an array of this shape.

    It has a single term: the unit matrix times a block of level 0.
    """
    return neurons(Value(shape, {}, np.zeros(prod(shape))), ["input"])


def affine(
    shape: tuple[int, ...], parts: Iterable[tuple[Floats, Value]], constant: Floats
) -> Value:
    """Return the Value of this shape that is a sum of matrix @ value, plus a constant.

    `parts` are the pairs (matrix, value). `constant` has one entry for each row of the
    matrices, and each value is flattened.
    """
    terms: dict[Block, Floats] = {}
    for matrix, value in parts:
        constant = constant + matrix @ value.constant
        for block, inner in value.terms.items():
            terms[block] = terms.get(block, 0.0) + matrix @ inner
    return Value(shape, terms, constant)


def dense(weight: Any, value: Value, bias: Any) -> Value:
    """Return the Value weight @ value + bias, with exactly these weights.

    `weight` has the shape (units out, units in), and `bias` the shape (units out,) or
    (). `value` is a vector, shape (units in,), or a batch of one, shape (1, units in).
    """
    weight = np.asarray(weight, dtype=np.float64)
    bias = np.asarray(bias, dtype=np.float64)
    return affine((*value.shape[:-1], len(weight)), [(weight, value)], bias)


def is_vector(value: Any) -> bool:
    """Return whether a result is a Value with two axes, the batch and a vector."""
    return isinstance(value, Value) and len(value.shape) == 2


def neurons(value: Value, names: Sequence[str], label: str = "") -> Value:
    """Return the Value of the outputs of neurons, which are a new block.

    `value` are the pre-activations, and `names` the activation of each neuron. It is
    empty if the activation is not supported. If all activations are "linear", `value`
    itself is returned. The level of the new block is one above the highest level of the
    blocks of `value`, and 0 if `value` has no blocks. `label` is the name of the
    operation, for messages.
    """
    if set(names) == {"linear"}:
        return value
    level = 1 + max((block.level for block in value.terms), default=-1)
    block = Block(level, value, tuple(names), label)
    return Value(value.shape, {block: np.eye(value.size)}, np.zeros(value.size))


def _decimal(value: float) -> float:
    """Round a number to six digits if it is that decimal number in float32.

    Otherwise return the number unchanged.

    Examples
    --------
    >>> _decimal(0.20000000298), _decimal(0.2000001)
    (0.2, 0.2000001)
    """
    short = float(f"{value:.6g}")
    return short if abs(short - value) <= 6e-8 * abs(value) else float(value)


def recognise(values: Floats) -> tuple[str, float, float, float] | None:
    """Return the activation that has these values at PROBES, or None.

    The result (name, inner, offset, outer) describes the function f(inner z + offset) +
    outer, where f is the activation of this name. Apart from the activations
    themselves, these are cos z = sin(z + pi/2), exp(z) - 1, and b^z = exp(z log b). The
    first activation that agrees is returned. Values that are not finite are not
    compared, and the difference of the others must be at most 1e-6 plus 1e-5 times the
    value of the activation. The result is None if the value at z = -1 or z = 0 is not
    finite.

    Examples
    --------
    >>> with np.errstate(all="ignore"):
    ...     recognise(np.cos(PROBES))
    ('sin', 1.0, 1.5707963267948966, 0.0)
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
        with suppress(ValueError):  # the parameter in the name is not allowed
            expected = activations.of_layer(name, inner * PROBES + offset, 0)[0] + outer
            if np.allclose(values[finite], expected[finite], rtol=1e-5, atol=1e-6):
                return candidate
    return None


def _is_affine(function: Function, size: int) -> bool:
    """Return whether f(x + y) - f(y) = f(x) - f(0) for random arrays x and y.

    `function` is f, and takes an array of `size` entries. The entries of x and y have
    sizes from 1e-4 to 1e6, because f may have a kink at an entry of any size. The two
    sides may differ by rounding. The result is False if a value of f is not finite.
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
    """Return whether entry i of function(x) depends only on entry i of x.

    `size` is the number of entries of x and of the result. Some entries of a random
    array are replaced by other numbers, and only the same entries of the result may
    change. The result is also False if function(x) is not finite at the random array.
    """
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
    """Return the values that determine the result of an operation elementwise.

    `function` computes the result, an array of this shape, from the concatenated
    entries of `values`. The result may be an elementwise function of one of them, or of
    an earlier value that determines all of them. Each such value is a key of the
    returned dict, the latest first. Its item is the function that computes the result
    from it.
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
    """Return the composition of several functions of x with one function.

    The results of `steps` at x are concatenated, and passed to `function`.
    """
    return lambda x: function(np.concatenate([step(x) for step in steps]))


def _activated(function: Function, base: Value) -> Value | None:
    """Return neurons that compute an elementwise function of a value.

    `function` maps an array with the number of entries of `base` to an array of the
    same length, entry by entry. Return None if the function of an entry is not a
    supported activation.
    """
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
    """Return neurons for a result that is an elementwise function of earlier values.

    `origins` are these values, the latest first, and the function of each that computes
    the result. The pre-activations of the neurons are the first value whose function is
    a supported activation. If there is no such value, the neurons have no names: the
    result may become a part of an activation with later operations. `label` is the name
    of the operation, for messages.
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
    """Return the Value that an operation computes from `values`.

    `operation` takes the concatenated entries of `values`, and `zero` is its result if
    all of them are 0. If `zero` is not an array, it is a constant of the network and is
    returned. An operation that is both affine and elementwise is converted as affine.
    An operation whose result or argument has the dtype bool is never affine. Raise a
    ValueError with `label` if the operation is neither affine nor elementwise.
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
    """Return the result of an operation whose arguments are Values or constants.

    Parameters
    ----------
    label : str
        The name of the operation, for messages.
    operation : callable
        The operation on numbers. It takes one argument for each item of `arguments`: an
        array of the same shape for a Value, of float64 or, for a mask, of bool; and the
        constant itself for a constant. It returns an array or a constant, or a list or
        tuple of them.
    arguments : sequence of Value or object
        The arguments of the operation inside the network. Objects other than a Value
        are constants.

    Returns
    -------
    Value or object, or list of them
        A Value for each array that the operation returns, and the constants unchanged.
        If no argument is a Value, the result of the operation is a constant and is
        returned unchanged.

    Raises
    ------
    ValueError
        If the operation is neither affine nor elementwise, or raises an error.

    Examples
    --------
    The mean of two inputs is the matrix [[0.5, 0.5]] times the block of the inputs:

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
    """Return all blocks that a value depends on.

    Each block follows the blocks on which its own pre-activations depend. Raise a
    ValueError if the function of a block is not a supported activation.
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
    """Add linear neurons that pass a block on to blocks beyond the next layer.

    `terms` maps each block to the terms of its pre-activations, a dict from blocks to
    matrices. It is changed in place: each layer in between receives a block of linear
    neurons, and blocks beyond the next layer use these neurons in place of `block`.
    """
    following = block.level + 1
    users = [user for user in terms if user.level > following and block in terms[user]]
    if not users:
        return
    matrices = [terms[user].pop(block) for user in users]
    rows = np.concatenate(matrices)
    if len(rows) < block.size:
        # `users` need fewer linear combinations of the block than it has neurons, so
        # the combinations are passed on, and not the block.
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
    """Return the weights, biases and activations of the network with this output.

    The three lists are arguments of `MLP`. A hidden layer consists of the blocks of one
    level, followed by linear neurons that pass earlier blocks on to later layers. The
    last layer computes `output` and has no activation. Raise a ValueError if the output
    depends on an elementwise function that is not a supported activation.
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
