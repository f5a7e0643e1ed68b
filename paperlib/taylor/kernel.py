"""The compiled loop that runs over a tape: all layers, all centres, and no call of NumPy's but for tall matrix products.

This module needs numba. A row is one number for each centre and neuron, so that the innermost loops are over contiguous numbers
and the processor takes several at a time.
"""

import math
from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
from numba.core import cgutils
from numba.extending import intrinsic
from numpy.typing import NDArray

from paperlib._support import compiled
from paperlib._support.checks import Floats
from paperlib.networks.compiled_activations import activate
from paperlib.taylor.registers import LANES, SPARE, aligned, dots_of_centres, dots_of_rows, product

__all__ = ["run"]

Ints: TypeAlias = NDArray[np.int64]

FEW = LANES // 2  # rows, below which a vector's worth of them is too much
FLAGS = frozenset({"contract", "reassoc"})  # sums in any order, else they are taken one number at a time


def inner(function: Callable) -> Any:
    return compiled.jit(function, flags=FLAGS, inner=True)


def _as_borrowed(context: Any, array: Any) -> Any:
    def code(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        copy = context.make_array(array)(context, builder, given[0])
        copy.meminfo = cgutils.get_null_value(copy.meminfo.type)
        return copy._getvalue()

    return array(array), code


# The same array, whose references are not counted: to count those of a hundred rows takes as long as their products.
_borrowed: Any = intrinsic(_as_borrowed)


@inner
def _matrix(numbers: Any, begin: int, rows: int, columns: int) -> Any:
    return numbers[begin : begin + rows * columns].reshape((rows, columns))


@inner
def _play(products: Ints, times: Floats, own: Floats, shared: Floats, onward: Floats, kept: int) -> None:
    """A layer's products, neuron by neuron; see `tape.Tape`."""
    rows = kept + len(shared)
    for number in range(len(products)):
        out, left, right, first = products[number]
        x = own[left] if left < kept else shared[left - kept]
        y = own[right] if right < kept else shared[right - kept]
        row, weight = shared[out - kept] if out < rows else onward[out - rows], times[number]
        if first:
            for j in range(len(row)):
                row[j] = weight * x[j] * y[j]
        else:
            for j in range(len(row)):
                row[j] += weight * x[j] * y[j]


@inner
def _add_dots(
    dots: Ints, times: Floats, own: Floats, shared: Floats, kept: int, units: int, out: Floats, spare: Floats
) -> None:
    """Add to the entries of each centre (centres, entries) the dot products over its neurons.

    As many at a time as a vector has numbers: of one row with others, or, where these are few, of two rows at several centres.
    """
    width, vectors = shared.shape[1], units % LANES == 0
    for number in range(len(dots)):
        entry, left, first, count = dots[number]
        x, weight = own[left] if left < kept else shared[left - kept], times[number]
        first, end = first - kept, first - kept + count
        while vectors and end - first >= FEW and end >= LANES:
            # Rows before the first are multiplied, too, and not added.
            some, end = min(LANES, end - first), max(first, end - LANES)
            for c in range(len(out)):
                dots_of_rows(x, shared[end + some - LANES], spare, c * units, units, width)
                for i in range(some):
                    out[c, entry + end - first + i] += weight * spare[LANES - some + i]
        for n in range(first, end):
            y, together = shared[n], len(out) - len(out) % LANES if vectors else 0
            for c in range(0, together, LANES):
                dots_of_centres(x, y, spare, c * units, units, units)
                for i in range(LANES):
                    out[c + i, entry + n - first] += weight * spare[i]
            for c in range(together, len(out)):
                x_part, y_part, total = x[c * units : (c + 1) * units], y[c * units : (c + 1) * units], 0.0
                for j in range(units):
                    total += x_part[j] * y_part[j]
                out[c, entry + n - first] += weight * total


@inner
def _repeat(row: Floats, some: Floats) -> None:
    """A layer's numbers for every centre."""
    for begin in range(0, len(row), len(some)):
        part = row[begin : begin + len(some)]
        for j in range(len(some)):
            part[j] = some[j]


@inner
def _finite(row: Floats) -> bool:
    """Whether all are, which activations do not tell."""
    nought = 0.0
    for j in range(len(row)):
        nought += 0.0 * row[j]
    return nought == 0.0


def run(at: Floats, out: Floats, together: int, table: Ints, numbers: Floats) -> bool:
    """Add the tensors at centres (n, dim) to `out` (outputs, n, entries), so many `together`; False: at a kink, or not finite.

    `table` and `numbers` hold one after the other what does not depend on the centres; see `tensors`.
    """
    at, out, table, numbers = _borrowed(at), _borrowed(out), _borrowed(table), _borrowed(numbers)
    order, z, adjoints, kept, rows, depth, count, widest, total = table[:9]
    layers = table[9:]
    units, codes, places = layers[: depth + 2], layers[depth + 2 : 2 * depth + 2], layers[2 * depth + 2 : 3 * depth + 3]
    heads, products = _matrix(layers, 3 * depth + 3, depth, 4), _matrix(layers, 7 * depth + 3, count, 4)
    parameters = numbers[count : count + depth]
    for c in range(len(at)):
        for i in range(units[0]):
            if not math.isfinite(at[c, i]):
                return False
    together = min(together, len(at))
    own_size, shared_size = together * kept * total, together * (rows - kept) * widest
    owner = np.empty(LANES + SPARE + own_size + shared_size + together * max(1 + z, adjoints) * widest)
    work = _borrowed(owner)[aligned(owner) :]
    spare, work, none = work[:SPARE], work[SPARE:], numbers[len(numbers) - widest - 2 * LANES :]
    own_work, shared_work, onward_work = work[:own_size], work[own_size:], work[own_size + shared_size :]
    for start in range(0, len(at), together):
        centres = min(together, len(at) - start)
        own_end, y_begin = 0, 0
        for layer in range(depth):
            below, above, width = units[layer], units[layer + 1], centres * units[layer + 1]
            own, shared = _matrix(own_work, own_end, kept, width), _matrix(shared_work, 0, rows - kept, width)
            forward, bias = _matrix(numbers, places[layer], below, above), numbers[places[layer] + 2 * below * above :]
            pre = order + 1
            if layer:
                given = (1 + z) * centres
                x = _matrix(onward_work, 0, given, below) if z else _matrix(own_work, y_begin, centres, below)
                to = own[pre:].reshape((given, above))
                product(x[:centres], forward, bias, to[:centres], spare)
                product(x[centres:], forward, none, to[centres:], spare)
            else:
                to = own[pre : pre + 1].reshape((centres, above))
                product(at[start : start + centres], forward, bias, to, spare)
                for row in range(min(z, below)):
                    _repeat(own[pre + 1 + row], forward[row])
            if not _finite(own[pre]) or not activate(codes[layer], parameters[layer], own[pre], own[:pre], shared[0]):
                return False
            if z:
                onward = _matrix(onward_work, 0, 1 + z, width)
                _repeat(onward[0], own[0])
                begin, end = heads[layer, 0], heads[layer, 0] + heads[layer, 1]
                _play(products[begin:end], numbers[begin:end], own, shared, onward, kept)
            y_begin = own_end
            own_end += kept * width
        for output in range(units[depth + 1]):
            tensors, own_begin = out[output][start : start + centres], own_end
            for layer in range(depth - 1, -1, -1):
                above, beyond, width = units[layer + 1], units[layer + 2], centres * units[layer + 1]
                own_begin -= kept * width
                own, shared = _matrix(own_work, own_begin, kept, width), _matrix(shared_work, 0, rows - kept, width)
                adjoint = shared[:adjoints]
                if layer == depth - 1:
                    _repeat(adjoint[0], numbers[places[depth] + output * above :][:above])
                else:
                    backward = _matrix(numbers, places[layer + 1] + above * beyond, beyond, above)
                    given = adjoints * centres
                    product(
                        _matrix(onward_work, 0, given, beyond), backward, none, adjoint.reshape((given, above)), spare
                    )
                begin = heads[layer, 0] + heads[layer, 1]
                middle, end = begin + heads[layer, 2], begin + heads[layer, 2] + heads[layer, 3]
                onward = _matrix(onward_work, 0, adjoints, width)
                _play(products[begin:middle], numbers[begin:middle], own, shared, onward, kept)
                _add_dots(products[middle:end], numbers[middle:end], own, shared, kept, above, tensors, spare)
            if order == 1:
                backward = _matrix(numbers, places[0] + units[0] * units[1], units[1], units[0])
                product(_matrix(onward_work, 0, centres, units[1]), backward, none, tensors, spare)
            for c in range(centres):
                for entry in range(tensors.shape[1]):
                    if not math.isfinite(tensors[c, entry]):
                        return False
    return len(owner) > 0  # which must live until here


run = compiled.jit(run, flags=FLAGS)
