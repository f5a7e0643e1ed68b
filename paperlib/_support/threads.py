"""Distribute calls over the cores by threads.

Calls run in parallel only while they release the global interpreter lock, as large
NumPy operations and compiled loops do.
"""

import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any


def count() -> int:
    """Return the number of cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@cache
def _pool(process: int) -> ThreadPoolExecutor:
    """Return the thread pool of the process with the id `process`.

    The pool is created at the first call, with one thread for each core.
    """
    return ThreadPoolExecutor(count(), thread_name_prefix="paperlib")


def in_parallel(call: Callable[[Any], object], arguments: Iterable) -> None:
    """Call `call` with each of `arguments` in parallel.

    If calls fail, the exception of the first failed one, in the order of the arguments,
    is raised, and calls that have not started by then are not run. The results of the
    calls are discarded. If there is only one argument, `call` runs in the calling
    thread.

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
    # A thread pool does not survive a fork, so each process has its own pool.
    list(_pool(os.getpid()).map(call, arguments))
