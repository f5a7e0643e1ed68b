"""Compile a request for one network, and evaluate it at any centres.

A *request* lists the derivatives that a caller wants: the tensor of all derivatives of
one order, some partial derivatives, gradients, or a Laplacian. A *centre* is a point at
which they are computed. Three methods compute them, with equal results up to rounding:

- The compiled loop (`compiled.interpreter`) executes a program, which is a list of
  products (see `program`). It needs numba, and activations other than
  `activations.Custom`.
- NumPy executes the same program (`executor`) for all requests but whole tensors, if
  the compiled loop is not available or meets a number that is not finite.
- Matrix products (`centroid`) compute whole tensors: those that are large, and all of
  them where the compiled loop is not available or meets a number that is not finite.
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

# The largest tensor with a program, as its packed entries times 2^order. The program of
# a larger tensor takes over a second to write.
LONGEST = 2**19
MAX_CACHED, MAX_CACHED_BYTES = 64, 2**27  # compiled requests of one network
CHUNK_BYTES = 2**21  # rows of the centres that NumPy computes together
# Numbers of the result array past the results. The compiled loop writes whole vectors,
# so it may add zeros to these.
BEYOND = 8
NO_NUMBERS: Floats = np.zeros(0)
FLOAT = np.dtype(np.float64)


class Prepared(NamedTuple):
    """A compiled request: everything that does not depend on the centres.

    It does not refer to the network. The cache `_prepared` therefore does not prevent
    the deletion of a network.

    Attributes
    ----------
    request : Derivatives, Laplacian or None
        The request for which programs are written. None stands for matrix products.
    slopes : ndarray of float64, shape (constant directions, units)
        The derivative of the first layer's pre-activations along each constant
        direction, that is, one that is the same at all centres. `units` is the number
        of neurons of the first layer.
    layout : Layout or None
        The arguments of the compiled loop. None if another method is used.
    names : dict of {str: None}
        The names of the directions that the caller gives for each centre, as keys.
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

    The loop uses internals of numba, which another version may have changed. If numba
    does not compile the loop, a RuntimeWarning reports the error.
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
    """Return a compiled request of a network.

    The request is compiled at the first call, and cached until the network is deleted.
    For each network, at most MAX_CACHED requests are cached, whose layouts have at most
    MAX_CACHED_BYTES bytes in all. The request that was compiled first is removed first.
    The newest request is always cached.
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
    """Return the bytes of the arrays of a request's layout, 0 without a layout."""
    layout = prepared.layout
    return layout.table.nbytes + layout.numbers.nbytes if layout else 0


def _prepare(mlp: MLP, key: Key) -> Prepared:
    """Choose the method for a request of a network with a hidden layer, and prepare it.

    An integer `key` requests the whole tensor of this order. Matrix products compute it
    if the order is 0, or the tensor has more than LONGEST / 2^order packed entries, or
    the compiled loop cannot be used, because numba is missing or does not compile it,
    or an activation is an `activations.Custom`. All other requests have a program. The
    compiled loop executes it if it can be used, otherwise NumPy.
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
    """Return the derivatives of a request, other than a whole tensor, at centres.

    Parameters
    ----------
    mlp : MLP
        The network.
    key : tuple of tuple, or LaplacianKey
        The request.
    prepared : Prepared
        The result of `prepare(mlp, key)`.
    at : ndarray of float64, shape (..., dim)
        The centres. This function checks that they are finite.
    vectors : sequence of ndarray of float64, each of shape (..., dim)
        The directions of the request, in the order of `prepared.names`. They broadcast
        with `at`.

    Returns
    -------
    ndarray of float64
        With one derivative for each tuple of `key`, the shape is (..., [outputs,]
        tuples). If the tuples have a `...`, which requests gradients, it is
        (..., [outputs,] tuples, dim). For a Laplacian it is (..., [outputs]). The axis
        [outputs] is absent if the network has one output.

    Raises
    ------
    ValueError
        If the shapes do not broadcast, a number in `at` or `vectors` is not finite, a
        result overflows float64, more memory is needed than is free, or a neuron's
        pre-activation is 0 where its activation has a kink (order 2 or higher).
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
    """Broadcast centres and directions to one shape; return [at, *vectors].

    Raise a ValueError if the shapes do not broadcast.
    """
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
    """Return the packed tensors of all derivatives of one order at centres.

    Parameters
    ----------
    mlp : MLP
        The network.
    order : int
        The order.
    prepared : Prepared
        The result of `prepare(mlp, order)`.
    at : ndarray of float64, shape (..., dim)
        The centres. This function checks that they are finite.

    Returns
    -------
    ndarray of float64, shape (entries, ..., [outputs])
        The entries with sorted indices, see `symmetric`. The axis [outputs] is absent
        if the network has one output.

    Raises
    ------
    ValueError
        If a centre is not finite, a derivative overflows float64, more memory is needed
        than is free, or a neuron's pre-activation is 0 where its activation has a kink
        (order 2 or higher).
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
    """Return the packed tensors of all derivatives of one order by matrix products.

    The shapes are (..., dim) for `at` and (entries, ..., [outputs]) for the result,
    where [outputs] is absent if the network has one output. The centres must be finite.
    The result has the same bits with and without numba. Raise a ValueError if a
    derivative overflows float64, more memory is needed than is free, or a neuron's
    pre-activation is 0 where its activation has a kink (order 2 or higher).
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
    """Raise a ValueError if `nbytes` bytes are more than the free memory."""
    validation.memory("at", nbytes, "take fewer centres")


