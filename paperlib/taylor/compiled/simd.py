"""Matrix products and elementwise operations on whole vectors, written as LLVM instructions for `interpreter`.

This module needs numba. A block of a matrix product, two vectors in each of `ROWS`
rows, stays in registers while the inner index runs: each loaded vector is used for all
rows, each loaded number for both vectors. LLVM's vectoriser makes vectors of plain
loops, but no such blocks, and a BLAS that does not know the processor reaches half of
this speed.

Matrices and rows are given by their place in an array of one axis. The length of a row is a multiple of LANES; see `layout`.
"""

from collections.abc import Callable
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
FLAGS = ("contract",)  # a product that is added is rounded once


def _add_times(builder: Any, total: Any, a: Any, b: Any) -> None:
    times = builder.fmul(a, b, flags=FLAGS)
    builder.store(builder.fadd(builder.load(total), times, flags=FLAGS), total)


def _lanes(numbers: Any) -> Any:
    return ir.VectorType(ir.IntType(32), LANES)(list(numbers))


def everywhere(builder: Any, number: Any) -> Any:
    first = builder.insert_element(
        ir.VectorType(number.type, LANES)(ir.Undefined), number, INDEX(0)
    )
    return builder.shuffle_vector(first, first, _lanes([0] * LANES))


def load(builder: Any, numbers: Any, place: Any, kind: ir.Type = VECTOR) -> Any:
    return builder.load(
        builder.bitcast(builder.gep(numbers, [place]), kind.as_pointer()), align=8
    )


def store(builder: Any, vector: Any, numbers: Any, place: Any) -> None:
    builder.store(
        vector,
        builder.bitcast(builder.gep(numbers, [place]), VECTOR.as_pointer()),
        align=8,
    )


def writes(code: Callable) -> Any:
    """Make a numba intrinsic without a result. `code` emits its instructions; it receives the arguments, arrays as pointers."""

    def written(context: Any, builder: Any, types_of: Any, given: Any) -> Any:
        def part(kind: Any, value: Any) -> Any:
            return (
                context.make_array(kind)(context, builder, value).data
                if isinstance(kind, types.Array)
                else value
            )

        code(builder, *map(part, types_of.args, given))
        return context.get_dummy_value()

    def typed(context: Any, *given: Any) -> Any:
        return types.void(*given), written

    typed.__signature__ = signature(code)  # type: ignore[attr-defined]  # numba takes no arguments without a name
    return intrinsic(typed)


