"""The base functions of activations in compiled code, for `interpreter`.

This module needs numba. An activation is outer * base(inner * z). Each base is defined
once, as a Python function in `networks.bases.BASES`, for NumPy and for compiled code.
When numba compiles `activate`, each base is called once with an argument of the class
`Vector`. Every operation of the base on this argument emits LLVM instructions instead
of computing numbers. So each base becomes one compiled loop over vectors of neurons. A
vector is LANES float64 numbers, which the processor computes at a time.

The methods of `Vector` compute exp, log, sin and erfcx from polynomials, because the
functions of the C library take one number at a time.
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
    vectors,
    writes,
)

CODES = {name: code for code, name in enumerate(BASES)}
INTEGERS = ir.VectorType(INDEX, LANES)
# x + ROUNDING has the integer nearest to x in its last bits, for |x| < 2^51.
ROUNDING = 1.5 * 2.0**52
# log 2 and pi as sums of numbers, so that n log 2 and n pi are subtracted exactly
LOG2 = (6.93147180369123816490e-01, 1.90821492927058770002e-10)
PI = (3.1415926534682512, 1.2154201012607932e-10, 4.044532497591901e-21)
LOWEST, HIGHEST = -708.0, 709.0  # exp is set to 0 up to LOWEST, to inf above HIGHEST
MAX_ANGLE = 1e6  # for larger |x| the sine is NaN, so that the caller uses NumPy
# erfcx(x) is a polynomial of ERFC_DEGREE in (x - ERFC_SCALE) / (x + ERFC_SCALE),
# divided by x + ERFC_SCALE
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
    """Return a constant vector whose lanes all hold one integer."""
    return INTEGERS([number] * LANES)


def _polynomial(coefficients: Sequence[float], x: Any) -> Any:
    """Evaluate a polynomial at x. `coefficients` begins with the highest power.

    Examples
    --------
    >>> _polynomial([1.0, 0.0, 5.0], 2.0)    # x^2 + 5
    9.0
    """
    return reduce(lambda total, c: total * x + c, coefficients)


class Vector(NDArrayOperatorsMixin):
    """A vector of LANES float64 numbers in code that is being compiled.

    An operator or a NumPy function with vectors as arguments emits LLVM instructions,
    and returns another Vector. Supported are the functions in INSTRUCTIONS and
    INTRINSICS, np.where, and those with a method of the same name below.

    Attributes
    ----------
    builder : llvmlite.ir.IRBuilder
        The object that emits the instructions.
    value : llvmlite.ir.Value
        The vector, as a value of the emitted code.
    """

    def __init__(self, builder: Any, value: Any) -> None:
        self.builder = builder
        self.value = value

    def vector(self, number: Any) -> "Vector":
        """Convert a number to a constant vector. Return a vector unchanged."""
        if isinstance(number, Vector):
            return number
        return Vector(self.builder, VECTOR([float(number)] * LANES))

    def emit(self, name: str, *others: Any, **options: Any) -> Any:
        """Emit the instruction that is the builder's method `name`; return its result.

        The first operand is this vector. `others` are LLVM values.
        """
        instruction = getattr(self.builder, name)
        return Vector(self.builder, instruction(self.value, *others, **options))

    def __array_ufunc__(self, ufunc: Any, method: str, *arguments: Any) -> Any:
        name = ufunc.__name__
        first, *others = map(self.vector, arguments)
        values = [other.value for other in others]
        if name in INSTRUCTIONS:
            return first.emit(INSTRUCTIONS[name], *values, flags=FLAGS)
        if name in INTRINSICS:
            kind = ir.FunctionType(VECTOR, [VECTOR] * len(arguments))
            called = f"llvm.{INTRINSICS[name]}.v{LANES}f64"
            module = self.builder.module
            function = cgutils.get_or_insert_function(module, kind, called)
            result = self.builder.call(function, [first.value, *values])
            return Vector(self.builder, result)
        return getattr(first, name)(*others)

    def __array_function__(
        self, function: Any, kinds: Any, arguments: Any, options: Any
    ) -> Any:
        """Emit np.where(condition, a, b).

        NumPy calls this method for functions that are not ufuncs. The bases use only
        np.where.
        """
        condition, a, b = map(self.vector, arguments)
        return condition.emit("select", a.value, b.value)

    def greater(self, other: Any) -> Any:
        """Return a vector of the comparisons self > other, false where one is NaN."""
        result = self.builder.fcmp_ordered(">", self.value, other.value)
        return Vector(self.builder, result)

    def hypot(self, other: Any) -> Any:
        """Return sqrt(x^2 + y^2), which is inf if a square overflows."""
        return np.sqrt(self * self + other * other)

    def reduced(self, parts: Sequence[float]) -> tuple:
        """Return x - n p, where p = sum(parts) and n is the integer nearest to x / p.

        The second result is a vector of int64 whose last bits are those of n.
        """
        shifted: Any = self * (1 / sum(parts)) + ROUNDING
        n = shifted - ROUNDING
        rest = reduce(lambda rest, part: rest - n * part, parts, self)
        return rest, shifted.emit("bitcast", INTEGERS)

    @cached_property
    def exponential(self) -> tuple:
        """exp(x) - 1 and exp(x), each with a relative error of a few roundings.

        For x <= LOWEST they are -1 and 0. For x > HIGHEST the second is inf, and the
        first is not meaningful.

        With x = n log 2 + r and a polynomial p(r), exp(x) is 2^n (1 + p(r)).
        """
        r, bits = self.reduced(LOG2)
        # 2^n has the exponent bits n + 1023 and no other bits.
        exponent = bits.emit("shl", _integers(52)).emit("add", _integers(1023 << 52))
        power = exponent.emit("bitcast", VECTOR)
        p = r + _polynomial([1 / factorial(k) for k in range(13, 1, -1)], r) * r * r
        expm1 = np.where(self > LOWEST, power * p + (power - 1), -1)
        exp = np.where(self > LOWEST, power * p + power, 0)
        return expm1, np.where(self > HIGHEST, inf, exp)

    def expm1(self) -> Any:
        """Return exp(x) - 1 for x <= HIGHEST. It is -1 for x <= LOWEST."""
        return self.exponential[0]

    def exp(self) -> Any:
        """Return exp(x), 0 for x <= LOWEST and inf for x > HIGHEST."""
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
        """Return the sine, or the cosine if `even` is 1. It is NaN for |x| > MAX_ANGLE.

        With x = n pi + r, sin(x) = (-1)^n sin(r) and cos(x) = (-1)^n cos(r).
        """
        z: Any = self
        near: Any = np.where(abs(z) > MAX_ANGLE, nan, z)
        r, bits = near.reduced(PI)
        terms = range(11, -1, -1)
        series = _polynomial(
            [(-1) ** k / factorial(2 * k + 1 - even) for k in terms], r * r
        )
        sine = series if even else r * series
        sign = bits.emit("shl", _integers(63))
        return (
            sine.emit("bitcast", INTEGERS)
            .emit("xor", sign.value)
            .emit("bitcast", VECTOR)
        )

    def cos(self) -> Any:
        """Return the cosine."""
        return self.sin(even=1)


def _scaled_erfcx(t: Any) -> Any:
    """Return (x + s) erfcx(x) for t = (x - s) / (x + s), where s is ERFC_SCALE.

    x >= 0 is computed from t, -1 <= t <= 1. Near t = 1, x is limited to about 1e6.
    """
    x = ERFC_SCALE * (1 + t) / np.maximum(1 - t, 1e-5)
    return (x + ERFC_SCALE) * erfcx(x)


# The coefficients of the polynomial in t that approximates `_scaled_erfcx`, the highest
# power first
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
    """Compute a base function, its slope and its auxiliary rows from a layer's z.

    The higher derivatives are later computed from the auxiliary rows. The base is
    called with z and writes its value to row 0, its slope to row 1, and its auxiliary
    rows. Row k begins at work[own + k width], auxiliary row k at work[spare + k width].
    If the base has a kink, its first auxiliary row is set to NaN where z = 0, so that
    all derivatives from the second on become NaN.

    Parameters
    ----------
    builder : llvmlite.ir.IRBuilder
        The object that emits the instructions. The compiled function lacks this
        argument.
    code : int
        The number of the base in CODES.
    parameter : float
        The parameter of the base.
    work : array of float64
        The array that holds the rows.
    own, spare : int
        The positions of the first row and of the first auxiliary row.
    width : int
        The distance from one row to the next.
    length : int
        The number of columns to compute, a multiple of LANES.
    rows : int
        Row `rows` - 1 holds z.
    """
    end = builder.append_basic_block("activated")
    cases = builder.switch(code, end)
    for name, base in BASES.items():
        block = builder.append_basic_block(name)
        cases.add_case(INDEX(CODES[name]), block)
        builder.position_at_end(block)
        parameters = Vector(builder, everywhere(builder, parameter))
        with vectors(builder, length) as (j, _):

            def place(first: Any, number: Any, j: Any = j) -> Any:
                return builder.add(builder.add(first, j), builder.mul(width, number))

            last = builder.sub(rows, INDEX(1))
            z = Vector(builder, load(builder, work, place(own, last)))
            value, slope, *auxiliary = base(z, parameters)
            if name in KINKED:
                auxiliary[0] = np.where(abs(z) > 0, auxiliary[0], nan)
            for first, results in ((own, (value, slope)), (spare, auxiliary)):
                for k, result in enumerate(results):
                    vector = z.vector(result).value
                    store(builder, vector, work, place(first, INDEX(k)))
        builder.branch(end)
    builder.position_at_end(end)
