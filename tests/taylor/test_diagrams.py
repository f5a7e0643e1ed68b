"""Test the counts, symmetries, rules, values, sum and pictures of diagrams."""

import re
from itertools import permutations, product

import numpy as np
import pytest

from paperlib.networks.mlp import MLP
from paperlib.taylor.diagrams import _centroid, enumerate_diagrams, shares
from paperlib.taylor.propagators import propagator, vertices
from paperlib.taylor.tensors import derivative_tensor

A000669 = [1, 1, 2, 5, 12, 33, 90, 261, 766, 2312]
A000311 = [1, 1, 4, 26, 236, 2752, 39208, 660032, 12818912, 282137824]


@pytest.mark.parametrize("order", range(1, 11))
def test_counts(order):
    diagrams = enumerate_diagrams(order)
    assert len(diagrams) == len(set(diagrams)) == A000669[order - 1]
    assert sum(diagram.multiplicity for diagram in diagrams) == A000311[order - 1]
    assert all(diagram.order == order for diagram in diagrams)


def labelled(tree, labels):
    """Return the tree with labels on its leaves, as nested frozensets."""
    return (
        next(labels)
        if not tree
        else frozenset(labelled(branch, labels) for branch in tree)
    )


@pytest.mark.parametrize("order", range(1, 8))
def test_symmetry_by_labelling_in_every_way(order):
    for diagram in enumerate_diagrams(order):
        ways = {labelled(diagram.tree, iter(p)) for p in permutations(range(order))}
        assert len(ways) == diagram.multiplicity


def leaves(tree):
    return sum(map(leaves, tree)) if tree else 1


@pytest.mark.parametrize("order", range(2, 10))
def test_exactly_one_vertex_is_the_centroid(order):
    def vertices_of(tree):
        if tree:
            yield tree
            for branch in tree:
                yield from vertices_of(branch)

    for diagram in enumerate_diagrams(order):
        centroids = [
            tree
            for tree in vertices_of(diagram.tree)
            if order - leaves(tree) < order / 2
            and all(leaves(branch) <= order / 2 for branch in tree)
        ]
        assert centroids == [_centroid(diagram.tree, order / 2)]


@pytest.mark.parametrize(
    ("widths", "activation"),
    [
        ([3, 1], "gelu"),
        ([3, 4, 1], "gelu"),
        ([3, 4, 3, 3, 2], "gelu"),
        ([3, 3, 3, 3, 3, 1], "gelu"),
        ([3, 5, 5, 1], "silu*2 + linear*3"),  # the neurons of a residual network
    ],
)
@pytest.mark.parametrize("batch", [(), (2,)])
def test_the_diagrams_of_an_order_sum_to_the_derivatives(
    random_mlp, widths, activation, batch
):
    mlp = random_mlp(widths, activation)
    at = np.random.default_rng(0).standard_normal((*batch, 3))
    for order in range(1, 7):
        tensor = derivative_tensor(mlp, order, at)
        total = sum(
            diagram.evaluate(mlp, at).packed for diagram in enumerate_diagrams(order)
        )
        assert total.shape == tensor.packed.shape
        assert np.allclose(
            total, tensor.packed, rtol=0, atol=1e-13 * (1 + np.abs(tensor.packed).max())
        )


def by_the_printed_rule(rule, mlp, at, multiplicity, order):
    """Parse the LaTeX, and sum over layers, neurons and labellings."""
    lines = re.findall(r"G\^\{\((\S+) \\leftarrow (\S+)\)\}_\{(\S+) (\S+)\}", rule)
    dots = re.findall(r"\\phi\^\{\((\d+)\)\}\(z\^\{(\S+)\}_\{(\S+)\}\)", rule)
    names = sorted({layer for _, layer, _ in dots})
    above = [(a, b) for a, b, *_ in lines if b != "0" and a != "L+1"]
    if names:
        order_of_layers = ", ".join(f"{a} > {b}" for a, b in above) or names[0]
        neurons = " ".join(neuron for *_, neuron in dots)
        assert rule.startswith(rf"\sum_{{{order_of_layers}}} \sum_{{{neurons}}} G")
    letters = {}
    total = np.zeros((mlp.dim,) * order)
    for choice in product(range(1, mlp.depth + 1), repeat=len(names)):
        layer = dict(zip(names, choice)) | {"L+1": mlp.depth + 1, "0": 0}
        if any(layer[a] <= layer[b] for a, b in above):
            continue
        operands, subscripts = [], []
        for a, b, row, column in lines:
            operands.append(
                propagator(mlp, at, layer[a], layer[b] + 1) @ mlp.weights[layer[b]]
            )
            subscripts.append(
                [
                    letters.setdefault(row, len(letters)),
                    letters.setdefault(column, len(letters)),
                ]
            )
        for legs, name, neuron in dots:
            operands.append(vertices(mlp, at, int(legs))[layer[name] - 1])
            subscripts.append([letters[neuron]])
        out = [letters[f"i_{{{k}}}"] for k in range(1, order + 1)]
        arguments = [part for pair in zip(operands, subscripts) for part in pair]
        total += np.einsum(*arguments, [letters["o"], *out])[0]
    every_way = sum(total.transpose(p) for p in permutations(range(order)))
    return every_way * multiplicity / np.prod(range(1, order + 1))


