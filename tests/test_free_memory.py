"""Test that an estimate of memory agrees with the memory then allocated.

The allocated memory is measured by tracemalloc.
"""

import tracemalloc

import numpy as np
import pytest

from paperlib import born, potentials, scattering, symmetric, taylor
from paperlib.networks.mlp import MLP

NETWORK = MLP(
    [np.ones((16, 12)), np.ones((1, 16))], [np.zeros(16), np.zeros(1)], "tanh"
)
TENSOR = symmetric.SymmetricTensor(4, 20, np.ones(symmetric.packed_size(20, 4)))


def tail_starts():
    """Compute a table of tail starts with an empty cache."""
    symmetric._tail_starts.cache_clear()
    symmetric.tail_starts(20_011, 1)


CALLS = {
    "born_tensor of order 3": lambda: born.born_tensor(3, 48),
    "born_tensor of order 6": lambda: born.born_tensor(6, 11),
    "weinberg_eigenvalues, eight polynomials a shell": lambda: (
        born.weinberg_eigenvalues(np.ones(64))
    ),
    "weinberg_eigenvalues, three": lambda: born.weinberg_eigenvalues(np.ones(300)),
    "sample": lambda: potentials.sample(20_000, 16, depth=1.0, seed=0),
    "wave_function": lambda: scattering.wave_function(np.ones(64), 500),
    "index_table": lambda: symmetric.index_table(120, 3),  # too long to be cached
    "tail_starts": tail_starts,
    "full": TENSOR.full,
    "derivative_tensor at many points": lambda: taylor.derivative_tensor(
        NETWORK, 4, np.zeros((40, 12))
    ),
    "derivative_tensor": lambda: taylor.derivative_tensor(NETWORK, 6),
}


@pytest.mark.parametrize("name", CALLS)
def test_the_estimate_agrees_with_the_allocated_memory(name, monkeypatch):
    CALLS[name]()  # fills the caches of tables
    tracemalloc.start()
    try:
        CALLS[name]()
        taken = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    monkeypatch.setattr("paperlib._support.validation.WORTH_ASKING", 0)
    monkeypatch.setattr("paperlib._support.validation._free_bytes", lambda: 3 * taken)
    CALLS[name]()
    monkeypatch.setattr(
        "paperlib._support.validation._free_bytes", lambda: 0.75 * taken
    )
    with pytest.raises(
        ValueError, match=r"^[^\n]*: needs .* GiB; .* GiB are free: [^\n]*$"
    ):
        CALLS[name]()
