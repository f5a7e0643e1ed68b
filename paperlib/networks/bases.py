"""Define the base functions of activations, for NumPy and for compiled code.

Every activation has the form outer * base(inner * z), where z is the pre-activation,
outer and inner are numbers, and base is one of the functions f of this module. Some of
them have a parameter, for example the slope of leaky_relu.

A *row* is an array of the shape of z, or a number if all its entries are the same. The
function of a base in BASES takes z and the parameter, and returns a list of rows: the
value f, the slope f', and auxiliary rows. `recurrence` gives the higher derivatives as
sums of products of these rows and of lower derivatives. In compiled code, z is an
object of `taylor.compiled.activations` that records the operations, so the function of
a base may use only those NumPy functions that are defined there.

To add a base, write its function, add it to BASES, and add an equation for its higher
derivatives to the table in `_equations`. Without an item in that table, f'' is the
product of f' and the first auxiliary row, which must be constant.

The bases tanh, sigmoid, softplus and silu follow from the logistic function. With c =
tanh z or c = sigmoid(z) - 1/2, and its slope w:

    c' = w,  w' = -2 c w;  softplus' = sigmoid;  silu(z) = z sigmoid(z)

gelu follows from the normal density g and the normal distribution function Phi:

    g' = -z g,  Phi' = g;  gelu(z) = z Phi(z)

mish and gelu_tanh contain a function T of an inner function v of z. For mish, v is
softplus and T = tanh v. For gelu_tanh, v is a cubic polynomial and T = sigmoid(v) -
1/2. The slope of T with respect to v is w:

    T' = w v',  w' = -2 T T';  mish(z) = z T;  gelu_tanh(z) = z (T + 1/2)

For squareplus with the parameter 4, f = (z + r) / 2, where r^2 = z^2 + 4. Its second
derivative g has a recursion:

    f' = f / r,  g = f'' = 2 / r^3
    r^2 g^(k+1) = -(2k + 3) z g^(k) - k (k + 2) g^(k-1)

For softsign, f = z u, where u = 1 / (1 + |z|), and a = -sign(z) u:

    f' = a' = u^2,  f'' = 2 a f'

The base tanhshrink is z - tanh z. For sin, f'' = -f. The other bases, exp, linear, elu
and leaky_relu, obey f'' = b f' with a constant b, which for elu and leaky_relu may have
different values for z < 0 and z > 0.

The slope w is not computed from c or T, as 1 - c^2 for example, because for large |z|
it is far smaller than the rounding error of c.
"""

from collections.abc import Callable, Sequence
from functools import lru_cache
from math import comb, pi, sqrt
from typing import Any, TypeAlias

import numpy as np
from scipy.special import erfcx

from paperlib._support.validation import Floats

Rows: TypeAlias = list[Any]
# The number of a row, and the products whose sum the row is. A product consists of the
# numbers of its two rows, left and right, and its weight.
Sum: TypeAlias = tuple[int, list[tuple[int, int, float]]]
# The numbers of the rows of a function, its first derivative, its second derivative,
# and so on. Derivatives beyond the last row vanish.
Family: TypeAlias = Sequence[int]
# (f, lag, weight, a, b) for f^(k) = weight (a b)^(k - lag), with families f, a and b
Equation: TypeAlias = tuple[Family, int, int, Family, Family]
# gelu_tanh(z) = z sigmoid(GELU_RATE (z + GELU_CUBIC z^3))
GELU_RATE: float = 2 * sqrt(2 / pi)
GELU_CUBIC = 0.044715
# For |z| above this value, all derivatives of the sigmoid in gelu_tanh underflow to 0
GELU_FLAT = 30.0
# The bases without a second derivative at z = 0
KINKED = ("leaky_relu", "elu", "softsign")


def _logistic(z: Any) -> Rows:
    """Return s, 1 - s, s (1 - s), s - 1/2 and exp(-|z|) for the sigmoid s of z.

    Each is computed without a difference that loses digits.
    """
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
    """Return tanh and its slope."""
    _, _, w, half, _ = _logistic(2 * z)
    return [2 * half, 4 * w]


