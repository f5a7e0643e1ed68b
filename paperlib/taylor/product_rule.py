"""The product rule on packed symmetric tensors.

Let I be a tuple of indices, which are numbers of inputs. The derivative of the product
x y with respect to these inputs is the sum of x[A] y[B] over all ways to divide I into
two tuples A and B, where x[A] is the derivative of x with respect to the inputs in A.
The functions of this module compute such sums for all sorted tuples I, with p indices
in A and q indices in B. `symmetric_product` returns the sum for each neuron of a layer.
`contracted_product` also sums over the neurons.

The tensors x of order p and y of order q are symmetric, and packed: they have one entry
for each sorted tuple of indices from 0 to dim - 1, in lexicographic order. They are
arrays of shape (..., C(dim + p - 1, p), units), where C(dim + p - 1, p), a binomial
coefficient, is the number of entries, and `units` is the number of neurons. The other
axes are those of a batch. They broadcast.

A product is computed slab by slab. Slab a of a packed tensor has the entries whose
smallest index is a, and tail a has the entries whose indices are all >= a. Both are
contiguous (see `symmetric`). Let a be the smallest index of I. If a is in A, then x is
needed in slab a and y in tail a. If a is in B, then x is needed in tail a and y in slab
a. Each such pair of slab and tail is a product of the same kind with one index less, of
tensors over dim - a indices. So no tables of indices are needed, and the arrays of one
step fit into the cache.
"""

from collections.abc import Iterator
from functools import lru_cache

import numpy as np

from paperlib._support import chunks
from paperlib._support.validation import Floats
from paperlib.taylor.product_rule_loops import add_heads, add_pairs
from paperlib.taylor.symmetric import entries, tail_starts

MAX_BLOCK = 2**22  # the largest number of entries of one matrix product's result
SHARED_SLABS = 4  # slabs that share one matrix product


def partitions(n: int, largest: int) -> Iterator[tuple[int, ...]]:
    """Yield the ways to write n as a sum of positive integers.

    Parameters
    ----------
    n : int
        From 0.
    largest : int
        The upper bound of the integers in the sum.

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
    """Return the smaller products that make up the product of tensors x and y.

    p and q are the orders of x and y, whose indices run from 0 to dim - 1. For each a
    in this range there are two parts, for the entries of the result with smallest index
    a: first with a among the indices of x, then with a among those of y. A part is
    (entries of the result, entries of x, entries of y, sizes). The first three are
    slices. `sizes` is the tuple (p, q, dim) of the smaller product.
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
    """Add the sum of x[A] y[B] over all I = A + B to out[I], for each neuron.

    I runs over the sorted tuples of p + q indices from 0 to dim - 1, and A over the
    choices of p of them. The shapes are (..., C(dim + p - 1, p), units) for x,
    (..., C(dim + q - 1, q), units) for y and (..., C(dim + p + q - 1, p + q), units)
    for `out`, with the binomial coefficient C.
    """
    if p == 0 or q == 0:
        out += x * y
    elif p == q == 1:
        add_pairs(out, x, y)
    else:
        for whole, left, right, sizes in _parts(p, q, dim):
            add_product(out[..., whole, :], x[..., left, :], y[..., right, :], *sizes)


