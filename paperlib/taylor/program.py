"""Straight-line programs: the centroid rule written out for the requested derivatives.

A request is a list of derivatives of a network that a caller wants. A *row* is an array
that holds one number for each neuron of a layer, and a *product* is the elementwise
product of two rows times a number. The program of a hidden layer is a list of products
with the numbers of their rows. It depends only on the request and on whether the layer
is the first or the last hidden layer. It is therefore written once, and executed for
every network and every centre, by NumPy (`executor`) or by a compiled loop
(`compiled.interpreter`). Tensors of all derivatives of one order are computed without a
program if they are large (`centroid`).

The directions of a request are numbered from 0. A direction is a vector along which the
network is differentiated: an input's unit vector, or a vector that the caller gives for
each centre. A multi-index is a sorted tuple of direction numbers, such as (0, 0, 2). It
names the derivative along these directions. A sub-index of it is a tuple of some of its
entries, such as (0, 2). The letters B, I, J and S stand for multi-indices. At one layer
with the pre-activations z, the activation phi and the outputs y = phi(z), let

- z_B be the derivative of z along the directions in B,
- [phi^(k)]_J be the derivative of phi^(k)(z) along the directions in J,
- lambda = d output / d y be the adjoint, and lambda_S its derivative along S,
- L^(k)_J be the derivative of lambda phi^(k)(z) along J.

The product rule and the chain rule (Faà di Bruno) give

    [phi^(k)]_J = sum over B of z_B [phi^(k+1)]_(J - B),
    [phi^(k)]_() = phi^(k)(z),
    L^(k)_J = sum over B of z_B L^(k+1)_(J - B)
            + sum over S of lambda_S [phi^(k)]_(J - S),
    L^(k)_() = lambda phi^(k)(z),

where B and S run over the sub-indices of J that contain the first entry of J, and J - B
has the other entries. If J has equal entries, a term is multiplied by the number of
ways to choose its sub-index, a product of binomial coefficients.

The network's derivative along I, of order n >= 2, is a sum over all neurons of all
hidden layers. Each neuron contributes L^(0)_I with two limits on the sums above:
|B| <= n/2 and |S| <= (n - 1)/2 (the centroid rule, see `centroid`). Each multi-index J
needs two results for other layers. The derivative of y along J is [phi]_J. The next
layer multiplies it by its weights and obtains its own z_J. The layer below obtains its
own lambda_J = W^T L^(1)_J, where W is this layer's weights. At the inputs W^T L^(1)_J
is the gradient of the network's derivative along J.

To add a kind of request:

- Add a NamedTuple beside `Derivatives` and `Laplacian`. Its fields must be hashable,
  because programs are cached.
- Add a function that returns the `Program` of one layer, and call it in `program`. The
  function numbers the layer's rows, writes sums of products with a `_Writer`, and lists
  the dot products whose sum over all layers is the result.
- In `requests`, add a key, which stands for the arguments of a user, and translate it
  to the new request in `translate`.

`executor` and `compiled` read only the fields of `Program`, so they do not change.

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
# The numbers of two rows, and the weight of their product. None stands for a row whose
# numbers are all 0, so that the product vanishes.
Term: TypeAlias = tuple[int | None, int | None, float]
# Rows with a number >= ONWARD are passed to the layer above or below. No layer has so
# large a number of rows of its own.
ONWARD = 2**40


def record(integers: str, numbers: str = "") -> np.dtype:
    """Return the structured dtype with these fields.

    `integers` names the fields of type int64, `numbers` those of type float64. The
    names are separated by blanks.

    Examples
    --------
    >>> record("left right", "weight").names
    ('left', 'right', 'weight')
    """
    fields = [(name, "i8") for name in integers.split()]
    fields += [(name, "f8") for name in numbers.split()]
    return np.dtype(fields)


# Adds weight * left * right to the row `out`, or sets this row if `first` is 1.
PRODUCT = record("out left right first", "weight")
# Adds weight * (the sum of row left * row (right + n) over the neurons) to the result
# number entry + n, for n = 0, .., length - 1.
DOT = record("entry left right length", "weight")


class Derivatives(NamedTuple):
    """A request for derivatives along numbered directions, and for their gradients.

    Parameters
    ----------
    directions : int
        The number of directions. They are numbered from 0.
    indices : tuple of tuple of int, or int
        The multi-indices of the requested derivatives. An integer n >= 2 stands for all
        multi-indices of n entries.
    gradients : tuple of tuple of int
        Multi-indices. Each requests the gradient, with respect to all inputs, of the
        derivative along its directions. () requests the gradient of the network.
    """

    directions: int
    indices: tuple[Index, ...] | int = ()
    gradients: tuple[Index, ...] = ()

    def multi_indices(self) -> Sequence[Index]:
        """Return `indices` as a sequence of multi-indices, also if it is an integer.

        Examples
        --------
        >>> Derivatives(2, 2).multi_indices()
        [(0, 0), (0, 1), (1, 1)]
        """
        if isinstance(self.indices, int):
            return list(
                combinations_with_replacement(range(self.directions), self.indices)
            )
        return self.indices


class Laplacian(NamedTuple):
    """A request for a sum of second derivatives, each twice along one direction.

    Parameters
    ----------
    directions : int
        The number of directions. They are numbered from 0.
    positive : int
        The first `positive` directions have the sign +1 in the sum, all others -1.
    power : int
        How often the sum is applied: 1 for a Laplacian, 2 for a bilaplacian.
    """

    directions: int
    positive: int
    power: int


Request: TypeAlias = Derivatives | Laplacian


@dataclass(frozen=True, eq=False, kw_only=True)
class Program:
    """The products of one hidden layer, as records that name rows by number.

    An executor runs upward through the hidden layers and executes `up` of each. Then,
    for each output, it runs downward and executes `down` and `dots` of each. The rows
    of a layer are numbered:

    - 0 to `order`: phi, phi', .., phi^(order) at z. Row `order` + 1: z. Products must
      not read it, because only the compiled loop stores it.
    - The next rows: derivatives of z. At the first hidden layer the executor writes
      those along single directions to `direction_rows`. At every other layer it writes
      `received` derivatives to the rows from `order` + 2 on.
    - `own_rows` to `rows` - 1: shared rows, which every layer overwrites. In the
      downward pass the first `adjoints` of them hold lambda and its derivatives. All
      others hold sums of products.
    - From ONWARD on: rows that are multiplied by weights and passed to another layer.
      In the upward pass, row ONWARD + 1 + n is multiplied by the next layer's weights,
      and becomes that layer's row `order` + 2 + n. No product writes row ONWARD in this
      pass: the executor itself computes the next layer's z from phi. In the downward
      pass, row ONWARD + n is multiplied by the transpose of this layer's weights, and
      becomes row `own_rows` + n of the layer below. n is 0, 1, ..

    Attributes
    ----------
    order : int
        The highest order of the derivatives of the activation.
    entries : int
        The number of derivatives in the result, without gradients.
    received : int
        The number of derivatives of z that a layer computes from the layer below.
    direction_rows : tuple of int
        The row of the derivative of z along each direction.
    own_rows : int
        The number of the layer's own rows. They are kept for the downward pass, unless
        the program is `forward_only`.
    rows : int
        The number of own rows and shared rows.
    adjoints : int
        The number of shared rows that hold the adjoint and its derivatives.
    gradients : tuple of int
        A number n for each requested gradient. The gradient is W^T times row
        ONWARD + n of the first hidden layer's downward pass, with its weights W.
    forward_only : bool
        If true, the result is complete after the last hidden layer, and the downward
        pass ends there.
    up, down : ndarray of PRODUCT
        The products of the upward and of the downward pass, in order. A product adds
        weight * left * right to the row `out`, or sets that row if `first` is 1.
    dots : ndarray of DOT
        The dot products over the neurons that are added to the result. A record stands
        for `length` dot products of the row `left` with the rows right, right + 1, ..
        They are added to the entries entry, entry + 1, ..
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
    """Yield the counts of the distinct entries for each sub-index of a multi-index.

    `available` holds the count of each distinct entry in the multi-index itself. A
    sub-index has some of these entries, at most `max_length`.

    Examples
    --------
    For the multi-index (0, 0, 1), the sub-indices (), (1,), (0,), (0, 1) and (0, 0):

    >>> list(_counts((2, 1), 2))
    [(0, 0), (0, 1), (1, 0), (1, 1), (2, 0)]
    """
    return (
        counts
        for counts in product(*(range(count + 1) for count in available))
        if sum(counts) <= max_length
    )


