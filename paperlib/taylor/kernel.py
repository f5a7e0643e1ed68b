"""The compiled loop that runs over a tape: all layers, all centres, and no call of NumPy's.

This module needs numba. A row is one number for each centre and neuron, so that the innermost loops are over contiguous numbers
and the processor takes several at a time.
"""

from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numba.core import types
from numba.extending import intrinsic
from numba.np.arrayobj import populate_array
from numpy.typing import NDArray

from paperlib._support import compiled
from paperlib._support.checks import Floats
from paperlib.networks import compiled_activations
from paperlib.networks.compiled_activations import activate
from paperlib.taylor import registers
from paperlib.taylor.registers import FLAGS, LANES, SPARE, aligned, dots_of_centres, dots_of_rows, inner, product

__all__ = ["run"]

Ints: TypeAlias = NDArray[np.int64]


def _view(axes: int) -> Any:
    """An array within an array (numbers, begin, *shape), as a call in compiled code."""

    def view(context: Any, numbers: Any, begin: Any, *shape: Any) -> Any:
        made = types.Array(numbers.dtype, axes, "C")

        def code(context: Any, builder: Any, signature: Any, given: Any) -> Any:
            size = context.get_constant(types.intp, context.get_abi_sizeof(context.get_data_type(numbers.dtype)))
            array, shape = context.make_array(made)(context, builder), given[2:]
            data = builder.gep(context.make_array(numbers)(context, builder, given[0]).data, [given[1]])
            strides = [*(builder.mul(length, size) for length in shape[1:]), size]
            populate_array(array, data=data, shape=shape, strides=strides, itemsize=size, meminfo=None)
            return array._getvalue()

        return made(numbers, *[types.intp] * (1 + axes)), code

    return view


# In place of slices: to count references to a hundred rows takes as long as their products, and slices take a second to compile.
_row: Any = intrinsic(lambda context, numbers, begin, length: _view(1)(context, numbers, begin, length))
_matrix: Any = intrinsic(
    lambda context, numbers, begin, rows, columns: _view(2)(context, numbers, begin, rows, columns)
)


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
def _clear(spare: Floats) -> None:
    for i in range(LANES):
        spare[i] = 0.0


@inner
def _add_dots(
    dots: Ints, times: Floats, own: Floats, shared: Floats, kept: int, units: int, out: Floats, spare: Floats
) -> None:
    """Add to the entries of each centre (centres, entries) the dot products over its neurons.

    As many at a time as a vector has numbers: of one row with others, or, where these are few, of two rows at several centres.
    """
    width, vectors, few = shared.shape[1], units % LANES == 0, 3 * LANES // 4 if len(out) >= LANES else LANES // 2
    for number in range(len(dots)):
        entry, left, first, count = dots[number]
        x, weight = own[left] if left < kept else shared[left - kept], times[number]
        first, end = first - kept, first - kept + count
        while vectors and end - first >= few and end >= LANES:
            # Rows before the first are multiplied, too, and not added.
            some, end = min(LANES, end - first), max(first, end - LANES)
            y, to = shared[end + some - LANES], entry + end - first
            for c in range(len(out)):
                if some == LANES:
                    dots_of_rows(x, y, _row(out, c * out.shape[1] + to, LANES), weight, c * units, units, width)
                    continue
                _clear(spare)
                dots_of_rows(x, y, spare, weight, c * units, units, width)
                for i in range(some):
                    out[c, to + i] += spare[LANES - some + i]
        for n in range(first, end):
            y, together = shared[n], len(out) - len(out) % LANES if vectors else 0
            for c in range(0, together, LANES):
                _clear(spare)
                dots_of_centres(x, y, spare, weight, c * units, units, units)
                for i in range(LANES):
                    out[c + i, entry + n - first] += spare[i]
            for c in range(together, len(out)):
                x_part, y_part, total = _row(x, c * units, units), _row(y, c * units, units), 0.0
                for j in range(units):
                    total += x_part[j] * y_part[j]
                out[c, entry + n - first] += weight * total


@inner
def _repeat(row: Floats, some: Floats) -> None:
    """A layer's numbers for every centre."""
    for begin in range(0, len(row), len(some)):
        part = _row(row, begin, len(some))
        for j in range(len(some)):
            part[j] = some[j]


@inner
def _finite(row: Floats) -> bool:
    """Whether all are, which activations do not tell."""
    nought = 0.0
    for j in range(len(row)):
        nought += 0.0 * row[j]
    return nought == 0.0


