"""Work spread over the cores by threads: for calls that hold no lock, as NumPy's large ones and compiled loops do not."""

import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any

__all__ = ["count", "in_parallel"]


def count() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@cache
def _pool(process: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(count(), thread_name_prefix="paperlib")


def in_parallel(call: Callable[[Any], object], arguments: Iterable) -> None:
    """Call `call` with each of `arguments`, in this thread where there is but one; raise what the first that failed raised.

    Examples
    --------
    >>> squares = [0] * 4
    >>> in_parallel(lambda n: squares.__setitem__(n, n * n), range(4))
    >>> squares
    [0, 1, 4, 9]
    """
    arguments = list(arguments)
    if len(arguments) == 1:
        call(arguments[0])
        return
    # A pool does not survive a fork, so each process has its own.
    list(_pool(os.getpid()).map(call, arguments))
