"""Run calls in parallel processes, each with its own CPU cores.

Two trainings on one core each make more progress together than one training on two
cores.
"""

import os
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass
from graphlib import TopologicalSorter
from multiprocessing import connection, get_context, parent_process
from multiprocessing.process import BaseProcess
from multiprocessing.queues import Queue
from threading import Thread
from typing import Any

from paperlib._support import threads

# The largest number of processes. A notebook needs a few GiB, and more processes would
# fill the memory of a laptop.
MAX_WORKERS = 4


@dataclass(frozen=True)
class Call:
    """A function to call in a worker process.

    Parameters
    ----------
    function : callable
        The function. It must be importable by a new process.
    arguments : tuple
        Its positional arguments.
    after : collection of str
        Names of the calls that must end before this call starts. Names that are not
        among the calls are ignored.
    minutes : float
        The expected duration in minutes. Of the calls that are ready, the longest
        starts first.
    """

    function: Callable[..., Any]
    arguments: tuple[Any, ...]
    after: Collection[str] = ()
    minutes: float = 0.0


def run(
    calls: Mapping[str, Call], log: Callable[[str], Any]
) -> Iterator[tuple[str, BaseException | None]]:
    """Run every call as soon as the calls before it have ended and a worker is free.

    A call that must come after a failed call is not run.

    Parameters
    ----------
    calls : mapping of str to Call
        The calls by name.
    log : callable
        Receives lines of progress.

    Yields
    ------
    name : str
        The name of a call that has ended.
    error : BaseException or None
        The exception that the call raised, or None.
    """
    workers = max(1, min(threads.count(), MAX_WORKERS, len(calls)))
    context = get_context("spawn")
    free: Queue[int] = context.Queue()
    for worker in range(workers):
        free.put(worker)
    order = TopologicalSorter(
        {name: calls.keys() & call.after for name, call in calls.items()}
    )
    order.prepare()
    started: dict[str, float] = {}
    running: dict[Future[Any], str] = {}
    ready: list[str] = []
    with ProcessPoolExecutor(
        workers,
        mp_context=context,
        initializer=_initialise_worker,
        initargs=(free, workers),
    ) as pool:
        while order.is_active():
            ready += order.get_ready()
            ready.sort(key=lambda name: (-calls[name].minutes, name))
            while ready and len(running) < workers:
                name = ready.pop(0)
                started[name] = time.monotonic()
                log(f"[{len(started)}/{len(calls)}] {name}: running")
                call = calls[name]
                running[pool.submit(call.function, *call.arguments)] = name
            if not running:  # all remaining calls depend on a failed call
                return
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                name = running.pop(future)
                if future.exception() is None:
                    order.done(name)
                    log(f"{name}: done in {time.monotonic() - started[name]:.0f} s")
                yield name, future.exception()


def _initialise_worker(free: "Queue[int]", workers: int) -> None:
    """Initialise a worker process.

    The worker takes its share of the CPU cores, if the operating system supports CPU
    affinity, and ends when the process that started it ends. `free` is a queue of the
    numbers of the workers, and `workers` is the number of workers.
    """
    number = free.get()
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[number::workers])
    # Otherwise the workers of a killed run would continue in the background, beside
    # those of the next run.
    Thread(target=_exit_with, args=[parent_process()], daemon=True).start()


def _exit_with(parent: BaseProcess) -> None:
    """Wait until the parent process has ended, then end this process."""
    connection.wait([parent.sentinel])
    os._exit(1)
