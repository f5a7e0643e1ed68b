"""Symmetric tensors, each entry stored once.

A symmetric tensor of order n over `dim` indices has C(dim + n - 1, n) independent entries T_{ij..k}, i <= j
<= .. <= k. They are packed in lexicographic order of their sorted indices, so the entries with smallest index
`a` are one *slab*, and a slab in turn holds the packed tensor of order n - 1 over the indices >= a, its
*tail*. Everything here goes slab by slab: only `SymmetricTensor.full` builds the dim**n array.
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

KEPT_ROWS = 2**18
KEPT_TABLES = 32
CHUNK_BYTES = 2**25
SMALLER = "scale it"
MOST_INDICES = 2**31

without_warnings = np.errstate(all="ignore")  # a result that overflows is an error


def _kept(build: Callable) -> Callable:
    """Keep the last KEPT_TABLES tables of at most KEPT_ROWS rows; longer ones are rebuilt."""
    cached = lru_cache(maxsize=KEPT_TABLES)(build)

    @wraps(build)
    def table(dim: int, order: int) -> np.ndarray:
        dim, order = _sizes(dim, order)
        rows = entries(dim, order)
        validation.memory(
            f"dim = {dim}, order = {order}", 8 * order * rows, "take a lower order"
        )
        return (cached if rows <= KEPT_ROWS else build)(dim, order)

    return table


def _sizes(dim: int, order: int) -> tuple[int, int]:
    dim = validation.integer("dim", dim, minimum=1, limit=MOST_INDICES)
    return dim, validation.integer(
        "order", order, minimum=0, limit=validation.TENSOR_ORDER
    )


def _frozen(array: np.ndarray) -> np.ndarray:
    array.flags.writeable = False
    return array


def packed_size(dim: int, order: int) -> int:
    """Return C(dim + order - 1, order), the number of independent entries; `order` from 0 to 20, as everywhere here.

    Examples
    --------
    >>> packed_size(64, 5)
    10424128
    """
    return entries(*_sizes(dim, order))


@lru_cache(maxsize=1024)
def entries(dim: int, order: int) -> int:
    """Return `packed_size` of arguments that are not checked. Over no index there is one entry of order 0, and no other."""
    return comb(max(dim + order - 1, 0), order)


def tail_starts(dim: int, order: int) -> NDArray[np.int64]:
    """Return the position of the first entry with smallest index >= a, for a = 0 .. dim; int64, shape (dim + 1,).

    Slab `a` of a tensor of order n is `starts[a]:starts[a + 1]` of `tail_starts(dim,
    n)`; it lines up entry by entry with the tail `starts[a]:` of `tail_starts(dim, n -
    1)`.

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