def _block(rows: int, vectors: int) -> Any:
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
        """out[to + r width :][:w] = numbers[start:][:w] + sum over m of work[x + r length + m] numbers[y + m width:][:w].

        For r < rows, m < length, w = vectors * LANES.
        """
        columns = [INDEX(v * LANES) for v in range(vectors)]
        lines = [builder.add(x, builder.mul(length, INDEX(r))) for r in range(rows)]
        begin = [
            load(builder, numbers, builder.add(start, column)) for column in columns
        ]
        sums = [
            cgutils.alloca_once_value(builder, vector)
            for _ in lines
            for vector in begin
        ]
        with cgutils.for_range(builder, length) as loop:
            right = builder.add(y, builder.mul(loop.index, width))
            loaded = [
                load(builder, numbers, builder.add(right, column)) for column in columns
            ]
            for r, line in enumerate(lines):
                number = everywhere(
                    builder, load(builder, work, builder.add(line, loop.index), NUMBER)
                )
                for v, vector in enumerate(loaded):
                    _add_times(builder, sums[r * vectors + v], number, vector)
        for n, total in enumerate(sums):
            line = builder.add(to, builder.mul(width, INDEX(n // vectors)))
            store(
                builder,
                builder.load(total),
                out,
                builder.add(line, columns[n % vectors]),
            )

    return writes(code)


def _multiply(add: bool) -> Any:
    def code(
        builder: Any, work: Any, x: Any, y: Any, weight: Any, out: Any, width: Any
    ) -> None:
        """work[out + j] = or, to add, += weight * work[x + j] * work[y + j], for j < width."""
        times = everywhere(builder, weight)
        with cgutils.for_range_slice(builder, INDEX(0), width, INDEX(LANES), INDEX) as (
            j,
            _,
        ):
            left, right, to = (builder.add(place, j) for place in (x, y, out))
            vector = builder.fmul(
                builder.fmul(times, load(builder, work, left)),
                load(builder, work, right),
                flags=FLAGS,
            )
            store(
                builder,
                builder.fadd(load(builder, work, to), vector, flags=FLAGS)
                if add
                else vector,
                work,
                to,
            )

    return writes(code)


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
    some: Any,
) -> None:
    """out[to + i] += weight * work[x + i x_step :][:units] @ work[y + i y_step :][:units], for i < some; 0 from there to LANES."""
    steps = [
        (builder.mul(x_step, INDEX(i)), builder.mul(y_step, INDEX(i)))
        for i in range(LANES)
    ]
    starts = [(builder.add(x, a), builder.add(y, b)) for a, b in steps]
    sums = [
        cgutils.alloca_once_value(builder, VECTOR([0.0] * LANES)) for _ in range(LANES)
    ]
    with cgutils.for_range_slice(builder, INDEX(0), units, INDEX(LANES), INDEX) as (
        j,
        _,
    ):
        for (a, b), total in zip(starts, sums):
            _add_times(
                builder,
                total,
                *(load(builder, work, builder.add(place, j)) for place in (a, b)),
            )
    each = [builder.load(total) for total in sums]
    while len(each) > 1:  # add neighbours, then neighbouring sums
        both = [
            [
                builder.shuffle_vector(a, b, _lanes(range(side, 2 * LANES, 2)))
                for side in (0, 1)
            ]
            for a, b in zip(each[::2], each[1::2])
        ]
        each = [builder.fadd(even, odd) for even, odd in both]
    times = builder.fmul(everywhere(builder, weight), each[0])
    numbers = ir.VectorType(INDEX, LANES)(list(range(LANES)))
    wanted = builder.icmp_signed("<", numbers, everywhere(builder, some))
    times = builder.select(wanted, times, VECTOR([0.0] * LANES))
    store(builder, builder.fadd(load(builder, out, to), times), out, to)


def _as_address(context: Any, array: Any) -> Any:
    def code(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        return builder.ptrtoint(
            context.make_array(array)(context, builder, given[0]).data, INDEX
        )

    return types.int64(array), code


_address: Any = intrinsic(_as_address)


@inner
def aligned(numbers: Floats) -> int:
    """Return the number of elements to skip at the beginning, so that no vector lies across two cache lines."""
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
    """At `to` in `out` (rows, width) the row at `start` in `numbers`, plus x (rows, length) in `work` times y (length, width) there."""
    whole, j = rows - rows % ROWS, 0
    while j < width:
        wide = width - j >= 2 * LANES
        for m in range(0, whole, ROWS):
            if wide:
                _block_2(
                    work,
                    x + m * length,
                    length,
                    numbers,
                    y + j,
                    start + j,
                    width,
                    out,
                    to + m * width + j,
                )
            else:
                _block_1(
                    work,
                    x + m * length,
                    length,
                    numbers,
                    y + j,
                    start + j,
                    width,
                    out,
                    to + m * width + j,
                )
        j += 2 * LANES if wide else LANES
    for m in range(whole, rows):
        j = 0
        while j < width:
            if width - j >= 8 * LANES:
                _row_8(
                    work,
                    x + m * length,
                    length,
                    numbers,
                    y + j,
                    start + j,
                    width,
                    out,
                    to + m * width + j,
                )
                j += 8 * LANES
            elif width - j >= 2 * LANES:
                _row_2(
                    work,
                    x + m * length,
                    length,
                    numbers,
                    y + j,
                    start + j,
                    width,
                    out,
                    to + m * width + j,
                )
                j += 2 * LANES
            else:
                _row_1(
                    work,
                    x + m * length,
                    length,
                    numbers,
                    y + j,
                    start + j,
                    width,
                    out,
                    to + m * width + j,
                )
                j += LANES
