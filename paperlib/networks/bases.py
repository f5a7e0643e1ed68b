"""Define each base function of activations once, for NumPy and for compiled code.

An activation is outer * base(inner * z), see `activations.scaled`. A base is a function (z, parameter) that returns rows: value,
slope and the auxiliary rows from which `recurrence` makes the higher derivatives as sums of products of rows. A row may be a plain
number. z is an array, or a vector of compiled code that records the operations (`taylor.compiled_activations`).

To add a base, write such a function, add it to BASES and give `recurrence` its sums. The equations, with C the binomials:

    logistic    c' = w,  w' = -2 c w             tanh = c; sigmoid = c + 1/2; softplus' = sigmoid; silu = z sigmoid
    Gaussian    g' = -z g                        gelu = z Phi(z), Phi' = g
    chained     T' = w v',  w' = -2 T T'         mish = z T, v the softplus; gelu_tanh = z (T + 1/2), v a cubic
    hyperbola   f' = f/r,  f'' = 2/r^3           squareplus(4), r^2 = z^2 + 4
    rational    f' = u^2,  f^(k) = -k a f^(k-1)  softsign = z u, u = 1/(1 + |z|), a = sign(z) u

w is carried beside c and T, because in the tails it is far smaller than their rounding. The second derivative g of the hyperbola
obeys r^2 g^(k+1) = -(2k + 3) z g^(k) - k (k + 2) g^(k-1).
"""

from collections.abc import Callable, Iterator, Sequence
from math import comb, pi, sqrt
from typing import Any, TypeAlias

import numpy as np
from scipy.special import erfcx

from paperlib._support.checks import Floats

__all__ = ["BASES", "KINKED", "derivatives", "recurrence", "spare_rows"]

Rows: TypeAlias = list[Any]
Sum: TypeAlias = tuple[int, Sequence[tuple[int, int, float]]]  # a row, and the products it sums: (left, right, weight)
GELU_RATE: float = 2 * sqrt(2 / pi)
GELU_CUBIC = 0.044715
GELU_FLAT = 30.0  # beyond it every derivative of gelu_tanh(z) / z underflows
KINKED = ("leaky_relu", "elu", "softsign")  # without a second derivative at z = 0


def _logistic(z: Any) -> Rows:
    """Return s, 1 - s, s (1 - s), s - 1/2 and exp(-|z|) of the sigmoid s."""
    below = -abs(z)
    e = np.exp(below)
    part = 1 / (1 + e)
    rest, centred = e * part, np.copysign(np.expm1(below) * part / 2, z)
    return [np.where(z > 0, part, rest), np.where(z > 0, rest, part), rest * part, centred, e]


def _tanh(z: Any, _: float) -> Rows:
    _, _, w, half, _ = _logistic(2 * z)
    return [2 * half, 4 * w]


def _sigmoid(z: Any, _: float) -> Rows:
    s, _, w, centred, _ = _logistic(z)
    return [s, w, centred]


def _softplus(z: Any, _: float) -> Rows:
    s, rest, _, centred, e = _logistic(z)
    return [np.where(z > 0, z, 0.0) + np.log1p(e), s, centred, rest]


def _silu(z: Any, _: float) -> Rows:
    s, _, w, centred, _ = _logistic(z)
    return [z * s, z * w + s, 1.0, centred, w]


def _gelu(z: Any, _: float) -> Rows:
    e = np.exp(-0.5 * z * z)
    tail, density = e * erfcx(abs(z) * sqrt(0.5)) / 2, e / sqrt(2 * pi)
    cdf = np.where(z > 0, 1 - tail, tail)
    return [z * cdf, z * density + cdf, 1.0, density]


