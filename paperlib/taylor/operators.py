"""Single partial derivatives and differential operators of a network.

The functions do not compute the tensor of all derivatives of an order. They compute
the requested derivatives, and the derivatives of layers that these need. A *centre* is
a point where derivatives are computed. Each function accepts one centre or a batch of
centres.

The derivatives are sums of products of numbers. At the first call, these products are
listed as a program (see `program`). The list is cached for each network and reused by
later calls with the same indices, metric or number of directions.
"""

from collections.abc import Sequence
from typing import Any

from numpy.typing import ArrayLike

from paperlib._support import validation
from paperlib._support.validation import Floats
from paperlib.networks.mlp import MLP
from paperlib.taylor.compilation import array, centres, evaluate, prepare
from paperlib.taylor.requests import Key, LaplacianKey, check_indices, laplacian_key


def partial_derivatives(
    mlp: MLP, indices: Sequence[Sequence[int]], at: ArrayLike | None = None
) -> Floats:
    """Return the partial derivatives in a list, whose orders may differ.

    A derivative of order n is computed from derivatives of the layers of order at most
    n/2. Derivatives of layers that several results need are computed once.

    Parameters
    ----------
    mlp : MLP
        The network f.
    indices : sequence of sequence of int
        One tuple of input numbers for each derivative. Inputs are numbered from 0.
        (0, 0, 2) stands for the third derivative of f, twice by x_0 and once by x_2. A
        tuple has 1 to 20 numbers. The product of (count + 1) over its different numbers
        must be at most 1024. Ten different numbers are allowed, or five different
        numbers three times each.
    at : array_like of float, shape (..., dim), optional
        The centre, or a batch of centres. The default is the origin.

    Returns
    -------
    array of float64, shape (..., [outputs,] number of tuples)
        One derivative for each tuple, on the last axis. The dots stand for the axes of
        the batch. The axis [outputs] is absent if the network has one output.

    Raises
    ------
    TypeError
        If an argument has the wrong type.
    ValueError
        If `at` is not finite or its last axis is not `mlp.dim` long, a tuple is not
        allowed, a derivative overflows float64, or a neuron's pre-activation is 0 where
        its activation has a kink, as relu has at 0 (order 2 or higher).

    Examples
    --------
    >>> mlp = MLP([[[1.0, 2.0]], [[1.0]]], [[0.0], [0.0]], "exp")    # exp(x + 2 y)
    >>> partial_derivatives(mlp, [(0,), (1, 1), (0, 1, 1, 1)])
    array([1., 4., 8.])
    """
    points = centres(mlp, at)
    return _evaluate(mlp, check_indices("indices", indices, mlp.dim), points)


def _evaluate(mlp: MLP, key: Key, at: Floats, *directions: Floats) -> Floats:
    """Compile the request `key`, or take it from the cache, and evaluate it.

    `at` has shape (..., dim). `directions` are the named directions of the request, in
    the order in which their names first occur in `key`. They broadcast with `at`.
    """
    return evaluate(mlp, key, prepare(mlp, key), at, directions)


def mixed_derivative(
    mlp: MLP, directions: Sequence[ArrayLike], at: ArrayLike | None = None
) -> Floats:
    """Return the derivative along several directions, one after another.

    The derivative of a network f along the directions v_1, .., v_n at the centre `at`
    is D^n f(at)[v_1, .., v_n], the derivative of f(at + t_1 v_1 + .. + t_n v_n) once by
    each of t_1, .., t_n at 0. If all directions are the same, `directional_derivatives`
    takes less time.

    Parameters
    ----------
    mlp : MLP
        The network f.
    directions : sequence of array_like of float, each of shape (..., dim)
        The directions v_1, .., v_n. Their number n is from 1 to 10. Each may be a batch
        of directions. They broadcast with each other and with `at`.
    at : array_like of float, shape (..., dim), optional
        The centre, or a batch of centres. The default is the origin.

    Returns
    -------
    array of float64, shape (..., [outputs])
        The dots stand for the axes of the batch. The axis [outputs] is absent if the
        network has one output.

    Raises
    ------
    TypeError
        If an argument has the wrong type.
    ValueError
        If an array is not finite or has another shape, the shapes do not broadcast, the
        number of directions is out of range, the derivative overflows float64, or a
        neuron's pre-activation is 0 where its activation has a kink, as relu has at 0
        (two directions or more).

    Examples
    --------
    >>> mlp = MLP([[[1.0, 2.0]], [[1.0]]], [[0.0], [0.0]], "exp")    # exp(x + 2 y)
    >>> mixed_derivative(mlp, [[1.0, 0.0], [1.0, 1.0]])    # f_xx + f_xy
    array(3.)
    """
    points = centres(mlp, at)
    items: list[Any] = validation.sequence("directions", directions)
    if not 1 <= len(items) <= 10:
        raise ValueError(f"directions: has {len(items)} entries; must have 1 to 10")
    names = tuple(f"directions[{k}]" for k in range(len(items)))
    vectors = [array(name, item, mlp.dim) for name, item in zip(names, items)]
    return _evaluate(mlp, (names,), points, *vectors)[..., 0]


