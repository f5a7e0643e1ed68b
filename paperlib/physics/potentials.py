"""Define dimensionless potentials in one convention, and draw random ones for training.

A potential V of range rho is written U(r) = -2 mu rho^2 V(rho r) / hbar^2, with r in
units of rho. U > 0 attracts, and U vanishes for r > 1. The range is divided into d
shells of equal thickness. U_i is the value on ((i-1)/d, i/d].
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.constants import physical_constants
from scipy.integrate import quad

from paperlib._support import validation
from paperlib._support.validation import Floats

__all__ = [
    "HBAR_C",
    "discretize",
    "exponential",
    "families",
    "from_physical",
    "gaussian",
    "poschl_teller",
    "sample",
    "shapes",
    "square_well",
    "woods_saxon",
    "yukawa",
]

HBAR_C = physical_constants["reduced Planck constant times c in MeV fm"][0]
"""The product hbar c in MeV fm (CODATA)."""

MAX_SHELLS = 1_000_000
SAMPLE_KINDS = ("attractive", "signed", "sparse")


def discretize(function: Callable[[float], float], d: int) -> Floats:
    r"""Average a potential over d spherical shells.

    Parameters
    ----------
    function : callable
        Dimensionless potential U(r). It is called with one number r in (0, 1] and must
        return one real number.
    d : int
        Number of shells, from 1 to 1,000,000.

    Returns
    -------
    ndarray of float64, shape (d,)
        The dimensionless averages over the shells.

    Raises
    ------
    TypeError
        If `function` is not callable or does not return a real number, or `d` is not an
        integer.
    ValueError
        If `d` is out of range, or if the average over a shell is not finite or does not
        converge.

    Notes
    -----
    .. math:: U_i = \int_{(i-1)/d}^{i/d} U(r)\, r^2 dr \Big/ \int_{(i-1)/d}^{i/d} r^2 dr

    The average is taken over the volume of the shell. This leaves the first Born term,
    :math:`-\int_0^1 r^2 U dr`, exactly unchanged. The average also exists for
    potentials that grow like 1/r at the origin.

    Examples
    --------
    >>> discretize(lambda r: 2.0, 3).round(12)
    array([2., 2., 2.])
    >>> discretize(lambda r: 1 / r, 2).round(12)
    array([3.        , 1.28571429])
    """
    return _discretized("function", function, "U", 1.0, d)


def _discretized(
    name: str, function: Callable[[float], float], letter: str, rho: float, d: int
) -> Floats:
    """Return the averages of function(rho r) over d shells, shape (d,).

    The shells divide 0 <= r <= 1, and the averages are weighted with r^2. `name` is the
    name of the argument `function` in messages, and `letter` that of the potential, U
    or V. Raise a TypeError if `function` is not callable, or if function(rho) raises a
    TypeError or a ValueError or is not a real number. Raise a ValueError if an average
    is not finite or does not converge, or if `d` is not from 1 to MAX_SHELLS.
    """
    if not callable(function):
        raise TypeError(
            f"{name} = {validation.brief(function)}: must be a callable {letter}(r)"
        )
    try:
        value = function(rho)
    except (TypeError, ValueError) as error:
        raise TypeError(
            f"{name}: raised {validation.brief(error)} at r = {rho:g}; must return a "
            "real number"
        ) from error
    try:
        float(value)
    except (TypeError, ValueError):
        raise TypeError(
            f"{name}: returned {validation.brief(value)} at r = {rho:g}; must return a "
            "real number"
        ) from None
    averages, converged = _averages(lambda r: function(rho * r), d)
    if not converged.all():
        raise ValueError(
            f"{name}: the average over shell {np.argmin(converged) + 1} of {d} does "
            f"not converge; the integral of {letter}(r) r^2 must exist"
        )
    return averages


def _averages(
    function: Callable[[float], float], d: int
) -> tuple[Floats, NDArray[np.bool_]]:
    """Return the averages of function(r) over d shells, and whether each converged.

    The averages are weighted with r^2: each is the integral of function(r) r^2 over the
    shell, divided by the integral of r^2 over the shell. Both arrays have shape (d,).
    The function receives r in units of the range. An average has converged if it is
    finite, `scipy.integrate.quad` does not report a divergent integral, and its
    estimate of the integral's error is at most 1e-6 times the integral plus 1e-12 / d.
    Raise a TypeError or a ValueError if `d` is not an
    integer from 1 to MAX_SHELLS.
    """
    d = validation.integer("d", d, minimum=1, limit=MAX_SHELLS)
    edges = np.arange(d + 1) / d
    integrals, errors = np.empty(d), np.empty(d)
    divergent = np.empty(d, dtype=bool)
    with np.errstate(all="ignore"):
        for i in range(d):
            # full_output suppresses quad's warnings and returns their text
            integrals[i], errors[i], _, *messages = quad(
                lambda r: function(r) * r * r,
                *edges[i : i + 2],
                epsabs=0,
                epsrel=1e-11,
                full_output=1,
            )
            divergent[i] = any("divergent" in text for text in messages[:1])
    accurate = errors <= 1e-6 * np.abs(integrals) + 1e-12 / d
    converged = np.isfinite(integrals) & accurate & ~divergent
    return integrals * 3 / np.diff(edges**3), converged


def _shape(
    depth: float, d: int, function: Callable[..., float], **lengths: float
) -> Floats:
    """Return `depth` times the shell averages of function(r, **lengths), shape (d,).

    The averages are weighted with r^2, and r and the lengths are in units of the range.
    Raise a TypeError or a ValueError if `depth` is not a finite number, a length is not
    a finite positive number, or `d` is not an integer from 1 to MAX_SHELLS. Raise a
    ValueError if an average does not converge, or the result is not finite.
    """
    depth = validation.number("depth", depth)
    for name, value in lengths.items():
        lengths[name] = validation.number(name, value, above=0)
    averages, converged = _averages(partial(function, **lengths), d)
    with np.errstate(over="ignore", invalid="ignore"):
        U = depth * averages
    if not converged.all() or not np.isfinite(U).all():
        values = {"depth": depth, **lengths}
        given = ", ".join(f"{name} = {value}" for name, value in values.items())
        raise ValueError(
            f"{given}: the average over a shell must be finite and converge; "
            "use less extreme values"
        )
    return U


def square_well(depth: float, d: int, *, radius: float = 1.0) -> Floats:
    """Return the shell averages of a square well.

    U(r) = depth for r <= radius, and U(r) = 0 beyond.

    Parameters
    ----------
    depth : float
        Factor of the potential, dimensionless. A positive depth attracts.
    d : int
        Number of shells, from 1 to 1,000,000.
    radius : float
        Radius of the well in units of the range, positive. A radius above 1 fills the
        range.

    Returns
    -------
    ndarray of float64, shape (d,)
        The dimensionless averages over the shells.

    Raises
    ------
    TypeError
        If `depth` or `radius` is not a real number, or `d` is not an integer.
    ValueError
        If a number is out of range or not finite.

    Examples
    --------
    >>> square_well(2.0, 4)
    array([2., 2., 2., 2.])
    >>> square_well(2.0, 4, radius=0.5)
    array([2., 2., 0., 0.])
    """
    depth = validation.number("depth", depth)
    radius = validation.number("radius", radius, above=0)
    d = validation.integer("d", d, minimum=1, limit=MAX_SHELLS)
    # The volume average of a step is the filled fraction of each shell's volume, so no
    # quadrature is needed.
    edges = np.arange(d + 1) / d
    return depth * np.diff(np.minimum(edges, radius) ** 3) / np.diff(edges**3)


def gaussian(depth: float, d: int, *, width: float = 0.4) -> Floats:
    """Return the shell averages of a Gaussian, U(r) = depth exp(-(r/width)^2).

    U(r) vanishes beyond the range, for r > 1.

    Parameters
    ----------
    depth : float
        Factor of the potential, dimensionless. A positive depth attracts.
    d : int
        Number of shells, from 1 to 1,000,000.
    width : float
        Length scale in units of the range, positive.

    Returns
    -------
    ndarray of float64, shape (d,)
        The dimensionless averages over the shells.

    Raises
    ------
    TypeError
        If `depth` or a length is not a real number, or `d` is not an integer.
    ValueError
        If a number is out of range or not finite, or if the average over a shell is not
        finite or does not converge.

    Examples
    --------
    >>> gaussian(1.0, 3).round(3)
    array([0.67 , 0.188, 0.016])
    """
    return _shape(depth, d, lambda r, width: np.exp(-np.square(r / width)), width=width)


def exponential(depth: float, d: int, *, width: float = 0.25) -> Floats:
    """Return the shell averages of an exponential, U(r) = depth exp(-r/width).

    U(r) vanishes beyond the range, for r > 1.

    Parameters
    ----------
    depth : float
        Factor of the potential, dimensionless. A positive depth attracts.
    d : int
        Number of shells, from 1 to 1,000,000.
    width : float
        Length scale in units of the range, positive.

    Returns
    -------
    ndarray of float64, shape (d,)
        The dimensionless averages over the shells.

    Raises
    ------
    TypeError
        If `depth` or a length is not a real number, or `d` is not an integer.
    ValueError
        If a number is out of range or not finite, or if the average over a shell is not
        finite or does not converge.

    Examples
    --------
    >>> exponential(1.0, 3).round(3)
    array([0.381, 0.126, 0.035])
    """
    return _shape(depth, d, lambda r, width: np.exp(-r / width), width=width)


def yukawa(depth: float, d: int, *, width: float = 0.5) -> Floats:
    """Return the shell averages of U(r) = depth exp(-r/width) / (r/width).

    U(r) vanishes beyond the range, for r > 1.

    Parameters
    ----------
    depth : float
        Factor of the potential, dimensionless. A positive depth attracts.
    d : int
        Number of shells, from 1 to 1,000,000.
    width : float
        Length scale in units of the range, positive.

    Returns
    -------
    ndarray of float64, shape (d,)
        The dimensionless averages over the shells.

    Raises
    ------
    TypeError
        If `depth` or a length is not a real number, or `d` is not an integer.
    ValueError
        If a number is out of range or not finite, or if the average over a shell is not
        finite or does not converge.

    Examples
    --------
    >>> yukawa(1.0, 3).round(3)
    array([1.461, 0.348, 0.111])
    """
    return _shape(
        depth, d, lambda r, width: np.exp(-r / width) * width / r, width=width
    )


def woods_saxon(
    depth: float, d: int, *, radius: float = 0.6, diffuseness: float = 0.1
) -> Floats:
    """Return the shell averages of U(r) = depth / (1 + exp((r - radius)/diffuseness)).

    U(r) vanishes beyond the range, for r > 1.

    Parameters
    ----------
    depth : float
        Factor of the potential, dimensionless. A positive depth attracts.
    d : int
        Number of shells, from 1 to 1,000,000.
    radius : float
        Radius in units of the range, positive.
    diffuseness : float
        Thickness of the surface in units of the range, positive.

    Returns
    -------
    ndarray of float64, shape (d,)
        The dimensionless averages over the shells.

    Raises
    ------
    TypeError
        If `depth` or a length is not a real number, or `d` is not an integer.
    ValueError
        If a number is out of range or not finite, or if the average over a shell is not
        finite or does not converge.

    Examples
    --------
    >>> woods_saxon(1.0, 3).round(3)
    array([0.966, 0.628, 0.099])
    """
    return _shape(
        depth,
        d,
        lambda r, radius, diffuseness: 1 / (1 + np.exp((r - radius) / diffuseness)),
        radius=radius,
        diffuseness=diffuseness,
    )


def poschl_teller(depth: float, d: int, *, width: float = 0.4) -> Floats:
    """Return the shell averages of U(r) = depth / cosh(r/width)^2.

    U(r) vanishes beyond the range, for r > 1.

    Parameters
    ----------
    depth : float
        Factor of the potential, dimensionless. A positive depth attracts.
    d : int
        Number of shells, from 1 to 1,000,000.
    width : float
        Length scale in units of the range, positive.

    Returns
    -------
    ndarray of float64, shape (d,)
        The dimensionless averages over the shells.

    Raises
    ------
    TypeError
        If `depth` or a length is not a real number, or `d` is not an integer.
    ValueError
        If a number is out of range or not finite, or if the average over a shell is not
        finite or does not converge.

    Examples
    --------
    >>> poschl_teller(1.0, 3).round(3)
    array([0.689, 0.256, 0.06 ])
    """
    return _shape(depth, d, lambda r, width: np.cosh(r / width) ** -2, width=width)


# Each named family: its function, the length that varies, and the range of this length
FAMILIES: dict[str, tuple[Callable[..., Floats], str, float, float]] = {
    "square well": (square_well, "radius", 0.3, 1.0),
    "Woods–Saxon": (woods_saxon, "radius", 0.3, 0.8),
    "Gaussian": (gaussian, "width", 0.2, 0.8),
    "exponential": (exponential, "width", 0.1, 0.5),
    "Pöschl–Teller": (poschl_teller, "width", 0.1, 0.5),
    "Yukawa": (yukawa, "width", 0.2, 0.8),
    "narrow well": (square_well, "radius", 0.1, 0.3),
}


def shapes(d: int) -> dict[str, Floats]:
    """Return one potential of depth 1 for each of seven named families.

    Parameters
    ----------
    d : int
        Number of shells, from 1 to 1,000,000.

    Returns
    -------
    dict of str to ndarray of float64, shape (d,)
        The dimensionless potentials by name. Lengths are the defaults of the functions
        of this module. The narrow well is a square well of radius 0.3.

    Raises
    ------
    TypeError
        If `d` is not an integer.
    ValueError
        If `d` is out of range.

    Examples
    --------
    >>> [name for name, U in shapes(64).items() if U.max() < 0.9]
    []
    """
    potentials = {name: function(1.0, d) for name, (function, *_) in FAMILIES.items()}
    return potentials | {"narrow well": square_well(1.0, d, radius=0.3)}


def families(n: int, d: int, *, seed: int | Sequence[int]) -> dict[str, Floats]:
    """Draw random potentials of seven named families, to test networks on.

    The protocol is our own, not the paper's.

    Parameters
    ----------
    n : int
        Number of potentials of each family, at least 1.
    d : int
        Number of shells, from 1 to 1,000,000.
    seed : int or sequence of int
        Seed of a PCG64 generator.

    Returns
    -------
    dict of str to ndarray of float64, shape (n, d)
        The dimensionless potentials by the family's name. The depth is 1, and the
        length in `FAMILIES` is uniform in its range.

    Raises
    ------
    TypeError
        If an argument has the wrong type.
    ValueError
        If an argument is out of range.

    Examples
    --------
    >>> filled = (families(200, 64, seed=1)["narrow well"] > 0).sum(axis=1)
    >>> int(filled.min()), int(filled.max())  # radii from 0.1 to 0.3 of the range
    (7, 20)
    """
    n = validation.integer("n", n, minimum=1)
    random = _generator(seed)
    drawn = {}
    for name, (function, length, lowest, highest) in FAMILIES.items():
        lengths = random.uniform(lowest, highest, n)
        drawn[name] = np.stack(
            [function(1.0, d, **{length: value}) for value in lengths]
        )
    return drawn


def from_physical(
    function_MeV: Callable[[float], float],
    reduced_mass_MeV: float,
    range_fm: float,
    d: int,
) -> Floats:
    r"""Convert a potential in MeV and fm to its dimensionless average over d shells.

    Parameters
    ----------
    function_MeV : callable
        Potential V(r) in MeV at a distance r in fm. A negative V attracts.
    reduced_mass_MeV : float
        Reduced mass mu c^2 in MeV, positive.
    range_fm : float
        Range rho in fm, positive. V is taken to vanish beyond it. A scattering length
        that is computed from the result is in units of rho.
    d : int
        Number of shells, from 1 to 1,000,000.

    Returns
    -------
    ndarray of float64, shape (d,)
        The dimensionless averages over the shells.

    Raises
    ------
    TypeError
        If `function_MeV` is not callable or does not return a real number, if
        `reduced_mass_MeV` or `range_fm` is not a real number, or if `d` is not an
        integer.
    ValueError
        If a number is out of range, if the average over a shell is not finite or does
        not converge, or if the result overflows float64.

    Notes
    -----
    .. math:: U(r) = -2 \mu c^2 \rho^2 V(\rho r) / (\hbar c)^2

    Examples
    --------
    >>> U = from_physical(lambda r: -14.0, reduced_mass_MeV=469.46, range_fm=2.5, d=2)
    >>> U.round(4)
    array([2.1099, 2.1099])
    """
    mass = validation.number("reduced_mass_MeV", reduced_mass_MeV, above=0)
    rho = validation.number("range_fm", range_fm, above=0)
    with np.errstate(over="ignore", invalid="ignore"):
        factor = -2 * mass * (rho * rho) / HBAR_C**2
        U = factor * _discretized("function_MeV", function_MeV, "V", rho, d)
    return validation.representable(
        "reduced_mass_MeV, range_fm", U, "use smaller values"
    )


def sample(
    n: int,
    d: int,
    *,
    depth: float,
    kind: str = "attractive",
    smallest: float = 0.2,
    radial_power: float = 0.0,
    seed: int | Sequence[int],
) -> Floats:
    r"""Draw random potentials for training.

    The sampling protocol is our own, not the paper's.

    Parameters
    ----------
    n : int
        Number of potentials, at least 1.
    d : int
        Number of shells, at least 1.
    depth : float
        Scale of the potentials, positive. It is the upper bound of ``|U_i|`` if
        `radial_power` is 0.
    kind : {"attractive", "signed", "sparse"}
        Distribution of the values in the shells, see Notes.
    smallest : float
        Lower bound of the random factor s of a potential, from 0 to 1. If it is 0, the
        potentials extend down to zero.
    radial_power : float
        Exponent p of the factor r_i^p in shell i, from -4 to 4, see Notes.
    seed : int or sequence of int
        Seed of a PCG64 generator. The same seed draws the same potentials on every
        machine.

    Returns
    -------
    ndarray of float64, shape (n, d)
        The dimensionless potentials.

    Raises
    ------
    TypeError
        If an argument has the wrong type.
    ValueError
        If an argument is out of range, if `kind` is none of the three names, or if the
        potentials need more memory than is free.

    Notes
    -----
    .. math:: U_i = \text{depth} \cdot s \cdot v_i \cdot r_i^{p}, \qquad
              s \sim \mathrm{uniform}[\text{smallest}, 1], \qquad
              r_i = \frac{i - 1/2}{d}

    One factor s is drawn for each potential, and one factor :math:`v_i` for each shell.
    The :math:`v_i` are uniform on [0, 1] for attractive potentials and on [-1, 1] for
    signed ones. Sparse potentials are attractive, and U_i = 0 in each of their shells
    with a certain probability. This probability is drawn from uniform[0, 1], once for
    each potential.

    With p = -1 the inner shells are deeper. The first Born term weights shell i with
    about :math:`r_i^2`, so that a_0 hardly depends on the inner shells if p is 0.

    Examples
    --------
    >>> U = sample(1000, 64, depth=2.0, seed=1)
    >>> U.shape, bool(U.min() >= 0), bool(U.max() <= 2.0)
    ((1000, 64), True, True)
    >>> bool((U == sample(1000, 64, depth=2.0, seed=1)).all())
    True
    """
    n = validation.integer("n", n, minimum=1)
    d = validation.integer("d", d, minimum=1)
    validation.memory("n, d", 24 * n * d, "draw fewer potentials")
    depth = validation.number("depth", depth, above=0)
    smallest = validation.number("smallest", smallest, minimum=0)
    if smallest > 1:
        raise ValueError(f"smallest = {smallest}: must be from 0 to 1")
    validation.choice("kind", kind, SAMPLE_KINDS)
    factors = depth * profile(d, radial_power)
    random = _generator(seed)
    scales = random.uniform(smallest, 1.0, size=(n, 1))
    U = random.random((n, d))
    if kind == "signed":
        U *= 2
        U -= 1
    if kind == "sparse":
        U *= random.random((n, d)) < random.random((n, 1))
    U *= factors * scales
    return U


def profile(d: int, radial_power: float) -> Floats:
    """Return the factors r_i^p of d shells, where r_i = (i - 1/2) / d, shape (d,).

    `radial_power` is the exponent p. All factors are 1 if it is 0. Raise an error if it
    is not a number from -4 to 4.
    """
    power = validation.number("radial_power", radial_power, minimum=-4)
    if power > 4:
        raise ValueError(f"radial_power = {power:g}: must be from -4 to 4")
    return ((np.arange(d) + 0.5) / d) ** power


def _generator(seed: Any) -> np.random.Generator:
    """Return NumPy's PCG64 generator of a seed.

    The seed is an integer >= 0 or a sequence of such integers. Raise a TypeError if it
    has another type, and a ValueError if an integer is negative.
    """
    message = (
        f"seed = {validation.brief(seed)}: must be an integer >= 0, or a sequence of "
        "such integers"
    )
    if seed is None:  # NumPy would draw a new seed at each call
        raise TypeError(message)
    try:
        return np.random.Generator(np.random.PCG64(seed))
    except ValueError:
        raise ValueError(message) from None
    except Exception:  # any error of NumPy, or of an __array__ method of the argument
        raise TypeError(message) from None
