"""Compile a request for one network, and evaluate it at any centres.

Three methods give the same numbers. A program is executed by the compiled loop (`interpreter`), or by NumPy (`executor`) where numba is
not installed or an activation is `Custom`. Large whole tensors are matrix products (`centroid`), with or without numba.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from threading import Lock
from typing import TYPE_CHECKING, Any, NamedTuple
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import ArrayLike

from paperlib._support import chunks, validation
from paperlib._support.jit import numba
from paperlib._support.validation import Floats
from paperlib.networks.mlp import MLP, SMALLER
from paperlib.taylor import centroid, executor
from paperlib.taylor.program import Request, programs
from paperlib.taylor.requests import Key, Sum, indices_of, sum_of, with_hidden, written
from paperlib.taylor.symmetric import entries

if TYPE_CHECKING:
    from paperlib.taylor.compiled.layout import Layout

# entries times 2^order: beyond it, to write the program takes more than a second
LONGEST = 2**19
MAX_CACHED, MAX_CACHED_BYTES = 64, 2**27  # requests of one network
CHUNK_BYTES = 2**21
BEYOND = 8  # numbers past the results: the loop adds zeros to a vector of them
NONE: Floats = np.zeros(0)  # no directions
FLOAT = np.dtype(np.float64)


class _Ready(NamedTuple):
    """A compiled request. It does not refer to the network, so that the cache does not keep networks alive."""

    request: Request | None  # None: matrix products
    # The first layer's slopes along directions that are the same at all centres,
    # (directions, units)
    letters: Floats
    layout: Layout | None  # None: no compiled loop
    names: dict[str, None]  # of directions that are given at each centre


_ready: WeakKeyDictionary[MLP, dict[Key, _Ready]] = WeakKeyDictionary()
_lock = Lock()


@cache
def _kernel() -> Callable[..., bool] | None:
    """The compiled loop; None where numba is missing or is not the numba that the loop was written for."""
    if numba() is None:
        return None
    try:
        from paperlib.taylor.compiled.interpreter import run

        nothing = np.zeros(0)
        run(nothing, nothing, nothing, nothing, 1, np.ones(64, dtype=np.int64), nothing)
    except Exception as error:
        text = validation.brief(f"{type(error).__name__}: {error}")
        text = f"numba {numba().__version__} does not compile the loop ({text}); NumPy is used"
        warnings.warn(text, RuntimeWarning, stacklevel=2)
        return None
    centroid.keep_freed_memory()
    return run


def prepare(mlp: MLP, key: Key) -> _Ready:
    """Return the compiled request of a network. It is compiled at the first call and cached while the network lives."""
    cached = _ready.get(mlp)
    if cached is None:
        cached = _ready.setdefault(mlp, {})
    ready = cached.get(key)
    if ready is None:
        with np.errstate(over="ignore", invalid="ignore"):
            ready = _prepared(with_hidden(mlp), key)
        with _lock:
            cached[key] = ready
            while len(cached) > 1 and (
                len(cached) > MAX_CACHED
                or sum(map(_nbytes, cached.values())) > MAX_CACHED_BYTES
            ):
                del cached[next(iter(cached))]  # the oldest
    return ready


def _nbytes(ready: _Ready) -> int:
    return (
        ready.layout.table.nbytes + ready.layout.numbers.nbytes if ready.layout else 0
    )


def _prepared(mlp: MLP, key: Key) -> _Ready:
    run, arrays = _kernel(), None
    if isinstance(key, int) and (
        not run or not key or entries(mlp.dim, key) * 2**key > LONGEST
    ):
        return _Ready(None, mlp.weights[0], None, {})
    request, letters, names = written(mlp, key)
    if run:
        from paperlib.taylor.compiled.layout import layout

        arrays = layout(mlp, request, letters)
    return _Ready(
        request if arrays or not isinstance(key, int) else None,
        letters,
        arrays,
        dict.fromkeys(names),
    )


def evaluate(
    mlp: MLP, key: Key, ready: _Ready, at: Floats, vectors: Sequence[Floats] = ()
) -> Floats:
    """Return a result other than a whole tensor at a batch of centres; (..., [outputs,] indices [, dim]), or (..., [outputs]).

    `at` and the vectors, arrays (..., dim), broadcast. A ValueError if a neuron sits at a kink, a result overflows float64 or
    memory is short.
    """
    arrays = at, *vectors
    if vectors and {each.shape for each in vectors} != {at.shape}:
        at, *vectors = _broadcast(at, vectors)
    points, given = _flat(at), NONE
    if len(vectors) == 1:
        given = _flat(vectors[0])
    elif vectors:
        _memory(8 * len(vectors) * at.size)
        given = np.concatenate(vectors, axis=None, dtype=np.float64)
    out, centres = _looped(ready.layout, points, given), len(points) // mlp.dim
    if out is None:
        for name, each in zip(("at", *ready.names), arrays):
            validation.finite(name, each)
        found = _with_numpy(
            mlp,
            ready,
            points.reshape(-1, mlp.dim),
            given.reshape(len(vectors), centres, mlp.dim),
        )
    else:
        found = _parts(ready.layout, out, centres)
    values, gradients = found
    # (outputs, n, ..)
    result = gradients[..., : mlp.dim].swapaxes(1, 2) if gradients.size else values
    if isinstance(key, Sum):
        result = result[..., 0]
    result = result[0] if mlp.outputs == 1 else result.swapaxes(0, 1)
    return result.reshape(at.shape[:-1] + result.shape[1:])


def _broadcast(at: Floats, vectors: Sequence[Floats]) -> list[Floats]:
    """Return centres and directions in one shape, or refuse them."""
    shapes = [each.shape for each in vectors]
    try:
        full = np.broadcast_shapes(at.shape, *shapes)
    except ValueError:
        text = ", ".join(map(str, shapes))
        raise ValueError(
            f"directions: shapes {text}; must broadcast with at, {at.shape}"
        ) from None
    return [np.broadcast_to(each, full) for each in (at, *vectors)]


def tensor(mlp: MLP, order: int, ready: _Ready, at: Floats) -> Floats:
    """The packed tensors (C, ..., [outputs]) of an order at centres that are checked."""
    of, out = ready.layout, _looped(ready.layout, _flat(at), NONE)
    if of is None or out is None:
        validation.finite("at", at)
        return whole(mlp, order, at)
    if at.ndim == 1 and of.outputs == 1:
        return out[: of.entries or of.dim]
    values, gradients = _parts(of, out, at.size // of.dim)
    found = values if order > 1 else gradients[:, 0, :, : mlp.dim]
    if mlp.outputs == 1:
        return np.moveaxis(found.reshape(*at.shape[:-1], -1), -1, 0)
    return np.moveaxis(found.reshape(mlp.outputs, *at.shape[:-1], -1), (-1, 0), (0, -1))


def whole(mlp: MLP, order: int, at: Floats) -> Floats:
    """The packed tensors without a program: the same bits whether numba is there or not."""
    with np.errstate(over="ignore", invalid="ignore"):
        packed = (
            np.array(mlp(at))[None]
            if order == 0
            else centroid.derivatives(mlp, order, at)
        )
    if not np.isfinite(packed).all():
        raise ValueError(
            f"mlp, at: derivatives of order {order} are beyond 1.8e308; {SMALLER}"
        )
    return packed


def _memory(nbytes: int) -> None:
    validation.memory("at", nbytes, "take fewer centres")


def _flat(array: Floats) -> Floats:
    """The numbers of an array in an array of the one kind for which the loop is compiled, copied only if that is needed."""
    if array.flags.carray and array.dtype is FLOAT:
        return array.reshape(-1)
    _memory(8 * array.size)
    return np.array(array, dtype=np.float64, order="C").reshape(-1)


def _looped(of: Layout | None, points: Floats, given: Floats) -> Floats | None:
    """Run the compiled loop; return its results for `_parts`.

    None without a compiled loop, or if a neuron sits at a kink or a number is not finite.
    """
    run = _kernel()
    if of is None or run is None:
        return None
    centres = len(points) // of.dim
    together = min(of.together, centres)
    numbers, work = centres * of.results, together * of.work
    _memory(8 * (numbers + work))
    out = np.zeros(numbers + BEYOND)
    return (
        out
        if run(points, given, out, np.empty(work), together, of.table, of.numbers)
        else None
    )


def _parts(of: Any, out: Floats, centres: int) -> tuple[Floats, Floats]:
    """The derivatives (outputs, n, entries) and the gradients (outputs, gradients, n, columns) in the results of the loop."""
    end = of.outputs * centres * of.entries
    values = out[:end].reshape(of.outputs, centres, of.entries)
    if not of.gradients:
        return values, NONE
    return values, out[end : centres * of.results].reshape(
        of.outputs, of.gradients, centres, of.columns
    )


def _with_numpy(
    mlp: MLP, ready: _Ready, points: Floats, given: Floats
) -> tuple[Floats, Floats]:
    """Compute the results of `_parts` with NumPy, in chunks of centres that fit into the processor's cache."""
    assert ready.request is not None, "there is a program for all but whole tensors"
    mlp = with_hidden(mlp)
    first = programs(ready.request, executor.RUN, mlp.depth)[0]
    results = (
        mlp.outputs * len(points) * (first.entries + len(first.gradients) * mlp.dim)
    )
    _memory(16 * results)  # the parts, and the whole
    size = CHUNK_BYTES // executor.bytes_each(mlp, ready.request)
    parts = []
    with np.errstate(over="ignore", invalid="ignore"):
        for chunk in chunks.slices(len(points), size):
            slopes = [each[chunk] @ mlp.weights[0].T for each in given]
            letters = [*ready.letters[:, None], *slopes]
            parts.append(executor.execute(mlp, ready.request, letters, points[chunk]))
    values, gradients = (np.concatenate(each, axis=-2) for each in zip(*parts))
    return validation.representable(
        "mlp, at", values, SMALLER
    ), validation.representable("mlp, at", gradients, SMALLER)


