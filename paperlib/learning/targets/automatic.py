"""Targets whose derivatives JAX or TensorFlow takes."""

from collections.abc import Callable
from typing import Any

import numpy as np

from paperlib._support import checks, tensorflow
from paperlib.learning.targets.target import Target

__all__ = ["from_jax", "from_tensorflow"]


def from_jax(name: str, function: Callable) -> Target:
    """A target from any function of one input (d,) to a scalar, written in jax.numpy; it is run in double precision.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> bump = from_jax("bump", lambda x: jnp.exp(-jnp.sum(x**2)))
    >>> bump.hessian_vectors(np.zeros((1, 2)), np.array([[1.0, 3.0]]))
    array([[-2., -6.]])
    """
    checks.called("function", function)
    try:
        import jax
    except ModuleNotFoundError:
        raise ModuleNotFoundError("jax: from_jax needs it; pip install jax") from None

    def of_arrays(of_one: Callable) -> Callable:
        batched = jax.jit(jax.vmap(of_one))

        def in_double_precision(*arrays: np.ndarray) -> np.ndarray:
            with jax.enable_x64(True):
                return np.asarray(batched(*arrays))

        return in_double_precision

    gradient = jax.grad(function)
    parts = function, gradient, lambda x, v: jax.jvp(gradient, (x,), (v,))[1]
    return Target(name, *map(of_arrays, parts))


def from_tensorflow(name: str, function: Callable) -> Target:
    """A target from any function of a batch of inputs that TensorFlow can differentiate.

    It takes a float64 tensor (n, d) to one of shape (n,); a sample's output must not depend on the others.

    Examples
    --------
    >>> square = from_tensorflow("square", lambda x: x[:, 0] ** 2)
    >>> square.gradients(np.array([[3.0, 1.0]]))
    array([[6., 0.]])
    """
    checks.called("function", function)
    tf, _ = tensorflow.load()

    def slopes(function: Callable, x: Any) -> Any:
        with tf.GradientTape() as tape:
            tape.watch(x)
            total = tf.reduce_sum(function(x))
        return tape.gradient(total, x, unconnected_gradients=tf.UnconnectedGradients.ZERO)

    def of_arrays(call: Callable) -> Callable:
        return lambda *arrays: call(*(tf.convert_to_tensor(array, tf.float64) for array in arrays)).numpy()

    return Target(
        name,
        of_arrays(function),
        of_arrays(lambda x: slopes(function, x)),
        of_arrays(lambda x, v: slopes(lambda x: slopes(function, x) * v, x)),
    )