def _gelu_tanh(z: Any, _: float) -> Rows:
    near = np.copysign(np.where(abs(z) > GELU_FLAT, GELU_FLAT, abs(z)), z)
    cubic = GELU_CUBIC * near * near
    s, _, w, centred, _ = _logistic(GELU_RATE * near * (1 + cubic))
    inner = GELU_RATE * (1 + 3 * cubic)
    return [z * s, z * (w * inner) + s, 1.0, centred, inner, w, w * inner]


def _mish(z: Any, _: float) -> Rows:
    s, _, s_slope, centred, e = _logistic(z)
    grown = np.where(
        z > 0, 1 + 2 * e, e * (e + 2)
    )  # tanh(log(1 + exp z)) = grown / whole, both over exp(2 z) for z > 0
    share = 1 / (grown + np.where(z > 0, 2 * e * e, 2.0))
    t, root = grown * share, 2 * (1 + e) * np.where(z > 0, e, 1.0) * share
    w = root * root
    return [z * t, z * (w * s) + t, 1.0, t, centred, s, s_slope, w, w * s]


def _tanhshrink(z: Any, _: float) -> Rows:
    t, slope = _tanh(z, 0.0)
    # z - tanh z = z q / (1 + q), q = z^2 / (3 + z^2 / (5 + ...)) = z^2 below / above: no cancellation at small z.
    small = np.where(abs(z) > 1, 0.0, z)
    below: Any = 1.0
    above: Any = 19.0
    square = small * small
    for odd in range(17, 1, -2):
        below, above = above, odd * above + square * below
    product = square * below
    return [np.where(abs(z) > 1, z - t, small * product / (above + product)), t * t, -t, -slope]


def _squareplus(z: Any, _: float) -> Rows:
    r = np.hypot(z, 2.0)
    large = (abs(z) + r) / 2
    value, over = np.where(z > 0, large, 1 / large), 1 / r
    return [value, value * over, (z * over) * over, over * over, 2 * over]


def _softsign(z: Any, _: float) -> Rows:
    u = 1 / (1 + abs(z))
    return [z * u, u * u, np.copysign(u, z)]


def _elu(z: Any, alpha: float) -> Rows:
    below = np.where(z > 0, 0.0, z)
    value, slope = alpha * np.expm1(below), alpha * np.exp(below)
    return [np.where(z > 0, z, value), np.where(z > 0, 1.0, slope), np.where(z > 0, 0.0, 1.0)]


def _leaky_relu(z: Any, slope: float) -> Rows:
    return [np.where(z > 0, z, slope * z), np.where(z > 0, 1.0, slope), 0.0]


def _exp(z: Any, _: float) -> Rows:
    e = np.exp(z)
    return [e, e, 1.0]


BASES: dict[str, Callable[[Any, Any], Rows]] = {
    "tanh": _tanh, "sigmoid": _sigmoid, "softplus": _softplus, "silu": _silu, "gelu": _gelu, "gelu_tanh": _gelu_tanh,
    "mish": _mish, "tanhshrink": _tanhshrink, "squareplus": _squareplus, "softsign": _softsign, "elu": _elu,
    "leaky_relu": _leaky_relu, "exp": _exp, "linear": lambda z, _: [z, 1.0, 0.0],
    "sin": lambda z, _: [np.sin(z), np.cos(z), -1.0],
}  # fmt: skip