@dataclass(frozen=True, eq=False, repr=False)
class Compiled:
    """The derivatives of one request as a function of the centre; made by `compile`.

    Threads may share it. It is pickled as its network and its request.
    """

    mlp: MLP
    request: Key
    _ready: _Ready

    def __repr__(self) -> str:
        return f"compile({self.mlp}, {self.request})"

    def __reduce__(self) -> tuple:
        return _of_key, (self.mlp, self.request)

    @property
    def method(self) -> str:
        """'compiled loop', 'NumPy program' or 'matrix products'."""
        return (
            "compiled loop"
            if self._ready.layout
            else "NumPy program"
            if self._ready.request
            else "matrix products"
        )

    def __call__(self, at: ArrayLike, **directions: ArrayLike) -> Floats:
        """Return the derivatives at centres (..., dim); see `compile` for the shapes and the errors.

        Parameters
        ----------
        at : array_like of float, shape (..., dim)
        **directions : array_like of float, shape (..., dim)
            The directions that the request names. They broadcast with `at`.
        """
        mlp, key, ready = self.mlp, self.request, self._ready
        where = array("at", at, mlp.dim)
        if (directions or ready.names) and ready.names.keys() != directions.keys():
            wanted = ", ".join(ready.names) or "none"
            raise TypeError(
                f"directions: {', '.join(directions) or 'none'} given; the request names {wanted}"
            )
        if isinstance(key, int):
            return tensor(mlp, key, ready, where)
        vectors = [array(name, directions[name], mlp.dim) for name in ready.names]
        return evaluate(mlp, key, ready, where, vectors)


