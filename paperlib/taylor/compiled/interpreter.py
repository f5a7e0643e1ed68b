"""The compiled loop that executes a program for all layers and all centres.

This module needs numba. A row holds one number for each centre and neuron, so that the
innermost loops run over contiguous numbers and the processor computes several at a
time. A row is named by its place in `work`. Weights and products do not depend on the
centres; they are in two more arrays, see `layout`.

The loop is one pass upward and one pass downward for each output, over a group of
centres that fits the cache: `_upward` and `_downward`.
"""

from collections.abc import Callable
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

import numba
import numpy as np
from numba.core import types
from numba.extending import intrinsic
from numba.np.arrayobj import populate_array

from paperlib._support import jit
from paperlib._support.jit import inner
from paperlib._support.validation import Floats
from paperlib.networks import bases
from paperlib.taylor import program
from paperlib.taylor.compiled import activations, layout, simd
from paperlib.taylor.compiled.activations import activate
from paperlib.taylor.compiled.layout import GROUP, HEAD, LAYER, Ints
from paperlib.taylor.compiled.simd import (
    LANES,
    aligned,
    dots,
    multiply,
    multiply_and_add,
    product,
)
from paperlib.taylor.program import DOT, PRODUCT

# numba copies a merged function into its callers, so that it costs no call. The first
# compilation on a machine takes a few per cent longer than that of one long function.
merged = numba.njit(inline="always")
# For fewer consecutive rows, a vector of dot products holds several centres.
FEW = 3 * LANES // 4


class _Job(NamedTuple):
    """The arguments of `run`, its records, and where the parts of `work` begin.

    The first layer's own rows begin at `own`; those of the other layers follow if they
    are kept. `sums` is the place of one vector.
    """

    at: Any
    directions: Any
    out: Any
    work: Any
    table: Any
    numbers: Any
    head: Any
    layers: Any
    groups: Any
    products: Any
    dots: Any
    count: Any  # the number of all centres
    together: Any  # the number of centres of one pass
    own: Any
    shared: Any
    onward: Any
    sums: Any


class _Rows(NamedTuple):
    """Where the rows of a layer begin, each of `width` numbers.

    A layer's own rows are numbered from 0 on, shared rows from `own_rows` on, rows that
    are passed to the next layer from `rows` on.
    """

    own: int
    shared: int
    onward: int
    own_rows: int
    rows: int
    width: int


def _view(numbers: Any, begin: Any, kind: Any, length: Any) -> Any:
    """Return numba's signature and code of a view of an array.

    The view has `length` elements of the type `kind`, from element `begin` on.
    """
    view = types.Array(kind, 1, "C")

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        element = context.get_data_type(kind)
        size = context.get_constant(types.intp, context.get_abi_sizeof(element))
        whole, first, count = arguments
        data = context.make_array(numbers)(context, builder, whole).data
        data = builder.bitcast(builder.gep(data, [first]), element.as_pointer())
        array = context.make_array(view)(context, builder)
        populate_array(
            array, data=data, shape=[count], strides=[size], itemsize=size, meminfo=None
        )
        return array._getvalue()

    return view(numbers, types.intp, types.intp), code


row: Any = intrinsic(
    lambda context, numbers, begin, length: _view(numbers, begin, numbers.dtype, length)
)


def _records(dtype: np.dtype) -> Any:
    """Return an intrinsic (table, begin, count) for records in a table of integers."""
    kind = numba.from_dtype(dtype)
    return intrinsic(
        lambda context, table, begin, count: _view(table, begin, kind, count)
    )


_heads, _layers, _groups, _products, _dots = map(
    _records, (HEAD, LAYER, GROUP, PRODUCT, DOT)
)


@inner
def _execute(
    products: Any,
    begin: int,
    count: int,
    work: Floats,
    rows: _Rows,
    column: int,
    length: int,
) -> None:
    """Execute products at `length` columns of the rows, from `column` on."""
    width, own_rows = rows.width, rows.own_rows
    own = rows.own + column
    shared = rows.shared - own_rows * width + column
    onward = rows.onward - rows.rows * width + column
    for number in range(begin, begin + count):
        each = products[number]
        out, left, right = each.out, each.left, each.right
        x = (own if left < own_rows else shared) + left * width
        y = (own if right < own_rows else shared) + right * width
        to = own if out < own_rows else shared if out < rows.rows else onward
        if each.first:
            multiply(work, x, y, each.weight, to + out * width, length)
        else:
            multiply_and_add(work, x, y, each.weight, to + out * width, length)


