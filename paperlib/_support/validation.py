"""Check arguments, and raise one-line errors.

A message names the argument, its value and the allowed values. As in NumPy and SciPy,
an argument of the wrong type raises a TypeError. An argument of the right type with a
value that is not allowed raises a ValueError.
"""

import operator
import os
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

Floats: TypeAlias = NDArray[np.float64]
Kind = TypeVar("Kind")

SERIES_ORDER = 170  # n! overflows float64 for larger n
TENSOR_ORDER = 20  # n! overflows int64 for larger n, and multiplicities are at most n!
# The query of the free memory takes a good part of a millisecond. It is skipped for
# arrays of fewer bytes.
WORTH_ASKING = 2**26


def brief(value: object) -> str:
    """Return the repr of a value for a message, on one line of at most 80 characters.

    Examples
    --------
    >>> brief(np.ones((2, 2)))
    'array([[1., 1.], [1., 1.]])'
    """
    try:
        text = " ".join(repr(value).split())
    # An error of the object's own repr, or an integer with more digits than Python
    # prints
    except Exception:
        return f"a {type(value).__name__}"
    return text if len(text) <= 80 else f"{text[:77]}..."


def integer(
    name: str,
    value: Any,
    minimum: int | None = None,
    maximum: int | None = None,
    *,
    limit: int | None = None,
) -> int:
    """Return an integer argument as an int. Any integer type except bool is accepted.

    The value must be from `minimum` to `maximum`, and at most `limit`. Give `maximum`
    together with `minimum`. A `limit` is a bound that float64 or the computing time
    sets. A message mentions it only if the value exceeds it.

    Examples
    --------
    >>> integer("order", 0, minimum=1)
    Traceback (most recent call last):
    ...
    ValueError: order = 0: must be an integer >= 1
    """
    allowed = f"an integer{_range(minimum, maximum)}"
    try:
        if isinstance(value, (bool, np.bool_)):
            raise TypeError
        result = operator.index(value)
    except TypeError:
        raise TypeError(f"{name} = {brief(value)}: must be {allowed}") from None
    if not _between(minimum, result, maximum):
        raise ValueError(f"{name} = {brief(result)}: must be {allowed}")
    if not _between(None, result, limit):
        raise ValueError(f"{name} = {brief(result)}: must be at most {limit}")
    return result


def _range(minimum: float | None, maximum: float | None) -> str:
    """Return the words of a message for a range.

    If `maximum` is given, `minimum` must be given too.

    Examples
    --------
    >>> _range(1, None), _range(1, 3), _range(None, None)
    (' >= 1', ' from 1 to 3', '')
    """
    if maximum is not None:
        return f" from {minimum} to {maximum}"
    return "" if minimum is None else f" >= {minimum}"


def _between(minimum: float | None, value: float, maximum: float | None) -> bool:
    """Return whether a value is from `minimum` to `maximum`. None sets no bound."""
    large_enough = minimum is None or value >= minimum
    return large_enough and (maximum is None or value <= maximum)


def number(
    name: str, value: Any, minimum: float | None = None, *, above: float | None = None
) -> float:
    """Return a real argument as a float.

    The argument must be a finite number, at least `minimum` and greater than `above`.

    Examples
    --------
    >>> number("range_fm", -1.0, above=0)
    Traceback (most recent call last):
    ...
    ValueError: range_fm = -1.0: must be a finite number > 0
    """
    allowed = f"a finite number{_range(minimum, None)}"
    if above is not None:
        allowed += f" > {above}"
    message = f"{name} = {brief(value)}: must be {allowed}"
    if not _is_real(value):
        raise TypeError(message)
    try:
        result = float(value)
    except OverflowError:
        result = np.inf
    large_enough = _between(minimum, result, None) and (above is None or result > above)
    if not (np.isfinite(result) and large_enough):
        raise ValueError(message)
    return result


def _is_real(value: Any) -> bool:
    """Return whether a value is one real number.

    It may be an int, a float, or a real scalar of NumPy, also in an array without axes.
    The function float() alone is no test, because it also accepts a string, a bool, and
    an array of one element.
    """
    try:
        array = np.asarray(value)
    except Exception:  # an error of the object's own __array__
        return False
    return array.ndim == 0 and (type(value) is int or array.dtype.kind in "iuf")


