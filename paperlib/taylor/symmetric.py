"""Store symmetric tensors packed, with each independent entry once.

A symmetric tensor of order n over `dim` indices has C(dim + n - 1, n) independent
entries T_{ij..k} with i <= j <= .. <= k. They are packed in lexicographic order of
their sorted indices. The entries with smallest index `a` are therefore contiguous and
form one *slab*. Slab `a` has the index tuples of a tensor of order n - 1 over the
indices >= a, which are the *tail* of the packing of order n - 1. The computations run
over slabs, and only `SymmetricTensor.full` builds an array of dim**n entries.
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

MAX_CACHED_ROWS = 2**18
MAX_CACHED_TABLES = 32
CHUNK_BYTES = 2**25
SMALLER = "scale it"
MAX_INDICES = 2**31

# A result that overflows raises an error, so NumPy's warnings would repeat it.
without_warnings = np.errstate(all="ignore")


def _cached(build: Callable) -> Callable:
    """Check the arguments of a function that builds a table, and cache its results.

    The last MAX_CACHED_TABLES tables of at most MAX_CACHED_ROWS rows are cached. Longer
    tables are built at each call.
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
    dim = validation.integer("dim", dim, minimum=1, limit=MAX_INDICES)
    return dim, validation.integer(
        "order", order, minimum=0, limit=validation.TENSOR_ORDER
    )


def _frozen(array: np.ndarray) -> np.ndarray:
    array.flags.writeable = False
    return array


