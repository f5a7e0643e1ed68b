"""Bad input is refused in one line that names the argument, the value and what is allowed."""

import operator
import os
from pathlib import Path

import numpy as np

SERIES_ORDER = 170  # past it n! is beyond the largest double
TENSOR_ORDER = 20  # past it n!, which the multiplicities go up to, is beyond the largest int64

WORTH_ASKING = 2**26  # asking the system takes a good part of a millisecond

__all__ = [
    "choice",
    "finite",
    "instance",
    "integer",
    "memory",
    "number",
    "path",
    "potentials",
    "real_array",
    "sequence",
    "shaped",
    "told",
    "within",
]


def told(value):
    """Return `value` as a message tells it: its repr, on one line and not longer than 80 characters.

    Examples
    --------
    >>> told(np.ones((2, 2)))
    'array([[1., 1.], [1., 1.]])'
    """
    try:
        text = " ".join(repr(value).split())
    except Exception:  # a stranger's repr, or an integer of more digits than Python writes
        return f"a {type(value).__name__}"
    return text if len(text) <= 80 else f"{text[:77]}..."


def integer(name, value, minimum=None, maximum=None, *, most=None):
    """Return `value` as an int.

    Parameters
    ----------
    name : str
        The argument's name, for the message.
    value : int
        Any integer type; a bool is refused.
    minimum, maximum : int, optional
        The allowed range, both ends included; a maximum comes with a minimum.
    most : int, optional
        What a double, an int64 or patience can do: told only where it is passed.

    Raises
    ------
    ValueError
        If `value` is not an integer or lies outside the range.

    Examples
    --------
    >>> integer("order", 3, minimum=1)
    3
    >>> integer("order", 0, minimum=1)
    Traceback (most recent call last):
    ...
    ValueError: order = 0: must be an integer >= 1
    """
    allowed = "an integer"
    if maximum is not None:
        allowed += f" from {minimum} to {maximum}"
    elif minimum is not None:
        allowed += f" >= {minimum}"
    try:
        if isinstance(value, (bool, np.bool_)):
            raise TypeError
        result = operator.index(value)
    except TypeError:
        raise ValueError(f"{name} = {told(value)}: must be {allowed}") from None
    if (minimum is not None and result < minimum) or (maximum is not None and result > maximum):
        raise ValueError(f"{name} = {told(result)}: must be {allowed}")
    if most is not None and result > most:
        raise ValueError(f"{name} = {told(result)}: must be at most {most}")
    return result


def number(name, value, minimum=None, *, above=None):
    """Return `value` as a finite float, at least `minimum` and strictly `above`.

    Raises
    ------
    ValueError
        If `value` is not one finite real number in the range.

    Examples
    --------
    >>> number("depth", 2)
    2.0
    >>> number("range_fm", -1.0, above=0)
    Traceback (most recent call last):
    ...
    ValueError: range_fm = -1.0: must be a finite number > 0
    """
    allowed = "a finite number"
    if minimum is not None:
        allowed += f" >= {minimum}"
    if above is not None:
        allowed += f" > {above}"
    try:
        # float() alone would take a text, a bool, and an array of one element.
        real = np.ndim(value) == 0 and (type(value) is int or np.asarray(value).dtype.kind in "iuf")
        result = float(value) if real else np.nan
    except Exception:  # an integer beyond the largest double, or a stranger's __array__
        result = np.nan
    wrong = not np.isfinite(result) or (minimum is not None and result < minimum)
    if wrong or (above is not None and not result > above):
        raise ValueError(f"{name} = {told(value)}: must be {allowed}")
    return result


def choice(name, value, allowed):
    """Return `value` if it is one of `allowed`.

    Raises
    ------
    ValueError
        If it is not.

    Examples
    --------
    >>> choice("kind", "repulsive", ("attractive", "signed"))
    Traceback (most recent call last):
    ...
    ValueError: kind = 'repulsive': must be one of 'attractive', 'signed'
    """
    if not isinstance(value, str) or value not in allowed:
        raise ValueError(f"{name} = {told(value)}: must be one of {', '.join(map(repr, allowed))}")
    return value


def instance(name, value, kind):
    """Return `value` if it is a `kind`.

    Raises
    ------
    ValueError
        If it is not.

    Examples
    --------
    >>> instance("config", 3, dict)
    Traceback (most recent call last):
    ...
    ValueError: config: int given; must be of type dict
    """
    if not isinstance(value, kind):
        raise ValueError(f"{name}: {type(value).__name__} given; must be of type {kind.__name__}")
    return value


def sequence(name, value, of=object):
    """Return `value` as a list, if it is an iterable of `of`, and no text.

    Raises
    ------
    ValueError
        If it is not.

    Examples
    --------
    >>> sequence("hidden", (1, "2"), int)
    Traceback (most recent call last):
    ...
    ValueError: hidden[1]: str given; must be of type int
    """
    try:
        if isinstance(value, (str, bytes)):
            raise TypeError
        items = list(value)
    except TypeError:
        raise ValueError(f"{name} = {told(value)}: must be a sequence") from None
    return [instance(f"{name}[{number}]", item, of) for number, item in enumerate(items)]