def choice(name: str, value: Any, allowed: Iterable[str]) -> str:
    """Return an argument that must be one of the strings in `allowed`.

    Raise a TypeError if it is not a string, and a ValueError for another string.

    Examples
    --------
    >>> choice("kind", "repulsive", ("attractive", "signed"))
    Traceback (most recent call last):
    ...
    ValueError: kind = 'repulsive': must be one of 'attractive', 'signed'
    """
    allowed = tuple(allowed)
    message = f"{name} = {brief(value)}: must be one of {', '.join(map(repr, allowed))}"
    if not isinstance(value, str):
        raise TypeError(message)
    if value not in allowed:
        raise ValueError(message)
    return value


def instance(name: str, value: Any, kind: type[Kind]) -> Kind:
    """Return an argument, or raise a TypeError if it is not of the type `kind`."""
    if not isinstance(value, kind):
        raise TypeError(
            f"{name}: {type(value).__name__} given; must be of type {kind.__name__}"
        )
    return value


def called(name: str, value: Any) -> Callable:
    """Return an argument, or raise a TypeError if it is not callable."""
    if not callable(value):
        raise TypeError(f"{name} = {brief(value)}: must be callable")
    return value


def sequence(
    name: str,
    value: Any,
    kind: type[Kind] = object,  # type: ignore[assignment]
) -> list[Kind]:
    """Return the items of an iterable as a list.

    Raise a TypeError if the value is not iterable, is a string or bytes, or has an item
    that is not of the type `kind`. By default all types of items are allowed.
    """
    try:
        if isinstance(value, (str, bytes)):
            raise TypeError
        items = list(value)
    except TypeError:
        raise TypeError(f"{name} = {brief(value)}: must be a sequence") from None
    return [instance(f"{name}[{i}]", item, kind) for i, item in enumerate(items)]


def path(name: str, value: Any) -> Path:
    """Return an argument, a string or Path, as a Path.

    Raise a TypeError for another type, and a ValueError if the path has a character
    that cannot be printed, such as a line break.
    """
    message = f"{name} = {brief(value)}: must be a path"
    if not isinstance(value, (str, Path)):
        raise TypeError(message)
    if not str(value).isprintable():
        raise ValueError(message)
    return Path(value)


def real_array(name: str, value: Any, *, last: int | None = None) -> Floats:
    """Return an argument as a finite float64 array.

    The array must have at least one axis, and no axis may be empty. The last axis must
    have the length `last`, if given. If the argument is a float64 array already, it is
    returned itself, not a copy.

    Examples
    --------
    >>> real_array("U", [1, 2, 3])
    array([1., 2., 3.])
    >>> real_array("U", [1.0, float("nan")])
    Traceback (most recent call last):
    ...
    ValueError: U[1] = nan: must be finite
    """
    array = shaped(name, value, last)
    finite(name, array)
    return array


def frozen_copy(array: Floats) -> Floats:
    """Return a read-only copy for an object to store.

    Later changes of the given array do not affect the copy.

    Examples
    --------
    >>> array = np.zeros(2)
    >>> copy = frozen_copy(array)
    >>> array += 1
    >>> copy, copy.flags.writeable
    (array([0., 0.]), False)
    """
    copy = np.array(array)
    copy.flags.writeable = False
    return copy


def alike(name: str, value: Any, other: str, shape: tuple[int, ...]) -> Floats:
    """Return an argument as a finite float64 array, which must have a given shape.

    `shape` is the shape that it must have, and `other` the name of the argument that
    has this shape. Raise a ValueError if the shape differs.
    """
    array = real_array(name, value)
    if array.shape != shape:
        raise ValueError(
            f"{name}: shape {array.shape}; must be that of {other}, {shape}"
        )
    return array