def _of(sources: int) -> Callable:
    """The loop, of a number that tells what it was made of.

    numba finds again what it has compiled by a function's own file and what it closes over, not by the files of what it calls.
    """

    def run(at: Floats, out: Floats, together: int, table: Ints, numbers: Floats) -> bool:
        """Add the tensors at centres (n, dim) to `out` (outputs, n, entries), so many `together`; False: at a kink, or not finite.

        `table` and `numbers` hold one after the other what does not depend on the centres; see `tensors`.
        """
        order, z, adjoints, kept, rows, depth, count, widest, total = table[:9]
        units, codes = _row(table, 9, depth + 2), _row(table, 11 + depth, depth)
        places = _row(table, 11 + 2 * depth, depth + 1)
        heads, products = _matrix(table, 12 + 3 * depth, depth, 4), 12 + 7 * depth
        dim, entries, pre = units[0], out.shape[2], order + 1
        if not _finite(_row(at, 0, len(at) * dim)):
            return False
        together, longest = min(together, len(at)), max(dim, widest) + LANES
        own_size, shared_size = together * kept * total, together * (rows - kept) * widest
        work = np.empty(LANES + SPARE + own_size + shared_size + together * max(1 + z, adjoints) * widest)
        own_begin = aligned(work) + SPARE
        shared_begin, onward_begin = own_begin + own_size, own_begin + own_size + shared_size
        spare, none = _row(work, own_begin - SPARE, SPARE), _row(numbers, len(numbers) - longest, longest)
        for start in range(0, len(at), together):
            centres = min(together, len(at) - start)
            own_end, y_begin = own_begin, 0
            for layer in range(depth):
                below, above, width = units[layer], units[layer + 1], centres * units[layer + 1]
                own, shared = _matrix(work, own_end, kept, width), _matrix(work, shared_begin, rows - kept, width)
                forward = _matrix(numbers, places[layer], below, above)
                bias = _row(numbers, places[layer] + 2 * below * above, above)
                of_z = _matrix(work, own_end + pre * width, centres, above)
                if layer:
                    x = onward_begin if z else y_begin
                    product(_matrix(work, x, centres, below), forward, bias, of_z, spare)
                    slopes = _matrix(work, own_end + (pre + 1) * width, z * centres, above)
                    product(_matrix(work, x + centres * below, z * centres, below), forward, none, slopes, spare)
                else:
                    product(_matrix(at, start * dim, centres, dim), forward, bias, of_z, spare)
                    # The same for all centres: they stay where they are while the rows keep their length.
                    for i in range(min(z, dim) if start == 0 or centres < together else 0):
                        _repeat(own[pre + 1 + i], forward[i])
                parameter = numbers[count + layer]
                if not _finite(own[pre]) or not activate(codes[layer], parameter, own[pre], own[:pre], shared[0]):
                    return False
                if z and layer < depth - 1:
                    onward, begin = _matrix(work, onward_begin, 1 + z, width), heads[layer, 0]
                    _repeat(onward[0], own[0])
                    up = _matrix(table, products + 4 * begin, heads[layer, 1], 4)
                    _play(up, _row(numbers, begin, len(up)), own, shared, onward, kept)
                y_begin = own_end
                own_end += kept * width
            for output in range(len(out)):
                end, tensors = own_end, _matrix(out, (output * len(at) + start) * entries, centres, entries)
                for layer in range(depth - 1, -1, -1):
                    above, beyond, width = units[layer + 1], units[layer + 2], centres * units[layer + 1]
                    end -= kept * width
                    own, shared = _matrix(work, end, kept, width), _matrix(work, shared_begin, rows - kept, width)
                    onward = _matrix(work, onward_begin, adjoints, width)
                    if layer == depth - 1:
                        _repeat(shared[0], _row(numbers, places[depth] + output * above, above))
                    else:
                        backward = _matrix(numbers, places[layer + 1] + above * beyond, beyond, above)
                        given = _matrix(work, onward_begin, adjoints * centres, beyond)
                        product(given, backward, none, _matrix(work, shared_begin, adjoints * centres, above), spare)
                    begin = heads[layer, 0] + heads[layer, 1]
                    down = _matrix(table, products + 4 * begin, heads[layer, 2], 4)
                    dots = _matrix(table, products + 4 * (begin + len(down)), heads[layer, 3], 4)
                    _play(down, _row(numbers, begin, len(down)), own, shared, onward, kept)
                    _add_dots(
                        dots, _row(numbers, begin + len(down), len(dots)), own, shared, kept, above, tensors, spare
                    )
                if order == 1:
                    backward = _matrix(numbers, places[0] + dim * units[1], units[1], dim)
                    product(_matrix(work, onward_begin, centres, units[1]), backward, none, tensors, spare)
                if not _finite(_row(out, (output * len(at) + start) * entries, centres * entries)):
                    return False
        return len(work) > 0 and sources > 0  # the work must live until here

    return run


_FILES = [Path(str(module.__file__)) for module in (registers, compiled_activations)]
_SOURCES = int.from_bytes(sha256(b"".join(path.read_bytes() for path in _FILES)).digest()[:7], "big")
run = compiled.jit(_of(_SOURCES), flags=FLAGS)