def path(name, value):
    """Return `value` as a Path.

    Raises
    ------
    ValueError
        If it is no path.

    Examples
    --------
    >>> path("folder", 3)
    Traceback (most recent call last):
    ...
    ValueError: folder = 3: must be a path
    """
    if not isinstance(value, (str, Path)) or not str(value).isprintable():
        raise ValueError(f"{name} = {told(value)}: must be a path")
    return Path(value)


def real_array(name, value, *, last=None):
    """Return `value` as a finite float64 array of one axis or more, none of them empty.

    Parameters
    ----------
    name : str
        The argument's name, for the message.
    value : array_like
        Real numbers, shape (..., last).
    last : int, optional
        The length that the last axis must have.

    Returns
    -------
    ndarray of float64
        A view of `value` where it already is one.

    Raises
    ------
    ValueError
        On a dtype that is not real, no axis, an empty axis, a wrong last axis, NaN or infinity.

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


def shaped(name, value, last=None, *, axes=1):
    """What `real_array` returns, finite or not and of so many axes or more: for where a `finite` of its own follows."""
    try:
        array = np.asarray(value)
    except ValueError:
        raise ValueError(f"{name}: rows of different lengths; must be a rectangular array") from None
    except Exception as error:  # a stranger's __array__
        raise ValueError(f"{name}: {type(value).__name__} that is no array ({type(error).__name__})") from None
    if array.dtype.kind not in "iuf":
        raise ValueError(f"{name}: dtype {array.dtype}; must be real numbers")
    if array.ndim < axes:
        raise ValueError(f"{name} = {told(value)}: must be an array of one axis or more")
    if array.size == 0:
        raise ValueError(f"{name}: shape {array.shape} is empty; every axis must be >= 1 long")
    if last is not None and array.shape[-1] != last:
        raise ValueError(f"{name}: shape {array.shape}; the last axis must be {last} long")
    with np.errstate(over="ignore"):  # a long double may be beyond; `finite` then says so
        return np.asarray(array, dtype=np.float64)


def within(what, array, instead):
    """Return a result if a double holds all of it.

    Raises
    ------
    ValueError
        If it holds an infinity or a NaN: some number on the way was beyond the largest double.

    Examples
    --------
    >>> within("x", np.array([np.inf]), "scale the inputs")
    Traceback (most recent call last):
    ...
    ValueError: x: the result is beyond the largest double, 1.8e308; scale the inputs
    """
    if not np.isfinite(array).all():
        raise ValueError(f"{what}: the result is beyond the largest double, 1.8e308; {instead}")
    return array


def finite(name, array):
    """Refuse an array of floats that holds a NaN or an infinity.

    Raises
    ------
    ValueError
        Naming the first of them.
    """
    # Two reductions read the array without a temporary; a NaN comes through both.
    if not (np.isfinite(array.min()) and np.isfinite(array.max())):
        index = tuple(int(i) for i in np.argwhere(~np.isfinite(array))[0])
        raise ValueError(f"{name}[{', '.join(map(str, index))}] = {array[index]}: must be finite")


def potentials(U):
    """Return `U` as float64 potentials of shape (..., d); see `real_array` for what is refused."""
    return real_array("U", U)


def _free_bytes():
    """Memory that can still be taken, of the machine and of a container's limit; None if untold."""
    found = []
    try:
        lines = dict(line.split(":") for line in Path("/proc/meminfo").read_text().splitlines())
        found.append(1024 * int(lines["MemAvailable"].split()[0]))
    except (OSError, KeyError, ValueError):
        if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
            found.append(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    try:
        limit, taken = (int(Path(f"/sys/fs/cgroup/memory.{name}").read_text()) for name in ("max", "current"))
        found.append(max(0, limit - taken))
    except (OSError, ValueError):
        pass
    return min(found, default=None)


def memory(what, nbytes, instead):
    """Refuse what needs more memory than is free, before any is taken.

    Parameters
    ----------
    what : str
        What needs it, for the message.
    nbytes : int
        How much.
    instead : str
        What to do instead.

    Raises
    ------
    ValueError
        If `nbytes` exceeds the free memory, where the system tells how much that is.

    Examples
    --------
    >>> memory("order = 9", 2**60, "use .terms")      # doctest: +ELLIPSIS
    Traceback (most recent call last):
    ...
    ValueError: order = 9: needs 1.07e+09 GiB, ... GiB are free; use .terms
    """
    if nbytes < WORTH_ASKING:
        return
    free, nbytes = _free_bytes(), float(min(nbytes, 10**300))
    if free is not None and nbytes > free:
        raise ValueError(f"{what}: needs {nbytes / 2**30:.3g} GiB, {free / 2**30:.3g} GiB are free; {instead}")