@lru_cache(maxsize=4096)
def _position_splits(pattern: Index, max_length: int) -> list[tuple[Index, Index, int]]:
    """Return (taken, left, weight) for each sub-index `taken` with the first entry.

    Entries are given as positions in the multi-index, because all multi-indices with
    the same pattern of equal entries have the same splits. `pattern` holds, for each
    entry, the position of the first entry equal to it. `taken` has at most `max_length`
    entries, `left` has all other entries, and `weight` is the number of ways to choose
    `taken` among equal entries.

    Examples
    --------
    >>> _position_splits((0, 0, 2), 2)[1:]    # the pattern of (5, 5, 7)
    [((0, 2), (0,), 1), ((0, 0), (2,), 1)]
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
    is the number of ways to choose `taken` among equal entries. The first entry is
    always in `taken`, so it does not count as a choice.

    Examples
    --------
    >>> _splits((5, 5, 5), 2)
    [((5,), (5, 5), 1), ((5, 5), (5,), 2)]
    """
    pattern = tuple(map(index.index, index))
    return [
        (tuple([index[i] for i in taken]), tuple([index[i] for i in left]), weight)
        for taken, left, weight in _position_splits(pattern, max_length)
    ]


def _sub_indices(indices: Iterable[tuple[Index, int]]) -> list[Index]:
    """Return the distinct sub-indices of several multi-indices, shortest first.

    `indices` yields pairs (multi-index, the largest length of its sub-indices).

    Examples
    --------
    >>> _sub_indices([((0, 0, 1), 2)])
    [(), (0,), (1,), (0, 0), (0, 1)]
    """
    found = set()
    for index, max_length in indices:
        available = Counter(index)
        for counts in _counts(tuple(available.values()), max_length):
            found.add(tuple(Counter(dict(zip(available, counts))).elements()))
    return sorted(found, key=lambda index: (len(index), index))


