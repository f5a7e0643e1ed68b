"""The base functions of activations in compiled code, for `interpreter`.

This module needs numba. The formulas are those of `networks.bases`. Here they run once, when numba compiles `activate`, on
vectors that record each operation as LLVM instructions. So each base becomes one loop over vectors of neurons. The exponential,
the logarithm, the sine and the error function are written out, because the C library takes one number at a time.
"""

from collections.abc import Sequence
from functools import cached_property, reduce
from math import factorial, inf, nan
from typing import Any

import numpy as np
from llvmlite import ir
from numba.core import cgutils
from numpy.lib.mixins import NDArrayOperatorsMixin
from numpy.polynomial import Chebyshev, Polynomial
from scipy.special import erfcx

from paperlib.networks.bases import BASES, KINKED
from paperlib.taylor.compiled.simd import (
    FLAGS,
    INDEX,
    LANES,
    VECTOR,
    everywhere,
    load,
    store,
    writes,
)

CODES = {name: code for code, name in enumerate(BASES)}
WHOLE = ir.VectorType(INDEX, LANES)
# added to a small number, it leaves the nearest integer in the last bits
ROUNDING = 1.5 * 2.0**52
LOG2 = (6.93147180369123816490e-01, 1.90821492927058770002e-10)  # log 2 as a sum
PI = (3.1415926534682512, 1.2154201012607932e-10, 4.044532497591901e-21)  # as a sum
LOWEST, HIGHEST = -708.0, 709.0  # the exponential is 0 below and infinite above
MAX_ANGLE = 1e6  # beyond it the sine is not a number here, and the caller takes NumPy's
ERFC_SCALE, ERFC_DEGREE = 3.75, 20
INSTRUCTIONS = {
    "add": "fadd",
    "subtract": "fsub",
    "multiply": "fmul",
    "divide": "fdiv",
    "negative": "fneg",
}
INTRINSICS = {"absolute": "fabs", "copysign": "copysign", "sqrt": "sqrt"}


def _integers(number: int) -> Any:
    return WHOLE([number] * LANES)


def _polynomial(coefficients: Sequence[float], x: Any) -> Any:
    """Evaluate a polynomial, the highest coefficient first."""
    return reduce(lambda total, c: total * x + c, coefficients)


