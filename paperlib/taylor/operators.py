r"""Chosen partial derivatives and differential operators of a network, without its tensors.

Each is batched over centres, and takes of the centroid rule (see `centroid`) what it needs: of order n derivatives of half of
it, along the directions that are asked for (`words`), or sums of them that are formed as they are met.
"""

from collections.abc import Callable, Sequence
from math import prod
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from paperlib._support import checks
from paperlib._support.checks import Floats
from paperlib.networks.mlp import MLP, centre, phis
from paperlib.taylor.tensors import SMALLER
from paperlib.taylor.words import along, swept

__all__ = ["bilaplacian", "hessian_vector", "laplacian", "mixed_derivative", "partials"]

CHUNK_BYTES = 2**20
PARTS = 1024  # words within one word: of ten letters, if all of them differ


def _by_chunks(mlp: MLP, nbytes: int, function: Callable[..., Floats], *arrays: Floats) -> Floats:
    """A function from rows (n, dim) to (n, outputs, ..), over arrays (..., dim), so many rows at a time as a MiB holds.

    `nbytes` is what one takes. The arrays broadcast; the result is of shape (..., [outputs,] ..).
    """
    full = np.broadcast_shapes(*(array.shape for array in arrays))
    rows = [np.broadcast_to(array, full).reshape(-1, mlp.dim) for array in arrays]
    together = max(1, CHUNK_BYTES // nbytes)
    chunks = [slice(first, first + together) for first in range(0, len(rows[0]), together)]
    with np.errstate(over="ignore", invalid="ignore"):
        parts = [function(*(array[chunk] for array in rows)) for chunk in chunks]
    found = checks.representable("mlp, at", np.concatenate(parts), SMALLER)
    return found.reshape((*full[:-1], *found.shape[1 + (mlp.outputs == 1) :]))


def _parts(word: Sequence[int]) -> int:
    """How many words there are within one."""
    return prod(word.count(index) + 1 for index in set(word))


def _units(mlp: MLP) -> int:
    return sum(map(len, mlp.biases)) + mlp.dim


def partials(mlp: MLP, indices: Sequence[Sequence[int]], at: ArrayLike | None = None) -> Floats:
    """Chosen partial derivatives, of one order or of several; shape (..., [outputs,] number of tuples).

    Nothing more is computed than they need: what tuples of one order have in common once, and of order n the derivatives
    of half of it. A ValueError if a neuron with a kink sits at a centre, for order 2 or higher.

    Parameters
    ----------
    mlp : MLP
    indices : sequence of sequence of int
        (0, 0, 2) asks for d^3 output / d x_0 d x_0 d x_2. From 1 to 20 indices each, of which at most ten differ.
    at : array_like of float, shape (..., dim), optional
        The centre, or a batch of them; the origin if not given.

    Examples
    --------
    >>> mlp = MLP([[[1.0, 2.0]], [[1.0]]], [[0.0], [0.0]], "exp")    # exp(x + 2 y)
    >>> partials(mlp, [(0,), (1, 1), (0, 1, 1, 1)])
    array([1., 4., 8.])
    """
    at, words = centre(mlp, at), []
    tuples: list[Any] = checks.sequence("indices", indices)
    for place, given in enumerate(tuples):
        name: list[Any] = checks.sequence(f"indices[{place}]", given)
        word = tuple(checks.integer(f"indices[{place}]", index, minimum=0, maximum=mlp.dim - 1) for index in name)
        if not 0 < len(word) <= checks.TENSOR_ORDER or _parts(word) > PARTS:
            raise ValueError(
                f"indices[{place}] = {checks.brief(given)}: must be 1 to {checks.TENSOR_ORDER} indices, of which at most ten differ"
            )
        words.append(word)
    if not words:
        raise ValueError("indices = (): must be one tuple or more")
    used = sorted({index for word in words for index in word})
    letter = {index: place for place, index in enumerate(used)}
    spelled = [tuple(letter[index] for index in word) for word in words]
    directions = np.eye(mlp.dim)[None, used]
    nbytes = 32 * _units(mlp) * mlp.outputs * sum(map(_parts, words))
    return _by_chunks(mlp, nbytes, lambda points: along(mlp, points, directions, spelled), at)


def mixed_derivative(mlp: MLP, directions: Sequence[ArrayLike], at: ArrayLike | None = None) -> Floats:
    """The derivative along several directions, D^n f[v_1, .., v_n]; shape (..., [outputs]).

    Along one direction n times, `directional_derivatives` takes less. A ValueError if a neuron with a kink sits at a centre,
    for two directions or more.

    Parameters
    ----------
    mlp : MLP
    directions : sequence of array_like of float, each of shape (..., dim)
        One to ten, which broadcast with each other and with `at`.
    at : array_like of float, shape (..., dim), optional
        The centre, or centres; the origin if not given.

    Examples
    --------
    >>> mlp = MLP([[[1.0, 2.0]], [[1.0]]], [[0.0], [0.0]], "exp")    # exp(x + 2 y)
    >>> mixed_derivative(mlp, [[1.0, 0.0], [1.0, 1.0]])              # f_xx + f_xy
    array(3.)
    """
    at = centre(mlp, at)
    given: list[Any] = checks.sequence("directions", directions)
    if not 1 <= len(given) <= 10:
        raise ValueError(f"directions: {len(given)} of them; must be 1 to 10")
    vectors = [checks.real_array(f"directions[{k}]", vector, last=mlp.dim) for k, vector in enumerate(given)]
    shapes = [array.shape for array in (*vectors, at)]
    try:
        np.broadcast_shapes(*shapes)
    except ValueError:
        raise ValueError(
            f"directions: shapes {', '.join(map(str, shapes[:-1]))}; must broadcast with at, {at.shape}"
        ) from None
    word = tuple(range(len(vectors)))

    def derivatives(points: Floats, *rows: Floats) -> Floats:
        return along(mlp, points, np.stack(rows, axis=1), [word])

    return _by_chunks(mlp, 32 * _units(mlp) * mlp.outputs * 2 ** len(word), derivatives, at, *vectors)[..., 0]


def hessian_vector(mlp: MLP, v: ArrayLike, at: ArrayLike | None = None) -> Floats:
    """The Hessian times a direction, D^2 f[v, .]; shape (..., [outputs,] dim). No Hessian is made.

    What the adjoint carries along v down to the inputs. A ValueError if a neuron with a kink sits at a centre.

    Parameters
    ----------
    mlp : MLP
    v : array_like of float, shape (..., dim)
    at : array_like of float, shape (..., dim), optional
        The centre, or centres that broadcast with v; the origin if not given.

    Examples
    --------
    >>> mlp = MLP([[[1.0, 2.0]], [[1.0]]], [[0.0], [0.0]], "exp")    # exp(x + 2 y)
    >>> hessian_vector(mlp, [1.0, 1.0])
    array([3., 6.])
    """
    at, v = centre(mlp, at), checks.real_array("v", v, last=mlp.dim)
    checks.broadcast("v", v, "at", at)

    def products(points: Floats, vectors: Floats) -> Floats:
        _, inputs = swept(mlp, 2, 1, points[:, None], vectors[:, None, None], {(1,): {(0,): 0}})
        none = np.zeros((len(points), mlp.outputs, mlp.dim))
        return inputs[1,][..., 0, :] + none if (1,) in inputs else none

    return _by_chunks(mlp, 64 * _units(mlp) * mlp.outputs, products, at, v)


def laplacian(mlp: MLP, at: ArrayLike | None = None, metric: ArrayLike | None = None) -> Floats:
    r"""The sum of second derivatives, or one with weights; shape (..., [outputs]).

    .. math:: \Delta f = \sum_i \partial_i^2 f = \sum_{l, j} \lambda_j \varphi''(z_j) \sum_i (\partial_i z_j)^2

    over all hidden neurons: forward slopes and one adjoint, no second derivative of anything. A ValueError if a neuron with
    a kink sits at a centre.

    Parameters
    ----------
    mlp : MLP
    at : array_like of float, shape (..., dim), optional
        The centre, or a batch of them; the origin if not given.
    metric : array_like of float, shape (dim,) or (dim, dim), optional
        Weights g_i of the second derivatives, or g_ij of all of them, of which the symmetric part counts.

    Examples
    --------
    >>> mlp = MLP([[[1.0, 2.0]], [[1.0]]], [[0.0], [0.0]], "exp")    # exp(x + 2 y)
    >>> laplacian(mlp), laplacian(mlp, metric=[1.0, -1.0])
    (array(5.), array(-3.))
    """
    at = centre(mlp, at)
    g = None if metric is None else checks.real_array("metric", metric, last=mlp.dim)
    if g is not None and g.shape not in ((mlp.dim,), (mlp.dim, mlp.dim)):
        raise ValueError(f"metric: shape {g.shape}; must be {(mlp.dim,)} or {(mlp.dim, mlp.dim)}")

    def squares(z: Floats) -> Floats:
        turned = z if g is None else g[:, None] * z if g.ndim == 1 else g @ z
        return np.einsum("...iu,...iu->...u", z, turned)

    def sums(points: Floats) -> Floats:
        slopes, kept = None, []
        for phi, weight in zip(phis(mlp, points, 2), mlp.weights):
            z = weight.T if slopes is None else slopes @ weight.T
            kept.append((phi[1][:, None], (phi[2] * squares(z))[:, None]))
            slopes = phi[1][:, None] * z
        adjoint, total = mlp.weights[-1], np.zeros((len(points), mlp.outputs))
        for (slope, bent), weight in zip(reversed(kept), reversed(mlp.weights[:-1])):
            total += (adjoint * bent).sum(axis=-1)
            adjoint = (adjoint * slope) @ weight
        return total

    return _by_chunks(mlp, 16 * mlp.dim * max(map(len, mlp.biases)), sums, at)


def bilaplacian(mlp: MLP, at: ArrayLike | None = None) -> Floats:
    r"""The Laplacian of the Laplacian, the sum of the fourth derivatives by i, i, j and j; shape (..., [outputs]).

    By the centroid rule of order four, from second derivatives of pre-activations that are summed as they are formed. A
    ValueError if a neuron with a kink sits at a centre.

    Parameters
    ----------
    mlp : MLP
    at : array_like of float, shape (..., dim), optional
        The centre, or a batch of them; the origin if not given.

    Examples
    --------
    >>> mlp = MLP([[[1.0, 2.0]], [[1.0]]], [[0.0], [0.0]], "exp")    # exp(x + 2 y)
    >>> bilaplacian(mlp)
    array(25.)
    """
    at = centre(mlp, at)
    one = mlp.dim * max(map(len, mlp.biases))
    together = max(1, CHUNK_BYTES // (8 * one))
    return _by_chunks(mlp, 32 * one * min(mlp.dim, together), lambda points: _bilaplacians(mlp, points, together), at)


def _bilaplacians(mlp: MLP, at: Floats, rows_together: int) -> Floats:
    """At (n, dim) -> (n, outputs). Second derivatives z_ij are formed for so many i at a time."""
    vertices = list(phis(mlp, at, 4))  # (5, n, units)
    slopes: list[Floats] = []  # z_i, (n, dim, units)
    for phi, weight in zip([None, *vertices], mlp.weights[:-1]):
        z = (np.eye(mlp.dim)[None] if phi is None else phi[1][:, None] * slopes[-1]) @ weight.T
        slopes.append(np.broadcast_to(z, (len(at), *z.shape[1:])))
    # Sums over j of z_ij z_j, over i of z_ii, and over both of z_ij^2; of the first layer all vanish.
    turned = [np.zeros(z.shape) for z in slopes]
    traces, squares = ([np.zeros((len(at), z.shape[-1])) for z in slopes] for _ in range(2))
    for first in range(0, mlp.dim, rows_together):
        chosen = slice(first, first + rows_together)
        second: Any = None
        for layer in range(1, mlp.depth):
            phi, z = vertices[layer - 1], slopes[layer - 1]
            bent = phi[2][:, None, None] * (z[:, chosen, None] * z[:, None])
            second = (bent if second is None else bent + phi[1][:, None, None] * second) @ mlp.weights[layer].T
            turned[layer][:, chosen] = np.einsum("niju,nju->niu", second, slopes[layer])
            squares[layer] += np.einsum("niju,niju->nu", second, second)
            own = np.arange(second.shape[1])
            traces[layer] += second[:, own, first + own].sum(axis=1)
    adjoint: Any = mlp.weights[-1][None]  # lambda (n, outputs, units), and lambda_i (n, outputs, dim, units)
    adjoints: Any = np.zeros((1, mlp.outputs, 1, adjoint.shape[-1]))
    total = np.zeros((len(at), mlp.outputs))
    for layer in reversed(range(mlp.depth)):
        phi, z, trace = vertices[layer][:, :, None], slopes[layer], traces[layer]
        q, w = (np.einsum("niu,niu->nu", z, other) for other in (z, turned[layer]))
        own = phi[2] * (trace**2 + 2 * squares[layer])[:, None] + phi[3] * (2 * trace * q + 4 * w)[:, None]
        total += (adjoint * (own + phi[4] * (q**2)[:, None])).sum(axis=-1)
        p, c = ((adjoints * other[:, None]).sum(axis=-2) for other in (z, turned[layer]))
        total += 4 * (phi[2] * (2 * c + trace[:, None] * p) + phi[3] * p * q[:, None]).sum(axis=-1)
        carried = (phi[2] * adjoint)[:, :, None] * z[:, None] + phi[1][:, :, None] * adjoints
        adjoint, adjoints = (phi[1] * adjoint) @ mlp.weights[layer], carried @ mlp.weights[layer]
    return total
