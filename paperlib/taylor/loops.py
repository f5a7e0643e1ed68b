"""The three inner loops that NumPy can only spell with temporaries, compiled where numba is installed.

Each loop has its NumPy form beside it, which does the same sums in the same order: the results are the same
to the bit. It is used when numba is absent, and while no array has been large enough to be worth loading
numba for, which takes about a second, and some seconds more when numba's cache on disk is empty.
"""

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np

from paperlib._support import compiled
from paperlib._support.checks import Floats
from paperlib.taylor.symmetric import entries, index_table, packed_position

__all__ = ["add_heads", "add_pairs", "compose"]

WORTH_COMPILING = 2**15
WORTH_A_CALL = 2**8
LONGEST = 12  # a longer series is more code than its sums are worth


# Rows are named before the innermost loop: only then does the compiler see that it may vectorise it.


def _add_pairs(out: Floats, x: Floats, y: Floats) -> None:
    for n in range(len(out)):
        row = 0
        for a in range(x.shape[1]):
            for b in range(a, x.shape[1]):
                pair, x_a, x_b, y_a, y_b = out[n, row], x[n, a], x[n, b], y[n, a], y[n, b]
                for j in range(len(pair)):
                    pair[j] = pair[j] + x_a[j] * y_b[j] + x_b[j] * y_a[j]
                row += 1


def _add_triples(out: Floats, m: Floats) -> None:
    for n in range(len(out)):
        dim, row = m.shape[1], 0
        for a in range(dim):
            first = a * dim - a * (a - 1) // 2 - a  # the pair (a, b) is packed at first + b
            for b in range(a, dim):
                second = b * dim - b * (b - 1) // 2 - b
                for c in range(b, dim):
                    out[n, row] = out[n, row] + m[n, a, second + c] + m[n, b, first + c] + m[n, c, first + b]
                    row += 1


def _written_out(orders: int, terms: int) -> str:
    """Source of a loop that composes series of these lengths: every coefficient has a name, and so a register.

    As loops over degrees the same sums are three times slower: they wait for the cache at each product.
    """
    rows = {f"out{k}": f"out[{k - 1}, p]" for k in range(1, orders + 1)}
    rows |= {f"phi{m}": f"phi[{m}, there]" for m in range(1, orders + 1)}
    rows |= {f"z{i}": f"z[{i - 1}, p]" for i in range(1, terms + 1)}
    # Horner. z has no constant term, so each product fixes one more degree and frees degree 0.
    sums = []
    for m in range(orders, 0, -1):
        sums.append(f"s{m}_0 = phi{m}[j]")
        for k in range(1, orders - m + 2):
            lower = [f"s{m + (k > i)}_{k - i}" for i in range(1, min(k, terms) + 1)]
            products = " + ".join(f"{s} * z{i}_j" for i, s in enumerate(lower, 1))
            sums.append(f"{f's{m}_{k}' if m > 1 else f'out{k}[j]'} = {products}")
    return "\n".join(
        [
            "def loop(out, phi, z):",
            "    for p in range(out.shape[1]):",
            "        there = p if phi.shape[1] > 1 else 0",
            *(f"        {name} = {row}" for name, row in rows.items()),
            "        for j in range(out.shape[2]):",
            *(f"            z{i}_j = z{i}[j]" for i in range(1, terms + 1)),
            *(f"            {line}" for line in sums),
        ]
    )


def _loop(size: int, name: str, *lengths: int) -> Any:
    """A loop compiled, for series of given lengths if it composes; None where NumPy is the better road."""

    def make(numba: Any) -> Callable:
        if not lengths:
            return compiled.jit(_add_pairs if name == "pairs" else _add_triples)
        # numba unrolls no nested loop over degrees, so the source is written out; a test holds it to the plain form.
        made: dict[str, Callable] = {}
        exec(_written_out(*lengths), made)
        return numba.njit(made["loop"], error_model="numpy")

    return compiled.loop((name, *lengths), make, size, WORTH_COMPILING, WORTH_A_CALL)


def _flat(array: Floats, axes: int, batch: tuple[int, ...]) -> Floats:
    """The leading axes broadcast to `batch` and made one."""
    entry = array.shape[-axes:]
    if array.shape[:-axes] != batch:
        array = np.ascontiguousarray(np.broadcast_to(array, batch + entry))
    return array.reshape(-1, *entry)


def add_pairs(out: Floats, x: Floats, y: Floats) -> None:
    """Add x_a y_b + x_b y_a: x, y (..., dim, units) -> out (..., C(dim + 1, 2), units)."""
    loop = _loop(out.size, "pairs")
    if loop:
        batch = out.shape[:-2]
        loop(_flat(out, 2, batch), _flat(x, 2, batch), _flat(y, 2, batch))
        return
    row = 0
    for a in range(x.shape[-2]):
        tail = x.shape[-2] - a
        part = out[..., row : row + tail, :]
        part += x[..., a : a + 1, :] * y[..., a:, :]
        part += y[..., a : a + 1, :] * x[..., a:, :]
        row += tail


@lru_cache(maxsize=8)
def _heads(dim: int, order: int) -> np.ndarray:
    """Where m[i, rest] lies in a flat (dim, C) array, for each index i of a sorted tuple; (order, C')."""
    table, rests = index_table(dim, order), entries(dim, order - 1)
    return np.stack([table[:, i] * rests + packed_position(dim, np.delete(table, i, axis=1)) for i in range(order)])


def add_heads(out: Floats, m: Floats, q: int) -> None:
    """Add m_{a,b} + m_{b,a} (q = 1) or m_{a,bc} + m_{b,ac} + m_{c,ab} (q = 2): (..., dim, C) -> (..., C')."""
    loop = _loop(out.size, "triples") if q == 2 else None
    if loop:
        loop(_flat(out, 1, out.shape[:-1]), _flat(m, 2, out.shape[:-1]))
        return
    flat = m.reshape(*m.shape[:-2], -1)
    for positions in _heads(m.shape[-2], q + 1):
        out += flat.take(positions, axis=-1)


def compose(out: Floats, phi: Floats, z: Floats) -> None:
    """Put the coefficients of t, t^2, .. in sum_m phi_m z(t)^m into `out` (orders, points, units).

    phi (orders + 1, 1 or points, units) are Taylor coefficients at the centre, z (terms, points, units) those of t ..
    t^terms.
    """
    loop = _loop(out.size, "compose", len(out), len(z)) if len(out) <= LONGEST else None
    if loop:
        loop(out, phi, z)
        return
    orders = len(out)
    series = np.zeros((orders + 1, *z.shape[1:]))
    for m in range(orders, 0, -1):
        series[0] = phi[m]
        for k in range(orders - m + 1, 0, -1):
            series[k] = sum(series[k - i] * z[i - 1] for i in range(1, min(k, len(z)) + 1))
    out[:] = series[1:]
