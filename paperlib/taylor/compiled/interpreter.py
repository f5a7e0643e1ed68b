"""The compiled loop that executes a program: all layers, all centres, and no call of NumPy's.

This module needs numba. A row is one number for each centre and neuron, so that the innermost loops are over contiguous numbers
and the processor computes several at a time. Rows
are places in `work`. Weights and products do not depend on the centres; they are in two more arrays, see `layout`.
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

# For fewer consecutive rows, a vector of dot products holds several centres
FEW = 3 * LANES // 4


class _Places(NamedTuple):
    """Where the rows of a layer begin: its own from row 0 on, shared ones from `kept` on, passed ones from `rows` on."""

    own: int
    shared: int
    onward: int
    kept: int
    rows: int
    width: int  # of each row


def _view(numbers: Any, begin: Any, kind: Any, length: Any) -> Any:
    """An array within an array, of other elements."""
    made = types.Array(kind, 1, "C")

    def code(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        element = context.get_data_type(kind)
        size = context.get_constant(types.intp, context.get_abi_sizeof(element))
        array, (whole, first, count) = context.make_array(made)(context, builder), given
        data = builder.gep(
            context.make_array(numbers)(context, builder, whole).data, [first]
        )
        data = builder.bitcast(data, element.as_pointer())
        populate_array(
            array, data=data, shape=[count], strides=[size], itemsize=size, meminfo=None
        )
        return array._getvalue()

    return made(numbers, types.intp, types.intp), code


row: Any = intrinsic(
    lambda context, numbers, begin, length: _view(numbers, begin, numbers.dtype, length)
)


def _records(dtype: np.dtype) -> Any:
    """Make a function of compiled code (table, begin, count) that returns records of a table of integers."""
    kind = numba.from_dtype(dtype)
    return intrinsic(
        lambda context, table, begin, count: _view(table, begin, kind, count)
    )


_heads, _layers, _groups, _products, _dots = map(
    _records, (HEAD, LAYER, GROUP, PRODUCT, DOT)
)


@inner
def _play(
    products: Any,
    begin: int,
    count: int,
    work: Floats,
    at: _Places,
    column: int,
    length: int,
) -> None:
    """Execute products at `length` columns of the rows, from `column` on."""
    width, kept, rows = at.width, at.kept, at.rows
    own, shared, onward = (
        at.own + column,
        at.shared - kept * width + column,
        at.onward - rows * width + column,
    )
    for number in range(begin, begin + count):
        each = products[number]
        out, left, right = each.out, each.left, each.right
        x, y = (
            (own if left < kept else shared) + left * width,
            (own if right < kept else shared) + right * width,
        )
        to = (own if out < kept else shared if out < rows else onward) + out * width
        if each.first:
            multiply(work, x, y, each.weight, to, length)
        else:
            multiply_and_add(work, x, y, each.weight, to, length)


# In any order, else a number at a time
@partial(jit.jit, flags=frozenset({"contract", "reassoc"}), inner=True)
def _dot(x: Floats, y: Floats) -> float:
    total = 0.0
    for j in range(len(x)):
        total += x[j] * y[j]
    return total


@inner
def _add_dots(
    products: Any,
    begin: int,
    count: int,
    work: Floats,
    at: _Places,
    centres: int,
    out: Floats,
    to: int,
    size: int,
    spare: int,
) -> None:
    """Add the dot products over the neurons to the entries of each centre; centres are `size` apart in `out`.

    LANES dot products are computed at a time: of one row with consecutive rows or, if these are few, of two rows at
    several centres.
    """
    width, sums = at.width, row(work, spare, LANES)
    units, shared = width // centres, at.shared - at.kept * width
    for number in range(begin, begin + count):
        each = products[number]
        some, weight = each.length, each.weight
        x, y = (
            (at.own if each.left < at.kept else shared) + each.left * width,
            shared + each.right * width,
        )
        first, together = (
            to + each.entry,
            centres - centres % LANES if some < FEW else 0,
        )
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
                    one, other = (
                        row(work, x + c * units, units),
                        row(work, y + n * width + c * units, units),
                    )
                    out[first + n + c * size] += weight * _dot(one, other)
            # rows beyond the last are multiplied too; their products are not added
            else:
                dots(
                    work,
                    x + c * units,
                    0,
                    y + c * units,
                    width,
                    units,
                    weight,
                    out,
                    first + c * size,
                    some,
                )


@inner
def _repeat(out: Floats, numbers: Floats, begin: int, length: int) -> None:
    """Write a layer's numbers for every centre."""
    some = row(numbers, begin, length)
    for start in range(0, len(out), length):
        part = row(out, start, length)
        for j in range(length):
            part[j] = some[j]


@inner
def _finite(numbers: Floats) -> bool:
    """Whether all numbers are finite, and their squares."""
    return 0.0 * _dot(numbers, numbers) == 0.0


