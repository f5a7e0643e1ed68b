"""Sums over the ways to split a set of indices in two: the product rule, on packed symmetric tensors.

Both products of this module are sums over all I = A + B with |A| = p, |B| = q, of x[A]
y[B]. They go slab by slab over the smallest index a of I. Either a is in A, and then
x[(a, .)] is a slab of x and B runs over a tail of y; or a is in B. Slabs and tails are
contiguous, and each pair is the same problem with one index less. So no index tables
are needed, and the arrays of one step fit into the cache.

Tensors are arrays (..., C, units): C_p = C(dim + p - 1, p) packed entries, then the neurons of a
layer; leading axes are batches and broadcast.
"""

from collections.abc import Iterator
from functools import lru_cache

import numpy as np

from paperlib._support import chunks
from paperlib._support.validation import Floats
from paperlib.taylor.product_rule_loops import add_heads, add_pairs
from paperlib.taylor.symmetric import entries, tail_starts

BLOCK = 2**22
SHARED = 4


def partitions(n: int, largest: int) -> Iterator[tuple[int, ...]]:
    """Yield the partitions of n into parts <= largest, each with its largest part first.

    Examples
    --------
    >>> list(partitions(4, 3))
    [(3, 1), (2, 2), (2, 1, 1), (1, 1, 1, 1)]
    """
    if n == 0:
        yield ()
    for first in range(min(n, largest), 0, -1):
        for rest in partitions(n - first, first):
            yield (first, *rest)


@lru_cache(maxsize=1024)
def _parts(p: int, q: int, dim: int) -> list[tuple]:
    """Return the smaller products that a product consists of, for each smallest index a: a is in A, then a is in B.

    A part is (entries of the result, of x, and of y; p, q and dim of the smaller product).
    """
    whole, left, right = (tail_starts(dim, order).tolist() for order in (p + q, p, q))
    parts = []
    for a in range(dim):
        slab, x, y = (
            slice(starts[a], starts[a + 1]) for starts in (whole, left, right)
        )
        parts += [(slab, x, slice(right[a], None), (p - 1, q, dim - a))]
        parts += [(slab, slice(left[a], None), y, (p, q - 1, dim - a))]
    return parts


def add_product(out: Floats, x: Floats, y: Floats, p: int, q: int, dim: int) -> None:
    """Add sum over I = A + B of x[A] y[B], elementwise in the neurons, to `out`; shapes as in `symmetric_product`."""
    if p == 0 or q == 0:
        out += x * y
    elif p == q == 1:
        add_pairs(out, x, y)
    else:
        for whole, left, right, sizes in _parts(p, q, dim):
            add_product(out[..., whole, :], x[..., left, :], y[..., right, :], *sizes)


def symmetric_product(x: Floats, y: Floats, p: int, q: int, dim: int) -> Floats:
    """Return the sum over I = A + B of x[A] y[B], elementwise in the neurons: (..., C_p, units), (..., C_q, units) -> (..., C_(p+q), units).

    Examples
    --------
    >>> x, y = np.array([[1.0], [2.0]]), np.array([[5.0], [7.0]])
    >>> symmetric_product(x, y, 1, 1, 2)[:, 0]            # 1 5 twice, 1 7 + 2 5, 2 7 twice
    array([10., 17., 28.])
    """
    if p == 0 or q == 0:
        return x * y
    batch = np.broadcast_shapes(x.shape[:-2], y.shape[:-2])
    out = np.zeros((*batch, entries(dim, p + q), x.shape[-1]))
    add_product(out, x, y, p, q, dim)
    return out


def _add_merged(out: Floats, m: Floats, p: int, q: int, dim: int) -> None:
    """Add sum over I = A + B of m[A, B]."""
    if p == 0 or q == 0:
        out += m.reshape(out.shape)
    elif p + q <= 3:
        add_heads(out, m if p == 1 else m.swapaxes(-1, -2), max(p, q))
    else:
        for whole, left, right, sizes in _parts(p, q, dim):
            _add_merged(out[..., whole], m[..., left, right], *sizes)


def _evaluated(p: int, q: int, dim: int) -> bool:
    """Return whether x[A] y[B] is one matrix product. A long row alone would be a matrix times a vector."""
    return min(p, q) <= 1 or entries(dim, p) * entries(dim, q) <= BLOCK


def largest_block(p: int, q: int, dim: int) -> int:
    """Return a bound on the entries of the matrix products that `contracted_product` forms."""
    if _evaluated(p, q, dim):
        return entries(dim, p) * entries(dim, q)
    return max(BLOCK, dim * entries(dim, max(p, q)))


def _add_contracted(
    out: Floats, x: Floats, y: Floats, p: int, q: int, dim: int
) -> None:
    if _evaluated(p, q, dim):
        _add_merged(out, x @ y.swapaxes(-1, -2), p, q, dim)
    else:
        for whole, left, right, sizes in _parts(p, q, dim):
            _add_contracted(out[..., whole], x[..., left, :], y[..., right, :], *sizes)


def contracted_product(
    out: Floats,
    x: Floats,
    y: Floats,
    p: int,
    q: int,
    dim: int,
    *,
    unordered: bool = False,
) -> None:
    """Add the sum over I = A + B of sum_j x_j[A] y_j[B] to `out` (..., C_(p+q)); x (..., C_p, units), y (..., C_q, units).

    If `unordered`, each {A, B} is counted once. Then p = q, and sum_j x_j[A] y_j[B]
    must be symmetric.

    Examples
    --------
    >>> out = np.zeros(3)
    >>> contracted_product(out, np.array([[1.0], [2.0]]), np.array([[5.0], [7.0]]), 1, 1, 2)
    >>> out
    array([10., 17., 28.])
    """
    if not unordered:
        _add_contracted(out, x, y, p, q, dim)
        return
    # by symmetry the smallest index may be taken to lie in A
    slabs = _parts(p, q, dim)[::2]
    if not _evaluated(p - 1, q, dim):
        for whole, slab, tail, sizes in slabs:
            _add_contracted(out[..., whole], x[..., slab, :], y[..., tail, :], *sizes)
        return
    # One slab is too thin for a fast matrix product, so some share one. The products of
    # later slabs with earlier tails are not needed, but they are few.
    for part in chunks.slices(dim, SHARED):
        group = slabs[part]
        row, column = group[0][1].start, group[0][2].start
        m = x[..., row : group[-1][1].stop, :] @ y[..., column:, :].swapaxes(-1, -2)
        for whole, slab, tail, sizes in group:
            _add_merged(
                out[..., whole],
                m[..., slab.start - row : slab.stop - row, tail.start - column :],
                *sizes,
            )
