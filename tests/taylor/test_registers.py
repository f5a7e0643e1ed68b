"""Products in registers against NumPy's, of every shape, and with vectors of either width."""

import os
import platform
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

numba = pytest.importorskip("numba")

from paperlib.taylor import registers
from paperlib.taylor.registers import LANES, SPARE

EPSILON = np.finfo(float).eps


@numba.njit
def product(x, y, start, out, spare):
    registers.product(x, y, start, out, spare)


@numba.njit
def dots(x, y, out, begin, units, step):
    registers.dots_of_rows(x, y, out[0], begin, units, step)
    registers.dots_of_centres(x, y, out[1], begin, units, step)


def followed(random, *shape):
    """An array after which there is more, which is no number."""
    size = int(np.prod(shape))
    array = np.concatenate([random.normal(size=size), np.full(LANES, np.nan)])[:size].reshape(shape)
    return array


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 40), st.integers(1, 70), st.integers(1, 140), st.integers(0, 9))
@example(8, 64, 64, 0)
@example(9, 3, 4 * LANES, 0)
@example(7, 1, 1, 0)
def test_products_of_every_shape(rows, inner, columns, seed):
    random = np.random.default_rng(seed)
    x, y, start = random.normal(size=(rows, inner)), followed(random, inner, columns), followed(random, columns)
    out = np.full((rows, columns), np.nan)
    product(x, y, start, out, np.empty(SPARE))
    bound = 2 * inner * EPSILON * (np.abs(x) @ np.abs(y) + np.abs(start))
    assert (np.abs(out - (start + x @ y)) <= bound).all()


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 9), st.integers(0, 20), st.integers(0, 40), st.integers(0, 9))
def test_dot_products_of_rows_that_follow_one_another(vectors, begin, more, seed):
    random, units = np.random.default_rng(seed), vectors * LANES
    step = units + more
    x, y = random.normal(size=(2, begin + LANES * step))
    out = np.empty((2, LANES))
    dots(x, y, out, begin, units, step)
    starts = [begin + i * step for i in range(LANES)]
    for row, firsts in zip(out, ([begin] * LANES, starts)):
        wanted = [x[a : a + units] @ y[b : b + units] for a, b in zip(firsts, starts)]
        np.testing.assert_allclose(row, wanted, atol=units * EPSILON * np.abs(x).max() * np.abs(y).max() * 4)


@pytest.mark.skipif(platform.machine() != "x86_64", reason="the other width is of x86-64")
def test_tensors_by_narrower_vectors(tmp_path):
    code = """
import numpy as np
from paperlib import MLP, taylor
from paperlib.taylor.registers import LANES
assert LANES == 4
random = np.random.default_rng(0)
for widths in ([2, 16, 1], [9, 5, 24, 2], [8, 32, 32, 1]):
    weights = [random.normal(size=(out, into)) / into**0.5 for into, out in zip(widths, widths[1:])]
    mlp = MLP(weights, [random.normal(size=len(w)) for w in weights], "tanh")
    for order in (1, 2, 3):
        at = random.normal(size=(11, widths[0]))
        found = taylor.compiled(mlp, order)(at)
        for k, one in enumerate(at):
            wanted = taylor.derivative_tensor(mlp, order, one).packed
            np.testing.assert_allclose(found[:, k], wanted, rtol=0, atol=1e-12 * np.abs(wanted).max())
"""
    narrow = {"NUMBA_CPU_NAME": "haswell", "NUMBA_CPU_FEATURES": "+avx2,+fma", "NUMBA_CACHE_DIR": str(tmp_path)}
    subprocess.run([sys.executable, "-c", code], env=os.environ | narrow, check=True)
