"""When an inner loop is compiled: numba is installed, and the work is worth loading and running it for."""

from collections.abc import Callable, Hashable
from functools import cache
from typing import Any

__all__ = ["loop"]

_made: dict[Hashable, Callable] = {}


def loop(key: Hashable, make: Callable[[Any], Callable], size: int, worth: int, once_made: int | None = None) -> Any:
    """A compiled loop, or None where plain NumPy is the better road.

    Parameters
    ----------
    key : hashable
        What tells the loop from others.
    make : callable
        Takes the module numba, gives the compiled loop; called once.
    size : int
        Numbers that it is to go over.
    worth : int
        From how many on it pays to load numba, which takes about a second, and to compile, which takes some more.
    once_made : int, optional
        From how many on it pays once that is done. Only for loops that give the bits of the plain road: the result of
        another would depend on what was called before.
    """
    if size < (worth if once_made is None or key not in _made else once_made):
        return None
    if key not in _made and (numba := _numba()) is not None:
        _made[key] = make(numba)
    return _made.get(key)


@cache
def _numba() -> Any:
    try:
        import numba
    except ImportError:
        return None
    return numba
