"""Check that parts of rows cover all rows once and in order."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paperlib._support import chunks


@given(st.integers(0, 40), st.integers(-3, 50))
def test_slices_cover_the_rows_in_order(count, size):
    parts = list(chunks.slices(count, size))
    assert [row for part in parts for row in range(count)[part]] == list(range(count))
    assert all(0 < part.stop - part.start <= max(1, size) for part in parts)
    assert len({part.stop - part.start for part in parts[:-1]}) <= 1


@pytest.mark.parametrize(
    ("count", "size", "ends"),
    [(5, 2, [2, 4, 5]), (4, 2, [2, 4]), (3, 0, [1, 2, 3]), (0, 7, [])],
)
def test_each_slice_ends_within_the_rows(count, size, ends):
    assert [part.stop for part in chunks.slices(count, size)] == ends
