"""Calls side by side, each in a process with cores of its own: two trainings on a core each get further than one on two."""

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

from paperlib._support import cores

__all__ = ["Call", "run"]

# A notebook holds a few GiB; more than this many at once would fill a laptop.
AT_MOST = 4


@dataclass(frozen=True)
class Call:
    """A function, its arguments, and the names of calls that come before it, if they are made; the longest goes first."""

    function: Callable[..., Any]
    arguments: tuple[Any, ...]
    after: Collection[str] = ()
    minutes: float = 0.0


def run(calls: Mapping[str, Call], say: Callable[[str], Any]) -> Iterator[tuple[str, BaseException | None]]:
    """Make every call, as soon as those before it are made and a lane is free; `say` takes lines of progress.

    Each call's name comes as it ends, and what it raised. Calls that are to come after one that failed are not made.
    """
    lanes = max(1, min(cores.count(), AT_MOST, len(calls)))
    context = get_context("spawn")
    free: Queue[int] = context.Queue()
    for lane in range(lanes):
        free.put(lane)
    order = TopologicalSorter({name: calls.keys() & call.after for name, call in calls.items()})
    order.prepare()
    number = 0
    running: dict[Future[Any], tuple[str, float]] = {}
    ready: list[str] = []
    with ProcessPoolExecutor(lanes, mp_context=context, initializer=_settle, initargs=(free, lanes)) as pool:
        while order.is_active():
            ready += order.get_ready()
            ready.sort(key=lambda name: (-calls[name].minutes, name))
            while ready and len(running) < lanes:
                name, number = ready.pop(0), number + 1
                say(f"[{number}/{len(calls)}] {name}: running")
                running[pool.submit(calls[name].function, *calls[name].arguments)] = name, time.monotonic()
            if not running:  # what is left comes after a call that failed
                return
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                name, started = running.pop(future)
                if future.exception() is None:
                    order.done(name)
                    say(f"{name}: done in {time.monotonic() - started:.0f} s")
                yield name, future.exception()


def _settle(free: "Queue[int]", lanes: int) -> None:
    """Take a lane's share of the cores, where the system lets a process choose, and end with the process that made this one."""
    lane = free.get()
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[lane::lanes])
    # A killed run must not go on in the background, beside the next one.
    Thread(target=_end_with, args=[parent_process()], daemon=True).start()


def _end_with(parent: BaseProcess) -> None:
    connection.wait([parent.sentinel])
    os._exit(1)
