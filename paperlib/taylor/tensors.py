"""Whole derivative tensors: once, or compiled and then many times.

Two roads lead to the same numbers. Large tensors are matrix products (`centroid`). For the others a tape is written (`tape`) over
which a compiled loop runs (`kernel`), and nothing is left to be decided at a call.
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import prod
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from paperlib._support import checks
from paperlib._support.checks import Floats
from paperlib._support.compiled import numba
from paperlib.networks import activations
from paperlib.networks.mlp import MLP, centre
from paperlib.taylor import centroid
from paperlib.taylor.symmetric import SymmetricTensor, entries
from paperlib.taylor.tape import HANDED_ON, tape

__all__ = ["CompiledTensor", "compiled", "derivative_tensor"]

SMALLER = "scale the inputs or the weights"
LONGEST = 2**19  # entries times 2^order, up to which a tape is written in a fraction of a second and gains time
TOGETHER = 2**16  # numbers at work together, which stay in cache
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


class _Loop(NamedTuple):
    """The compiled loop, and what it is given beside the centres: how many together, and all else there is to know."""

    run: Callable[..., bool]
    work: int  # numbers that one centre takes
    together: int
    table: NDArray[np.int64]
    numbers: NDArray[np.float64]


@dataclass(frozen=True, eq=False, repr=False)
class CompiledTensor:
    """The derivative tensor of one order as a function of the centre; made by `compiled`."""

    mlp: MLP
    order: int
    _size: int
    _loop: _Loop | None

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
        run, work, together, table, numbers = self._loop
        needed = centres * outputs * self._size + min(together, centres) * work
        checks.memory("at", 8 * needed, "take fewer centres")
        points = np.array(where, dtype=np.float64, order="C", ndmin=2)  # of one kind, or numba compiles anew
        out = np.zeros((outputs, centres, self._size))
        if not run(points.reshape(centres, dim), out, together, table, numbers):
            return _once(self.mlp, self.order, centre(self.mlp, at)).packed  # which says what is wrong, or does without
        if not batch and outputs == 1:
            return out[0, 0]
        packed = np.moveaxis(out.reshape(outputs, *batch, self._size), (-1, 0), (0, -1))
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
    The first call in a process loads the compiled loop, in a fifth of a second; the first of all on a machine compiles it.

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
    return CompiledTensor(mlp, order, size, _loop(mlp, order) if suits else None)


def _loop(mlp: MLP, order: int) -> _Loop | None:
    """What the compiled loop is given; None where it does not know an activation, or neurons of a layer have several."""
    from paperlib.networks.compiled_activations import CODES  # needs numba, as the other
    from paperlib.taylor.kernel import run
    from paperlib.taylor.registers import LANES

    of_layers = [activations.groups(name) for name in mlp.activations]
    if any(len(parts) > 1 or not isinstance(parts[0][0], str) for parts in of_layers):
        return None
    parsed = [activations.parse(str(parts[0][0])) for parts in of_layers]
    smooth_with = [parameter is not None and name in activations.SMOOTH for name, parameter in parsed]
    if any(smooth_with) or not all(name in CODES for name, _ in parsed):
        return None
    centroid.keep_freed_memory()
    units, hidden = [mlp.dim, *map(len, mlp.biases)], [*map(len, mlp.biases[:-1])]
    tapes = [tape(mlp.dim, order, layer == 0, layer == mlp.depth - 1) for layer in range(mlp.depth)]
    distinct = list(dict.fromkeys(tapes))
    begins = dict(zip(distinct, np.cumsum([0, *(len(each.times) for each in distinct)]).tolist()))
    heads = [(begins[each], len(each.up), len(each.down), len(each.dots)) for each in tapes]
    rows = max(each.rows for each in tapes)
    products = np.concatenate([part for each in distinct for part in (each.up, each.down, each.dots)])
    products = np.where(products >= HANDED_ON, products - HANDED_ON + rows, products)
    layers = [np.concatenate([w.T.ravel(), w.ravel(), b]) for w, b in zip(mlp.weights[:-1], mlp.biases)]
    times, parameters = np.concatenate([each.times for each in distinct]), [given or 0.0 for _, given in parsed]
    # Nothing, at the end: what is added where there is no bias, and some numbers to read past an end.
    none = np.zeros(max(units[:-1]) + LANES)
    numbers = np.concatenate([times, parameters, *layers, mlp.weights[-1].ravel(), none])
    places = np.cumsum([len(times) + mlp.depth, *map(len, layers)])
    z, adjoints, kept = tapes[0].z, tapes[0].adjoints, tapes[0].kept
    sizes = [order, z, adjoints, kept, rows, mlp.depth, len(products), max(hidden), sum(hidden)]
    codes = [CODES[name] for name, _ in parsed]
    table = np.concatenate([sizes, units, codes, places, np.ravel(heads), products.ravel()]).astype(np.int64)
    work = kept * sum(hidden) + (rows - kept + max(1 + z, adjoints)) * max(hidden)
    return _Loop(run, work, min(max(TOGETHER // work // 8, 1), 64) * 8, table, numbers)  # eight rows at a time
