"""The diagrams of a network's derivatives: their trees, rules, values and pictures.

Let z^l be the pre-activations of layer l of a network, phi its activation, and
y^l = phi(z^l) its outputs. The inputs are layer 0, y^0 = x, and the network's output is
z^(L+1). The derivative of the output with respect to the inputs number i1, .., in is
the sum of all diagrams of order n. A diagram is a rooted tree with n leaves. Each inner
node, called a vertex, has two branches or more. The leaves are inputs, and a line leads
from the root up to the output. The rules for the value of a diagram are:

- A vertex with k branches at neuron j of layer l is the factor phi^(k)(z^l_j), the k-th
  derivative of the activation.
- A line from layer l down to layer m is the factor G^(l<-m) = d z^l / d y^m.
- Sum over the neuron of every vertex, and over the layers of the vertices. The layers
  decrease strictly along each path from the root to a leaf.
- Sum over the ``n! / |Aut|`` different ways to put the inputs i1, .., in on the leaves.
  ``|Aut|`` is the number of permutations of branches that leave the tree unchanged.

A line is G^(l<-m) = P^(l<-m+1) W^(m+1), where the propagator P^(l<-m) is d z^l / d z^m
(see `propagators`) and W^(m+1) are the weights of layer m + 1. It lacks the factor phi'
of its lower end, because the vertex at this end has the factor phi^(k). The numbers of
trees with 1, 2, .. leaves are the sequence A000669 of the OEIS. The numbers of trees
with inputs on their leaves are the sequence A000311.

References
----------
- The On-Line Encyclopedia of Integer Sequences: https://oeis.org
"""

