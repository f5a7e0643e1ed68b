"""Cut rows into parts whose temporary arrays stay small."""

from collections.abc import Iterator

__all__ = ["slices"]


def slices(count: int, size: int) -> Iterator[slice]:
    """Yield the slices that cut `count` rows into parts of `size` rows; the last part may be shorter.

    A part has at least one row, so that `size` may be the number of rows that fit a limit of memory.

    Examples
    --------
    >>> list(slices(5, 2))
    [slice(0, 2, None), slice(2, 4, None), slice(4, 5, None)]
    """
    size = max(1, size)
    for first in range(0, count, size):
        yield slice(first, min(first + size, count))
