"""Three inner loops, for which NumPy needs temporary arrays, compiled if numba is installed.

Each loop has a NumPy form, which computes the same sums in the same order, so that all bits of the results are the
same. The NumPy form is used if numba is missing, and until an array is large enough to pay for loading numba, which
takes about a second, and some seconds more if its cache on disk is empty.
"""

from collections.abc import Callable
from contextlib import suppress
from functools import lru_cache, reduce
from typing import Any

import numpy as np

from paperlib._support import jit
from paperlib._support.validation import Floats
from paperlib.taylor.symmetric import entries, index_table, packed_position

WORTH_COMPILING = 2**15
WORTH_A_CALL = 2**8
MAX_ORDERS = 20  # a longer series takes too long to compile
MIN_COLUMNS = 8  # the numbers in a vector


# Rows have names before the innermost loop, or the compiler does not vectorise it.


def _add_pairs(out: Floats, x: Floats, y: Floats) -> None:
    for n in range(len(out)):
        row = 0
        for a in range(x.shape[1]):
            for b in range(a, x.shape[1]):
                pair, x_a, x_b, y_a, y_b = (
                    out[n, row],
                    x[n, a],
                    x[n, b],
                    y[n, a],
                    y[n, b],
                )
                for j in range(len(pair)):
                    pair[j] = pair[j] + x_a[j] * y_b[j] + x_b[j] * y_a[j]
                row += 1


def _add_triples(out: Floats, m: Floats) -> None:
    for n in range(len(out)):
        dim, row = m.shape[1], 0
        for a in range(dim):
            # The pair (a, b) is packed at first + b
            first = a * dim - a * (a - 1) // 2 - a
            for b in range(a, dim):
                second = b * dim - b * (b - 1) // 2 - b
                for c in range(b, dim):
                    out[n, row] = (
                        out[n, row]
                        + m[n, a, second + c]
                        + m[n, b, first + c]
                        + m[n, c, first + b]
                    )
                    row += 1


def _horner(phi: Any, z: Any, multiply: Callable, add: Callable) -> list:
    """Return the coefficients of t, t^2, .. in phi_1 z(t) + phi_2 z(t)^2 + .. by Horner's scheme.

    Parameters
    ----------
    phi, z : sequences of numbers
        phi_1, phi_2, .. and the coefficients of t, t^2, .. in z(t). Numbers are arrays,
        or values in LLVM's code.
    multiply, add : callable
        The product and the sum of two numbers.
    """
    series: list = []
    # z has no constant term, so each product determines one more degree
    for constant in reversed(phi):
        series = [constant, *series]
        series = [
            reduce(add, map(multiply, series[k::-1], z)) for k in range(len(series))
        ]
    return series


def _composition(orders: int, terms: int) -> Callable:
    """Compile `compose` for series of these lengths. Every coefficient of a vector of columns stays in a register."""
    import numba

    from paperlib.taylor.compiled.simd import INDEX, LANES, load, store, writes

    @writes
    def block(
        builder: Any, out: Any, phi: Any, z: Any, width: Any, columns: Any
    ) -> None:
        activation_derivatives, zs = (
            [load(builder, rows, builder.mul(step, INDEX(k))) for k in range(count)]
            for rows, step, count in ((phi, width, orders), (z, columns, terms))
        )
        for k, value in enumerate(
            _horner(activation_derivatives, zs, builder.fmul, builder.fadd)
        ):
            store(builder, value, out, builder.mul(columns, INDEX(k)))

    @numba.njit("void(f8[:, ::1], f8[:, ::1], f8[:, ::1])", error_model="numpy")
    def loop(out: Floats, phi: Floats, z: Floats) -> None:
        width, columns = phi.shape[1], out.shape[1]
        for begin in range(0, columns, width):
            # The last vector, and the last row, may overlap the one before
            first = min(begin, columns - width)
            for j in range(0, width, LANES):
                own = min(j, width - LANES)
                block(
                    out[:, first + own :],
                    phi[:, own:],
                    z[:, first + own :],
                    width,
                    columns,
                )

    return loop


def _loop(size: int, make: Callable, *given: Any) -> Any:
    """Return the compiled loop `make(*given)`. Return None if NumPy is faster, or if numba does not compile it."""

    def made(_: Any) -> Any:
        # The internals of numba may have changed, for which `compilation` warns
        with suppress(Exception):
            return make(*given)

    return jit.loop((make, *given), made, size, WORTH_COMPILING, WORTH_A_CALL)


def _flat(array: Floats, axes: int, batch: tuple[int, ...]) -> Floats:
    """Broadcast the leading axes to `batch` and flatten them."""
    entry = array.shape[-axes:]
    if array.shape[:-axes] != batch:
        array = np.ascontiguousarray(np.broadcast_to(array, batch + entry))
    return array.reshape(-1, *entry)


def add_pairs(out: Floats, x: Floats, y: Floats) -> None:
    """Add x_a y_b + x_b y_a: x, y (..., dim, units) -> out (..., C(dim + 1, 2), units)."""
    loop = _loop(out.size, jit.jit, _add_pairs)
    if loop:
        batch = out.shape[:-2]
        loop(_flat(out, 2, batch), _flat(x, 2, batch), _flat(y, 2, batch))
        return
    row = 0
    for a in range(x.shape[-2]):
        tail = x.shape[-2] - a
        part = out[..., row : row + tail, :]
        part += x[..., a : a + 1, :] * y[..., a:, :]
        part += y[..., a : a + 1, :] * x[..., a:, :]
        row += tail


@lru_cache(maxsize=8)
def _heads(dim: int, order: int) -> np.ndarray:
    """Return the position of m[i, rest] in a flat (dim, C) array, for each index i of a sorted tuple; (order, C')."""
    table, rests = index_table(dim, order), entries(dim, order - 1)
    return np.stack(
        [
            table[:, i] * rests + packed_position(dim, np.delete(table, i, axis=1))
            for i in range(order)
        ]
    )


def add_heads(out: Floats, m: Floats, q: int) -> None:
    """Add m_{a,b} + m_{b,a} (q = 1) or m_{a,bc} + m_{b,ac} + m_{c,ab} (q = 2): (..., dim, C) -> (..., C')."""
    loop = _loop(out.size, jit.jit, _add_triples) if q == 2 else None
    if loop:
        loop(_flat(out, 1, out.shape[:-1]), _flat(m, 2, out.shape[:-1]))
        return
    flat = m.reshape(*m.shape[:-2], -1)
    for positions in _heads(m.shape[-2], q + 1):
        out += flat.take(positions, axis=-1)


def compose(out: Floats, phi: Floats, z: Floats) -> None:
    """Put the coefficients of t, t^2, .. in sum_m phi_m z(t)^m into `out`.

    Parameters
    ----------
    out : array of float64, shape (orders, points, units)
    phi : array of float64, shape (orders + 1, 1 or points, units)
        The Taylor coefficients of an activation at the centre or the centres.
    z : array of float64, shape (terms, points, units)
        The coefficients of t, .., t^terms.
    """
    orders, points, units = out.shape
    compilable = orders <= MAX_ORDERS and points * units >= MIN_COLUMNS
    loop = _loop(out.size, _composition, orders, len(z)) if compilable else None
    if not loop:
        for row, coefficient in zip(out, _horner(phi[1:], z, np.multiply, np.add)):
            row[...] = coefficient
        return
    if phi[0].size < MIN_COLUMNS:
        phi = np.repeat(phi, min(points, MIN_COLUMNS), axis=1)
    loop(*(series.reshape(len(series), -1) for series in (out, phi[1:], z)))
