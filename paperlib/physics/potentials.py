"""Potentials in the one convention of the package, and samples of them to learn from.

A potential of range rho is written U(r) = -2 mu rho^2 V(rho r) / hbar^2 with r in units of rho: U > 0
attracts, U vanishes past r = 1. It is cut into d shells of equal thickness, U_i on ((i-1)/d, i/d].
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
from scipy.constants import physical_constants
from scipy.integrate import quad

from paperlib._support import checks
from paperlib._support.checks import Floats

__all__ = [
    "HBAR_C", "discretize", "exponential", "from_physical", "gaussian", "poschl_teller", "sample", "square_well",
    "woods_saxon", "yukawa",
]  # fmt: skip

HBAR_C = physical_constants["reduced Planck constant times c in MeV fm"][0]
"""hbar c in MeV fm (CODATA)."""

MOST_SHELLS = 1_000_000
SAMPLE_KINDS = ("attractive", "signed", "sparse")


def discretize(function: Callable[[float], float], d: int) -> Floats:
    r"""Average a potential over d spherical shells; shape (d,).

    .. math:: U_i = \int_{(i-1)/d}^{i/d} U(r)\, r^2 dr \Big/ \int_{(i-1)/d}^{i/d} r^2 dr

    The average is over the shell's volume. It leaves the first Born term, :math:`-\int_0^1 r^2 U dr`, exactly as it
    was, and it exists for potentials that grow like 1/r at the origin. What is no function of one real number is a
    TypeError, an average that is not finite a ValueError.

    Parameters
    ----------
    function : callable
        U(r) at one r in (0, 1], dimensionless: one real number.
    d : int
        Number of shells, from 1 to 1,000,000.

    Examples
    --------
    >>> discretize(lambda r: 2.0, 3).round(12)
    array([2., 2., 2.])
    >>> discretize(lambda r: 1 / r, 2).round(12)
    array([3.        , 1.28571429])
    """
    return _discretized("function", function, "U", 1.0, d)


def _discretized(name: str, function: Callable[[float], float], letter: str, rho: float, d: int) -> Floats:
    """The averages of function(rho r); `name` and `letter` say what it is, for messages."""
    if not callable(function):
        raise TypeError(f"{name} = {checks.brief(function)}: must be a callable {letter}(r)")
    try:
        float(function(rho))
    except (TypeError, ValueError) as error:
        raise TypeError(f"{name}: at r = {rho:g} it gives no real number ({checks.brief(error)})") from error
    averages, shell = _averages(lambda r: function(rho * r), d)
    if shell is not None:
        raise ValueError(
            f"{name}: its average over shell {shell + 1} of {d} does not converge; {letter}(r) r^2 must be integrable"
        )
    return averages


def _averages(function: Callable[[float], float], d: int) -> tuple[Floats, int | None]:
    """The averages over d shells, and the first shell whose average does not converge, or None."""
    d = checks.integer("d", d, minimum=1, limit=MOST_SHELLS)
    edges = np.arange(d + 1) / d
    with np.errstate(all="ignore"):
        # full_output keeps quad from warning: what does not converge is refused below, by shell.
        results = [
            quad(lambda r: function(r) * r * r, left, right, epsabs=0, epsrel=1e-11, full_output=1)
            for left, right in zip(edges[:-1], edges[1:], strict=True)
        ]
    integrals, errors = np.transpose([result[:2] for result in results])
    divergent = np.array([any("divergent" in message for message in result[3:4]) for result in results])
    wrong = divergent | ~np.isfinite(integrals) | ~(errors <= 1e-6 * np.abs(integrals) + 1e-12 / d)
    return integrals * 3 / np.diff(edges**3), int(np.argmax(wrong)) if wrong.any() else None


def _shape(depth: float, d: int, function: Callable[..., float], **lengths: float) -> Floats:
    """depth times the averages of a shape, a function of r and of positive `lengths`."""
    depth = checks.number("depth", depth)
    lengths = {name: checks.number(name, value, above=0) for name, value in lengths.items()}
    averages, shell = _averages(partial(function, **lengths), d)
    with np.errstate(over="ignore", invalid="ignore"):
        U = depth * averages
    if shell is not None or not np.isfinite(U).all():
        given = ", ".join(f"{name} = {value}" for name, value in {"depth": depth, **lengths}.items())
        raise ValueError(f"{given}: the average over a shell is not finite, or not to be integrated; take milder ones")
    return U


def square_well(depth: float, d: int, *, radius: float = 1.0) -> Floats:
    """U = depth for r <= radius, in units of the range; shape (d,).

    Examples
    --------
    >>> square_well(2.0, 4)
    array([2., 2., 2., 2.])
    >>> square_well(2.0, 4, radius=0.5)
    array([2., 2., 0., 0.])
    """
    depth, radius = checks.number("depth", depth), checks.number("radius", radius, above=0)
    d = checks.integer("d", d, minimum=1, limit=MOST_SHELLS)
    # The volume average of a step is the filled part of each shell's volume: no quadrature needed.
    edges = np.arange(d + 1) / d
    return depth * np.diff(np.minimum(edges, radius) ** 3) / np.diff(edges**3)


def gaussian(depth: float, d: int, *, width: float = 0.4) -> Floats:
    """U(r) = depth exp(-(r/width)^2), cut off at the range; shape (d,).

    Examples
    --------
    >>> gaussian(1.0, 3).round(3)
    array([0.67 , 0.188, 0.016])
    """
    return _shape(depth, d, lambda r, width: np.exp(-np.square(r / width)), width=width)


def exponential(depth: float, d: int, *, width: float = 0.25) -> Floats:
    """U(r) = depth exp(-r/width), cut off at the range; shape (d,).

    Examples
    --------
    >>> exponential(1.0, 3).round(3)
    array([0.381, 0.126, 0.035])
    """
    return _shape(depth, d, lambda r, width: np.exp(-r / width), width=width)


def yukawa(depth: float, d: int, *, width: float = 0.5) -> Floats:
    """U(r) = depth exp(-r/width) / (r/width), cut off at the range; shape (d,).

    Examples
    --------
    >>> yukawa(1.0, 3).round(3)
    array([1.461, 0.348, 0.111])
    """
    return _shape(depth, d, lambda r, width: np.exp(-r / width) * width / r, width=width)


def woods_saxon(depth: float, d: int, *, radius: float = 0.6, diffuseness: float = 0.1) -> Floats:
    """U(r) = depth / (1 + exp((r - radius)/diffuseness)), cut off at the range; shape (d,).

    Examples
    --------
    >>> woods_saxon(1.0, 3).round(3)
    array([0.966, 0.628, 0.099])
    """
    lengths = {"radius": radius, "diffuseness": diffuseness}
    return _shape(depth, d, lambda r, radius, diffuseness: 1 / (1 + np.exp((r - radius) / diffuseness)), **lengths)


def poschl_teller(depth: float, d: int, *, width: float = 0.4) -> Floats:
    """U(r) = depth / cosh(r/width)^2, cut off at the range; shape (d,).

    Examples
    --------
    >>> poschl_teller(1.0, 3).round(3)
    array([0.689, 0.256, 0.06 ])
    """
    return _shape(depth, d, lambda r, width: np.cosh(r / width) ** -2, width=width)


def from_physical(function_MeV: Callable[[float], float], reduced_mass_MeV: float, range_fm: float, d: int) -> Floats:
    r"""A potential given in MeV and fm, made dimensionless; shape (d,).

    .. math:: U(r) = -2 \mu c^2 \rho^2 V(\rho r) / (\hbar c)^2

    Parameters
    ----------
    function_MeV : callable
        V(r) in MeV at r in fm; negative attracts.
    reduced_mass_MeV : float
        mu c^2 in MeV, positive.
    range_fm : float
        rho in fm, positive; V is taken to vanish beyond it. A scattering length of the result is in units of rho.
    d : int
        Number of shells.

    Examples
    --------
    >>> from_physical(lambda r: -14.0, reduced_mass_MeV=469.46, range_fm=2.5, d=2).round(4)
    array([2.1099, 2.1099])
    """
    mass = checks.number("reduced_mass_MeV", reduced_mass_MeV, above=0)
    rho = checks.number("range_fm", range_fm, above=0)
    with np.errstate(over="ignore", invalid="ignore"):
        U = -2 * mass * (rho * rho) / HBAR_C**2 * _discretized("function_MeV", function_MeV, "V", rho, d)
    return checks.representable("reduced_mass_MeV, range_fm", U, "take smaller ones")


def sample(
    n: int, d: int, *, depth: float, kind: str = "attractive", smallest: float = 0.2, seed: int | Sequence[int]
) -> Floats:
    r"""Draw random potentials, shape (n, d) (our protocol; the paper's is not public to us).

    .. math:: U_i = \text{depth} \cdot s \cdot v_i, \qquad s \sim \mathrm{uniform}[\text{smallest}, 1]

    with one size s a potential and v_i, one a shell, uniform on [0, 1] (attractive) or [-1, 1] (signed). Sparse
    potentials attract, and each of their shells is empty with a probability drawn, one a potential, from uniform[0, 1].

    Parameters
    ----------
    n, d : int
        Number of potentials and of shells.
    depth : float
        Largest ``|U_i|``, positive.
    kind : {"attractive", "signed", "sparse"}
    smallest : float
        Smallest size, from 0 to 1: at 0 the sizes are graded down to nothing.
    seed : int or sequence of int
        Seed of a PCG64 generator: the same seed draws the same potentials on every machine.

    Examples
    --------
    >>> U = sample(1000, 64, depth=2.0, seed=1)
    >>> U.shape, bool(U.min() >= 0), bool(U.max() <= 2.0)
    ((1000, 64), True, True)
    >>> bool((U == sample(1000, 64, depth=2.0, seed=1)).all())
    True
    """
    n, d = checks.integer("n", n, minimum=1), checks.integer("d", d, minimum=1)
    checks.memory("n, d", 24 * n * d, "draw fewer at a time")
    depth = checks.number("depth", depth, above=0)
    smallest = checks.number("smallest", smallest, minimum=0)
    if smallest > 1:
        raise ValueError(f"smallest = {smallest}: must be from 0 to 1")
    checks.choice("kind", kind, SAMPLE_KINDS)
    random = _generator(seed)
    sizes = random.uniform(smallest, 1.0, size=(n, 1))
    U = random.random((n, d))
    if kind == "signed":
        U *= 2
        U -= 1
    if kind == "sparse":
        U *= random.random((n, d)) < random.random((n, 1))
    U *= depth * sizes
    return U


def _generator(seed: Any) -> np.random.Generator:
    message = f"seed = {checks.brief(seed)}: must be an integer >= 0 or a sequence of them"
    if seed is None:  # NumPy would take another seed each time
        raise TypeError(message)
    try:
        return np.random.Generator(np.random.PCG64(seed))
    except ValueError:
        raise ValueError(message) from None
    except Exception:  # NumPy's own words, or those of a stranger's __array__
        raise TypeError(message) from None
