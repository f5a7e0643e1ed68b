"""The compiled loop that runs over a tape: all layers, all centres, and no call of NumPy's.

This module needs numba. A row is one number for each centre and neuron, so that the innermost loops are over contiguous numbers
and the processor takes several at a time. Layers are filled up to whole vectors with neurons from which nothing leads. Rows are
places in `work`; whatever does not depend on the centres is in two arrays more, which `loop` writes and the loop reads.
"""

from collections.abc import Callable
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numba.core import types
from numba.extending import intrinsic
from numba.np.arrayobj import populate_array
from numpy.typing import NDArray

from paperlib._support import compiled
from paperlib._support.checks import Floats
from paperlib._support.compiled import inner
from paperlib.networks import activations, bases
from paperlib.networks.bases import recurrence, spare_rows
from paperlib.networks.mlp import MLP
from paperlib.taylor import compiled_activations, registers
from paperlib.taylor.compiled_activations import CODES, activate
from paperlib.taylor.registers import LANES, aligned, dots, multiply, multiply_and_add, product
from paperlib.taylor.symmetric import entries
from paperlib.taylor.tape import HANDED_ON, Tape, tape

__all__ = ["Loop", "loop", "run"]

Ints: TypeAlias = NDArray[np.int64]
TOGETHER = 2**15  # numbers at work together, which stay in cache
FEW = 3 * LANES // 4  # rows, from which on a vector of dot products is of rows and not of centres
# What the table says of a layer: its sizes, its activation, where its numbers and its products are, and how many of these.
BELOW, ABOVE, CODE, PARAMETER, FORWARD, BIAS, BACKWARD, BEGIN, OWN, UP, DOWN, DOTS = range(12)


class Loop(NamedTuple):
    """The compiled loop, and what it is given beside the centres; see `loop`."""

    run: Callable[..., bool]
    size: int  # of a tensor, with what fills up a vector
    beyond: int  # numbers past the last tensor, to which nothing is added
    work: int  # numbers that a centre takes
    together: int  # centres at a time, at most
    table: Ints
    numbers: Floats


