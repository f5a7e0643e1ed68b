"""Whole derivative tensors: once, or compiled and then many times.

Two roads lead to the same numbers. Large tensors are matrix products (`centroid`). For the others a tape is written (`tape`) over
which a compiled loop runs (`kernel`), and nothing is left to be decided at a call.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from paperlib._support import checks
from paperlib._support.checks import Floats
from paperlib._support.compiled import numba
from paperlib.networks.mlp import MLP, centre
from paperlib.taylor import centroid
from paperlib.taylor.symmetric import SymmetricTensor, entries

if TYPE_CHECKING:
    from paperlib.taylor.kernel import Loop

__all__ = ["CompiledTensor", "compiled", "derivative_tensor"]

SMALLER = "scale the inputs or the weights"
LONGEST = 2**19  # entries times 2^order, up to which a tape is written in a fraction of a second and gains time
WORTH_COMPILING = 2**15  # entries of all centres


def derivative_tensor(mlp: MLP, order: int, at: ArrayLike | None = None) -> SymmetricTensor:
    """Return all partial derivatives of one order.

    T_{i1..in} = d^n output / d x_i1 .. d x_in at x = `at`, without 1/n!; order 0 is the output itself.

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
        Over `mlp.dim` indices; `packed` has the batch axes of `at` after its first, then one of length
        `outputs` if the network has several.

    Raises
    ------
    ValueError
        If `at` does not fit the network, `order` < 0, a neuron with a kink sits at it (order >= 2), a derivative
        overflows, or the tensor needs more memory than is free: the message says how much, before any is taken.

    Notes
    -----
    By the centroid rule (see `paperlib.taylor.centroid`): order n takes forward derivatives to order floor(n/2) and
    the adjoint's to floor((n-1)/2). From order 4 on, most of the time is spent in matrix products. Activations are
    differentiated without cancellation: in the tails, where derivatives fall as ``exp(-|z|)``, they keep their digits.
    Who asks for the same order again and again saves most of a call with `compiled`.

    Examples
    --------
    >>> mlp = MLP([[[1.0, 2.0]], [[1.0]]], [[0.0], [0.0]], "exp")    # exp(x + 2 y)
    >>> derivative_tensor(mlp, 3).packed                             # xxx, xxy, xyy, yyy
    array([1., 2., 4., 8.])
    """
    at, order = centre(mlp, at), checks.integer("order", order, minimum=0, limit=checks.TENSOR_ORDER)
    if at.ndim > 1 and at[..., 0].size * entries(mlp.dim, order) >= WORTH_COMPILING:
        return SymmetricTensor(order, mlp.dim, compiled(mlp, order)(at))
    return _once(mlp, order, at)


def _once(mlp: MLP, order: int, at: Floats) -> SymmetricTensor:
    """`derivative_tensor` without a tape; the same bits whether numba is there or not."""
    with np.errstate(over="ignore", invalid="ignore"):
        packed = np.asarray(mlp(at))[None] if order == 0 else centroid.derivatives(mlp, order, at)
    try:
        return SymmetricTensor(order, mlp.dim, packed)
    except ValueError:  # of all that it checks only this can fail here
        raise ValueError(f"mlp, at: derivatives of order {order} are beyond 1.8e308; {SMALLER}") from None


@dataclass(frozen=True, eq=False, repr=False)
class CompiledTensor:
    """The derivative tensor of one order as a function of the centre; made by `compiled`."""

    mlp: MLP
    order: int
    _size: int
    _loop: Loop | None

    def __repr__(self) -> str:
        return f"compiled({self.mlp}, {self.order})"

    def __call__(self, at: ArrayLike) -> Floats:
        """The packed tensors (C, ..., [outputs]) at centres (..., dim); as `derivative_tensor`, and its errors."""
        if self._loop is None:
            return _once(self.mlp, self.order, centre(self.mlp, at)).packed
        dim, outputs = self.mlp.dim, self.mlp.outputs
        plain = type(at) is np.ndarray and at.dtype.char == "d" and at.ndim and at.size and at.shape[-1] == dim
        where: Any = at if plain else centre(self.mlp, at)
        batch = where.shape[:-1]
        centres = prod(batch)
        run, size, beyond, work, together, table, numbers = self._loop
        together = min(together, centres)
        checks.memory("at", 8 * (centres * outputs * size + together * work), "take fewer centres")
        points = np.array(where, dtype=np.float64, order="C")  # of one kind, or numba compiles anew
        out = np.zeros(outputs * centres * size + beyond)
        if not run(points.reshape(-1), out, np.empty(together * work), together, table, numbers):
            return _once(self.mlp, self.order, centre(self.mlp, at)).packed  # which says what is wrong, or does without
        if not batch and outputs == 1:
            return out[: self._size]
        packed = np.moveaxis(
            out[: len(out) - beyond].reshape(outputs, *batch, size)[..., : self._size], (-1, 0), (0, -1)
        )
        return packed[..., 0] if outputs == 1 else packed


def compiled(mlp: MLP, order: int) -> CompiledTensor:
    """Make ready whatever does not depend on the centre: ``compiled(mlp, order)(at)`` is ``derivative_tensor(mlp, order, at).packed``.

    To rounding; for networks of few inputs, which most are, in a tenth of the time and less. Needs numba for that: without it,
    and for large tensors, which are matrix products (from about 64 inputs at order 3, 16 at order 5), it takes the same
    road as `derivative_tensor`.

    Parameters
    ----------
    mlp : MLP
    order : int
        n from 0 to 20.

    Returns
    -------
    CompiledTensor
        A function of centres (..., dim), which gives packed tensors (C, ..., [outputs]). Threads may share it, and run
        side by side.

    Notes
    -----
    The first call in a process loads the compiled loop, in a fifth of a second; the first of all on a machine compiles it, in two.

    Examples
    --------
    >>> mlp = MLP([[[1.0, 2.0]], [[1.0]]], [[0.0], [0.0]], "exp")    # exp(x + 2 y)
    >>> hessian = compiled(mlp, 2)
    >>> hessian([[0.0, 0.0], [1.0, -0.5]])                           # xx, xy, yy; at two centres
    array([[1., 1.],
           [2., 2.],
           [4., 4.]])
    """
    checks.instance("mlp", mlp, MLP)
    order = checks.integer("order", order, minimum=0, limit=checks.TENSOR_ORDER)
    size = entries(mlp.dim, order)
    suits = order and mlp.depth and size * 2**order <= LONGEST and numba() is not None
    if not suits:
        return CompiledTensor(mlp, order, size, None)
    from paperlib.taylor.kernel import loop  # needs numba

    centroid.keep_freed_memory()
    return CompiledTensor(mlp, order, size, loop(mlp, order))
