"""Whole derivative tensors of a network."""

from numpy.typing import ArrayLike

from paperlib._support import validation
from paperlib.networks.mlp import MLP
from paperlib.taylor import compilation
from paperlib.taylor.symmetric import SymmetricTensor


def derivative_tensor(
    mlp: MLP, order: int, at: ArrayLike | None = None
) -> SymmetricTensor:
    """Return the tensor of all partial derivatives of one order.

    Its entries are T_{i1 .. in} = d^n f / d x_i1 .. d x_in, without the factor 1/n!.
    Order 0 is the output itself.

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
        A tensor of order n over `mlp.dim` indices. Its `packed` has shape
        (C(dim + n - 1, n), ..., [outputs]).

    Raises
    ------
    TypeError
        If an argument has the wrong type.
    ValueError
        If `at` has another shape, `order` is out of range, a neuron sits at the kink of
        its activation (order 2 or higher), a derivative overflows float64, or the
        tensor needs more memory than is free. In the last case nothing is allocated.

    Notes
    -----
    The centroid rule (see `paperlib.taylor.centroid`) computes order n from derivatives
    of order n/2 at most. From order 4 on, most of the time is spent in matrix products.

    Derivatives of activations are computed without cancellation. They keep their digits
    in the tails, where they fall as ``exp(-|z|)``.

    If numba is installed, a batch of centres is computed by a compiled loop, as in
    `compile`. A single centre is always computed by NumPy, so that its bits do not
    depend on numba. For many calls with single centres, `compile` saves most of the
    time.

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
