"""Packed symmetric tensors against full arrays, itertools and numpy.einsum."""

import warnings
from itertools import combinations_with_replacement, permutations, product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from oracles import refusal

from paperlib import SymmetricTensor
from paperlib.taylor.symmetric import (
    index_table,
    multiplicities,
    packed_position,
    packed_size,
    tail_starts,
)

shapes = st.tuples(st.integers(0, 5), st.integers(1, 5))


def random_full(order, dim, seed=0, trailing=()):
    """A symmetric array: what is drawn for each sorted index tuple, written at all of its permutations."""
    rng = np.random.default_rng(seed)
    full = np.empty((dim,) * order + trailing)
    for i in combinations_with_replacement(range(dim), order):
        entry = rng.standard_normal(trailing)
        for j in permutations(i):
            full[j] = entry
    return full


def pack(full, order, dim):
    return np.array([full[i] for i in combinations_with_replacement(range(dim), order)])


@given(shapes)
def test_tables(shape):
    order, dim = shape
    tuples = list(combinations_with_replacement(range(dim), order))
    table = index_table(dim, order)
    assert table.tolist() == [list(t) for t in tuples]
    assert packed_size(dim, order) == len(tuples)
    assert packed_position(dim, table).tolist() == list(range(len(tuples)))
    counts = {t: 0 for t in tuples}
    for t in product(range(dim), repeat=order):
        counts[tuple(sorted(t))] += 1
    assert multiplicities(dim, order).tolist() == list(counts.values())
    if order:
        heads = [
            next((n for n, t in enumerate(tuples) if t[0] >= a), len(tuples))
            for a in range(dim + 1)
        ]
        assert tail_starts(dim, order).tolist() == heads


@given(shapes, st.sampled_from([(), (2,), (2, 3)]), st.integers(0, 99))
def test_against_the_full_array(shape, trailing, seed):
    order, dim = shape
    full = random_full(order, dim, seed, trailing)
    t = SymmetricTensor(order, dim, pack(full, order, dim))
    assert np.array_equal(t.full(), full)
    axes = tuple(range(order))
    assert np.allclose(t.norm(), np.sqrt((full**2).sum(axis=axes)), rtol=1e-14)
    x = np.random.default_rng(seed + 1).standard_normal((2, 3, dim))
    letters = "ijklm"[:order]
    expected = np.einsum(
        f"{letters}...,{','.join('xy' + i for i in letters)}->xy..."
        if order
        else "...->...",
        full,
        *[x] * order,
    )
    expected = np.broadcast_to(expected, (2, 3, *trailing))
    assert t.contract(x).shape == (2, 3, *trailing)
    assert np.allclose(
        t.contract(x), expected, rtol=0, atol=1e-13 * (1 + np.abs(expected).max())
    )


@given(shapes, st.sampled_from([(), (2,), (2, 3)]), st.integers(0, 99), st.data())
def test_free_indices_against_the_full_array(shape, trailing, seed, data):
    order, dim = shape
    free = data.draw(st.integers(0, order))
    full = random_full(order, dim, seed, trailing)
    t = SymmetricTensor(order, dim, pack(full, order, dim))
    x = np.random.default_rng(seed + 1).standard_normal((2, 3, dim))
    expected = np.broadcast_to(full, (2, 3, *full.shape))
    for _ in range(order - free):
        expected = np.einsum("xyi,xyi...->xy...", x, expected)
    found = t.contract(x, free=free)
    assert found.shape == (2, 3, *(dim,) * free, *trailing)
    size = 1 + np.abs(expected).max()
    assert np.allclose(found, expected, rtol=0, atol=1e-13 * size)
    assert np.array_equal(t.contract(x, free=free), found), "from the cached matrix"
    one = t.contract(x[0, 0], free=free)
    assert np.allclose(one, expected[0, 0], rtol=0, atol=1e-13 * size)