def _of(sources: int) -> Callable:
    """Make the loop of a number that depends on the sources of all that it calls.

    numba finds a cached function by its own file and the values it closes over, not by the files of the functions it calls.
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
        """Add the derivatives at centres (n, dim) to `out`; False if a neuron sits at a kink or a number is not finite.

        `out` holds derivatives (outputs, n, entries), gradients (outputs, gradients, n, columns) and LANES numbers more;
        `directions` is (given, n, dim). `together` centres are computed at a time.
        """
        head = _heads(table, 0, 1)[0]
        layers, groups = (
            _layers(table, head.layer, head.depth),
            _groups(table, head.groups, 1),
        )
        products, dot_products = (
            _products(table, head.product, 1),
            _dots(table, head.dot, 1),
        )
        dim, order, kept, entries, depth, n = (
            head.dim,
            head.order,
            head.own_rows,
            head.entries,
            head.depth,
            len(at) // head.dim,
        )
        first_own = aligned(work)
        shared = first_own + together * kept * head.total
        onward = shared + together * (head.rows - kept) * head.widest
        spare = onward + together * head.passed * head.widest
        for start in range(0, n, together):
            centres = together if n - start > together else n - start
            own = below_own = first_own
            for layer in range(depth):
                of = layers[layer]
                below, above, width = of.below, of.above, centres * of.above
                place = _Places(own, shared, onward, kept, head.rows, width)
                of_z = own + (order + 1) * width
                if layer:
                    product(
                        work,
                        below_own,
                        centres,
                        below,
                        numbers,
                        of.forward,
                        of.bias,
                        above,
                        work,
                        of_z,
                    )
                    y = onward + centres * below
                    product(
                        work,
                        y,
                        head.received * centres,
                        below,
                        numbers,
                        of.forward,
                        head.zeros,
                        above,
                        work,
                        of_z + width,
                    )
                else:
                    product(
                        at,
                        start * dim,
                        centres,
                        dim,
                        numbers,
                        of.forward,
                        of.bias,
                        above,
                        work,
                        of_z,
                    )
                    for i in range(head.directions):
                        to, given = (
                            own + table[head.direction + i] * width,
                            i - head.constants,
                        )
                        if given >= 0:
                            y = (given * n + start) * dim
                            product(
                                directions,
                                y,
                                centres,
                                dim,
                                numbers,
                                of.forward,
                                head.zeros,
                                above,
                                work,
                                to,
                            )
                        # The same for all centres: such a row stays where it is while
                        # it keeps its length.
                        elif start == 0 or centres < together or not head.keep:
                            _repeat(
                                row(work, to, width),
                                numbers,
                                head.constant + i * above,
                                above,
                            )
                if not _finite(row(work, of_z, width)):
                    return False
                for number in range(of.group, of.group + of.groups):
                    group = groups[number]
                    length = width if of.groups == 1 else group.length
                    for column in range(
                        group.begin, width, width if of.groups == 1 else above
                    ):
                        activate(
                            group.code,
                            group.parameter,
                            work,
                            own + column,
                            shared + column,
                            width,
                            length,
                            order + 2,
                        )
                        _play(
                            products,
                            group.product,
                            group.products,
                            work,
                            place,
                            column,
                            length,
                        )
                below_own = own
                if not head.keep:  # the next layer overwrites this one's rows
                    below_own = onward
                    _repeat(row(work, onward, width), work, own, width)
                if layer < depth - 1:
                    _play(products, of.up, of.ups, work, place, 0, width)
                own += kept * width * head.keep
            for output in range(head.outputs):
                end, to = own, (output * n + start) * entries
                for layer in range(depth - 1, -1, -1):
                    of = layers[layer]
                    above, width = of.above, centres * of.above
                    end -= kept * width * head.keep
                    if layer == depth - 1:
                        _repeat(
                            row(work, shared, width),
                            numbers,
                            head.last + output * above,
                            above,
                        )
                    else:
                        beyond = layers[layer + 1]
                        product(
                            work,
                            onward,
                            head.adjoints * centres,
                            beyond.above,
                            numbers,
                            beyond.backward,
                            head.zeros,
                            above,
                            work,
                            shared,
                        )
                    place = _Places(end, shared, onward, kept, head.rows, width)
                    _play(products, of.down, of.downs, work, place, 0, width)
                    _add_dots(
                        dot_products,
                        of.dot,
                        of.dots,
                        work,
                        place,
                        centres,
                        out,
                        to,
                        entries,
                        spare,
                    )
                    if not head.keep:
                        break
                if not _finite(row(out, to, centres * entries)):
                    return False
                for i in range(head.gradients):
                    of = layers[0]
                    x = onward + table[head.gradient + i] * centres * of.above
                    to = (
                        head.outputs * n * entries
                        + ((output * head.gradients + i) * n + start) * head.columns
                    )
                    product(
                        work,
                        x,
                        centres,
                        of.above,
                        numbers,
                        of.backward,
                        head.zeros,
                        head.columns,
                        out,
                        to,
                    )
                    if not _finite(row(out, to, centres * head.columns)):
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
run = jit.jit(_of(_SOURCES), flags=frozenset({"contract"}))