def broadcast(name: str, array: Floats, other: str, beside: Floats) -> tuple[int, ...]:
    """Return the common shape of two array arguments after broadcasting.

    Raise a ValueError if they do not broadcast. `name` and `other` are the names of the
    arguments `array` and `beside`.
    """
    try:
        return np.broadcast_shapes(array.shape, beside.shape)
    except ValueError:
        raise ValueError(
            f"{name}: shape {array.shape}; must broadcast with {other}, {beside.shape}"
        ) from None


def shaped(name: str, value: Any, last: int | None = None, *, axes: int = 1) -> Floats:
    """Return an argument as a float64 array, which may hold NaN or infinity.

    The array must have at least `axes` axes, and no axis may be empty. The last axis
    must have the length `last`, if given. `real_array` checks in addition that all
    entries are finite.
    """
    try:
        array = np.asarray(value)
    except ValueError:
        raise ValueError(
            f"{name}: rows of different lengths; must be a rectangular array"
        ) from None
    except Exception as error:  # an error of the object's own __array__
        raise TypeError(
            f"{name}: {type(value).__name__} given; must be convertible to an array "
            f"({type(error).__name__})"
        ) from None
    if array.dtype.kind not in "iuf":
        raise TypeError(f"{name}: dtype {array.dtype}; must be real numbers")
    if array.ndim < axes:
        raise ValueError(
            f"{name} = {brief(value)}: must be an array with at least one axis"
        )
    if array.size == 0:
        raise ValueError(
            f"{name}: shape {array.shape} is empty; every axis must be >= 1 long"
        )
    if last is not None and array.shape[-1] != last:
        raise ValueError(
            f"{name}: shape {array.shape}; the last axis must be {last} long"
        )
    # A long double may overflow float64; `finite` then raises
    with np.errstate(over="ignore"):
        return np.asarray(array, dtype=np.float64)


def finite(name: str, array: Floats) -> None:
    """Raise a ValueError that names the first NaN or infinity of an array."""
    # Two reductions need no temporary array, and a NaN propagates through both.
    if not (np.isfinite(array.min()) and np.isfinite(array.max())):
        index = tuple(int(i) for i in np.argwhere(~np.isfinite(array))[0])
        raise ValueError(
            f"{name}[{', '.join(map(str, index))}] = {array[index]}: must be finite"
        )


def representable(name: str, result: Floats, instead: str) -> Floats:
    """Return a computed result, or raise a ValueError if an entry is not finite.

    The caller must have checked that all inputs are finite, so that a NaN or infinity
    in the result means that a value overflowed float64 during the computation. The
    message begins with `name`, the name of the argument that was too large, and ends
    with the advice `instead`, such as "use a smaller U".
    """
    if not np.isfinite(result).all():
        raise ValueError(f"{name}: the result overflows float64; {instead}")
    return result


def memory(name: str, nbytes: int, instead: str) -> None:
    """Raise a ValueError if `nbytes` bytes are more than the free memory.

    Call this function before allocating. Nothing is raised for less than 64 MiB, or if
    the system does not report its free memory. `instead` is advice for the message,
    such as "use fewer points".
    """
    if nbytes < WORTH_ASKING:
        return
    free = _free_bytes()
    if free is not None and nbytes > free:
        needed = min(nbytes, 10**300) / 2**30  # a larger integer overflows float64
        raise ValueError(
            f"{name}: needs {needed:.3g} GiB; {free / 2**30:.3g} GiB are free: "
            f"{instead}"
        )


def _free_bytes() -> int | None:
    """Return the free memory in bytes, or None if the system does not report it.

    Within a container this is the smaller of the machine's free memory and the unused
    part of the container's limit.
    """
    free = []
    try:
        lines = dict(
            line.split(":") for line in Path("/proc/meminfo").read_text().splitlines()
        )
        free.append(1024 * int(lines["MemAvailable"].split()[0]))
    except (OSError, KeyError, ValueError):
        if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
            free.append(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    with suppress(OSError, ValueError):  # not in a container, or no limit is set
        limit, used = (
            int(Path(f"/sys/fs/cgroup/memory.{name}").read_text())
            for name in ("max", "current")
        )
        free.append(max(0, limit - used))
    return min(free, default=None)
