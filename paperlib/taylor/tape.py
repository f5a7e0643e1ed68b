"""The centroid rule spelled out: for each layer a tape of products of rows, a row one number for each of its neurons.

Large tensors are matrix products of features (`centroid`). Those of small networks are so little work that most of the time
goes into saying what is to be done, so it is said once, for all layers and centres, and a compiled loop runs over it
(`kernel`). Words are the sorted indices of derivatives. With [phi^(k)]_J the derivatives of phi^(k)(z) by the inputs in J,

    [phi^(k)]_J = sum over B of z_B [phi^(k+1)]_(J - B),                             [phi^(k)]_() = phi^(k)(z),
    L^(k)_J     = sum over B of z_B L^(k+1)_(J - B) + over S of lambda_S [phi^(k)]_(J - S),   L^(k)_() = lambda phi^(k)(z),

over the B and S within J that hold its first index, z up to half as many indices as the tensor has and lambda to fewer than
half; equal indices are dealt in more than one way. L^(1)_S goes below, and T_I is L^(0)_I, summed over all neurons.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import combinations_with_replacement
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from paperlib.taylor.words import less, ways, within

__all__ = ["Tape", "tape"]

Word: TypeAlias = tuple[int, ...]
Term: TypeAlias = tuple[int, int, float]  # two rows, and how often their product is met
HANDED_ON = 2**40  # beyond any number of rows


@lru_cache(maxsize=4096)
def _dealt(pattern: Word, longest: int) -> list[tuple[Word, Word, int]]:
    letters = Counter(pattern[1:])
    counts = tuple(letters.values())

    def spelled(part: Word) -> Word:
        return tuple(Counter(dict(zip(letters, part))).elements())

    return [
        ((0, *spelled(part)), spelled(less(counts, part)), ways(counts, part)) for part in within(counts, longest - 1)
    ]


def _with_first(word: Word, longest: int) -> Iterator[tuple[Word, Word, int]]:
    """The ways to take from a word its first index and others, so many in all: (taken, left over, ways among equal ones)."""
    for taken, left, times in _dealt(tuple(map(word.index, word)), longest):  # the same for all words that repeat alike
        yield tuple([word[i] for i in taken]), tuple([word[i] for i in left]), times


def _words(dim: int, lengths: range) -> list[Word]:
    return [word for n in lengths for word in combinations_with_replacement(range(dim), n)]


@dataclass(frozen=True, eq=False)
class Tape:
    """What is done at a layer, on rows of which the first `kept` are its own and the others every layer's in turn.

    Rows: phi to phi^(order), z and as many derivatives of it as `z`; from `kept` on, the adjoint lambda and its derivatives,
    `adjoints` in all, and sums; from HANDED_ON on, what the next layer is given: y and its derivatives, or those of lambda. A
    product is (out, left, right, whether out begins with it), a dot product (entry, left, right, how many entries and right
    rows follow one another); `times` says how often each of all three is met.
    """

    order: int
    z: int
    adjoints: int
    kept: int
    rows: int
    up: NDArray[np.int64]
    down: NDArray[np.int64]
    dots: NDArray[np.int64]
    times: NDArray[np.float64]


@dataclass
class _Recorder:
    """Products on their way to a tape, each sum once."""

    longest: int
    z: dict[Word, int]
    adjoint: dict[Word, int]
    free: int
    products: list[tuple[int, int, int, int]] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    known: dict[tuple, int | None] = field(default_factory=dict)

    def summed(self, terms: list[Term], out: int | None = None) -> int | None:
        """The row of a sum of products; None if there are none."""
        if not terms:
            return None
        if out is None:
            out, self.free = self.free, self.free + 1
        for number, (left, right, times) in enumerate(terms):
            self.products.append((out, left, right, number == 0))
            self.times.append(times)
        return out

    def once(self, terms: Callable[[int, Word], list[Term]], k: int, word: Word) -> int | None:
        if terms == self.composed and not word:
            return k
        if (terms, k, word) not in self.known:
            self.known[terms, k, word] = self.summed(terms(k, word))
        return self.known[terms, k, word]

    def composed(self, k: int, word: Word) -> list[Term]:
        """[phi^(k)] along a word of one index or more."""
        return self.product_of(self.z, self.composed, k + 1, _with_first(word, self.longest))

    def carried(self, k: int, word: Word) -> list[Term]:
        """L^(k) along a word."""
        if not word:
            return [(self.adjoint[()], k, 1)]
        terms = self.product_of(self.z, self.carried, k + 1, _with_first(word, self.longest))
        parts = _with_first(word, max(map(len, self.adjoint)))
        return terms + self.product_of(self.adjoint, self.composed, k, parts)

    def product_of(self, rows: dict[Word, int], other: Callable, k: int, parts: Iterable) -> list[Term]:
        """What is summed over such parts: the row of what is taken, and that of the other along what is left over."""
        found = ((rows[part], self.once(other, k, left), ways) for part, left, ways in parts if part in rows)
        return [(left, right, ways) for left, right, ways in found if right is not None]


def _runs(
    dots: Sequence[tuple[int, int, int, float]], together: int
) -> tuple[list[tuple[int, int, int, int]], list[float]]:
    """Dot products (entry, left, right, times), those that follow one another as one, of so many at most.

    Those with the same right rows come one after the other: while these are in cache, the left ones go by.
    """
    runs: list = []
    begin = min((dot[2] for dot in dots), default=0)
    for entry, left, right, times in sorted(dots, key=lambda dot: (dot[1], dot[2] - dot[0], dot[3], dot[0])):
        if runs and (right - begin) % together:
            first, same, row, count, often = runs[-1]
            if (same, row + count, first + count, often) == (left, right, entry, times):
                runs[-1] = (first, same, row, count + 1, times)
                continue
        runs.append((entry, left, right, 1, times))
    runs.sort(key=lambda run: ((run[2] - begin) // together, run[1], run[2]))
    return [run[:4] for run in runs], [run[4] for run in runs]


@lru_cache(maxsize=64)
def tape(dim: int, order: int, together: int, first: bool = False, last: bool = False) -> Tape:
    """The tape of whole tensors of an order from 1, of a hidden layer that may be the first, or the last, or both.

    Of dot products so many at most go together.

    Without what vanishes there: the first layer's second derivatives, which no product then mentions, and those of the last
    one's adjoint. The first layer hands on only what a gradient is made of.
    """
    half, fewer = order // 2, (order - 1) // 2
    z = {word: order + 2 + place for place, word in enumerate(_words(dim, range(1, half + 1)))}
    kept = order + 2 + len(z)
    adjoint = {word: kept + place for place, word in enumerate(_words(dim, range(fewer + 1)))}
    there = {word: row for word, row in z.items() if len(word) == 1 or not first}
    above = {word: row for word, row in adjoint.items() if not word or not last}

    up = _Recorder(half, there, above, kept)
    for place, word in enumerate(z):
        up.summed(up.composed(0, word), HANDED_ON + 1 + place)
    down = _Recorder(half, there, above, kept + len(adjoint))
    if order > 1:
        # One after the other as the entries of a tensor are, so that a row meets a run of rows at a time.
        for terms, k, longest in ((down.carried, 1, half), (down.composed, 0, 0 if last else fewer)):
            sums = {word: terms(k, word) for word in _words(dim, range(order - longest, order))}
            down.known |= {(terms, k, word): down.summed(each) for word, each in sums.items()}
    for place, word in enumerate(() if first and order > 1 else adjoint):
        down.summed(down.carried(1, word), HANDED_ON + place)
    entries = enumerate(_words(dim, range(order, order + 1))) if order > 1 else ()
    runs, often = _runs([(entry, *term) for entry, word in entries for term in down.carried(0, word)], together)
    tables = [np.array(each, dtype=np.int64).reshape(-1, 4) for each in (up.products, down.products, runs)]
    times = np.array(up.times + down.times + often, dtype=np.float64)
    return Tape(order, len(z), len(adjoint), kept, max(up.free, down.free), tables[0], tables[1], tables[2], times)
