r"""Compute the exact Born series of a_0 for a discretised potential, to any order.

The zero-energy wave function u of a dimensionless potential U solves u'' + U u = 0 with
u(0) = 0. It also solves the Lippmann-Schwinger equation u = r + G U u, where G is the
integral operator on [0, 1] with the kernel G(r, s) = min(r, s). The scattering length
is the sum of the Born terms,

.. math:: a_0 = \sum_{n \ge 1} a^{(n)}, \qquad
          a^{(n)} = -\langle r | U (G U)^{n-1} | r \rangle .

The term a^(n) is homogeneous of degree n in U. The Born series is therefore the Taylor
series of a_0 at U = 0.

No integral is computed numerically. U is multiplied by a factor, the coupling. At each
edge of a shell, u and u' are then power series in the coupling. The code computes the
coefficients of these series exactly, from shell to shell.

References
----------
- Born, Quantenmechanik der Stoßvorgänge (1926): https://doi.org/10.1007/BF01397184
- Lippmann and Schwinger, Variational Principles for Scattering Processes (1950):
  https://doi.org/10.1103/PhysRev.79.469
- Weinberg, Quasiparticles and the Born Series (1963):
  https://doi.org/10.1103/PhysRev.131.440
"""

from itertools import combinations
from math import factorial
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from paperlib._support import validation
from paperlib._support.validation import Floats
from paperlib.physics import shells
from paperlib.physics.pade import of_quotient, of_terms
from paperlib.taylor.symmetric import (
    MAX_INDICES,
    SymmetricTensor,
    index_table,
    packed_position,
    packed_size,
)

__all__ = [
    "born_approximation",
    "born_radius",
    "born_remainder",
    "born_tensor",
    "born_terms",
    "pade",
    "pade_of_terms",
    "weinberg_eigenvalues",
]

# The number of coefficients (orders times potentials) in one array, so that the arrays
# for a block of potentials take a few MiB.
_BLOCK = 1 << 16
# Higher terms take hours and contain only the information that the ratio of the lower
# terms already gives.
MAX_ORDER = 1000
_WEAKER = "take a weaker U or a lower order"


def _checked(U: ArrayLike, order: int) -> tuple[Floats, int]:
    """Return U as a float64 array and `order` as an int.

    Raise a TypeError or a ValueError if one of them is invalid, or if `order` numbers
    for each potential need more memory than is free.
    """
    U = validation.real_array("U", U)
    order = validation.integer("order", order, minimum=1, limit=MAX_ORDER)
    nbytes = 8 * order * U.size // U.shape[-1]
    validation.memory("U, order", nbytes, "take fewer potentials")
    return U, order


