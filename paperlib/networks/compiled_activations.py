"""The activations' derivatives in compiled loops, for `taylor.kernel`; the definitions, in NumPy, are in `activations`.

This module needs numba. A row is many neurons side by side, and the innermost loops are over them, so that the processor takes
several at a time. The exponential is written out here: the one that numba calls takes one number at a time.
"""

import math
from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

from paperlib._support import compiled
from paperlib._support.checks import Floats

__all__ = ["CODES", "activate"]

TANH, SIGMOID, SILU, SOFTPLUS, GELU, SIN, EXP, LINEAR, LEAKY_RELU, ELU, CELU = range(11)
CODES = {
    "tanh": TANH, "sigmoid": SIGMOID, "silu": SILU, "softplus": SOFTPLUS, "gelu": GELU, "sin": SIN, "exp": EXP,
    "linear": LINEAR, "relu": LEAKY_RELU, "leaky_relu": LEAKY_RELU, "elu": ELU, "celu": CELU,
}  # fmt: skip
LOG2_E, HIGH, LOW = 1 / math.log(2), 6.93147180369123816490e-01, 1.90821492927058770002e-10  # high + low = log 2
ROUNDING = 1.5 * 2.0**52  # added to a small number, it leaves the nearest integer in the last bits
FLAT = -708.0  # below it the exponential has not all its digits


def inner(function: Callable) -> Any:
    return compiled.jit(function, flags=frozenset({"contract"}), inner=True)


def _as_bits(context: Any, number: Any) -> Any:
    return types.int64(types.float64), lambda _, builder, __, given: builder.bitcast(given[0], ir.IntType(64))


def _as_number(context: Any, bits: Any) -> Any:
    return types.float64(types.int64), lambda _, builder, __, given: builder.bitcast(given[0], ir.DoubleType())


_bits: Any = intrinsic(_as_bits)
_from_bits: Any = intrinsic(_as_number)


@inner
def _expm1(x: float) -> tuple[float, float]:
    """exp(x) - 1 and exp(x) of x <= 0, each to its last digits: 2^n (1 + p), p a series at the remainder."""
    x = max(x, FLAT)
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
def _logistic(z: Floats, phi: Floats, spare: Floats, sigmoid: bool) -> None:
    """tanh(z), or (1 + tanh(z / 2)) / 2, and its derivatives: t' = w, w' = -2 t w (see `activations`)."""
    rate = 1.0 if sigmoid else 2.0
    for j in range(len(z)):
        less, e = _expm1(-rate * abs(z[j]))
        part = 1 / (1 + e)
        phi[0, j], phi[1, j] = math.copysign(less * part, z[j]), 4 * e * part * part
        if sigmoid:
            spare[j] = part if z[j] > 0 else e * part
    for k in range(1, len(phi) - 1):
        for i in range(k):
            weight = -2 * (i + 1) / (k * (k + 1))
            if i == 0:
                for j in range(len(z)):
                    phi[k + 1, j] = weight * phi[1, j] * phi[k - 1, j]
            else:
                for j in range(len(z)):
                    phi[k + 1, j] += weight * phi[i + 1, j] * phi[k - 1 - i, j]
    factor = 0.5 if sigmoid else 1.0
    for k in range(1, len(phi)):
        factor *= k * rate / 2
        if factor != 1:
            for j in range(len(z)):
                phi[k, j] *= factor
    if sigmoid:
        for j in range(len(z)):
            phi[0, j] = spare[j]


@inner
def _gaussian(z: Floats, phi: Floats) -> None:
    for j in range(len(z)):
        phi[0, j] = math.erfc(-z[j] / math.sqrt(2)) / 2
        if len(phi) > 1:
            square = z[j] * z[j] / 2
            phi[1, j] = _expm1(-square)[1] / math.sqrt(2 * math.pi) if square < -FLAT else 0.0
        for k in range(2, len(phi)):
            phi[k, j] = -z[j] * phi[k - 1, j] - (k - 2) * phi[k - 2, j]


@inner
def _integrate(z: Floats, phi: Floats) -> None:
    """The softplus, whose derivative the sigmoid is."""
    for k in range(len(phi) - 1, 0, -1):
        for j in range(len(z)):
            phi[k, j] = phi[k - 1, j]
    for j in range(len(z)):
        phi[0, j] = max(z[j], 0.0) + math.log1p(_expm1(-abs(z[j]))[1])


@inner
def _z_times(z: Floats, phi: Floats) -> None:
    for k in range(len(phi) - 1, 0, -1):
        for j in range(len(z)):
            phi[k, j] = z[j] * phi[k, j] + k * phi[k - 1, j]
    for j in range(len(z)):
        phi[0, j] *= z[j]


@inner
def _simple(code: int, parameter: float, z: Floats, phi: Floats) -> bool:
    """What is the second derivative before it, but for a factor; False at a kink."""
    rate = 1 / parameter if code == CELU else 1.0
    for j in range(len(z)):
        x, factor, bend = z[j], 0.0, 0.0
        if code == SIN:
            value, slope, factor = math.sin(x), math.cos(x), -1.0
            bend = -value
        elif code == EXP:
            value = slope = bend = math.exp(x)
            factor = 1.0
        elif code == LINEAR or x > 0:
            value, slope = x, 1.0
        elif x == 0 and len(phi) > 2:
            return False
        elif code == LEAKY_RELU:
            value, slope = parameter * x, parameter
        else:
            value, slope, factor = parameter * math.expm1(x * rate), parameter * rate * math.exp(x * rate), rate * rate
            bend = rate * slope
        phi[0, j], phi[1, j] = value, slope
        for k in range(2, len(phi)):
            phi[k, j] = bend if k == 2 else factor * phi[k - 2, j]
    return True


@inner
def activate(code: int, parameter: float, z: Floats, phi: Floats, spare: Floats) -> bool:
    """phi, phi', .. of a row, as `activations.of_layer` has them; False at a kink."""
    if code >= SIN:
        return _simple(code, parameter, z, phi)
    if code == GELU:
        _gaussian(z, phi)
    else:
        _logistic(z, phi, spare, code != TANH)
    if code == SOFTPLUS:
        _integrate(z, phi)
    if code == GELU or code == SILU:
        _z_times(z, phi)
    return True
