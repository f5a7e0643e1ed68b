"""Compare the centroid rule with all diagrams, and its tensors with a recursion."""

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
    """The numbers of leaves around the centroids, counted from all trees."""
    assert set(centroid._terms(order)) == {
        diagram.centroid_split for diagram in enumerate_diagrams(order)
    }


@pytest.mark.parametrize("activation", ["tanh", "gelu"])
@pytest.mark.parametrize(
    "widths",
    [[3, 4, 1], [3, 4, 3, 1], [3, 4, 3, 3, 1], [3, 3, 3, 3, 3, 1], [3, 4, 3, 2]],
)
def test_tensors_agree_with_a_plain_recursion(random_mlp, widths, activation):
    mlp = random_mlp(widths, activation, seed=1)
    for order, full in enumerate(derivative_tensors(mlp, 7, AT)):
        got = derivative_tensor(mlp, order, AT).packed
        assert relative_error(got, packed_entries(full, order, 3, mlp.outputs)) < 1e-12


def test_order_8_agrees_with_a_plain_recursion(random_mlp):
    mlp = random_mlp([3, 4, 3, 3, 1], "tanh", seed=2)
    full = derivative_tensors(mlp, 8, AT)[8]
    assert (
        relative_error(derivative_tensor(mlp, 8, AT).packed, packed_entries(full, 8, 3))
        < 1e-12
    )


def test_products_that_are_divided_into_several_blocks(random_mlp, monkeypatch):
    mlp = random_mlp([5, 4, 4, 1], "gelu")
    expected = [derivative_tensor(mlp, order).packed for order in (4, 5, 6, 7)]
    monkeypatch.setattr("paperlib.taylor.product_rule.MAX_BLOCK", 8)
    for order, entries in zip((4, 5, 6, 7), expected):
        assert relative_error(derivative_tensor(mlp, order).packed, entries) < 1e-13


def test_all_orders_in_the_rule_are_at_most_half():
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
# Blocks from 2 to 16 MiB, each larger than all that were freed before
for size in range(2**18, 2**21, 2**16):
    np.ones(size)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(
    platform.libc_ver()[0] != "glibc", reason="only glibc has this setting"
)
def test_freed_memory_is_used_again():
    """Page faults show whether `keep_freed_memory` has an effect, and is needed."""
    # dask sets such a variable
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