def _sigmoid(z: Any, _: float) -> Rows:
    """Return the sigmoid s, its slope, and s - 1/2."""
    s, _, w, centred, _ = _logistic(z)
    return [s, w, centred]


def _softplus(z: Any, _: float) -> Rows:
    """Return softplus, its slope s, which is the sigmoid, s - 1/2, and 1 - s."""
    s, rest, _, centred, e = _logistic(z)
    return [np.where(z > 0, z, 0.0) + np.log1p(e), s, centred, rest]


def _silu(z: Any, _: float) -> Rows:
    """Return silu, its slope, 1, and s - 1/2 and its slope, with the sigmoid s."""
    s, _, w, centred, _ = _logistic(z)
    return [z * s, z * w + s, 1.0, centred, w]


def _gelu(z: Any, _: float) -> Rows:
    """Return gelu, its slope, 1, and the normal distribution function and density."""
    e = np.exp(-0.5 * z * z)
    tail, density = e * erfcx(abs(z) * sqrt(0.5)) / 2, e / sqrt(2 * pi)
    cdf = np.where(z > 0, 1 - tail, tail)
    return [z * cdf, z * density + cdf, 1.0, cdf, density]


def _gelu_tanh(z: Any, _: float) -> Rows:
    """Return gelu_tanh, its slope, 1, T, T', w, and three derivatives of v.

    Here v is the cubic polynomial, T = sigmoid(v) - 1/2, and w is the slope of T with
    respect to v. T' and the first, second and third derivative of v are with respect
    to z.
    """
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
    """Return mish, its slope, 1, T, T', w, s, s' and s - 1/2.

    Here T = tanh v with v = softplus(z), w is the slope of T with respect to v, and s
    is the sigmoid of z, the slope of v. Primes are derivatives with respect to z.
    """
    s, _, s_slope, centred, e = _logistic(z)
    # With g = exp(z) (exp(z) + 2), tanh(log(1 + exp z)) = g / (g + 2). For z > 0,
    # numerator and denominator are divided by exp(2 z), which might overflow. `grown`
    # is the numerator, and `share` is 1 / denominator.
    grown = np.where(z > 0, 1 + 2 * e, e * (e + 2))
    share = 1 / (grown + np.where(z > 0, 2 * e * e, 2.0))
    t, root = grown * share, 2 * (1 + e) * np.where(z > 0, e, 1.0) * share
    w = root * root
    return [z * t, z * (w * s) + t, 1.0, t, w * s, w, s, s_slope, centred]


def _tanhshrink(z: Any, _: float) -> Rows:
    """Return z - tanh z, its slope, -tanh z, and the slope of -tanh z."""
    t, slope = _tanh(z, 0.0)
    # For |z| <= 1, the difference z - tanh z would lose digits. There it is computed as
    # z q / (1 + q), where q = z^2 / (3 + z^2 / (5 + ...)) is a continued fraction. The
    # loop evaluates it as q = z^2 below / above.
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
    """Return (z + r) / 2, its slope, z / r^2, 1 / r^2 and 2 / r.

    Here r is the root of z^2 + 4.
    """
    r = np.hypot(z, 2.0)
    large = (abs(z) + r) / 2
    value, over = np.where(z > 0, large, 1 / large), 1 / r
    return [value, value * over, (z * over) * over, over * over, 2 * over]


def _softsign(z: Any, _: float) -> Rows:
    """Return z u, its slope u^2, and -sign(z) u, with u = 1 / (1 + |z|)."""
    u = 1 / (1 + abs(z))
    return [z * u, u * u, -np.copysign(u, z)]


def _elu(z: Any, alpha: float) -> Rows:
    """Return elu, its slope, and f''/f', which is 1 up to z = 0 and 0 above.

    For z <= 0 the value is alpha (exp(z) - 1), otherwise it is z.
    """
    below = np.where(z > 0, 0.0, z)
    value, slope = alpha * np.expm1(below), alpha * np.exp(below)
    return [
        np.where(z > 0, z, value),
        np.where(z > 0, 1.0, slope),
        np.where(z > 0, 0.0, 1.0),
    ]


