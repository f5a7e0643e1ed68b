r"""Chosen partial derivatives and differential operators of a network, without its tensors.

Each function is batched over centres. It computes only the derivatives that it needs (see `program`). Its compiled request is
cached for each network (see `compilation`), so that a loop over calls compiles once.
"""

from collections.abc import Sequence
from typing import Any

from numpy.typing import ArrayLike

from paperlib._support import validation
from paperlib._support.validation import Floats
from paperlib.networks.mlp import MLP
from paperlib.taylor.compilation import array, centres, evaluate, prepare
from paperlib.taylor.requests import Key, Sum, indices_of, sum_of


def partial_derivatives(
    mlp: MLP, indices: Sequence[Sequence[int]], at: ArrayLike | None = None
) -> Floats:
    """Return chosen partial derivatives, of one order or of several.

    A derivative of order n is computed from derivatives of order n/2. What several
    tuples need is computed once.

    Parameters
    ----------
    mlp : MLP
    indices : sequence of sequence of int
        One tuple for each derivative: (0, 0, 2) stands for d^3 output / d x_0 d x_0 d
        x_2. A tuple has 1 to 20 indices, of which at most ten are different.
    at : array_like of float, shape (..., dim), optional
        The centre, or a batch of centres; the origin if not given.

    Returns
    -------
    ndarray of float64, shape (..., [outputs,] number of tuples)

    Raises
    ------
    ValueError
        If an index is not an input's, a neuron sits at a kink (order 2 or higher), or a
        derivative overflows float64.

    Examples
    --------
    >>> mlp = MLP([[[1.0, 2.0]], [[1.0]]], [[0.0], [0.0]], "exp")    # exp(x + 2 y)
    >>> partial_derivatives(mlp, [(0,), (1, 1), (0, 1, 1, 1)])
    array([1., 4., 8.])
    """
    where = centres(mlp, at)
    return _evaluated(mlp, indices_of("indices", indices, mlp.dim), where)


def _evaluated(mlp: MLP, key: Key, at: Floats, *directions: Floats) -> Floats:
    return evaluate(mlp, key, prepare(mlp, key), at, directions)


def mixed_derivative(
    mlp: MLP, directions: Sequence[ArrayLike], at: ArrayLike | None = None
) -> Floats:
    """Return the derivative along several directions, D^n f[v_1, .., v_n].

    For one direction n times, `directional_derivatives` takes less time.

    Parameters
    ----------
    mlp : MLP
    directions : sequence of array_like of float, each of shape (..., dim)
        One to ten directions, which broadcast with each other and with `at`.
    at : array_like of float, shape (..., dim), optional
        The centre, or a batch of centres; the origin if not given.

    Returns
    -------
    ndarray of float64, shape (..., [outputs])

    Raises
    ------
    ValueError
        If the shapes do not broadcast, a neuron sits at a kink (two directions or
        more), or the derivative overflows float64.

    Examples
    --------
    >>> mlp = MLP([[[1.0, 2.0]], [[1.0]]], [[0.0], [0.0]], "exp")    # exp(x + 2 y)
    >>> mixed_derivative(mlp, [[1.0, 0.0], [1.0, 1.0]])              # f_xx + f_xy
    array(3.)
    """
    where = centres(mlp, at)
    given: list[Any] = validation.sequence("directions", directions)
    if not 1 <= len(given) <= 10:
        raise ValueError(f"directions: {len(given)} of them; must be 1 to 10")
    names = tuple(f"directions[{k}]" for k in range(len(given)))
    vectors = [array(name, vector, mlp.dim) for name, vector in zip(names, given)]
    return _evaluated(mlp, (names,), where, *vectors)[..., 0]


def hvp(mlp: MLP, v: ArrayLike, at: ArrayLike | None = None) -> Floats:
    """Return the Hessian times a direction, D^2 f[v, .], without the Hessian.

    Parameters
    ----------
    mlp : MLP
    v : array_like of float, shape (..., dim)
        The direction, or directions that broadcast with `at`.
    at : array_like of float, shape (..., dim), optional
        The centre, or a batch of centres; the origin if not given.

    Returns
    -------
    ndarray of float64, shape (..., [outputs,] dim)

    Raises
    ------
    ValueError
        If the shapes do not broadcast, a neuron sits at a kink, or the product
        overflows float64.

    Examples
    --------
    >>> mlp = MLP([[[1.0, 2.0]], [[1.0]]], [[0.0], [0.0]], "exp")    # exp(x + 2 y)
    >>> hvp(mlp, [1.0, 1.0])
    array([3., 6.])
    """
    where, vector = centres(mlp, at), array("v", v, mlp.dim)
    validation.broadcast("v", vector, "at", where)
    return _evaluated(mlp, (("v", ...),), where, vector)[..., 0, :]


def laplacian(
    mlp: MLP, at: ArrayLike | None = None, metric: ArrayLike | None = None
) -> Floats:
    r"""Return the sum of second derivatives, or a weighted sum.

    .. math:: \Delta f = \sum_{i j} g_{i j}\, \partial_i \partial_j f

    It is carried forward through the layers beside the first derivatives, as in the
    forward Laplacian. The number of directions that are carried is at most the number
    of units of the first layer.

    Parameters
    ----------
    mlp : MLP
    at : array_like of float, shape (..., dim), optional
        The centre, or a batch of centres; the origin if not given.
    metric : array_like of float, shape (dim,) or (dim, dim), optional
        The weights g_i of the second derivatives by one input, or g_ij of all; the
        symmetric part counts. All g_ii are 1 if not given.

    Returns
    -------
    ndarray of float64, shape (..., [outputs])

    Raises
    ------
    ValueError
        If the metric has another shape, a neuron sits at a kink, or the sum overflows
        float64.

    References
    ----------
    - Li et al., A computational framework for neural network-based variational Monte
      Carlo with forward Laplacian (2024): https://arxiv.org/abs/2307.08214

    Examples
    --------
    >>> mlp = MLP([[[1.0, 2.0]], [[1.0]]], [[0.0], [0.0]], "exp")    # exp(x + 2 y)
    >>> laplacian(mlp), laplacian(mlp, metric=[1.0, -1.0])
    (array(5.), array(-3.))
    """
    where = centres(mlp, at)
    return _evaluated(mlp, sum_of(mlp, 1, metric), where)


def bilaplacian(mlp: MLP, at: ArrayLike | None = None) -> Floats:
    r"""Return the Laplacian of the Laplacian, the sum of the fourth derivatives by i, i, j and j.

    .. math:: \Delta^2 f = \sum_{i j} \partial_i^2 \partial_j^2 f

    Second derivatives of pre-activations are carried forward for each pair of
    directions; see `laplacian`.

    Parameters
    ----------
    mlp : MLP
    at : array_like of float, shape (..., dim), optional
        The centre, or a batch of centres; the origin if not given.

    Returns
    -------
    ndarray of float64, shape (..., [outputs])

    Raises
    ------
    ValueError
        If a neuron sits at a kink, the sum overflows float64, or memory is short.

    Examples
    --------
    >>> mlp = MLP([[[1.0, 2.0]], [[1.0]]], [[0.0], [0.0]], "exp")    # exp(x + 2 y)
    >>> bilaplacian(mlp)
    array(25.)
    """
    return _evaluated(mlp, Sum(2), centres(mlp, at))
