"""Straight-line programs: the centroid rule written out for the requested derivatives.

A program is a list of products of rows for each hidden layer. A row holds one number
for each neuron. A program depends on the request alone, so it is written once and
executed for every network and every centre, by NumPy (`executor`) or by a compiled loop
(`compiled.interpreter`). Large whole tensors are computed without a program, by matrix
products (`centroid`).

A derivative is named by a multi-index, the sorted numbers of its directions. A
direction is a unit vector or is given at each centre. Let z_B be the derivative of a
layer's pre-activations along B, [phi^(k)]_J that of phi^(k)(z) along J (Faà di Bruno),
and lambda_S that of the adjoint lambda = d output / d y along S. Then

    [phi^(k)]_J = sum over B of z_B [phi^(k+1)]_(J - B),
    [phi^(k)]_() = phi^(k)(z),
    L^(k)_J = sum over B of z_B L^(k+1)_(J - B)
            + sum over S of lambda_S [phi^(k)]_(J - S),
    L^(k)_() = lambda phi^(k)(z),

over the sub-indices B and S of J that contain its first index. Where equal indices
occur, a term has a binomial weight. A derivative I of order n >= 2 is L^(0)_I, summed
over all neurons of all layers, with |B| <= n/2 and |S| <= (n - 1)/2. The next layer
receives y_J = [phi]_J, the layer below lambda_S = W^T L^(1)_S. At the inputs this is
the gradient of the derivative S.

To add a kind of request, write three things. First, a NamedTuple beside `Derivatives`
and `Laplacian`; its fields must be hashable, because programs are cached. Second, a
function (request, run, first, last) that returns the `Program` of one layer: number the
layer's rows, write sums of products with a `_Writer`, and list the dot products whose
sum over all layers is the result; `program` calls it. Third, in `requests`, a key that
users' arguments are translated to, and its case in `translate`. The two executors read
nothing but `Program`, so they need no change.

References
----------
- Johnson, The Curious History of Faà di Bruno's Formula (2002):
  https://doi.org/10.1080/00029890.2002.11919857
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from itertools import combinations_with_replacement, product
from math import comb, prod
from typing import NamedTuple, TypeAlias

import numpy as np

Index: TypeAlias = tuple[int, ...]
# Two rows and the weight of their product. A row that vanishes is None.
Term: TypeAlias = tuple[int | None, int | None, float]
# Rows from ONWARD on are passed to the next layer. It exceeds any number of rows.
ONWARD = 2**40


def record(integers: str, numbers: str = "") -> np.dtype:
    """Return the dtype of a record; the names of its fields are separated by blanks."""
    fields = [(name, "i8") for name in integers.split()]
    fields += [(name, "f8") for name in numbers.split()]
    return np.dtype(fields)


PRODUCT = record("out left right first", "weight")
DOT = record("entry left right length", "weight")


class Derivatives(NamedTuple):
    """A request for derivatives along numbered directions, or for their gradients.

    `indices` lists multi-indices; an integer n stands for all of order n >= 2.
    `gradients` lists multi-indices S. The result is the gradient of the derivative S.
    """

    directions: int
    indices: tuple[Index, ...] | int = ()
    gradients: tuple[Index, ...] = ()

    def multi_indices(self) -> Sequence[Index]:
        """Return the multi-indices of `indices`; an integer is written out."""
        if isinstance(self.indices, int):
            return list(
                combinations_with_replacement(range(self.directions), self.indices)
            )
        return self.indices


class Laplacian(NamedTuple):
    """A request for the sum of second derivatives along the directions, to a power.

    With power 2 that sum is applied twice. Directions from `positive` on count with a
    minus sign.
    """

    directions: int
    positive: int
    power: int


Request: TypeAlias = Derivatives | Laplacian


@dataclass(frozen=True, eq=False, kw_only=True)
class Program:
    """The products of one hidden layer.

    The layer's own rows come first: phi to phi^(order), z, and the derivatives of z. A
    row of these is written for each of the first `received` derivatives from the layer
    below; the first layer writes `direction_rows`, one for each direction. Shared rows
    follow, which every layer overwrites: the adjoint and its derivatives, then sums.
    Rows from ONWARD on are passed to the next layer: upward y and its derivatives,
    downward those of lambda.

    Attributes
    ----------
    order : int
        The highest derivative of the activation.
    entries : int
        The number of derivatives in the result.
    received : int
        The number of derivatives of z that come from the layer below.
    direction_rows : tuple of int
        The row of the derivative of z along each direction.
    own_rows, rows : int
        The number of the layer's own rows, and of these and the shared rows.
    adjoints : int
        The number of shared rows that hold the adjoint and its derivatives.
    gradients : tuple of int
        The results among the rows passed downward, as offsets from ONWARD, at the first
        layer.
    forward_only : bool
        If true, the downward pass stops at the last hidden layer.
    up, down : ndarray of PRODUCT
        The products of each pass. A product adds weight * left * right to the row
        `out`, or sets that row if `first`.
    dots : ndarray of DOT
        The dot products over the neurons that are added to the result. A record stands
        for `length` dot products with consecutive entries and consecutive right rows.
    """

    order: int
    entries: int
    received: int
    direction_rows: Index
    own_rows: int
    rows: int
    adjoints: int = 1
    gradients: Index = ()
    forward_only: bool = False
    up: np.ndarray
    down: np.ndarray
    dots: np.ndarray


def _counts(available: Index, max_length: int) -> Iterator[Index]:
    """Yield how often each distinct entry occurs, for each sub-index of a multi-index.

    `available` holds the counts of the multi-index itself. A sub-index has at most
    `max_length` entries.
    """
    return (
        counts
        for counts in product(*(range(count + 1) for count in available))
        if sum(counts) <= max_length
    )


@lru_cache(maxsize=4096)
def _position_splits(pattern: Index, max_length: int) -> list[tuple[Index, Index, int]]:
    """Return the splits of `_splits` as positions in the multi-index.

    `pattern` holds, for each entry, the position of the first entry equal to it. Splits
    are the same for all multi-indices with the same pattern.
    """
    available = Counter(pattern[1:])
    splits = []
    for counts in _counts(tuple(available.values()), max_length - 1):
        taken = Counter(dict(zip(available, counts)))
        weight = prod(map(comb, available.values(), counts))
        left = tuple((available - taken).elements())
        splits.append(((0, *taken.elements()), left, weight))
    return splits


def _splits(index: Index, max_length: int) -> list[tuple[Index, Index, int]]:
    """Return (taken, left, weight) for each sub-index `taken` with the first entry.

    `taken` has at most `max_length` entries, `left` has all other entries, and `weight`
    is the number of ways to choose equal entries.
    """
    pattern = tuple(map(index.index, index))
    return [
        (tuple([index[i] for i in taken]), tuple([index[i] for i in left]), weight)
        for taken, left, weight in _position_splits(pattern, max_length)
    ]


def _sub_indices(indices: Iterable[tuple[Index, int]]) -> list[Index]:
    """Return the sub-indices of pairs (multi-index, maximal length), shortest first."""
    found = set()
    for index, max_length in indices:
        available = Counter(index)
        for counts in _counts(tuple(available.values()), max_length):
            found.add(tuple(Counter(dict(zip(available, counts))).elements()))
    return sorted(found, key=lambda index: (len(index), index))


def _all_indices(directions: int, max_length: int) -> list[Index]:
    """Return all multi-indices of at most `max_length` entries, shortest first."""
    return [
        index
        for length in range(max_length + 1)
        for index in combinations_with_replacement(range(directions), length)
    ]


@dataclass
class _Writer:
    """Write the products of one pass through a layer; each sum is formed once.

    `z` and `adjoint` map the multi-indices of derivatives that do not vanish to their
    rows. `rows` is the number of rows in use, hence the next free row.
    """

    z: dict[Index, int]
    adjoint: dict[Index, int]
    rows: int
    products: list[tuple] = field(default_factory=list)
    formed: dict[tuple, int | None] = field(default_factory=dict)

    def sum(self, terms: Iterable[Term], out: int | None = None) -> int | None:
        """Write a sum of products into row `out`, or into a free row.

        Return the row, or None if all terms vanish.
        """
        present = [term for term in terms if None not in term]
        if not present:
            return None
        if out is None:
            out = self.rows
            self.rows += 1
        for number, (left, right, weight) in enumerate(present):
            self.products.append((out, left, right, number == 0, weight))
        return out

    def row(self, k: int, index: Index, max_z: int, max_adjoint: int) -> int | None:
        """Return the row of L^(k)_J, which is written if it is not there yet.

        The row is that of [phi^(k)]_J if `max_adjoint` is negative. See `factors` for
        the arguments. Return None if the row vanishes.
        """
        if max_adjoint < 0 and not index:
            return k
        key = k, index, min(max_z, len(index)), min(max_adjoint, len(index))
        if key not in self.formed:
            self.formed[key] = self.sum(self.terms(k, index, max_z, max_adjoint))
        return self.formed[key]

    def terms(
        self, k: int, index: Index, max_z: int, max_adjoint: int
    ) -> Iterable[Term]:
        """Return the terms of `row`. The rows that they need are written first."""
        if not index:
            return [(self.adjoint[()], k, 1)]
        return [
            (left, self.row(*right), weight)
            for left, right, weight in self.factors(k, index, max_z, max_adjoint)
        ]

    def factors(
        self, k: int, index: Index, max_z: int, max_adjoint: int
    ) -> Iterator[tuple[int, tuple[int, Index, int, int], int]]:
        """Yield the terms of L^(k)_J as (left row, arguments of `row`, weight).

        Left rows are z_B with at most `max_z` indices in B, and lambda_S with at most
        `max_adjoint` indices in S.
        """
        for taken, left, weight in _splits(index, max_z):
            if taken in self.z:
                yield self.z[taken], (k + 1, left, max_z, max_adjoint), weight
        for taken, left, weight in _splits(index, max_adjoint):
            if taken in self.adjoint:
                yield self.adjoint[taken], (k, left, max_z, -1), weight


def _runs(dots: np.ndarray, max_length: int) -> np.ndarray:
    """Join dot products with consecutive entries and consecutive right rows.

    A run has at most `max_length` dot products. Runs with the same right rows follow
    one another, so that these rows stay in cache.
    """
    if not len(dots):
        return dots
    entry, left, right, _, weight = (dots[name] for name in DOT.names or ())
    dots = dots[np.lexsort((entry, weight, right - entry, left))]
    block, place = np.divmod(dots["right"] - right.min(), max_length)
    successor = dots[:-1].copy()
    successor["entry"] += 1
    successor["right"] += 1
    begins = np.ones(len(dots), bool)
    begins[1:] = (dots[1:] != successor) | (place[1:] == 0)
    first = np.flatnonzero(begins)
    runs = dots[first]
    runs["length"] = np.diff(first, append=len(dots))
    return runs[np.lexsort((runs["right"], runs["left"], block[first]))]


def programs(request: Request, run: int, depth: int) -> list[Program]:
    """Return the programs of all hidden layers; see `program`."""
    return [
        program(request, run, layer == 0, layer == depth - 1) for layer in range(depth)
    ]


@lru_cache(maxsize=128)
def program(
    request: Request, run: int, first: bool = False, last: bool = False
) -> Program:
    """Return the program of one hidden layer.

    Rows that vanish are left out: second derivatives of the first layer's z, and
    derivatives of the last layer's adjoint.

    Parameters
    ----------
    request : Derivatives or Laplacian
        The requested derivatives.
    run : int
        The largest number of dot products in one record of `Program.dots`.
    first, last : bool
        Whether the layer is the first hidden layer, and whether it is the last.

    Returns
    -------
    Program
    """
    if isinstance(request, Laplacian):
        return _laplacian_program(request, first, last)
    return _derivatives_program(request, run, first, last)


def _numbered(names: Iterable[Index], begin: int) -> dict[Index, int]:
    """Return the rows of distinct names, numbered from `begin` on."""
    return {name: row for row, name in enumerate(dict.fromkeys(names), begin)}


def _needed(request: Derivatives) -> tuple[list[Index], list[Index]]:
    """Return the multi-indices of the derivatives of z and of the adjoint.

    Each list is sorted by length, so that () comes first.
    """
    if isinstance(request.indices, int):  # every index up to a length is a sub-index
        lengths = request.indices // 2, (request.indices - 1) // 2
        half, fewer = (_all_indices(request.directions, length) for length in lengths)
        return half, fewer
    whole = [(index, len(index)) for index in request.gradients]
    half_lengths = [(index, len(index) // 2) for index in request.indices]
    fewer_lengths = [(index, (len(index) - 1) // 2) for index in request.indices]
    return (
        _sub_indices([*half_lengths, *whole]),
        _sub_indices([((), 0), *fewer_lengths, *whole]),
    )


def _derivatives_program(
    request: Derivatives, run: int, first: bool, last: bool
) -> Program:
    """Return a layer's program by the centroid rule; see `program`."""
    indices, gradients = request.multi_indices(), request.gradients
    order = max(
        max(map(len, indices), default=0), max(map(len, gradients), default=-1) + 1
    )
    needed, needed_adjoints = _needed(request)
    received = needed[1:]
    singles: list[Index] = [(i,) for i in range(request.directions)]
    z = _numbered([*received, *singles], order + 2)
    own_rows = order + 2 + len(z)
    adjoint = _numbered(needed_adjoints, own_rows)
    present_z = {single: z[single] for single in singles} if first else z
    present_adjoint = _numbered([()], own_rows) if last else adjoint

    up = _Writer(present_z, {}, own_rows)
    if not last:
        for out, index in enumerate(received, ONWARD + 1):
            up.sum(up.terms(0, index, len(index), -1), out)
    down = _Writer(present_z, present_adjoint, own_rows + len(adjoint))
    dots = _dots(down, indices, first)
    for out, index in enumerate(adjoint, ONWARD):
        if not first or index in gradients:
            down.sum(down.terms(1, index, len(index), len(index)), out)
    return Program(
        order=order,
        entries=len(indices),
        received=len(received),
        direction_rows=tuple(map(z.__getitem__, singles)),
        own_rows=own_rows,
        rows=max(up.rows, down.rows),
        adjoints=len(adjoint),
        gradients=tuple(map(needed_adjoints.index, gradients)),
        up=np.array(up.products, PRODUCT),
        down=np.array(down.products, PRODUCT),
        dots=_runs(dots, run),
    )