def _leaky_relu(z: Any, slope: float) -> Rows:
    """Return leaky_relu, its slope, and f''/f', which is 0.

    The value is z for z > 0, and slope * z otherwise.
    """
    return [np.where(z > 0, z, slope * z), np.where(z > 0, 1.0, slope), 0.0]


def _exp(z: Any, _: float) -> Rows:
    """Return exp, its slope, and f''/f', which is 1."""
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
    """Return the derivatives of a base from order 2 as sums of products of rows.

    Rows have numbers. Row k, for k from 0 to `order`, is the derivative of order k of
    the base, and row order + 1 is z. The auxiliary rows that the function of the base
    returns are the rows `spare`, spare + 1, .. Further auxiliary rows may follow, which
    the sums compute.

    Parameters
    ----------
    base : str
        The name of the base, a key of BASES.
    order : int
        The order of the highest derivative.
    spare : int
        The number of the first auxiliary row, at least order + 2.

    Returns
    -------
    list of (int, list of (int, int, float))
        The number of each computed row, and the products whose sum it is. A product is
        (number of the left row, number of the right row, weight). A row is computed
        before it is used in a product. For order 0 or 1 the list is empty.

    Examples
    --------
    The auxiliary row of exp, here row 5, consists of ones. The second derivative, row
    2, is the product of rows 1 and 5, and the third is the product of rows 2 and 5.

    >>> recurrence("exp", order=3, spare=5)
    [(2, [(1, 5, 1)]), (3, [(2, 5, 1)])]
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
    """Return the equations f^(k) = weight (a b)^(k - lag) of a base, for k >= lag.

    Each equation is a tuple (f, lag, weight, a, b). Here f, a and b are families: lists
    of the numbers of the rows of a function, its first derivative, and so on. Rows 0 to
    `order` are the derivatives of the base, row order + 1 is z, and the auxiliary rows
    begin with row `spare`, in the order that the function of the base returns. A base
    that is not in the table has the equation f'' = b f', where b is its first auxiliary
    row. For squareplus there is only the equation of the second derivative, and
    `recurrence` adds the products of the higher ones.

    The bases gelu, silu, mish and gelu_tanh are z T or z (T + 1/2), where T is a
    function whose higher derivatives are needed too. T of mish and gelu_tanh is a
    function of an inner function of z. Here the derivatives of w, the slope of T with
    respect to the inner function, are needed, and for mish those of the sigmoid s. The
    rows of all these derivatives follow the auxiliary rows.
    """
    # The bases that use z have a row of ones, the derivative of z, as row `spare`
    f, z = range(order + 1), (order + 1, spare)
    # Rows for the higher derivatives of T, w and s
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
    """Return the products of rows whose sum is weight (a b)^(k), by Leibniz' rule.

    a and b list the numbers of the rows of two functions and their derivatives.
    Derivatives beyond the last row vanish. A returned product is (number of the left
    row, number of the right row, weight), and left <= right.

    Examples
    --------
    If row 0 is a constant a, and rows 1 and 2 are b and b', 3 (a b)' is 3 a b':

    >>> _leibniz(1, 3, a=[0], b=[1, 2])
    [(0, 2, 3)]
    """
    products: dict[tuple[int, int], float] = {}
    for i in range(max(0, k + 1 - len(b)), min(k + 1, len(a))):
        pair = min(a[i], b[k - i]), max(a[i], b[k - i])
        products[pair] = products.get(pair, 0) + weight * comb(k, i)
    return [(*pair, times) for pair, times in products.items()]


def spare_rows(base: str, order: int) -> int:
    """Return the number of auxiliary rows that a base needs for derivatives to `order`.

    These are the rows that its function returns after value and slope, and the further
    rows that the sums of `recurrence` compute.
    """
    returned = len(BASES[base](np.zeros(1), 0.0)) - 2
    used = [row - order - 1 for row, _ in recurrence(base, order, order + 2)]
    return max([returned, *used])


def derivatives(base: str, z: Floats, order: int, parameter: float) -> Floats:
    """Return the value and the derivatives to `order` of a base at z, with NumPy.

    `base` is a key of BASES, and `parameter` the parameter of the base. z has the shape
    (...), and the result the shape (order + 1, ...).
    """
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