def _all_indices(directions: int, max_length: int) -> list[Index]:
    """Return all multi-indices of at most `max_length` entries, shortest first.

    Their entries are direction numbers from 0 to `directions` - 1. The first is ().

    Examples
    --------
    >>> _all_indices(2, 2)
    [(), (0,), (1,), (0, 0), (0, 1), (1, 1)]
    """
    return [
        index
        for length in range(max_length + 1)
        for index in combinations_with_replacement(range(directions), length)
    ]


@dataclass
class _Writer:
    """Collect the products of one layer's upward or downward pass.

    Each sum of products is written once, even if several results need it.

    Attributes
    ----------
    z, adjoint : dict of {multi-index: row number}
        The rows of z_B and lambda_S. A derivative that is absent vanishes at this
        layer.
    rows : int
        The number of rows in use. A new sum is written to this row.
    products : list of tuple
        The products so far, with the fields of PRODUCT.
    formed : dict of {arguments of `row`: row number or None}
        The sums so far. The value is None if the sum vanishes.
    """

    z: dict[Index, int]
    adjoint: dict[Index, int]
    rows: int
    products: list[tuple] = field(default_factory=list)
    formed: dict[tuple, int | None] = field(default_factory=dict)

    def sum(self, terms: Iterable[Term], out: int | None = None) -> int | None:
        """Write a sum of products into row number `out`, by default a free row.

        A term (left row, right row, weight) vanishes if one of its rows is None; it is
        left out. Return the row number, or None if all terms vanish.
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
        """Return the row number of L^(k)_J, where J is `index`, or None if it vanishes.

        The products of this sum are written unless they have been written before.
        Only derivatives z_B with |B| <= `max_z` and lambda_S with |S| <= `max_adjoint`
        enter the sum. If `max_adjoint` is negative, no lambda_S enters, and the row is
        [phi^(k)]_J.
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
        """Return the terms of the sum L^(k)_J, where J is `index`.

        The arguments are limited as in `row`: |B| <= `max_z`, |S| <= `max_adjoint`. The
        products of the rows that the terms refer to are written first.
        """
        if not index:
            return [(self.adjoint[()], k, 1)]
        return [
            (left, self.row(*right), weight)
            for left, right, weight in self.factors(k, index, max_z, max_adjoint)
        ]

    def factors(
        self, k: int, index: Index, max_z: int, max_adjoint: int
    ) -> Iterator[tuple[int, tuple[int, Index, int, int], int]]:
        """Yield (left row, right arguments, weight) for each term of the sum L^(k)_J.

        J is `index` and must not be empty. The left row is a z_B with |B| <= `max_z` or
        a lambda_S with |S| <= `max_adjoint`. The right row is `self.row(*arguments)`
        with the right arguments; it is not written here. Terms whose left row vanishes
        are left out.
        """
        for taken, left, weight in _splits(index, max_z):
            if taken in self.z:
                yield self.z[taken], (k + 1, left, max_z, max_adjoint), weight
        for taken, left, weight in _splits(index, max_adjoint):
            if taken in self.adjoint:
                yield self.adjoint[taken], (k, left, max_z, -1), weight


