"""Define each base function of activations once, for NumPy and for compiled code.

An activation is outer * base(inner * z), see `activations.scaled`. A base is a function
(z, parameter) that returns rows: value, slope and the auxiliary rows from which
`recurrence` makes the higher derivatives as sums of products of rows. A row may be a
plain number. z is an array, or a vector of compiled code that records the operations
(`taylor.compiled.activations`), so a base may use only the NumPy functions that are
defined there.

To add a base, write such a function, add it to BASES and write its differential
equation as a line of `_equations`. The bases obey:

    logistic    c' = w,  w' = -2 c w        tanh = c;  sigmoid = c + 1/2;
                                            softplus' = sigmoid;  silu = z sigmoid
    Gaussian    g' = -z g                   gelu = z Phi(z), Phi' = g
    chained     T' = w v',  w' = -2 T T'    mish = z T, v = softplus;
                                            gelu_tanh = z (T + 1/2), v a cubic
    hyperbola   f' = f/r,  f'' = 2/r^3      squareplus(4), r^2 = z^2 + 4
    rational    f'' = 2 a f',  a' = f' = u^2
                                            softsign = z u, u = 1/(1 + |z|),
                                            a = -sign(z) u

w is computed beside c and T, because in the tails it is far smaller than their
rounding. The second derivative g of the hyperbola obeys
r^2 g^(k+1) = -(2k + 3) z g^(k) - k (k + 2) g^(k-1).
"""

from collections.abc import Callable, Sequence
from functools import lru_cache
from math import comb, pi, sqrt
from typing import Any, TypeAlias

import numpy as np
from scipy.special import erfcx

from paperlib._support.validation import Floats

Rows: TypeAlias = list[Any]
# A row, and the products it sums: (left, right, weight)
Sum: TypeAlias = tuple[int, list[tuple[int, int, float]]]
# The rows of a function and its derivatives. Derivatives beyond the last row vanish.
Family: TypeAlias = Sequence[int]
# (f, lag, weight, a, b), see `_equations`
Equation: TypeAlias = tuple[Family, int, int, Family, Family]
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
    return [
        np.where(z > 0, part, rest),
        np.where(z > 0, rest, part),
        rest * part,
        centred,
        e,
    ]


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
    return [z * cdf, z * density + cdf, 1.0, cdf, density]


def _gelu_tanh(z: Any, _: float) -> Rows:
    near = np.copysign(np.where(abs(z) > GELU_FLAT, GELU_FLAT, abs(z)), z)
    cubic = GELU_CUBIC * near * near
    s, _, w, centred, _ = _logistic(GELU_RATE * near * (1 + cubic))
    inner = GELU_RATE * (1 + 3 * cubic)
    bend = 6 * GELU_RATE * GELU_CUBIC
    return [
        z * s,
        z * (w * inner) + s,
        1.0,
        centred,
        w * inner,
        w,
        inner,
        bend * z,
        bend,
    ]


def _mish(z: Any, _: float) -> Rows:
    s, _, s_slope, centred, e = _logistic(z)
    # tanh(log(1 + exp z)) is the quotient of `grown` and grown + 2; for z > 0 both are
    # divided by exp(2 z).
    grown = np.where(z > 0, 1 + 2 * e, e * (e + 2))
    share = 1 / (grown + np.where(z > 0, 2 * e * e, 2.0))
    t, root = grown * share, 2 * (1 + e) * np.where(z > 0, e, 1.0) * share
    w = root * root
    return [z * t, z * (w * s) + t, 1.0, t, w * s, w, s, s_slope, centred]


def _tanhshrink(z: Any, _: float) -> Rows:
    t, slope = _tanh(z, 0.0)
    # z - tanh z = z q / (1 + q), q = z^2 / (3 + z^2 / (5 + ...)) = z^2 below / above:
    # no cancellation at small z.
    small = np.where(abs(z) > 1, 0.0, z)
    below: Any = 1.0
    above: Any = 19.0
    square = small * small
    for odd in range(17, 1, -2):
        below, above = above, odd * above + square * below
    product = square * below
    return [
        np.where(abs(z) > 1, z - t, small * product / (above + product)),
        t * t,
        -t,
        -slope,
    ]


def _squareplus(z: Any, _: float) -> Rows:
    r = np.hypot(z, 2.0)
    large = (abs(z) + r) / 2
    value, over = np.where(z > 0, large, 1 / large), 1 / r
    return [value, value * over, (z * over) * over, over * over, 2 * over]


def _softsign(z: Any, _: float) -> Rows:
    u = 1 / (1 + abs(z))
    return [z * u, u * u, -np.copysign(u, z)]


def _elu(z: Any, alpha: float) -> Rows:
    below = np.where(z > 0, 0.0, z)
    value, slope = alpha * np.expm1(below), alpha * np.exp(below)
    return [
        np.where(z > 0, z, value),
        np.where(z > 0, 1.0, slope),
        np.where(z > 0, 0.0, 1.0),
    ]


def _leaky_relu(z: Any, slope: float) -> Rows:
    return [np.where(z > 0, z, slope * z), np.where(z > 0, 1.0, slope), 0.0]


def _exp(z: Any, _: float) -> Rows:
    e = np.exp(z)
    return [e, e, 1.0]


