"""Straight-line programs: the centroid rule written out for the derivatives that are requested.

A program is a list of products of rows for each hidden layer. A row holds one number
for each neuron. A program depends on the request alone, so it is written once and
executed for every network and every centre: by NumPy (`executor`) or by a compiled loop
(`interpreter`). Large whole tensors are computed without a program, by matrix products
(`centroid`).

A derivative is named by a multi-index, the sorted numbers of its directions. A
direction is a unit vector or is given at each centre. With z_B the derivative of a
layer's pre-activations along B, [phi^(k)]_J that of phi^(k)(z) along J (Faà di Bruno),
and lambda_S that of the adjoint lambda = d output / d y along S,

    [phi^(k)]_J = sum over B of z_B [phi^(k+1)]_(J - B),                             [phi^(k)]_() = phi^(k)(z),
    L^(k)_J     = sum over B of z_B L^(k+1)_(J - B) + over S of lambda_S [phi^(k)]_(J - S),   L^(k)_() = lambda phi^(k)(z),

over the sub-indices B and S of J that contain its first index. Where equal indices
occur, a term has a binomial weight. A derivative I of order n >= 2 is L^(0)_I, summed
over all neurons of all layers, with |B| <= n/2 and |S| <= (n - 1)/2. The next layer
receives y_J = [phi]_J, the layer below lambda_S = W^T L^(1)_S; at the inputs this is
the gradient of the derivative S.

References
----------
- Johnson, The Curious History of Faà di Bruno's Formula (2002):
  https://doi.org/10.1080/00029890.2002.11919857
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import combinations_with_replacement, product
from math import comb, prod
from typing import Any, NamedTuple, TypeAlias

import numpy as np

Index: TypeAlias = tuple[int, ...]
Term: TypeAlias = tuple[int, int, float]  # two rows and the weight of their product
# from here on, rows that the next layer receives; larger than any number of rows
ONWARD = 2**40
PRODUCT = np.dtype(
    [("out", "i8"), ("left", "i8"), ("right", "i8"), ("first", "i8"), ("weight", "f8")]
)
DOT = np.dtype(
    [
        ("entry", "i8"),
        ("left", "i8"),
        ("right", "i8"),
        ("count", "i8"),
        ("weight", "f8"),
    ]
)


class Derivatives(NamedTuple):
    """A request for derivatives along numbered directions, and for gradients of derivatives.

    `indices` lists multi-indices; an integer n stands for all of order n >= 2. `gradients` lists multi-indices S; the result is
    the gradient of the derivative along S.
    """

    directions: int
    indices: tuple[Index, ...] | int = ()
    gradients: tuple[Index, ...] = ()

    def listed(self) -> Sequence[Index]:
        """Return the multi-indices of `indices`, an integer written out."""
        if isinstance(self.indices, int):
            return list(
                combinations_with_replacement(range(self.directions), self.indices)
            )
        return self.indices


class Laplacian(NamedTuple):
    """A request for the sum of second derivatives along the directions (power 1), or that sum applied twice (power 2).

    Directions from `positive` on count with a minus sign.
    """

    directions: int
    positive: int
    power: int


Request: TypeAlias = Derivatives | Laplacian


@dataclass(frozen=True, eq=False)
class Program:
    """The products of one hidden layer.

    A layer's own rows come first, `kept` in all: phi to phi^(order), z, and its
    derivatives. The first `forward` derivatives are received from the layer below; the
    first layer sets those in `letters`, one for each direction. Shared rows follow,
    which every layer overwrites: the adjoint with its derivatives, `adjoints` in all,
    and sums. Rows from ONWARD on are passed to the next layer: y and its derivatives on
    the way up, those of lambda on the way down. If `forward_only`, nothing is computed
    on the way down but the output.

    A product adds weight * left * right to the row `out`, or begins that row if `first`. A dot product adds to one of the
    `entries` of the result; it stands for `count` ones with consecutive entries and consecutive right rows. `gradients` says
    which of the adjoint and its derivatives are results at the inputs.
    """

    order: int
    entries: int
    forward: int
    gradients: tuple[int, ...]
    adjoints: int
    kept: int
    rows: int
    letters: tuple[int, ...]
    forward_only: bool
    up: np.ndarray
    down: np.ndarray
    dots: np.ndarray


def _within(counts: Index, longest: int) -> Iterator[Index]:
    """Yield the counts of all sub-indices of at most `longest` entries."""
    return (
        part
        for part in product(*(range(count + 1) for count in counts))
        if sum(part) <= longest
    )


@lru_cache(maxsize=4096)
def _splits(pattern: Index, longest: int) -> list[tuple[Index, Index, int]]:
    """Splits of the positions of an index as (taken, left, weight); see `_with_first`."""
    letters = Counter(pattern[1:])
    found = []
    for taken in _within(tuple(letters.values()), longest - 1):
        chosen = Counter(dict(zip(letters, taken)))
        weight = prod(comb(letters[letter], count) for letter, count in chosen.items())
        found.append(
            ((0, *chosen.elements()), tuple((letters - chosen).elements()), weight)
        )
    return found


def _with_first(index: Index, longest: int) -> Iterator[tuple[Index, Index, int]]:
    """Yield (taken, left, weight) for each sub-index `taken` with the first entry and at most `longest` entries."""
    for taken, left, weight in _splits(
        tuple(map(index.index, index)), longest
    ):  # alike for all indices that repeat alike
        yield tuple([index[i] for i in taken]), tuple([index[i] for i in left]), weight


def _sub_indices(indices: Iterable[tuple[Index, int]]) -> list[Index]:
    """The sub-indices, of at most the given lengths, of some multi-indices; shortest first."""
    found = set()
    for index, longest in indices:
        counts = Counter(index)
        for part in _within(tuple(counts.values()), longest):
            found.add(tuple(Counter(dict(zip(counts, part))).elements()))
    return sorted(found, key=lambda index: (len(index), index))


@dataclass
class _Writer:
    """The products of one direction of travel through a layer; each sum is formed once."""

    z: dict[Index, int]
    adjoint: dict[Index, int]
    free: int  # the next shared row
    products: list[tuple[int, int, int, bool, float]] = field(default_factory=list)
    known: dict[tuple, int | None] = field(default_factory=dict)

    def sum(self, terms: list[Term], out: int | None = None) -> int | None:
        """Write a sum of products into row `out`, or into a free row; return the row, or None without terms."""
        if not terms:
            return None
        if out is None:
            out, self.free = self.free, self.free + 1
        self.products += [
            (out, left, right, n == 0, weight)
            for n, (left, right, weight) in enumerate(terms)
        ]
        return out

    def row(self, k: int, index: Index, longest: int, most: int) -> int | None:
        """The row of L^(k)_J, or of [phi^(k)]_J if `most` is below 0; None if it vanishes. See `terms`."""
        if most < 0 and not index:
            return k
        key = k, index, min(longest, len(index)), min(most, len(index))
        if key not in self.known:
            self.known[key] = self.sum(self.terms(k, index, longest, most))
        return self.known[key]

    def terms(self, k: int, index: Index, longest: int, most: int) -> list[Term]:
        """The terms of L^(k)_J, with z_B of at most `longest` entries and lambda_S of at most `most`; see `row`."""
        if not index:
            return [(self.adjoint[()], k, 1)]
        parts = [(self.z, k + 1, most, each) for each in _with_first(index, longest)]
        parts += [(self.adjoint, k, -1, each) for each in _with_first(index, most)]
        found = [
            (rows[taken], self.row(derivative, left, longest, kind), weight)
            for rows, derivative, kind, (taken, left, weight) in parts
            if taken in rows
        ]
        return [
            (left, right, weight) for left, right, weight in found if right is not None
        ]


def _runs(
    dots: list[tuple[int, int, int, float]], longest: int
) -> list[tuple[int, int, int, int, float]]:
    """Join dot products (entry, left, right, weight) with consecutive entries and right rows, at most `longest` to a run.

    Runs with the same right rows follow one another, so that these rows stay in cache.
    """
    runs: list = []
    begin = min((dot[2] for dot in dots), default=0)
    for entry, left, right, weight in sorted(
        dots, key=lambda dot: (dot[1], dot[2] - dot[0], dot[3], dot[0])
    ):
        if runs and (right - begin) % longest:
            first, same, row, count, other = runs[-1]
            if (same, row + count, first + count, other) == (
                left,
                right,
                entry,
                weight,
            ):
                runs[-1] = (first, same, row, count + 1, weight)
                continue
        runs.append((entry, left, right, 1, weight))
    return sorted(runs, key=lambda run: ((run[2] - begin) // longest, run[1], run[2]))


def programs(request: Request, run: int, depth: int) -> list[Program]:
    """Write the programs of all hidden layers; see `program`."""
    return [
        program(request, run, layer == 0, layer == depth - 1) for layer in range(depth)
    ]


@lru_cache(maxsize=128)
def program(
    request: Request, run: int, first: bool = False, last: bool = False
) -> Program:
    """Write the program of a hidden layer, which may be the first, or the last, or both.

    What vanishes there is left out: second derivatives of the first layer's z, derivatives of the last layer's adjoint. A run
    of dot products has at most `run` entries.
    """
    return (_laplacian if isinstance(request, Laplacian) else _derivatives)(
        request, run, first, last
    )


def _derivatives(request: Any, run: int, first: bool, last: bool) -> Program:
    indices, gradients = request.listed(), request.gradients
    order = max([*map(len, indices), *(len(index) + 1 for index in gradients)])
    if isinstance(request.indices, int):  # every index up to a length is a sub-index
        half, fewer = (
            _all(request.directions, n) for n in (order // 2, (order - 1) // 2)
        )
    else:
        half = _sub_indices(
            [(each, len(each) // 2) for each in indices]
            + [(each, len(each)) for each in gradients]
        )
        whole = [(each, len(each)) for each in gradients]
        fewer = _sub_indices(
            [((), 0), *((each, (len(each) - 1) // 2) for each in indices), *whole]
        )
    forward = [index for index in half if index]
    singles = [(letter,) for letter in range(request.directions)]
    z = {
        index: order + 2 + n
        for n, index in enumerate(dict.fromkeys([*forward, *singles]))
    }
    kept = order + 2 + len(z)
    adjoint = {index: kept + n for n, index in enumerate(fewer)}
    of_z = {index: row for index, row in z.items() if len(index) == 1 or not first}
    of_adjoint = {index: row for index, row in adjoint.items() if not index or not last}

    up = _Writer(of_z, of_adjoint, kept)
    for place, index in enumerate(() if last else forward):
        up.sum(up.terms(0, index, len(index), -1), ONWARD + 1 + place)
    down = _Writer(of_z, of_adjoint, kept + len(adjoint))
    dots = _dots(down, indices, first)
    for place, index in enumerate(adjoint):
        if not first or index in gradients:
            down.sum(down.terms(1, index, len(index), len(index)), ONWARD + place)
    return Program(
        order,
        len(indices),
        len(forward),
        tuple(map(list(adjoint).index, gradients)),
        len(adjoint),
        kept,
        max(up.free, down.free),
        tuple(z[single] for single in singles),
        False,
        np.array(up.products, PRODUCT),
        np.array(down.products, PRODUCT),
        np.array(_runs(dots, run), DOT),
    )


def _all(directions: int, longest: int) -> list[Index]:
    return [
        index
        for n in range(longest + 1)
        for index in combinations_with_replacement(range(directions), n)
    ]


def _dots(
    down: _Writer, indices: Sequence[Index], first: bool
) -> list[tuple[int, int, int, float]]:
    """The dot products (entry, left, right, weight) whose sum over all layers is each derivative."""
    needed: list[tuple[int, int, tuple[int, Index, int, int], int]] = []
    for entry, index in enumerate(indices):
        half, fewer = len(index) // 2, (len(index) - 1) // 2
        # The gradient is known at the first layer, and there alone
        if len(index) == 1 and first:
            needed.append((entry, down.z[index], (1, (), 1, 0), 1))
        for taken, left, weight in _with_first(index, half):
            if taken in down.z:
                needed.append((entry, down.z[taken], (1, left, half, fewer), weight))
        for taken, left, weight in _with_first(index, fewer):
            if taken in down.adjoint:
                needed.append((entry, down.adjoint[taken], (0, left, half, -1), weight))
    # In the order of a tensor's entries, so that dot products of one row with
    # consecutive rows follow one another.
    every = sorted(
        {key for _, _, key, _ in needed},
        key=lambda key: (-key[0], len(key[1]), key[1:]),
    )
    rows = {key: down.row(*key) for key in every}
    return [
        (entry, left, row, weight)
        for entry, left, key, weight in needed
        if (row := rows[key]) is not None
    ]


def _laplacian(request: Any, run: int, first: bool, last: bool) -> Program:
    """Carry the Laplacian forward as one more derivative; for power 2 also its gradient and its own Laplacian.

    With q = sum z_i^2 and c_i = sum_j z_ij z_j, and L, L_i, LL the Laplacian of z, its
    derivatives and its Laplacian,

        L y   = phi' L + phi'' q,
        L y_i = phi' L_i + phi'' (z_i L + 2 c_i) + phi''' z_i q,
        LL y  = phi' LL + phi'' (L^2 + 4 sum z_i L_i + 2 sum z_ij^2) + phi''' (2 L q + 4 sum z_i c_i) + phi'''' q^2.
    """
    order, every = 2 * request.power, range(request.directions)
    pairs = list(combinations_with_replacement(every, 2)) if request.power == 2 else []
    more = [*(("L", i) for i in every), ("LL",)] if pairs else []
    names: list[tuple] = [*((i,) for i in every), *pairs, ("L",), *more]
    z = {name: order + 2 + n for n, name in enumerate(names)}
    kept = order + 2 + len(z)
    sign = [1 if i < request.positive else -1 for i in every]
    # all others vanish at the first layer
    of_z = {(i,): z[i,] for i in every} if first else z
    writer = _Writer({}, {}, kept + 1)

    def terms(*given: tuple[int | None, int | None, float]) -> list[Term]:
        return [
            (left, right, weight)
            for left, right, weight in given
            if left is not None and right is not None
        ]

    def row(*given: tuple[int | None, int | None, float]) -> int | None:
        return writer.sum(terms(*given))

    def at(*name: Any) -> int | None:
        return of_z.get(name)

    squares = row(*((at(i), at(i), sign[i]) for i in every))
    sums: dict[tuple, list[Term]] = {("L",): terms((at("L"), 1, 1), (squares, 2, 1))}
    if not last:
        sums |= {(i,): terms((at(i), 1, 1)) for i in every}
    if pairs:
        c = [
            row(*((at(min(i, j), max(i, j)), at(j), sign[j]) for j in every))
            for i in every
        ]
        own = [
            (at(i, j), at(i, j), (2 if i == j else 4) * sign[i] * sign[j])
            for i, j in pairs
        ]
        own += [(at("L", i), at(i), 4 * sign[i]) for i in every]
        second, fourth = row((at("L"), at("L"), 1), *own), row((squares, squares, 1))
        third = row((at("L"), squares, 2), *((at(i), c[i], 4 * sign[i]) for i in every))
        sums["LL",] = terms(
            (at("LL"), 1, 1), (second, 2, 1), (third, 3, 1), (fourth, 4, 1)
        )
    if pairs and not last:
        curved, steep = (
            [row((at(i), 2, 1)) for i in every],
            row((squares, 3, 1), (at("L"), 2, 1)),
        )
        sums |= {
            (i, j): terms((at(i, j), 1, 1), (at(i), curved[j], 1)) for i, j in pairs
        }
        sums |= {
            ("L", i): terms((at("L", i), 1, 1), (at(i), steep, 1), (c[i], 2, 2))
            for i in every
        }
    none, dots = np.array([], PRODUCT), []
    if last:
        dots = [(0, row(*sums[names[-1]]), kept, 1, 1)]
    for place, name in enumerate(() if last else names):
        writer.sum(sums[name], ONWARD + 1 + place)
    products = np.array(writer.products, PRODUCT)
    up, down = (none, products) if last else (products, none)
    letters = tuple(z[i,] for i in every)
    return Program(
        order,
        1,
        len(z),
        (),
        1,
        kept,
        writer.free,
        letters,
        True,
        up,
        down,
        np.array(dots, DOT),
    )
