"""Lay out a network and a program as two arrays, which the compiled loop reads: weights in `numbers`, records in `table`.

Layers are filled up to whole vectors with neurons whose outgoing weights are zero. The neurons of a layer lie in groups of one
activation, outer * base(inner * z). The scalings go into the weights: inner into those of the layer, outer into those of the next.
"""

from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from paperlib._support import validation
from paperlib._support.validation import Floats
from paperlib.networks import activations
from paperlib.networks.activations import Scaled
from paperlib.networks.bases import recurrence, spare_rows
from paperlib.networks.mlp import MLP
from paperlib.taylor.compiled.activations import CODES
from paperlib.taylor.compiled.simd import LANES
from paperlib.taylor.program import ONWARD, PRODUCT, Request, programs

Ints: TypeAlias = NDArray[np.int64]
TOGETHER = 2**15  # numbers at work together, which stay in cache
LARGE = 2**17  # numbers of one centre: with more, eight centres do not stay in cache


def _record(names: str) -> np.dtype:
    return np.dtype([(name, "i8") for name in names.split()])


# Records of the table: the head, a layer, a group of neurons. A name in the singular is
# where something begins in `numbers` or in the table, its plural how many there are.
HEAD = _record(
    "order dim outputs entries gradients columns letters constants forward adjoints kept rows depth widest total passed step"
    " constant last zeros letter gradient layer groups product dot"
)
LAYER = _record(
    "below above forward bias backward group groups up ups down downs dot dots"
)
GROUP = np.dtype(
    [*_record("begin length product products code").descr, ("parameter", "f8")]
)


class Layout(NamedTuple):
    """The arguments of the compiled loop beside the centres, and the sizes of its arrays."""

    dim: int
    outputs: int
    entries: int  # derivatives at a centre
    gradients: int
    columns: int  # of a gradient, filled up to whole vectors
    results: int  # numbers at a centre, of all outputs
    work: int  # numbers that one centre takes
    together: int  # centres at a time, at most
    table: Ints
    numbers: Floats


class _Layer(NamedTuple):
    """Where the neurons of a layer lie in a row, and the scalings of their activations."""

    # Where a group begins, its length, its activation
    groups: list[tuple[int, int, Scaled]]
    units: int
    places: Ints
    inner: Floats
    outer: Floats


