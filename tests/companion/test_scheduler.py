"""Test parallel calls: their order, their separate CPU cores, and the end of all processes with the parent."""

import operator
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import paperlib
from paperlib._support import threads
from paperlib.companion.reproduction import scheduler
from paperlib.companion.reproduction.scheduler import Call


def touch(path):
    path.touch()


def read(path):
    path.read_bytes()


def test_each_call_ends_once_and_after_those_before_it(tmp_path):
    made = tmp_path / "made"
    calls = {
        "reads": Call(read, (made,), ("makes",), 9.0),
        "makes": Call(touch, (made,)),
        "other": Call(read, (tmp_path / "x",)),
    }
    lines = []
    ended = dict(scheduler.run(calls, lines.append))
    assert ended["makes"] is None and ended["reads"] is None
    assert isinstance(ended["other"], FileNotFoundError)
    assert [line for line in lines if "running" in line and "reads" in line] == [
        "[3/3] reads: running"
    ]


def test_nothing_comes_after_a_call_that_failed():
    calls = {
        "fails": Call(operator.truediv, (1, 0)),
        "after": Call(operator.add, (1, 1), ("fails",)),
    }
    ((name, error),) = scheduler.run(calls, print)
    assert name == "fails" and isinstance(error, ZeroDivisionError)


def test_the_longest_goes_first():
    calls = {str(n): Call(operator.add, (n, n), (), float(n)) for n in range(4)}
    lines = []
    assert len(list(scheduler.run(calls, lines.append))) == 4
    started = [line.split("] ")[1][0] for line in lines if "running" in line]
    assert started == ["3", "2", "1", "0"]


def test_no_calls_at_all():
    assert list(scheduler.run({}, print)) == []


@pytest.mark.skipif(
    not hasattr(os, "sched_setaffinity") or threads.count() < 2,
    reason="needs two cores to choose from",
)
def test_each_worker_has_its_own_cores(tmp_path):
    calls = {str(n): Call(_write_cores, (tmp_path / str(n),)) for n in range(2)}
    assert [error for _, error in scheduler.run(calls, print)] == [None, None]
    first, second = (set(path.read_text().split()) for path in tmp_path.iterdir())
    assert first and second and not first & second


def _write_cores(path):
    path.write_text(" ".join(map(str, sorted(os.sched_getaffinity(0)))))
    time.sleep(2)  # so that one process cannot run both calls


@pytest.mark.skipif(
    not Path("/proc/self/stat").exists(), reason="looks processes up in /proc"
)
def test_a_killed_run_leaves_no_processes(tmp_path):
    """Check that workers end after the run is killed.

    A process killed by SIGKILL cannot stop its workers. They must detect its end themselves.
    """
    code = (
        "from test_scheduler import _write_pid_and_wait as w, Call, scheduler\nfrom pathlib import Path\n"
        f"if __name__ == '__main__': list(scheduler.run({{'a': Call(w, (Path({str(tmp_path / 'pid')!r}),))}}, print))"
    )
    script = tmp_path / "script.py"
    script.write_text(code)
    path = os.pathsep.join(
        [str(Path(paperlib.__file__).parents[1]), str(Path(__file__).parent)]
    )
    run = subprocess.Popen(
        [sys.executable, script],
        env=os.environ | {"PYTHONPATH": path},
        stdout=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 60
    while not (tmp_path / "pid").exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    run.send_signal(signal.SIGKILL)
    run.wait()
    pid = int((tmp_path / "pid").read_text())
    while _lives(pid) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not _lives(pid)


def _write_pid_and_wait(path):
    part = path.with_suffix(".part")
    part.write_text(str(os.getpid()))
    part.rename(path)
    time.sleep(300)


def _lives(pid):
    """Return whether a process runs. A process that has ended but was not waited for does not count."""
    try:
        return (
            Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
        )
    except FileNotFoundError:
        return False