# LLVM may add in any order; otherwise it would add one number at a time.
@partial(jit.jit, flags=frozenset({"contract", "reassoc"}), inner=True)
def _dot(x: Floats, y: Floats) -> float:
    total = 0.0
    for j in range(len(x)):
        total += x[j] * y[j]
    return total


@inner
def _add_dots(job: _Job, layer: Any, rows: _Rows, centres: int, to: int) -> None:
    """Add a layer's dot products over the neurons to the entries at each centre.

    LANES dot products are computed at a time: of one row with consecutive rows or, if
    these are few, of two rows at several centres. The entries begin at out[to].
    """
    work, out, sums = job.work, job.out, row(job.work, job.sums, LANES)
    units, width, size = layer.above, rows.width, job.head.entries
    shared = rows.shared - rows.own_rows * width
    for number in range(layer.dot, layer.dot + layer.dots):
        each = job.dots[number]
        count, weight = each.length, each.weight
        x = (rows.own if each.left < rows.own_rows else shared) + each.left * width
        y = shared + each.right * width
        first = to + each.entry
        together = centres - centres % LANES if count < FEW else 0
        for n in range(count):
            for c in range(0, together, LANES):
                x_c, y_c = x + c * units, y + n * width + c * units
                for i in range(LANES):
                    sums[i] = 0.0
                dots(work, x_c, units, y_c, units, units, weight, work, job.sums, LANES)
                for i in range(LANES):
                    out[first + n + (c + i) * size] += sums[i]
        for c in range(together, centres):
            x_c, y_c, entry = x + c * units, y + c * units, first + c * size
            if count < LANES // 2:
                left = row(work, x_c, units)
                for n in range(count):
                    right = row(work, y_c + n * width, units)
                    out[entry + n] += weight * _dot(left, right)
            else:  # rows past the last are multiplied too; their products are dropped
                dots(work, x_c, 0, y_c, width, units, weight, out, entry, count)


@inner
def _repeat(out: Floats, numbers: Floats, begin: int, length: int) -> None:
    """Fill `out` with copies of `length` numbers, one copy for each centre."""
    source = row(numbers, begin, length)
    for start in range(0, len(out), length):
        part = row(out, start, length)
        for j in range(length):
            part[j] = source[j]


@inner
def _finite(numbers: Floats) -> bool:
    """Return whether all numbers and their squares are finite."""
    return 0.0 * _dot(numbers, numbers) == 0.0


@merged
def _set_directions(job: _Job, layer: Any, start: int, centres: int) -> None:
    """Write the derivatives of the first layer's z along the directions."""
    head, work, numbers, vectors = job.head, job.work, job.numbers, job.directions
    dim, above, weights, zeros = head.dim, layer.above, layer.forward, head.zeros
    width = centres * above
    for i in range(head.directions):
        to = job.own + job.table[head.direction + i] * width
        if i >= head.constants:
            x = ((i - head.constants) * job.count + start) * dim
            product(vectors, x, centres, dim, numbers, weights, zeros, above, work, to)
        # The same at all centres: such a row stays while it keeps its length.
        elif start == 0 or centres < job.together or not head.keep:
            slopes = head.constant + i * above
            _repeat(row(work, to, width), numbers, slopes, above)


@merged
def _upward(job: _Job, start: int, centres: int) -> bool:
    """Compute all layers' rows at `centres` centres from number `start` on.

    Return False if z is not finite.
    """
    head, work, numbers = job.head, job.work, job.numbers
    own = y = job.own
    for n in range(head.depth):
        layer = job.layers[n]
        below, above, weights = layer.below, layer.above, layer.forward
        width, bias = centres * above, layer.bias
        rows = _Rows(own, job.shared, job.onward, head.own_rows, head.rows, width)
        z = own + (head.order + 1) * width
        if n:
            product(work, y, centres, below, numbers, weights, bias, above, work, z)
            x, to = job.onward + centres * below, z + width
            count, zeros = head.received * centres, head.zeros
            product(work, x, count, below, numbers, weights, zeros, above, work, to)
        else:
            x = start * below
            product(job.at, x, centres, below, numbers, weights, bias, above, work, z)
            _set_directions(job, layer, start, centres)
        if not _finite(row(work, z, width)):
            return False
        for number in range(layer.group, layer.group + layer.groups):
            group = job.groups[number]
            # One group fills whole rows, several groups the part of each centre.
            step = width if layer.groups == 1 else above
            length = width if layer.groups == 1 else group.length
            code, parameter, begin = group.code, group.parameter, group.product
            for j in range(group.begin, width, step):
                first, spare, last = own + j, job.shared + j, head.order + 2
                activate(code, parameter, work, first, spare, width, length, last)
                _execute(job.products, begin, group.products, work, rows, j, length)
        y = own
        if not head.keep:  # the next layer overwrites this layer's rows
            y = job.onward
            _repeat(row(work, y, width), work, own, width)
        if n < head.depth - 1:
            _execute(job.products, layer.up, layer.ups, work, rows, 0, width)
        own += head.own_rows * width * head.keep
    return True


