"""Matrix products and elementwise products in vectors, as LLVM instructions.

This module needs numba; `interpreter` uses it. A *vector* is LANES float64 numbers that
the processor computes at a time: 8 with AVX-512, otherwise 4. Matrices and rows are
parts of an array of one axis. Each is given by the position of its first number, and
its rows are contiguous. `layout` pads rows to a multiple of LANES numbers.

A matrix product is computed in blocks of ROWS rows and two vectors of columns. While
the inner index runs, the block's sums stay in the processor's registers. Each vector
that is loaded from the right matrix is used for all rows, and each number from the left
matrix for both vectors. LLVM vectorises plain loops, but does not form such blocks. A
BLAS without a kernel for the processor reaches half of this speed.

In the functions that emit code, `builder` is llvmlite's IRBuilder, and the other
arguments are LLVM values or pointers. The instructions run when the compiled loop runs.
"""

from collections.abc import Callable, Iterable
from inspect import signature
from typing import Any

from llvmlite import ir
from numba.core import cgutils, types
from numba.core.registry import cpu_target
from numba.extending import intrinsic

from paperlib._support.jit import inner
from paperlib._support.validation import Floats

NUMBER, INDEX = ir.DoubleType(), ir.IntType(64)
WIDE = "+avx512f" in cpu_target.target_context.codegen().magic_tuple()[2]
LANES, ROWS = (8, 8) if WIDE else (4, 4)  # AVX2 has half the registers of AVX-512
VECTOR = ir.VectorType(NUMBER, LANES)
FLAGS = ("contract",)  # allows a fused multiply-add, which rounds once


def _add_times(builder: Any, total: Any, a: Any, b: Any) -> None:
    """Emit total += a * b for vectors, where `total` is a pointer to a variable."""
    product = builder.fmul(a, b, flags=FLAGS)
    builder.store(builder.fadd(builder.load(total), product, flags=FLAGS), total)


def _shuffle(builder: Any, a: Any, b: Any, lanes: Iterable[int]) -> Any:
    """Return a vector of chosen lanes of two vectors.

    Lanes 0 to LANES - 1 are the numbers of `a`, lanes LANES to 2 LANES - 1 those of
    `b`.
    """
    mask = ir.VectorType(ir.IntType(32), LANES)(list(lanes))
    return builder.shuffle_vector(a, b, mask)


def everywhere(builder: Any, number: Any) -> Any:
    """Return a vector whose lanes all hold one number."""
    undefined = ir.VectorType(number.type, LANES)(ir.Undefined)
    first = builder.insert_element(undefined, number, INDEX(0))
    return _shuffle(builder, first, first, [0] * LANES)


def load(builder: Any, numbers: Any, place: Any, kind: ir.Type = VECTOR) -> Any:
    """Emit the load of a vector that begins at numbers[place], or of another `kind`."""
    pointer = builder.gep(numbers, [place])
    return builder.load(builder.bitcast(pointer, kind.as_pointer()), align=8)


def store(builder: Any, vector: Any, numbers: Any, place: Any) -> None:
    """Emit the store of a vector to numbers[place] and the following numbers."""
    pointer = builder.gep(numbers, [place])
    builder.store(vector, builder.bitcast(pointer, VECTOR.as_pointer()), align=8)


def vectors(builder: Any, length: Any) -> Any:
    """Return a context manager that emits a loop over the vectors of a row.

    Instructions inside the context are the body of the loop. The context manager yields
    (j, _), where the LLVM value j runs over 0, LANES, 2 LANES, .. below `length`.
    """
    return cgutils.for_range_slice(builder, INDEX(0), length, INDEX(LANES), INDEX)


