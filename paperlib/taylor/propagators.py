"""Propagators and vertices: the factors of a network's diagrams.

A propagator is the derivative of one layer's pre-activations with respect to those of
an earlier layer. A vertex is a derivative of an activation at a neuron. Every
derivative of a network is a sum of products of these factors. `diagrams` has the rules.
"""

import numpy as np
from numpy.typing import ArrayLike

from paperlib._support import validation
from paperlib._support.validation import Floats
from paperlib.networks.mlp import MLP, SMALLER, activation_derivatives, expansion_point
from paperlib.taylor.symmetric import without_warnings


@without_warnings
def propagator(
    mlp: MLP, at: ArrayLike | None, to_layer: int, from_layer: int
) -> Floats:
    """Return the derivatives of one layer's pre-activations by those of another layer.

    Let z^l be the pre-activations of layer l. The propagator from layer m to layer l is
    P^(l<-m) = d z^l / d z^m, and the unit matrix if l = m. Layer 0 is the input,
    z^0 = x. Layers 1 to L are the hidden layers. Layer L + 1 is the output.

    Parameters
    ----------
    mlp : MLP
        The network.
    at : array_like of float, shape (..., dim), or None
        The centre, or a batch of centres. None stands for the origin.
    to_layer : int
        The layer l, from 0 to L + 1.
    from_layer : int
        The layer m, from 0 to l.

    Returns
    -------
    array of float64, shape (..., units of l, units of m)
        Entry [..., j, i] is d z^l_j / d z^m_i. The units of a layer are its neurons,
        its inputs or its outputs. The dots stand for the axes of the batch.

    Raises
    ------
    TypeError
        If an argument has the wrong type.
    ValueError
        If `at` is not finite or its last axis is not `mlp.dim` long, a layer is out of
        range, or a result overflows float64.

    Notes
    -----
    P^(l<-m) = W^l D^(l-1) W^(l-1) .. D^(m+1) W^(m+1) D^m. Here W^k is the matrix of
    weights of layer k, and D^k is the diagonal matrix of the slopes phi'(z^k_j) of its
    activation. D^0 is the unit matrix.

    Examples
    --------
    The gradient of the output at the origin:

    >>> weights = [[[1.0, -1.0], [2.0, 0.0]], [[1.0, 1.0]]]
    >>> mlp = MLP(weights, [[0.0, 0.0], [0.5]], "tanh")
    >>> propagator(mlp, None, 2, 0)
    array([[ 3., -1.]])
    """
    at = expansion_point(mlp, at)
    to_layer = validation.integer(
        "to_layer", to_layer, minimum=0, maximum=mlp.depth + 1
    )
    from_layer = validation.integer(
        "from_layer", from_layer, minimum=0, maximum=to_layer
    )
    identity = np.eye((mlp.dim, *map(len, mlp.biases))[from_layer])
    chain = np.broadcast_to(identity, (*at.shape[:-1], *identity.shape))
    slopes = [np.ones(at.shape)]
    slopes += [phi[1] for phi in activation_derivatives(mlp, at, 1)]
    for layer in range(from_layer, to_layer):
        chain = mlp.weights[layer] @ (slopes[layer][..., None] * chain)
    return validation.representable("mlp, at", chain, SMALLER)


@without_warnings
def vertices(mlp: MLP, at: ArrayLike | None, legs: int) -> tuple[Floats, ...]:
    """Return the vertex of k legs at each neuron of each hidden layer.

    The vertex of k legs at neuron j of layer l is phi^(k)(z^l_j), the k-th derivative
    of the layer's activation phi at the pre-activation z^l_j.

    Parameters
    ----------
    mlp : MLP
        The network, with L hidden layers.
    at : array_like of float, shape (..., dim), or None
        The centre, or a batch of centres. None stands for the origin.
    legs : int
        The number of legs k, from 1 to 170. The vertices of diagrams have two legs or
        more. With k = 1 the result is the slopes that occur in propagators.

    Returns
    -------
    tuple of L arrays of float64, shapes (..., units of l)
        The vertices of the layers l = 1, .., L. The units of a layer are its neurons.

    Raises
    ------
    TypeError
        If an argument has the wrong type.
    ValueError
        If `at` is not finite or its last axis is not `mlp.dim` long, `legs` is out of
        range, a result overflows float64, or a neuron's pre-activation is 0 where its
        activation has a kink, as relu has at 0 (k >= 2).

    Examples
    --------
    For tanh, phi'' = -2 tanh(z) (1 - tanh(z)^2):

    >>> mlp = MLP([[[1.0], [2.0]], [[1.0, 1.0]]], [[0.5, 1.0], [0.0]], "tanh")
    >>> [layer.round(4).tolist() for layer in vertices(mlp, None, 2)]
    [[-0.7269, -0.6397]]
    """
    at = expansion_point(mlp, at)
    legs = validation.integer("legs", legs, minimum=1, limit=validation.SERIES_ORDER)
    return tuple(
        validation.representable("mlp, at", phi[legs], SMALLER)
        for phi in activation_derivatives(mlp, at, legs)
    )
