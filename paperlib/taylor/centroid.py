"""The centroid rule: the derivative tensor of order n from derivatives of order n/2.

Every diagram with n leaves has one vertex, its centroid, from which each branch below
carries at most n/2 leaves and the part above fewer than n/2. Summing over where it is
meets every diagram once. With z_B the derivatives of a layer's pre-activations by the
inputs in B, and lambda_S those of the adjoint lambda^l = d output / d y^l by the inputs
in S,

    T_n[I] = sum over layers l, neurons j, and splits I = S + B1 + .. + Bm  of  lambda_S phi^(m)(z_j) z_B1 .. z_Bm,
             m >= 2,  |S| <= floor((n - 1) / 2),  |Bi| <= floor(n / 2).

It is Wigner's 2 n + 1 theorem for networks: order n needs the forward derivatives to
floor(n/2) and the adjoint's to floor((n-1)/2) only. Each term's pieces are dealt into
two groups of about n/2 indices, so that each term is one contracted product of two
matrices of features, the packed tensors of each group, with all neurons of all layers
side by side.

A group is written (s, blocks): `blocks` the sizes of its z's, largest first, and s the
size of S, or None if lambda is not in it. Tensors are arrays (..., C, units), see
`product_rule`; order 0 has one entry.

References
----------
- Gonze, Perturbation expansion of variational principles (1995):
  https://doi.org/10.1103/PhysRevA.52.1086
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from functools import cache, lru_cache
from itertools import product
from math import comb, prod
from typing import Any, TypeAlias

import numpy as np

from paperlib._support import chunks, validation
from paperlib._support.validation import Floats
from paperlib.networks import activations
from paperlib.networks.mlp import MLP, activation_derivatives
from paperlib.taylor.product_rule import (
    add_product,
    contracted_product,
    largest_block,
    partitions,
    symmetric_product,
)
from paperlib.taylor.symmetric import entries

Group: TypeAlias = tuple[int | None, tuple[int, ...]]

CHUNK_BYTES = 2**23


def _terms(order: int) -> list[tuple[int, tuple[int, ...]]]:
    """Return each (s, blocks) of the centroid rule. No block has all indices."""
    return [
        (s, blocks)
        for s in range((order - 1) // 2 + 1)
        for blocks in partitions(order - s, order // 2)
    ]


def _indices(group: Group) -> int:
    s, blocks = group
    return (s or 0) + sum(blocks)


def _groups(blocks: tuple[int, ...]) -> Iterator[tuple]:
    """Yield the ways to take some of the blocks: (taken, left over, ways to choose among equal blocks)."""
    counts = Counter(blocks)
    for taken in product(*(range(count + 1) for count in counts.values())):
        chosen = Counter(dict(zip(counts, taken)))
        left, right = (
            tuple(sorted(part.elements(), reverse=True))
            for part in (chosen, counts - chosen)
        )
        yield left, right, prod(comb(counts[size], chosen[size]) for size in counts)


@lru_cache(maxsize=64)
def _plan(order: int) -> dict:
    """Return how the terms are divided in two: {p: {left group: [(weight, m, right group)]}}, p indices on the left.

    Each assignment of indices to a term's pieces is counted once for each way to take the left group's blocks
    among equal ones, hence the weight. lambda stays on the right, except where a term splits evenly. Such terms are
    a symmetric form in all groups of n/2 indices, and each pair stands under both of its groups. The splits of I
    are then counted unordered, so that a pair of equal groups is counted half as often.
    """
    plan: dict = {}
    for s, blocks in _terms(order):
        m = len(blocks)
        taken, rest, ways = min(
            _groups(blocks),
            key=lambda group: (abs(2 * sum(group[0]) - order), sum(group[0]), group),
        )
        p = sum(taken)
        rows = plan.setdefault(p, {})
        even = 2 * p == order and p > 1
        same = even and s == 0 and taken == rest
        rows.setdefault((None, taken), []).append(
            ((2 if same else 1) / ways, m, (s, rest))
        )
        if even and not same:
            rows.setdefault((s or None, rest), []).append(
                (1 / ways, m, (None if s else 0, taken))
            )
    return plan


@lru_cache(maxsize=64)
def _curved(name: str | activations.Custom, units: int) -> tuple[Any, int]:
    """Return the neurons of a layer that are not linear, as an index, and their number."""
    kinds = [
        each for each, count in activations.groups(name) for _ in range(count or 0)
    ]
    curved = [place for place, each in enumerate(kinds) if each != "linear"]
    return (curved, len(curved)) if "linear" in kinds else (slice(None), units)


class _Layer:
    """The derivatives of one hidden layer by the inputs. Their products are formed at the first use and kept."""

    def __init__(
        self,
        dim: int,
        name: str | activations.Custom,
        phi: Floats,
        z: dict[int, Floats],
    ) -> None:
        self.dim, self.phi = dim, phi  # phi[m] is (..., 1, units)
        # The neurons that have vertices, and their number
        self.curved, self.units = _curved(name, phi.shape[-1])
        self.z, self.adjoint = (
            z,
            dict[int, Floats](),
        )  # {order: (..., C, units)}; a derivative that vanishes is left out
        self._features: dict[Group, Floats] = {}

    def has(self, group: Group) -> bool:
        s, blocks = group
        return all(size in self.z for size in blocks) and (
            s is None or s in self.adjoint
        )

    def feature(self, group: Group) -> Floats:
        """Return lambda_S z_B1 .. z_Bm, summed over the ways to distribute the indices to S and the blocks."""
        s, blocks = group
        if not blocks:
            return np.ones((1, 1)) if s is None else self.adjoint[s]
        if s is None and len(blocks) == 1:
            return self.z[blocks[0]]
        if group not in self._features:
            if s is None:  # equal blocks take turns in being the first
                size, rest = blocks[0], blocks[1:]
                first = self.z[size] / blocks.count(size)
            else:
                size, rest, first = s, blocks, self.adjoint[s]
            self._features[group] = symmetric_product(
                first, self.feature((None, rest)), size, sum(rest), self.dim
            )
        return self._features[group]

    def total(self, terms: Iterable[tuple]) -> Any:
        """Return the sum of coefficient times lambda_S z_B1 .. z_Bm over (coefficient, (s, blocks)), or None if all vanish.

        Features that are formed already are used. The others have the highest order. Of these, the terms with a
        common factor are summed before the sum is multiplied by the factor.
        """
        out = None
        factored: dict = {}
        for coefficient, (s, blocks) in terms:
            if s == 0:
                coefficient, s = coefficient * self.adjoint[0], None
            if not self.has((s, blocks)):
                continue
            if (s, blocks) in self._features or len(blocks) + (s is not None) < 2:
                feature = self.feature((s, blocks))
                out = (
                    coefficient * feature
                    if out is None
                    else np.add(out, coefficient * feature, out=out)
                )
            elif s is None or 1 in blocks:
                factor, rest = blocks[-1], (s, blocks[:-1])
                factored.setdefault((None, factor), []).append(
                    (coefficient / blocks.count(factor), rest)
                )
            else:
                factored.setdefault((s, s), []).append((coefficient, (None, blocks)))
        for (s, size), rest in factored.items():
            x, y, q = (
                self.z[size] if s is None else self.adjoint[s],
                self.total(rest),
                _indices(rest[0][1]),
            )
            if out is None:
                out = symmetric_product(x, y, size, q, self.dim)
            else:
                add_product(out, x, y, size, q, self.dim)
        return out


def _forward(mlp: MLP, order: int, at: Floats) -> list[_Layer]:
    """Return the layers with z_B for |B| up to order // 2."""
    layers: list[_Layer] = []
    slopes: dict = {}
    for name, phi, weight in zip(
        mlp.activations, activation_derivatives(mlp, at, order), mlp.weights
    ):
        z = (
            {k: slope @ weight.T for k, slope in slopes.items()}
            if layers
            else {1: weight.T.copy()}
        )
        layer = _Layer(mlp.dim, name, phi[..., None, :], z)
        layers.append(layer)
        slopes = {}
        for k in range(1, order // 2 + 1):
            groups = [
                group
                for blocks in partitions(k, k)
                if layer.has(group := (None, blocks))
            ]
            for group in groups:
                layer.feature(group)  # the sum at the end needs all of them
            slopes[k] = layer.total(
                [(layer.phi[len(group[1])], group) for group in groups]
            )
    return layers


def _backward(mlp: MLP, order: int, layers: list[_Layer]) -> dict[int, Floats]:
    """Set lambda_S of all layers for |S| up to (order - 1) // 2, and return lambda_S of the inputs."""
    adjoint = {0: mlp.weights[-1][:, None, :] if mlp.outputs > 1 else mlp.weights[-1]}
    for layer, weight in zip(reversed(layers), reversed(mlp.weights[:-1])):
        layer.adjoint = adjoint
        adjoint = {}
        for k in range((order - 1) // 2 + 1):
            terms = [
                (layer.phi[len(blocks) + 1], (s, blocks))
                for s in range(k + 1)
                for blocks in partitions(k - s, k)
            ]
            total = layer.total(terms)
            if total is not None:
                adjoint[k] = total @ weight
    return adjoint


def _work_bytes(mlp: MLP, order: int) -> int:
    """Return a bound on the memory of the larger arrays of `_tensors` for one centre, without the result."""
    units, work = sum(map(len, mlp.biases[:-1])), [0]
    formed = 0
    for p, rows in _plan(order).items():
        left, right = (
            entries(mlp.dim, size) * len(rows) * units for size in (p, order - p)
        )
        formed += left
        work.append(left + right + largest_block(p, order - p, mlp.dim))
    return 8 * mlp.outputs * (formed + max(work))


@cache
def keep_freed_memory() -> None:
    """Make the C library keep freed blocks for later calls, because to touch fresh memory takes as long as the sums.

    glibc returns a freed block to the system at once, unless a larger block was freed before, of at most 32 MiB. Other
    libraries are not affected. The setting lasts as long as the process. A test fails if it has no effect.
    """
    np.empty(2**25 - 2**16, dtype=np.uint8)


def _tensors(mlp: MLP, order: int, at: Floats) -> Floats:
    """Return the packed tensors at centres whose arrays fit into memory together: (..., dim) -> (..., C)."""
    layers = _forward(mlp, order, at)
    gradient = _backward(mlp, order, layers)
    batch = np.broadcast_shapes(
        at.shape[:-1], (mlp.outputs,) if mlp.outputs > 1 else ()
    )
    if order == 1:
        # never a view of the weights
        return np.array(np.broadcast_to(gradient[0][..., 0, :], (*batch, mlp.dim)))
    out = np.zeros((*batch, entries(mlp.dim, order)))
    for p, rows in _plan(order).items():
        # Each layer and left group with terms that do not vanish is a block of columns
        # of both matrices
        columns = []
        for layer, (left, terms) in product(layers, rows.items()):
            present = [term for term in terms if layer.has(term[-1])]
            if present and layer.has(left):
                columns.append((layer, left, present))
        if not columns:
            continue
        ends = np.cumsum([layer.units for layer, *_ in columns])
        x, y = (
            np.empty((*batch, entries(mlp.dim, size), ends[-1]))
            for size in (p, order - p)
        )
        for part, (layer, left, _) in zip(np.split(x, ends[:-1], axis=-1), columns):
            part[...] = layer.feature(left)[..., layer.curved]
        for part, (layer, _, terms) in zip(np.split(y, ends[:-1], axis=-1), columns):
            total = layer.total(
                [(weight * layer.phi[m], right) for weight, m, right in terms]
            )
            part[...] = total[..., layer.curved]
        contracted_product(
            out, x, y, p, order - p, mlp.dim, unordered=2 * p == order and p > 1
        )
    return out


def derivatives(mlp: MLP, order: int, at: Floats) -> Floats:
    """Return the packed tensor of all partial derivatives of one order.

    Parameters
    ----------
    mlp : MLP
    order : int
        From 1. It is not checked.
    at : array of float64, shape (..., dim)
        The centre, or a batch of them. It is not checked.

    Returns
    -------
    array of float64, shape (C(dim + order - 1, order), ..., [outputs])

    Raises
    ------
    ValueError
        If the memory does not suffice, before any is taken, or if a neuron sits at a
        kink.

    Notes
    -----
    From order 4 on most of the time is spent in matrix products, 2 C(dim + p - 1, p) C(dim + q - 1, q) units flops for
    each left group, p + q = order, and half of that for an even split. At orders 2 and 3 it is spent in forming the
    features and in the calls themselves.
    """
    keep_freed_memory()
    batch, several = at.shape[:-1], (mlp.outputs,) if mlp.outputs > 1 else ()
    size, centres = entries(mlp.dim, order), prod(batch)
    result = 8 * mlp.outputs * centres * size
    validation.memory(f"order = {order}", result, "use .terms of taylor_expand")
    work = _work_bytes(mlp, order)
    together = max(1, CHUNK_BYTES // max(work, 1))
    validation.memory(
        f"order = {order}",
        result + min(together, centres) * work,
        "use .terms of taylor_expand",
    )
    if several:
        at = at[..., None, :]  # the outputs are one more axis of the batch
    if not batch:
        return np.moveaxis(_tensors(mlp, order, at), -1, 0)
    points = at.reshape(-1, *at.shape[len(batch) :])
    out = np.empty((centres, *several, size))
    for part in chunks.slices(centres, together):
        out[part] = _tensors(mlp, order, points[part])
    return np.moveaxis(out.reshape(*batch, *several, size), -1, 0)
