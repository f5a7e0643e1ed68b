"""The diagrams of a network's derivatives: each is a tree, a rule, a number, and a picture.

The n-th derivatives of an MLP are the sum over all rooted trees with n leaves in which
every inner node has two branches or more (series-reduced trees). The leaves are the
inputs, the root's line leads up to the output, and the rules are

    vertex with k branches at neuron j of layer l      phi^(k)(z^l_j)
    line from layer l down to layer m, or input m = 0  G^(l<-m) = d z^l / d y^m = P^(l<-m+1) W^(m+1)
    sum over the neurons of every vertex, and over their layers, strictly descending from the root
    sum over the ``n! / |Aut|`` different ways to put the indices i1 .. in on the leaves.

P is `taylor.propagator`; the line G stops short of the factor phi' of its lower end,
because the vertex there has phi^(k) in its place. Unlabelled trees are counted by OEIS
A000669, the ways to label them, in sum, by A000311.

References
----------
- The On-Line Encyclopedia of Integer Sequences: https://oeis.org
"""

from collections import Counter
from dataclasses import dataclass
from functools import cache, lru_cache
from itertools import combinations_with_replacement, product
from math import factorial, prod
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from paperlib._support import validation
from paperlib._support.validation import Floats
from paperlib.networks.mlp import MLP, expansion_point
from paperlib.taylor.product_rule import partitions, symmetric_product
from paperlib.taylor.series import propagator, vertices
from paperlib.taylor.symmetric import (
    SymmetricTensor,
    entries,
    multiplicities,
    without_warnings,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["Diagram", "enumerate_diagrams", "shares"]

LEAF: tuple = ()
INK, MARK, FAINT = "black", "#D55E00", "0.85"


def _leaves(tree: tuple) -> int:
    return sum(map(_leaves, tree)) if tree else 1


def _height(tree: tuple) -> int:
    return 1 + max(map(_height, tree)) if tree else 0


def _automorphisms(tree: tuple) -> int:
    return prod(
        factorial(count) * _automorphisms(branch) ** count
        for branch, count in Counter(tree).items()
    )


@lru_cache(maxsize=16)
def _trees(leaves: int) -> tuple:
    """Return the series-reduced trees. A tree is the tuple of its branches, the largest first, and a leaf has none."""
    if leaves == 1:
        return (LEAF,)
    found = []
    for sizes in partitions(leaves, leaves - 1):
        choices = [
            combinations_with_replacement(_trees(size), count)
            for size, count in Counter(sizes).items()
        ]
        found += [sum(branches, ()) for branches in product(*choices)]
    return tuple(found)


def _centroid(tree: tuple) -> tuple[int, ...]:
    """Return the path to the centroid. It goes down while one branch carries more than half of the leaves."""
    half = _leaves(tree) / 2
    path: tuple = ()
    while heavy := [
        number for number, branch in enumerate(tree) if _leaves(branch) > half
    ]:
        path, tree = (*path, heavy[0]), tree[heavy[0]]
    return path


@dataclass(frozen=True)
class Diagram:
    """One diagram; made by `enumerate_diagrams`.

    `tree` is the tuple of the root's branches, each the tuple of its own; a leaf is ().

    Examples
    --------
    >>> diagram = enumerate_diagrams(3)[0]
    >>> diagram.tree, diagram.symmetry_factor, diagram.multiplicity
    ((((), ()), ()), 2, 3)
    """

    tree: tuple

    @property
    def order(self) -> int:
        """The number of leaves, which is the order of the derivative."""
        return _leaves(self.tree)

    @property
    def symmetry_factor(self) -> int:
        """``|Aut|``, the number of permutations of equal branches that leave the tree as it is."""
        return _automorphisms(self.tree)

    @property
    def multiplicity(self) -> int:
        """``n! / |Aut|``, the number of different ways to put n indices on the leaves."""
        return factorial(self.order) // self.symmetry_factor

    @property
    def centroid_split(self) -> tuple[int, tuple[int, ...]]:
        """The leaves around the centroid: (leaves above it, (leaves on each branch below, in descending order)).

        Examples
        --------
        >>> [diagram.centroid_split for diagram in enumerate_diagrams(4)[:3]]
        [(1, (2, 1)), (1, (1, 1, 1)), (0, (2, 2))]
        """
        tree = self.tree
        for number in _centroid(tree):
            tree = tree[number]
        branches = tuple(sorted(map(_leaves, tree), reverse=True))
        return self.order - sum(branches), branches

    def rule(self) -> str:
        r"""Return the rule as LaTeX, for one way to put indices i_1 .. i_n on the leaves; o is the output.

        Examples
        --------
        >>> enumerate_diagrams(1)[0].rule()
        'G^{(L+1 \\leftarrow 0)}_{o i_{1}}'
        """
        factors: list[str] = []
        layers: list[str] = []
        neurons: list[str] = []
        leaves = iter(range(1, self.order + 1))

        def walk(tree: tuple, above: str, above_neuron: str) -> None:
            if tree:
                layer, neuron = f"l_{{{len(neurons) + 1}}}", f"j_{{{len(neurons) + 1}}}"
                layers.append(f"{above} > {layer}" if neurons else layer)
                neurons.append(neuron)
            else:
                layer, neuron = "0", f"i_{{{next(leaves)}}}"
            factors.append(
                rf"G^{{({above} \leftarrow {layer})}}_{{{above_neuron} {neuron}}}"
            )
            if tree:
                factors.append(rf"\phi^{{({len(tree)})}}(z^{{{layer}}}_{{{neuron}}})")
            for branch in tree:
                walk(branch, layer, neuron)

        walk(self.tree, "L+1", "o")
        sums = (
            [
                rf"\sum_{{{', '.join(layers[1:] or layers)}}} \sum_{{{' '.join(neurons)}}}"
            ]
            if neurons
            else []
        )
        return " ".join(sums + factors)

    def evaluate(self, mlp: MLP, at: ArrayLike | None = None) -> SymmetricTensor:
        """Return the value at a centre (..., dim): summed over layers, neurons, and ways to put indices on the leaves.

        The diagrams of an order sum to `taylor.derivative_tensor`, which computes the
        sum faster. The code here follows the rules. The origin is the centre if none is
        given. A ValueError if a neuron sits at a kink.

        Examples
        --------
        >>> from paperlib.networks.mlp import MLP
        >>> mlp = MLP([[[1.0, 2.0]], [[1.0]], [[1.0]]], [[0.0], [0.0], [0.0]], "exp")     # exp(exp(x + 2 y))
        >>> [round(float(d.evaluate(mlp)[0, 0, 0]) / np.e, 9) for d in enumerate_diagrams(3)]
        [3.0, 2.0]
        """
        at = expansion_point(mlp, at)
        phi = {legs: vertices(mlp, at, legs) for legs in _vertex_sizes(self.tree)}

        @cache
        def line(above: int, below: int) -> Floats:
            return propagator(mlp, at, above, below + 1) @ mlp.weights[below]

        def seen_from(layer: int, tree: tuple) -> Any:
            """Return the branch as `layer` sees it, (..., C, units). The number 0 if no layers are left for it."""
            if not tree:
                return line(layer, 0).swapaxes(-1, -2)
            layers = range(_height(tree), layer)
            return sum(
                at_vertex(below, tree) @ line(layer, below).swapaxes(-1, -2)
                for below in layers
            )

        def at_vertex(layer: int, tree: tuple) -> Floats:
            value, leaves = phi[len(tree)][layer - 1][..., None, :], 0
            for branch, count in Counter(tree).items():
                seen = seen_from(layer, branch)
                # equal branches in any order are one way to label, not k
                for k in range(1, count + 1):
                    value = symmetric_product(
                        value, seen / k, leaves, _leaves(branch), mlp.dim
                    )
                    leaves += _leaves(branch)
            return value

        shape = (*at.shape[:-1], entries(mlp.dim, self.order), mlp.outputs)
        value = np.moveaxis(
            np.broadcast_to(seen_from(mlp.depth + 1, self.tree), shape), -2, 0
        )
        return SymmetricTensor(
            self.order, mlp.dim, value[..., 0] if mlp.outputs == 1 else value
        )

    def draw(self, ax: "Axes") -> "Axes":
        """Draw the diagram on axes: inputs at the bottom, vertices as dots, the centroid ringed, the output on top."""
        height, centroid, leaves = (
            _height(self.tree),
            _centroid(self.tree),
            iter(range(self.order)),
        )

        def place(tree: tuple, path: tuple) -> float:
            below = [
                place(branch, (*path, number)) for number, branch in enumerate(tree)
            ]
            x, level = (
                sum(below) / len(below) if below else float(next(leaves)),
                _height(tree),
            )
            for branch, other in zip(tree, below):
                ax.plot(
                    [x, other],
                    [level, _height(branch)],
                    color=INK,
                    lw=1.2,
                    solid_capstyle="round",
                    zorder=2,
                )
            style = {"ms": 5.5} if tree else {"ms": 4.5, "mfc": "white", "mew": 1.1}
            ax.plot(x, level, "o", color=INK, zorder=4, **style)
            if tree and path == centroid:
                ax.plot(x, level, "o", mfc="none", mec=MARK, mew=1.3, ms=11, zorder=3)
            return x

        for level in range(1, height + 1):
            ax.axhline(level, color=FAINT, lw=0.8, ls=(0, (4, 3)), zorder=0)
        x, top = place(self.tree, ()), height + 0.7
        ax.plot([x, x], [height, top], color=INK, lw=1.2, zorder=1)
        ax.plot(x, top, "s", color=INK, ms=4, zorder=4)
        if self.multiplicity > 1:
            ax.text(
                x - 0.25,
                height + 0.4,
                f"×{self.multiplicity}",
                ha="right",
                va="center",
                fontsize=9,
            )
        ax.set_xlim(-0.6, self.order - 0.4)
        ax.set_ylim(-0.4, height + 1.0)
        ax.set_axis_off()
        return ax


def _vertex_sizes(tree: tuple) -> set[int]:
    return {len(tree)}.union(*map(_vertex_sizes, tree)) if tree else set()


def enumerate_diagrams(order: int) -> tuple[Diagram, ...]:
    """Return the diagrams of one order; there are 1, 1, 2, 5, 12, 33, 90, .. of them (OEIS A000669).

    Their multiplicities sum to 1, 1, 4, 26, 236, 2752, .. (A000311). The order goes
    from 1 to 15: there are 699,534 diagrams of order 15, and about three times as many
    of each order more.

    Examples
    --------
    >>> [len(enumerate_diagrams(n)) for n in range(1, 8)]
    [1, 1, 2, 5, 12, 33, 90]
    """
    return tuple(
        map(Diagram, _trees(validation.integer("order", order, minimum=1, maximum=15)))
    )


@without_warnings
def shares(mlp: MLP, order: int, at: ArrayLike | None = None) -> Floats:
    """Return each diagram's share of an order's norm, <T_D, T> / <T, T>, where T = sum of T_D at a centre or a batch of them.

    The shares sum to 1. If one is above 1 or below 0, diagrams cancel. Shape (diagrams,
    ...), in the order of `enumerate_diagrams`; NaN where T = 0. It has the trailing
    axes of `derivative_tensor`; the origin is the centre if none is given.

    Examples
    --------
    >>> from paperlib.networks.mlp import MLP
    >>> shares(MLP([[[1.0, 2.0]], [[1.0]], [[1.0]]], [[0.0], [0.0], [0.0]], "exp"), 3).round(9)
    array([0.6, 0.4])
    """
    values = np.stack(
        [diagram.evaluate(mlp, at).packed for diagram in enumerate_diagrams(order)]
    )
    total = values.sum(axis=0)
    weighted = (total.T * multiplicities(mlp.dim, order)).T
    return (values * weighted).sum(axis=1) / (total * weighted).sum(axis=0)