class Vector(NDArrayOperatorsMixin):
    """A vector of numbers in compiled code. NumPy's functions and the operators emit instructions."""

    def __init__(self, builder: Any, value: Any) -> None:
        self.builder, self.value = builder, value

    def of(self, number: Any) -> "Vector":
        """Return a number as a constant vector, a vector as it is."""
        return (
            number
            if isinstance(number, Vector)
            else Vector(self.builder, VECTOR([float(number)] * LANES))
        )

    def emit(self, name: str, *others: Any, **options: Any) -> Any:
        """Emit the instruction of this name, a method of the builder."""
        return Vector(
            self.builder, getattr(self.builder, name)(self.value, *others, **options)
        )

    def __array_ufunc__(self, ufunc: Any, method: str, *given: Any) -> Any:
        name, (first, *others) = ufunc.__name__, [self.of(each) for each in given]
        values = [each.value for each in others]
        if name in INSTRUCTIONS:
            return first.emit(INSTRUCTIONS[name], *values, flags=FLAGS)
        if name in INTRINSICS:
            kind, called = (
                ir.FunctionType(VECTOR, [VECTOR] * len(given)),
                f"llvm.{INTRINSICS[name]}.v{LANES}f64",
            )
            function = cgutils.get_or_insert_function(self.builder.module, kind, called)
            return Vector(
                self.builder, self.builder.call(function, [first.value, *values])
            )
        return getattr(first, name)(*others)

    def __array_function__(
        self, where: Any, kinds: Any, given: Any, options: Any
    ) -> Any:
        condition, a, b = map(self.of, given)
        return condition.emit("select", a.value, b.value)

    def greater(self, other: Any) -> Any:
        return Vector(
            self.builder, self.builder.fcmp_ordered(">", self.value, other.value)
        )

    def hypot(self, other: Any) -> Any:
        return np.sqrt(self * self + other * other)

    def reduced(self, parts: Sequence[float]) -> tuple:
        """Return the rest to the nearest multiple, n times the sum of `parts`, and integers whose last bits are those of n."""
        shifted: Any = self * (1 / sum(parts)) + ROUNDING
        times = shifted - ROUNDING
        return reduce(
            lambda rest, part: rest - times * part, parts, self
        ), shifted.emit("bitcast", WHOLE)

    @cached_property
    def exponential(self) -> tuple:
        """exp(x) - 1 and exp(x), each to its last digits, as 2^n (1 + p(r)), x = n log 2 + r."""
        r, bits = self.reduced(LOG2)
        power = (
            bits.emit("shl", _integers(52))
            .emit("add", _integers(1023 << 52))
            .emit("bitcast", VECTOR)
        )
        p = r + _polynomial([1 / factorial(k) for k in range(13, 1, -1)], r) * r * r
        less, e = (
            np.where(self > LOWEST, power * p + q, low)
            for q, low in ((power - 1, -1), (power, 0))
        )
        return less, np.where(self > HIGHEST, inf, e)

    def expm1(self) -> Any:
        return self.exponential[0]

    def exp(self) -> Any:
        return self.exponential[1]

    def log1p(self) -> Any:
        """Return log(1 + x) = 2 artanh(x / (2 + x)) for 0 <= x <= 1."""
        y = self / (2 + self)
        return 2 * y * _polynomial([1 / k for k in range(33, 0, -2)], y * y)

    def erfcx(self) -> Any:
        """Return exp(x^2) erfc(x) for x >= 0."""
        share = 1 / (self + ERFC_SCALE)
        return _polynomial(_ERFCX, (self - ERFC_SCALE) * share) * share

    def sin(self, even: int = 0) -> Any:
        """Return the sine of x = n pi + r, (-1)^n times that of r, or the cosine."""
        near: Any = np.where(abs(self) > MAX_ANGLE, nan, self)  # type: ignore[call-overload]  # a Vector
        r, bits = near.reduced(PI)
        series = _polynomial(
            [(-1) ** k / factorial(2 * k + 1 - even) for k in range(11, -1, -1)], r * r
        )
        found = (series if even else r * series).emit("bitcast", WHOLE)
        return found.emit("xor", bits.emit("shl", _integers(63)).value).emit(
            "bitcast", VECTOR
        )

    def cos(self) -> Any:
        return self.sin(even=1)


def _scaled_erfcx(t: Any) -> Any:
    """Return (x + scale) erfcx(x) at t = (x - scale) / (x + scale), x up to 1e6."""
    x = ERFC_SCALE * (1 + t) / np.maximum(1 - t, 1e-5)
    return (x + ERFC_SCALE) * erfcx(x)


_ERFCX = (
    Chebyshev.interpolate(_scaled_erfcx, ERFC_DEGREE)
    .convert(kind=Polynomial)
    .coef[::-1]
    .tolist()
)


@writes
def activate(
    builder: Any,
    code: Any,
    parameter: Any,
    work: Any,
    own: Any,
    spare: Any,
    width: Any,
    length: Any,
    rows: Any,
) -> None:
    """Write value, slope and auxiliary rows of the base function with this code at z.

    Row k of the layer starts at work[own + k width], auxiliary row k at work[spare + k width], z is the layer's last row, of
    `rows`. The first `length` columns are computed, a multiple of LANES. At the kink of a base the first auxiliary row is
    NaN, and so are all derivatives from the second on.
    """
    end = builder.append_basic_block("activated")
    cases = builder.switch(code, end)
    for name, base in BASES.items():
        block = builder.append_basic_block(name)
        cases.add_case(INDEX(CODES[name]), block)
        builder.position_at_end(block)
        of_parameter = Vector(builder, everywhere(builder, parameter))
        with cgutils.for_range_slice(
            builder, INDEX(0), length, INDEX(LANES), INDEX
        ) as (j, _):

            def row(first: Any, number: Any, j: Any = j) -> Any:
                return builder.add(builder.add(first, j), builder.mul(width, number))

            z = Vector(
                builder, load(builder, work, row(own, builder.sub(rows, INDEX(1))))
            )
            value, slope, *auxiliary = base(z, of_parameter)
            if name in KINKED:
                auxiliary[0] = np.where(abs(z) > 0, auxiliary[0], nan)
            for first, given in ((own, (value, slope)), (spare, auxiliary)):
                for k, each in enumerate(given):
                    store(builder, z.of(each).value, work, row(first, INDEX(k)))
        builder.branch(end)
    builder.position_at_end(end)
