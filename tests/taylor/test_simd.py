"""Compare products in registers with NumPy, for all shapes and widths of vectors."""

import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from paperlib import MLP, taylor

numba = pytest.importorskip("numba")
simd = pytest.importorskip("paperlib.taylor.compiled.simd")
ROOT = Path(__file__).parents[2]
# The processor's own vectors are used; those of deterministic mode may be narrower.
PLAIN = {
    name: value
    for name, value in os.environ.items()
    if not name.startswith("NUMBA_CPU_")
}
LANES, EPSILON = simd.LANES, np.finfo(float).eps


@numba.njit
def product(x, rows, length, numbers, y, start, width, out, to):
    simd.product(
        x, len(x) - rows * length, rows, length, numbers, y, start, width, out, to
    )


@numba.njit
def multiply(work, x, y, out, width):
    simd.multiply(work, x, y, 3.0, out, width)
    simd.multiply_and_add(work, y, y, 0.5, out, width)


@numba.njit
def dots(x, y, out, begin, units, step, some):
    work = np.concatenate((x, y))
    simd.dots(work, begin, 0, len(x) + begin, step, units, 2.0, out[0], 0, LANES)
    simd.dots(work, begin, step, len(x) + begin, step, units, 0.5, out[1], 0, some)


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 40), st.integers(1, 70), st.integers(1, 18), st.integers(0, 9))
@example(8, 64, 8, 0)
@example(9, 3, 4, 0)
def test_products_of_every_shape(rows, inner, vectors, seed):
    """Numbers before and after the matrices are neither read nor written."""
    random, width = np.random.default_rng(seed), vectors * LANES
    x, y, start = (
        random.normal(size=(rows, inner)),
        random.normal(size=(inner, width)),
        random.normal(size=width),
    )
    given, numbers = (
        np.append(np.full(seed, np.nan), x),
        np.concatenate([[np.nan], y.ravel(), [np.nan], start]),
    )
    out = np.full(2 + rows * width, np.nan)
    product(given, rows, inner, numbers, 1, 2 + y.size, width, out, 1)
    bound = 2 * inner * EPSILON * (np.abs(x) @ np.abs(y) + np.abs(start))
    assert (np.abs(out[1:-1].reshape(rows, width) - (start + x @ y)) <= bound).all()
    assert np.isnan(out[[0, -1]]).all()


@pytest.mark.parametrize("vectors", [1, 2, 7])
def test_elementwise_products(vectors):
    width = vectors * LANES
    work = np.random.default_rng(0).normal(size=3 * width + 5)
    x, y = work[2 : 2 + width].copy(), work[4 + width : 4 + 2 * width].copy()
    multiply(work, 2, 4 + width, 5 + 2 * width, width)
    bound = 2 * EPSILON * (np.abs(3 * x * y) + y * y / 2)
    assert (np.abs(work[5 + 2 * width :] - (3 * x * y + y * y / 2)) <= bound).all()


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 9), st.integers(0, 20), st.integers(0, 40), st.integers(0, 9))
def test_dot_products_of_consecutive_rows(vectors, begin, more, seed):
    random, units = np.random.default_rng(seed), vectors * LANES
    step = units + more
    x, y = random.normal(size=(2, begin + LANES * step))
    out = np.ones((2, LANES))
    some = seed % LANES
    dots(x, y, out, begin, units, step, some)
    starts = [begin + i * step for i in range(LANES)]
    for row, firsts, weight, many in zip(
        out, ([begin] * LANES, starts), (2.0, 0.5), (LANES, some)
    ):
        wanted = np.ones(LANES)
        wanted[:many] += [
            weight * x[a : a + units] @ y[b : b + units]
            for a, b in zip(firsts[:many], starts)
        ]
        np.testing.assert_allclose(
            row, wanted, atol=units * EPSILON * np.abs(x).max() * np.abs(y).max() * 4
        )


@pytest.mark.parametrize(
    "dim, hidden", [(25, 8), (64, 8), (64, 32), (300, 1), (7, 40), (1000, 3)]
)
def test_gradients_of_networks_wide_at_one_end(dim, hidden):
    """The zeros in place of a bias are as wide as the widest layer."""
    random = np.random.default_rng(0)
    weights = [
        random.normal(size=(hidden, dim)) / dim**0.5,
        random.normal(size=(1, hidden)),
    ]
    mlp = MLP(weights, [random.normal(size=hidden), np.zeros(1)], "tanh")
    at = random.normal(size=(9, dim))
    wanted = np.transpose([taylor.derivative_tensor(mlp, 1, one).packed for one in at])
    np.testing.assert_allclose(
        taylor.compile(mlp, 1)(at), wanted, rtol=0, atol=1e-13 * np.abs(wanted).max()
    )


