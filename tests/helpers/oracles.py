"""Compute reference values of the physics and of activations.

The functions are slow and simple, and use other formulas than the package.
"""

import re
from functools import cache

import mpmath
import numpy as np

mpmath.mp.dps = 40

ACTIVATIONS = {
    "tanh": mpmath.tanh,
    "sigmoid": lambda z: 1 / (1 + mpmath.exp(-z)),
    "softplus": lambda z: mpmath.log1p(mpmath.exp(z)),
    "gelu": lambda z: z * mpmath.ncdf(z),
    "gelu_tanh": lambda z: (
        z
        * (
            1
            + mpmath.tanh(
                mpmath.sqrt(2 / mpmath.pi) * (z + mpmath.mpf("0.044715") * z**3)
            )
        )
        / 2
    ),
    "silu": lambda z: z / (1 + mpmath.exp(-z)),
    "sin": mpmath.sin,
    "exp": mpmath.exp,
    "linear": lambda z: z,
    "mish": lambda z: z * mpmath.tanh(mpmath.log1p(mpmath.exp(z))),
    "log_sigmoid": lambda z: -mpmath.log1p(mpmath.exp(-z)),
    "tanhshrink": lambda z: z - mpmath.tanh(z),
    "squareplus": lambda z: (z + mpmath.sqrt(z * z + 4)) / 2,
    "relu": lambda z: max(z, 0) + 0 * z,
    "elu": lambda z: z if z > 0 else mpmath.expm1(z),
    "celu": lambda z: z if z > 0 else mpmath.expm1(z),
    "leaky_relu": lambda z: z if z > 0 else mpmath.mpf(0.01) * z,
    "selu": lambda z: (
        mpmath.mpf(1.0507009873554805)
        * (z if z > 0 else mpmath.mpf(1.6732632423543772) * mpmath.expm1(z))
    ),
    "softsign": lambda z: z / (1 + abs(z)),
    "leaky_relu(-0.2)": lambda z: z if z > 0 else mpmath.mpf(-0.2) * z,
    "elu(0.5)": lambda z: z if z > 0 else mpmath.expm1(z) / 2,
    "celu(2.0)": lambda z: z if z > 0 else 2 * mpmath.expm1(z / 2),
    "softplus(3.0)": lambda z: mpmath.log1p(mpmath.exp(3 * z)) / 3,
    "squareplus(0.25)": lambda z: (z + mpmath.sqrt(z * z + mpmath.mpf(0.25))) / 2,
}


POINTS = tuple(
    sign * size for size in (1e-8, 0.1, 0.6, 0.99, 1.01, 3, 9, 14) for sign in (1, -1)
)


@cache
def activation_derivatives(name):
    """Return phi, .., phi^(8) of an activation at POINTS, shape (9, points).

    The working precision covers the difference between the two sides of the function at 14.
    """
    with mpmath.workdps(300):
        rows = [
            mpmath.taylor(ACTIVATIONS[name], mpmath.mpf(point), 8) for point in POINTS
        ]
        return np.array(
            [
                [float(c * mpmath.factorial(k)) for k, c in enumerate(row)]
                for row in rows
            ]
        ).T


def scattering_length_by_numpy(U):
    """Return a_0 of attractive potentials U, shape (n, d), by one NumPy pass over (u, u') for each shell.

    It is the reference for speed and accuracy.
    """
    n, d = U.shape
    h = 1 / d
    u, slope = np.zeros(n), np.ones(n)
    for i in range(d):
        k = np.sqrt(U[:, i])
        c, s = np.cos(k * h), np.sin(k * h)
        u, slope = c * u + s / k * slope, -k * s * u + c * slope
    return 1 - u / slope


def solution(U):
    """Return u(1), u'(1) and the integrals of u^2 over the shells of one potential, shape (d,), with 40 digits."""
    h = mpmath.mpf(1) / len(U)
    u, slope, squares = mpmath.mpf(0), mpmath.mpf(1), []
    for value in U:
        value = mpmath.mpf(value)
        if value == 0:
            squares.append(h * (u**2 + u * slope * h + slope**2 * h**2 / 3))
            u += h * slope
            continue
        k = mpmath.sqrt(value)
        c, s = mpmath.re(mpmath.cos(k * h)), mpmath.re(mpmath.sin(k * h) / k)
        new_u, new_slope = c * u + s * slope, -value * s * u + c * slope
        # From (u u')' = u'^2 - U u^2 and the constant u'^2 + U u^2.
        squares.append(
            ((slope**2 + value * u**2) * h - (new_u * new_slope - u * slope))
            / (2 * value)
        )
        u, slope = new_u, new_slope
    return u, slope, squares


def scattering_length(U):
    """Return a_0 of one potential with 40 digits."""
    u, slope, _ = solution(U)
    return 1 - u / slope


def scattering_length_gradient(U):
    """Return the gradient of a_0 with 40 digits, by the integrals of u^2 over the shells."""
    _, slope, squares = solution(U)
    return [-square / slope**2 for square in squares]


def effective_range(U):
    """Return the effective range with 40 digits."""
    u, slope, squares = solution(U)
    a = 1 - u / slope
    return 2 * (1 - 1 / a + 1 / (3 * a**2) - sum(squares) / (a * slope) ** 2)


def born_terms(U, order):
    """Return the terms of the Born series of orders 1 to `order` with 40 digits.

    u and u' are computed as power series in the coupling, and the terms follow from 1 - u/u'.
    """
    h = mpmath.mpf(1) / len(U)

    def product(a, b):
        return [
            mpmath.fsum(a[j] * b[k - j] for j in range(k + 1)) for k in range(order + 1)
        ]

    u = [mpmath.mpf(0)] * (order + 1)
    slope = [mpmath.mpf(1)] + [mpmath.mpf(0)] * order
    for value in U:
        value = mpmath.mpf(float(value))
        x = value * h**2
        c = [(-x) ** m / mpmath.factorial(2 * m) for m in range(order + 1)]
        s = [h * (-x) ** m / mpmath.factorial(2 * m + 1) for m in range(order + 1)]
        pull = [mpmath.mpf(0)] + [-value * s[m] for m in range(order)]
        u, slope = (
            [a + b for a, b in zip(product(c, u), product(s, slope), strict=True)],
            [a + b for a, b in zip(product(pull, u), product(c, slope), strict=True)],
        )
    a = []
    for k in range(order + 1):
        a.append(
            slope[k] - u[k] - mpmath.fsum(slope[j] * a[k - j] for j in range(1, k + 1))
        )
    return a[1:]


def relative_error(value, exact):
    """Return |value/exact - 1|, with `exact` given with 40 digits."""
    return float(abs((mpmath.mpf(float(value)) - exact) / exact))


def refusal(message):
    """Return the expected type of an error with this message.

    It is TypeError if the message is about a type, and ValueError if it is about a value.
    """
    kinds = r"dtype|given|callable|a real number|(steps|frequency|order|\\?\]) = 1\.5|'wide'|(activation|seed) = None|= (3|1\.0): must be a s"
    return TypeError if re.search(kinds, message) else ValueError
