"""Compile a request for one network, and evaluate it at any centres.

Three methods give the same numbers to rounding. A program is executed by the compiled
loop (`compiled.interpreter`), or by NumPy (`executor`) if numba is not installed or an
activation is `Custom`. Large whole tensors are matrix products (`centroid`), with or
without numba.
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
from paperlib.taylor.requests import (
    Key,
    LaplacianKey,
    check_indices,
    laplacian_key,
    translate,
    with_hidden_layer,
)
from paperlib.taylor.symmetric import entries

if TYPE_CHECKING:
    from paperlib.taylor.compiled.layout import Layout

# entries times 2^order. The program of a larger tensor takes over a second to write.
LONGEST = 2**19
MAX_CACHED, MAX_CACHED_BYTES = 64, 2**27  # requests of one network
CHUNK_BYTES = 2**21
BEYOND = 8  # numbers past the results: the loop adds zeros to a vector of them
NO_NUMBERS: Floats = np.zeros(0)
FLOAT = np.dtype(np.float64)


class Prepared(NamedTuple):
    """A compiled request.

    It does not refer to the network, so that the cache does not keep networks alive.

    Attributes
    ----------
    request : Derivatives, Laplacian or None
        The request of a program; None for matrix products.
    slopes : ndarray of float64, shape (constant directions, units)
        The derivative of the first layer's z along each direction that is the same at
        all centres.
    layout : Layout or None
        The arguments of the compiled loop; None if another method is used.
    names : dict
        The names of the directions that are given at each centre, as keys.
    """

    request: Request | None
    slopes: Floats
    layout: Layout | None
    names: dict[str, None]


_prepared: WeakKeyDictionary[MLP, dict[Key, Prepared]] = WeakKeyDictionary()
_lock = Lock()


@cache
def _compiled_loop() -> Callable[..., bool] | None:
    """Return the compiled loop. Return None if numba is missing or does not compile it.

    numba does not compile the loop if its internals have changed; a warning reports it.
    """
    if numba() is None:
        return None
    try:
        from paperlib.taylor.compiled.interpreter import run

        table = np.ones(64, dtype=np.int64)
        run(NO_NUMBERS, NO_NUMBERS, NO_NUMBERS, NO_NUMBERS, 1, table, NO_NUMBERS)
    except Exception as error:
        text = validation.brief(f"{type(error).__name__}: {error}")
        warnings.warn(
            f"numba {numba().__version__} does not compile the loop ({text}); "
            "NumPy is used",
            RuntimeWarning,
            stacklevel=2,
        )
        return None
    centroid.keep_freed_memory()
    return run


def prepare(mlp: MLP, key: Key) -> Prepared:
    """Return the compiled request of a network.

    It is compiled at the first call and cached while the network lives.
    """
    cached = _prepared.get(mlp)
    if cached is None:
        cached = _prepared.setdefault(mlp, {})
    prepared = cached.get(key)
    if prepared is None:
        with np.errstate(over="ignore", invalid="ignore"):
            prepared = _prepare(with_hidden_layer(mlp), key)
        with _lock:
            cached[key] = prepared
            while len(cached) > 1 and (
                len(cached) > MAX_CACHED
                or sum(map(_nbytes, cached.values())) > MAX_CACHED_BYTES
            ):
                del cached[next(iter(cached))]  # the oldest
    return prepared


def _nbytes(prepared: Prepared) -> int:
    layout = prepared.layout
    return layout.table.nbytes + layout.numbers.nbytes if layout else 0


def _prepare(mlp: MLP, key: Key) -> Prepared:
    """Choose the method for a request of a network with a hidden layer, and prepare it.

    A whole tensor without the compiled loop is computed by matrix products.
    """
    compiled = _compiled_loop() is not None
    matrix_products = Prepared(None, NO_NUMBERS, None, {})
    if isinstance(key, int) and (
        not compiled or key == 0 or entries(mlp.dim, key) * 2**key > LONGEST
    ):
        return matrix_products
    request, slopes, names = translate(mlp, key)
    layout = None
    if compiled:
        from paperlib.taylor.compiled.layout import lay_out

        layout = lay_out(mlp, request, slopes)
    if layout is None and isinstance(key, int):
        return matrix_products
    return Prepared(request, slopes, layout, dict.fromkeys(names))


def evaluate(
    mlp: MLP, key: Key, prepared: Prepared, at: Floats, vectors: Sequence[Floats] = ()
) -> Floats:
    """Return a result other than a whole tensor at a batch of centres.

    Parameters
    ----------
    mlp : MLP
        The network.
    key : tuple of tuple, or LaplacianKey
        The request.
    prepared : Prepared
        The result of `prepare` for the network and the request.
    at : ndarray of float64, shape (..., dim)
        The centres.
    vectors : sequence of ndarray of float64, each of shape (..., dim)
        The directions of the request, in the order of `prepared.names`. They broadcast
        with `at`.

    Returns
    -------
    ndarray of float64
        Derivatives (..., [outputs,] tuples), gradients (..., [outputs,] tuples, dim) or
        Laplacians (..., [outputs]).

    Raises
    ------
    ValueError
        If a neuron sits at a kink, a result overflows float64, or memory is short.
    """
    arrays = at, *vectors
    if vectors and {vector.shape for vector in vectors} != {at.shape}:
        at, *vectors = _broadcast(at, vectors)
    points = _flat(at)
    directions = _flat_vectors(vectors)
    count = len(points) // mlp.dim
    out = _run_loop(prepared.layout, points, directions)
    if out is None:
        for name, array in zip(("at", *prepared.names), arrays):
            validation.finite(name, array)
        shaped = directions.reshape(len(vectors), count, mlp.dim)
        values, gradients = _run_numpy(
            mlp, prepared, points.reshape(-1, mlp.dim), shaped
        )
    else:
        values, gradients = _parts(prepared.layout, out, count)
    result = values
    if gradients.size:  # (outputs, n, gradients, dim)
        result = gradients[..., : mlp.dim].swapaxes(1, 2)
    if isinstance(key, LaplacianKey):
        result = result[..., 0]
    result = result[0] if mlp.outputs == 1 else result.swapaxes(0, 1)
    return result.reshape(at.shape[:-1] + result.shape[1:])


def _broadcast(at: Floats, vectors: Sequence[Floats]) -> list[Floats]:
    """Return centres and directions in one shape."""
    shapes = [vector.shape for vector in vectors]
    try:
        full = np.broadcast_shapes(at.shape, *shapes)
    except ValueError:
        raise ValueError(
            f"directions: shapes {', '.join(map(str, shapes))}; "
            f"must broadcast with at, {at.shape}"
        ) from None
    return [np.broadcast_to(array, full) for array in (at, *vectors)]


def tensor(mlp: MLP, order: int, prepared: Prepared, at: Floats) -> Floats:
    """Return the packed tensors of an order, of shape (C, ..., [outputs]).

    `prepared` is the result of `prepare(mlp, order)`. The shape of `at` is (..., dim).
    """
    layout = prepared.layout
    out = _run_loop(layout, _flat(at), NO_NUMBERS)
    if layout is None or out is None:
        validation.finite("at", at)
        return whole(mlp, order, at)
    if at.ndim == 1 and layout.outputs == 1:
        return out[: layout.entries or layout.dim]
    values, gradients = _parts(layout, out, at.size // layout.dim)
    packed = values if order > 1 else gradients[:, 0, :, : mlp.dim]
    if mlp.outputs == 1:
        return np.moveaxis(packed.reshape(*at.shape[:-1], -1), -1, 0)
    return np.moveaxis(
        packed.reshape(mlp.outputs, *at.shape[:-1], -1), (-1, 0), (0, -1)
    )


def whole(mlp: MLP, order: int, at: Floats) -> Floats:
    """Return the packed tensors of an order without a program.

    They have the same bits whether numba is installed or not.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        if order == 0:
            packed = np.array(mlp(at))[None]
        else:
            packed = centroid.derivatives(mlp, order, at)
    if not np.isfinite(packed).all():
        raise ValueError(
            f"mlp, at: derivatives of order {order} overflow float64; {SMALLER}"
        )
    return packed


