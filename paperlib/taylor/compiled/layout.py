"""Lay out a network and a program as two arrays, which the compiled loop reads.

The weights are in `numbers`, the records in `table`. Layers are padded to whole vectors
with neurons whose outgoing weights are zero. The neurons of a layer lie in groups of
one activation, outer * base(inner * z). The scalings are multiplied into the weights:
inner into those of the layer, outer into those of the next layer.
"""

from itertools import pairwise
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
from paperlib.taylor.program import ONWARD, PRODUCT, Program, Request, programs, record

Ints: TypeAlias = NDArray[np.int64]
TOGETHER = 2**15  # numbers of the centres of one pass, which stay in cache
LARGE = 2**17  # numbers of one centre. With more, eight centres do not stay in cache.

# Records of the table: the head, a layer, a group of neurons. A name in the singular is
# the place where something begins in `numbers` or in the table; its plural is a count.
# A size counts the numbers of one centre in `work`: the own rows, the shared rows, the
# rows that are passed to the next layer. `keep` is 1 if the own rows of every layer are
# kept for the downward pass, and 0 if the next layer overwrites them.
HEAD = record(
    "order dim outputs entries gradients columns directions constants received"
    " adjoints own_rows rows depth own_size shared_size onward_size keep constant"
    " last zeros direction gradient layer groups product dot"
)
LAYER = record(
    "below above forward bias backward group groups up ups down downs dot dots"
)
GROUP = record("begin length product products code", "parameter")


class Layout(NamedTuple):
    """Arguments of the compiled loop besides the centres, and sizes of its arrays."""

    dim: int
    outputs: int
    entries: int  # derivatives at a centre
    gradients: int
    columns: int  # of a gradient, padded to whole vectors
    results: int  # numbers at a centre, of all outputs
    work: int  # numbers of work space for one centre
    together: int  # the largest number of centres of one pass
    table: Ints
    numbers: Floats


class _PaddedLayer(NamedTuple):
    """The places of a layer's neurons in a row, and their activations' scalings."""

    # The first place and the padded length of each group, and its activation
    groups: list[tuple[int, int, Scaled]]
    units: int
    places: Ints
    inner: Floats
    outer: Floats


