"""Three inner loops, compiled if numba is installed.

In NumPy these loops need temporary arrays. Each loop also has a NumPy version, which
computes the same sums in the same order, so that the results have the same bits. The
NumPy version is used if numba is not installed, and until an array is large enough to
pay for loading numba. Loading takes about a second, and a few seconds more if numba's
cache on disk is empty.
"""

from collections.abc import Callable
from contextlib import suppress
from functools import lru_cache, reduce
from typing import Any

import numpy as np

from paperlib._support import jit
from paperlib._support.validation import Floats
from paperlib.taylor.symmetric import entries, index_table, packed_position

MIN_SIZE_TO_COMPILE = 2**15
MIN_SIZE_TO_CALL = 2**8  # of a loop that is compiled already
MAX_ORDERS = 20  # a longer series takes too long to compile
MIN_COLUMNS = 8  # the numbers in a vector


def _add_pairs(out: Floats, x: Floats, y: Floats) -> None:
    """Add x_a y_b + x_b y_a for a <= b; see `add_pairs`.

    x and y have the shape (n, dim, units), and out has (n, C(dim + 1, 2), units).
    """
    for n in range(len(out)):
        row = 0
        for a in range(x.shape[1]):
            for b in range(a, x.shape[1]):
                # The compiler vectorises the innermost loop only if its rows have names
                pair = out[n, row]
                x_a, x_b = x[n, a], x[n, b]
                y_a, y_b = y[n, a], y[n, b]
                for j in range(len(pair)):
                    pair[j] = pair[j] + x_a[j] * y_b[j] + x_b[j] * y_a[j]
                row += 1


def _add_triples(out: Floats, m: Floats) -> None:
    """Add m_{a,bc} + m_{b,ac} + m_{c,ab} for a <= b <= c; see `add_heads`.

    m has the shape (n, dim, C(dim + 1, 2)), and out has (n, C(dim + 2, 3)).
    """
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
    """Return the coefficients of t, t^2, .. in phi_1 z(t) + phi_2 z(t)^2 + ..

    Parameters
    ----------
    phi : sequence
        phi_1, phi_2, .., as arrays or as values in LLVM code.
    z : sequence
        The coefficients of t, t^2, .. in z(t), of the same kind. z(t) has no constant
        term. It may have fewer coefficients than phi.
    multiply, add : callable
        The product and the sum of two arrays or values.

    Returns
    -------
    list
        The coefficients of t, .., t^n, if phi has n items.
    """
    series: list = []
    # Horner's scheme: multiply by z(t) and add phi_k in turn. Each product has one more
    # coefficient, because z(t) begins with t
    for constant in reversed(phi):
        series = [constant, *series]
        series = [
            reduce(add, map(multiply, series[k::-1], z)) for k in range(len(series))
        ]
    return series


def _composition(orders: int, terms: int) -> Callable:
    """Compile `compose` for `orders` coefficients of phi and `terms` coefficients of z.

    A column is one neuron at one point. Columns are processed in vectors, and all
    coefficients of a vector of columns stay in the processor's registers.
    """
    import numba

    from paperlib.taylor.compiled.simd import INDEX, LANES, load, store, writes

    @writes
    def block(
        builder: Any, out: Any, phi: Any, z: Any, width: Any, columns: Any
    ) -> None:
        phis = [load(builder, phi, builder.mul(width, INDEX(k))) for k in range(orders)]
        zs = [load(builder, z, builder.mul(columns, INDEX(k))) for k in range(terms)]
        series = _horner(phis, zs, builder.fmul, builder.fadd)
        for k, value in enumerate(series):
            store(builder, value, out, builder.mul(columns, INDEX(k)))

    @numba.njit("void(f8[:, ::1], f8[:, ::1], f8[:, ::1])", error_model="numpy")
    def loop(out: Floats, phi: Floats, z: Floats) -> None:
        width, columns = phi.shape[1], out.shape[1]
        for begin in range(0, columns, width):
            # phi has columns for one centre or for all points, and z is processed in
            # rows of this width. The last row, and the last vector of a row, may
            # overlap the one before
            first = min(begin, columns - width)
            for j in range(0, width, LANES):
                unit = min(j, width - LANES)
                column = first + unit
                block(out[:, column:], phi[:, unit:], z[:, column:], width, columns)

    return loop


