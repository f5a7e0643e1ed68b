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

__all__ = ["run"]

Ints: TypeAlias = NDArray[np.int64]

TALL = 100  # rows of a matrix product from which on BLAS is quicker than a loop
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
def _product(x: Floats, y: Floats, out: Floats) -> None:
    """x y, of matrices."""
    if len(x) >= TALL:
        np.dot(x, y, out)
        return
    for m in range(len(x)):
        for j in range(out.shape[1]):
            out[m, j] = 0.0
    # Four rows of each at a time: what is loaded is used four times.
    rows, inner = len(x) - len(x) % 4, len(y) - len(y) % 4
    for m in range(0, rows, 4):
        o0, o1, o2, o3 = out[m], out[m + 1], out[m + 2], out[m + 3]
        for k in range(0, inner, 4):
            x00, x01, x02, x03 = x[m, k], x[m, k + 1], x[m, k + 2], x[m, k + 3]
            x10, x11, x12, x13 = x[m + 1, k], x[m + 1, k + 1], x[m + 1, k + 2], x[m + 1, k + 3]
            x20, x21, x22, x23 = x[m + 2, k], x[m + 2, k + 1], x[m + 2, k + 2], x[m + 2, k + 3]
            x30, x31, x32, x33 = x[m + 3, k], x[m + 3, k + 1], x[m + 3, k + 2], x[m + 3, k + 3]
            y0, y1, y2, y3 = y[k], y[k + 1], y[k + 2], y[k + 3]
            for j in range(len(y0)):
                o0[j] += x00 * y0[j] + x01 * y1[j] + x02 * y2[j] + x03 * y3[j]
                o1[j] += x10 * y0[j] + x11 * y1[j] + x12 * y2[j] + x13 * y3[j]
                o2[j] += x20 * y0[j] + x21 * y1[j] + x22 * y2[j] + x23 * y3[j]
                o3[j] += x30 * y0[j] + x31 * y1[j] + x32 * y2[j] + x33 * y3[j]
    for m in range(len(x)):
        o0 = out[m]
        if m >= rows:
            for k in range(0, inner, 4):
                x00, x01, x02, x03 = x[m, k], x[m, k + 1], x[m, k + 2], x[m, k + 3]
                y0, y1, y2, y3 = y[k], y[k + 1], y[k + 2], y[k + 3]
                for j in range(len(y0)):
                    o0[j] += x00 * y0[j] + x01 * y1[j] + x02 * y2[j] + x03 * y3[j]
        for k in range(inner, len(y)):
            x00, y0 = x[m, k], y[k]
            for j in range(len(y0)):
                o0[j] += x00 * y0[j]


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
def _add_dots(dots: Ints, times: Floats, own: Floats, shared: Floats, kept: int, units: int, out: Floats) -> None:
    """Add to the entries of each centre (centres, entries) the dot products over its neurons, four at a time."""
    for c in range(len(out)):
        begin, end, entries = c * units, (c + 1) * units, out[c]
        for number in range(len(dots)):
            entry, left, first, count = dots[number]
            x_row = own[left] if left < kept else shared[left - kept]
            weight, x = times[number], x_row[begin:end]
            for n in range(first - kept, first - kept + count - 3, 4):
                y0, y1 = shared[n][begin:end], shared[n + 1][begin:end]
                y2, y3 = shared[n + 2][begin:end], shared[n + 3][begin:end]
                s0 = s1 = s2 = s3 = 0.0
                for j in range(units):
                    s0 += x[j] * y0[j]
                    s1 += x[j] * y1[j]
                    s2 += x[j] * y2[j]
                    s3 += x[j] * y3[j]
                entries[entry] += weight * s0
                entries[entry + 1] += weight * s1
                entries[entry + 2] += weight * s2
                entries[entry + 3] += weight * s3
                entry += 4
            for n in range(first - kept + count - count % 4, first - kept + count):
                y0, s0 = shared[n][begin:end], 0.0
                for j in range(units):
                    s0 += x[j] * y0[j]
                entries[entry] += weight * s0
                entry += 1


@inner
def _repeat(row: Floats, some: Floats) -> None:
    """A layer's numbers for every centre."""
    for begin in range(0, len(row), len(some)):
        for j in range(len(some)):
            row[begin + j] = some[j]


@inner
def _add_bias(row: Floats, bias: Floats) -> bool:
    """Add the biases; False where a sum is not finite, which activations do not tell."""
    nought = 0.0
    for begin in range(0, len(row), len(bias)):
        for j in range(len(bias)):
            row[begin + j] += bias[j]
            nought += 0.0 * row[begin + j]
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
    owner = np.empty(own_size + shared_size + together * max(1 + z, adjoints) * widest)
    work = _borrowed(owner)
    own_work, shared_work, onward_work = work[:own_size], work[own_size:], work[own_size + shared_size :]
    for start in range(0, len(at), together):
        centres = min(together, len(at) - start)
        own_end, y_begin = 0, 0
        for layer in range(depth):
            below, above, width = units[layer], units[layer + 1], centres * units[layer + 1]
            own, shared = _matrix(own_work, own_end, kept, width), _matrix(shared_work, 0, rows - kept, width)
            forward = _matrix(numbers, places[layer], below, above)
            pre = order + 1
            if layer:
                given = (1 + z) * centres
                x = _matrix(onward_work, 0, given, below) if z else _matrix(own_work, y_begin, centres, below)
                _product(x, forward, own[pre:].reshape((given, above)))
            else:
                _product(at[start : start + centres], forward, own[pre : pre + 1].reshape((centres, above)))
                for row in range(min(z, below)):
                    _repeat(own[pre + 1 + row], forward[row])
            finite = _add_bias(own[pre], numbers[places[layer] + 2 * below * above : places[layer + 1]])
            if not finite or not activate(codes[layer], parameters[layer], own[pre], own[:pre], shared[0]):
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
                    _product(_matrix(onward_work, 0, given, beyond), backward, adjoint.reshape((given, above)))
                begin = heads[layer, 0] + heads[layer, 1]
                middle, end = begin + heads[layer, 2], begin + heads[layer, 2] + heads[layer, 3]
                onward = _matrix(onward_work, 0, adjoints, width)
                _play(products[begin:middle], numbers[begin:middle], own, shared, onward, kept)
                _add_dots(products[middle:end], numbers[middle:end], own, shared, kept, above, tensors)
            if order == 1:
                backward = _matrix(numbers, places[0] + units[0] * units[1], units[1], units[0])
                _product(_matrix(onward_work, 0, centres, units[1]), backward, tensors)
            for c in range(centres):
                for entry in range(tensors.shape[1]):
                    if not math.isfinite(tensors[c, entry]):
                        return False
    return len(owner) > 0  # which must live until here


run = compiled.jit(run, flags=FLAGS)
