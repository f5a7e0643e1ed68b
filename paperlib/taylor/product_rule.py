"""The product rule on packed symmetric tensors.

The derivative of a product x y by the inputs I is the sum of x[A] y[B] over all ways to
split I into A and B. Both products of this module are such sums over I = A + B, with p
indices in A and q indices in B. The function `symmetric_product` returns the sum for
each neuron, and `contracted_product` also sums over the neurons.

A product is computed slab by slab. Slab a of a packed tensor has the entries whose
smallest index is a, and tail a has those whose indices are all >= a. Both are
contiguous (see `symmetric`). If a is the smallest index of I and belongs to A, then x
is needed in slab a and y in tail a. If a belongs to B, then x is needed in tail a and y
in slab a. Each pair of slab and tail is a product of the same kind with one index less.
So no tables of indices are needed, and the arrays of one step fit into the cache.

Tensors are arrays (..., C, units). C = C(dim + p - 1, p) is the number of packed
entries, and `units` is the number of neurons of a layer. The other axes are batches,
which broadcast.
"""

from collections.abc import Iterator
from functools import lru_cache

import numpy as np

from paperlib._support import chunks
from paperlib._support.validation import Floats
from paperlib.taylor.product_rule_loops import add_heads, add_pairs
from paperlib.taylor.symmetric import entries, tail_starts

MAX_BLOCK = 2**22  # entries of one matrix product
SHARED_SLABS = 4


def partitions(n: int, largest: int) -> Iterator[tuple[int, ...]]:
    """Yield the ways to write n as a sum of positive integers.

    Parameters
    ----------
    n : int
        From 0.
    largest : int
        The largest integer in the sum.

    Yields
    ------
    tuple of int
        The integers in descending order.

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
    """Return the smaller products that make up a product.

    For each smallest index a there are two parts, first with a in A, then with a in B.
    A part is (entries of the result, entries of x, entries of y, sizes). The first
    three are slices. `sizes` are p, q and dim of the smaller product.
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
    """Add the result of `symmetric_product` to `out`, which has its shape."""
    if p == 0 or q == 0:
        out += x * y
    elif p == q == 1:
        add_pairs(out, x, y)
    else:
        for whole, left, right, sizes in _parts(p, q, dim):
            add_product(out[..., whole, :], x[..., left, :], y[..., right, :], *sizes)


def symmetric_product(x: Floats, y: Floats, p: int, q: int, dim: int) -> Floats:
    """Return the sum of x[A] y[B] over all I = A + B, separately for each neuron.

    Parameters
    ----------
    x : array of float64, shape (..., C(dim + p - 1, p), units)
    y : array of float64, shape (..., C(dim + q - 1, q), units)
    p, q : int
        The orders of x and y.
    dim : int
        The number of values of an index.

    Returns
    -------
    array of float64, shape (..., C(dim + p + q - 1, p + q), units)

    Examples
    --------
    The entries 00, 01 and 11 of x_i y_j + x_j y_i:

    >>> x, y = np.array([[1.0], [2.0]]), np.array([[5.0], [7.0]])
    >>> symmetric_product(x, y, 1, 1, 2)[:, 0]
    array([10., 17., 28.])
    """
    if p == 0 or q == 0:
        return x * y
    batch = np.broadcast_shapes(x.shape[:-2], y.shape[:-2])
    out = np.zeros((*batch, entries(dim, p + q), x.shape[-1]))
    add_product(out, x, y, p, q, dim)
    return out


def _add_merged(out: Floats, m: Floats, p: int, q: int, dim: int) -> None:
    """Add the sum of m[A, B] over I = A + B, m (..., C_p, C_q) -> out (..., C_p+q)."""
    if p == 0 or q == 0:
        out += m.reshape(out.shape)
    elif p + q <= 3:
        add_heads(out, m if p == 1 else m.swapaxes(-1, -2), max(p, q))
    else:
        for whole, left, right, sizes in _parts(p, q, dim):
            _add_merged(out[..., whole], m[..., left, right], *sizes)


def _is_one_block(p: int, q: int, dim: int) -> bool:
    """Return whether all products x[A] y[B] are computed by one matrix product.

    A tensor of order 1 is not divided into slabs. Its slabs are single rows, and the
    product of a matrix and a row is slow.
    """
    return min(p, q) <= 1 or entries(dim, p) * entries(dim, q) <= MAX_BLOCK


def largest_block(p: int, q: int, dim: int) -> int:
    """Return a bound on the entries of a matrix product in `contracted_product`."""
    if _is_one_block(p, q, dim):
        return entries(dim, p) * entries(dim, q)
    return max(MAX_BLOCK, dim * entries(dim, max(p, q)))


def _add_contracted(
    out: Floats, x: Floats, y: Floats, p: int, q: int, dim: int
) -> None:
    if _is_one_block(p, q, dim):
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
    """Add the sum of x[A] y[B] over all I = A + B and over the neurons to an array.

    Parameters
    ----------
    out : array of float64, shape (..., C(dim + p + q - 1, p + q))
        The array to add to. It has no axis of neurons.
    x : array of float64, shape (..., C(dim + p - 1, p), units)
    y : array of float64, shape (..., C(dim + q - 1, q), units)
    p, q : int
        The orders of x and y.
    dim : int
        The number of values of an index.
    unordered : bool, optional
        Whether the splits (A, B) and (B, A) are counted as one. This takes half the
        time. It needs p = q, and the sum of x[A] y[B] over the neurons must not change
        if A and B are exchanged.

    Examples
    --------
    >>> x, y, out = np.array([[1.0], [2.0]]), np.array([[5.0], [7.0]]), np.zeros(3)
    >>> contracted_product(out, x, y, 1, 1, 2)
    >>> out
    array([10., 17., 28.])
    """
    if not unordered:
        _add_contracted(out, x, y, p, q, dim)
        return
    # By symmetry only the splits with the smallest index in A are needed
    slabs = _parts(p, q, dim)[::2]
    if not _is_one_block(p - 1, q, dim):
        for whole, slab, tail, sizes in slabs:
            _add_contracted(out[..., whole], x[..., slab, :], y[..., tail, :], *sizes)
        return
    # The matrix product of one slab has too few rows to be fast, so several slabs share
    # one. It also has products of later slabs with earlier tails, which are not needed,
    # but they are few.
    for part in chunks.slices(dim, SHARED_SLABS):
        group = slabs[part]
        row, column = group[0][1].start, group[0][2].start
        m = x[..., row : group[-1][1].stop, :] @ y[..., column:, :].swapaxes(-1, -2)
        for whole, slab, tail, sizes in group:
            rows = slice(slab.start - row, slab.stop - row)
            _add_merged(out[..., whole], m[..., rows, tail.start - column :], *sizes)