def hvp(mlp: MLP, v: ArrayLike, at: ArrayLike | None = None) -> Floats:
    """Return the product of the Hessian matrix and a vector (Hessian-vector product).

    Entry i of the product is the sum over j of v_j d^2 f / d x_i d x_j. It is computed
    as the gradient of the derivative along v. The Hessian matrix is not computed.

    Parameters
    ----------
    mlp : MLP
        The network f.
    v : array_like of float, shape (..., dim)
        The vector v, or a batch of vectors that broadcasts with `at`.
    at : array_like of float, shape (..., dim), optional
        The centre, or a batch of centres. The default is the origin.

    Returns
    -------
    array of float64, shape (..., [outputs,] dim)
        The dots stand for the axes of the batch. The axis [outputs] is absent if the
        network has one output.

    Raises
    ------
    TypeError
        If an argument has the wrong type.
    ValueError
        If an array is not finite or has another shape, the shapes do not broadcast, the
        product overflows float64, or a neuron's pre-activation is 0 where its
        activation has a kink, as relu has at 0.

    Examples
    --------
    >>> mlp = MLP([[[1.0, 2.0]], [[1.0]]], [[0.0], [0.0]], "exp")    # exp(x + 2 y)
    >>> hvp(mlp, [1.0, 1.0])
    array([3., 6.])
    """
    points = centres(mlp, at)
    vector = array("v", v, mlp.dim)
    validation.broadcast("v", vector, "at", points)
    return _evaluate(mlp, (("v", ...),), points, vector)[..., 0, :]


def laplacian(
    mlp: MLP, at: ArrayLike | None = None, metric: ArrayLike | None = None
) -> Floats:
    r"""Return the Laplacian, or a weighted sum of second derivatives.

    .. math:: \Delta f = \sum_{i j} g_{i j}\, \partial_i \partial_j f

    Here f is the network, and the weights g_ij are the metric. The Laplacian of each
    layer is computed from the Laplacian of the layer before, together with its first
    derivatives along certain directions (the forward Laplacian). The directions are
    combinations of the inputs' unit vectors. Without a metric there are at most as many
    as neurons in the first layer, with a metric at most twice that number.

    Parameters
    ----------
    mlp : MLP
        The network f.
    at : array_like of float, shape (..., dim), optional
        The centre, or a batch of centres. The default is the origin.
    metric : array_like of float, shape (dim,) or (dim, dim), optional
        The weights g_ii, with g_ij = 0 for i != j, or all weights g_ij. They may be
        negative. A matrix is replaced by its symmetric part, which does not change the
        sum. The default is the unit matrix, which gives the usual Laplacian.

    Returns
    -------
    array of float64, shape (..., [outputs])
        The dots stand for the axes of the batch. The axis [outputs] is absent if the
        network has one output.

    Raises
    ------
    TypeError
        If an argument has the wrong type.
    ValueError
        If `at` or `metric` is not finite or has another shape, the sum overflows
        float64, or a neuron's pre-activation is 0 where its activation has a kink, as
        relu has at 0.

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
    points = centres(mlp, at)
    return _evaluate(mlp, laplacian_key(mlp, 1, metric), points)


def bilaplacian(mlp: MLP, at: ArrayLike | None = None) -> Floats:
    r"""Return the Laplacian of the Laplacian, a sum of fourth derivatives.

    .. math:: \Delta^2 f = \sum_{i j} \partial_i^2 \partial_j^2 f

    Here f is the network. The bilaplacian of each layer is computed from derivatives of
    the layer before: its bilaplacian, its Laplacian and the derivatives of the
    Laplacian along certain directions, and its first and second derivatives along all
    directions and pairs of directions. There are at most as many directions as neurons
    in the first layer.

    Parameters
    ----------
    mlp : MLP
        The network f.
    at : array_like of float, shape (..., dim), optional
        The centre, or a batch of centres. The default is the origin.

    Returns
    -------
    array of float64, shape (..., [outputs])
        The dots stand for the axes of the batch. The axis [outputs] is absent if the
        network has one output.

    Raises
    ------
    TypeError
        If an argument has the wrong type.
    ValueError
        If `at` is not finite or its last axis is not `mlp.dim` long, the sum overflows
        float64, more memory is needed than is free, or a neuron's pre-activation is 0
        where its activation has a kink, as relu has at 0.

    Examples
    --------
    >>> mlp = MLP([[[1.0, 2.0]], [[1.0]]], [[0.0], [0.0]], "exp")    # exp(x + 2 y)
    >>> bilaplacian(mlp)
    array(25.)
    """
    return _evaluate(mlp, LaplacianKey(2), centres(mlp, at))