@pytest.mark.parametrize(
    "file, code, changed, wanted",
    [
        ("networks/bases.py", "return [e, e, 1.0]", "return [e, 3 * e, 1.0]", "[6.]\n"),
        (
            "taylor/compiled/activations.py",
            "return self.exponential[1]",
            "return 3 * self.exponential[1]",
            "[6.]\n",
        ),
        (
            "taylor/compiled/simd.py",
            "load(builder, work, right), flags",
            "VECTOR([5.0] * LANES), flags",
            "[10.]\n",
        ),
        (
            "taylor/compiled/layout.py",
            "own_rows rows depth",
            "own_rows depth rows",
            "[2.]\n",
        ),
    ],
)
def test_a_cached_loop_is_not_used_after_its_sources_change(
    tmp_path, file, code, changed, wanted
):
    """Change a file that the loop depends on. numba itself checks one file."""
    shutil.copytree(
        ROOT / "paperlib",
        tmp_path / "paperlib",
        ignore=shutil.ignore_patterns("__pycache__", "*.npz"),
    )
    script = (
        "from paperlib import MLP, taylor;"
        "mlp = MLP([[[2.0]], [[1.0]]], [[0.0], [0.0]], 'exp');"
        "print(taylor.compile(mlp, 1)([0.0]))"
    )
    environment = os.environ | {
        "PYTHONPATH": str(tmp_path),
        "NUMBA_CACHE_DIR": str(tmp_path / "cache"),
    }

    def output():
        run = subprocess.run(
            [sys.executable, "-c", script],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
        )
        assert run.returncode == 0, run.stderr
        return run.stdout

    assert output() == "[2.]\n"
    path = tmp_path / "paperlib" / file
    source = path.read_text()
    assert source.count(code) == 1
    path.write_text(source.replace(code, changed))
    assert output() == wanted


@pytest.mark.skipif(platform.machine() != "x86_64", reason="these widths are of x86-64")
@pytest.mark.parametrize("lanes", [4, 8])
def test_tensors_by_vectors_of_every_width(tmp_path, lanes):
    """Also with the processor's own width if the tests run in deterministic mode."""
    code = """
import sys
import numpy as np
from paperlib import MLP, taylor
from paperlib.taylor.compiled.simd import LANES
if LANES != int(sys.argv[1]):
    sys.exit(77)
random = np.random.default_rng(0)
for widths in ([2, 16, 1], [9, 5, 24, 2], [8, 32, 32, 1], [30, 3, 1]):
    shapes = zip(widths[1:], widths)
    weights = [random.normal(size=shape) / shape[1] ** 0.5 for shape in shapes]
    mlp = MLP(weights, [random.normal(size=len(w)) for w in weights], "tanh")
    for order in (1, 2, 3):
        at = random.normal(size=(11, widths[0]))
        found = taylor.compile(mlp, order)(at)
        for k, one in enumerate(at):
            wanted = taylor.derivative_tensor(mlp, order, one).packed
            bound = 1e-12 * np.abs(wanted).max()
            np.testing.assert_allclose(found[:, k], wanted, rtol=0, atol=bound)
"""
    narrow = (
        {"NUMBA_CPU_NAME": "haswell", "NUMBA_CPU_FEATURES": "+avx2,+fma"}
        if lanes == 4
        else {}
    )
    environment = PLAIN | narrow | {"NUMBA_CACHE_DIR": str(tmp_path)}
    run = subprocess.run(
        [sys.executable, "-c", code, str(lanes)],
        env=environment,
        capture_output=True,
        text=True,
    )
    if run.returncode == 77:
        pytest.skip("no AVX-512 here")
    assert run.returncode == 0, run.stderr


@pytest.mark.skipif(
    os.name != "posix", reason="memory is protected with POSIX functions"
)
def test_nothing_is_read_past_the_work_space(tmp_path):
    """A page that must not be read follows the work space.

    Dot products read rows past the last, and these must lie in the work space.
    """
    code = """
import ctypes, mmap
import numpy as np
from paperlib import MLP, taylor
from paperlib.taylor.compilation import BEYOND
from paperlib.taylor.compiled.interpreter import run
mprotect = ctypes.CDLL(None).mprotect
mprotect.argtypes = ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int
networks = [([1, 64, 1], 2), ([2, 64, 1], 2), ([1, 64, 3], 3), ([3, 64, 1], 3)]
for widths, order in [*networks, ([9, 1, 40, 2], 3), ([1, 1, 1], 4)]:
    random = np.random.default_rng(0)
    weights = [random.normal(size=(out, into)) for into, out in zip(widths, widths[1:])]
    mlp = MLP(weights, [random.normal(size=len(w)) for w in weights], "gelu")
    layout = taylor.compile(mlp, order)._prepared.layout
    each, size = layout.work, layout.entries
    for centres in (1, 5, 9):
        pages = -(-8 * each * centres // mmap.PAGESIZE) * mmap.PAGESIZE
        kept = mmap.mmap(-1, pages + mmap.PAGESIZE)
        whole = np.frombuffer(kept)
        assert mprotect(whole.ctypes.data + pages, mmap.PAGESIZE, 0) == 0
        work = whole[: pages // 8][pages // 8 - each * centres :]
        work[:] = np.nan
        at = random.normal(size=(centres, widths[0]))
        out = np.zeros(mlp.outputs * centres * size + BEYOND)
        table, numbers = layout.table, layout.numbers
        assert run(at.ravel(), np.zeros(0), out, work, centres, table, numbers)
        tensors = [taylor.derivative_tensor(mlp, order, x).packed for x in at]
        wanted = np.moveaxis(np.stack(tensors).reshape(centres, size, -1), -1, 0)
        found, bound = out[:-BEYOND].reshape(wanted.shape), 1e-12 * np.abs(wanted).max()
        np.testing.assert_allclose(found, wanted, rtol=0, atol=bound)
"""
    subprocess.run(
        [sys.executable, "-c", code],
        env=PLAIN | {"NUMBA_CACHE_DIR": str(tmp_path)},
        check=True,
    )
