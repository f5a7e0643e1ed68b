"""The tensor of all partial derivatives of one order of a network."""

from numpy.typing import ArrayLike

from paperlib._support import validation
from paperlib.networks.mlp import MLP
from paperlib.taylor import compilation
from paperlib.taylor.symmetric import SymmetricTensor


def derivative_tensor(
    mlp: MLP, order: int, at: ArrayLike | None = None
) -> SymmetricTensor:
    """Return the tensor of all partial derivatives of one order.

    The entries of the tensor of order n of a network f with the inputs x_0, x_1, .. are
    T_{i1 .. in} = d^n f / d x_i1 .. d x_in, without a factor 1/n!. Order 0 is the
    output itself.

    Parameters
    ----------
    mlp : MLP
        The network f.
    order : int
        The order n, from 0 to 20.
    at : array_like of float, shape (..., dim), optional
        The centre, or a batch of centres. The default is the origin.

    Returns
    -------
    SymmetricTensor
        A tensor of order n whose indices run over the `mlp.dim` inputs. Its attribute
        `packed` has one entry for each sorted tuple (i1 <= .. <= in), and the shape
        (C(dim + n - 1, n), ..., [outputs]) with the binomial coefficient C. The dots
        stand for the axes of the batch. The axis [outputs] is absent if the network has
        one output.

    Raises
    ------
    TypeError
        If an argument has the wrong type.
    ValueError
        If `at` is not finite or its last axis is not `mlp.dim` long, `order` is out of
        range, a derivative overflows float64, a neuron's pre-activation is 0 where its
        activation has a kink, as relu has at 0 (order 2 or higher), or the tensor needs
        more memory than is free. Memory is checked before any is allocated.

    Notes
    -----
    The derivatives of order n are computed from derivatives of the layers of order at
    most n/2 (the centroid rule, see `paperlib.taylor.centroid`). From order 4 on, most
    of the time is spent in matrix products.

    Derivatives of activations are computed without cancellation. Where they fall as
    ``exp(-|z|)`` for large pre-activations z, their relative error stays small.

    If numba is installed, a compiled loop computes a batch of centres, except for large
    tensors (see `compile`). NumPy computes a single centre, an `at` of shape (dim,), so
    that its bits do not depend on numba. For many calls with single centres, `compile`
    saves most of the time.

    Examples
    --------
    The derivatives xxx, xxy, xyy and yyy of exp(x + 2 y) at the origin:

    >>> mlp = MLP([[[1.0, 2.0]], [[1.0]]], [[0.0], [0.0]], "exp")
    >>> derivative_tensor(mlp, 3).packed
    array([1., 2., 4., 8.])
    """
    order = validation.integer("order", order, minimum=0, limit=validation.TENSOR_ORDER)
    centres = compilation.centres(mlp, at)
    if centres.ndim == 1:
        packed = compilation.whole(mlp, order, validation.real_array("at", centres))
    else:
        packed = compilation.tensor(
            mlp, order, compilation.prepare(mlp, order), centres
        )
    return SymmetricTensor._owning(order, mlp.dim, packed)