def _memory(nbytes: int) -> None:
    validation.memory("at", nbytes, "take fewer centres")


def _flat(array: Floats) -> Floats:
    """Return an array as the loop takes it: aligned native float64, one axis.

    The numbers are copied only if the array is not of this kind.
    """
    if array.flags.carray and array.dtype is FLOAT:
        return array.reshape(-1)
    _memory(8 * array.size)
    return np.array(array, dtype=np.float64, order="C").reshape(-1)


def _flat_vectors(vectors: Sequence[Floats]) -> Floats:
    """Return arrays of one shape, one after the other, as `_flat` does."""
    if len(vectors) == 1:
        return _flat(vectors[0])
    if not vectors:
        return NO_NUMBERS
    _memory(8 * len(vectors) * vectors[0].size)
    return np.concatenate(vectors, axis=None, dtype=np.float64)


def _run_loop(
    layout: Layout | None, points: Floats, directions: Floats
) -> Floats | None:
    """Run the compiled loop; return its results for `_parts`.

    Return None without a compiled loop, or if a neuron sits at a kink or a number is
    not finite.
    """
    run = _compiled_loop()
    if layout is None or run is None:
        return None
    count = len(points) // layout.dim
    together = min(layout.together, count)
    work_size = together * layout.work
    _memory(8 * (count * layout.results + work_size))
    out = np.zeros(count * layout.results + BEYOND)
    work = np.empty(work_size)
    finite = run(points, directions, out, work, together, layout.table, layout.numbers)
    return out if finite else None