def _dots(down: _Writer, indices: Sequence[Index], first: bool) -> np.ndarray:
    """Return the dot products whose sum over all layers is each derivative."""
    needed = []
    for entry, index in enumerate(indices):
        # A first derivative is z_i lambda phi' at the first layer, and 0 elsewhere.
        max_z = max(len(index) // 2, int(first))
        factors = down.factors(0, index, max_z, (len(index) - 1) // 2)
        needed += [(entry, *factor) for factor in factors]
    # The right rows are written in the order of a tensor's entries, so that dot
    # products of one row with consecutive rows follow one another.
    keys = sorted(
        {right for _, _, right, _ in needed},
        key=lambda key: (-key[0], len(key[1]), key[1:]),
    )
    rows = {key: down.row(*key) for key in keys}
    dots = [
        (entry, left, rows[right], 1, weight)
        for entry, left, right, weight in needed
        if rows[right] is not None
    ]
    return np.array(dots, DOT)


@dataclass
class _LaplacianRows:
    """The derivatives of y for a Laplacian; rows are written when first needed.

    The name (p, i, ..) stands for the Laplacian applied p times to the derivative along
    i, ... With q = sum z_i^2 and c_i = sum_j z_ij z_j, and L, L_i, LL the Laplacian of
    z, its derivatives and its Laplacian,

        L y   = phi' L + phi'' q,
        y_ij  = phi' z_ij + phi'' z_i z_j,
        L y_i = phi' L_i + phi'' (z_i L + 2 c_i) + phi''' z_i q,
        LL y  = phi' LL + phi'' (L^2 + 4 sum z_i L_i + 2 sum z_ij^2)
              + phi''' (2 L q + 4 sum z_i c_i) + phi'''' q^2.

    `signs` holds the sign of each direction in the sums. Row k is phi^(k).
    """

    writer: _Writer
    signs: list[int]

    def z(self, laplacians: int, *index: int) -> int | None:
        """Return the row of a derivative of z, or None if it vanishes."""
        return self.writer.z.get((laplacians, *sorted(index)))

    @cached_property
    def q(self) -> int | None:
        """The row of q."""
        return self.writer.sum(
            (self.z(0, i), self.z(0, i), sign) for i, sign in enumerate(self.signs)
        )

    @cached_property
    def c(self) -> list[int | None]:
        """The row of each c_i."""
        return [
            self.writer.sum(
                (self.z(0, i, j), self.z(0, j), sign)
                for j, sign in enumerate(self.signs)
            )
            for i in range(len(self.signs))
        ]

    @cached_property
    def curved(self) -> list[int | None]:
        """The row of each phi'' z_i."""
        return [self.writer.sum([(self.z(0, i), 2, 1)]) for i in range(len(self.signs))]

    @cached_property
    def steep(self) -> int | None:
        """The row of phi''' q + phi'' L."""
        return self.writer.sum([(self.q, 3, 1), (self.z(1), 2, 1)])

    def terms(self, name: Index) -> list[Term]:
        """Return the terms of one derivative of y."""
        terms: list[Term] = [(self.z(*name), 1, 1)]
        match name:
            case (0, i, j):
                terms.append((self.z(0, i), self.curved[j], 1))
            case (1,):
                terms.append((self.q, 2, 1))
            case (1, i):
                terms += [(self.z(0, i), self.steep, 1), (self.c[i], 2, 2)]
            case (2,):
                terms += self._bilaplacian()
        return terms

    def _bilaplacian(self) -> list[Term]:
        """Return the terms of LL y without the first."""
        second: list[Term] = [(self.z(1), self.z(1), 1)]
        third: list[Term] = [(self.z(1), self.q, 2)]
        for i, j in combinations_with_replacement(range(len(self.signs)), 2):
            weight = (2 if i == j else 4) * self.signs[i] * self.signs[j]
            second.append((self.z(0, i, j), self.z(0, i, j), weight))
        for i, sign in enumerate(self.signs):
            second.append((self.z(1, i), self.z(0, i), 4 * sign))
            third.append((self.z(0, i), self.c[i], 4 * sign))
        fourth: list[Term] = [(self.q, self.q, 1)]
        sums = map(self.writer.sum, (second, third, fourth))
        return [(row, k, 1) for k, row in enumerate(sums, 2)]


def _laplacian_program(request: Laplacian, first: bool, last: bool) -> Program:
    """Return a layer's program by the forward Laplacian; see `program`.

    The Laplacian of z is carried forward as one more derivative; for power 2 also its
    derivatives, its own Laplacian, and all second derivatives of z.
    """
    order, directions = 2 * request.power, range(request.directions)
    singles: list[Index] = [(0, i) for i in directions]
    names: list[Index] = [*singles, (1,)]
    if request.power == 2:
        pairs = [(0, *pair) for pair in combinations_with_replacement(directions, 2)]
        names = [*singles, *pairs, (1,), *((1, i) for i in directions), (2,)]
    z = _numbered(names, order + 2)
    own_rows = order + 2 + len(z)
    present_z = {single: z[single] for single in singles} if first else z
    writer = _Writer(present_z, {}, own_rows + 1)
    signs = [1 if i < request.positive else -1 for i in directions]
    rows = _LaplacianRows(writer, signs)
    dots = []
    if last:
        dots = [(0, writer.sum(rows.terms(names[-1])), own_rows, 1, 1)]
    else:
        for out, name in enumerate(names, ONWARD + 1):
            writer.sum(rows.terms(name), out)
    products = np.array(writer.products, PRODUCT)
    return Program(
        order=order,
        entries=1,
        received=len(z),
        direction_rows=tuple(map(z.__getitem__, singles)),
        own_rows=own_rows,
        rows=writer.rows,
        forward_only=True,
        up=products[:0] if last else products,
        down=products if last else products[:0],
        dots=np.array(dots, DOT),
    )
