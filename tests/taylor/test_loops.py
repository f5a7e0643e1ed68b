"""The inner loops against sums written out, and compiled ones against their NumPy forms."""

import sys

import numpy as np
import pytest

from paperlib._support import compiled
from paperlib.taylor import loops


def test_compiled_loops_equal_their_numpy_forms_to_the_bit(monkeypatch):
    pytest.importorskip("numba", reason="the compiled loops need the [fast] extra")
    rng = np.random.default_rng(0)
    x, y, m = rng.standard_normal((2, 5, 7)), rng.standard_normal((2, 5, 7)), rng.standard_normal((2, 5, 15))
    z = rng.standard_normal((3, 4, 7))
    phis = rng.standard_normal((6, 1, 7)), rng.standard_normal((6, 4, 7)), rng.standard_normal((3, 1, 7))

    def run():
        pairs, triples = np.ones((2, 15, 7)), np.ones((2, 35))
        series = [np.ones((len(phi) - 1, 4, 7)) for phi in phis]
        loops.add_pairs(pairs, x, y)
        loops.add_heads(triples, m, 2)
        loops.add_heads(triples, np.ascontiguousarray(m.swapaxes(1, 2)).swapaxes(1, 2), 2)
        for out, phi in zip(series, phis):
            loops.compose(out, phi, z[: len(out)])
        return pairs, triples, *series

    monkeypatch.setattr(loops, "WORTH_A_CALL", 10**9)
    monkeypatch.setattr(loops, "WORTH_COMPILING", 10**9)
    plain = run()
    monkeypatch.setattr(loops, "WORTH_A_CALL", 0)
    monkeypatch.setattr(loops, "WORTH_COMPILING", 0)
    assert loops._loop(1, "pairs")
    assert all(np.array_equal(a, b) for a, b in zip(plain, run()))


def test_without_numba(monkeypatch):
    monkeypatch.setitem(sys.modules, "numba", None)
    monkeypatch.setattr(compiled, "_made", {})
    monkeypatch.setattr(compiled, "numba", compiled.numba.__wrapped__)
    monkeypatch.setattr(loops, "WORTH_COMPILING", 0)
    x, y = np.random.default_rng(0).standard_normal((2, 4, 3))
    pairs = np.zeros((10, 3))
    loops.add_pairs(pairs, x, y)
    a, b = np.triu_indices(4)
    assert np.allclose(pairs, x[a] * y[b] + x[b] * y[a], rtol=1e-15)
    assert loops._loop(1, "pairs") is None
