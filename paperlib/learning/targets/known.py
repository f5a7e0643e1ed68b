"""Define the physical targets, and targets that JAX or TensorFlow differentiates.

The physical targets are the scattering length and the ground-state energy of a particle
in a box. `from_jax` and `from_tensorflow` make a target from a function that JAX or
TensorFlow differentiates.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from paperlib._support import tensorflow, validation
from paperlib._support.validation import Floats
from paperlib.learning.targets.target import Target, orders_in_turn, polynomial
from paperlib.physics import born, box, scattering
from paperlib.taylor.symmetric import SymmetricTensor


def scattering_length_target(minus: Sequence[SymmetricTensor] = ()) -> Target:
    r"""Return the S-wave scattering length a_0 as a target, minus terms of a series.

    Parameters
    ----------
    minus : sequence of SymmetricTensor
        Tensors T of orders 1, 2, .., N whose polynomial is subtracted, for example the
        exact Born tensors or learned ones. By default nothing is subtracted.

    Returns
    -------
    Target
        A function of potentials U, shape (n, d): n dimensionless potentials with d
        equal shells each. Its value is a_0 minus the polynomial, in units of the
        potential's range. The target has gradients and Hessian-vector products.

    Raises
    ------
    TypeError
        If an item of `minus` is not a SymmetricTensor.
    ValueError
        If the tensors do not have the orders 1, 2, .., their dimensions differ, or a
        tensor has an array in place of each entry.

    Notes
    -----
    The value of the target is

    .. math:: a_0[U] - \sum_{n=1}^{N} T^{(n)}_{i_1 \dots i_n} U_{i_1} \cdots U_{i_n}

    It is not computed as this difference, which may be small compared with a_0.
    `Target.subtract` computes the difference, which suffices for training. With the
    exact Born tensors B, it is the remainder of the Born series after order N,
    which `born.born_remainder` computes to full precision, plus the polynomial of the
    tensors B - T. Gradients and Hessian-vector products are computed as differences,
    with rounding errors of about 1e-16 of the derivatives of a_0 itself.

    Examples
    --------
    >>> target = scattering_length_target(minus=[born.born_tensor(1, 8)])
    >>> U = np.full((1, 8), 1e-4)
    >>> bool(np.isclose(target.values(U), born.born_terms(U, 2)[:, 1], rtol=1e-3))
    True
    """
    tensors = orders_in_turn("minus", minus)
    whole = Target(
        "scattering length",
        scattering.scattering_length,
        scattering.scattering_length_gradient,
        scattering.scattering_length_hvp,
        scattering.scattering_length_jet,
    )
    if not tensors:
        return whole
    difference: Any = whole.subtract(tensors)
    errors = [born.born_tensor(tensor.order, tensor.dim) - tensor for tensor in tensors]
    correction = polynomial(errors)

    def values(U: ArrayLike) -> Floats:
        return born.born_remainder(U, len(tensors)) + correction.values(U)

    def jet(U: ArrayLike, v: ArrayLike) -> tuple[Floats, ...]:
        _, *derivatives = difference.jet(U, v)
        return values(U), *derivatives

    return replace(difference, values=values, jet=jet)


def box_target(d: int) -> Target:
    r"""Return the ground-state energy of a particle in a box as a target.

    Parameters
    ----------
    d : int
        Number d of inner grid points of the box, from 2 to 4096.

    Returns
    -------
    Target
        A function of potentials V, shape (n, d): n potentials with one value for each
        grid point. Its values are n energies. For a particle of mass m and a box of
        length L, potentials and energies are in units of :math:`\hbar^2 / 2 m L^2`. The
        target has gradients and Hessian-vector products.

    Raises
    ------
    TypeError
        If d is not an integer.
    ValueError
        If d is out of range.

    Notes
    -----
    The energy is the lowest eigenvalue of a matrix. The matrix is the sum of the
    kinetic energy, which is :math:`(d + 1)^2` times the tridiagonal matrix with 2 on
    the diagonal and -1 beside it, and of the diagonal matrix of V.

    Examples
    --------
    One potential of zeros has the energy 32 (1 - cos(pi/4)):

    >>> box_target(3).values(np.zeros((1, 3))).round(4)
    array([9.3726])
    """
    d = validation.integer("d", d, minimum=2, limit=box.MAX_POINTS)

    def checked(function: Callable) -> Callable:
        return lambda V, *v: function(validation.real_array("V", V, last=d), *v)

    return Target(
        f"box of {d} points",
        checked(box.energy),
        checked(box.energy_gradient),
        checked(lambda V, v: box.energy_jet(V, v)[2]),
        checked(box.energy_jet),
    )


def from_jax(name: str, function: Callable) -> Target:
    """Make a target from a function that JAX can differentiate.

    Parameters
    ----------
    name : str
        Name of the function. Two functions that are trained on must have different
        names.
    function : callable
        Function of one input of shape (d,) that returns a scalar, written in jax.numpy.
        It is mapped over the inputs of a batch and evaluated in double precision.

    Returns
    -------
    Target
        The function of a batch of inputs, shape (n, d), with its gradients and
        Hessian-vector products by automatic differentiation.

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
        raise ModuleNotFoundError(
            "jax: must be installed for from_jax: pip install jax"
        ) from None

    def batched(function: Callable) -> Callable:
        compiled = jax.jit(jax.vmap(function))

        def in_double_precision(*arrays: np.ndarray) -> np.ndarray:
            with jax.enable_x64(True):
                return np.asarray(compiled(*arrays))

        return in_double_precision

    gradient = jax.grad(function)
    return Target(
        name,
        batched(function),
        batched(gradient),
        batched(lambda x, v: jax.jvp(gradient, (x,), (v,))[1]),
    )


def from_tensorflow(name: str, function: Callable) -> Target:
    """Make a target from a function that TensorFlow can differentiate.

    Parameters
    ----------
    name : str
        Name of the function. Two functions that are trained on must have different
        names.
    function : callable
        Function of a float64 tensor of shape (n, d), a batch of n inputs, that returns
        a tensor of shape (n,). The output for an input must not depend on the other
        inputs of the batch.

    Returns
    -------
    Target
        The function with its gradients and Hessian-vector products by automatic
        differentiation.

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

    def gradient(function: Callable, x: Any) -> Any:
        with tf.GradientTape() as tape:
            tape.watch(x)
            total = tf.reduce_sum(function(x))
        return tape.gradient(total, x, unconnected_gradients="zero")

    def in_double_precision(function: Callable) -> Callable:
        def converted(*arrays: np.ndarray) -> np.ndarray:
            tensors = [tf.convert_to_tensor(array, tf.float64) for array in arrays]
            return function(*tensors).numpy()

        return converted

    return Target(
        name,
        in_double_precision(function),
        in_double_precision(lambda x: gradient(function, x)),
        in_double_precision(
            lambda x, v: gradient(lambda x: gradient(function, x) * v, x)
        ),
    )
