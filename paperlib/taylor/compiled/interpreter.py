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
    merged,
    multiply,
    multiply_and_add,
    product,
)
from paperlib.taylor.program import DOT, PRODUCT

# For fewer consecutive rows, a vector of dot products holds several centres.
FEW = 3 * LANES // 4


class _Job(NamedTuple):
    """The arguments of `run`, its records, and where the parts of `work` begin."""

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
    own: Any  # the first layer's own rows
    shared: Any
    onward: Any
    sums: Any  # a vector


class _Rows(NamedTuple):
    """Where the rows of a layer begin, each of `width` numbers.

    Rows are numbered: a layer's own rows from 0 on, shared rows from `own_rows` on,
    rows that are passed to the next layer from `rows` on.
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
    job: _Job, begin: int, count: int, rows: _Rows, column: int, length: int
) -> None:
    """Execute products at `length` columns of the rows, from `column` on."""
    width, own_rows = rows.width, rows.own_rows
    own = rows.own + column
    shared = rows.shared - own_rows * width + column
    onward = rows.onward - rows.rows * width + column
    for number in range(begin, begin + count):
        each = job.products[number]
        out, left, right = each.out, each.left, each.right
        x = (own if left < own_rows else shared) + left * width
        y = (own if right < own_rows else shared) + right * width
        to = (
            own if out < own_rows else shared if out < rows.rows else onward
        ) + out * width
        if each.first:
            multiply(job.work, x, y, each.weight, to, length)
        else:
            multiply_and_add(job.work, x, y, each.weight, to, length)


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
    these are few, of two rows at several centres. Entries begin at out[to].
    """
    work, out, width, sums = (
        job.work,
        job.out,
        rows.width,
        row(job.work, job.sums, LANES),
    )
    units, size = width // centres, job.head.entries
    shared = rows.shared - rows.own_rows * width
    for number in range(layer.dot, layer.dot + layer.dots):
        each = job.dots[number]
        some, weight = each.length, each.weight
        x = (rows.own if each.left < rows.own_rows else shared) + each.left * width
        y = shared + each.right * width
        first = to + each.entry
        together = centres - centres % LANES if some < FEW else 0
        for n in range(some):
            for c in range(0, together, LANES):
                x_c, y_c = x + c * units, y + n * width + c * units
                for i in range(LANES):
                    sums[i] = 0.0
                dots(work, x_c, units, y_c, units, units, weight, work, job.sums, LANES)
                for i in range(LANES):
                    out[first + n + (c + i) * size] += sums[i]
        for c in range(together, centres):
            x_c, y_c, entry = x + c * units, y + c * units, first + c * size
            if some < LANES // 2:
                left = row(work, x_c, units)
                for n in range(some):
                    right = row(work, y_c + n * width, units)
                    out[entry + n] += weight * _dot(left, right)
            else:  # rows past the last are multiplied too; their products are dropped
                dots(work, x_c, 0, y_c, width, units, weight, out, entry, some)


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
def _from_inputs(job: _Job, rows: _Rows, z: int, start: int, centres: int) -> None:
    """Write the first layer's z, and its derivatives along the directions."""
    head, layer, numbers = job.head, job.layers[0], job.numbers
    dim, above, weights = head.dim, layer.above, layer.forward
    x = start * dim
    product(job.at, x, centres, dim, numbers, weights, layer.bias, above, job.work, z)
    for i in range(head.directions):
        to = rows.own + job.table[head.direction + i] * rows.width
        given = i - head.constants
        if given >= 0:
            x = (given * job.count + start) * dim
            zeros, vectors = head.zeros, job.directions
            product(
                vectors, x, centres, dim, numbers, weights, zeros, above, job.work, to
            )
        # The same at all centres: such a row stays while it keeps its length.
        elif start == 0 or centres < job.together or not head.keep:
            slopes = head.constant + i * above
            _repeat(row(job.work, to, rows.width), numbers, slopes, above)