def born_terms(U: ArrayLike, order: int) -> Floats:
    """Return the first Born terms a^(1) .. a^(order) of a_0.

    Parameters
    ----------
    U : array_like of float, shape (..., d)
        Dimensionless potentials of d shells. U > 0 attracts.
    order : int
        Number of terms, from 1 to 1000.

    Returns
    -------
    ndarray of float64, shape (..., order)
        The terms of orders 1 to `order`, in units of the range.

    Raises
    ------
    TypeError
        If U is not real, or `order` is not an integer.
    ValueError
        If U is a scalar, empty or not finite, if `order` is not from 1 to 1000, if a
        term overflows float64, or if the result needs more memory than is free.

    Notes
    -----
    The zero-energy solution u gives a_0 = w/q with w = u'(1) - u(1) and q = u'(1). If U
    is multiplied by a coupling, w and q are power series in the coupling. The code
    computes their coefficients up to `order`, and the quotient of the two series is the
    Born series. The relative error of term n is a few times n units of rounding, unless
    U changes sign so that the contributions to the term cancel.

    Examples
    --------
    >>> born_terms(np.full(64, 3.0), 3) * 315 / 3.0 ** np.arange(1, 4)  # 1 - tan(k)/k
    array([-105.,  -42.,  -17.])
    """
    U, order = _checked(U, order)

    def block_terms(x: Floats) -> Floats:
        w, q = _coupling_series(x, order)
        return _quotient(w, q).T

    with np.errstate(over="ignore", invalid="ignore"):
        terms = shells.evaluate(block_terms, U, _BLOCK // (order + 1), order)
    overflows = ~np.isfinite(terms)
    if overflows.any():
        first = int(np.argwhere(overflows)[:, -1].min()) + 1
        raise ValueError(
            f"order = {order}: the Born term of order {first} overflows float64; "
            f"{_WEAKER}"
        )
    return terms


def born_remainder(U: ArrayLike, order: int) -> Floats:
    r"""Return the remainder of a_0 after its first Born terms, without cancellation.

    Parameters
    ----------
    U : array_like of float, shape (..., d)
        Dimensionless potentials of d shells. U > 0 attracts.
    order : int
        Number N of terms that are subtracted from a_0, from 1 to 1000.

    Returns
    -------
    float or ndarray of float64, shape (...)
        The remainder in units of the range.

    Raises
    ------
    TypeError
        If U is not real, or `order` is not an integer.
    ValueError
        If U is a scalar, empty or not finite, if `order` is not from 1 to 1000, if a
        remainder is not finite (as at a pole of a_0), or if `order` numbers for each
        potential need more memory than is free.

    Notes
    -----
    .. math:: R_N = a_0 - \sum_{n \le N} a^{(n)} = \Big( \sum_{k > N} w_k
              - \sum_{l \le N} a^{(l)} \sum_{j > N - l} q_j \Big) \Big/ \sum_j q_j

    Here u is the zero-energy solution, and a_0 = w/q with w = u'(1) - u(1) and q =
    u'(1). If U is multiplied by a coupling, w and q are power series in the coupling.
    Their coefficients of order k are w_k and q_k.

    The code computes the sums of all coefficients above order N directly, by Stumpff
    functions of higher index, and not as a difference. The remainder of a weak
    potential is therefore accurate to a few units of rounding, whereas the difference
    of a_0 and its terms would have no correct digit. Digits are lost if U exceeds d^2
    in magnitude in a shell.

    Examples
    --------
    >>> U = np.full(64, 1e-6)
    >>> bool(np.isclose(born_remainder(U, 3), -62 * 1e-24 / 2835, rtol=1e-5, atol=0))
    True
    """
    U, order = _checked(U, order)

    def block_remainders(x: Floats) -> Floats:
        w, q = _coupling_series(x, order, tail=True)
        a = _quotient(w[:-1], q[:-1])
        # above[k]: sum of the coefficients of q from order k on
        above = np.cumsum(q[::-1], axis=0)[::-1]
        known = sum(a[n - 1] * above[order + 1 - n] for n in range(1, order + 1))
        return (w[-1] - known) / above[0]

    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        remainder = shells.evaluate(block_remainders, U, _BLOCK // (order + 1))
    return validation.representable("U, order", remainder, _WEAKER)


def _coupling_series(
    x: Floats, order: int, tail: bool = False
) -> tuple[Floats, Floats]:
    """Return w = r u' - u and q = u' at r = 1 as power series in the coupling.

    Here u is the zero-energy solution with u(0) = 0 and u'(0) = 1, of n potentials of d
    shells of thickness h = 1/d. The coupling is a factor of U. The argument x = U h^2
    has shape (d, n). Both results have shape (order + 1, n), one row for each power of
    the coupling from 0 on. With `tail`, one more row holds the sum of all coefficients
    above `order`.
    """
    d, n = x.shape
    w, q = np.zeros((order + 1 + tail, n)), np.zeros((order + 1 + tail, n))
    q[0] = 1.0
    # 1/k!, where 1/171! is below the smallest normal float64
    inverse = [1 / factorial(k) if k < 171 else 0.0 for k in range(2 * order + 4)]
    for i in range(d):
        u = i * q - w
        gain, loss = np.zeros_like(w), np.zeros_like(q)
        power = np.ones(n)
        higher = shells.stumpff(x[i], 2 * order + 3) if tail else []
        for m in range(1, order + 1 + tail):
            power = power * (x[i] if m == 1 else -x[i])

            def add(rows: Any, source: Any, c: list) -> None:
                """Add the product of the map's power m and the rows `source` to `rows`.

                c[k] is 1/k! for one coefficient, and the Stumpff function c_k for the
                sum of all powers >= m.
                """
                loss[rows] += power * (c[2 * m - 1] * u[source] + c[2 * m] * q[source])
                gain[rows] += power * (c[2 * m] * u[source] + c[2 * m + 1] * q[source])

            add(slice(m, order + 1), slice(0, order + 1 - m), inverse)
            # The powers >= m of the shell's map, times the coefficient of order
            # (order + 1 - m), add to the tail. The tail itself is multiplied by the
            # powers >= 1, that is at m = 1.
            if tail:
                add(-1, order + 1 - m, higher)
            if tail and m == 1:
                add(-1, order + 1, higher)
        w += gain - (i + 1) * loss
        q -= loss
    return w / d, q


def _quotient(w: Floats, q: Floats) -> Floats:
    """Return the coefficients of orders 1 to N of the series w/q.

    Both arguments have shape (N + 1, n): row k holds the coefficients of order k for n
    potentials. The rows of order 0 are w_0 = 0 and q_0 = 1. The result has shape (N,
    n).
    """
    a = np.zeros_like(w)
    for n in range(1, len(w)):
        a[n] = w[n] - sum(q[k] * a[n - k] for k in range(1, n))
    return a[1:]


def born_approximation(U: ArrayLike, order: int) -> Floats:
    """Return the Born approximation of a_0, the sum of its first `order` Born terms.

    Parameters
    ----------
    U : array_like of float, shape (..., d)
        Dimensionless potentials of d shells. U > 0 attracts.
    order : int
        Number of terms, from 1 to 1000.

    Returns
    -------
    float or ndarray of float64, shape (...)
        The approximation in units of the range.

    Raises
    ------
    TypeError
        If U is not real, or `order` is not an integer.
    ValueError
        If U is a scalar, empty or not finite, if `order` is not from 1 to 1000, if a
        term or the sum overflows float64, or if the terms need more memory than is
        free.

    Examples
    --------
    >>> float(born_approximation(np.full(10, 0.3), 1).round(12))
    -0.1
    """
    with np.errstate(over="ignore", invalid="ignore"):
        total = born_terms(U, order).sum(axis=-1)
    return validation.representable("U, order", total, _WEAKER)


def born_tensor(order: int, d: int) -> SymmetricTensor:
    r"""Return the symmetric tensor B of the n-th Born term for d shells.

    Parameters
    ----------
    order : int
        Order n, from 1 to 20.
    d : int
        Number of shells, at least 1.

    Returns
    -------
    SymmetricTensor
        The tensor B of order n and dimension d, in units of the range.

    Raises
    ------
    TypeError
        If `order` or `d` is not an integer.
    ValueError
        If `order` or `d` is out of range, or if the tensor needs more memory than is
        free.

    Notes
    -----
    .. math:: a^{(n)} = \sum_{i_1 \dots i_n} B_{i_1 \dots i_n} U_{i_1} \cdots U_{i_n},
              \qquad B_i = -(i^2 - i + 1/3)/d^3

    The tensor of n-th partial derivatives of a_0 at U = 0 is n! B. The zero-energy
    solution u gives a_0 = w/q with w = u'(1) - u(1) and q = u'(1). A shell with U = 0
    leaves r u' - u and u' unchanged. A partial derivative of w or q at U = 0 is
    therefore a product of closed expressions, one for each shell whose U is
    differentiated. Leibniz' rule, applied to w = q a_0, turns the derivatives of w and
    q into the derivatives of a_0.

    Examples
    --------
    >>> born_tensor(1, 2).packed * 24
    array([-1., -7.])
    >>> U = np.array([0.3, -0.2, 0.5])
    >>> bool(np.isclose(born_tensor(3, 3).contract(U), born_terms(U, 3)[2], rtol=1e-13))
    True
    """
    order = validation.integer("order", order, minimum=1, limit=validation.TENSOR_ORDER)
    d = validation.integer("d", d, minimum=1, limit=MAX_INDICES)
    validation.memory(
        f"order = {order}, d = {d}",
        32 * (order + 1) * packed_size(d, order),
        "use born_terms",
    )
    w, q = _transfer_derivatives(order, d)
    a = [np.empty(0)]  # placeholder: a_0 has no term of order 0
    for n in range(1, order + 1):
        indices = index_table(d, n)
        total = w[n].copy()
        for k in range(1, n):
            for chosen in combinations(range(n), k):
                others = np.delete(indices, chosen, axis=1)
                q_part = q[k][packed_position(d, indices[:, chosen])]
                total -= q_part * a[n - k][packed_position(d, others)]
        a.append(total)
    return SymmetricTensor._owning(order, d, a[order] / factorial(order))


def _transfer_derivatives(order: int, d: int) -> tuple[list[Floats], list[Floats]]:
    """Return all partial derivatives of w = r u' - u and of u' at r = 1, for U = 0.

    The derivatives are with respect to the d shells of U, and u is the zero-energy
    solution with u(0) = 0 and u'(0) = 1. Each of the two lists holds one array for each
    order n from 0 to `order`. The array of order n has one entry for each row of
    ``index_table(d, n)``, the sorted tuples of n shells.
    """
    w, q = [np.zeros(1)], [np.ones(1)]
    for n in range(1, order + 1):
        indices = index_table(d, n)
        w.append(np.empty(len(indices)))
        q.append(np.empty(len(indices)))
        # The outermost shell of each multi-index, and how often it occurs
        last = indices[:, -1]
        run = (indices == last[:, None]).sum(axis=1)
        for m in range(1, n + 1):
            rows = np.flatnonzero(run == m)
            before = packed_position(d, indices[rows, : n - m])
            i, q0 = last[rows], q[n - m][before]
            u = i * q0 - w[n - m][before]
            power = factorial(m) * (-1) ** (m - 1) / float(d) ** (2 * m)
            loss = power * (u / factorial(2 * m - 1) + q0 / factorial(2 * m))
            gain = power * (u / factorial(2 * m) + q0 / factorial(2 * m + 1))
            w[n][rows] = gain - (i + 1) * loss
            q[n][rows] = -loss
    return [values / d for values in w], q


def weinberg_eigenvalues(U: ArrayLike) -> Floats:
    r"""Return the d Weinberg eigenvalues of largest magnitude, in descending order.

    Parameters
    ----------
    U : array_like of float, shape (..., d)
        Dimensionless potentials of d shells. U > 0 attracts.

    Returns
    -------
    ndarray of float64, shape (..., d)
        The dimensionless eigenvalues eta.

    Raises
    ------
    TypeError
        If U is not real.
    ValueError
        If U is a scalar, empty or not finite, or if d is so large that the matrices
        need more memory than is free.

    Notes
    -----
    .. math:: G U \psi = \eta \psi, \qquad
              (G U \psi)(r) = \int_0^1 \min(r, s)\, U(s)\, \psi(s)\, ds

    If U is multiplied by 1/eta, it binds one more state, with zero energy. G is
    positive, so every eigenvalue is real, for potentials of either sign and of mixed
    sign. For a negative eigenvalue, 1/eta is negative and turns repulsion into
    attraction.

    Let V be the operator that integrates from 0 to r. Then G = V V^T, and V^T U V has
    the same spectrum as G U. The code projects V^T U V on Legendre polynomials in each
    shell, eight in a shell up to d = 64, fewer beyond, and three from d = 129 on. The
    matrix elements are exact. Up to d = 64 the largest eigenvalue is accurate to 1e-12.
    The wave function of the k-th eigenvalue has k - 1/2 half-waves. This eigenvalue is
    equally accurate as long as no shell holds more than about a quarter of a half-wave.
    For each potential, the eigenvalues of one matrix are computed. Its number of rows
    is d times the number of polynomials in a shell.

    Examples
    --------
    >>> eta = weinberg_eigenvalues(np.full(16, 2.0))
    >>> exact = 2.0 / (np.pi * np.array([0.5, 1.5, 2.5])) ** 2  # of a square well
    >>> bool(np.allclose(eta[:3], exact, rtol=1e-12))
    True
    """
    U = validation.real_array("U", U)
    d = U.shape[-1]
    m = max(3, min(8, 512 // d))
    validation.memory(f"U: d = {d}", 48 * m * (m + 1) * d**2, "take fewer shells")
    V = _integration(d, m)
    flat = U.reshape(-1, d)
    eta = np.empty(flat.shape)
    for row, potential in enumerate(flat):
        matrix = np.einsum("ias,i,iat->st", V, potential, V, optimize=True)
        spectrum = np.linalg.eigvalsh(matrix)
        eta[row] = spectrum[np.argsort(-np.abs(spectrum), kind="stable")[:d]]
    return eta.reshape(U.shape)


def _integration(d: int, m: int) -> Floats:
    """Return the matrix of the integral from 0 to r, shape (d, m + 1, d m).

    The basis is the orthonormal Legendre polynomials on each of d shells. Entry
    [i, k, j m + n] is the coefficient of the polynomial of degree k in shell i, in the
    expansion of the integral of the polynomial of degree n in shell j, with k from 0 to
    m and n from 0 to m - 1.
    """
    h = 1.0 / d
    V, shell = np.zeros((d, m + 1, d, m)), np.arange(d)
    # all of each lower shell, half of the shell itself
    V[:, 0, :, 0] = h * np.tri(d, k=-1) + h / 2 * np.eye(d)
    for n in range(m):
        # int P_n = (P_{n+1} - P_{n-1}) / (2n + 1), for orthonormal polynomials on a
        # length h
        V[shell, n + 1, shell, n] = h / 2 / np.sqrt((2 * n + 1) * (2 * n + 3))
        if n:
            V[shell, n - 1, shell, n] = -h / 2 / np.sqrt((2 * n + 1) * (2 * n - 1))
    return V.reshape(d, m + 1, d * m)


def born_radius(U: ArrayLike) -> Floats:
    """Return the radius of convergence of the Born series in the coupling.

    The coupling is a factor of U. The radius is the inverse of the largest magnitude of
    the eigenvalues that `weinberg_eigenvalues` returns.

    Parameters
    ----------
    U : array_like of float, shape (..., d)
        Dimensionless potentials of d shells. U > 0 attracts.

    Returns
    -------
    float or ndarray of float64, shape (...)
        The radius, a dimensionless factor of U. The Born series of U itself converges
        if the radius is above 1. The radius is infinite for U = 0.

    Raises
    ------
    TypeError
        If U is not real.
    ValueError
        If U is a scalar, empty or not finite, or if d is so large that the matrices
        need more memory than is free.

    Examples
    --------
    >>> bool(np.isclose(born_radius(np.full(32, 1.0)), np.pi**2 / 4, rtol=1e-12))
    True
    """
    with np.errstate(divide="ignore", over="ignore"):
        return 1 / np.abs(weinberg_eigenvalues(U)[..., 0])


def pade(U: ArrayLike, m: int, n: int) -> Floats:
    r"""Return the [m/n] Padé approximant of the Born series at coupling 1.

    The coupling is a factor of U. The approximant is a quotient of polynomials in the
    coupling, of degrees m and n, whose power series begins with the Born terms a^(1) ..
    a^(m + n).

    Parameters
    ----------
    U : array_like of float, shape (..., d)
        Dimensionless potentials of d shells. U > 0 attracts.
    m : int
        Degree of the numerator, at least 1.
    n : int
        Degree of the denominator, at least 0. The sum m + n is at most 1000.

    Returns
    -------
    float or ndarray of float64, shape (...)
        The approximant of a_0 in units of the range. At a pole it is a signed infinity
        or a huge value.

    Raises
    ------
    TypeError
        If U is not real, or m or n is not an integer.
    ValueError
        If U is a scalar, empty or not finite, if m or n is out of range, or if a
        coefficient overflows float64.

    Notes
    -----
    .. math:: \frac{p_0 + \dots + p_m \lambda^m}
              {1 + q_1 \lambda + \dots + q_n \lambda^n}
              = \sum_{k = 1}^{m + n} a^{(k)} \lambda^k + O(\lambda^{m + n + 1})

    Here :math:`\lambda` is the coupling and :math:`a^{(k)}` the k-th Born term. As a
    function of the coupling, a_0 has a pole wherever one more state binds. A rational
    function can follow a_0 past these poles, where the series diverges.

    The approximant is computed from two power series that converge everywhere and whose
    quotient is a_0, not from the Born terms. It is therefore accurate at all degrees.
    For a square well at four times the radius of convergence, the [6/6] and higher
    approximants are accurate to 1e-14. `pade_of_terms` starts from rounded terms, which
    limit its accuracy to 1e-10 in this case.

    Examples
    --------
    >>> U = np.full(8, 10.0)  # past the radius, one state bound
    >>> k = np.sqrt(10)
    >>> bool(np.isclose(pade(U, 8, 8), 1 - np.tan(k) / k, rtol=1e-13))
    True
    """
    U = validation.real_array("U", U)
    m, n = _degrees(m, n)

    def block_approximants(x: Floats) -> list[float]:
        with np.errstate(over="ignore", invalid="ignore"):
            series = np.stack(_coupling_series(x, m + n))
        w, q = validation.representable("U", series, _WEAKER)
        return [of_quotient(*each, m, n) for each in zip(w.T, q.T)]

    return shells.evaluate(block_approximants, U, _BLOCK // (m + n + 1))


def _degrees(m: int, n: int) -> tuple[int, int]:
    """Return the degrees m and n as integers.

    Raise a TypeError if one is not an integer, and a ValueError unless m >= 1, n >= 0
    and m + n <= MAX_ORDER.
    """
    m = validation.integer("m", m, minimum=1, limit=MAX_ORDER)
    return m, validation.integer("n", n, minimum=0, limit=MAX_ORDER - m)


def pade_of_terms(terms: ArrayLike, m: int, n: int) -> Floats:
    """Return the [m/n] Padé approximant at coupling 1 of a series with given terms.

    The approximant is a quotient of polynomials in the coupling, of degrees m and n.
    Its power series begins with the terms, multiplied by the coupling to the power of
    their order. The terms may be learned Born terms.

    Parameters
    ----------
    terms : array_like of float, shape (..., m + n or more)
        Terms of orders 1, 2, .. of the series. Terms above order m + n are ignored.
    m : int
        Degree of the numerator, at least 1.
    n : int
        Degree of the denominator, at least 0. The sum m + n is at most 1000.

    Returns
    -------
    float or ndarray of float64, shape (...)
        The approximant in the units of the terms. At a pole it is a signed infinity or
        a huge value.

    Raises
    ------
    TypeError
        If `terms` is not real, or m or n is not an integer.
    ValueError
        If m or n is out of range, if `terms` is a scalar, if its last axis has fewer
        than m + n terms, if a term is not finite, or if the quotient is 0/0.

    Notes
    -----
    If the series has a pole at the coupling 1 + t, with a small t, the relative error
    is at most about 1e-12 / t. The relative error of an exact a_0 is 1e-16 / t. If the
    series is a rational function of lower degree, the equations for the coefficients
    have many solutions, all with the same quotient. The code uses the solution of
    smallest norm.

    The rounding of the terms limits the accuracy at high degrees. For a square well at
    four times the radius of convergence, the error of the [5/5] and higher approximants
    stays at 1e-10 to 1e-8. At ten times the radius it stays at 1e-6 to 1e-4. `pade` has
    no such limit.

    Examples
    --------
    >>> float(pade_of_terms([1.0, 0.5], 1, 1))      # 1 + 1/2 + 1/4 + ..
    2.0
    """
    m, n = _degrees(m, n)
    terms = validation.real_array("terms", terms)
    if terms.shape[-1] < m + n:
        raise ValueError(
            f"terms: shape {terms.shape}; the last axis must be m + n = {m + n} long "
            "or longer"
        )
    flat = terms[..., : m + n].reshape(-1, m + n)
    result = np.array([of_terms(series, m, n) for series in flat])
    if np.isnan(result).any():
        raise ValueError("terms: the quotient is 0/0; take lower degrees")
    return result.reshape(terms.shape[:-1])[()]
