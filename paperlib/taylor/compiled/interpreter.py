"""The compiled loop that executes a program for all layers and all centres.

This module needs numba. A *program* is a list of products for each hidden layer (see
`taylor.program`). A *row* is one factor or result of a product. Here a row holds one
number for each centre of a batch and each neuron of a layer, with the neurons of one
centre side by side. The innermost loops run over contiguous numbers, so that the
processor computes several at a time.

The centres are divided into batches of at most `together` centres. Unless the program
has very many rows, those of a batch fit into the processor's cache. For each batch
there is one pass upward through the layers, and one pass downward for each output.

All rows of a batch are in one array, `work`. The records of products in the array
`table` name rows by number, and the loop converts a number to the row's position in
`work`. The functions of `simd`, which compute with rows, receive positions. The weights
are in the array `numbers`. `table` and `numbers` are the same for all centres (see
`layout`).
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

# For a record of fewer dot products, a vector holds the same dot product at LANES
# centres. Otherwise it holds several dot products of the record at one centre.
FEW = 3 * LANES // 4


class _Rows(NamedTuple):
    """The positions in `work` of a layer's rows, each of `width` numbers.

    Row r begins at

    - own + r * width if r < own_rows (a row of this layer alone),
    - shared + (r - own_rows) * width if own_rows <= r < rows (a row that every layer
      overwrites),
    - onward + (r - rows) * width if r >= rows (a row that is passed to the layer above
      or below).
    """

    own: int
    shared: int
    onward: int
    own_rows: int
    rows: int
    width: int


def _view(numbers: Any, begin: Any, kind: Any, length: Any) -> Any:
    """Return numba's signature, and a function that emits the code of a view.

    The view begins at element `begin` of the array `numbers`. The memory there is
    interpreted as `length` elements of the type `kind`. All four arguments of this
    function are types of numba.
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


# row(numbers, begin, length) is the view numbers[begin : begin + length].
row: Any = intrinsic(
    lambda context, numbers, begin, length: _view(numbers, begin, numbers.dtype, length)
)


def _records(dtype: np.dtype) -> Any:
    """Return a function (table, begin, count) for compiled code.

    It returns a view of `count` records of this dtype in an array of int64. The first
    record begins at table[begin].
    """
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
    """Execute `count` products, from products[begin] on, at some columns of the rows.

    These are `length` columns from `column` on. A column is one neuron at one centre.
    A product adds weight * left * right to the row `out`, or sets it if `first` is 1.
    """
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


# The flag "reassoc" allows LLVM to add in any order. Without it, LLVM would add one
# number at a time.
@partial(jit.jit, flags=frozenset({"contract", "reassoc"}), inner=True)
def _dot(x: Floats, y: Floats) -> float:
    """Return the sum of x[j] * y[j] over all j."""
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
    """Add a layer's dot products over the neurons to the derivatives at each centre.

    A record of `products` stands for the dot products of one left row with consecutive
    right rows. LANES dot products are computed at a time: of a record at one centre or,
    if the record has fewer than FEW, of two rows at LANES centres. Where fewer than
    LANES // 2 dot products remain, they are computed one at a time.

    Parameters
    ----------
    products : array of DOT
        The records of all layers.
    layer : record of LAYER
        The layer. Its field `dot` is the number of its first record, and `dots` is the
        number of its records.
    work : array of float64
        The rows of the layer.
    rows : _Rows
        The positions of the rows.
    centres : int
        The number of centres of the batch.
    out : array of float64
        The array to add to.
    to, size : int
        The derivatives at the first centre of the batch begin at out[to]. Those at each
        further centre begin `size` numbers later.
    spare : int
        LANES numbers from work[spare] on are overwritten.
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
            else:  # `dots` also multiplies rows past the last, and drops the products
                dots(work, x_c, 0, y_c, width, units, weight, out, entry, count)


@inner
def _repeat(out: Floats, numbers: Floats, begin: int, length: int) -> None:
    """Fill `out` with copies of numbers[begin : begin + length], one after another.

    The number of entries of `out` must be a multiple of `length`.
    """
    source = row(numbers, begin, length)
    for start in range(0, len(out), length):
        part = row(out, start, length)
        for j in range(length):
            part[j] = source[j]


@inner
def _finite(numbers: Floats) -> bool:
    """Return whether all numbers and the sum of their squares are finite."""
    return 0.0 * _dot(numbers, numbers) == 0.0


def _loop(sources: int) -> Callable:
    """Return the Python function `run`, which numba compiles at the end of the module.

    `sources` is a hash of all other source files on which `run` depends. numba compiles
    a cached function again if its own file has changed, or a value in its closure, but
    not if the file of a function that it calls has changed. `run` therefore has
    `sources` in its closure.
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
        """Add the derivatives at n centres to `out`.

        Parameters
        ----------
        at : array of float64, shape (n * dim,)
            The centres, flattened from (n, dim).
        directions : array of float64, shape (given * n * dim,)
            The directions that the caller gives for each centre, flattened from
            (given, n, dim). `given` is their number.
        out : array of float64
            Zeros. The derivatives are added to the first numbers, flattened from
            (outputs, n, entries), and the gradients to the next, flattened from
            (outputs, gradients, n, columns). At least LANES numbers follow.
        work : array of float64, shape (together * Layout.work,)
            Work space, which need not be initialised.
        together : int
            The largest number of centres in a batch.
        table : array of int64
            `Layout.table`: sizes, and the records of layers, groups and products.
        numbers : array of float64
            `Layout.numbers`: weights, biases, and slopes along constant directions.

        Returns
        -------
        bool
            False if a pre-activation or a result is not finite, or if the sum of the
            squares overflows, of a layer's pre-activations or of an output's results in
            one batch. A result is NaN if it needs the second or a higher derivative of
            an activation at its kink, z = 0. If False, `out` is incomplete.
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
            # Upward: compute z, its derivatives, and the derivatives phi^(k)(z).
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
                        # The derivative along a constant direction is the same at all
                        # centres. A row of an earlier batch with as many centres is
                        # still in `work` if every layer keeps its rows.
                        elif start == 0 or centres < together or not keep:
                            slopes = head.constant + i * above
                            _repeat(row(work, to, width), numbers, slopes, above)
                if not _finite(row(work, z, width)):
                    return False
                for k in range(layer.group, layer.group + layer.groups):
                    group = groups[k]
                    # A single group of neurons is computed at all centres at once.
                    # With several groups, each has a part of the row of each centre.
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
            # Downward, for each output: compute its adjoint, the derivatives of the
            # adjoint, and the results.
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


# The source files on which `run` depends, besides this file.
_FILES = [
    Path(str(module.__file__))
    for module in (jit, simd, bases, activations, layout, program)
]
_SOURCES = int.from_bytes(
    sha256(b"".join(path.read_bytes() for path in _FILES)).digest()[:7], "big"
)
run = jit.jit(_loop(_SOURCES), flags=frozenset({"contract"}))
