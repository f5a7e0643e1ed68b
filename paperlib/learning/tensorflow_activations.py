"""Compute the trainable activations and their derivatives by TensorFlow operations.

TRAINABLE maps the name of an activation to a function of two arguments: `tf`, the
module TensorFlow, and z, a tensor of pre-activations. The function returns a tuple of
four tensors of the shape of z: the value of the activation, and its first, second and
third derivative. If a training does not use a derivative, XLA removes its computation
from the compiled program.
"""

from typing import Any

import numpy as np


def _tanh(tf: Any, z: Any) -> tuple:
    t = tf.tanh(z)
    slope = 1 - t * t
    return t, slope, -2 * t * slope, slope * (6 * t * t - 2)


def _sigmoid(tf: Any, z: Any) -> tuple:
    s = tf.sigmoid(z)
    slope = s * (1 - s)
    return s, slope, slope * (1 - 2 * s), slope * (1 - 6 * slope)


def _softplus(tf: Any, z: Any) -> tuple:
    return tf.math.softplus(z), *_sigmoid(tf, z)[:3]


def _silu(tf: Any, z: Any) -> tuple:
    s, slope, bend, more = _sigmoid(tf, z)
    return z * s, s + z * slope, 2 * slope + z * bend, 3 * bend + z * more


def _gelu(tf: Any, z: Any) -> tuple:
    density = tf.exp(-z * z / 2) / np.sqrt(2 * np.pi)
    below = (1 + tf.math.erf(z / np.sqrt(2))) / 2
    return (
        z * below,
        below + z * density,
        density * (2 - z * z),
        density * z * (z * z - 4),
    )


TRAINABLE = {
    "gelu": _gelu,
    "sigmoid": _sigmoid,
    "silu": _silu,
    "softplus": _softplus,
    "tanh": _tanh,
}
