"""What a benchmark's JSON says about the machine: the versions of ours and of the peers that were there."""

import os
from importlib.metadata import PackageNotFoundError, version

import pytest
import threadpoolctl

# One thread is one core: a peer that heeds no such variable would take another one.
if os.environ.get("OMP_NUM_THREADS") == "1" and hasattr(os, "sched_setaffinity"):
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})

PACKAGES = (
    "numpy", "scipy", "numba", "tensorflow", "keras", "jax", "folx", "torch", "tayloranalysis", "omnibias-torch", "heyoka", "thoad",
)  # fmt: skip


@pytest.fixture(scope="session")
def jax():
    """JAX in float64; without it the test is skipped."""
    jax = pytest.importorskip("jax")
    jax.config.update("jax_enable_x64", True)
    return jax


def pytest_benchmark_update_machine_info(config, machine_info):
    versions = {}
    for name in PACKAGES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue
    blas = [
        each
        for each in threadpoolctl.threadpool_info()
        if "numpy" in each["filepath"] and "architecture" in each
    ]
    if blas:
        versions["NumPy's BLAS:"] = f"kernels of {blas[0]['architecture']}"
    machine_info["versions"] = versions