@given(st.integers(1, 4), st.integers(1, 4), st.data())
def test_entries_come_in_any_index_order(order, dim, data):
    full = random_full(order, dim)
    t = SymmetricTensor(order, dim, pack(full, order, dim))
    i = tuple(data.draw(st.integers(-dim, dim - 1)) for _ in range(order))
    assert t[i] == full[i]


def test_contracting_many_points_in_parts_changes_nothing(monkeypatch):
    full = random_full(3, 4)
    t = SymmetricTensor(3, 4, pack(full, 3, 4))
    x = np.random.default_rng(0).standard_normal((50, 4))
    expected = np.einsum("ijk,xi,xj,xk->x", full, x, x, x)
    monkeypatch.setattr(
        "paperlib.taylor.symmetric.CHUNK_BYTES", 8 * packed_size(4, 2) * 7
    )
    assert np.allclose(t.contract(x), expected, rtol=0, atol=1e-13)


def test_a_large_tensor_is_contracted_without_building_it():
    # sum over i<=j<=k<=l of the multiplicities times x x x x is (sum x)^4 when every
    # entry is 1.
    t = SymmetricTensor(4, 64, np.ones(packed_size(64, 4)))
    x = np.random.default_rng(0).uniform(size=64)
    assert np.isclose(t.contract(x), x.sum() ** 4, rtol=1e-13)
    assert np.isclose(t.norm(), 64.0**2, rtol=1e-14)


def test_arithmetic():
    a, b = random_full(2, 3, 0), random_full(2, 3, 1)
    ta, tb = (SymmetricTensor(2, 3, pack(f, 2, 3)) for f in (a, b))
    assert np.allclose(
        (np.float64(2.0) * (ta - tb) / 4 + ta * 3).full(),
        (a - b) / 2 + 3 * a,
        rtol=0,
        atol=1e-14,
    )
    for dim in (2, 4):
        with pytest.raises(ValueError, match="must have the shape of"):
            ta - SymmetricTensor(2, dim, np.ones(packed_size(dim, 2)))
    with pytest.raises(TypeError):
        ta + 1.0


@pytest.mark.parametrize(
    ("order", "dim"),
    [(0, 3), (1, 200), (2, 200), (3, 70), (4, 12), (9, 3), (20, 1), (20, 2)],
)
def test_full_writes_every_entry_at_its_indices(order, dim):
    packed = np.random.default_rng(0).standard_normal((packed_size(dim, order), 2))
    full = SymmetricTensor(order, dim, packed).full()
    assert full.shape == (dim,) * order + (2,) and full.flags.writeable
    assert np.array_equal(
        full[tuple(index_table(dim, order).T)].reshape(packed.shape), packed
    )
    for axis in range(order - 1):
        assert np.array_equal(full, full.swapaxes(axis, axis + 1))
    scalar = SymmetricTensor(order, dim, packed[:, 0]).full()
    assert isinstance(scalar, np.ndarray) and np.array_equal(scalar, full[..., 0])


def test_a_tensor_does_not_follow_the_array_it_was_given():
    for array in (np.ones(6), np.ones(12)[::2], np.ones((6, 2))):
        t = SymmetricTensor(2, 3, array)
        full = t.full()
        full += 1
        array[:] = 0
        assert (t.packed == 1).all() and array.flags.writeable
    line = SymmetricTensor(1, 3, np.ones(3))
    line.full()[:] = 0
    assert (line.packed == 1).all()


def test_results_are_wrapped_without_a_copy():
    t = SymmetricTensor(2, 3, np.ones(6))
    for result in (t + t, 2 * t, t / 2, t - t):
        assert not result.packed.flags.writeable
    made = np.ones(6)
    assert np.shares_memory(SymmetricTensor._owning(2, 3, made).packed, made)