def recurrence(base: str, order: int, spare: int) -> Iterator[Sum]:
    """Yield the rows 2 to `order` of a base's derivatives as sums of products of rows.

    Parameters
    ----------
    base : str
        A key of BASES.
    order : int
        The highest derivative.
    spare : int
        The first auxiliary row. Rows 0 to `order` are the derivatives, row order + 1 is z.

    Yields
    ------
    (int, sequence of (int, int, float))
        A row and its products (left row, right row, weight). A later sum may use the row.
    """
    z, ones, own = order + 1, spare, range(order + 1)
    if base in ("tanh", "sigmoid"):
        yield from _logistic_rows([0 if base == "tanh" else spare, *own[1:]], -2)
    elif base == "tanhshrink":  # from the second on, the derivatives of -tanh, which is row `spare`
        yield from _logistic_rows([spare, spare + 1, *own[2:]], 2)
    elif base == "softplus":
        yield from [(2, [(1, spare + 1, 1)])][: order - 1]
        yield from _logistic_rows([spare, *own[2:]], -2)
    elif base in ("silu", "gelu", "gelu_tanh", "mish"):
        # z T. The first derivative of T is the last row that the base gives, its value up to a constant is row `spare` + 1.
        first = spare + {"silu": 2, "gelu": 1, "gelu_tanh": 4, "mish": 6}[base]
        T = [spare + 1, *range(first, first + order)]
        if base == "silu":
            yield from _logistic_rows(T, -2)
        elif base == "gelu":
            yield from ((T[k], [(z, T[k - 1], -1), (ones, T[k - 2], 2 - k)][: k - 1]) for k in own[2:])
        else:
            w = [first - 1, *range(first + order, first + 2 * order - 1)]
            slopes: list[tuple[int, float]] = [
                (spare + 2, 1),
                (z, 6 * GELU_RATE * GELU_CUBIC),
                (ones, 6 * GELU_RATE * GELU_CUBIC),
            ]  # three of v
            if base == "mish":
                v = [spare + 3, spare + 4, *range(w[-1] + 1, w[-1] + order - 1)]
                yield from _logistic_rows([spare + 2, *v[1:]], -2)
                slopes = [(row, 1.0) for row in v]
            for k in range(1, order):
                yield w[k], _pairs(k, T, -2)
                terms = zip(slopes, reversed(w[: k + 1]))
                yield T[k + 1], [(row, other, comb(k, i) * times) for i, ((row, times), other) in enumerate(terms)]
        yield from ((k, [(z, T[k], 1), (ones, T[k - 1], k)]) for k in own[2:])
    elif base == "squareplus":
        yield from [(2, [(spare + 1, spare + 2, 1)])][: order - 1]
        for k in range(order - 2):
            yield k + 3, [(spare, k + 2, -2 * k - 3), (spare + 1, k + 1, -k * (k + 2))][: k + 1]
    else:  # softsign, the sine, and those whose derivatives are multiples of the first
        steps = 2 if base == "sin" else 1
        yield from ((k, [(spare, k - steps, -k if base == "softsign" else 1)]) for k in own[2:])


def _pairs(k: int, f: Sequence[int], weight: float) -> list[tuple[int, int, float]]:
    """Return the products of weight * (f f')^(k-1), equal ones added up."""
    return [(f[i], f[k - i], weight * comb(k, i) / (2 if 2 * i == k else 1)) for i in range(k // 2 + 1)]


def _logistic_rows(f: Sequence[int], weight: float) -> Iterator[Sum]:
    """Yield the rows f[2:] of the derivatives of f, where f'' = weight * f f'."""
    yield from ((f[k + 1], _pairs(k, f, weight)) for k in range(1, len(f) - 1))


def spare_rows(base: str, order: int) -> int:
    """Return the number of auxiliary rows that a base and its `recurrence` use."""
    given = len(BASES[base](np.zeros(1), 0.0)) - 2
    return max([given, *(row - order - 1 for row, _ in recurrence(base, order, order + 2))])


def derivatives(base: str, z: Floats, order: int, parameter: float) -> Floats:
    """Return a base's value and derivatives to `order` at z in NumPy, shape (order + 1, ...)."""
    value, slope, *auxiliary = BASES[base](z, parameter)
    rows = {0: value, 1: slope, order + 1: z} | dict(enumerate(auxiliary, order + 2))
    for row, products in recurrence(base, order, order + 2):
        rows[row] = sum(weight * rows[left] * rows[right] for left, right, weight in products)
    found = np.empty((order + 1, *z.shape))
    for k in range(order + 1):
        found[k] = rows[k]
    return found
