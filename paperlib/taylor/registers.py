"""Products of small matrices in the processor's registers, for `taylor.kernel`.

This module needs numba. A block of the result, eight rows of three vectors, stays in registers while the inner index runs: each vector
that is loaded is used eight times, and each number three times. LLVM takes what it is told here; loops over numbers it puts into
vectors too, but not into blocks, and a BLAS that does not know the processor runs at half of this.
"""

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba.core import cgutils, types
from numba.core.registry import cpu_target
from numba.extending import intrinsic

from paperlib._support import compiled
from paperlib._support.checks import Floats

__all__ = ["FLAGS", "LANES", "SPARE", "aligned", "dots_of_centres", "dots_of_rows", "inner", "product"]

NUMBER, INDEX = ir.DoubleType(), ir.IntType(64)
WIDE = "+avx512f" in cpu_target.target_context.codegen().magic_tuple()[2]
LANES, ROWS = (8, 8) if WIDE else (4, 4)  # with half as many registers, half as many rows
VECTOR = ir.VectorType(NUMBER, LANES)
SPARE = ROWS * LANES
FLAGS = frozenset({"contract", "reassoc"})  # sums in any order, else they are taken one number at a time


def _at(builder: Any, array: Any, index: Any, kind: ir.Type) -> Any:
    """The address of a number of an array, where something of a kind begins."""
    return builder.bitcast(builder.gep(array.data, [index]), kind.as_pointer())


def _add_times(builder: Any, total: Any, a: Any, b: Any) -> None:
    times = builder.fmul(a, b, flags=("contract",))
    builder.store(builder.fadd(builder.load(total), times, flags=("contract",)), total)


def _lanes(numbers: Any) -> Any:
    return ir.VectorType(ir.IntType(32), LANES)(list(numbers))


def _everywhere(builder: Any, number: Any) -> Any:
    first = builder.insert_element(VECTOR(ir.Undefined), number, INDEX(0))
    return builder.shuffle_vector(first, first, _lanes([0] * LANES))