def _loop(size: int, compile_loop: Callable, *arguments: Any) -> Any:
    """Return the loop that `compile_loop(*arguments)` compiles.

    Return None if NumPy is faster for `size` numbers, or if numba is not installed or
    does not compile the loop.
    """

    def compiled(_: Any) -> Any:
        # The internals of numba may have changed: `compilation` warns about that
        with suppress(Exception):
            return compile_loop(*arguments)

    key = (compile_loop, *arguments)
    return jit.loop(key, compiled, size, MIN_SIZE_TO_COMPILE, MIN_SIZE_TO_CALL)


def _flat(array: Floats, axes: int, batch: tuple[int, ...]) -> Floats:
    """Broadcast all axes but the last `axes` to `batch`, and flatten them to one."""
    entry = array.shape[-axes:]
    if array.shape[:-axes] != batch:
        array = np.ascontiguousarray(np.broadcast_to(array, batch + entry))
    return array.reshape(-1, *entry)


def add_pairs(out: Floats, x: Floats, y: Floats) -> None:
    """Add the products x_a y_b + x_b y_a, a <= b, to a packed tensor of order 2.

    Parameters
    ----------
    out : array of float64, shape (..., C(dim + 1, 2), units)
        The array to add to.
    x, y : array of float64, shape (..., dim, units)
        Tensors of order 1.

    Examples
    --------
    >>> out = np.zeros((3, 1))
    >>> add_pairs(out, np.array([[1.0], [2.0]]), np.array([[5.0], [7.0]]))
    >>> out[:, 0]
    array([10., 17., 28.])
    """
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
    """Return the positions of all m[i, rest] in a flattened array m of shape (dim, C).

    Row k of the result is for i as the index number k of a sorted tuple, and for `rest`
    as the other indices. Its columns are the tuples of `order` indices, packed.
    """
    table, rests = index_table(dim, order), entries(dim, order - 1)
    return np.stack(
        [
            table[:, i] * rests + packed_position(dim, np.delete(table, i, axis=1))
            for i in range(order)
        ]
    )


def add_heads(out: Floats, m: Floats, q: int) -> None:
    """Add the sum over the ways to put one index before the others.

    The sum is m_{a,b} + m_{b,a} for q = 1, and m_{a,bc} + m_{b,ac} + m_{c,ab} for
    q = 2, with a <= b <= c.

    Parameters
    ----------
    out : array of float64, shape (..., C(dim + q, q + 1))
        The packed tensor to add to.
    m : array of float64, shape (..., dim, C(dim + q - 1, q))
        One index, then q indices that are packed.
    q : int
        1 or 2.

    Examples
    --------
    >>> out = np.zeros(3)
    >>> add_heads(out, np.array([[1.0, 2.0], [3.0, 4.0]]), 1)
    >>> out
    array([2., 5., 8.])
    """
    loop = _loop(out.size, jit.jit, _add_triples) if q == 2 else None
    if loop:
        loop(_flat(out, 1, out.shape[:-1]), _flat(m, 2, out.shape[:-1]))
        return
    flat = m.reshape(*m.shape[:-2], -1)
    for positions in _heads(m.shape[-2], q + 1):
        out += flat.take(positions, axis=-1)


def compose(out: Floats, phi: Floats, z: Floats) -> None:
    """Insert the power series z(t) into the Taylor series of an activation.

    The result is the coefficients of t, t^2, .. in the sum over m of phi_m z(t)^m.

    Parameters
    ----------
    out : array of float64, shape (orders, points, units)
        The result is written to this array.
    phi : array of float64, shape (orders + 1, 1 or points, units)
        The Taylor coefficients of the activation at the centre or the centres.
    z : array of float64, shape (terms, points, units)
        The coefficients of t, .., t^terms. There is no constant term.

    Examples
    --------
    exp(t + t^2) = 1 + t + 3/2 t^2 + ..:

    >>> out = np.empty((2, 1, 1))
    >>> compose(out, np.array([[[1.0]], [[1.0]], [[0.5]]]), np.ones((2, 1, 1)))
    >>> out.ravel()
    array([1. , 1.5])
    """
    orders, points, units = out.shape
    compilable = orders <= MAX_ORDERS and points * units >= MIN_COLUMNS
    loop = _loop(out.size, _composition, orders, len(z)) if compilable else None
    if not loop:
        series = _horner(phi[1:], z, np.multiply, np.add)
        for row, coefficient in zip(out, series):
            row[...] = coefficient
        return
    if phi[0].size < MIN_COLUMNS:  # a vector needs columns of more points
        phi = np.repeat(phi, min(points, MIN_COLUMNS), axis=1)
    loop(*(series.reshape(len(series), -1) for series in (out, phi[1:], z)))
