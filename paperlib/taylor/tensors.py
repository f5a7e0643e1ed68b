"""Whole derivative tensors of a network."""

from numpy.typing import ArrayLike

from paperlib._support import validation
from paperlib.networks.mlp import MLP
from paperlib.taylor import compilation
from paperlib.taylor.symmetric import SymmetricTensor


def derivative_tensor(
    mlp: MLP, order: int, at: ArrayLike | None = None
) -> SymmetricTensor:
    """Return all partial derivatives of one order.

    T_{i1..in} = d^n output / d x_i1 .. d x_in at x = `at`, without 1/n!; order 0 is the
    output itself.

    Parameters
    ----------
    mlp : MLP
    order : int
        n from 0 to 20.
    at : array_like of float, shape (..., dim), optional
        The centre, or a batch of them; the origin if not given.

    Returns
    -------
    SymmetricTensor
        Over `mlp.dim` indices; `packed` has the batch axes of `at` after its first,
        then one of length `outputs` if the network has several.

    Raises
    ------
    ValueError
        If `at` does not fit the network, `order` < 0, a neuron with a kink sits at it
        (order >= 2), a derivative overflows, or the tensor needs more memory than is
        free: the message says how much, before any is taken.

    Notes
    -----
    By the centroid rule (see `paperlib.taylor.centroid`): order n takes forward
    derivatives to order floor(n/2) and the adjoint's to floor((n-1)/2). From order 4
    on, most of the time is spent in matrix products. Activations are differentiated
    without cancellation: in the tails, where derivatives fall as ``exp(-|z|)``, they
    keep their digits. A batch is computed by `compile`, if numba is installed; one
    centre is not, so that its bits do not depend on numba. Whoever needs many single
    centres saves most of a call with `compile`.

    Examples
    --------
    >>> mlp = MLP([[[1.0, 2.0]], [[1.0]]], [[0.0], [0.0]], "exp")    # exp(x + 2 y)
    >>> derivative_tensor(mlp, 3).packed                             # xxx, xxy, xyy, yyy
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
