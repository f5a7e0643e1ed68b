"""The inner loops of products of packed tensors and of power series.

There are three: `add_pairs`, `add_heads` and `compose`. Each has two versions, compiled
by numba and with NumPy's array operations. Both compute the same sums in the same
order, so that the results have the same bits. NumPy needs temporary arrays and is
slower for large arrays. It is used if numba is not installed or cannot compile the
loop, and for arrays of fewer than MIN_SIZE_TO_COMPILE numbers: loading numba takes
about a second, and a few seconds more if its cache on disk is empty. A loop that has
been compiled in this process is used for at least MIN_SIZE_TO_CALL numbers.

A packed tensor has one entry for each sorted tuple of indices, in lexicographic order.
"""

from collections.abc import Callable
from contextlib import suppress
from functools import lru_cache, reduce
from typing import Any

import numpy as np

from paperlib._support import jit
from paperlib._support.validation import Floats
from paperlib.taylor.symmetric import entries, index_table, packed_position

MIN_SIZE_TO_COMPILE = 2**15  # numbers in the result
MIN_SIZE_TO_CALL = 2**8  # numbers in the result, if the loop is compiled already
MAX_ORDERS = 20  # of a compiled power series. A longer one takes too long to compile.
MIN_COLUMNS = 8  # the largest number of float64 numbers in a vector of the processor


def _add_pairs(out: Floats, x: Floats, y: Floats) -> None:
    """Add x_a y_b + x_b y_a to entry (a, b) of `out` for all a <= b.

    x and y have shape (n, dim, units) for n tensors of order 1 with numbers for each of
    `units` neurons. `out` has shape (n, dim (dim + 1) / 2, units).
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
    """Add m_{a,bc} + m_{b,ac} + m_{c,ab} to entry (a, b, c) of `out`, a <= b <= c.

    m has shape (n, dim, dim (dim + 1) / 2): for each of n tensors one index, and a
    packed pair of indices. `out` has shape (n, dim (dim + 1) (dim + 2) / 6).
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

    Here z(t) is a power series without a constant term.

    Parameters
    ----------
    phi : sequence
        The n numbers phi_1, .., phi_n, as arrays or as values in LLVM code.
    z : sequence
        The coefficients of t, t^2, .. in z(t), of the same kind. There may be fewer
        than n. The others are zero.
    multiply, add : callable
        Functions that return the product and the sum of two arrays or values.

    Returns
    -------
    list
        The coefficients of t, .., t^n.

    Examples
    --------
    For 2 z + 3 z^2 with z = t + 5 t^2, the coefficients of t and t^2:

    >>> from operator import add, mul
    >>> _horner([2, 3], [1, 5], mul, add)
    [2, 13]
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
    """Compile the loop of `compose` for given lengths of the two power series.

    The series of the activation has `orders` coefficients without the constant term,
    and z(t) has `terms` coefficients. A column is one neuron at one point. The loop
    processes a vector of columns at a time, with all their coefficients in the
    processor's registers.

    Returns
    -------
    callable
        loop(out, phi, z) with arrays of shape (orders, columns), (orders, width) and
        (terms, columns). It writes the coefficients of t, .., t^orders to `out`. Column
        c of z belongs to column c modulo `width` of phi.
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
            # `width` is the number of columns of phi, which are those of one centre or
            # of all points. The columns of z are processed `width` at a time, in
            # vectors of LANES. The last part, and the last vector of a part, may
            # overlap the one before.
            first = min(begin, columns - width)
            for j in range(0, width, LANES):
                unit = min(j, width - LANES)
                column = first + unit
                block(out[:, column:], phi[:, unit:], z[:, column:], width, columns)

    return loop


def _loop(size: int, compile_loop: Callable, *arguments: Any) -> Any:
    """Return the loop that `compile_loop(*arguments)` compiles, or None to use NumPy.

    `size` is the number of float64 numbers that the loop would write. The function
    returns None if it is below MIN_SIZE_TO_COMPILE, or below MIN_SIZE_TO_CALL for a
    loop that has been compiled already, and if numba is not installed or does not
    compile the loop. A loop is compiled once in a process.
    """

    def compiled(_: Any) -> Any:
        # The internals of numba may have changed: `compilation` warns about that
        with suppress(Exception):
            return compile_loop(*arguments)

    key = (compile_loop, *arguments)
    return jit.loop(key, compiled, size, MIN_SIZE_TO_COMPILE, MIN_SIZE_TO_CALL)


def _flat(array: Floats, axes: int, batch: tuple[int, ...]) -> Floats:
    """Flatten the axes of a batch to one axis.

    The last `axes` axes of the array remain. All axes before these are first broadcast
    to the shape `batch`.
    """
    entry = array.shape[-axes:]
    if array.shape[:-axes] != batch:
        array = np.ascontiguousarray(np.broadcast_to(array, batch + entry))
    return array.reshape(-1, *entry)


def add_pairs(out: Floats, x: Floats, y: Floats) -> None:
    """Add the products x_a y_b + x_b y_a to a packed tensor of order 2.

    Parameters
    ----------
    out : array of float64, shape (..., dim (dim + 1) / 2, units)
        The tensor to add to. Its entries are the pairs of indices a <= b.
    x, y : array of float64, shape (..., dim, units)
        Tensors of order 1, with numbers for each of `units` neurons.

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
    """Return the positions of m[i, rest] in a flattened array m, for each sorted tuple.

    A sorted tuple of `order` indices from 0 to dim - 1 is divided into one index i and
    the others, `rest`, whose packed position is the second index of m. Row k of the
    result has the positions for i = entry number k of the tuple, for all tuples in
    packed order.

    Examples
    --------
    For the pairs 00, 01 and 11 and m of shape (2, 2), m[0, 0], m[0, 1], m[1, 1], and
    the same with exchanged indices:

    >>> _heads(2, 2)
    array([[0, 1, 3],
           [0, 2, 3]])
    """
    table, rests = index_table(dim, order), entries(dim, order - 1)
    return np.stack(
        [
            table[:, i] * rests + packed_position(dim, np.delete(table, i, axis=1))
            for i in range(order)
        ]
    )


