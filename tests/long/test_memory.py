"""Test the memory of a process that trains and expands for an hour, like a notebook server without restarts."""

import gc
import time

import numpy as np
import psutil

from paperlib import diagrams, perturbation, potentials, scattering, targets, taylor
from paperlib.learning.training import TrainingConfig

MINUTE = 60.0


def turn(seed):
    """Learn two orders, evaluate their tensors and diagrams, and compute exact scattering lengths."""
    config = TrainingConfig(
        d=12, hidden=(24, 24), sampling="signed", fit="hessian_vectors", samples=4096, batch=128, steps=320, warmup=20,
        validation=512, sample_seed=seed, seeds=(0, 1),
    )  # fmt: skip
    series = perturbation.iterative(targets.scattering_length_target(), (config,) * 2)
    network, U = (
        series.ensembles[0].member(0),
        potentials.sample(2_000, 12, depth=1.0, seed=seed),
    )
    assert (
        np.isfinite(series.terms(U)).all()
        and np.isfinite(scattering.scattering_length(U)).all()
    )
    taylor.derivative_tensor(network, 4, U[:20])
    for diagram in diagrams.enumerate_diagrams(3):
        diagram.evaluate(network, U[0])


def test_memory_stays_flat():
    process, start, sizes = psutil.Process(), time.monotonic(), []
    while time.monotonic() < start + 60 * MINUTE:
        turn(len(sizes))
        gc.collect()
        sizes.append((time.monotonic() - start, process.memory_info().rss))
    times, resident = np.array(sizes).T
    early, late = (
        np.median(resident[(times > a * MINUTE) & (times < b * MINUTE)])
        for a, b in ((5, 15), (50, 60))
    )
    print(
        f"{len(sizes)} turns; resident {early / 2**20:.0f} MiB after ten minutes, {late / 2**20:.0f} MiB after an hour"
    )
    assert late < 1.02 * early
