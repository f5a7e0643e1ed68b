"""Run calls in parallel processes, each with its own CPU cores.

Some calls depend on others, and start after them. Of the calls that can start, the one
with the longest expected duration starts first. At most four worker processes run the
calls, and the CPU cores are divided among them: two trainings on one core each make
more progress together than one training on two cores after the other.
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
    """Hold a function to call in a worker process, and its arguments.

    Parameters
    ----------
    function : callable
        The function. A new process must be able to import it.
    arguments : tuple
        Its positional arguments.
    after : collection of str
        Names of the calls that must end without an error before this call starts. Names
        that are not among the calls are ignored.
    minutes : float
        The expected duration in minutes. Of the calls that can start, the one with the
        longest expected duration starts first.
    """

    function: Callable[..., Any]
    arguments: tuple[Any, ...]
    after: Collection[str] = ()
    minutes: float = 0.0


def run(
    calls: Mapping[str, Call], log: Callable[[str], Any]
) -> Iterator[tuple[str, BaseException | None]]:
    """Run every call once the calls that it depends on have ended and a worker is free.

    There is one worker process for each CPU core, but at most four, and at most one for
    each call. A call that depends on a failed call, directly or through others, is not
    run, and nothing is yielded for it.

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
    """Give a worker process its share of the CPU cores, and end it with its parent.

    `workers` is the number of workers. `free` is a queue of the numbers 0, 1, .., one
    for each worker. The worker takes a number k from the queue. It uses the available
    cores at the positions k, k + workers, k + 2 workers, .. of their sorted list. On an
    operating system without CPU affinity, the worker uses all cores. The worker ends
    when the process that started it ends.
    """
    number = free.get()
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[number::workers])
    # Otherwise the workers of a killed run would continue in the background, beside
    # those of the next run.
    Thread(target=_exit_with, args=[parent_process()], daemon=True).start()


def _exit_with(parent: BaseProcess) -> None:
    """Wait until the parent process has ended, then end this process at once.

    Its running call is not finished, and no cleanup is done.
    """
    connection.wait([parent.sentinel])
    os._exit(1)