def add_heads(out: Floats, m: Floats, q: int) -> None:
    """Add the sum over the ways to separate one index from the others.

    Added are m_{a,b} + m_{b,a} to the entry (a, b) of `out` if q = 1, with a <= b, and
    m_{a,bc} + m_{b,ac} + m_{c,ab} to the entry (a, b, c) if q = 2, with a <= b <= c.

    Parameters
    ----------
    out : array of float64, shape (..., C(dim + q, q + 1))
        The packed tensor of order q + 1 to add to. C is the binomial coefficient.
    m : array of float64, shape (..., dim, C(dim + q - 1, q))
        The first index is the one that is separated. The second is the packed position
        of the q other indices.
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
    """Substitute the power series z(t) into the Taylor series of an activation.

    Let phi_m be the Taylor coefficients of the activation at a pre-activation z_0, and
    z(t) the change of the pre-activation along a line, a power series in t without a
    constant term. The result is the coefficients of t, t^2, .. in the sum over m of
    phi_m z(t)^m. It is computed for each neuron and each point.

    Parameters
    ----------
    out : array of float64, shape (orders, points, units)
        The coefficients of t, .., t^orders are written to this array. `units` is the
        number of neurons.
    phi : array of float64, shape (orders + 1, 1 or points, units)
        The Taylor coefficients phi_0, phi_1, .. of the activation, at one centre for
        all points or at one for each.
    z : array of float64, shape (terms, points, units)
        The coefficients of t, .., t^terms in z(t).

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
    if phi[0].size < MIN_COLUMNS:  # fewer columns than a vector has: repeat them
        phi = np.repeat(phi, min(points, MIN_COLUMNS), axis=1)
    loop(*(series.reshape(len(series), -1) for series in (out, phi[1:], z)))
