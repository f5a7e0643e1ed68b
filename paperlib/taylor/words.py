r"""Words: the derivatives of a network along chosen directions, and what they have in common.

By the centroid rule (see `centroid`) a derivative of order n needs forward derivatives to order n/2 and the adjoint's to
(n - 1)/2, here along the directions that are asked for and no others. A *word* names a derivative: its directions' numbers in
rising order, and its *counts*, how often each of them is met. Words of the same counts go side by side.

With z_B the derivatives of a layer's pre-activations along a word B, those of phi^(k)(z) along a word S are a sum over the
words B within S that hold its first letter (Faa di Bruno),

    [phi^(k)]_S = sum over B of ways(B) z_B [phi^(k+1)]_(S - B),      [phi^(k)]_() = phi^(k)(z),

and a derivative of the output is one over hidden neurons and over what of the word falls to the adjoint,

    D f[I] = sum over S of ways(S) lambda_S [phi]_(I - S),            |S| <= (n - 1)/2,  every |B| <= n/2.

References
----------
- Johnson, The Curious History of Faà di Bruno's Formula (2002): https://doi.org/10.1080/00029890.2002.11919857
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import compress, product
from math import comb, prod
from typing import Any, TypeAlias

import numpy as np

from paperlib._support.checks import Floats
from paperlib.networks.mlp import MLP, phis

__all__ = ["along", "less", "swept", "ways", "within"]

Counts: TypeAlias = tuple[int, ...]
Letters: TypeAlias = tuple[int, ...]
# Of each kind of words, by their counts, the places of its words among them.
Table: TypeAlias = dict[Counts, dict[Letters, int]]


def within(counts: Counts, longest: int) -> Iterator[Counts]:
    """The counts of the words within a word, of so many letters at the most, from none up."""
    return (part for part in product(*(range(count + 1) for count in counts)) if sum(part) <= longest)


def less(counts: Counts, part: Counts) -> Counts:
    return tuple(count - taken for count, taken in zip(counts, part, strict=True))


def ways(counts: Counts, part: Counts) -> int:
    return prod(comb(count, taken) for count, taken in zip(counts, part, strict=True))


def _add_within(words: Sequence[Letters], counts: Counts, table: Table) -> None:
    """Add to a table the words of up to half as many letters within words of these counts."""
    for part in within(counts, sum(counts) // 2):
        kind = tuple(filter(None, part))
        places = table.setdefault(kind, {}) if kind else {}
        for letters in words:
            places.setdefault(tuple(compress(letters, part)), len(places))


@dataclass(frozen=True)
class _Kind:
    """Words of the same counts, and where the words within them stand in a table."""

    counts: Counts
    words: Sequence[Letters]
    table: Table
    places: dict[Counts, list[int]] = field(default_factory=dict)

    def of(self, known: dict[Counts, Floats], part: Counts) -> Floats | None:
        """What is known along a part of each word, (..., words, units); None if it vanishes."""
        kind = tuple(filter(None, part))
        if not kind or kind not in known:
            return known.get(kind)
        if part not in self.places:
            self.places[part] = [self.table[kind][tuple(compress(word, part))] for word in self.words]
        return known[kind][..., self.places[part], :]


@dataclass
class _Layer:
    """One hidden layer: phi (order + 1, ..., 1, units), and z and lambda along words, (..., words, units)."""

    phi: Floats
    z: dict[Counts, Floats]
    adjoint: dict[Counts, Floats] = field(default_factory=dict)

    def composed(self, kind: _Kind, k: int, part: Counts, longest: int, known: dict) -> Floats | None:
        """[phi^(k)] along a part of each word, from z along words of `longest` letters at the most; None if it vanishes."""
        if not any(part):
            return self.phi[k]
        if (k, part) not in known:
            first = next(place for place, count in enumerate(part) if count)
            rest = tuple(count - (place == first) for place, count in enumerate(part))
            total = None
            for other in within(rest, longest - 1):
                left = less(rest, other)
                z = kind.of(self.z, less(part, left))
                outer = None if z is None else self.composed(kind, k + 1, left, longest, known)
                if z is not None and outer is not None:
                    term = ways(rest, other) * (z * outer)
                    total = term if total is None else total + term
            known[k, part] = total
        return known[k, part]

    def carried(self, kind: _Kind, k: int, longest: int, most: int) -> Any:
        """The sum over words S of `most` letters at the most of ways lambda_S [phi^(k)]_(I - S), for each word I."""
        known: dict = {}
        total: Any = 0.0
        for part in within(kind.counts, most):
            adjoint = kind.of(self.adjoint, part)
            outer = self.composed(kind, k, less(kind.counts, part), longest, known)
            if adjoint is not None and outer is not None:
                total = total + ways(kind.counts, part) * (adjoint * outer)
        return total


def swept(mlp: MLP, order: int, most: int, at: Floats, directions: Floats, table: Table) -> tuple[list[_Layer], dict]:
    """The hidden layers with z along the words of a table, with lambda along those of `most` letters, and lambda at the inputs.

    Shapes: at (n, 1, dim), directions (n or 1, 1, letters, dim); the second axis is that of outputs.
    """
    kinds = [_Kind(counts, list(words), table) for counts, words in table.items()]
    letters = [letter for (letter,) in table.get((1,), {})]
    slopes: dict[Counts, Floats] = {(1,): directions[..., letters, :]} if letters else {}
    layers = []
    for phi, weight in zip(phis(mlp, at, order), mlp.weights):
        layers.append(_Layer(phi[..., None, :], {counts: slope @ weight.T for counts, slope in slopes.items()}))
        found = {kind.counts: layers[-1].composed(kind, 0, kind.counts, order, {}) for kind in kinds}
        slopes = {counts: slope for counts, slope in found.items() if slope is not None}
    adjoint: dict[Counts, Floats] = {(): mlp.weights[-1][:, None, :]}
    carrying = [_Kind((), [()], table), *(kind for kind in kinds if sum(kind.counts) <= most)]
    for layer, weight in zip(reversed(layers), reversed(mlp.weights[:-1])):
        layer.adjoint = adjoint
        sums = {kind.counts: layer.carried(kind, 1, order, order) for kind in carrying}
        adjoint = {counts: total @ weight for counts, total in sums.items() if np.ndim(total)}
    return layers, adjoint


def along(mlp: MLP, at: Floats, directions: Floats, words: Sequence[Letters]) -> Floats:
    """The derivatives along words: at (n, dim), directions (n or 1, letters, dim) -> (n, outputs, words)."""
    out = np.zeros((len(at), mlp.outputs, len(words)))
    spelled = [Counter(sorted(word)) for word in words]
    for n in {len(word) for word in words}:
        kinds: dict[Counts, dict[int, Letters]] = {}
        for place, word in enumerate(spelled):
            if word.total() == n:
                kinds.setdefault(tuple(word.values()), {})[place] = tuple(word)
        table: Table = {}
        for counts, chosen in kinds.items():
            _add_within(list(chosen.values()), counts, table)
        layers, inputs = swept(mlp, n, (n - 1) // 2, at[:, None], directions[:, None], table)
        for counts, chosen in kinds.items():
            if n == 1:
                letter = [letters[0] for letters in chosen.values()]
                found: Any = (inputs[()] * directions[:, None, letter]).sum(axis=-1)
            else:
                kind = _Kind(counts, list(chosen.values()), table)
                found = sum(np.sum(layer.carried(kind, 0, n // 2, (n - 1) // 2), axis=-1) for layer in layers)
            out[..., list(chosen)] = found
    return out