def _parts(layout: Any, out: Floats, count: int) -> tuple[Floats, Floats]:
    """Return views of the results of the loop at `count` centres.

    These are the derivatives (outputs, n, entries) and the gradients (outputs,
    gradients, n, columns).
    """
    end = layout.outputs * count * layout.entries
    values = out[:end].reshape(layout.outputs, count, layout.entries)
    if not layout.gradients:
        return values, NO_NUMBERS
    shape = layout.outputs, layout.gradients, count, layout.columns
    return values, out[end : count * layout.results].reshape(shape)


def _run_numpy(
    mlp: MLP, prepared: Prepared, points: Floats, directions: Floats
) -> tuple[Floats, Floats]:
    """Return the results of `_parts` by NumPy.

    `points` has the shape (n, dim), `directions` the shape (given, n, dim). Chunks of
    centres fit into the processor's cache.
    """
    assert prepared.request is not None, "only whole tensors have no program"
    mlp = with_hidden_layer(mlp)
    first = programs(prepared.request, executor.RUN, mlp.depth)[0]
    columns = first.entries + len(first.gradients) * mlp.dim
    _memory(16 * mlp.outputs * len(points) * columns)  # the chunks, and their union
    size = CHUNK_BYTES // executor.bytes_each(mlp, prepared.request)
    results = []
    with np.errstate(over="ignore", invalid="ignore"):
        for chunk in chunks.slices(len(points), size):
            given = [direction[chunk] @ mlp.weights[0].T for direction in directions]
            slopes = [*prepared.slopes[:, None], *given]
            results.append(
                executor.execute(mlp, prepared.request, slopes, points[chunk])
            )
    values, gradients = (np.concatenate(parts, axis=-2) for parts in zip(*results))
    for result in (values, gradients):
        validation.representable("mlp, at", result, SMALLER)
    return values, gradients


@dataclass(frozen=True, eq=False, repr=False)
class Compiled:
    """The derivatives of one request as a function of the centre; see `compile`.

    Threads may share it. It is pickled as its network and its request.

    Attributes
    ----------
    mlp : MLP
        The network.
    request : int, tuple of tuple, or LaplacianKey
        The checked request.
    """

    mlp: MLP
    request: Key
    _prepared: Prepared

    def __repr__(self) -> str:
        return f"compile({self.mlp}, {self.request})"

    def __reduce__(self) -> tuple:
        return _compile_key, (self.mlp, self.request)

    @property
    def method(self) -> str:
        """Return 'compiled loop', 'NumPy program' or 'matrix products'.

        Returns
        -------
        str

        Examples
        --------
        >>> mlp = MLP([[[1.0]], [[1.0]]], [[0.0], [0.0]], "exp")
        >>> compile(mlp, 0).method
        'matrix products'
        """
        if self._prepared.layout:
            return "compiled loop"
        return "NumPy program" if self._prepared.request else "matrix products"

    def __call__(self, at: ArrayLike, **directions: ArrayLike) -> Floats:
        """Return the derivatives at centres.

        Parameters
        ----------
        at : array_like of float, shape (..., dim)
            The centre, or a batch of centres.
        **directions : array_like of float, shape (..., dim)
            The directions that the request names. They broadcast with `at`.

        Returns
        -------
        ndarray of float64
            Packed tensors (C, ..., [outputs]), chosen derivatives (..., [outputs,]
            tuples), gradients (..., [outputs,] tuples, dim), or Laplacians (...,
            [outputs]).

        Raises
        ------
        TypeError
            If the directions are not those of the request.
        ValueError
            If an array has another shape or is not finite, a neuron sits at a kink
            (order 2 or higher), or a result overflows float64.

        Examples
        --------
        >>> mlp = MLP([[[1.0, 2.0]], [[1.0]]], [[0.0], [0.0]], "exp")    # exp(x + 2 y)
        >>> compile(mlp, [("v", "v")])([0.0, 0.0], v=[[1.0, 0.0], [0.0, 1.0]])
        array([[1.],
               [4.]])
        """
        mlp, key, prepared = self.mlp, self.request, self._prepared
        centre = array("at", at, mlp.dim)
        names = prepared.names
        if (directions or names) and names.keys() != directions.keys():
            raise TypeError(
                f"directions: {', '.join(directions) or 'none'} given; "
                f"must be {', '.join(names) or 'none'}"
            )
        if isinstance(key, int):
            return tensor(mlp, key, prepared, centre)
        vectors = [array(name, directions[name], mlp.dim) for name in names]
        return evaluate(mlp, key, prepared, centre, vectors)


