"""The compiled loop that executes a program for all layers and all centres.

This module needs numba. A row holds one number for each centre and neuron, so that the
innermost loops run over contiguous numbers and the processor computes several at a
time. A row is named by its place in `work`. Weights and products do not depend on the
centres; they are in two more arrays, see `layout`.

For each group of centres that fits the cache there is one pass upward through the
layers, and one pass downward for each output.
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

# For fewer consecutive rows, a vector of dot products holds several centres.
FEW = 3 * LANES // 4


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
def _add_dots(
    products: Any,
    layer: Any,
    work: Floats,
    rows: _Rows,
    centres: int,
    out: Floats,
    to: int,
    size: int,
    spare: int,
) -> None:
    """Add a layer's dot products over the neurons to the entries at each centre.

    LANES dot products are computed at a time: of one row with consecutive rows or, if
    these are few, of two rows at several centres. The entries begin at out[to] and have
    the distance `size` from one centre to the next. A vector at work[spare] is free.
    """
    units, width, sums = layer.above, rows.width, row(work, spare, LANES)
    shared = rows.shared - rows.own_rows * width
    for number in range(layer.dot, layer.dot + layer.dots):
        each = products[number]
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
                dots(work, x_c, units, y_c, units, units, weight, work, spare, LANES)
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


def _loop(sources: int) -> Callable:
    """Return the loop; `sources` is a hash of all sources that the loop depends on.

    numba finds a cached function by its own file and the values of its closure, not by
    the files of the functions that it calls.
    """

    # One long function: divided into functions that numba calls, the loop is up to a
    # fifth slower at one centre, and divided into functions that numba copies into it,
    # it takes a tenth longer to compile.
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
        layers = _layers(table, head.layer, head.depth)
        groups = _groups(table, head.groups, 1)
        products = _products(table, head.product, 1)
        dot_products = _dots(table, head.dot, 1)
        order, entries, keep = head.order, head.entries, head.keep
        dim, n, zeros, columns = head.dim, len(at) // head.dim, head.zeros, head.columns
        own_rows, all_rows, first_own = head.own_rows, head.rows, aligned(work)
        shared = first_own + together * head.own_size
        onward = shared + together * head.shared_size
        spare = onward + together * head.onward_size
        for start in range(0, n, together):
            centres = together if n - start > together else n - start
            # Upward: z, its derivatives, and those of the activations.
            own = below_own = first_own
            for number in range(head.depth):
                layer = layers[number]
                below, above, y = layer.below, layer.above, layer.forward
                bias, width = layer.bias, centres * above
                rows = _Rows(own, shared, onward, own_rows, all_rows, width)
                z = own + (order + 1) * width
                if number:
                    x = below_own
                    product(work, x, centres, below, numbers, y, bias, above, work, z)
                    x, to = onward + centres * below, z + width
                    m = head.received * centres
                    product(work, x, m, below, numbers, y, zeros, above, work, to)
                else:
                    x = start * dim
                    product(at, x, centres, dim, numbers, y, bias, above, work, z)
                    for i in range(head.directions):
                        to = own + table[head.direction + i] * width
                        given = i - head.constants
                        if given >= 0:
                            x = (given * n + start) * dim
                            product(
                                directions,
                                x,
                                centres,
                                dim,
                                numbers,
                                y,
                                zeros,
                                above,
                                work,
                                to,
                            )
                        # The same at all centres: such a row stays while it keeps its
                        # length.
                        elif start == 0 or centres < together or not keep:
                            slopes = head.constant + i * above
                            _repeat(row(work, to, width), numbers, slopes, above)
                if not _finite(row(work, z, width)):
                    return False
                for k in range(layer.group, layer.group + layer.groups):
                    group = groups[k]
                    # One group fills whole rows, several the part of each centre.
                    length = width if layer.groups == 1 else group.length
                    step = width if layer.groups == 1 else above
                    code, by, begin = group.code, group.parameter, group.product
                    for j in range(group.begin, width, step):
                        activate(
                            code,
                            by,
                            work,
                            own + j,
                            shared + j,
                            width,
                            length,
                            order + 2,
                        )
                        _execute(products, begin, group.products, work, rows, j, length)
                below_own = own
                if not keep:  # the next layer overwrites this layer's rows
                    below_own = onward
                    _repeat(row(work, onward, width), work, own, width)
                if number < head.depth - 1:
                    _execute(products, layer.up, layer.ups, work, rows, 0, width)
                own += own_rows * width * keep
            # Downward: the adjoint of each output, its derivatives, and the results.
            for output in range(head.outputs):
                own = first_own + keep * centres * head.own_size
                entry = (output * n + start) * entries
                for number in range(head.depth - 1, -1, -1):
                    layer = layers[number]
                    above, width = layer.above, centres * layer.above
                    own -= own_rows * width * keep
                    if number == head.depth - 1:
                        weights = head.last + output * above
                        _repeat(row(work, shared, width), numbers, weights, above)
                    else:
                        m, next_layer = head.adjoints * centres, layers[number + 1]
                        below, y = next_layer.above, next_layer.backward
                        product(
                            work,
                            onward,
                            m,
                            below,
                            numbers,
                            y,
                            zeros,
                            above,
                            work,
                            shared,
                        )
                    rows = _Rows(own, shared, onward, own_rows, all_rows, width)
                    _execute(products, layer.down, layer.downs, work, rows, 0, width)
                    _add_dots(
                        dot_products,
                        layer,
                        work,
                        rows,
                        centres,
                        out,
                        entry,
                        entries,
                        spare,
                    )
                    if not keep:
                        break
                if not _finite(row(out, entry, centres * entries)):
                    return False
                below, y = layers[0].above, layers[0].backward
                for i in range(head.gradients):
                    x = onward + table[head.gradient + i] * centres * below
                    place = (output * head.gradients + i) * n + start
                    to = head.outputs * n * entries + place * columns
                    product(
                        work, x, centres, below, numbers, y, zeros, columns, out, to
                    )
                    if not _finite(row(out, to, centres * columns)):
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