@_kept
def index_table(dim: int, order: int) -> NDArray[np.int32]:
    """Return the sorted index tuples in packed order; int32, shape (C(dim + order - 1, order), order), read-only.

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
    """Return the packed positions of index tuples (..., order); int64, shape (...).

    The tuples must be sorted, with entries in range(dim). Neither is checked.

    Examples
    --------
    >>> packed_position(64, [[0, 0, 0], [0, 0, 1], [63, 63, 63]])
    array([    0,     1, 45759])
    """
    indices = np.asarray(indices, dtype=np.int64)
    dim, order = _sizes(dim, indices.shape[-1])
    position = np.zeros(indices.shape[:-1], dtype=np.int64)
    for k in range(order):
        # The slab begins at starts[a], and its tail was counted from the start of a
        # lower order's packing.
        shift = _tail_starts(dim, order - k) - _tail_starts(dim, order - k - 1)
        position += shift[indices[..., k]]
    return position


def _slabs(dim: int, order: int) -> Iterator[tuple[int, slice, slice, np.ndarray]]:
    """Yield (a, slab, tail, multiplicities of the slab's entries). Only the table of the order below is needed."""
    heads, tails = (
        _tail_starts(dim, order).tolist(),
        _tail_starts(dim, order - 1).tolist(),
    )
    fewer = multiplicities(dim, order - 1)
    for a in range(dim):
        counts = order * fewer[tails[a] :]
        # The first entries(dim - a, n) index tuples of a slab repeat their first index
        # order - n times or more.
        start = 0
        for n in range(order - 1):
            end = entries(dim - a, n)
            counts[start:end] //= order - n
            start = end
        yield a, slice(heads[a], heads[a + 1]), slice(tails[a], None), counts


@_kept
def multiplicities(dim: int, order: int) -> NDArray[np.int64]:
    """Return the number of index tuples, of all dim**order, that each packed entry stands for; int64, (C(dim + order - 1, order),).

    The entry whose sorted indices repeat m_1, m_2, .. times stands for n! / (m_1! m_2!
    ..).

    Examples
    --------
    >>> multiplicities(2, 3)
    array([1, 3, 3, 1])
    """
    slabs = (
        [counts for *_, counts in _slabs(dim, order)]
        if order
        else [np.ones(1, dtype=np.int64)]
    )
    return _frozen(np.concatenate(slabs))


def monomials(x: Floats, order: int) -> Floats:
    """Return the products x_i x_j .. of `order` factors, i <= j <= .., packed: (n, dim) -> (n, C(dim + order - 1, order)).

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


@_kept
def joined_positions(dim: int, order: int) -> NDArray[np.int64]:
    """Return the packed position of each sorted tuple of `order` - 1 indices joined by an index; int64, shape (C', dim).

    Examples
    --------
    >>> joined_positions(2, 2)                   # 0 with 0 and 1, 1 with 0 and 1
    array([[0, 1],
           [1, 2]])
    """
    shift = _tail_starts(dim, order) - _tail_starts(dim, order - 1)
    # right where the index is the smallest
    table = np.arange(entries(dim, order - 1))[:, None] + shift[:dim]
    if order > 1:
        starts, tails = _tail_starts(dim, order - 1), _tail_starts(dim, order - 2)
        shorter = joined_positions(dim, order - 1)
        for a in range(dim):
            # The smallest index stays a, and the index joins the others.
            np.add(
                shorter[tails[a] :, a + 1 :],
                shift[a],
                out=table[starts[a] : starts[a + 1], a + 1 :],
            )
    return table  # not frozen: `take` copies a read-only table at each call


@dataclass(frozen=True, eq=False, repr=False)
class SymmetricTensor:
    """A symmetric tensor T_{ij..k} of any order, each independent entry stored once.

    Parameters
    ----------
    order : int
        Number of indices, from 0 to 20: an entry stands for up to n! index tuples,
        counted in int64.
    dim : int
        Range of each index, >= 1.
    packed : array_like of float, shape (C(dim + order - 1, order), ...)
        Entries with i <= j <= .. <= k, lexicographic. Further axes hold a tensor each
        (a batch, several outputs).

    Notes
    -----
    `t[i, j, k]` is one entry; the indices come in any order, negative ones count from
    the end as in NumPy, and an index out of range is an IndexError. Tensors of one
    shape add and subtract, and a number multiplies or divides one, so that the relative
    error of one that was learned is `(learned - exact).norm() / exact.norm()`.

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

    # A NumPy number on the left must leave the product to __rmul__
    __array_ufunc__ = None
    __iter__ = None  # else iteration would fall back on t[0], t[1], ..

    def __post_init__(self) -> None:
        dim, order = _sizes(self.dim, self.order)
        packed = validation.real_array("packed", self.packed)
        size = entries(dim, order)
        if len(packed) != size:
            raise ValueError(
                f"packed: {len(packed)} entries; order {order} over {dim} indices has {size}"
            )
        self.__dict__.update(
            order=order, dim=dim, packed=validation.frozen_copy(packed)
        )

    @classmethod
    def _owning(cls, order: int, dim: int, packed: Floats) -> "SymmetricTensor":
        """Wrap a packed array that is finite and that nothing else will write to, without a copy or a check."""
        tensor = object.__new__(cls)
        tensor.__dict__.update(order=order, dim=dim, packed=_frozen(packed.view()))
        return tensor

    def __repr__(self) -> str:
        return f"SymmetricTensor(order={self.order}, dim={self.dim}, packed of shape {self.packed.shape})"

    def __getitem__(self, indices: int | tuple[int, ...]) -> Any:
        indices = indices if isinstance(indices, tuple) else (indices,)
        if len(indices) != self.order:
            raise IndexError(
                f"{len(indices)} indices; a tensor of order {self.order} takes {self.order}"
            )
        return self.packed[
            packed_position(self.dim, sorted(range(self.dim)[i] for i in indices))
        ]

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
        return (
            self + other * -1.0
            if isinstance(other, SymmetricTensor)
            else NotImplemented
        )

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
        """Return the array of all entries, (dim, .., dim, ...). A ValueError if twice its memory is not free."""
        validation.memory(
            "full",
            16 * self.dim**self.order * self.packed[0].size,
            "use .packed or .contract",
        )
        full = self.packed if self.order > 1 else self.packed.copy()
        # The last of the sorted indices leaves them at each turn. Each turn copies
        # longer rows than the turn before.
        for order in range(self.order, 1, -1):
            full = full.take(joined_positions(self.dim, order), axis=0)
        return full.reshape((self.dim,) * self.order + self.packed.shape[1:])

    @without_warnings
    def norm(self) -> Any:
        """Return the Frobenius norm over all dim**order entries, in the shape of the trailing axes."""
        if self.order == 0:
            return np.abs(self.packed[0])
        # In units of the largest entry, whose square may be beyond what a double holds,
        # above or below.
        largest = np.abs(self.packed).max() or 1.0
        columns, squares = self.packed.reshape(len(self.packed), -1), 0.0
        for _, slab, _, counts in _slabs(self.dim, self.order):
            squares += np.dot(counts, (columns[slab] / largest) ** 2)
        return validation.representable(
            "packed", largest * np.sqrt(squares), SMALLER
        ).reshape(self.packed.shape[1:])[()]

    @without_warnings
    def contract(self, x: ArrayLike) -> Any:
        """Return the sum over all index tuples of T_{ij..k} x_i x_j .. x_k; x (..., dim) -> (...), then the trailing axes.

        One slab is one matrix product with the monomials of the order below, so no full
        tensor is built. A ValueError if a result overflows float64.

        Examples
        --------
        >>> SymmetricTensor(3, 2, [1.0, 0.0, 0.0, 1.0]).contract([[1.0, 2.0], [3.0, 0.0]])
        array([ 9., 27.])
        """
        x = validation.real_array("x", x, last=self.dim)
        points, columns = (
            x.reshape(-1, self.dim),
            self.packed.reshape(len(self.packed), -1),
        )
        values = np.zeros((len(points), columns.shape[1]))
        if self.order == 0:
            values += columns
        else:
            rows = CHUNK_BYTES // (8 * entries(self.dim, self.order - 1))
            for part in chunks.slices(len(points), rows):
                factors, sums = points[part], values[part]
                products = monomials(factors, self.order - 1)
                for a, slab, tail, counts in _slabs(self.dim, self.order):
                    weighted = columns[slab] * counts[:, None]
                    sums += factors[:, a : a + 1] * (products[:, tail] @ weighted)
        shape = x.shape[:-1] + self.packed.shape[1:]
        return validation.representable("x", values, SMALLER).reshape(shape)[()]