def _runs(dots: np.ndarray, max_length: int) -> np.ndarray:
    """Join dot products of one left row with consecutive entries and right rows.

    `dots` is an array of DOT with records of length 1, the result one of records with a
    length from 1 to `max_length`. A joined record needs equal left rows and weights.
    The right rows are divided into blocks of `max_length` rows. A record does not cross
    a block's end, and the records of one block follow one another, so that its rows
    stay in the cache.
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
    """Return the programs of all hidden layers, from the first to the last.

    `run` is the largest number of dot products in one record of `Program.dots`, and
    `depth` is the number of hidden layers.
    """
    return [
        program(request, run, layer == 0, layer == depth - 1) for layer in range(depth)
    ]


@lru_cache(maxsize=128)
def program(
    request: Request, run: int, first: bool = False, last: bool = False
) -> Program:
    """Return the program of one hidden layer.

    Products with a factor that vanishes are left out. At the first hidden layer all
    derivatives of z of order 2 or higher vanish, because z is affine in the inputs. At
    the last hidden layer all derivatives of the adjoint vanish, because the adjoint is
    a row of the output's weights. Rows keep their numbers, so that all layers of a
    request have the same numbers.

    Parameters
    ----------
    request : Derivatives or Laplacian
        The requested derivatives.
    run : int
        The largest number of dot products in one record of `Program.dots`. It is
        ignored for a Laplacian, whose records have length 1.
    first, last : bool
        Whether the layer is the first hidden layer, and whether it is the last. The
        only hidden layer of a network is both.

    Returns
    -------
    Program
    """
    if isinstance(request, Laplacian):
        return _laplacian_program(request, first, last)
    return _derivatives_program(request, run, first, last)


def _numbered(names: Iterable[Index], begin: int) -> dict[Index, int]:
    """Return {name: row number} with the distinct names numbered from `begin` on."""
    return {name: row for row, name in enumerate(dict.fromkeys(names), begin)}


def _needed(request: Derivatives) -> tuple[list[Index], list[Index]]:
    """Return the multi-indices B of all z_B and S of all lambda_S for a request.

    A derivative of n entries needs its sub-indices of up to n // 2 entries in the first
    list, and of up to (n - 1) // 2 entries in the second. A gradient needs all
    sub-indices of its multi-index in both lists. Each list is sorted by length and
    begins with (), which stands for z or lambda itself.
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
    """Return the program of one layer for derivatives, by the centroid rule.

    `run` is the largest number of dot products in one record. `first` and `last` are
    true for the first and the last hidden layer. The program needs derivatives of the
    activation up to the order of the highest requested derivative, where a gradient
    counts as one order. The dot products compute the derivatives in `request.indices`.
    Gradients are rows of the first hidden layer's downward pass.
    """
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
    """Return one layer's dot products, as an array of DOT with records of length 1.

    For each multi-index I of `indices`, the sum of its dot products over all layers is
    the network's derivative along I. The products of the right rows are written with
    `down`. `first` is true for the first hidden layer.
    """
    needed = []
    for entry, index in enumerate(indices):
        # The limits n // 2 leave no term for n = 1. A first derivative is the sum of
        # z_i lambda phi' over the neurons of the first layer, without other layers.
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
    """The rows of one layer that the Laplacian of y = phi(z) needs.

    Let z_i and z_ij be the derivatives of the pre-activations z along directions i and
    j, and s_i = 1 or -1 the sign of direction i. The operator L = sum_i s_i d_i^2 is
    the Laplacian. L_i is the derivative of L z along i, and LL = L (L z). With
    q = sum_i s_i z_i^2 and c_i = sum_j s_j z_ij z_j, and L for L z on the right,

        L y   = phi' L + phi'' q,
        y_ij  = phi' z_ij + phi'' z_i z_j,
        L y_i = phi' L_i + phi'' (z_i L + 2 c_i) + phi''' z_i q,
        LL y  = phi' LL + phi'' (L^2 + 4 sum_i s_i z_i L_i + 2 sum_ij s_i s_j z_ij^2)
              + phi''' (2 L q + 4 sum_i s_i z_i c_i) + phi'''' q^2.

    In code, the name (p, i, ..) stands for the Laplacian applied p times to the
    derivative along i, ..: (0, 1) is z_1, (1,) is L z and (1, 0) is L_0. Row k is
    phi^(k)(z). The products of a row are written when the row is first needed.

    Attributes
    ----------
    writer : _Writer
        The writer of the products. Its `z` maps names to rows.
    signs : list of int
        The signs s_i, 1 or -1.
    """

    writer: _Writer
    signs: list[int]

    def z(self, laplacians: int, *index: int) -> int | None:
        """Return the row of the derivative of z with the name (laplacians, *index).

        The directions in `index` may be in any order. Return None if the derivative
        vanishes.
        """
        return self.writer.z.get((laplacians, *sorted(index)))

    @cached_property
    def q(self) -> int | None:
        """The number of the row of q = sum_i s_i z_i^2."""
        return self.writer.sum(
            (self.z(0, i), self.z(0, i), sign) for i, sign in enumerate(self.signs)
        )

    @cached_property
    def c(self) -> list[int | None]:
        """The row number of each c_i = sum_j s_j z_ij z_j; None where it vanishes."""
        return [
            self.writer.sum(
                (self.z(0, i, j), self.z(0, j), sign)
                for j, sign in enumerate(self.signs)
            )
            for i in range(len(self.signs))
        ]

    @cached_property
    def curved(self) -> list[int | None]:
        """The number of the row of phi'' z_i for each direction i."""
        return [self.writer.sum([(self.z(0, i), 2, 1)]) for i in range(len(self.signs))]

    @cached_property
    def steep(self) -> int | None:
        """The number of the row of phi''' q + phi'' L z."""
        return self.writer.sum([(self.q, 3, 1), (self.z(1), 2, 1)])

    def terms(self, name: Index) -> list[Term]:
        """Return the terms of the derivative of y with this name.

        The names (0, i), (0, i, j), (1,), (1, i) and (2,) are supported.
        """
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
        """Return the terms of LL y, the Laplacian of L y, without phi' LL.

        These are three terms, each a sum of products times a derivative of phi of order
        2, 3 or 4. The products of the three sums are written here.
        """
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
    """Return the program of one layer for a Laplacian, by the forward Laplacian.

    From layer to layer the upward pass computes the derivatives of z along each
    direction, and the Laplacian of z. For power 2 it also computes all second
    derivatives of z, the derivatives of its Laplacian, and its bilaplacian. The last
    hidden layer multiplies the result for y by the output's weights, so that no
    downward pass through other layers is needed. `first` and `last` are true for the
    first and the last hidden layer.
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