@merged
def _activate(job: _Job, layer: Any, rows: _Rows) -> None:
    """Write the derivatives of the activations, group by group."""
    width, order, one = rows.width, job.head.order, layer.groups == 1
    for number in range(layer.group, layer.group + layer.groups):
        group = job.groups[number]
        length = width if one else group.length
        for column in range(group.begin, width, width if one else layer.above):
            own, auxiliary = rows.own + column, rows.shared + column
            code, parameter = group.code, group.parameter
            activate(
                code, parameter, job.work, own, auxiliary, width, length, order + 2
            )
            _execute(job, group.product, group.products, rows, column, length)


@merged
def _upward(job: _Job, start: int, centres: int) -> bool:
    """Compute all layers' rows at `centres` centres from number `start` on.

    Return False if z is not finite.
    """
    head, work, numbers = job.head, job.work, job.numbers
    own = y = job.own
    for number in range(head.depth):
        layer = job.layers[number]
        below, above, width = layer.below, layer.above, centres * layer.above
        rows = _Rows(own, job.shared, job.onward, head.own_rows, head.rows, width)
        z, weights = own + (head.order + 1) * width, layer.forward
        if number:
            x = job.onward + centres * below
            count = head.received * centres
            product(
                work, y, centres, below, numbers, weights, layer.bias, above, work, z
            )
            product(
                work,
                x,
                count,
                below,
                numbers,
                weights,
                head.zeros,
                above,
                work,
                z + width,
            )
        else:
            _from_inputs(job, rows, z, start, centres)
        if not _finite(row(work, z, width)):
            return False
        _activate(job, layer, rows)
        y = own
        if not head.keep:  # the next layer overwrites this layer's rows
            y = job.onward
            _repeat(row(work, y, width), work, own, width)
        if number < head.depth - 1:
            _execute(job, layer.up, layer.ups, rows, 0, width)
        own += head.own_rows * width * head.keep
    return True


@merged
def _downward(job: _Job, output: int, start: int, centres: int) -> bool:
    """Add the derivatives of one output to the results.

    Return False if one of them is not finite.
    """
    head, work, numbers = job.head, job.work, job.numbers
    to = (output * job.count + start) * head.entries
    own = job.own + head.keep * head.own_rows * centres * head.total
    for number in range(head.depth - 1, -1, -1):
        layer = job.layers[number]
        above, width = layer.above, centres * layer.above
        own -= head.own_rows * width * head.keep
        if number == head.depth - 1:
            weights = head.last + output * above
            _repeat(row(work, job.shared, width), numbers, weights, above)
        else:
            next = job.layers[number + 1]
            product(
                work,
                job.onward,
                head.adjoints * centres,
                next.above,
                numbers,
                next.backward,
                head.zeros,
                above,
                work,
                job.shared,
            )
        rows = _Rows(own, job.shared, job.onward, head.own_rows, head.rows, width)
        _execute(job, layer.down, layer.downs, rows, 0, width)
        _add_dots(job, layer, rows, centres, to)
        if not head.keep:
            break
    return _finite(row(job.out, to, centres * head.entries))


@merged
def _add_gradients(job: _Job, output: int, start: int, centres: int) -> bool:
    """Write the gradients of one output to the results.

    Return False if one of them is not finite.
    """
    head, layer = job.head, job.layers[0]
    for i in range(head.gradients):
        x = job.onward + job.table[head.gradient + i] * centres * layer.above
        to = (
            head.outputs * job.count * head.entries
            + ((output * head.gradients + i) * job.count + start) * head.columns
        )
        product(
            job.work,
            x,
            centres,
            layer.above,
            job.numbers,
            layer.backward,
            head.zeros,
            head.columns,
            job.out,
            to,
        )
        if not _finite(row(job.out, to, centres * head.columns)):
            return False
    return True


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
        shared = own + together * head.own_rows * head.total
        onward = shared + together * (head.rows - head.own_rows) * head.widest
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
            onward + together * head.passed * head.widest,
        )
        for start in range(0, count, together):
            centres = min(together, count - start)
            if not _upward(job, start, centres):
                return False
            for output in range(head.outputs):
                if not _downward(job, output, start, centres):
                    return False
                if not _add_gradients(job, output, start, centres):
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