from collections import Counter
from dataclasses import dataclass
from functools import cache
from itertools import combinations_with_replacement, product
from math import factorial, prod
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from paperlib._support import validation
from paperlib._support.validation import Floats
from paperlib.networks.mlp import MLP, expansion_point
from paperlib.taylor.product_rule import partitions, symmetric_product
from paperlib.taylor.propagators import propagator, vertices
from paperlib.taylor.symmetric import (
    SymmetricTensor,
    entries,
    multiplicities,
    without_warnings,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["Diagram", "enumerate_diagrams", "shares"]

INK, MARK, FAINT = "black", "#D55E00", "0.85"


def _leaves(tree: tuple) -> int:
    """Return the number of leaves of a tree, 1 for a leaf alone."""
    return sum(map(_leaves, tree)) if tree else 1


def _height(tree: tuple) -> int:
    """Return the largest number of vertices on a path from the root to a leaf.

    The root counts, and the leaf does not: the height of a leaf alone is 0.
    """
    return 1 + max(map(_height, tree)) if tree else 0


def _vertex_sizes(tree: tuple) -> set[int]:
    """Return the different numbers of branches of a tree's vertices and root.

    A leaf is not a vertex: the set of a leaf alone is empty.
    """
    return {len(tree)}.union(*map(_vertex_sizes, tree)) if tree else set()


def _automorphisms(tree: tuple) -> int:
    """Return the number of permutations of branches that leave the tree unchanged.

    Equal branches of every vertex may be exchanged, so that a vertex with three leaves
    has 6 permutations.
    """
    return prod(
        factorial(count) * _automorphisms(branch) ** count
        for branch, count in Counter(tree).items()
    )


@cache
def _trees(leaves: int) -> tuple:
    """Return all trees with this number of leaves.

    A tree is the tuple of its root's branches. A leaf is the empty tuple, and every
    other node has at least two branches. Trees that differ only in the order of
    branches count once. In the returned tree, branches with more leaves come first.

    Examples
    --------
    >>> _trees(3)
    ((((), ()), ()), ((), (), ()))
    """
    if leaves == 1:
        return ((),)  # a leaf
    trees = []
    for sizes in partitions(leaves, leaves - 1):
        choices = [
            combinations_with_replacement(_trees(size), count)
            for size, count in Counter(sizes).items()
        ]
        trees += [sum(branches, ()) for branches in product(*choices)]
    return tuple(trees)


def _centroid(tree: tuple, half: float) -> tuple:
    """Return the part of a tree below its centroid, including the centroid.

    `half` is n/2 for a tree with n leaves. The centroid is the first vertex on the way
    down from the root whose branches all have at most n/2 leaves.

    Examples
    --------
    >>> _centroid((((), (), ()), ()), 2.0)
    ((), (), ())
    """
    for branch in tree:
        if _leaves(branch) > half:
            return _centroid(branch, half)
    return tree


@dataclass(frozen=True)
class Diagram:
    """One diagram: a rooted tree that stands for a part of a network's derivatives.

    `enumerate_diagrams` returns all diagrams of an order.

    Parameters
    ----------
    tree : tuple
        The tuple of the root's branches. Each branch is the tuple of its own branches,
        and a leaf is the empty tuple. Branches with more leaves come first. The tree is
        not checked.

    Examples
    --------
    The root has two branches. The first is a vertex with two leaves, the second a leaf:

    >>> diagram = enumerate_diagrams(3)[0]
    >>> diagram.tree
    (((), ()), ())
    >>> diagram.symmetry_factor, diagram.multiplicity
    (2, 3)
    """

    tree: tuple

    @property
    def order(self) -> int:
        """The number of leaves, which is the order of the derivative.

        Examples
        --------
        >>> Diagram((((), ()), ())).order
        3
        """
        return _leaves(self.tree)

    @property
    def symmetry_factor(self) -> int:
        """``|Aut|``, the number of permutations of branches that preserve the tree.

        Examples
        --------
        >>> Diagram((((), ()), ((), ()))).symmetry_factor
        8
        """
        return _automorphisms(self.tree)

    @property
    def multiplicity(self) -> int:
        """``n! / |Aut|``, the number of different ways to put n inputs on the leaves.

        Examples
        --------
        >>> Diagram((((), ()), ((), ()))).multiplicity
        3
        """
        return factorial(self.order) // self.symmetry_factor

    @property
    def centroid_split(self) -> tuple[int, tuple[int, ...]]:
        """The numbers of leaves around the centroid, as a pair (above, below).

        The centroid is the vertex where each branch below carries at most n/2 of the n
        leaves and the part above carries fewer than n/2. `above` is the number of
        leaves of the part above, and `below` is the tuple of the numbers of leaves of
        the branches, in descending order. For n = 1 there is no vertex, and the pair is
        (1, ()).

        Examples
        --------
        >>> [diagram.centroid_split for diagram in enumerate_diagrams(4)[:3]]
        [(1, (2, 1)), (1, (1, 1, 1)), (0, (2, 2))]
        """
        tree = _centroid(self.tree, self.order / 2)
        branches = tuple(sorted(map(_leaves, tree), reverse=True))
        return self.order - sum(branches), branches

    def rule(self) -> str:
        r"""Return the value of the diagram as a LaTeX formula.

        Returns
        -------
        str
            The formula for one way to put the inputs i_1, .., i_n on the leaves. It
            derives output number o. Vertex number k is at neuron j_k of layer l_k, of L
            hidden layers. The symbols G, phi and z are the lines, the activation and
            the pre-activations of the module `diagrams`.

        Examples
        --------
        >>> enumerate_diagrams(1)[0].rule()
        'G^{(L+1 \\leftarrow 0)}_{o i_{1}}'
        """
        factors: list[str] = []
        layers: list[str] = []
        neurons: list[str] = []
        inputs = iter(range(1, self.order + 1))

        def add(tree: tuple, layer_above: str, neuron_above: str) -> None:
            """Append the factors of a branch and of the line above it."""
            if tree:
                number = len(neurons) + 1
                layer, neuron = f"l_{{{number}}}", f"j_{{{number}}}"
                layers.append(f"{layer_above} > {layer}" if neurons else layer)
                neurons.append(neuron)
            else:
                layer, neuron = "0", f"i_{{{next(inputs)}}}"
            line = rf"G^{{({layer_above} \leftarrow {layer})}}"
            factors.append(f"{line}_{{{neuron_above} {neuron}}}")
            if tree:
                factors.append(rf"\phi^{{({len(tree)})}}(z^{{{layer}}}_{{{neuron}}})")
            for branch in tree:
                add(branch, layer, neuron)

        add(self.tree, "L+1", "o")
        if neurons:
            conditions = ", ".join(layers[1:] or layers)
            sums = rf"\sum_{{{conditions}}} \sum_{{{' '.join(neurons)}}}"
            factors.insert(0, sums)
        return " ".join(factors)

    def evaluate(self, mlp: MLP, at: ArrayLike | None = None) -> SymmetricTensor:
        """Return the value of the diagram for all inputs i1, .., in on its leaves.

        The value includes the sum over the different ways to put the inputs on the
        leaves. The values of all diagrams of order n add up to the tensor of the n-th
        derivatives, which `taylor.derivative_tensor` computes faster. This method
        applies the rules for diagrams, and is used as a check.

        Parameters
        ----------
        mlp : MLP
            The network.
        at : array_like of float, shape (..., dim), optional
            The centre, or a batch of centres. The default is the origin.

        Returns
        -------
        SymmetricTensor
            A tensor of order n whose indices i1, .., in run over the `mlp.dim` inputs.
            Its attribute `packed` has one entry for each sorted tuple of indices, and
            the shape (C(dim + n - 1, n), ..., [outputs]) with the binomial coefficient
            C. The axis [outputs] is absent if the network has one output.

        Raises
        ------
        TypeError
            If an argument has the wrong type.
        ValueError
            If `at` is not finite or its last axis is not `mlp.dim` long, the value
            overflows float64, or a neuron's pre-activation is 0 where its activation
            has a kink, as relu has at 0 (n >= 2).

        Examples
        --------
        The third derivative of exp(exp(x + 2 y)) by x at the origin is 5 e:

        >>> from paperlib.networks.mlp import MLP
        >>> weights = [[[1.0, 2.0]], [[1.0]], [[1.0]]]
        >>> mlp = MLP(weights, [[0.0], [0.0], [0.0]], "exp")
        >>> for diagram in enumerate_diagrams(3):
        ...     print(round(diagram.evaluate(mlp)[0, 0, 0] / np.e, 9))
        3.0
        2.0
        """
        at = expansion_point(mlp, at)
        phi = {legs: vertices(mlp, at, legs) for legs in _vertex_sizes(self.tree)}

        @cache
        def line(above: int, below: int) -> Floats:
            """Return the transpose of the line G from layer `above` to `below`.

            Its shape is (..., units of `below`, units of `above`).
            """
            g = propagator(mlp, at, above, below + 1) @ mlp.weights[below]
            return g.swapaxes(-1, -2)

        def branch_value(layer: int, tree: tuple) -> Any:
            """Return the value of a branch and of the line from it up to `layer`.

            The result has shape (..., entries, units): the packed entries of a tensor
            with one index for each leaf, for each neuron of `layer`. It is 0 if a path
            of the branch has more vertices than there are hidden layers below `layer`.
            """
            if not tree:
                return line(layer, 0)
            return sum(
                vertex_value(below, tree) @ line(layer, below)
                for below in range(_height(tree), layer)
            )

        def vertex_value(layer: int, tree: tuple) -> Floats:
            """Return the value of a branch whose top vertex is in `layer`.

            The result has shape (..., entries, units of `layer`). It lacks the factor
            of the line above the vertex.
            """
            value, leaves = phi[len(tree)][layer - 1][..., None, :], 0
            for branch, count in Counter(tree).items():
                factor = branch_value(layer, branch)
                # `symmetric_product` sums over all ways to distribute the inputs. It
                # therefore counts each of them k! times for k equal branches.
                for k in range(1, count + 1):
                    value = symmetric_product(
                        value, factor / k, leaves, _leaves(branch), mlp.dim
                    )
                    leaves += _leaves(branch)
            return value

        shape = (*at.shape[:-1], entries(mlp.dim, self.order), mlp.outputs)
        value = np.broadcast_to(branch_value(mlp.depth + 1, self.tree), shape)
        packed = np.moveaxis(value, -2, 0)
        if mlp.outputs == 1:
            packed = packed[..., 0]
        return SymmetricTensor(self.order, mlp.dim, packed)

    def draw(self, ax: "Axes") -> "Axes":
        """Draw the diagram with the inputs at the bottom and the output at the top.

        Vertices are filled dots, inputs are open dots, and the output is a square. The
        centroid has a ring around it: the vertex where each branch below has at most
        half of the inputs and the part above fewer than half. Dashed lines mark the
        levels of vertices. The multiplicity, if above 1, is written beside the root.

        Parameters
        ----------
        ax : matplotlib.axes.Axes
            The axes to draw on.

        Returns
        -------
        matplotlib.axes.Axes
            The given axes.

        Examples
        --------
        >>> from matplotlib.figure import Figure
        >>> axes = enumerate_diagrams(3)[0].draw(Figure().add_subplot())
        >>> [text.get_text() for text in axes.texts]
        ['×3']
        """
        height = _height(self.tree)
        centroid = _centroid(self.tree, self.order / 2)
        inputs = iter(range(self.order))

        def line(x: list[float], y: list[float]) -> None:
            ax.plot(x, y, color=INK, lw=1.2, solid_capstyle="round", zorder=2)

        def draw_branch(tree: tuple) -> float:
            """Draw a branch and return the horizontal position of its top."""
            if not tree:
                x = float(next(inputs))
                ax.plot(x, 0, "o", color=INK, mfc="white", ms=4.5, mew=1.1, zorder=4)
                return x
            ends = [draw_branch(branch) for branch in tree]
            x, level = sum(ends) / len(ends), _height(tree)
            for branch, end in zip(tree, ends):
                line([x, end], [level, _height(branch)])
            ax.plot(x, level, "o", color=INK, ms=5.5, zorder=4)
            # No other branch is equal: this one has more than half of the leaves
            if tree == centroid:
                ax.plot(x, level, "o", mfc="none", mec=MARK, mew=1.3, ms=11, zorder=3)
            return x

        for level in range(1, height + 1):
            ax.axhline(level, color=FAINT, lw=0.8, ls=(0, (4, 3)), zorder=0)
        x, top = draw_branch(self.tree), height + 0.7
        line([x, x], [height, top])
        ax.plot(x, top, "s", color=INK, ms=4, zorder=4)
        if self.multiplicity > 1:
            text = f"×{self.multiplicity}"
            ax.text(x - 0.25, height + 0.4, text, ha="right", va="center", fontsize=9)
        ax.set(xlim=(-0.6, self.order - 0.4), ylim=(-0.4, height + 1.0))
        ax.set_axis_off()
        return ax


def enumerate_diagrams(order: int) -> tuple[Diagram, ...]:
    """Return all diagrams of one order, the trees with that number of leaves.

    Parameters
    ----------
    order : int
        The order of the derivative, from 1 to 15. There are 699,534 diagrams of order
        15. Their number grows by a factor of about three with each order.

    Returns
    -------
    tuple of Diagram
        There are 1, 1, 2, 5, 12, 33, 90, .. diagrams of order 1, 2, .., the sequence
        A000669 of the OEIS. Their multiplicities add up to 1, 1, 4, 26, 236, 2752, ..,
        the sequence A000311.

    Raises
    ------
    TypeError
        If `order` is not an integer.
    ValueError
        If `order` is out of range.

    Examples
    --------
    >>> [len(enumerate_diagrams(n)) for n in range(1, 8)]
    [1, 1, 2, 5, 12, 33, 90]
    """
    order = validation.integer("order", order, minimum=1, maximum=15)
    return tuple(map(Diagram, _trees(order)))


@without_warnings
def shares(mlp: MLP, order: int, at: ArrayLike | None = None) -> Floats:
    """Return the share of each diagram in the derivatives of one order.

    The share of diagram D is <T_D, T> / <T, T>. Here T_D is the value of the diagram, a
    tensor of order n, T is the sum of T_D over all diagrams, and the product <A, B> is
    the sum of A_{i1 .. in} B_{i1 .. in} over all dim^n tuples of indices.

    Parameters
    ----------
    mlp : MLP
        The network.
    order : int
        The order of the derivative, from 1 to 15.
    at : array_like of float, shape (..., dim), optional
        The centre, or a batch of centres. The default is the origin.

    Returns
    -------
    array of float64, shape (diagrams, ..., [outputs])
        The shares, with one diagram in each row, in the order of `enumerate_diagrams`.
        They add up to 1. A share above 1 or below 0 means that diagrams cancel. Shares
        are NaN where T = 0. The axis [outputs] is absent if the network has one output.

    Raises
    ------
    TypeError
        If an argument has the wrong type.
    ValueError
        If `at` is not finite or its last axis is not `mlp.dim` long, `order` is out of
        range, the value of a diagram overflows float64, or a neuron's pre-activation is
        0 where its activation has a kink, as relu has at 0 (order 2 or higher).

    Examples
    --------
    >>> from paperlib.networks.mlp import MLP
    >>> weights = [[[1.0, 2.0]], [[1.0]], [[1.0]]]
    >>> mlp = MLP(weights, [[0.0], [0.0], [0.0]], "exp")    # exp(exp(x + 2 y))
    >>> shares(mlp, 3).round(9)
    array([0.6, 0.4])
    """
    values = np.stack(
        [diagram.evaluate(mlp, at).packed for diagram in enumerate_diagrams(order)]
    )
    total = values.sum(axis=0)
    weighted = (total.T * multiplicities(mlp.dim, order)).T
    return (values * weighted).sum(axis=1) / (total * weighted).sum(axis=0)
