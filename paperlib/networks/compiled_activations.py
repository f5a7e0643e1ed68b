"""The activations in compiled loops, for `taylor.kernel`; the definitions, in NumPy, are in `activations`.

This module needs numba. A row is many neurons side by side, and the innermost loops are over them, so that the processor takes
several at a time. Only what is no sum of products is worked out in loops: value and slope, and some rows more, of which
`recurrence` makes the higher derivatives. The exponential is written out: the one that numba calls takes one number at a time.
"""

import math
from collections.abc import Iterator, Sequence
from math import comb
from typing import Any, TypeAlias

from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

from paperlib._support.checks import Floats
from paperlib._support.compiled import inner

__all__ = ["CODES", "activate", "recurrence"]

Sum: TypeAlias = tuple[int, Sequence[tuple[int, int, float]]]  # of products (left, right, how often), and in which row
TANH, SIGMOID, SILU, SOFTPLUS, GELU, SIN, EXP, LINEAR, LEAKY_RELU, ELU, CELU = range(11)
CODES = {
    "tanh": TANH, "sigmoid": SIGMOID, "silu": SILU, "softplus": SOFTPLUS, "gelu": GELU, "sin": SIN, "exp": EXP,
    "linear": LINEAR, "relu": LEAKY_RELU, "leaky_relu": LEAKY_RELU, "elu": ELU, "celu": CELU,
}  # fmt: skip
LOG2_E, HIGH, LOW = 1 / math.log(2), 6.93147180369123816490e-01, 1.90821492927058770002e-10  # high + low = log 2
ROUNDING = 1.5 * 2.0**52  # added to a small number, it leaves the nearest integer in the last bits
FLAT = -708.0  # below it the exponential has not all its digits


def recurrence(name: str, order: int, spare: int) -> Iterator[Sum]:
    """The rows 2 to `order` of derivatives, from what `activate` gives, z in row order + 1, and rows from `spare` on."""
    z, ones = order + 1, spare + order + 1
    if name in ("tanh", "sigmoid"):
        yield from _logistic(0, order, *((0, -2) if name == "tanh" else (spare, -1)))
    elif name == "softplus":
        if order > 1:
            yield 2, [(1, spare + 1, 1)]
        yield from _logistic(1, order, spare, -1)
    elif name in ("silu", "gelu"):  # z times what is in the rows from `spare` on
        if name == "silu":
            yield from _logistic(spare, spare + order, spare, -1)
        for k in range(2, order + 1):
            row = spare + k
            if name == "gelu":
                yield row, [(z, row - 1, -1), (ones, row - 2, 2 - k)][: k - 1]
            yield k, [(z, row, 1), (ones, row - 1, k)]
    else:
        yield from ((k, [(spare, k - (2 if name == "sin" else 1), 1)]) for k in range(2, order + 1))


def _logistic(first: int, last: int, t: int, weight: float) -> Iterator[Sum]:
    """Rows of derivatives of f, f' in row first + 1: f'' = weight t f', t' = (-2 / weight) f'."""
    for k in range(1, last - first):
        terms = [(t, first + k, weight)]
        for i in range(1, k // 2 + 1):
            terms.append((first + i, first + k - i, -2 * comb(k, i) / (2 if 2 * i == k else 1)))
        yield first + k + 1, terms


def _as_bits(context: Any, number: Any) -> Any:
    return types.int64(types.float64), lambda _, builder, __, given: builder.bitcast(given[0], ir.IntType(64))


def _as_number(context: Any, bits: Any) -> Any:
    return types.float64(types.int64), lambda _, builder, __, given: builder.bitcast(given[0], ir.DoubleType())


_bits: Any = intrinsic(_as_bits)
_from_bits: Any = intrinsic(_as_number)


@inner
def _expm1(x: float) -> tuple[float, float]:
    """exp(x) - 1 and exp(x) of x <= 0, each to its last digits: 2^n (1 + p), p a series at the remainder."""
    x = x if x > FLAT else FLAT
    shifted = x * LOG2_E + ROUNDING
    times = shifted - ROUNDING
    power = _from_bits((_bits(shifted) << 52) + (1023 << 52))
    r = (x - times * HIGH) - times * LOW
    p = 1 / 479001600 + (1 / 6227020800) * r
    p = 1 / 39916800 + p * r
    p = 1 / 3628800 + p * r
    p = 1 / 362880 + p * r
    p = 1 / 40320 + p * r
    p = 1 / 5040 + p * r
    p = 1 / 720 + p * r
    p = 1 / 120 + p * r
    p = 1 / 24 + p * r
    p = 1 / 6 + p * r
    p = 0.5 + p * r
    p = r + p * r * r
    return power * p + (power - 1), power * p + power


@inner
def activate(code: int, parameter: float, own: Floats, spare: Floats) -> bool:
    """Value and slope at the last of a layer's rows into its first two, and what `recurrence` needs; False at a kink.

    Into the spare rows go, of sigmoids, tanh(z / 2) and 1 - sigmoid; of the SiLU and the GELU the slope of what z is multiplied
    with, and ones into the last row; of all others the second derivative over what is the first or, of the sine, the value.
    """
    z, phi, slope, a, b, ones = own[len(own) - 1], own[0], own[1], spare[0], spare[1], spare[len(spare) - 1]
    if code == TANH:
        for j in range(len(z)):
            less, e = _expm1(-2 * abs(z[j]))
            part = 1 / (1 + e)
            phi[j], slope[j] = math.copysign(less * part, z[j]), 4 * e * part * part
    elif code <= SOFTPLUS:
        for j in range(len(z)):
            less, e = _expm1(-abs(z[j]))
            part = 1 / (1 + e)
            of_less = e * part
            a[j], phi[j] = math.copysign(less * part, z[j]), part if z[j] > 0 else of_less
            slope[j], b[j] = of_less * part, of_less if z[j] > 0 else part
        for j in range(len(z) if code == SILU else 0):
            b[j], ones[j] = slope[j], 1.0
            phi[j], slope[j] = z[j] * phi[j], z[j] * slope[j] + phi[j]
        for j in range(len(z) if code == SOFTPLUS else 0):
            slope[j] = phi[j]
            above = z[j] > 0
            phi[j] = (z[j] if above else 0.0) + math.log1p(b[j] / slope[j] if above else slope[j] / b[j])
    elif code == GELU:
        for j in range(len(z)):
            part, square = math.erfc(-z[j] / math.sqrt(2)) / 2, z[j] * z[j] / 2
            b[j] = _expm1(-square)[1] / math.sqrt(2 * math.pi) if square < -FLAT else 0.0
            phi[j], slope[j], ones[j] = z[j] * part, z[j] * b[j] + part, 1.0
    else:
        rate = 1 / parameter if code == CELU else 1.0
        for j in range(len(z)):
            x, a[j] = z[j], 0.0
            if code == SIN:
                phi[j], slope[j], a[j] = math.sin(x), math.cos(x), -1.0
            elif code == EXP:
                phi[j] = slope[j] = math.exp(x)
                a[j] = 1.0
            elif code == LINEAR or x > 0:
                phi[j], slope[j] = x, 1.0
            elif x == 0 and len(own) > 3:
                return False
            elif code == LEAKY_RELU:
                phi[j], slope[j] = parameter * x, parameter
            else:
                phi[j], slope[j], a[j] = parameter * math.expm1(x * rate), parameter * rate * math.exp(x * rate), rate
    return True