def _flat(array: Floats) -> Floats:
    """Return the numbers of an array in the form that the compiled loop needs.

    This is an aligned, contiguous, writable array of native float64 with one axis. The
    numbers are copied only if the given array does not have these properties.
    """
    if array.flags.carray and array.dtype is FLOAT:
        return array.reshape(-1)
    _memory(8 * array.size)
    return np.array(array, dtype=np.float64, order="C").reshape(-1)


def _flat_vectors(vectors: Sequence[Floats]) -> Floats:
    """Return the numbers of several arrays, one array after another, with one axis.

    All arrays have the same shape. The result is an aligned, contiguous, writable array
    of native float64. It is a view of a single array that has these properties, and has
    no numbers if there are no arrays.
    """
    if len(vectors) == 1:
        return _flat(vectors[0])
    if not vectors:
        return NO_NUMBERS
    _memory(8 * len(vectors) * vectors[0].size)
    return np.concatenate(vectors, axis=None, dtype=np.float64)


def _run_loop(
    layout: Layout | None, points: Floats, directions: Floats
) -> Floats | None:
    """Run the compiled loop at n centres, and return its results.

    Parameters
    ----------
    layout : Layout or None
        The arguments of the loop that do not depend on the centres.
    points : ndarray of float64, shape (n * dim,)
        The centres.
    directions : ndarray of float64, shape (given * n * dim,)
        The directions that the caller gives for each centre; `given` is their number.

    Returns
    -------
    ndarray of float64, shape (n * layout.results + BEYOND,), or None
        The results, which `_parts` divides into derivatives and gradients. None if
        there is no layout or no compiled loop, or if a number is not finite: a centre,
        an overflow, or a derivative at the kink of an activation. The caller then uses
        NumPy, which raises the error.
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
    """Divide the results of the compiled loop, `out`, into two views.

    The first view, (outputs, count, entries), has the derivatives. The second,
    (outputs, gradients, count, columns), has the gradients; `columns` is the number of
    inputs, padded to whole vectors. `count` is the number of centres. Without gradients
    the second array has no numbers.
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
    """Execute the program with NumPy, and return the derivatives and the gradients.

    The centres are processed in chunks whose rows fit into the processor's cache.

    Parameters
    ----------
    mlp : MLP
        The network.
    prepared : Prepared
        A request with a program.
    points : ndarray of float64, shape (n, dim)
        The centres.
    directions : ndarray of float64, shape (given, n, dim)
        The directions that the caller gives for each centre; `given` is their number.

    Returns
    -------
    values : ndarray of float64, shape (outputs, n, entries)
        The derivatives.
    gradients : ndarray of float64, shape (outputs, gradients, n, dim)
        The gradients.

    Raises
    ------
    ValueError
        If a result overflows float64, more memory is needed than is free, or a neuron's
        pre-activation is 0 where its activation has a kink (order 2 or higher).
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
    """A function of the centre that returns the derivatives of one request.

    `compile` returns such an object. Several threads may call it at the same time. A
    pickle contains only the network and the request, which is compiled again on
    loading.

    Attributes
    ----------
    mlp : MLP
        The network.
    request : int, tuple of tuple, or LaplacianKey
        The checked request. An integer is the order of a whole tensor, a tuple has the
        indices of each derivative, and a LaplacianKey stands for a Laplacian.
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
        """Return the name of the method that computes the derivatives.

        Returns
        -------
        str
            'compiled loop' (numba), 'NumPy program' (the same products with NumPy), or
            'matrix products' (whole tensors only). A call of a compiled loop that meets
            a number that is not finite is repeated with NumPy.

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
        """Return the derivatives at one centre or at a batch of centres.

        Parameters
        ----------
        at : array_like of float, shape (..., dim)
            The centre, or a batch of centres. `dim` is the number of inputs.
        **directions : array_like of float, shape (..., dim)
            One array for each name in the request. They broadcast with `at`.

        Returns
        -------
        ndarray of float64
            The shape depends on the request. For an order n it is (entries, ...,
            [outputs]) with the C(dim + n - 1, n) entries of a packed tensor. For a
            sequence of tuples it is (..., [outputs,] tuples), with one derivative for
            each tuple, or (..., [outputs,] tuples, dim) if the tuples have a `...`. For
            a Laplacian it is (..., [outputs]). The dots stand for the axes of the batch
            of centres. The axis [outputs] is absent if the network has one output.

        Raises
        ------
        TypeError
            If the names of the directions are not those in the request, or an array
            does not hold real numbers.
        ValueError
            If an array has another shape or is not finite, a result overflows float64,
            more memory is needed than is free, or a neuron's pre-activation is 0 where
            its activation has a kink, as relu has at 0 (order 2 or higher).

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
    """Return the centres as a float64 array (..., dim), the origin if `at` is None.

    A float64 array is not checked for finite numbers, because `evaluate` and `tensor`
    check them. Raise a TypeError if `mlp` is not an MLP or `at` does not hold real
    numbers, and a ValueError if the last axis of `at` is not `mlp.dim` long.
    """
    validation.instance("mlp", mlp, MLP)
    return np.zeros(mlp.dim) if at is None else array("at", at, mlp.dim)