def _padded_layer(name: str, units: int) -> _PaddedLayer:
    """Return the padded layer of `units` neurons with an activation's name."""
    groups, places, begin = [], list[int](), 0
    inner, outer = list[float](), list[float]()
    for activation, count in activations.groups(name):
        count = count or units
        scaled = activations.scaled(str(activation))
        length = -(-count // LANES) * LANES
        groups.append((begin, length, scaled))
        places += range(begin, begin + count)
        inner += [scaled.inner] * count
        outer += [scaled.outer] * count
        begin += length
    return _PaddedLayer(
        groups, begin, np.array(places), np.array(inner), np.array(outer)
    )


Places: TypeAlias = dict[Any, tuple[int, int]]  # where each part begins; its length


def _joined(parts: dict[Any, np.ndarray]) -> tuple[np.ndarray, Places]:
    """Return one array of all parts, and their places."""
    begin, places = 0, {}
    for key, part in parts.items():
        places[key] = begin, len(part)
        begin += len(part)
    return np.concatenate(list(parts.values())), places


def _numbers(mlp: MLP, layers: list[_PaddedLayer], slopes: Floats) -> dict[Any, Floats]:
    """Return the weights and biases of padded layers, by name and layer.

    `layers` begins with the inputs and ends with the outputs; `slopes` has the shape
    (constant directions, units).
    """
    padded_slopes = np.zeros((len(slopes), layers[1].units))
    padded_slopes[:, layers[1].places] = layers[1].inner * slopes
    widest = max(layer.units for layer in layers[:-1])
    numbers: dict[Any, Any] = {"constant": padded_slopes, "zeros": np.zeros(widest)}
    for n, (below, above) in enumerate(pairwise(layers)):
        weights = np.zeros((above.units, below.units))
        weights[np.ix_(above.places, below.places)] = (
            above.inner[:, None] * mlp.weights[n] * below.outer
        )
        biases = np.ones(above.units)  # 1 is far from a kink
        biases[above.places] = above.inner * mlp.biases[n]
        numbers["forward", n] = weights.T
        numbers["bias", n] = biases
        numbers["backward", n] = weights
    return {
        key: np.pad(np.ravel(part), (0, -np.size(part) % LANES))
        for key, part in numbers.items()
    }


def _recurrence(base: str, order: int, spare: int) -> np.ndarray:
    """Return the products that give an activation's derivatives from the second on.

    Auxiliary rows are numbered from `spare` on.
    """
    products = []
    for out, terms in recurrence(base, order, spare):
        for n, (left, right, weight) in enumerate(terms):
            products.append((out, left, right, n == 0, weight))
    return np.array(products, PRODUCT)


def _sections(
    layers: list[_PaddedLayer],
    written: list[Program],
    bases: set[str],
    number_places: Places,
    rows: int,
) -> dict[str, np.ndarray]:
    """Return the records of layers, groups, products and dot products.

    Rows that are passed to the next layer are numbered from `rows` on.
    """
    first = written[0]
    parts: dict[Any, np.ndarray] = {
        base: _recurrence(base, first.order, first.own_rows) for base in bases
    }
    for program in written:
        parts[program, "up"] = program.up
        parts[program, "down"] = program.down
    products, places = _joined(parts)
    products["out"] -= np.where(products["out"] >= ONWARD, ONWARD - rows, 0)
    dots, dot_places = _joined({program: program.dots for program in written})
    groups: list[tuple] = []
    records = []
    for n, (program, layer) in enumerate(zip(written, layers[1:])):
        group = len(groups)
        for begin, length, (base, parameter, *_) in layer.groups:
            code = CODES[base]
            groups.append((begin, length, *places[base], code, parameter))
        # The centres are not padded: the first layer multiplies `dim` numbers.
        below = layers[n].units if n else len(layers[0].places)
        numbers = (number_places[key, n][0] for key in ("forward", "bias", "backward"))
        ways = *places[program, "up"], *places[program, "down"], *dot_places[program]
        records.append(
            (below, layer.units, *numbers, group, len(groups) - group, *ways)
        )
    return {
        "layer": np.array(records, LAYER),
        "groups": np.array(groups, GROUP),
        "product": products,
        "dot": dots,
    }


def _work_sizes(
    first: Program, layers: list[_PaddedLayer], rows: int
) -> dict[str, int]:
    """Return the numbers of one centre in each part of `work`, by the names of HEAD."""
    widest = max(layer.units for layer in layers[:-1])
    own_units = sum(layer.units for layer in layers[1:-1])
    return {
        "own_size": first.own_rows * (widest if first.forward_only else own_units),
        "shared_size": (rows - first.own_rows) * widest,
        "onward_size": max(1 + first.received, first.adjoints) * widest,
    }


def _table(
    first: Program, head: dict[str, int], sections: dict[str, np.ndarray]
) -> Ints:
    """Return the table: the head, then all other records.

    `head` lacks the fields that follow from the program `first` and the sections.
    """
    sections = {
        "head": np.zeros(1, HEAD),
        "direction": np.array(first.direction_rows, int),
        "gradient": np.array(first.gradients, int),
        **sections,
    }
    table, places = _joined(
        {key: section.view(np.int64) for key, section in sections.items()}
    )
    head = head | {
        "order": first.order,
        "directions": len(first.direction_rows),
        "received": first.received,
        "adjoints": first.adjoints,
        "own_rows": first.own_rows,
        "keep": not first.forward_only,
    }
    head |= {key: begin for key, (begin, _) in places.items()}
    fields: Any = HEAD.names
    table[: len(fields)] = [head[name] for name in fields]
    return table


def lay_out(mlp: MLP, request: Request, slopes: Floats) -> Layout | None:
    """Lay out everything that does not depend on the centres.

    Parameters
    ----------
    mlp : MLP
        A network with at least one hidden layer.
    request : Derivatives or Laplacian
        The request. Its first directions are constant; the others are given at each
        centre.
    slopes : ndarray of float64, shape (constant directions, units)
        The derivative of the first layer's z along each constant direction.

    Returns
    -------
    Layout or None
        None if an activation is `Custom`.
    """
    if any(isinstance(name, activations.Custom) for name in mlp.activations):
        return None
    names = ["linear", *mlp.activations, "linear"]
    layers = list(map(_padded_layer, names, (mlp.dim, *map(len, mlp.biases))))
    weights = sum(below.units * above.units for below, above in pairwise(layers))
    nbytes = 8 * (4 * weights + 2 * slopes.size)
    validation.memory("mlp", nbytes, "take a smaller network")
    numbers, number_places = _joined(_numbers(mlp, layers, slopes))

    written = programs(request, LANES, mlp.depth)
    first = written[0]
    bases = {scaled.base for layer in layers[1:-1] for *_, scaled in layer.groups}
    auxiliary = max(spare_rows(base, first.order) for base in bases)
    rows = max(first.own_rows + auxiliary, *(program.rows for program in written))
    records = _sections(layers, written, bases, number_places, rows)
    work_sizes = _work_sizes(first, layers, rows)
    sizes = {
        "dim": mlp.dim,
        "outputs": mlp.outputs,
        "entries": first.entries,
        "gradients": len(first.gradients),
        "columns": layers[0].units,
    }
    fields = {
        "depth": mlp.depth,
        "constants": len(slopes),
        "rows": rows,
        "constant": number_places["constant"][0],
        "last": number_places["backward", mlp.depth][0],
        "zeros": number_places["zeros"][0],
    }
    work, together = sum(work_sizes.values()), 4
    if work < LARGE:  # a multiple of eight, the number of rows of a matrix product
        together = min(max(TOGETHER // work // 8, 1), 64) * 8
    # More than enough for the alignment, a vector of sums, and rows that are read past
    # the last row
    work += LANES * (2 + max(layer.units for layer in layers[:-1]))
    return Layout(
        **sizes,
        results=mlp.outputs * (first.entries + len(first.gradients) * layers[0].units),
        work=work,
        together=together,
        table=_table(first, sizes | work_sizes | fields, records),
        numbers=numbers,
    )
