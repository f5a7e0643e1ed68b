"""Lay out a network and a program as two arrays, which the compiled loop reads.

The array `numbers` holds the weights and biases. The array `table` holds sizes, and the
records of layers, groups and products. None of them depends on the centres.

A *group* is the neurons of a layer with the same activation. An activation is
outer * base(inner * z), where `base` is a key of `networks.bases.BASES`. The compiled
loop computes only base(z). The factor `inner` is therefore multiplied into the weights
and biases of the layer, and the factor `outer` into the weights of the next layer.

The processor computes LANES numbers, a vector, at a time. Each group is padded to a
multiple of LANES neurons. The additional neurons have incoming and outgoing weights 0.
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
TOGETHER = 2**15  # float64 numbers of work space for a batch, which fit into the cache
LARGE = 2**17  # Eight centres with this many numbers each do not fit into the cache.

# The table consists of one record HEAD, a LAYER for each hidden layer, a GROUP for each
# group of neurons, and records PRODUCT and DOT (see `program`).
#
# HEAD: order, dim, outputs, entries, gradients, columns, directions, received,
# adjoints, own_rows, rows and depth are sizes, as in `Program`, `Layout` and `MLP`.
# `constants` is the number of constant directions. `own_size`, `shared_size` and
# `onward_size` are the numbers that one centre needs in `work` for the own rows, the
# shared rows, and the rows that are passed to another layer. `keep` is 1 if the own
# rows of every layer are kept for the downward pass, and 0 if the next layer overwrites
# them. `constant`, `last` and `zeros` are the positions in `numbers` of the derivatives
# along constant directions, of the output's weights, and of zeros in place of a bias.
# `direction`, `gradient`, `layer`, `groups`, `product` and `dot` are the positions in
# the table at which `Program.direction_rows`, `Program.gradients` and the records of
# each kind begin.
HEAD = record(
    "order dim outputs entries gradients columns directions constants received"
    " adjoints own_rows rows depth own_size shared_size onward_size keep constant"
    " last zeros direction gradient layer groups product dot"
)
# LAYER: `above` is the padded number of neurons of this layer. `below` is that of the
# layer before, or `dim` at the first hidden layer. `forward`, `bias` and `backward` are
# the positions in `numbers` of the transposed weights, the biases and the weights.
# `group`, `up`, `down` and `dot` are the numbers of the layer's first records, and
# `groups`, `ups`, `downs` and `dots` are how many records it has of each kind.
LAYER = record(
    "below above forward bias backward group groups up ups down downs dot dots"
)
# GROUP: `begin` is the first column of the group in a row of the layer, and `length`
# its padded number of neurons. The `products` products from number `product` on compute
# the derivatives of the base function from the second on. `code` is the number of the
# base in CODES, and `parameter` its parameter.
GROUP = record("begin length product products code", "parameter")


class Layout(NamedTuple):
    """The arguments of the compiled loop besides the centres, and its arrays' sizes.

    Attributes
    ----------
    dim, outputs : int
        The numbers of inputs and outputs of the network.
    entries, gradients : int
        The numbers of derivatives and of gradients at a centre, for each output.
    columns : int
        The length of a gradient: `dim`, padded to a multiple of LANES.
    results : int
        The number of float64 results at a centre, for all outputs.
    work : int
        The number of float64 numbers of work space for a centre.
    together : int
        The largest number of centres in a batch.
    table : ndarray of int64, shape (integers,)
        The records HEAD, LAYER, GROUP, PRODUCT and DOT.
    numbers : ndarray of float64, shape (numbers,)
        Weights, biases, and derivatives along constant directions.
    """

    dim: int
    outputs: int
    entries: int
    gradients: int
    columns: int
    results: int
    work: int
    together: int
    table: Ints
    numbers: Floats


class _PaddedLayer(NamedTuple):
    """The columns of a layer's neurons in a padded row, and their scalings.

    Attributes
    ----------
    groups : list of (int, int, Scaled)
        The first column, the padded length and the activation of each group.
    units : int
        The padded length of a row.
    places : ndarray of int64, shape (neurons,)
        The column of each neuron of the network.
    inner, outer : ndarray of float64, shape (neurons,)
        The factors in the neuron's activation outer * base(inner * z).
    """

    groups: list[tuple[int, int, Scaled]]
    units: int
    places: Ints
    inner: Floats
    outer: Floats


def _padded_layer(name: str, units: int) -> _PaddedLayer:
    """Return the padded layer of `units` neurons.

    `name` is one activation for all neurons, or "tanh*8 + linear*3" with counts. The
    groups follow one another in a row. Each is padded by itself, to the next multiple
    of LANES, and its neurons have its first columns.
    """
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


# The position at which each part of a joined array begins, and the part's length
Places: TypeAlias = dict[Any, tuple[int, int]]


def _joined(parts: dict[Any, np.ndarray]) -> tuple[np.ndarray, Places]:
    """Return one array of all parts, and {key: (position, length)} of each part.

    Examples
    --------
    >>> _joined({"a": np.array([5, 6]), "b": np.array([7])})
    (array([5, 6, 7]), {'a': (0, 2), 'b': (2, 1)})
    """
    begin, places = 0, {}
    for key, part in parts.items():
        places[key] = begin, len(part)
        begin += len(part)
    return np.concatenate(list(parts.values())), places


def _numbers(mlp: MLP, layers: list[_PaddedLayer], slopes: Floats) -> dict[Any, Floats]:
    """Return the padded and scaled weights, biases and slopes as flat arrays.

    The rows are padded to the columns that `layers` describes, with zeros, but the
    additional neurons have the biases 1, so that their z = 1 is not at a kink. Weights
    are multiplied by `inner` of the layer above and by `outer` of the layer below,
    biases and slopes by `inner` of their own layer.

    Parameters
    ----------
    mlp : MLP
        The network.
    layers : list of _PaddedLayer
        The inputs, the hidden layers and the outputs.
    slopes : ndarray of float64, shape (constant directions, neurons)
        The derivative of the first hidden layer's z along each constant direction.

    Returns
    -------
    dict of {str or (str, int): ndarray of float64}
        "constant" holds the slopes and "zeros" the zeros in place of a bias. For each
        n, ("forward", n) holds the transpose of the weights from layers[n] to
        layers[n + 1], ("backward", n) the weights themselves, and ("bias", n) the
        biases of layers[n + 1]. The length of each array is a multiple of LANES.
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
        # The additional neurons have z = 1, away from the kink of an activation at 0
        biases = np.ones(above.units)
        biases[above.places] = above.inner * mlp.biases[n]
        numbers["forward", n] = weights.T
        numbers["bias", n] = biases
        numbers["backward", n] = weights
    return {
        key: np.pad(np.ravel(part), (0, -np.size(part) % LANES))
        for key, part in numbers.items()
    }


