r"""An ensemble of networks in TensorFlow: values, gradients and Hessian-vector products, written out layer by layer.

Weights are stacked along a leading member axis, inputs first: y W is one batched product. The gradient is the paper's
chain of propagators, from the output down; with the tangent of every quantity along v beside it (a dot), it carries the
Hessian-vector product too:

.. math::
    z^l = y^{l-1} W^l + b^l, \quad \dot z^l = \dot y^{l-1} W^l, \qquad
    y^l = \varphi(z^l), \quad \dot y^l = \varphi'(z^l)\, \dot z^l, \\
    \lambda^{l-1} = \big(\varphi'(z^l)\, \lambda^l\big) W^{l\,T}, \qquad
    \dot\lambda^{l-1} = \big(\varphi'(z^l)\, \dot\lambda^l + \varphi''(z^l)\, \dot z^l \lambda^l\big) W^{l\,T}.

A quantity and its tangent are stacked into one product. What is left for automatic differentiation is one pass for the
weights; nesting it instead costs hundreds of times more under XLA.
"""

import numpy as np

__all__ = ["ACTIVATIONS", "values", "values_and_gradients", "values_gradients_and_hessian_vectors"]


def _gelu(tf, z):
    density = tf.exp(-z * z / 2) / np.sqrt(2 * np.pi)
    below = (1 + tf.math.erf(z / np.sqrt(2))) / 2
    return z * below, below + z * density, density * (2 - z * z)


def _sigmoid(tf, z):
    s = tf.sigmoid(z)
    slope = s * (1 - s)
    return s, slope, slope * (1 - 2 * s)


def _silu(tf, z):
    s = tf.sigmoid(z)
    slope = s * (1 - s)
    return z * s, s + z * slope, slope * (2 + z * (1 - 2 * s))


def _softplus(tf, z):
    s = tf.sigmoid(z)
    return tf.math.softplus(z), s, s * (1 - s)


def _tanh(tf, z):
    t = tf.tanh(z)
    return t, 1 - t * t, -2 * t * (1 - t * t)


ACTIVATIONS = {"gelu": _gelu, "sigmoid": _sigmoid, "silu": _silu, "softplus": _softplus, "tanh": _tanh}
"""name -> function of (tf, z) that returns phi, phi' and phi''; XLA drops what is not used."""


def values(tf, activation, weights, biases, x):
    """The members' outputs.

    Parameters
    ----------
    tf : module
    activation : str
    weights, biases : lists of tensors, shapes (member, in, out) and (member, 1, out)
    x : tensor, shape (batch, d) or (member, batch, d)

    Returns
    -------
    tensor, shape (member, batch)
    """
    y = x
    for weight, bias in zip(weights[:-1], biases[:-1], strict=True):
        y = ACTIVATIONS[activation](tf, y @ weight + bias)[0]
    return (y @ weights[-1] + biases[-1])[..., 0]


def values_and_gradients(tf, activation, weights, biases, x):
    """Outputs, shape (member, batch), and their gradients by x, shape (member, batch, d)."""
    y, slopes = x, []
    for weight, bias in zip(weights[:-1], biases[:-1], strict=True):
        y, slope, _ = ACTIVATIONS[activation](tf, y @ weight + bias)
        slopes.append(slope)
    output = (y @ weights[-1] + biases[-1])[..., 0]
    adjoint = tf.linalg.matrix_transpose(weights[-1])
    for weight, slope in zip(reversed(weights[:-1]), reversed(slopes), strict=True):
        adjoint = tf.matmul(slope * adjoint, weight, transpose_b=True)
    return output, adjoint


def values_gradients_and_hessian_vectors(tf, activation, weights, biases, x, v):
    """Outputs, gradients, and the Hessians by x times v, shape (member, batch, d) as v has."""
    stacked, kept = tf.concat([x, v], axis=1), []
    for weight, bias in zip(weights[:-1], biases[:-1], strict=True):
        product, tangent = tf.split(stacked @ weight, 2, axis=1)
        y, slope, curvature = ACTIVATIONS[activation](tf, product + bias)
        kept.append((slope, curvature * tangent))
        stacked = tf.concat([y, slope * tangent], axis=1)
    product, _ = tf.split(stacked @ weights[-1], 2, axis=1)
    output = (product + biases[-1])[..., 0]
    adjoint = tf.linalg.matrix_transpose(weights[-1])
    adjoint_tangent = tf.zeros_like(adjoint)
    for weight, (slope, bend) in zip(reversed(weights[:-1]), reversed(kept), strict=True):
        stacked = tf.concat([slope * adjoint, slope * adjoint_tangent + bend * adjoint], axis=1)
        adjoint, adjoint_tangent = tf.split(tf.matmul(stacked, weight, transpose_b=True), 2, axis=1)
    return output, adjoint, adjoint_tangent