def loop(mlp: MLP, order: int) -> Loop | None:
    """Write down what does not depend on the centres.

    None where an activation is `Custom`, or neurons of a layer have several.
    """
    of_layers = [activations.groups(name) for name in mlp.activations]
    if any(len(parts) > 1 or not isinstance(parts[0][0], str) for parts in of_layers):
        return None
    scaled = [activations.scaled(str(parts[0][0])) for parts in of_layers]
    tapes = [tape(mlp.dim, order, LANES, layer == 0, layer == mlp.depth - 1) for layer in range(mlp.depth)]
    z, adjoints, kept = tapes[0].z, tapes[0].adjoints, tapes[0].kept
    rows = max(*(kept + spare_rows(each.base, order) for each in scaled), *(each.rows for each in tapes))
    kinds = [(each.base, written) for each, written in zip(scaled, tapes)]
    played = {kind: _played(*kind) for kind in kinds}
    begins = dict(zip(played, np.cumsum([0, *(len(times) for _, times, _ in played.values())]).tolist()))
    products = np.concatenate([each for each, _, _ in played.values()])
    products = np.where(products >= HANDED_ON, products - HANDED_ON + rows, products)
    times = np.concatenate([each for _, each, _ in played.values()])

    dim, *hidden = units = [-(-n // LANES) * LANES for n in (mlp.dim, *map(len, mlp.biases[:-1]))]
    parts: list[Any] = [np.append(times, [each.parameter for each in scaled])]
    outer = 1.0  # the layer's outer scaling goes into the next layer's weights, its inner one into its own
    for weights, bias, shape, each in zip(mlp.weights, mlp.biases, zip(hidden, units), scaled):
        filled, bias, outer = _filled(each.inner * outer * weights, *shape), each.inner * bias, each.outer
        parts += [filled.T, [*bias, *[1.0] * (shape[0] - len(bias))], filled]  # at 1, far from a kink
    parts += [_filled(outer * mlp.weights[-1], mlp.outputs, units[-1]), np.zeros(max(units))]
    parts = [np.pad(np.ravel(part), (0, -np.size(part) % LANES)) for part in parts]
    _, *places, last, none, _ = np.cumsum([0, *map(len, parts)]).tolist()

    size = dim if order == 1 else entries(mlp.dim, order)
    head = [order, mlp.dim, size, z, adjoints, kept, rows, mlp.depth, max(hidden), sum(hidden), last, none]
    layers = [
        [mlp.dim if n == 0 else units[n], units[n + 1], CODES[kind[0]], len(times) + n]
        + [*places[3 * n : 3 * n + 3], begins[kind], *played[kind][2]]
        for n, kind in enumerate(kinds)
    ]
    table = np.concatenate([head, *layers, products.ravel()]).astype(np.int64)
    work = kept * sum(hidden) + (rows - kept + 1 + z) * max(hidden)
    together = min(max(TOGETHER // work // 8, 1), 64) * 8  # eight rows at a time
    # And, for each centre, more than enough for the alignment, a vector of sums, and rows that are read beyond the last.
    return Loop(run, size, LANES, work + LANES * (2 + max(hidden)), together, table, np.concatenate(parts))


def _played(name: str, each: Tape) -> tuple[Ints, Floats, list[int]]:
    """The products of a layer with such an activation, one after the other; how often they are met; how many of each kind."""
    sums = list(recurrence(name, each.order, each.kept))
    own = [(out, left, right, n == 0) for out, terms in sums for n, (left, right, _) in enumerate(terms)]
    kinds = [np.array(own, dtype=np.int64).reshape(-1, 4), each.up, each.down, each.dots]
    times = [often for _, terms in sums for *_, often in terms]
    return np.concatenate(kinds), np.append(times, each.times), [len(kind) for kind in kinds]


def _filled(weights: Floats, rows: int, columns: int) -> Floats:
    return np.pad(weights, ((0, rows - len(weights)), (0, columns - weights.shape[1])))


def _view(numbers: Any, begin: Any, *shape: Any) -> Any:
    """An array within an array."""
    made = types.Array(numbers.dtype, len(shape), "C")

    def code(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        size = context.get_constant(types.intp, context.get_abi_sizeof(context.get_data_type(numbers.dtype)))
        array, shape = context.make_array(made)(context, builder), given[2:]
        data = builder.gep(context.make_array(numbers)(context, builder, given[0]).data, [given[1]])
        strides = [*(builder.mul(length, size) for length in shape[1:]), size]
        populate_array(array, data=data, shape=shape, strides=strides, itemsize=size, meminfo=None)
        return array._getvalue()

    return made(numbers, *[types.intp] * (1 + len(shape))), code


# In place of slices, which take a second to compile.
_row: Any = intrinsic(lambda context, numbers, begin, length: _view(numbers, begin, length))
_matrix: Any = intrinsic(lambda context, numbers, begin, rows, length: _view(numbers, begin, rows, length))


@inner
def _play(
    tapes: Ints, begin: int, count: int, numbers: Floats, work: Floats,
    own: int, shared: int, onward: int, kept: int, rows: int, width: int,
) -> None:  # fmt: skip
    """A layer's products, neuron by neuron; see `tape.Tape`."""
    shared, onward = shared - kept * width, onward - rows * width
    for number in range(begin, begin + count):
        out, left, right, first = tapes[number]
        x, y = (own if left < kept else shared) + left * width, (own if right < kept else shared) + right * width
        to, weight = (own if out < kept else shared if out < rows else onward) + out * width, numbers[number]
        if first:
            multiply(work, x, y, weight, to, width)
        else:
            multiply_and_add(work, x, y, weight, to, width)


@partial(compiled.jit, flags=frozenset({"contract", "reassoc"}), inner=True)  # in any order, else a number at a time
def _dot(x: Floats, y: Floats) -> float:
    total = 0.0
    for j in range(len(x)):
        total += x[j] * y[j]
    return total


@inner
def _add_dots(
    tapes: Ints, begin: int, count: int, numbers: Floats, work: Floats,
    own: int, shared: int, kept: int, centres: int, units: int, out: Floats, to: int, size: int, spare: int,
) -> None:  # fmt: skip
    """Add to the entries of each centre the dot products over its neurons, as many at a time as a vector has numbers.

    These are of one row with others, or, where there are few others, of two rows at several centres.
    """
    width, sums = centres * units, _row(work, spare, LANES)
    shared -= kept * width
    for number in range(begin, begin + count):
        entry, left, right, some = tapes[number]
        x, y, weight = (own if left < kept else shared) + left * width, shared + right * width, numbers[number]
        first, together = to + entry, centres - centres % LANES if some < FEW else 0
        for n in range(some):
            for c in range(0, together, LANES):
                at_x, at_y = x + c * units, y + n * width + c * units
                for i in range(LANES):
                    sums[i] = 0.0
                dots(work, at_x, units, at_y, units, units, weight, work, spare, LANES)
                for i in range(LANES):
                    out[first + n + (c + i) * size] += sums[i]
        for c in range(together, centres):
            if some < LANES // 2:
                for n in range(some):
                    one, other = _row(work, x + c * units, units), _row(work, y + n * width + c * units, units)
                    out[first + n + c * size] += weight * _dot(one, other)
            else:  # what lies beyond the last row is multiplied, too
                dots(work, x + c * units, 0, y + c * units, width, units, weight, out, first + c * size, some)


@inner
def _repeat(row: Floats, numbers: Floats, begin: int, length: int) -> None:
    """A layer's numbers for every centre."""
    some = _row(numbers, begin, length)
    for start in range(0, len(row), length):
        part = _row(row, start, length)
        for j in range(length):
            part[j] = some[j]


@inner
def _finite(row: Floats) -> bool:
    """Whether all are, which activations do not tell, and their squares."""
    return 0.0 * _dot(row, row) == 0.0


def _of(sources: int) -> Callable:
    """The loop, of a number that tells what it was made of.

    numba finds again what it has compiled by a function's own file and what it closes over, not by the files of what it calls.
    """

    def run(at: Floats, out: Floats, work: Floats, together: int, table: Ints, numbers: Floats) -> bool:
        """Add the tensors at centres (n, dim) to `out` (outputs, n, size), so many `together`; False: at a kink, or not finite."""
        order, dim, size, z, adjoints, kept, rows, depth, widest, total, last, none = table[:12]
        layers, n = _matrix(table, 12, depth, 12), len(at) // dim
        tapes = _matrix(table, 12 + 12 * depth, len(table) // 4 - 3 - 3 * depth, 4)
        first_own = aligned(work)
        shared = first_own + together * kept * total
        onward = shared + together * (rows - kept) * widest
        spare = onward + together * (1 + z) * widest
        for start in range(0, n, together):
            centres = together if n - start > together else n - start
            own = x = first_own
            for layer in range(depth):
                of = layers[layer]
                below, above, width = of[BELOW], of[ABOVE], centres * of[ABOVE]
                of_z = own + (order + 1) * width
                if layer:
                    product(work, x, centres, below, numbers, of[FORWARD], of[BIAS], above, work, of_z)
                    y = x + centres * below
                    product(work, y, z * centres, below, numbers, of[FORWARD], none, above, work, of_z + width)
                else:
                    product(at, start * dim, centres, dim, numbers, of[FORWARD], of[BIAS], above, work, of_z)
                    # The same for all centres: they stay where they are while the rows keep their length.
                    for i in range(dim if z and (start == 0 or centres < together) else 0):
                        _repeat(_row(work, of_z + (1 + i) * width, width), numbers, of[FORWARD] + i * above, above)
                if not _finite(_row(work, of_z, width)):
                    return False
                activate(of[CODE], numbers[of[PARAMETER]], work, own, shared, width, width, order + 2)
                x, count = own, of[OWN]
                if z and layer < depth - 1:
                    x, count = onward, of[OWN] + of[UP]
                    _repeat(_row(work, x, width), work, own, width)
                _play(tapes, of[BEGIN], count, numbers, work, own, shared, onward, kept, rows, width)
                own += kept * width
            for output in range((len(out) - LANES) // (n * size)):
                end, to = own, (output * n + start) * size
                for layer in range(depth - 1, -1, -1):
                    of = layers[layer]
                    above, width = of[ABOVE], centres * of[ABOVE]
                    end -= kept * width
                    if layer == depth - 1:
                        _repeat(_row(work, shared, width), numbers, last + output * above, above)
                    else:
                        beyond, backward = layers[layer + 1, ABOVE], layers[layer + 1, BACKWARD]
                        product(work, onward, adjoints * centres, beyond, numbers, backward, none, above, work, shared)
                    begin = of[BEGIN] + of[OWN] + of[UP]
                    _play(tapes, begin, of[DOWN], numbers, work, end, shared, onward, kept, rows, width)
                    begin += of[DOWN]
                    _add_dots(
                        tapes, begin, of[DOTS], numbers, work, end, shared, kept, centres, above, out, to, size, spare
                    )
                if order == 1:
                    above, backward = layers[0, ABOVE], layers[0, BACKWARD]
                    product(work, onward, centres, above, numbers, backward, none, size, out, to)
                if not _finite(_row(out, to, centres * size)):
                    return False
        return sources > 0

    return run


_FILES = [Path(str(module.__file__)) for module in (compiled, registers, bases, compiled_activations)]
_SOURCES = int.from_bytes(sha256(b"".join(path.read_bytes() for path in _FILES)).digest()[:7], "big")
run = compiled.jit(_of(_SOURCES), flags=frozenset({"contract"}))