def _recurrence(base: str, order: int, spare: int) -> np.ndarray:
    """Return the products that compute the derivatives 2 to `order` of a base function.

    The result is an array of PRODUCT, and is empty for `order` 0 or 1. Rows 0 to
    `order` are the base and its derivatives. The auxiliary rows of the base are
    numbered from `spare` on.
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

    Parameters
    ----------
    layers : list of _PaddedLayer
        The inputs, the hidden layers and the outputs.
    written : list of Program
        The program of each hidden layer.
    bases : set of str
        The base functions of all activations.
    number_places : dict
        The positions in `numbers`, as returned by `_joined`.
    rows : int
        The number of a layer's own and shared rows. Rows that are passed to another
        layer are numbered from ONWARD on in `written`, but from `rows` on in the
        result.

    Returns
    -------
    dict of {str: structured array}
        Arrays of LAYER, GROUP, PRODUCT and DOT under the names "layer", "groups",
        "product" and "dot".
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
        # The centres are not padded: the first layer reads `dim` numbers of each.
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
    """Return {name: count} of the numbers that one centre needs in parts of `work`.

    The names are the fields "own_size", "shared_size" and "onward_size" of HEAD.
    `first` is the program of the first hidden layer. `layers` begins with the inputs
    and ends with the outputs. `rows` is the number of own and shared rows of a layer.
    Shared rows, and rows that are passed to another layer, are as long as the widest
    layer. So are own rows if the program is `forward_only`. Otherwise the own rows of
    all hidden layers are kept, so that the padded lengths of all layers are added.
    """
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
    """Return the table, an array of int64: the head, then all other records.

    `first` is the program of the first hidden layer, and `sections` is the result of
    `_sections`. The numbers in `first.direction_rows` and `first.gradients` are
    inserted between the head and the sections. `head` holds the fields of HEAD except
    those that this function adds: fields of `first`, and the positions in the table at
    which the parts begin.
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
        The request. The first len(slopes) directions are constant, that is, the same at
        all centres. The caller of the loop gives all others for each centre.
    slopes : ndarray of float64, shape (constant directions, neurons)
        The derivative of the first hidden layer's z along each constant direction.

    Returns
    -------
    Layout or None
        None if an activation is an `activations.Custom`.

    Raises
    ------
    ValueError
        If the arrays need more memory than is free.
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
    if work < LARGE:  # a multiple of 8, because `simd.product` computes 8 rows at once
        together = min(max(TOGETHER // work // 8, 1), 64) * 8
    # LANES numbers to align `work`, LANES for `spare` in `_add_dots`, and LANES rows
    # because `dots` reads rows past the last
    work += LANES * (2 + max(layer.units for layer in layers[:-1]))
    return Layout(
        **sizes,
        results=mlp.outputs * (first.entries + len(first.gradients) * layers[0].units),
        work=work,
        together=together,
        table=_table(first, sizes | work_sizes | fields, records),
        numbers=numbers,
    )