def symmetric_product(x: Floats, y: Floats, p: int, q: int, dim: int) -> Floats:
    """Return the symmetric product of two packed tensors, separately for each neuron.

    Entry I of the result, a sorted tuple of p + q indices, is the sum of x[A] y[B] over
    all ways to divide I into A with p and B with q indices.

    Parameters
    ----------
    x : array of float64, shape (..., C(dim + p - 1, p), units)
        A packed tensor for each neuron, with the binomial coefficient C.
    y : array of float64, shape (..., C(dim + q - 1, q), units)
        Another packed tensor for each neuron.
    p, q : int
        The orders of x and y.
    dim : int
        The number of values of an index.

    Returns
    -------
    array of float64, shape (..., C(dim + p + q - 1, p + q), units)

    Examples
    --------
    The entries 00, 01 and 11 of x_i y_j + x_j y_i (positions are divided, not values,
    so the entry 00 is 2 x_0 y_0):

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
    """Add the sum of m[A, B] over all I = A + B to out[I].

    I is a sorted tuple of p + q indices from 0 to dim - 1, A has p of them, and B the
    others. The array m, of shape (..., C(dim + p - 1, p), C(dim + q - 1, q)), holds one
    number for each pair of packed entries. `out` has shape
    (..., C(dim + p + q - 1, p + q)).
    """
    if p == 0 or q == 0:
        out += m.reshape(out.shape)
    elif p + q <= 3:
        add_heads(out, m if p == 1 else m.swapaxes(-1, -2), max(p, q))
    else:
        for whole, left, right, sizes in _parts(p, q, dim):
            _add_merged(out[..., whole], m[..., left, right], *sizes)


def _is_one_block(p: int, q: int, dim: int) -> bool:
    """Return whether one matrix product computes x[A] y[B] for all pairs of entries.

    p and q are the orders of x and y, over `dim` indices. One matrix product is used
    for at most MAX_BLOCK pairs, and always if p or q is at most 1: the slabs of a
    tensor of order 1 are single rows, and the product of a matrix and a row is slow.
    """
    return min(p, q) <= 1 or entries(dim, p) * entries(dim, q) <= MAX_BLOCK


def largest_block(p: int, q: int, dim: int) -> int:
    """Return a bound on the entries of any matrix product in `contracted_product`.

    p and q are the orders of its tensors, over `dim` indices.
    """
    if _is_one_block(p, q, dim):
        return entries(dim, p) * entries(dim, q)
    return max(MAX_BLOCK, dim * entries(dim, max(p, q)))


def _add_contracted(
    out: Floats, x: Floats, y: Floats, p: int, q: int, dim: int
) -> None:
    """Add the sum of x[A] y[B] over all I = A + B and over the neurons to out[I].

    The shapes are (..., C(dim + p - 1, p), units) for x, (..., C(dim + q - 1, q),
    units) for y and (..., C(dim + p + q - 1, p + q)) for `out`.
    """
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
    """Add the symmetric product of two packed tensors, summed over the neurons.

    The number added to out[I], with I a sorted tuple of p + q indices, is the sum of
    x[A] y[B] over the neurons and over all ways to divide I into A with p and B with q
    indices.

    Parameters
    ----------
    out : array of float64, shape (..., C(dim + p + q - 1, p + q))
        The array to add to. It has no axis of neurons. C is the binomial coefficient.
    x : array of float64, shape (..., C(dim + p - 1, p), units)
        A packed tensor for each neuron.
    y : array of float64, shape (..., C(dim + q - 1, q), units)
        Another packed tensor for each neuron.
    p, q : int
        The orders of x and y.
    dim : int
        The number of values of an index.
    unordered : bool, optional
        If true, the divisions (A, B) and (B, A) of I are counted once instead of twice.
        This takes half the time. It needs p = q, and the sum of x[A] y[B] over the
        neurons must not change if A and B are exchanged.

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
    # Only the divisions with the smallest index in A: (B, A) has it in B
    slabs = _parts(p, q, dim)[::2]
    if not _is_one_block(p - 1, q, dim):
        for whole, slab, tail, sizes in slabs:
            _add_contracted(out[..., whole], x[..., slab, :], y[..., tail, :], *sizes)
        return
    # The matrix product of one slab has too few rows to be fast. Therefore several
    # slabs share one matrix product. It also computes products of later slabs with
    # earlier tails, which are few and not used.
    for part in chunks.slices(dim, SHARED_SLABS):
        group = slabs[part]
        row, column = group[0][1].start, group[0][2].start
        m = x[..., row : group[-1][1].stop, :] @ y[..., column:, :].swapaxes(-1, -2)
        for whole, slab, tail, sizes in group:
            rows = slice(slab.start - row, slab.stop - row)
            _add_merged(out[..., whole], m[..., rows, tail.start - column :], *sizes)