def writes(code: Callable) -> Any:
    """Make a function for compiled code, a numba intrinsic, that returns nothing.

    `code` (builder, *arguments) emits the function's LLVM instructions. The compiled
    function has the arguments of `code` without the builder. An array among them is
    passed to `code` as the pointer to its data.
    """

    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        values = [
            context.make_array(kind)(context, builder, value).data
            if isinstance(kind, types.Array)
            else value
            for kind, value in zip(signature.args, arguments)
        ]
        code(builder, *values)
        return context.get_dummy_value()

    def typed(context: Any, *kinds: Any) -> Any:
        return types.void(*kinds), emit

    # numba takes the names of the arguments from the signature.
    typed.__signature__ = signature(code)  # type: ignore[attr-defined]
    return intrinsic(typed)


def _block(rows: int, vectors: int) -> Any:
    """Make the compiled function that computes one block of a matrix product.

    The block has `rows` rows and `vectors` vectors of columns.
    """

    def code(
        builder: Any,
        work: Any,
        x: Any,
        length: Any,
        numbers: Any,
        y: Any,
        start: Any,
        width: Any,
        out: Any,
        to: Any,
    ) -> None:
        """Emit the block for the left matrix at work[x] and the right at numbers[y].

        For all r < rows and j < vectors * LANES, the instructions set
        out[to + r width + j] to numbers[start + j] plus the sum over m < length of
        work[x + r length + m] numbers[y + m width + j].
        """
        columns = [INDEX(v * LANES) for v in range(vectors)]
        lines = [builder.add(x, builder.mul(length, INDEX(r))) for r in range(rows)]
        begin = [load(builder, numbers, builder.add(start, c)) for c in columns]
        sums = [[cgutils.alloca_once_value(builder, b) for b in begin] for _ in lines]
        with cgutils.for_range(builder, length) as loop:
            right = builder.add(y, builder.mul(loop.index, width))
            loaded = [load(builder, numbers, builder.add(right, c)) for c in columns]
            for line, totals in zip(lines, sums):
                place = builder.add(line, loop.index)
                number = everywhere(builder, load(builder, work, place, NUMBER))
                for total, vector in zip(totals, loaded):
                    _add_times(builder, total, number, vector)
        for r, totals in enumerate(sums):
            line = builder.add(to, builder.mul(width, INDEX(r)))
            for total, column in zip(totals, columns):
                store(builder, builder.load(total), out, builder.add(line, column))

    return writes(code)


def _multiply(add: bool) -> Any:
    """Make the compiled function that multiplies two rows elementwise.

    The function adds the product to the row `out` if `add` is true. Otherwise it
    overwrites the row.
    """

    def code(
        builder: Any, work: Any, x: Any, y: Any, weight: Any, out: Any, width: Any
    ) -> None:
        """Emit work[out + j] = weight * work[x + j] * work[y + j] for all j < width.

        If `add` is true, emit += instead of =.
        """
        weights = everywhere(builder, weight)
        with vectors(builder, width) as (j, _):
            left, right, to = (builder.add(place, j) for place in (x, y, out))
            factor = builder.fmul(weights, load(builder, work, left))
            vector = builder.fmul(factor, load(builder, work, right), flags=FLAGS)
            if add:
                vector = builder.fadd(load(builder, work, to), vector, flags=FLAGS)
            store(builder, vector, work, to)

    return writes(code)


def _lane_sums(builder: Any, vectors: list) -> Any:
    """Return a vector whose lane i is the sum over the lanes of vectors[i].

    `vectors` holds LANES vectors.
    """
    even, odd = range(0, 2 * LANES, 2), range(1, 2 * LANES, 2)
    while (
        len(vectors) > 1
    ):  # add neighbouring lanes, which halves the number of vectors
        vectors = [
            builder.fadd(_shuffle(builder, a, b, even), _shuffle(builder, a, b, odd))
            for a, b in zip(vectors[::2], vectors[1::2])
        ]
    return vectors[0]


