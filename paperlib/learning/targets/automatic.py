"""Make targets from functions that JAX or TensorFlow differentiates."""

from collections.abc import Callable
from typing import Any

import numpy as np

from paperlib._support import tensorflow, validation
from paperlib.learning.targets.target import Target


def from_jax(name: str, function: Callable) -> Target:
    """Make a target from a function that JAX can differentiate.

    Parameters
    ----------
    name : str
        Name that identifies the function.
    function : callable
        Function of one input of shape (d,) that returns a scalar, written in jax.numpy.
        It is evaluated in double precision.

    Returns
    -------
    Target
        The function with its gradients and Hessian-vector products.

    Raises
    ------
    ModuleNotFoundError
        If JAX is not installed.
    TypeError
        If `function` is not callable.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> bump = from_jax("bump", lambda x: jnp.exp(-jnp.sum(x**2)))
    >>> bump.hessian_vectors(np.zeros((1, 2)), np.array([[1.0, 3.0]]))
    array([[-2., -6.]])
    """
    validation.called("function", function)
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
    """Make a target from a function that TensorFlow can differentiate.

    Parameters
    ----------
    name : str
        Name that identifies the function.
    function : callable
        Function of a float64 tensor of shape (n, d), a batch of inputs, that returns a
        tensor of shape (n,). The output of a sample must not depend on the other
        samples.

    Returns
    -------
    Target
        The function with its gradients and Hessian-vector products.

    Raises
    ------
    ModuleNotFoundError
        If TensorFlow is not installed.
    TypeError
        If `function` is not callable.

    Examples
    --------
    >>> square = from_tensorflow("square", lambda x: x[:, 0] ** 2)
    >>> square.gradients(np.array([[3.0, 1.0]]))
    array([[6., 0.]])
    """
    validation.called("function", function)
    tf, _ = tensorflow.load()

    def slopes(function: Callable, x: Any) -> Any:
        with tf.GradientTape() as tape:
            tape.watch(x)
            total = tf.reduce_sum(function(x))
        return tape.gradient(
            total, x, unconnected_gradients=tf.UnconnectedGradients.ZERO
        )

    def of_arrays(call: Callable) -> Callable:
        return lambda *arrays: call(
            *(tf.convert_to_tensor(array, tf.float64) for array in arrays)
        ).numpy()

    return Target(
        name,
        of_arrays(function),
        of_arrays(lambda x: slopes(function, x)),
        of_arrays(lambda x, v: slopes(lambda x: slopes(function, x) * v, x)),
    )
