"""The centroid rule: derivatives of order n from derivatives of order n/2 at most.

Let T_I be the derivative of the network's output with respect to n inputs, whose
numbers are the indices I = (i1, .., in). It is a sum over diagrams, which are trees
with n leaves (see `diagrams`). The *centroid* of a tree is the vertex where each branch
below carries at most n/2 of the leaves and the part above carries fewer than n/2. Every
tree with n >= 2 leaves has exactly one centroid. The sum over trees is therefore a sum
over the hidden layer l and the neuron j of the centroid, and over the ways to
distribute the indices I to the part above, S, and to the branches below, B1, .., Bm:

    T_I = sum over l, j and I = S + B1 + .. + Bm of lambda_S phi^(m)(z_j) z_B1 .. z_Bm,
          m >= 2,  |S| <= floor((n - 1) / 2),  |Bi| <= floor(n / 2).

Here z_j is the pre-activation of neuron j of layer l, y_j = phi(z_j) its output, and
|S| the number of indices in S. All trees of a branch B add up to z_B, the derivative of
z_j with respect to the inputs in B. All trees of the part above add up to lambda_S, the
derivative of the adjoint lambda_j = d output / d y_j with respect to the inputs in S.
So order n needs derivatives of z up to order floor(n/2) and derivatives of the adjoint
up to order floor((n - 1)/2). This is Wigner's 2 n + 1 theorem for networks.

The factors lambda_S, z_B1, .., z_Bm of each term are divided into a left and a right
part, with about n/2 indices in each. The product of the factors of a part, summed over
the ways to distribute indices to the factors, is called a *feature*. It is a packed
symmetric tensor for each neuron.

Two matrices have one column for each left part at each neuron that is not linear. The
column of the first matrix is the feature of the left part. The column of the second is
the sum of the features of all right parts that belong to this left part, each times
phi^(m)(z_j) and the weight of its term (see `_plan`). The product of the first matrix
and the transpose of the second contains the sums over j and l. Its entries are added up
over the ways to divide I between the two parts.

In code, a part is a `Group` (s, blocks): a group of factors, not of neurons. `blocks`
are the numbers of indices |Bi| of its factors z_Bi, in descending order. s is |S| if
lambda_S is among the factors, otherwise None. For example, (None, (2, 1)) stands for
z_B1 z_B2 with two indices in B1 and one in B2. A tensor of order p is an array of shape
(..., C(dim + p - 1, p), units): the packed entries, for each neuron of a layer, with
the binomial coefficient C and the number of neurons `units`. So a tensor of order 0 has
one entry. The other axes are those of a batch of centres and of the outputs.

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
from typing import Any, NamedTuple, TypeAlias

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

# (s, blocks), a group of factors
Group: TypeAlias = tuple[int | None, tuple[int, ...]]

CHUNK_BYTES = 2**23  # the temporary arrays of the centres that are computed together


class _Partner(NamedTuple):
    """The right part of a term of the centroid rule, for a given left part.

    The term is weight * phi^(m)(z) * (left feature) * (feature of `group`).
    """

    weight: float
    m: int
    group: Group


Rows: TypeAlias = dict[Group, list[_Partner]]  # the right parts for each left part


def _terms(order: int) -> list[tuple]:
    """Return (|S|, (|B1|, .., |Bm|)) for each kind of term of the centroid rule.

    Examples
    --------
    >>> _terms(3)
    [(0, (1, 1, 1)), (1, (1, 1))]
    """
    # No block has more than order // 2 indices, hence m >= 2
    return [
        (s, blocks)
        for s in range((order - 1) // 2 + 1)
        for blocks in partitions(order - s, order // 2)
    ]


def _indices(group: Group) -> int:
    """Return the number of indices of all factors of a group."""
    s, blocks = group
    return (s or 0) + sum(blocks)


def _divisions(blocks: tuple[int, ...]) -> Iterator[tuple]:
    """Yield the ways to divide blocks into two parts, as tuples (left, right, ways).

    `blocks` are numbers of indices. Blocks of equal size are not distinguished. `ways`
    is the number of divisions of distinguished blocks that (left, right) stands for.

    Examples
    --------
    >>> list(_divisions((1, 1)))
    [((), (1, 1), 1), ((1,), (1,), 2), ((1, 1), (), 1)]
    """
    counts = Counter(blocks)
    for numbers in product(*(range(count + 1) for count in counts.values())):
        left = Counter(dict(zip(counts, numbers)))
        ways = prod(map(comb, counts.values(), numbers))
        yield tuple(left.elements()), tuple((counts - left).elements()), ways


@cache
def _plan(order: int) -> dict[int, Rows]:
    """Divide the factors of each term into two parts of about order / 2 indices.

    The result is {p: {left part: its right parts}}, where p is the number of indices of
    the left part. In general the factor lambda_S is in the right part. The only left
    parts with lambda_S are in the second entries of even splits, see below.

    The weight of a term is 1 / ways. `contracted_product` sums over all choices of p of
    the indices for the left part. If both parts have blocks of equal size, exchanging
    two of them gives the same factors, so that each product occurs `ways` times in this
    sum.

    An even split has p = order / 2 indices in each part. It takes half the time,
    because `contracted_product` then counts each pair of index sets A (left) and B
    (right) only once, not as (A, B) and as (B, A). This needs a sum that does not
    change if A and B are exchanged. Therefore a pair of different parts has two
    entries, one with either part on the left. A pair of equal parts needs only one
    entry. It is counted once instead of twice, hence its weight 2 / ways.
    """
    plan: dict[int, Rows] = {}
    for s, blocks in _terms(order):
        m = len(blocks)
        left, right, ways = min(
            _divisions(blocks),
            key=lambda division: (
                abs(2 * sum(division[0]) - order),
                sum(division[0]),
                division,
            ),
        )
        p = sum(left)
        even = 2 * p == order and p > 1  # for p = 1 there is nothing to gain
        equal = even and s == 0 and left == right
        rows = plan.setdefault(p, {})
        partner = _Partner((2 if equal else 1) / ways, m, (s, right))
        rows.setdefault((None, left), []).append(partner)
        if even and not equal:
            # lambda of order 0 is a number for each neuron and stays in the partner
            partner = _Partner(1 / ways, m, (None if s else 0, left))
            rows.setdefault((s or None, right), []).append(partner)
    return plan


@lru_cache(maxsize=64)
def _curved(name: str | activations.Custom, units: int) -> tuple[Any, int]:
    """Return an index of the neurons of a layer that are not linear, and their number.

    `name` is the layer's activation, such as "tanh" or "tanh*8 + linear*3", and `units`
    its number of neurons. phi^(m) vanishes for m >= 2 at a linear neuron, so that it
    has no term of the centroid rule. All neurons are included unless `name` has counts
    and one of its activations is "linear".
    """
    kinds = [
        each for each, count in activations.groups(name) for _ in range(count or 0)
    ]
    curved = [place for place, each in enumerate(kinds) if each != "linear"]
    return (curved, len(curved)) if "linear" in kinds else (slice(None), units)


class _Layer:
    """The derivatives of one hidden layer by the inputs, and products of them.

    Attributes
    ----------
    dim : int
        The number of inputs of the network.
    phi : array of float64, shape (order + 1, ..., 1, units)
        The derivatives phi, phi', .., phi^(order) of the activation at the
        pre-activations.
    features : dict of {Group: array of float64, shape (..., entries, units)}
        The features that have been computed. At first these are single factors: z_B
        under (None, (|B|,)), lambda_S under (|S|, ()), and 1 under (None, ()). A factor
        that vanishes is absent. The method `feature` adds products.
    curved, units : slice or list of int, int
        The neurons that are not linear, and their number.
    """

    def __init__(
        self,
        dim: int,
        name: str | activations.Custom,
        phi: Floats,
        z: dict[int, Floats],
    ) -> None:
        self.dim = dim
        self.phi = phi
        self.curved, self.units = _curved(name, phi.shape[-1])
        self.features: dict[Group, Floats] = {(None, ()): np.ones((1, 1))}
        self.features |= {(None, (size,)): value for size, value in z.items()}

    def has(self, group: Group) -> bool:
        """Return whether no factor of the group vanishes."""
        s, blocks = group
        return (s is None or (s, ()) in self.features) and all(
            (None, (size,)) in self.features for size in blocks
        )

    def feature(self, group: Group) -> Floats:
        """Return the feature of a group of factors, and store it in `features`.

        The feature is the product of the factors, summed over the ways to distribute
        the indices to them. No factor may vanish.
        """
        if group not in self.features:
            s, blocks = group
            if s is None:
                # `symmetric_product` counts each product once for every block of this
                # size that may be the first factor
                size, rest = blocks[0], blocks[1:]
                x = self.features[None, (size,)] / blocks.count(size)
            else:
                size, rest = s, blocks
                x = self.features[s, ()]
            y = self.feature((None, rest))
            self.features[group] = symmetric_product(x, y, size, sum(rest), self.dim)
        return self.features[group]

    def total(self, terms: Iterable[tuple[Floats, Group]]) -> Any:
        """Return a sum of features, each times a coefficient for every neuron.

        A feature that is not in `features` is not computed for itself. Instead, the
        terms with a common factor are summed without this factor, and the sum is
        multiplied by it. This takes fewer products.

        Parameters
        ----------
        terms : iterable of (array of float64, Group)
            The coefficient, of shape (..., 1, units), and the factors of each feature.

        Returns
        -------
        array of float64, shape (..., entries, units), or None
            None if all terms vanish.
        """
        out = None
        cofactors: dict[Group, list] = {}
        for coefficient, (s, blocks) in terms:
            if s == 0:
                coefficient, s = coefficient * self.features[0, ()], None
            if (s, blocks) in self.features:
                value = coefficient * self.features[s, blocks]
                out = value if out is None else np.add(out, value, out=out)
            elif self.has((s, blocks)):
                factor: Group = (s, ())
                rest: Group = (None, blocks)
                if s is None or 1 in blocks:
                    factor, rest = (None, blocks[-1:]), (s, blocks[:-1])
                    coefficient = coefficient / blocks.count(blocks[-1])
                cofactors.setdefault(factor, []).append((coefficient, rest))
        for factor, others in cofactors.items():
            x, y = self.features[factor], self.total(others)
            p, q = _indices(factor), _indices(others[0][1])
            if out is None:
                out = symmetric_product(x, y, p, q, self.dim)
            else:
                add_product(out, x, y, p, q, self.dim)
        return out


def _forward(mlp: MLP, order: int, at: Floats) -> list[_Layer]:
    """Return the hidden layers with their derivatives z_B for |B| <= order // 2.

    `at` holds the centres, with the inputs on its last axis. The layers also store the
    features without lambda_S of at most order // 2 indices. The first layer has the
    derivatives of z of order 1 even if `order` is 1.
    """
    layers: list[_Layer] = []
    slopes: dict[int, Floats] = {}  # the derivatives of the outputs y, by their order
    for name, phi, weight in zip(
        mlp.activations, activation_derivatives(mlp, at, order), mlp.weights
    ):
        if layers:
            z = {k: slope @ weight.T for k, slope in slopes.items()}
        else:
            z = {1: weight.T.copy()}
        layer = _Layer(mlp.dim, name, phi[..., None, :], z)
        layers.append(layer)
        for k in range(1, order // 2 + 1):
            for blocks in partitions(k, k):
                if layer.has((None, blocks)):
                    layer.feature((None, blocks))  # left parts need all of them
            slopes[k] = layer.total(
                (layer.phi[len(blocks)], (None, blocks)) for blocks in partitions(k, k)
            )
    return layers


def _backward(mlp: MLP, order: int, layers: list[_Layer]) -> dict[int, Floats]:
    """Add the derivatives lambda_S for |S| <= (order - 1) // 2 to all layers.

    Return {|S|: the derivatives of d output / d x with respect to the inputs in S}.
    Entry 0 is the gradient of the output, of shape (..., 1, dim). Derivatives that
    vanish are absent, from the layers and from the result.
    """
    adjoint = {0: mlp.weights[-1][:, None, :] if mlp.outputs > 1 else mlp.weights[-1]}
    for layer, weight in zip(reversed(layers), reversed(mlp.weights[:-1])):
        layer.features |= {(s, ()): value for s, value in adjoint.items()}
        adjoint = {}
        for k in range((order - 1) // 2 + 1):
            total = layer.total(
                (layer.phi[len(blocks) + 1], (s, blocks))
                for s in range(k + 1)
                for blocks in partitions(k - s, k)
            )
            if total is not None:
                adjoint[k] = total @ weight
    return adjoint


def _work_bytes(mlp: MLP, order: int) -> int:
    """Return a bound on the bytes that `_tensors` needs for one centre.

    The result of `_tensors` is not included.
    """
    units = sum(map(len, mlp.biases[:-1]))
    features = largest = 0
    for p, rows in _plan(order).items():
        left, right = (
            entries(mlp.dim, size) * len(rows) * units for size in (p, order - p)
        )
        features += left
        block = largest_block(p, order - p, mlp.dim)
        largest = max(largest, left + right + block)
    return 8 * mlp.outputs * (features + largest)


@cache
def keep_freed_memory() -> None:
    """Make the C library keep freed blocks of memory for later calls.

    The first access to new memory takes as long as the computation in it. glibc returns
    a freed block to the system at once if it is larger than a threshold. The threshold
    rises to the size of the largest block freed so far, up to 32 MiB. This function
    allocates and frees a block just below 32 MiB. Other C libraries are not affected.
    The threshold lasts as long as the process. A test fails if this has no effect.
    """
    np.empty(2**25 - 2**16, dtype=np.uint8)


def _columns(
    layers: list[_Layer], rows: Rows
) -> Iterator[tuple[_Layer, Group, list[_Partner]]]:
    """Yield (layer, left part, its right parts) where a product does not vanish.

    `rows` holds the right parts for each left part. A left part is left out at a layer
    where it vanishes, or where all its right parts vanish. Otherwise all its right
    parts are returned, also those that vanish.
    """
    for layer, (left, partners) in product(layers, rows.items()):
        if layer.has(left) and any(layer.has(partner.group) for partner in partners):
            yield layer, left, partners


def _side_by_side(
    shape: tuple[int, ...], layers: list[_Layer], features: Iterable[Floats]
) -> Floats:
    """Join features along their last axis, without the neurons that are linear.

    Parameters
    ----------
    shape : tuple of int
        The shape (..., entries) of all features without the last axis, after
        broadcasting.
    layers : list of _Layer
        The layer of each feature.
    features : iterable of array of float64, shape (..., entries, units)
        The features, for all neurons of their layer.

    Returns
    -------
    array of float64, shape (..., entries, columns)
        The columns are the neurons that are not linear, for one feature after another.
    """
    ends = np.cumsum([layer.units for layer in layers])
    out = np.empty((*shape, ends[-1]))
    for part, layer, feature in zip(
        np.split(out, ends[:-1], axis=-1), layers, features
    ):
        part[...] = feature[..., layer.curved]
    return out


def _tensors(mlp: MLP, order: int, at: Floats) -> Floats:
    """Return the packed tensors of all derivatives of one order.

    All centres are computed together, with temporary arrays of `_work_bytes` for each.
    `at` has shape (..., dim) or, if the network has several outputs, (..., 1, dim). The
    result has shape (..., entries) or (..., outputs, entries).
    """
    layers = _forward(mlp, order, at)
    gradient = _backward(mlp, order, layers)
    batch = at.shape[:-1]
    if mlp.outputs > 1:
        batch = np.broadcast_shapes(batch, (mlp.outputs,))
    if order == 1:
        # A copy: never a view of the weights
        return np.array(np.broadcast_to(gradient[0][..., 0, :], (*batch, mlp.dim)))
    out = np.zeros((*batch, entries(mlp.dim, order)))
    for p, rows in _plan(order).items():
        columns = list(_columns(layers, rows))
        if not columns:
            continue
        q = order - p
        own = [layer for layer, _, _ in columns]
        lefts = (layer.feature(left) for layer, left, _ in columns)
        rights = (
            layer.total((weight * layer.phi[m], group) for weight, m, group in partners)
            for layer, _, partners in columns
        )
        x = _side_by_side((*batch, entries(mlp.dim, p)), own, lefts)
        y = _side_by_side((*batch, entries(mlp.dim, q)), own, rights)
        unordered = 2 * p == order and p > 1
        contracted_product(out, x, y, p, q, mlp.dim, unordered=unordered)
    return out


def derivatives(mlp: MLP, order: int, at: Floats) -> Floats:
    """Return the packed tensor of all partial derivatives of one order.

    Parameters
    ----------
    mlp : MLP
        The network.
    order : int
        The order, at least 1. It is not checked.
    at : array of float64, shape (..., dim)
        The centre, or a batch of centres. It is not checked.

    Returns
    -------
    array of float64, shape (C(dim + order - 1, order), ..., [outputs])
        The entries of the tensor with sorted indices, with the binomial coefficient C.
        They may be not finite. The dots stand for the axes of the batch. The axis
        [outputs] is absent if the network has one output.

    Raises
    ------
    ValueError
        If the arrays need more memory than is free, or a neuron's pre-activation is 0
        where its activation has a kink (order 2 or higher). Memory is checked before
        any is allocated.

    Notes
    -----
    From order 4 on, most of the time is spent in matrix products. A left part of p
    indices needs 2 C(dim + p - 1, p) C(dim + q - 1, q) floating-point operations for
    each neuron that is not linear, with q = order - p, and half of that for p = q. At
    orders 2 and 3 most of the time is spent in computing the features and in function
    calls.
    """
    keep_freed_memory()
    batch = at.shape[:-1]
    outputs = (mlp.outputs,) if mlp.outputs > 1 else ()
    size, centres = entries(mlp.dim, order), prod(batch)
    work = _work_bytes(mlp, order)
    together = max(1, CHUNK_BYTES // max(work, 1))
    needed = 8 * mlp.outputs * centres * size + min(together, centres) * work
    validation.memory(f"order = {order}", needed, "use .terms of taylor_expand")
    if outputs:
        at = at[..., None, :]  # the outputs are one more axis of the batch
    if not batch:
        return np.moveaxis(_tensors(mlp, order, at), -1, 0)
    points = at.reshape(-1, *at.shape[len(batch) :])
    out = np.empty((centres, *outputs, size))
    for part in chunks.slices(centres, together):
        out[part] = _tensors(mlp, order, points[part])
    return np.moveaxis(out.reshape(*batch, *outputs, size), -1, 0)