@merged
def _downward(job: _Job, output: int, start: int, centres: int) -> bool:
    """Add the derivatives and the gradients of one output to the results.

    Return False if one of them is not finite.
    """
    head, work, numbers, zeros = job.head, job.work, job.numbers, job.head.zeros
    shared, onward = job.shared, job.onward
    entries = (output * job.count + start) * head.entries
    own = job.own + head.keep * centres * head.own_size
    for n in range(head.depth - 1, -1, -1):
        layer = job.layers[n]
        units, width = layer.above, centres * layer.above
        own -= head.own_rows * width * head.keep
        if n == head.depth - 1:
            weights = head.last + output * units
            _repeat(row(work, shared, width), numbers, weights, units)
        else:
            length, y = job.layers[n + 1].above, job.layers[n + 1].backward
            count = head.adjoints * centres
            product(work, onward, count, length, numbers, y, zeros, units, work, shared)
        rows = _Rows(own, shared, onward, head.own_rows, head.rows, width)
        _execute(job.products, layer.down, layer.downs, work, rows, 0, width)
        _add_dots(job, layer, rows, centres, entries)
        if not head.keep:
            break
    finite = _finite(row(job.out, entries, centres * head.entries))
    length, y, columns = job.layers[0].above, job.layers[0].backward, head.columns
    for i in range(head.gradients):
        x = onward + job.table[head.gradient + i] * centres * length
        place = (output * head.gradients + i) * job.count + start
        to = head.outputs * job.count * head.entries + place * columns
        product(work, x, centres, length, numbers, y, zeros, columns, job.out, to)
        finite = finite and _finite(row(job.out, to, centres * columns))
    return finite


def _loop(sources: int) -> Callable:
    """Return the loop; `sources` is a hash of all sources that the loop depends on.

    numba finds a cached function by its own file and the values of its closure, not by
    the files of the functions that it calls.
    """

    def run(
        at: Floats,
        directions: Floats,
        out: Floats,
        work: Floats,
        together: int,
        table: Ints,
        numbers: Floats,
    ) -> bool:
        """Add the derivatives at all centres to `out`.

        Parameters
        ----------
        at : array of float64, shape (n * dim,)
            The centres (n, dim).
        directions : array of float64, shape (given * n * dim,)
            The directions that are given at each centre (given, n, dim).
        out : array of float64
            Zeros, for the derivatives (outputs, n, entries), the gradients (outputs,
            gradients, n, columns), and LANES numbers more.
        work : array of float64, shape (together * Layout.work,)
            Work space.
        together : int
            The number of centres of one pass.
        table, numbers : arrays of int64 and float64
            Those of `Layout`.

        Returns
        -------
        bool
            False if a neuron sits at a kink or a number is not finite.
        """
        head = _heads(table, 0, 1)[0]
        own, count = aligned(work), len(at) // head.dim
        shared = own + together * head.own_size
        onward = shared + together * head.shared_size
        job = _Job(
            at,
            directions,
            out,
            work,
            table,
            numbers,
            head,
            _layers(table, head.layer, head.depth),
            _groups(table, head.groups, 1),
            _products(table, head.product, 1),
            _dots(table, head.dot, 1),
            count,
            together,
            own,
            shared,
            onward,
            onward + together * head.onward_size,
        )
        for start in range(0, count, together):
            centres = min(together, count - start)
            if not _upward(job, start, centres):
                return False
            for output in range(head.outputs):
                if not _downward(job, output, start, centres):
                    return False
        return sources > 0

    return run


_FILES = [
    Path(str(module.__file__))
    for module in (jit, simd, bases, activations, layout, program)
]
_SOURCES = int.from_bytes(
    sha256(b"".join(path.read_bytes() for path in _FILES)).digest()[:7], "big"
)
run = jit.jit(_loop(_SOURCES), flags=frozenset({"contract"}))