def _block(rows: int, vectors: int) -> Any:
    """out[n : n + rows, j : j + w] = start[j : j + w] + x[m : m + rows] @ y[:, j : j + w], w = vectors * LANES."""

    def code(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        x, y, start, out = (context.make_array(a)(context, builder, v) for a, v in zip(signature.args[:4], given))
        m, n, j = given[4:]

        def place(array: Any, row: Any, column: Any, kind: ir.Type) -> Any:
            _, width = cgutils.unpack_tuple(builder, array.shape)
            return _at(builder, array, builder.add(builder.mul(row, width), column), kind)

        lines = [builder.add(m, INDEX(r)) for r in range(rows)]
        columns = [builder.add(j, INDEX(v * LANES)) for v in range(vectors)]
        begin = [builder.load(_at(builder, start, column, VECTOR), align=8) for column in columns]
        sums = [cgutils.alloca_once_value(builder, vector) for _ in lines for vector in begin]
        with cgutils.for_range(builder, cgutils.unpack_tuple(builder, y.shape)[0]) as loop:
            loaded = [builder.load(place(y, loop.index, column, VECTOR), align=8) for column in columns]
            for r, line in enumerate(lines):
                number = builder.load(place(x, line, loop.index, NUMBER))
                everywhere = _everywhere(builder, number)
                for v, vector in enumerate(loaded):
                    _add_times(builder, sums[r * vectors + v], everywhere, vector)
        for r in range(rows):
            for v, column in enumerate(columns):
                to = place(out, builder.add(n, INDEX(r)), column, VECTOR)
                builder.store(builder.load(sums[r * vectors + v]), to, align=8)
        return context.get_dummy_value()

    return intrinsic(lambda context, x, y, start, out, m, n, j: (types.void(x, y, start, out, m, n, j), code))


def _dots(one_x: bool) -> Any:
    """out[i] += weight * x[begin + i step :][:units] @ y[begin + i step :][:units], LANES of i; of `one_x`, x[begin :] each time.

    The rows that `x` and `y` begin go on in memory. `units` are a multiple of LANES.
    """

    def code(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        x, y, out = (context.make_array(a)(context, builder, v) for a, v in zip(signature.args[:3], given))
        weight, begin, units, step = given[3:]
        starts = [builder.add(begin, builder.mul(step, INDEX(i))) for i in range(LANES)]
        sums = [cgutils.alloca_once_value(builder, VECTOR([0.0] * LANES)) for _ in range(LANES)]
        with cgutils.for_range_slice(builder, INDEX(0), units, INDEX(LANES), INDEX) as (j, _):
            for i, total in enumerate(sums):
                at_x = _at(builder, x, builder.add(begin if one_x else starts[i], j), VECTOR)
                if i == 0 or not one_x:
                    of_x = builder.load(at_x, align=8)
                of_y = builder.load(_at(builder, y, builder.add(starts[i], j), VECTOR), align=8)
                _add_times(builder, total, of_x, of_y)
        each = [builder.load(total) for total in sums]
        while len(each) > 1:  # neighbours of all, then of what they sum to
            both = [
                [builder.shuffle_vector(a, b, _lanes(range(side, 2 * LANES, 2))) for side in (0, 1)]
                for a, b in zip(each[::2], each[1::2])
            ]
            each = [builder.fadd(even, odd) for even, odd in both]
        to = _at(builder, out, INDEX(0), VECTOR)
        times = builder.fmul(_everywhere(builder, weight), each[0])
        builder.store(builder.fadd(builder.load(to, align=8), times), to, align=8)
        return context.get_dummy_value()

    return intrinsic(
        lambda context, x, y, out, weight, begin, units, step: (types.void(x, y, out, weight, begin, units, step), code)
    )


dots_of_rows, dots_of_centres = _dots(one_x=True), _dots(one_x=False)


def _as_address(context: Any, array: Any) -> Any:
    def code(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        return builder.ptrtoint(context.make_array(array)(context, builder, given[0]).data, INDEX)

    return types.int64(array), code


_address: Any = intrinsic(_as_address)


def inner(function: Callable) -> Any:
    return compiled.jit(function, flags=FLAGS, inner=True)


@inner
def aligned(numbers: Floats) -> int:
    """How many numbers to leave out at the beginning, so that a vector does not lie across two lines of the cache."""
    return (-_address(numbers) // 8) % LANES


_block_3, _block_2, _block_1 = (_block(ROWS, vectors) for vectors in (3, 2, 1))
_row_8, _row_3, _row_1 = (_block(1, vectors) for vectors in (8, 3, 1))


@inner
def product(x: Floats, y: Floats, start: Floats, out: Floats, spare: Floats) -> None:
    """out = start + x y, of matrices whose rows follow one another; `spare` is of SPARE numbers.

    Where there are fewer columns than LANES, so many numbers are read of `start`, and of y from where its last row begins: others
    must follow them in memory, and are not used.
    """
    width, whole = out.shape[1], len(x) - len(x) % ROWS
    if width < LANES:
        part = spare.reshape((ROWS, LANES))
        for m in range(0, len(x)):
            if m < whole and m % ROWS == 0:
                _block_1(x, y, start, part, m, 0, 0)
            elif m >= whole:
                _row_1(x, y, start, part, m, m % ROWS, 0)
            for j in range(width):
                out[m, j] = part[m % ROWS, j]
        return
    j = 0
    while j < width:
        left = width - j
        j = min(j, width - LANES)  # what is too narrow at the end is made anew from a little before
        if left >= 3 * LANES and left != 4 * LANES:
            for m in range(0, whole, ROWS):
                _block_3(x, y, start, out, m, m, j)
            j += 3 * LANES
        elif left >= 2 * LANES:
            for m in range(0, whole, ROWS):
                _block_2(x, y, start, out, m, m, j)
            j += 2 * LANES
        else:
            for m in range(0, whole, ROWS):
                _block_1(x, y, start, out, m, m, j)
            j += LANES
    for m in range(whole, len(x)):
        j = 0
        while j < width:
            left = width - j
            j = min(j, width - LANES)
            if left >= 8 * LANES:
                _row_8(x, y, start, out, m, m, j)
                j += 8 * LANES
            elif left >= 3 * LANES:
                _row_3(x, y, start, out, m, m, j)
                j += 3 * LANES
            else:
                _row_1(x, y, start, out, m, m, j)
                j += LANES