def centres(mlp: MLP, at: ArrayLike | None) -> Floats:
    """Return the centres as an array (..., dim), the origin if `at` is None; see `array`."""
    validation.instance("mlp", mlp, MLP)
    return np.zeros(mlp.dim) if at is None else array("at", at, mlp.dim)


def array(name: str, value: Any, dim: int) -> Floats:
    """Return a float64 array (..., dim). A float64 array is not checked for finite numbers: the compiled loop does that."""
    if (
        type(value) is np.ndarray
        and value.dtype.char == "d"
        and value.ndim
        and value.size
        and value.shape[-1] == dim
    ):
        return value
    return validation.real_array(name, value, last=dim)


def _of_key(mlp: MLP, key: Key) -> Compiled:
    return Compiled(mlp, key, prepare(mlp, key))


def compile(mlp: MLP, request: Any, metric: ArrayLike | None = None) -> Compiled:
    """Return a function of the centre that computes the requested derivatives of a network.

    The part of the work that does not depend on the centre is done here: the products
    of the centroid rule are written as a program, which a compiled loop executes at
    each call. A whole tensor of order 3 of a small network then takes microseconds. The
    results are those of the plain functions to rounding. The plain functions cache
    their compiled requests while the network lives.

    Parameters
    ----------
    mlp : MLP
    request : int, sequence of tuple, 'laplacian' or 'bilaplacian'
        An integer from 0 to 20 requests the tensor of all derivatives of that order, as
        in `derivative_tensor`. A sequence requests one derivative for each tuple, with
        1 to 20 entries and at most ten different ones: the number of an input stands
        for the derivative by that input, a name such as 'v' for the derivative along a
        direction given at each call, and one `...` for the gradient of the derivative
        that the other entries request. All tuples have a `...`, or none has.
    metric : array_like of float, shape (dim,) or (dim, dim), optional
        The weights of second derivatives in a Laplacian; see `laplacian`.

    Returns
    -------
    Compiled
        A function f(at, v=.., ..) of centres and directions (..., dim). It returns
        packed tensors (C, ..., [outputs]), chosen derivatives (..., [outputs,] tuples),
        gradients (..., [outputs,] tuples, dim), or Laplacians (..., [outputs]).

    Raises
    ------
    TypeError, ValueError
        If the request has another form, or has an index that is not an input's.

    Notes
    -----
    `method` of the result says how it is computed. 'compiled loop': with numba, for all
    activations but `Custom`. 'NumPy program': otherwise, some ten to a hundred times
    slower for small networks. 'matrix products': large whole tensors (from about 64
    inputs at order 3, 16 at order 5), and all whole tensors without numba. The first
    request in a process loads the compiled loop in a fifth of a second; the first on a
    machine compiles it in two seconds.

    Examples
    --------
    >>> mlp = MLP([[[1.0, 2.0]], [[1.0]]], [[0.0], [0.0]], "exp")    # exp(x + 2 y)
    >>> hessian = compile(mlp, 2)
    >>> hessian([[0.0, 0.0], [1.0, -0.5]])                           # xx, xy, yy; at two centres
    array([[1., 1.],
           [2., 2.],
           [4., 4.]])
    >>> compile(mlp, [(0,), (0, 1, 1)])([0.0, 0.0])
    array([1., 4.])
    >>> product = compile(mlp, [("v", ...)])                        # the Hessian times v
    >>> product([0.0, 0.0], v=[1.0, 1.0])
    array([[3., 6.]])
    """
    validation.instance("mlp", mlp, MLP)
    if isinstance(request, str):
        validation.choice("request", request, ("laplacian", "bilaplacian"))
        return _of_key(mlp, sum_of(mlp, 1 + (request == "bilaplacian"), metric))
    if metric is not None:
        raise ValueError(
            f"metric: given for request = {validation.brief(request)}; must be given for a Laplacian alone"
        )
    try:
        items: Any = iter(request)
    except TypeError:
        return _of_key(
            mlp,
            validation.integer(
                "request", request, minimum=0, limit=validation.TENSOR_ORDER
            ),
        )
    return _of_key(mlp, indices_of("request", items, mlp.dim, named=True))
