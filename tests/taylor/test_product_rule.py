"""Compare products of packed tensors with sums over itertools.combinations."""

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from paperlib.taylor import product_rule
from paperlib.taylor.symmetric import index_table, packed_position, packed_size

BATCHES = [((), ()), ((2,), (2,)), ((3, 1), (3, 2)), ((1,), (4,))]


def summed_over_splits(x, y, p, q, dim):
    table, total = index_table(dim, p + q), 0.0
    for a in combinations(range(p + q), p):
        b = [k for k in range(p + q) if k not in a]
        total = (
            total
            + x[..., packed_position(dim, table[:, list(a)]), :]
            * y[..., packed_position(dim, table[:, b]), :]
        )
    return total


def operands(p, q, dim, batches, units=3, seed=0):
    rng = np.random.default_rng(seed)
    return [
        rng.standard_normal((*batch, packed_size(dim, n), units))
        for batch, n in zip(batches, (p, q))
    ]


sizes = st.tuples(st.integers(0, 3), st.integers(0, 3), st.integers(1, 4))


@given(sizes, st.sampled_from(BATCHES), st.sampled_from([8, product_rule.MAX_BLOCK]))
@settings(max_examples=150)
def test_products(size, batches, block):
    p, q, dim = size
    x, y = operands(p, q, dim, batches)
    expected = summed_over_splits(x, y, p, q, dim)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(product_rule, "MAX_BLOCK", block)
        assert np.allclose(
            product_rule.symmetric_product(x, y, p, q, dim),
            expected,
            rtol=0,
            atol=1e-12,
        )
        out = np.zeros(expected.shape[:-1])
        product_rule.contracted_product(out, x, y, p, q, dim)
        assert np.allclose(out, expected.sum(axis=-1), rtol=0, atol=1e-12)


@given(
    st.integers(2, 3),
    st.integers(1, 7),
    st.sampled_from(BATCHES),
    st.sampled_from([8, product_rule.MAX_BLOCK]),
)
def test_unordered_splits(p, dim, batches, block):
    x, y = operands(p, p, dim, batches)
    expected = summed_over_splits(x, y, p, p, dim).sum(axis=-1)
    # x[A] y[B] + y[A] x[B] is symmetric, and over unordered splits sums to x[A] y[B]
    # over ordered ones.
    x, y = np.broadcast_arrays(x, y)
    out = np.zeros(expected.shape)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(product_rule, "MAX_BLOCK", block)
        product_rule.contracted_product(
            out,
            np.concatenate([x, y], -1),
            np.concatenate([y, x], -1),
            p,
            p,
            dim,
            unordered=True,
        )
    assert np.allclose(out, expected, rtol=0, atol=1e-12)
