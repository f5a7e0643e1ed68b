"""Compile inner loops with numba, if it is installed and the work is large enough."""

from collections.abc import Callable, Hashable
from functools import cache, partial
from typing import Any

_made: dict[Hashable, Callable] = {}


def loop(
    key: Hashable,
    make: Callable[[Any], Callable],
    size: int,
    worth: int,
    once_made: int | None = None,
) -> Any:
    """Return a compiled loop, or None if NumPy is faster or numba is not installed.

    `key` identifies the loop. The function `make` receives the module numba and returns
    the compiled loop. It is called once for each key. `size` is the number of values to
    process.

    A loop that is not compiled yet is compiled and returned if `size` is at least
    `worth`. For less, loading numba and compiling would take longer than NumPy. A loop
    that is compiled already is returned if `size` is at least `once_made`, by default
    `worth`. Give `once_made` only for a loop whose results are bit-identical to those
    of NumPy. Otherwise the bits of a result would depend on the calls before it.
    """
    if once_made is not None and key in _made:
        worth = once_made
    if size < worth:
        return None
    if key not in _made and numba() is not None:
        _made[key] = make(numba())
    return _made.get(key)


@cache
def numba() -> Any:
    """Return the module numba, or None if it is not installed."""
    try:
        import numba
    except ImportError:
        return None
    return numba


def jit(
    function: Callable, *, flags: frozenset[str] = frozenset(), inner: bool = False
) -> Callable:
    """Compile a function with numba, and cache it if the cache folder is writable.

    `flags` are fast-math flags of LLVM, such as "contract", which allows fused
    multiply-adds. By default LLVM may not change the rounding. The function must not
    create arrays, because reference counting is off. If `inner` is true, the Python
    wrapper is omitted. The compilation then takes less time, and only compiled
    functions can call the function. An inner function is not cached itself, because the
    cached code of its callers contains it.
    """
    options = {
        "error_model": "numpy",
        "nogil": True,
        "fastmath": set(flags),
        "_nrt": False,
        "no_cpython_wrapper": inner,
        "no_cfunc_wrapper": True,
    }
    try:
        # The cache needs a function defined in a file
        return numba().njit(function, cache=not inner, **options)
    except RuntimeError:  # numba found no writable cache folder
        return numba().njit(function, **options)


inner = partial(jit, inner=True, flags=frozenset({"contract"}))
