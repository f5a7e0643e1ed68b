"""Set up deterministic mode.

In deterministic mode, trainings give the same bits on every x86-64 processor with AVX2.
The last bits of a result depend on the order of summation, and on functions that are
specific to a processor. Libraries choose both when they are loaded, according to the
processor. The environment variables of `_TABLE` fix these choices. They must be set
before a process starts: `environment` returns them for a new process, and importing the
package sets nothing. `departures` returns why the current process is not in
deterministic mode. If TensorFlow is installed, it must be version 2.21: with another
version the mode is not supported. The mode was tested on the development machine and on
emulated processors (`make test-matrix`). It does not slow trainings down.
"""

import os
import platform
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import Any, NoReturn

import numpy as np

from paperlib._support import threads

TENSORFLOW = "2.21"
_FLAGS = {
    "xla_cpu_max_isa=AVX2": "vectors of 256 bits, as AVX-512 sums in another order",
    "xla_cpu_multi_thread_eigen=false": "sums that are not divided among threads",
}
_OPTIONS = {
    "xla_cpu_disable_platform_dependent_math": (
        "1/sqrt by division, not by an approximation of the processor"
    ),
    "xla_force_enable_experimental_llvm_ir_gemm": (
        "products in XLA's own loops, as Eigen's blocks depend on the caches"
    ),
    "xla_llvm_ir_gemm_tile_size=6:8:2*vectwidth": (
        "tiles that fill the registers, for speed only"
    ),
}
_XLA = [
    *(f"--{flag}" for flag in _FLAGS),
    f"--xla_backend_extra_options={','.join(_OPTIONS)}",
]

# NumPy's vector extensions: "baseline", "found" and "not found" on this processor
_SIMD: Mapping[str, Any] = np.show_config(mode="dicts")["SIMD Extensions"]
# Extensions with vectors of 512 bits. They are sorted, because their order in the two
# lists depends on the processor.
_OPTIONAL = (*_SIMD.get("found", ()), *_SIMD.get("not found", ()))
_WIDE = " ".join(
    sorted(name for name in _OPTIONAL if name.startswith(("AVX512", "X86_V4")))
)

# Each variable, its value, and the choice that it fixes.
_TABLE = [
    (
        "XLA_FLAGS",
        " ".join(_XLA),
        f"XLA: {'; '.join([*_FLAGS.values(), *_OPTIONS.values()])}",
    ),
    (
        "TENSORFLOW_USE_CUSTOM_CONTRACTION_KERNEL",
        "0",
        "TensorFlow: products outside XLA with Eigen instead of oneDNN",
    ),
    (
        "TF_ENABLE_ONEDNN_OPTS",
        "0",
        "TensorFlow: its own operations instead of oneDNN's",
    ),
    ("TF_NUM_INTRAOP_THREADS", "1", "TensorFlow: one thread for each operation"),
    (
        "CUDA_VISIBLE_DEVICES",
        "-1",
        "TensorFlow: CPU only, as a GPU sums in another order",
    ),
    (
        "OPENBLAS_CORETYPE",
        "Haswell",
        "NumPy, SciPy: products as on a Haswell processor",
    ),
    (
        "OPENBLAS_NUM_THREADS",
        "1",
        "NumPy, SciPy: products that are not divided among threads",
    ),
    (
        "NPY_DISABLE_CPU_FEATURES",
        _WIDE,
        "NumPy: functions and sums without AVX-512",
    ),
    ("NUMBA_CPU_NAME", "haswell", "numba: loops compiled for a Haswell processor"),
    (
        "NUMBA_CPU_FEATURES",
        "+avx,+avx2,+fma,+bmi,+bmi2,+f16c,+lzcnt,+movbe,+popcnt",
        "numba: loops compiled for the instructions of a Haswell",
    ),
]
FIXED = {name: value for name, value, _ in _TABLE}
WHY = {name: why for name, _, why in _TABLE}


def impossible() -> str:
    """Return why this machine does not support the mode, or an empty string.

    The mode needs an x86-64 processor with AVX2, and TensorFlow 2.21 or no TensorFlow.
    """
    available = {*_SIMD.get("baseline", ()), *_SIMD.get("found", ())}
    # From version 2.4, NumPy names the set of AVX2, FMA3 and others X86_V3
    able = "X86_V3" in available or {"AVX2", "FMA3"} <= available
    if platform.machine().lower() not in ("x86_64", "amd64") or not able:
        return f"{processor()} has no AVX2"
    found = _version("tensorflow")
    known = not found or found.startswith(f"{TENSORFLOW}.")
    return "" if known else f"TensorFlow {found} is not supported, only {TENSORFLOW}"


def _version(library: str) -> str:
    """Return the version of a library, or an empty string if it is not installed."""
    try:
        return version(library)
    except PackageNotFoundError:
        return ""


def environment(
    given: Mapping[str, str], log: Callable[[str], object] = lambda line: None
) -> dict[str, str]:
    """Return a copy of the environment `given` with the variables of the mode.

    The variables replace other values, because bit-identical results require them. If
    the machine does not support deterministic mode, the copy is unchanged. `log`
    receives one line for each replaced value, or one line that says why the mode is not
    supported.
    """
    if why := impossible():
        log(
            f"deterministic mode is not supported here: {why}; numbers are compared "
            "within their tolerances and their seed-to-seed variation"
        )
        return dict(given)
    for name, value in FIXED.items():
        if given.get(name, value) != value:
            log(
                f"{name} = {given[name]!r} is replaced by {value!r} "
                "in deterministic mode"
            )
    return dict(given) | FIXED


@cache
def departures() -> str:
    """Return why this process is not in deterministic mode, or an empty string.

    The process is in the mode if the machine supports it and the environment has all
    variables of the mode with their values.
    """
    if why := impossible():
        return why
    begun = all(os.environ.get(name) == value for name, value in FIXED.items())
    return "" if begun else "not started by python -m paperlib deterministic COMMAND"


def _announced() -> dict[str, str]:
    """Return the environment of this process with the variables of the mode.

    Each replaced value, or the reason why the mode is not supported, is printed to
    stderr.
    """
    return environment(
        os.environ, lambda line: print(f"paperlib: {line}", file=sys.stderr)
    )


def become(command: list[str]) -> NoReturn:
    """Replace this process by a command that runs in deterministic mode.

    `command` has the program and its arguments. If the machine does not support the
    mode, the command runs all the same, and the reason is printed to stderr.
    """
    os.execvpe(command[0], command, _announced())


def restart() -> None:
    """Restart this process in deterministic mode.

    Nothing happens if the process is in the mode already. If the machine does not
    support the mode, the process continues, and the reason is printed to stderr.
    """
    env = _announced()
    if env != dict(os.environ):
        os.execve(sys.executable, sys.orig_argv, env)


def processor() -> str:
    """Return the model name of the processor.

    It is read from /proc/cpuinfo. On a system without this file, or if the file has no
    model name, return the name that the module `platform` reports.
    """
    with suppress(OSError), open("/proc/cpuinfo", encoding="utf-8") as lines:
        for line in lines:
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def machine() -> dict[str, str]:
    """Return the processor, the number of cores, and versions, each as text by name.

    The versions are those of Python, numpy, scipy, tensorflow, keras and numba. A
    library that is not installed is left out.
    """
    libraries = ("numpy", "scipy", "tensorflow", "keras", "numba")
    versions = {name: found for name in libraries if (found := _version(name))}
    return {
        "processor": processor(),
        "cores": str(threads.count()),
        "python": platform.python_version(),
    } | versions