def array(name: str, value: Any, dim: int) -> Floats:
    """Return the argument `name` as a float64 array of shape (..., dim).

    A float64 array is not checked for finite numbers, because `evaluate` and `tensor`
    check them. All other arguments are checked. Raise a TypeError or a ValueError if
    the argument does not hold real numbers or has another shape.
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
    """Return the compiled function of a checked request."""
    return Compiled(mlp, key, prepare(mlp, key))


def compile(mlp: MLP, request: Any, metric: ArrayLike | None = None) -> Compiled:
    """Return a function of the centre that computes derivatives of a network.

    Work that does not depend on the centre is done here. The derivatives are sums of
    products of numbers. These products are listed once, and each call of the result
    executes the list. With numba a call takes microseconds for a small network, for
    example for all derivatives of order 3.

    `derivative_tensor`, `partial_derivatives`, `mixed_derivative`, `hvp`, `laplacian`
    and `bilaplacian` return the same numbers up to rounding. They cache the requests
    that they compile until the network is deleted, so that a second call is fast too.

    Parameters
    ----------
    mlp : MLP
        The network.
    request : int, sequence of tuple, 'laplacian' or 'bilaplacian'
        An integer n from 0 to 20 requests the tensor of all derivatives of order n. A
        sequence requests one derivative for each tuple. The entries of a tuple are
        numbers and names: i stands for the derivative with respect to input i, from 0,
        and a name such as 'v' for the derivative along a direction v, which is given at
        each call. A tuple may have one `...`, which requests the gradient of the
        derivative that its other entries describe. Either all tuples have a `...` or
        none has one. A tuple has 1 to 20 entries. The product of (count + 1) over its
        different entries other than `...` must be at most 1024. Ten different entries
        are allowed, or five different entries three times each.
    metric : array_like of float, shape (dim,) or (dim, dim), optional
        Only for 'laplacian': the weights g_i of the second derivatives d^2 f / d x_i^2,
        or the weights g_ij of d^2 f / d x_i d x_j. The default is the unit matrix.

    Returns
    -------
    Compiled
        A function f(at, v=.., ..). `at` is a centre or a batch of centres of shape
        (..., dim). Each named direction is an array that broadcasts with `at`. The
        result is an array of shape

        - (entries, ..., [outputs]) for an order n: the C(dim + n - 1, n) entries of a
          packed tensor (see `SymmetricTensor`), with C for the binomial coefficient,
        - (..., [outputs,] tuples) for a sequence of tuples,
        - (..., [outputs,] tuples, dim) for a sequence of tuples with a `...`,
        - (..., [outputs]) for a Laplacian.

        The axis [outputs] is absent if the network has one output.

    Raises
    ------
    TypeError
        If an argument has the wrong type.
    ValueError
        If a number or a string in `request` is not allowed, `metric` has another shape
        or is given for another request than 'laplacian', or more memory is needed than
        is free.

    Notes
    -----
    The result's `method` is the name of the method that computes the derivatives:

    - 'compiled loop' if numba is installed and no activation is an
      `activations.Custom`.
    - 'NumPy program' otherwise. It is ten to a hundred times slower for small networks.
    - 'matrix products' for a tensor of order 0 or of more than 2^19 / 2^n packed
      entries, which are more than 72 inputs at order n = 3 and more than 16 at order 5.
      It is also used for all other tensors where 'compiled loop' is not available.

    numba compiles the loop at the first request on a machine, which takes about two
    seconds. The first request in every later process loads it, which takes about a
    fifth of a second.

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