def packed_size(dim: int, order: int) -> int:
    """Return the number of independent entries, C(dim + order - 1, order).

    Parameters
    ----------
    dim : int
        Range of each index, positive.
    order : int
        Number of indices, from 0 to 20.

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
    """Return `packed_size` without checks. For dim = 0 it is 1 if order = 0, else 0."""
    return comb(max(dim + order - 1, 0), order)


def tail_starts(dim: int, order: int) -> NDArray[np.int64]:
    """Return the position of the first entry with smallest index >= a, for every a.

    Parameters
    ----------
    dim : int
        Range of each index, positive.
    order : int
        Number of indices, from 0 to 20.

    Returns
    -------
    ndarray of int64, shape (dim + 1,)
        The positions for a = 0, 1, .., dim, read-only.

    Raises
    ------
    TypeError
        If an argument is not an integer.
    ValueError
        If an argument is out of range, the array does not fit in memory, or a position
        overflows int64.

    Notes
    -----
    Slab `a` of a tensor of order n is ``starts[a]:starts[a + 1]`` with ``starts =
    tail_starts(dim, n)``. Its entries correspond one by one to the tail ``starts[a]:``
    with ``starts = tail_starts(dim, n - 1)``.

    Examples
    --------
    >>> tail_starts(3, 2)                        # 00 01 02 | 11 12 | 22 |
    array([0, 3, 5, 6])
    """
    return _tail_starts(*_sizes(dim, order))


@lru_cache(maxsize=256)
def _tail_starts(dim: int, order: int) -> np.ndarray:
    validation.memory(f"dim = {dim}", 64 * dim, "take a smaller one")
    if entries(dim, order) >= 2**63:
        raise ValueError(
            f"dim = {dim}, order = {order}: more entries than an int64 counts"
        )
    starts = [entries(dim, order) - entries(dim - a, order) for a in range(dim + 1)]
    return _frozen(np.array(starts, dtype=np.int64))


@_cached
def index_table(dim: int, order: int) -> NDArray[np.int32]:
    """Return the sorted index tuples in packed order.

    Parameters
    ----------
    dim : int
        Range of each index, positive.
    order : int
        Number of indices, from 0 to 20.

    Returns
    -------
    ndarray of int32, shape (C(dim + order - 1, order), order)
        One tuple per row, read-only.

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
    """Return the packed positions of index tuples.

    Parameters
    ----------
    dim : int
        Range of each index, positive.
    indices : array_like of int, shape (..., order)
        Index tuples, each sorted and with entries in ``range(dim)``. Neither is
        checked.

    Returns
    -------
    ndarray of int64, shape (...)
        The position of each tuple in the packed order.

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
        # Slab `a` begins at starts[a]. The remaining indices are counted from the
        # beginning of the packing of the order below, where the tail of `a` does not
        # begin at 0.
        shift = _tail_starts(dim, order - k) - _tail_starts(dim, order - k - 1)
        position += shift[indices[..., k]]
    return position


def _slabs(dim: int, order: int) -> Iterator[tuple[int, slice, slice, np.ndarray]]:
    """Yield (a, slab, tail, multiplicities of the slab's entries) for each index a.

    `slab` and `tail` are slices of the packing of this order and of the order below.
    The multiplicities are computed slab by slab from those of the order below, because
    the table of this order may be too long to cache.
    """
    heads = _tail_starts(dim, order).tolist()
    tails = _tail_starts(dim, order - 1).tolist()
    lower = multiplicities(dim, order - 1)
    for a in range(dim):
        # An index that joins the others multiplies n! / (m_1! m_2! ..) by the new order
        # and divides it by the new number of repetitions of the index. The first
        # entries(dim - a, n) tuples of a slab repeat `a` at least order - n times.
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

    An entry of order n whose sorted indices repeat m_1, m_2, .. times represents
    n! / (m_1! m_2! ..) of the dim**n index tuples.

    Parameters
    ----------
    dim : int
        Range of each index, positive.
    order : int
        Number of indices, from 0 to 20.

    Returns
    -------
    ndarray of int64, shape (C(dim + order - 1, order),)
        The multiplicities in packed order, read-only.

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
    """Return all products x_i x_j .. of `order` factors, in packed order.

    The points x have shape (n, dim), the result has shape
    (n, C(dim + order - 1, order)).

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
    """Return the packed position of every index tuple that is joined by one more index.

    The rows are the sorted tuples of `order` - 1 indices in packed order, the columns
    the joining index. The result is an int64 array of shape
    (C(dim + order - 2, order - 1), dim).

    Examples
    --------
    >>> joined_positions(2, 2)                   # 0 with 0 and 1, 1 with 0 and 1
    array([[0, 1],
           [1, 2]])
    """
    shift = _tail_starts(dim, order) - _tail_starts(dim, order - 1)
    # These positions are right where the joining index is the smallest.
    table = np.arange(entries(dim, order - 1))[:, None] + shift[:dim]
    if order > 1:
        starts, tails = _tail_starts(dim, order - 1), _tail_starts(dim, order - 2)
        shorter = joined_positions(dim, order - 1)
        for a in range(dim):
            # The smallest index remains `a`, and the index joins the other indices.
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
        Number of indices, from 0 to 20. Multiplicities, which are at most order!, are
        counted in int64.
    dim : int
        Range of each index, positive.
    packed : array_like of float, shape (C(dim + order - 1, order), ...)
        Entries with i <= j <= .. <= k in lexicographic order, finite. Each position on
        the trailing axes holds one tensor, for example of a batch or of several
        outputs.

    Raises
    ------
    TypeError
        If an argument has the wrong type.
    ValueError
        If `order` or `dim` is out of range, or `packed` has another number of entries
        or is not finite.

    Notes
    -----
    ``t[i, j, k]`` returns one entry. The indices may be in any order, negative indices
    count from the end as in NumPy, and an index out of range raises an IndexError.
    Tensors of the same shape can be added and subtracted, and a tensor can be
    multiplied or divided by a number. The relative error of a learned tensor is
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

    # A NumPy number on the left must leave the product to __rmul__.
    __array_ufunc__ = None
    # Without this line, iteration would try t[0], t[1], ..
    __iter__ = None

    def __post_init__(self) -> None:
        dim, order = _sizes(self.dim, self.order)
        packed = validation.real_array("packed", self.packed)
        size = entries(dim, order)
        if len(packed) != size:
            raise ValueError(
                f"packed: {len(packed)} entries; "
                f"order {order} over {dim} indices has {size}"
            )
        self.__dict__.update(
            order=order, dim=dim, packed=validation.frozen_copy(packed)
        )

    @classmethod
    def _owning(cls, order: int, dim: int, packed: Floats) -> "SymmetricTensor":
        """Wrap a packed array without a copy and without checks.

        The array must be finite, and no other code may write to it.
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
                f"{len(indices)} indices; "
                f"a tensor of order {self.order} takes {self.order}"
            )
        # range counts negative indices from the end, and raises the IndexError.
        ordered = sorted(range(self.dim)[i] for i in indices)
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
        if not isinstance(factor, Real):
            return NotImplemented
        return self._applied(
            f"factor = {factor}", how, validation.number("factor", factor)
        )

    @without_warnings
    def _applied(
        self, name: str, how: np.ufunc, other: Floats | float
    ) -> "SymmetricTensor":
        packed = validation.representable(name, how(self.packed, other), SMALLER)
        return self._owning(self.order, self.dim, packed)

    def full(self) -> Floats:
        """Return the array of all entries.

        Returns
        -------
        ndarray of float64, shape (dim, .., dim, ...)
            One axis per index, then the trailing axes of `packed`.

        Raises
        ------
        ValueError
            If less memory than twice that of the array is free.

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
        """Return the Frobenius norm over all dim**order entries.

        Returns
        -------
        float or ndarray of float64
            The norm, in the shape of the trailing axes of `packed`.

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
        # The squares are summed in units of the largest entry, because the square of an
        # entry may overflow or underflow.
        largest = np.abs(self.packed).max() or 1.0
        columns = self.packed.reshape(len(self.packed), -1)
        squares = 0.0
        for _, slab, _, counts in _slabs(self.dim, self.order):
            squares += np.dot(counts, (columns[slab] / largest) ** 2)
        norm = validation.representable("packed", largest * np.sqrt(squares), SMALLER)
        return norm.reshape(self.packed.shape[1:])[()]

    @without_warnings
    def contract(self, x: ArrayLike, free: int = 0) -> Any:
        r"""Contract all indices but the last `free` with x.

        Parameters
        ----------
        x : array_like of float, shape (..., dim)
            Points, finite.
        free : int
            Number of indices that remain, from 0 to `order`.

        Returns
        -------
        float or ndarray of float64, shape (..., dim, .., dim, ...)
            The axes of x except the last, one axis per remaining index, and the
            trailing axes of `packed`.

        Raises
        ------
        TypeError
            If x does not hold real numbers or `free` is not an integer.
        ValueError
            If x has another shape or is not finite, `free` is out of range, the result
            does not fit in memory, or a result overflows float64.

        Notes
        -----
        With k free indices of n, the result is

        .. math:: \sum_{i_1 \dots i_{n-k}} T_{i_1 \dots i_n} x_{i_1} \cdots x_{i_{n-k}}

        The full tensor is not built. If indices remain, the tensor caches a matrix of
        C(dim + n - k - 1, n - k) rows and C(dim + k - 1, k) columns.

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
        """Contract all indices with the points (n, dim); return shape (n, outputs).

        Each slab is one matrix product with the monomials of the order below.
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
        """Contract all but `free` indices with the points (n, dim).

        Return shape (n, dim, .., dim, outputs), with one axis per free index.
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
        """Return A such that monomials(x, order - free) @ A is the packed contraction.

        A has shape (entries of order - free, entries of order free * outputs). It is
        cached in the tensor, because a target is evaluated many times.
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
    """Replace the first axis, of packed entries, by one axis for each index."""
    # Each step separates the last of the sorted indices from the others. The rows that
    # it copies are longer than those of the step before.
    for k in range(order, 1, -1):
        positions = joined_positions(dim, k)
        # `take` is faster, but it first copies an array that is not contiguous.
        contiguous = packed.flags.c_contiguous
        packed = packed.take(positions, axis=0) if contiguous else packed[positions]
    return packed
