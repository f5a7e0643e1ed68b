"""When an inner loop is compiled: numba is installed, and the work is worth loading and running it for."""

from collections.abc import Callable, Hashable
from functools import cache, partial
from typing import Any

__all__ = ["inner", "jit", "loop", "numba"]

_made: dict[Hashable, Callable] = {}


def loop(key: Hashable, make: Callable[[Any], Callable], size: int, worth: int, once_made: int | None = None) -> Any:
    """A compiled loop, or None where plain NumPy is the better road.

    `key` tells the loop from others; `make` takes the module numba and gives the loop, once. `size` numbers are to be gone
    over: from `worth` on it pays to load numba, about a second, and to compile, some more; from `once_made` on, once that
    is done. The latter is only for loops that give the bits of the plain road: what another gives would depend on what was
    called before.
    """
    if size < (worth if once_made is None or key not in _made else once_made):
        return None
    if key not in _made and (found := numba()) is not None:
        _made[key] = make(found)
    return _made.get(key)


@cache
def numba() -> Any:
    """The module, or None where it is not installed."""
    try:
        import numba
    except ImportError:
        return None
    return numba


def jit(function: Callable, *, flags: frozenset[str] = frozenset(), inner: bool = False) -> Callable:
    """A function compiled, and kept on disk where there is a folder for it; `flags` are LLVM's, and one `inner` is no door.

    What is called from compiled functions alone compiles in less time without a door to Python, and is kept within what calls
    it. None makes arrays, so nothing counts who holds them.
    """
    options = {"error_model": "numpy", "nogil": True, "fastmath": set(flags), "_nrt": False}
    options |= {"no_cpython_wrapper": inner, "no_cfunc_wrapper": True}
    try:
        return numba().njit(function, cache=not inner, **options)  # on disk, which takes a function with a file
    except RuntimeError:  # no folder in which numba may keep what it compiled
        return numba().njit(function, **options)


inner = partial(jit, inner=True, flags=frozenset({"contract"}))