@writes
def dots(
    builder: Any,
    work: Any,
    x: Any,
    x_step: Any,
    y: Any,
    y_step: Any,
    units: Any,
    weight: Any,
    out: Any,
    to: Any,
    count: Any,
) -> None:
    """Add `weight` times a dot product of two rows to out[to + i] for all i < count.

    The rows begin at work[x + i x_step] and work[y + i y_step] and have `units`
    numbers, a multiple of LANES. `count` is at most LANES. For count <= i < LANES, rows
    are read too, but 0 is added to out[to + i].
    """
    zero = VECTOR([0.0] * LANES)
    sums = [cgutils.alloca_once_value(builder, zero) for _ in range(LANES)]
    with vectors(builder, units) as (j, _):
        for i, total in enumerate(sums):
            places = (
                builder.add(builder.add(first, builder.mul(step, INDEX(i))), j)
                for first, step in ((x, x_step), (y, y_step))
            )
            a, b = (load(builder, work, place) for place in places)
            _add_times(builder, total, a, b)
    lane_sums = _lane_sums(builder, [builder.load(total) for total in sums])
    products = builder.fmul(everywhere(builder, weight), lane_sums)
    numbers = ir.VectorType(INDEX, LANES)(list(range(LANES)))
    wanted = builder.icmp_signed("<", numbers, everywhere(builder, count))
    products = builder.select(wanted, products, zero)
    store(builder, builder.fadd(load(builder, out, to), products), out, to)


def _as_address(context: Any, array: Any) -> Any:
    """Return numba's signature of `_address`, and the function that emits its code."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        data = context.make_array(array)(context, builder, arguments[0]).data
        return builder.ptrtoint(data, INDEX)

    return types.int64(array), code


# _address(array) is the address of the array's first number in memory.
_address: Any = intrinsic(_as_address)


@inner
def aligned(numbers: Floats) -> int:
    """Return how many numbers to skip so that the next one is aligned to a vector.

    No vector after this number lies across two cache lines.
    """
    return (-_address(numbers) // 8) % LANES


multiply, multiply_and_add = _multiply(add=False), _multiply(add=True)


_block_2, _block_1 = _block(ROWS, 2), _block(ROWS, 1)
_row_8, _row_2, _row_1 = (_block(1, vectors) for vectors in (8, 2, 1))


@inner
def product(
    work: Floats,
    x: int,
    rows: int,
    length: int,
    numbers: Floats,
    y: int,
    start: int,
    width: int,
    out: Floats,
    to: int,
) -> None:
    """Multiply two matrices, and add the same row to each row of the product.

    Parameters
    ----------
    work, x : array of float64, int
        The left matrix, of shape (rows, length), begins at work[x].
    rows, length : int
    numbers, y : array of float64, int
        The right matrix, of shape (length, width), begins at numbers[y].
    start : int
        The row (width,) that is added begins at numbers[start].
    width : int
        A multiple of LANES.
    out, to : array of float64, int
        The result, of shape (rows, width), is written from out[to] on.
    """
    # Separate functions for the three loops would take a third longer to compile.
    whole, j = rows - rows % ROWS, 0
    while j < width:
        wide = width - j >= 2 * LANES
        for m in range(0, whole, ROWS):
            x_m, to_m, y_j, row_j = x + m * length, to + m * width + j, y + j, start + j
            if wide:
                _block_2(work, x_m, length, numbers, y_j, row_j, width, out, to_m)
            else:
                _block_1(work, x_m, length, numbers, y_j, row_j, width, out, to_m)
        j += 2 * LANES if wide else LANES
    for r in range(whole, rows):
        left, k = x + r * length, 0
        while k < width:
            right, begin, target = y + k, start + k, to + r * width + k
            if width - k >= 8 * LANES:
                _row_8(work, left, length, numbers, right, begin, width, out, target)
                k += 8 * LANES
            elif width - k >= 2 * LANES:
                _row_2(work, left, length, numbers, right, begin, width, out, target)
                k += 2 * LANES
            else:
                _row_1(work, left, length, numbers, right, begin, width, out, target)
                k += LANES