def test_frozen():
    t = SymmetricTensor(1, 2, np.ones(2))
    with pytest.raises(ValueError, match="read-only"):
        t.packed[0] = 2.0
    with pytest.raises(AttributeError):
        t.order = 2
    assert t == t and t != SymmetricTensor(1, 2, np.ones(2)) and {t: 1}[t] == 1
    with pytest.raises(TypeError):
        iter(t)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            (2, 3, np.ones(5)),
            "packed: has 5 entries; must have 6, for order 2 and dim 3",
        ),
        (
            (2, 3, np.ones(7)),
            "packed: has 7 entries; must have 6, for order 2 and dim 3",
        ),
        ((-1, 3, np.ones(5)), "order = -1: must be an integer >= 0"),
        ((1, 0, np.ones(5)), "dim = 0: must be an integer >= 1"),
        ((1, 2, [1.0, np.nan]), r"packed\[1\] = nan: must be finite"),
        ((1, 2, [1j, 1.0]), "packed: dtype complex128; must be real numbers"),
    ],
)
def test_refused(arguments, message):
    with pytest.raises(refusal(message), match=message):
        SymmetricTensor(*arguments)


def test_refused_uses():
    t = SymmetricTensor(2, 3, np.ones(6))
    message = r"^indices = \(0, 3\): each must be from -3 to 2$"
    with pytest.raises(IndexError, match=message):
        t[0, 3]
    message = "must be 2 indices, as the tensor has order 2$"
    with pytest.raises(IndexError, match=rf"^indices = \(0, 1, 1\): {message}"):
        t[0, 1, 1]
    with pytest.raises(IndexError, match=rf"^indices = \(0,\): {message}"):
        t[0]
    with pytest.raises(ValueError, match="last axis must be 3 long"):
        t.contract(np.ones(4))
    for free in (-1, 3):
        message = f"^free = {free}: must be an integer from 0 to 2$"
        with pytest.raises(ValueError, match=message):
            t.contract(np.ones(3), free=free)
    with pytest.raises(
        ValueError, match=r"^x: needs .* GiB are free: contract fewer points$"
    ):
        SymmetricTensor(20, 4, np.ones(packed_size(4, 20))).contract(np.ones(4), 20)
    with pytest.raises(
        ValueError,
        match=r"full: needs .* GiB; .* GiB are free: use .packed or .contract",
    ):
        SymmetricTensor(20, 4, np.ones(packed_size(4, 20))).full()


def test_results_beyond_a_double_are_refused_without_a_warning():
    t = SymmetricTensor(2, 2, [1e308, 0.0, -1e308])
    for ask, name in {
        lambda: t.contract([10.0, 10.0]): "x",
        lambda: t * 10: "factor = 10",
        lambda: t + t: "other",
    }.items():
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            with pytest.raises(
                ValueError, match=f"^{name}: the result overflows float64"
            ):
                ask()


@pytest.mark.parametrize("trailing", [(), (2, 3)])
def test_full_asks_for_the_memory_of_its_array(monkeypatch, trailing):
    t = SymmetricTensor(3, 4, np.ones((packed_size(4, 3), *trailing)))
    # The array, and the table or the rows that it is copied from
    needed = 2 * t.full().nbytes
    monkeypatch.setattr("paperlib._support.validation.WORTH_ASKING", 0)
    monkeypatch.setattr("paperlib._support.validation._free_bytes", lambda: needed)
    assert 2 * t.full().nbytes == needed
    monkeypatch.setattr("paperlib._support.validation._free_bytes", lambda: needed - 1)
    with pytest.raises(ValueError, match="^full: needs"):
        t.full()


def test_more_entries_than_an_int64_counts_are_refused():
    """Between 2^63 and 2^64 of them, too."""
    dim = next(dim for dim in range(40, 99) if packed_size(dim, 20) >= 2**63)
    assert packed_size(dim, 20) < 2**64
    assert tail_starts(dim - 1, 20)[-1] > 0
    with pytest.raises(
        ValueError,
        match=f"^dim = {dim}, order = 20: the number of entries overflows int64$",
    ):
        tail_starts(dim, 20)
    with pytest.raises(
        ValueError,
        match="^dim = 10000, order = 20: the number of entries overflows int64$",
    ):
        tail_starts(10_000, 20)
