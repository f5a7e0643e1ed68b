"""Compare the compiled inner loops with their NumPy versions, bit by bit."""

import itertools
import sys

import numpy as np
import pytest

from paperlib._support import jit
from paperlib.taylor import product_rule_loops


@pytest.fixture
def both(monkeypatch):
    """Return a function that yields results with NumPy and with compiled loops."""
    pytest.importorskip("numba", reason="the compiled loops need the [fast] extra")

    def results(function):
        for size in (10**9, 0):
            monkeypatch.setattr(product_rule_loops, "MIN_SIZE_TO_CALL", size)
            monkeypatch.setattr(product_rule_loops, "MIN_SIZE_TO_COMPILE", size)
            yield function()
        assert product_rule_loops._loop(1, jit.jit, product_rule_loops._add_pairs)

    return results


def test_compiled_loops_give_the_bits_of_numpy(both):
    rng = np.random.default_rng(0)
    x, y, m = (
        rng.standard_normal((2, 5, 7)),
        rng.standard_normal((2, 5, 7)),
        rng.standard_normal((2, 5, 15)),
    )

    def run():
        pairs, triples = np.ones((2, 15, 7)), np.ones((2, 35))
        product_rule_loops.add_pairs(pairs, x, y)
        product_rule_loops.add_heads(triples, m, 2)
        product_rule_loops.add_heads(
            triples, np.ascontiguousarray(m.swapaxes(1, 2)).swapaxes(1, 2), 2
        )
        return pairs, triples

    assert all(np.array_equal(a, b) for a, b in zip(*both(run)))


@pytest.mark.parametrize("orders", [*range(1, 13), 20])
@pytest.mark.parametrize(
    "points, units", [(1, 7), (1, 9), (4, 7), (9, 1), (11, 3), (2, 16), (3, 21)]
)
def test_compiled_series_give_the_bits_of_numpy(both, orders, points, units):
    """Signs of zeros agree too, and nothing is written before or after a series."""
    rng = np.random.default_rng(orders)
    for terms, centres in itertools.product(
        {1, (orders + 1) // 2, orders}, {1, points}
    ):
        phi, z = (
            rng.standard_normal((orders + 1, centres, units)),
            rng.standard_normal((terms, points, units)),
        )
        phi[orders // 2 + 1 :, :, 0] *= 0

        def run(phi=phi, z=z):
            out = np.full((orders + 2, points, units), np.nan)
            product_rule_loops.compose(out[1:-1], phi, z)
            return out.view(np.int64)

        a, b = both(run)
        assert (
            np.array_equal(a, b)
            and np.isfinite(a.view(float)[1:-1]).all()
            and np.isnan(a.view(float)[[0, -1]]).all()
        )


def test_numpy_is_used_where_numba_does_not_compile(both, monkeypatch):
    monkeypatch.setattr(jit, "_made", {})
    monkeypatch.setattr("paperlib.taylor.compiled.simd.writes", None)
    phi, z = np.random.default_rng(0).standard_normal((2, 4, 3, 5))

    def run():
        out = np.empty((3, 3, 5))
        product_rule_loops.compose(out, phi, z[1:])
        return out

    assert np.array_equal(*both(run)) and None in jit._made.values()


def test_without_numba(monkeypatch):
    monkeypatch.setitem(sys.modules, "numba", None)
    monkeypatch.setattr(jit, "_made", {})
    monkeypatch.setattr(jit, "numba", jit.numba.__wrapped__)
    monkeypatch.setattr(product_rule_loops, "MIN_SIZE_TO_COMPILE", 0)
    x, y = np.random.default_rng(0).standard_normal((2, 4, 3))
    pairs = np.zeros((10, 3))
    product_rule_loops.add_pairs(pairs, x, y)
    a, b = np.triu_indices(4)
    assert np.allclose(pairs, x[a] * y[b] + x[b] * y[a], rtol=1e-15)
    assert product_rule_loops._loop(1, jit.jit, product_rule_loops._add_pairs) is None