def centres(mlp: MLP, at: ArrayLike | None) -> Floats:
    """Return the centres as an array (..., dim); the origin if `at` is None.

    See `array` for the checks.
    """
    validation.instance("mlp", mlp, MLP)
    return np.zeros(mlp.dim) if at is None else array("at", at, mlp.dim)


def array(name: str, value: Any, dim: int) -> Floats:
    """Return a float64 array (..., dim).

    A float64 array is not checked for finite numbers, because the loop does that.
    """
    if (
        type(value) is np.ndarray
        and value.dtype.char == "d"
        and value.ndim
        and value.size
        and value.shape[-1] == dim
    ):
        return value
    return validation.real_array(name, value, last=dim)


def _compile_key(mlp: MLP, key: Key) -> Compiled:
    return Compiled(mlp, key, prepare(mlp, key))


def compile(mlp: MLP, request: Any, metric: ArrayLike | None = None) -> Compiled:
    """Return a function of the centre that computes derivatives of a network.

    The part of the work that does not depend on the centre is done here: the products
    of the centroid rule are written as a program, which a compiled loop executes at
    each call. A whole tensor of order 3 of a small network then takes microseconds. The
    results are those of the plain functions to rounding. The plain functions cache
    their compiled requests while the network lives.

    Parameters
    ----------
    mlp : MLP
        The network.
    request : int, sequence of tuple, 'laplacian' or 'bilaplacian'
        An integer from 0 to 20 requests the tensor of all derivatives of that order, as
        in `derivative_tensor`. A sequence requests one derivative for each tuple, with
        1 to 20 entries and at most ten different ones. The number of an input stands
        for the derivative by that input, a name such as 'v' for the derivative along a
        direction given at each call, and one `...` for the gradient of the derivative
        that the other entries request. Either all tuples have a `...` or none.
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
        If the request has another form, or an index is not an input.

    Notes
    -----
    The result's `method` is 'compiled loop' with numba, for all activations except
    `Custom`. Otherwise it is 'NumPy program', which is ten to a hundred times slower
    for small networks. Large whole tensors (from about 64 inputs at order 3, 16 at
    order 5) and all whole tensors without numba are 'matrix products'. The first
    request in a process loads the compiled loop in a fifth of a second; the first on a
    machine compiles it in two seconds.

    Examples
    --------
    >>> mlp = MLP([[[1.0, 2.0]], [[1.0]]], [[0.0], [0.0]], "exp")    # exp(x + 2 y)
    >>> hessian = compile(mlp, 2)
    >>> hessian([[0.0, 0.0], [1.0, -0.5]])    # xx, xy, yy at two centres
    array([[1., 1.],
           [2., 2.],
           [4., 4.]])
    >>> compile(mlp, [(0,), (0, 1, 1)])([0.0, 0.0])
    array([1., 4.])
    >>> product = compile(mlp, [("v", ...)])    # the Hessian times v
    >>> product([0.0, 0.0], v=[1.0, 1.0])
    array([[3., 6.]])
    """
    validation.instance("mlp", mlp, MLP)
    if isinstance(request, str):
        validation.choice("request", request, ("laplacian", "bilaplacian"))
        power = 2 if request == "bilaplacian" else 1
        return _compile_key(mlp, laplacian_key(mlp, power, metric))
    if metric is not None:
        raise ValueError(
            f"metric: given for request = {validation.brief(request)}; "
            "must be given only for a Laplacian"
        )
    try:
        items: Any = iter(request)
    except TypeError:
        limit = validation.TENSOR_ORDER
        order = validation.integer("request", request, minimum=0, limit=limit)
        return _compile_key(mlp, order)
    return _compile_key(mlp, check_indices("request", items, mlp.dim, named=True))
