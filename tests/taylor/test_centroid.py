"""The centroid rule against the enumeration of diagrams, and its tensors against the plain recursion."""

import os
import platform
import subprocess
import sys

import numpy as np
import pytest
from reference_recursion import derivative_tensors, packed_entries

from paperlib.taylor import centroid
from paperlib.taylor.diagrams import enumerate_diagrams
from paperlib.taylor.tensors import derivative_tensor

AT = np.array([0.3, -0.2, 0.5])


def relative_error(got, expected):
    return np.linalg.norm(got - expected) / np.linalg.norm(expected)


@pytest.mark.parametrize("order", range(2, 11))
def test_the_rule_has_a_term_for_each_centroid(order):
    """What lies around the centroids of all diagrams, counted from the trees, is what the rule sums over."""
    assert set(centroid._terms(order)) == {
        diagram.centroid_split for diagram in enumerate_diagrams(order)
    }


@pytest.mark.parametrize("activation", ["tanh", "gelu"])
@pytest.mark.parametrize(
    "widths",
    [[3, 4, 1], [3, 4, 3, 1], [3, 4, 3, 3, 1], [3, 3, 3, 3, 3, 1], [3, 4, 3, 2]],
)
def test_against_the_plain_recursion(random_mlp, widths, activation):
    mlp = random_mlp(widths, activation, seed=1)
    for order, full in enumerate(derivative_tensors(mlp, 7, AT)):
        got = derivative_tensor(mlp, order, AT).packed
        assert relative_error(got, packed_entries(full, order, 3, mlp.outputs)) < 1e-12


def test_order_8_against_the_plain_recursion(random_mlp):
    mlp = random_mlp([3, 4, 3, 3, 1], "tanh", seed=2)
    full = derivative_tensors(mlp, 8, AT)[8]
    assert (
        relative_error(derivative_tensor(mlp, 8, AT).packed, packed_entries(full, 8, 3))
        < 1e-12
    )


def test_past_the_size_of_one_matrix_product(random_mlp, monkeypatch):
    mlp = random_mlp([5, 4, 4, 1], "gelu")
    expected = [derivative_tensor(mlp, order).packed for order in (4, 5, 6, 7)]
    monkeypatch.setattr("paperlib.taylor.product_rule.BLOCK", 8)
    for order, entries in zip((4, 5, 6, 7), expected):
        assert relative_error(derivative_tensor(mlp, order).packed, entries) < 1e-13


def test_the_rule_needs_no_order_above_half():
    for order in range(2, 13):
        for s, blocks in centroid._terms(order):
            assert s + sum(blocks) == order
            assert s <= (order - 1) // 2 and max(blocks) <= order // 2


FAULTS = """
import resource
import numpy as np
from paperlib.taylor import centroid
from paperlib.taylor.diagrams import enumerate_diagrams

{first}
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for size in range(2**18, 2**21, 2**16):  # blocks from 2 to 16 MiB, each larger than any freed before
    np.ones(size)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(
    platform.libc_ver()[0] != "glibc", reason="the habit of one C library"
)
def test_freed_memory_is_touched_once():
    """The reason of `keep_freed_memory`: when glibc keeps large freed blocks by itself, or no longer after it, this fails."""
    # dask sets one
    environment = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("MALLOC_")
    }

    def faults(first):
        command = [sys.executable, "-c", FAULTS.format(first=first)]
        return int(
            subprocess.run(
                command, env=environment, capture_output=True, text=True, check=True
            ).stdout
        )

    assert faults("centroid.keep_freed_memory()") < faults("") / 1.5


@pytest.mark.parametrize(
    "activation", [("tanh*3 + linear*2", "silu*4"), ("linear*5", "gelu*1 + linear*3")]
)
def test_linear_neurons_are_left_out_of_the_last_sums(random_mlp, activation):
    mlp = random_mlp([3, 5, 4, 1], activation, seed=3)
    full = derivative_tensors(mlp, 6, AT)
    for order in range(7):
        got = derivative_tensor(mlp, order, AT).packed
        assert relative_error(got, packed_entries(full[order], order, 3)) < 1e-12