def _layer(name: str, units: int) -> _Layer:
    groups, places, begin = [], list[int](), 0
    inner, outer = list[float](), list[float]()
    for each, count in activations.groups(name):
        count, scaled = count or units, activations.scaled(str(each))
        length = -(-count // LANES) * LANES
        groups.append((begin, length, scaled))
        places += range(begin, begin + count)
        inner += [scaled.inner] * count
        outer += [scaled.outer] * count
        begin += length
    return _Layer(groups, begin, np.array(places), np.array(inner), np.array(outer))


def _joined(
    parts: dict[Any, np.ndarray],
) -> tuple[np.ndarray, dict[Any, tuple[int, int]]]:
    """One array of all parts, and the beginning and the length of each."""
    ends = np.cumsum([len(part) for part in parts.values()]).tolist()
    places = {
        key: (end - len(part), len(part))
        for (key, part), end in zip(parts.items(), ends)
    }
    return np.concatenate(list(parts.values())), places


def _numbers(mlp: MLP, layers: list[_Layer], letters: Floats) -> dict[Any, Floats]:
    """Weights and biases of filled layers, those of the inputs first, those of the outputs last."""
    slopes = np.zeros((len(letters), layers[1].units))
    slopes[:, layers[1].places] = layers[1].inner * letters
    numbers: dict[Any, Any] = {
        "constant": slopes,
        "zeros": np.zeros(max(layer.units for layer in layers[:-1])),
    }
    for n, (below, above, weights, bias) in enumerate(
        zip(layers, layers[1:], mlp.weights, mlp.biases)
    ):
        # 1 is far from a kink
        filled, biases = np.zeros((above.units, below.units)), np.ones(above.units)
        filled[np.ix_(above.places, below.places)] = (
            above.inner[:, None] * weights * below.outer
        )
        biases[above.places] = above.inner * bias
        numbers |= {
            ("forward", n): filled.T,
            ("bias", n): biases,
            ("backward", n): filled,
        }
    return {
        key: np.pad(np.ravel(part), (0, -np.size(part) % LANES))
        for key, part in numbers.items()
    }


def _recurrence(base: str, order: int, kept: int) -> np.ndarray:
    """The products that make an activation's derivatives from the second on."""
    sums = recurrence(base, order, kept)
    return np.array(
        [
            (out, *rows, n == 0, by)
            for out, terms in sums
            for n, (*rows, by) in enumerate(terms)
        ],
        PRODUCT,
    )


def layout(mlp: MLP, request: Request, letters: Floats) -> Layout | None:
    """Lay out all that does not depend on the centres; None if an activation is `Custom`.

    `letters` holds the first layer's slopes along the constant directions, (constant, units); the request's other directions are
    given at each centre.
    """
    if any(isinstance(name, activations.Custom) for name in mlp.activations):
        return None
    names = ["linear", *mlp.activations, "linear"]
    layers = [_layer(*each) for each in zip(names, (mlp.dim, *map(len, mlp.biases)))]
    inputs, hidden = layers[0], layers[1:-1]
    written = programs(request, LANES, mlp.depth)
    first = written[0]
    bases = {scaled.base for layer in hidden for *_, scaled in layer.groups}
    rows = max(
        first.kept + max(spare_rows(base, first.order) for base in bases),
        *(each.rows for each in written),
    )

    parts: dict[Any, np.ndarray] = {
        base: _recurrence(base, first.order, first.kept) for base in bases
    }
    products, of = _joined(
        parts
        | {
            (each, way): getattr(each, way)
            for each in written
            for way in ("up", "down")
        }
    )
    products["out"] -= np.where(products["out"] >= ONWARD, ONWARD - rows, 0)
    dots, of_dots = _joined({each: each.dots for each in written})
    weights = sum(below.units * above.units for below, above in zip(layers, layers[1:]))
    validation.memory(
        "mlp", 8 * (4 * weights + 2 * letters.size), "take a smaller network"
    )
    numbers, at = _joined(_numbers(mlp, layers, letters))
    groups, of_groups = _joined(
        {
            n: np.array(
                [
                    (*group, *of[by.base], CODES[by.base], by.parameter)
                    for *group, by in layer.groups
                ],
                GROUP,
            )
            for n, layer in enumerate(hidden)
        }
    )
    records = [
        (
            layers[n].units if n else mlp.dim,
            hidden[n].units,
            *(at[way, n][0] for way in ("forward", "bias", "backward")),
        )
        + (*of_groups[n], *of[each, "up"], *of[each, "down"], *of_dots[each])
        for n, each in enumerate(written)
    ]
    sections = {
        "head": np.zeros(1, HEAD),
        "letter": np.array(first.letters, int),
        "gradient": np.array(first.gradients, int),
    }
    sections |= {
        "layer": np.array(records, LAYER),
        "groups": groups,
        "product": products,
        "dot": dots,
    }
    table, begin = _joined(
        {key: section.view(np.int64) for key, section in sections.items()}
    )

    widest = max(layer.units for layer in layers[:-1])
    total = widest if first.forward_only else sum(layer.units for layer in hidden)
    passed = max(1 + first.forward, first.adjoints)
    head = {
        name: getattr(first, name)
        for name in ("order", "entries", "forward", "adjoints", "kept")
    }
    head |= {
        "dim": mlp.dim,
        "outputs": mlp.outputs,
        "depth": mlp.depth,
        "columns": inputs.units,
        "rows": rows,
    }
    head |= {
        "widest": widest,
        "total": total,
        "passed": passed,
        "step": not first.forward_only,
    }
    head |= {
        "letters": len(first.letters),
        "constants": len(letters),
        "gradients": len(first.gradients),
    }
    head |= {
        "constant": at["constant"][0],
        "zeros": at["zeros"][0],
        "last": at["backward", mlp.depth][0],
    }
    head |= {key: place for key, (place, _) in begin.items() if key != "head"}
    table[: len(head)] = [head[name] for name in HEAD.names or ()]

    work = first.kept * total + (rows - first.kept + passed) * widest
    together = (
        min(max(TOGETHER // work // 8, 1), 64) * 8 if work < LARGE else 4
    )  # matrix products take eight rows at a time
    # And, for each centre, more than enough for the alignment, a vector of sums, and
    # rows that are read beyond the last.
    work += LANES * (2 + widest)
    gradients, columns = len(first.gradients), inputs.units
    results = mlp.outputs * (first.entries + gradients * columns)
    sizes = mlp.dim, mlp.outputs, first.entries, gradients, columns, results
    return Layout(*sizes, work, together, table, numbers)
