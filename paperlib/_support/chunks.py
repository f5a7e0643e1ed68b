"""Divide rows into parts whose temporary arrays stay small."""

from collections.abc import Iterator


def slices(count: int, size: int) -> Iterator[slice]:
    """Yield slices that divide `count` rows into parts of `size` rows.

    The last part may be shorter. A `size` below 1 counts as 1, so it may be the number
    of rows that fit into a memory limit, even if no row fits.

    Examples
    --------
    >>> list(slices(5, 2))
    [slice(0, 2, None), slice(2, 4, None), slice(4, 5, None)]
    """
    size = max(1, size)
    for first in range(0, count, size):
        yield slice(first, min(first + size, count))