@pytest.mark.parametrize("order", range(1, 5))
def test_the_printed_rule_is_the_value(random_mlp, order):
    mlp = random_mlp([2, 3, 3, 2, 1], "silu", seed=3)
    at = np.array([0.4, -0.7])
    for diagram in enumerate_diagrams(order):
        expected = by_the_printed_rule(
            diagram.rule(), mlp, at, diagram.multiplicity, order
        )
        assert np.allclose(
            diagram.evaluate(mlp, at).full(), expected, rtol=0, atol=1e-14
        )


def test_order_two_rule():
    expected = (
        r"\sum_{l_{1}} \sum_{j_{1}} G^{(L+1 \leftarrow l_{1})}_{o j_{1}} \phi^{(2)}(z^{l_{1}}_{j_{1}}) "
        r"G^{(l_{1} \leftarrow 0)}_{j_{1} i_{1}} G^{(l_{1} \leftarrow 0)}_{j_{1} i_{2}}"
    )
    assert enumerate_diagrams(2)[0].rule() == expected


def test_shares(random_mlp):
    mlp = random_mlp([5, 6, 6, 1])
    for order in (1, 3, 4):
        fractions = shares(mlp, order)
        tensor = derivative_tensor(mlp, order).full()
        parts = [diagram.evaluate(mlp).full() for diagram in enumerate_diagrams(order)]
        expected = [(part * tensor).sum() / (tensor**2).sum() for part in parts]
        assert np.allclose(fractions, expected, rtol=0, atol=1e-12)
        assert np.isclose(fractions.sum(), 1, rtol=1e-12)
    assert shares(random_mlp([5, 6, 6, 2]), 3, np.zeros((4, 5))).shape == (2, 4, 2)


def test_wrong_arguments_raise(random_mlp):
    for order in (0, 16):
        with pytest.raises(
            ValueError, match=f"order = {order}: must be an integer from 1 to 15"
        ):
            enumerate_diagrams(order)
    with pytest.raises(ValueError, match="at: shape"):
        enumerate_diagrams(3)[0].evaluate(random_mlp([3, 2, 1]), np.zeros(2))
    at_kink = MLP([[[1.0]], [[1.0]]], [[0.0], [0.0]], "relu")
    with pytest.raises(
        ValueError, match="order 2: neuron 0 of layer 1 sits at the kink of relu"
    ):
        enumerate_diagrams(2)[0].evaluate(at_kink)


def test_drawing():
    matplotlib = pytest.importorskip(
        "matplotlib.figure", reason="drawing needs the [notebooks] extra"
    )
    figure = matplotlib.Figure()
    for number, diagram in enumerate(enumerate_diagrams(4)):
        ax = diagram.draw(figure.add_subplot(2, 3, number + 1))
        inputs = [line for line in ax.lines if line.get_markerfacecolor() == "white"]
        rings = [line for line in ax.lines if line.get_markerfacecolor() == "none"]
        assert len(inputs) == 4 and len(rings) == 1
        assert len({tuple(line.get_xdata()) for line in inputs}) == 4


@pytest.mark.parametrize("order", range(1, 6))
def test_a_drawing_contains_the_diagram(order):
    """The marks and lines give the tree, the centroid and the multiplicity."""
    matplotlib = pytest.importorskip(
        "matplotlib.figure", reason="drawing needs the [notebooks] extra"
    )
    for diagram in enumerate_diagrams(order):
        ax = matplotlib.Figure().add_subplot()
        assert diagram.draw(ax) is ax and not ax.axison
        marks = {}
        for line in ax.lines:
            kind = "level" if line.get_linestyle() == "--" else line.get_marker()
            if kind in ("o", "s"):
                kind = (kind, line.get_markerfacecolor())
            marks.setdefault(kind, []).append(line.get_xydata())
        inputs, dots, rings, (output,) = (
            [tuple(place) for (place,) in marks.get(key, [])]
            for key in [("o", "white"), ("o", "black"), ("o", "none"), ("s", "black")]
        )
        assert sorted(inputs) == [(k, 0) for k in range(order)]
        branches = {place: [] for place in [output, *dots]}
        for end, other in marks["None"]:
            low, high = sorted((tuple(end), tuple(other)), key=lambda place: place[1])
            branches[high].append(low)

        def read(place):
            """Return the branch below a mark, from left to right."""
            return tuple(read(below) for below in sorted(branches.get(place, [])))

        assert read(output) == (diagram.tree,)
        for place in dots:
            assert place[0] == pytest.approx(np.mean([x for x, _ in branches[place]]))
        heights = sorted({y for _, y in dots})
        assert (
            sorted(line[0, 1] for line in marks.get("level", []))
            == heights
            == list(range(1, len(heights) + 1))
        )
        centroids = [
            place
            for place in dots
            if order - leaves(read(place)) < order / 2
            and all(leaves(read(b)) <= order / 2 for b in branches[place])
        ]
        assert rings == centroids
        assert [text.get_text() for text in ax.texts] == [
            f"×{diagram.multiplicity}"
        ] * (diagram.multiplicity > 1)
        (root,) = branches[output]
        for text in ax.texts:
            x, y = text.get_position()
            assert (
                x < root[0]
                and root[1] < y < output[1]
                and text.get_horizontalalignment() == "right"
            )
        for x, y in [output, *dots, *inputs]:
            assert (
                ax.get_xlim()[0] < x < ax.get_xlim()[1]
                and ax.get_ylim()[0] < y < ax.get_ylim()[1]
            )