BASES: dict[str, Callable[[Any, Any], Rows]] = {
    "tanh": _tanh,
    "sigmoid": _sigmoid,
    "softplus": _softplus,
    "silu": _silu,
    "gelu": _gelu,
    "gelu_tanh": _gelu_tanh,
    "mish": _mish,
    "tanhshrink": _tanhshrink,
    "squareplus": _squareplus,
    "softsign": _softsign,
    "elu": _elu,
    "leaky_relu": _leaky_relu,
    "exp": _exp,
    "linear": lambda z, _: [z, 1.0, 0.0],
    "sin": lambda z, _: [np.sin(z), np.cos(z), -1.0],
}


@lru_cache(maxsize=256)
def recurrence(base: str, order: int, spare: int) -> list[Sum]:
    """Return the rows 2 to `order` of a base's derivatives as sums of products of rows.

    Parameters
    ----------
    base : str
        A key of BASES.
    order : int
        The highest derivative.
    spare : int
        The first auxiliary row. Rows 0 to `order` are the derivatives, row order + 1 is
        z.

    Returns
    -------
    list of (int, list of (int, int, float))
        Rows and their products (left row, right row, weight), in an order in which each
        product's rows come before it.
    """
    sums: list[Sum] = []
    equations = _equations(base, order, spare)
    for k in range(2, order + 1):
        for f, lag, weight, a, b in equations:
            sums.append((f[k], _leibniz(k - lag, weight, a, b)))
        if base == "squareplus" and k > 2:
            lower = (spare + 1, k - 2, (3 - k) * (k - 1))
            sums.append((k, [(spare, k - 1, 3 - 2 * k), lower]))
    return [(row, products) for row, products in sums if products]


def _equations(base: str, order: int, spare: int) -> list[Equation]:
    """Return the equations f^(k) = weight (a b)^(k - lag) as (f, lag, weight, a, b).

    f, a and b are families of rows. The auxiliary rows of a base begin with row `spare`
    in the order in which its function returns them. The chained bases need the higher
    derivatives of T, w and s too, whose rows follow.
    """
    f, z = range(order + 1), (order + 1, spare)  # the derivative of z is a row of ones
    more = [range(spare + 7 + n * order, spare + 7 + (n + 1) * order) for n in range(3)]
    T = [spare + 1, spare + 2, *more[0]]
    w = [spare + 3, *more[1]]
    s = [spare + 6, spare + 5, *more[2]]
    centred, shrunk = [spare, *f[1:]], [spare, spare + 1, *f[2:]]
    product, chained = (f, 0, 1, z, T), ([0, *w], 2, -2, T, T[1:])
    table: dict[str, list[Equation]] = {
        "tanh": [(f, 2, -2, f, f[1:])],
        "sigmoid": [(f, 2, -2, centred, f[1:])],
        "softsign": [(f, 2, 2, centred, f[1:])],
        "tanhshrink": [(f, 2, 2, shrunk, shrunk[1:])],
        "softplus": [(f, 2, 1, [1], [spare + 1]), (f, 3, -2, [spare, *f[2:]], f[2:])],
        "silu": [(T, 2, -2, T, T[1:]), product],
        "gelu": [(T, 2, -1, z, T[1:]), product],
        "gelu_tanh": [chained, (T, 1, 1, w, range(spare + 4, spare + 7)), product],
        "mish": [
            (s, 2, -2, s, s[1:]),
            chained,
            (T, 1, 1, w, [spare + 4, *s[1:]]),
            product,
        ],
        "squareplus": [(f, 2, 1, [spare + 1], [spare + 2])],
        "sin": [(f, 2, 1, [spare], f)],
    }
    return table.get(base, [(f, 2, 1, [spare], f[1:])])


def _leibniz(
    k: int, weight: float, a: Family, b: Family
) -> list[tuple[int, int, float]]:
    """Return the products of rows whose sum is weight (a b)^(k).

    A product is (left row, right row, weight). Derivatives of a and b beyond their rows
    vanish.
    """
    products: dict[tuple[int, int], float] = {}
    for i in range(max(0, k + 1 - len(b)), min(k + 1, len(a))):
        pair = min(a[i], b[k - i]), max(a[i], b[k - i])
        products[pair] = products.get(pair, 0) + weight * comb(k, i)
    return [(*pair, times) for pair, times in products.items()]


def spare_rows(base: str, order: int) -> int:
    """Return the number of auxiliary rows that a base and its `recurrence` use."""
    returned = len(BASES[base](np.zeros(1), 0.0)) - 2
    used = [row - order - 1 for row, _ in recurrence(base, order, order + 2)]
    return max([returned, *used])


def derivatives(base: str, z: Floats, order: int, parameter: float) -> Floats:
    """Return a base and its derivatives to `order` at z, shape (order + 1, ...)."""
    value, slope, *auxiliary = BASES[base](z, parameter)
    rows = {0: value, 1: slope, order + 1: z} | dict(enumerate(auxiliary, order + 2))
    for row, products in recurrence(base, order, order + 2):
        rows[row] = sum(
            weight * rows[left] * rows[right] for left, right, weight in products
        )
    result = np.empty((order + 1, *z.shape))
    for k in range(order + 1):
        result[k] = rows[k]
    return result
