"""Store symmetric tensors packed, with each independent entry once.

A symmetric tensor of order n has n indices from 0 to dim - 1, and its entries do not
change if indices are exchanged. So it has C(dim + n - 1, n) independent entries
T_{ij..k}, those with i <= j <= .. <= k, where C is the binomial coefficient. *Packed*
means: only these entries are stored, in lexicographic order of their sorted indices.

The entries whose smallest index is `a` are contiguous and form *slab* `a`. Without the
index `a`, their index tuples are all sorted tuples of n - 1 indices >= a. In a packed
tensor of order n - 1 the entries with these tuples are contiguous too, and extend to
the end: they form *tail* `a`. Most computations run over slabs and tails. Only
`SymmetricTensor.full` and `SymmetricTensor.contract` with free indices build arrays
with an axis for each index.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache, wraps
from math import comb
from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from paperlib._support import chunks, validation
from paperlib._support.validation import Floats

__all__ = [
    "SymmetricTensor",
    "index_table",
    "multiplicities",
    "packed_position",
    "packed_size",
    "tail_starts",
]

MAX_CACHED_ROWS = 2**18  # of one cached table
MAX_CACHED_TABLES = 32  # of each kind
CHUNK_BYTES = 2**25  # monomials of the points that are contracted together
SMALLER = "use smaller values"  # the advice in messages about overflow
MAX_INDICES = 2**31  # the largest `dim`

# A result that overflows raises an error, so NumPy's warnings would repeat it.
without_warnings = np.errstate(all="ignore")


def _cached(build: Callable) -> Callable:
    """Decorate a function (dim, order) that builds a table with an entry in each row.

    The decorated function checks its arguments and the free memory. It caches the
    MAX_CACHED_TABLES tables of at most MAX_CACHED_ROWS rows that were used last. It
    builds longer tables at each call.
    """
    cached = lru_cache(maxsize=MAX_CACHED_TABLES)(build)

    @wraps(build)
    def table(dim: int, order: int) -> np.ndarray:
        dim, order = _sizes(dim, order)
        rows = entries(dim, order)
        validation.memory(
            f"dim = {dim}, order = {order}", 8 * order * rows, "take a lower order"
        )
        return (cached if rows <= MAX_CACHED_ROWS else build)(dim, order)

    return table


def _sizes(dim: int, order: int) -> tuple[int, int]:
    """Return `dim` and `order` as integers.

    Raise a TypeError if one is not an integer, and a ValueError if `dim` is not from 1
    to MAX_INDICES or `order` not from 0 to 20.
    """
    dim = validation.integer("dim", dim, minimum=1, limit=MAX_INDICES)
    return dim, validation.integer(
        "order", order, minimum=0, limit=validation.TENSOR_ORDER
    )


def _frozen(array: np.ndarray) -> np.ndarray:
    """Make an array read-only, and return it."""
    array.flags.writeable = False
    return array


def packed_size(dim: int, order: int) -> int:
    """Return the number of independent entries of a symmetric tensor.

    It is the binomial coefficient C(dim + order - 1, order).

    Parameters
    ----------
    dim : int
        The number of values of each index, from 1 to 2^31.
    order : int
        The number of indices, from 0 to 20.

    Returns
    -------
    int
        The number of entries.

    Raises
    ------
    TypeError
        If an argument is not an integer.
    ValueError
        If an argument is out of range.

    Examples
    --------
    >>> packed_size(64, 5)
    10424128
    """
    return entries(*_sizes(dim, order))


@lru_cache(maxsize=1024)
def entries(dim: int, order: int) -> int:
    """Return C(dim + order - 1, order), the number of entries of a packed tensor.

    The arguments are not checked. For dim = 0 the number is 1 if order = 0, else 0.
    """
    return comb(max(dim + order - 1, 0), order)


def tail_starts(dim: int, order: int) -> NDArray[np.int64]:
    """Return the position at which each tail of a packed tensor begins.

    Tail `a` has the entries whose indices are all >= a, and extends to the end.

    Parameters
    ----------
    dim : int
        The number of values of each index, from 1 to 2^31.
    order : int
        The number of indices, from 0 to 20.

    Returns
    -------
    ndarray of int64, shape (dim + 1,)
        The positions for a = 0, 1, .., dim, read-only. For order >= 1 the last is
        the number of entries. For order 0 all are 0.

    Raises
    ------
    TypeError
        If an argument is not an integer.
    ValueError
        If an argument is out of range, the array does not fit in memory, or a position
        overflows int64.

    Notes
    -----
    Slab `a` of a tensor of order n, the entries with smallest index `a`, is
    ``packed[starts[a]:starts[a + 1]]`` with ``starts = tail_starts(dim, n)``. Its
    entries without the index `a` have the same index tuples, in the same order, as
    ``lower[starts[a]:]`` with a packed tensor ``lower`` of order n - 1 and
    ``starts = tail_starts(dim, n - 1)``.

    Examples
    --------
    >>> tail_starts(3, 2)                        # 00 01 02 | 11 12 | 22 |
    array([0, 3, 5, 6])
    """
    return _tail_starts(*_sizes(dim, order))


@lru_cache(maxsize=256)
def _tail_starts(dim: int, order: int) -> np.ndarray:
    """Return `tail_starts` of arguments that have been checked."""
    validation.memory(f"dim = {dim}", 64 * dim, "use a smaller dim")
    if entries(dim, order) >= 2**63:
        raise ValueError(
            f"dim = {dim}, order = {order}: the number of entries overflows int64"
        )
    starts = [entries(dim, order) - entries(dim - a, order) for a in range(dim + 1)]
    return _frozen(np.array(starts, dtype=np.int64))


@_cached
def index_table(dim: int, order: int) -> NDArray[np.int32]:
    """Return the sorted index tuples of all entries of a packed tensor, in their order.

    Parameters
    ----------
    dim : int
        The number of values of each index, from 1 to 2^31.
    order : int
        The number of indices, from 0 to 20.

    Returns
    -------
    ndarray of int32, shape (C(dim + order - 1, order), order)
        One tuple in each row, read-only. C is the binomial coefficient.

    Raises
    ------
    TypeError
        If an argument is not an integer.
    ValueError
        If an argument is out of range or the table does not fit in memory.

    Examples
    --------
    >>> index_table(2, 3).tolist()
    [[0, 0, 0], [0, 0, 1], [0, 1, 1], [1, 1, 1]]
    """
    table = np.empty((entries(dim, order), order), dtype=np.int32)
    if order:
        tails, starts = index_table(dim, order - 1), _tail_starts(dim, order - 1)
        table[:, 0] = np.repeat(np.arange(dim), np.diff(_tail_starts(dim, order)))
        np.concatenate([tails[start:] for start in starts[:-1]], out=table[:, 1:])
    return _frozen(table)


def packed_position(dim: int, indices: ArrayLike) -> NDArray[np.int64]:
    """Return the position of index tuples in a packed tensor.

    Parameters
    ----------
    dim : int
        The number of values of each index, from 1 to 2^31.
    indices : array_like of int, shape (..., order)
        Index tuples. Each must be sorted and have entries from 0 to dim - 1, which is
        not checked.

    Returns
    -------
    ndarray of int64, shape (...)
        The position of each tuple in the lexicographic order of all sorted tuples.

    Raises
    ------
    TypeError
        If `dim` is not an integer.
    ValueError
        If `dim` or the order is out of range, or a position overflows int64.

    Examples
    --------
    >>> packed_position(64, [[0, 0, 0], [0, 0, 1], [63, 63, 63]])
    array([    0,     1, 45759])
    """
    indices = np.asarray(indices, dtype=np.int64)
    dim, order = _sizes(dim, indices.shape[-1])
    position = np.zeros(indices.shape[:-1], dtype=np.int64)
    for k in range(order):
        # Slab `a` begins at tail_starts(dim, order - k)[a]. The position of the other
        # indices is added to it. In a tensor of one order less this position is counted
        # from 0, but tail `a` begins at tail_starts(dim, order - k - 1)[a].
        shift = _tail_starts(dim, order - k) - _tail_starts(dim, order - k - 1)
        position += shift[indices[..., k]]
    return position


def _slabs(dim: int, order: int) -> Iterator[tuple[int, slice, slice, np.ndarray]]:
    """Yield (a, slab, tail, multiplicities) for a = 0, .., dim - 1.

    The order is at least 1. `slab` is the slice of a packed tensor of this order with
    the entries whose smallest index is a. `tail` is the slice of a packed tensor of
    order - 1 with the entries whose indices are all >= a. `multiplicities` counts, for
    each entry of the slab, the distinct permutations of its indices. It is computed
    from the table of order - 1, because the table of this order may be too long to
    cache.
    """
    heads = _tail_starts(dim, order).tolist()
    tails = _tail_starts(dim, order - 1).tolist()
    lower = multiplicities(dim, order - 1)
    for a in range(dim):
        # The multiplicity is order! / (m_1! m_2! ..), where m_1, m_2, .. count the
        # equal indices. One more index a multiplies it by the new order and divides it
        # by the new count of a. The first entries(dim - a, n) tuples of slab `a` have a
        # count of at least order - n.
        counts = order * lower[tails[a] :]
        start = 0
        for n in range(order - 1):
            end = entries(dim - a, n)
            counts[start:end] //= order - n
            start = end
        yield a, slice(heads[a], heads[a + 1]), slice(tails[a], None), counts


@_cached
def multiplicities(dim: int, order: int) -> NDArray[np.int64]:
    """Return the number of index tuples that each packed entry represents.

    A packed entry of a tensor of order n represents all distinct permutations of its n
    indices. There are n! / (m_1! m_2! ..), where m_1, m_2, .. count its equal indices.
    The multiplicities of all entries add up to dim**n.

    Parameters
    ----------
    dim : int
        The number of values of each index, from 1 to 2^31.
    order : int
        The number of indices, from 0 to 20.

    Returns
    -------
    ndarray of int64, shape (C(dim + order - 1, order),)
        The multiplicities in packed order, read-only. C is the binomial coefficient.

    Raises
    ------
    TypeError
        If an argument is not an integer.
    ValueError
        If an argument is out of range or the table does not fit in memory.

    Examples
    --------
    >>> multiplicities(2, 3)
    array([1, 3, 3, 1])
    """
    if order == 0:
        return _frozen(np.ones(1, dtype=np.int64))
    return _frozen(np.concatenate([counts for *_, counts in _slabs(dim, order)]))


def monomials(x: Floats, order: int) -> Floats:
    """Return all products x_i x_j .. of `order` coordinates of points.

    `x` has shape (n, dim), with one point in each row. The result has shape
    (n, C(dim + order - 1, order)), with one product i <= j <= .. in each column, in
    packed order. C is the binomial coefficient. For `order` 0 all products are 1.

    Examples
    --------
    >>> monomials(np.array([[2.0, 3.0]]), 2)
    array([[4., 6., 9.]])
    """
    products = np.ones((len(x), 1))
    for k in range(order):
        starts = _tail_starts(x.shape[1], k)
        products = np.concatenate(
            [x[:, a : a + 1] * products[:, starts[a] :] for a in range(x.shape[1])],
            axis=1,
        )
    return products


@_cached
def joined_positions(dim: int, order: int) -> NDArray[np.int64]:
    """Return the packed positions of all index tuples with one more index.

    Entry [t, i] of the result is the packed position, in a tensor of order `order`, of
    the tuple number t of `order` - 1 indices together with the index i. The result is
    an int64 array of shape (C(dim + order - 2, order - 1), dim), with the binomial
    coefficient C. `order` is at least 1.

    Examples
    --------
    >>> joined_positions(2, 2)                   # 0 with 0 and 1, 1 with 0 and 1
    array([[0, 1],
           [1, 2]])
    """
    shift = _tail_starts(dim, order) - _tail_starts(dim, order - 1)
    # These positions are right where i <= all indices of the tuple.
    table = np.arange(entries(dim, order - 1))[:, None] + shift[:dim]
    if order > 1:
        starts, tails = _tail_starts(dim, order - 1), _tail_starts(dim, order - 2)
        shorter = joined_positions(dim, order - 1)
        for a in range(dim):
            # The smallest index remains `a`, and i joins the other indices of the tuple
            np.add(
                shorter[tails[a] :, a + 1 :],
                shift[a],
                out=table[starts[a] : starts[a + 1], a + 1 :],
            )
    return table  # not frozen: `take` copies a read-only table at each call


@dataclass(frozen=True, eq=False, repr=False)
class SymmetricTensor:
    """A symmetric tensor T_{ij..k} that stores each independent entry once.

    Parameters
    ----------
    order : int
        The number of indices, from 0 to 20.
    dim : int
        The number of values of each index, from 1 to 2^31.
    packed : array_like of float, shape (C(dim + order - 1, order), ...)
        The entries with i <= j <= .. <= k in lexicographic order, where C is the
        binomial coefficient. They must be finite. More axes may follow, for example of
        a batch or of several outputs. Each position on these axes holds one tensor.

    Raises
    ------
    TypeError
        If an argument has the wrong type.
    ValueError
        If `order` or `dim` is out of range, or `packed` has another number of entries
        or is not finite.

    Notes
    -----
    ``t[i, j, k]`` returns one entry, or an array if `packed` has more axes. The indices
    may be in any order, and negative indices count from the end as in NumPy. An index
    out of range or another number of indices raises an IndexError. Tensors with equal
    `order`, `dim` and shape of `packed` can be added and subtracted, and a tensor can
    be multiplied or divided by a number. A result that overflows float64 raises a
    ValueError. The relative error of a tensor ``learned`` is
    ``(learned - exact).norm() / exact.norm()``.

    Examples
    --------
    >>> t = SymmetricTensor(2, 2, [1.0, 2.0, 5.0])
    >>> t.full()
    array([[1., 2.],
           [2., 5.]])
    >>> float(t[1, 0]), float(t.contract([1.0, -1.0])), float(t.norm())**2
    (2.0, 2.0, 34.0)
    """

    order: int
    dim: int
    packed: Floats

    # With this line, NumPy number * tensor calls __rmul__ of the tensor.
    __array_ufunc__ = None
    # Without this line, iteration over a tensor would return t[0], t[1], ..
    __iter__ = None

    def __post_init__(self) -> None:
        dim, order = _sizes(self.dim, self.order)
        packed = validation.real_array("packed", self.packed)
        size = entries(dim, order)
        if len(packed) != size:
            raise ValueError(
                f"packed: has {len(packed)} entries; must have {size}, for order "
                f"{order} and dim {dim}"
            )
        self.__dict__.update(
            order=order, dim=dim, packed=validation.frozen_copy(packed)
        )

    @classmethod
    def _owning(cls, order: int, dim: int, packed: Floats) -> "SymmetricTensor":
        """Return a tensor that refers to the given packed array.

        The array is neither copied nor checked. It must be finite, and no other code
        may write to it.
        """
        tensor = object.__new__(cls)
        tensor.__dict__.update(order=order, dim=dim, packed=_frozen(packed.view()))
        return tensor

    def __repr__(self) -> str:
        shape = self.packed.shape
        return (
            f"SymmetricTensor(order={self.order}, dim={self.dim}, "
            f"packed of shape {shape})"
        )

    def __getitem__(self, indices: int | tuple[int, ...]) -> Any:
        indices = indices if isinstance(indices, tuple) else (indices,)
        if len(indices) != self.order:
            raise IndexError(
                f"indices = {validation.brief(indices)}: must be {self.order} indices, "
                f"as the tensor has order {self.order}"
            )
        try:
            # range counts negative indices from the end
            ordered = sorted(range(self.dim)[i] for i in indices)
        except IndexError:
            raise IndexError(
                f"indices = {validation.brief(indices)}: each must be from "
                f"{-self.dim} to {self.dim - 1}"
            ) from None
        return self.packed[packed_position(self.dim, ordered)]

    def __add__(self, other: "SymmetricTensor") -> "SymmetricTensor":
        if not isinstance(other, SymmetricTensor):
            return NotImplemented
        if (self.order, self.dim, self.packed.shape) != (
            other.order,
            other.dim,
            other.packed.shape,
        ):
            raise ValueError(f"other = {other!r}: must have the shape of {self!r}")
        return self._applied("other", np.add, other.packed)

    def __sub__(self, other: "SymmetricTensor") -> "SymmetricTensor":
        if not isinstance(other, SymmetricTensor):
            return NotImplemented
        return self + other * -1.0

    def __mul__(self, factor: float) -> "SymmetricTensor":
        return self._scaled(np.multiply, factor)

    __rmul__ = __mul__

    def __truediv__(self, factor: float) -> "SymmetricTensor":
        return self._scaled(np.divide, factor)

    def _scaled(self, how: np.ufunc, factor: Any) -> "SymmetricTensor":
        """Return how(tensor, factor), where `how` is np.multiply or np.divide.

        Return NotImplemented if `factor` is not a real number. Raise a ValueError if it
        is not finite or if an entry of the result overflows float64.
        """
        if not isinstance(factor, Real):
            return NotImplemented
        return self._applied(
            f"factor = {factor}", how, validation.number("factor", factor)
        )

    @without_warnings
    def _applied(
        self, name: str, how: np.ufunc, other: Floats | float
    ) -> "SymmetricTensor":
        """Return the tensor with the packed entries how(self.packed, other).

        `other` is a number, or an array of the shape of `packed`. Raise a ValueError
        that begins with `name` if an entry of the result is not finite.
        """
        packed = validation.representable(name, how(self.packed, other), SMALLER)
        return self._owning(self.order, self.dim, packed)

    def full(self) -> Floats:
        """Return an array of all entries, with one axis for each index.

        Returns
        -------
        ndarray of float64, shape (dim, .., dim, ...)
            One axis for each index, then the axes of `packed` after the first.

        Raises
        ------
        ValueError
            If twice the memory of the result is more than is free.

        Examples
        --------
        >>> SymmetricTensor(2, 2, [1.0, 2.0, 5.0]).full()
        array([[1., 2.],
               [2., 5.]])
        """
        validation.memory(
            "full",
            16 * self.dim**self.order * self.packed[0].size,
            "use .packed or .contract",
        )
        packed = self.packed if self.order > 1 else self.packed.copy()
        full = _unpacked(packed, self.dim, self.order)
        return full.reshape((self.dim,) * self.order + self.packed.shape[1:])

    @without_warnings
    def norm(self) -> Any:
        """Return the Frobenius norm, the root of the sum of all dim**order squares.

        Returns
        -------
        float or ndarray of float64
            The norm of each tensor, with the axes of `packed` after the first.

        Raises
        ------
        ValueError
            If the norm overflows float64.

        Examples
        --------
        >>> float(SymmetricTensor(1, 2, [3.0, 4.0]).norm())
        5.0
        """
        if self.order == 0:
            return np.abs(self.packed[0])
        # The entries are divided by the largest one before they are squared, because
        # the square of an entry may overflow or underflow.
        largest = np.abs(self.packed).max() or 1.0
        columns = self.packed.reshape(len(self.packed), -1)
        squares = 0.0
        for _, slab, _, counts in _slabs(self.dim, self.order):
            squares += np.dot(counts, (columns[slab] / largest) ** 2)
        norm = validation.representable("packed", largest * np.sqrt(squares), SMALLER)
        return norm.reshape(self.packed.shape[1:])[()]

    @without_warnings
    def contract(self, x: ArrayLike, free: int = 0) -> Any:
        r"""Contract the tensor with a point x in all indices but the last `free` ones.

        Parameters
        ----------
        x : array_like of float, shape (..., dim)
            The point, or a batch of points. They must be finite.
        free : int
            The number of indices that remain, from 0 to `order`.

        Returns
        -------
        float or ndarray of float64, shape (..., dim, .., dim, ...)
            The axes of `x` except the last, then one axis for each remaining index,
            then the axes of `packed` after the first.

        Raises
        ------
        TypeError
            If x does not hold real numbers or `free` is not an integer.
        ValueError
            If x has another shape or is not finite, `free` is out of range, the result
            does not fit in memory, or a result overflows float64.

        Notes
        -----
        For a tensor T of order n and k = `free`, the result is

        .. math:: \sum_{i_1 \dots i_{n-k}} T_{i_1 \dots i_n} x_{i_1} \cdots x_{i_{n-k}}

        The array of all dim^n entries is not built. If indices remain, the tensor
        object stores a matrix for later calls. It has C(dim + n - k - 1, n - k) rows
        and C(dim + k - 1, k) columns, with the binomial coefficient C, times the number
        of tensors in `packed`.

        Examples
        --------
        >>> cube = SymmetricTensor(3, 2, [1.0, 0.0, 0.0, 1.0])
        >>> cube.contract([[1.0, 2.0], [3.0, 0.0]])
        array([ 9., 27.])
        >>> cube.contract([1.0, 2.0], free=2)
        array([[1., 0.],
               [0., 2.]])
        """
        x = validation.real_array("x", x, last=self.dim)
        free = validation.integer("free", free, minimum=0, maximum=self.order)
        points = x.reshape(-1, self.dim)
        if free or self.order == 0:
            values = self._contract_some(points, free)
        else:
            values = self._contract_all(points)
        shape = x.shape[:-1] + (self.dim,) * free + self.packed.shape[1:]
        return validation.representable("x", values, SMALLER).reshape(shape)[()]

    def _contract_all(self, points: Floats) -> Floats:
        """Contract all indices with each of n points. The order is at least 1.

        `points` has shape (n, dim). The result has shape (n, m) for the m tensors in
        `packed`. Each slab of `packed` takes one matrix product with the products of
        order - 1 coordinates of the points.
        """
        columns = self.packed.reshape(len(self.packed), -1)
        values = np.zeros((len(points), columns.shape[1]))
        rows = CHUNK_BYTES // (8 * entries(self.dim, self.order - 1))
        for part in chunks.slices(len(points), rows):
            factors, sums = points[part], values[part]
            products = monomials(factors, self.order - 1)
            for a, slab, tail, counts in _slabs(self.dim, self.order):
                weighted = columns[slab] * counts[:, None]
                sums += factors[:, a : a + 1] * (products[:, tail] @ weighted)
        return values

    def _contract_some(self, points: Floats, free: int) -> Floats:
        """Contract all indices but the last `free` ones with each of n points.

        `points` has shape (n, dim). The result has shape (n, dim, .., dim, m), with one
        axis for each free index, for the m tensors in `packed`.
        """
        contracted, dim = self.order - free, self.dim
        each = entries(dim, contracted) + dim**free * self.packed[0].size
        validation.memory("x", 8 * len(points) * each, "contract fewer points")
        products = monomials(points, contracted) @ self._matrix(free)
        packed = products.T.reshape(entries(dim, free), -1, len(points))
        # The points are the last axis in memory, so that `_unpacked` copies long rows.
        # The last bits of a product with the result depend on this layout.
        return np.moveaxis(_unpacked(packed, dim, free), -1, 0)

    def _matrix(self, free: int) -> Floats:
        """Return the matrix that contracts all indices but the last `free` ones.

        For points x, monomials(x, order - free) @ matrix has the packed entries of the
        contracted tensors of order `free`. Its rows are the packed entries of order
        order - free. Its columns are those of order `free`, each for all tensors in
        `packed`. The matrix is stored in this object, because a tensor is often
        contracted many times.
        """
        matrices = self.__dict__.setdefault("_matrices", {})
        if free not in matrices:
            contracted = self.order - free
            positions = np.arange(entries(self.dim, contracted))[:, None]
            for k, indices in enumerate(index_table(self.dim, free).T, 1):
                joined = joined_positions(self.dim, contracted + k)
                positions = joined[positions, indices]
            matrix = self.packed[positions].reshape(len(positions), -1)
            counts = multiplicities(self.dim, contracted)
            matrices[free] = matrix * counts[:, None]
        return matrices[free]


def _unpacked(packed: Floats, dim: int, order: int) -> Floats:
    """Replace the first axis, of packed entries, by one axis for each index.

    `order` is the number of indices, each from 0 to dim - 1. For `order` 0 and 1 the
    array is returned unchanged, for 0 with its first axis of length 1.
    """
    # Step k replaces the axis of packed entries of order k by two axes: of packed
    # entries of order k - 1, and of one index. Each step copies longer rows than the
    # step before, which is fast.
    for k in range(order, 1, -1):
        positions = joined_positions(dim, k)
        # `take` is faster, but it first copies an array that is not contiguous.
        contiguous = packed.flags.c_contiguous
        packed = packed.take(positions, axis=0) if contiguous else packed[positions]
    return packed
