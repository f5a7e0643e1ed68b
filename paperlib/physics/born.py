r"""The exact Born series of a_0 for a discretised potential, to any order.

With G(r, s) = min(r, s), u = r + G U u, and

.. math:: a_0 = \sum_{n \ge 1} a^{(n)}, \qquad a^{(n)} = -\langle r | U (G U)^{n-1} | r \rangle .

a^(n) is homogeneous of degree n in U: the Born series is the Taylor series of a_0 at U = 0. Nothing here is
integrated numerically: min(r, s) is separable, and the powers of the coupling are carried across the shells.

References
----------
- Born, Quantenmechanik der Stoßvorgänge (1926): https://doi.org/10.1007/BF01397184
- Lippmann and Schwinger, Variational Principles for Scattering Processes (1950): https://doi.org/10.1103/PhysRev.79.469
- Weinberg, Quasiparticles and the Born Series (1963): https://doi.org/10.1103/PhysRev.131.440
"""

from itertools import combinations
from math import factorial

import numpy as np
from numpy.typing import ArrayLike

from paperlib._support import checks
from paperlib._support.checks import Floats
from paperlib.physics import shells
from paperlib.physics.pade import of_quotient, of_terms
from paperlib.taylor.symmetric import MOST_INDICES, SymmetricTensor, index_table, packed_position, packed_size

__all__ = [
    "born_approximation", "born_radius", "born_remainder", "born_tensor", "born_terms", "pade", "pade_of_terms",
    "weinberg_eigenvalues",
]  # fmt: skip

# Numbers of the state held at a time: a block's series stay within a few MiB.
_BLOCK = 1 << 16
# Higher terms take hours, and say what the ratio of those before them says.
LARGEST_ORDER = 1000
_WEAKER = "take a weaker U or a lower order"


def _checked(U: ArrayLike, order: int) -> tuple[Floats, int]:
    U, order = checks.real_array("U", U), checks.integer("order", order, minimum=1, limit=LARGEST_ORDER)
    checks.memory("U, order", 8 * order * U.size // U.shape[-1], "take fewer potentials")
    return U, order


def born_terms(U: ArrayLike, order: int) -> Floats:
    r"""The first Born terms a^(1) .. a^(order) of U (..., d), shape (..., order); `order` from 1 to 1000.

    U is scaled by a coupling, and each shell's transfer of (w, q) (see `shells`) is a power series in it. The product
    of the transfers, cut at `order`, gives w and q at r = 1 as power series; their quotient is the Born series. A term
    beyond the largest double is a ValueError. The relative error of term n is a few n units of rounding, unless U
    changes sign so that its own parts cancel.

    Examples
    --------
    >>> born_terms(np.full(64, 3.0), 3) * 315 / 3.0 ** np.arange(1, 4)  # 1 - tan(k)/k
    array([-105.,  -42.,  -17.])
    """
    U, order = _checked(U, order)
    terms = np.empty((U.size // U.shape[-1], order))
    for rows, x in shells.blocks(U, _BLOCK // (order + 1)):
        with np.errstate(over="ignore", invalid="ignore"):
            w, q = _coupling_series(x, order)
            terms[rows] = _quotient(w, q).T
    if not np.isfinite(terms).all():
        first = int(np.argwhere(~np.isfinite(terms))[:, 1].min()) + 1
        raise ValueError(f"order = {order}: the Born term of order {first} is beyond the largest double; {_WEAKER}")
    return terms.reshape(*U.shape[:-1], order)


def born_remainder(U: ArrayLike, order: int) -> Floats:
    r"""What the first `order` Born terms leave of a_0, without cancellation; U (..., d) -> (...).

    .. math:: R_N = a_0 - \sum_{n \le N} a^{(n)} = \Big( \sum_{k > N} w_k
              - \sum_{l \le N} a^{(l)} \sum_{j > N - l} q_j \Big) \Big/ \sum_j q_j

    The tail of each power series, all that lies above order N, is carried across the shells as one more coefficient:
    the tails of the transfers are Stumpff functions of higher index. So a weak potential's remainder keeps its digits,
    all but a few units of rounding, where a difference would have none. Shells of ``|U| > d^2`` lose digits.

    Examples
    --------
    >>> U = np.full(64, 1e-6)
    >>> bool(np.isclose(born_remainder(U, 3), -62 * 1e-24 / 2835, rtol=1e-5, atol=0))
    True
    """
    U, order = _checked(U, order)
    remainder = np.empty(U.size // U.shape[-1])
    for rows, x in shells.blocks(U, _BLOCK // (order + 1)):
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            w, q = _coupling_series(x, order, tail=True)
            a = _quotient(w[:-1], q[:-1])
            above = np.cumsum(q[::-1], axis=0)[::-1]  # above[k]: all of q from order k up
            excess = w[-1] - sum(a[n - 1] * above[order + 1 - n] for n in range(1, order + 1))
            remainder[rows] = excess / above[0]
    checks.representable("U, order", remainder, _WEAKER)
    return remainder.reshape(U.shape[:-1])[()]


def _coupling_series(x: Floats, order: int, tail: bool = False) -> tuple[Floats, Floats]:
    """Coefficients in the coupling of w and of q/h at r = 1, shape (order + 1, n); x = U h^2, shape (d, n).

    With `tail`, one more row holds the sum of all coefficients above `order`.
    """
    d, n = x.shape
    rows = order + 1 + tail
    w, q = np.zeros((rows, n)), np.zeros((rows, n))
    q[0] = 1.0
    for i in range(d):
        u = i * q - w
        power = np.ones(n)
        dw, loss = np.zeros_like(w), np.zeros_like(q)
        higher = shells.stumpff(x[i], 2 * order + 3) if tail else []
        for m in range(1, order + 1 + tail):
            power = power * (x[i] if m == 1 else -x[i])
            lower, upper = slice(0, order + 1 - m), slice(m, order + 1)
            loss[upper] += power * (u[lower] * _one_over_factorial(2 * m - 1) + q[lower] * _one_over_factorial(2 * m))
            dw[upper] += power * (u[lower] * _one_over_factorial(2 * m) + q[lower] * _one_over_factorial(2 * m + 1))
            if tail:
                # Orders m and up of a transfer lift order (order + 1 - m) into the tail, and m = 1 keeps the tail there.
                for source in (order + 1 - m, *((order + 1,) if m == 1 else ())):
                    loss[-1] += power * (higher[2 * m - 1] * u[source] + higher[2 * m] * q[source])
                    dw[-1] += power * (higher[2 * m] * u[source] + higher[2 * m + 1] * q[source])
        w += dw - (i + 1) * loss
        q -= loss
    return w / d, q


def _one_over_factorial(n: int) -> float:
    return 1 / factorial(n) if n < 171 else 0.0  # past 170! it is below the smallest normal double


def _quotient(w: Floats, q: Floats) -> Floats:
    """Coefficients 1 .. order of the series w/q, where w_0 = 0 and q_0 = 1."""
    a = np.zeros_like(w)
    for n in range(1, len(w)):
        a[n] = w[n] - sum(q[k] * a[n - k] for k in range(1, n))
    return a[1:]


def born_approximation(U: ArrayLike, order: int) -> Floats:
    """The Born approximation of a_0: the sum of the first `order` terms, 1 to 1000; U (..., d) -> (...).

    Examples
    --------
    >>> float(born_approximation(np.full(10, 0.3), 1).round(12))
    -0.1
    """
    with np.errstate(over="ignore", invalid="ignore"):
        return checks.representable("U, order", born_terms(U, order).sum(axis=-1), _WEAKER)


def born_tensor(order: int, d: int) -> SymmetricTensor:
    r"""The symmetric tensor B of the n-th Born term over d shells, in closed form; `order` n from 1 to 20.

    .. math:: a^{(n)} = \sum_{i_1 \dots i_n} B_{i_1 \dots i_n} U_{i_1} \cdots U_{i_n}, \qquad
              B_i = -(i^2 - i + 1/3)/d^3

    so that n! B is the tensor of n-th partial derivatives of a_0 at U = 0. w and q at r = 1 are linear in
    each shell's transfer, and a free shell transfers nothing: their partial derivatives are products of the
    few shells that are differentiated. Leibniz' rule on w = q a_0 turns them into those of a_0.

    Examples
    --------
    >>> born_tensor(1, 2).packed * 24
    array([-1., -7.])
    >>> U = np.array([0.3, -0.2, 0.5])
    >>> bool(np.isclose(born_tensor(3, 3).contract(U), born_terms(U, 3)[2], rtol=1e-13))
    True
    """
    order = checks.integer("order", order, minimum=1, limit=checks.TENSOR_ORDER)
    d = checks.integer("d", d, minimum=1, limit=MOST_INDICES)
    checks.memory(f"order = {order}, d = {d}", 32 * (order + 1) * packed_size(d, order), "use born_terms")
    w, q = _transfer_derivatives(order, d)
    a = [np.empty(0)]  # no order 0
    for n in range(1, order + 1):
        indices = index_table(d, n)
        total = w[n].copy()
        for k in range(1, n):
            for chosen in combinations(range(n), k):
                of_q = packed_position(d, indices[:, chosen])
                of_a = packed_position(d, np.delete(indices, chosen, axis=1))
                total -= q[k][of_q] * a[n - k][of_a]
        a.append(total)
    return SymmetricTensor._owning(order, d, a[order] / factorial(order))


def _transfer_derivatives(order: int, d: int) -> tuple[list[Floats], list[Floats]]:
    """Packed partial derivatives at U = 0, order by order, of w and of q/h at r = 1."""
    w, q = [np.zeros(1)], [np.ones(1)]
    for n in range(1, order + 1):
        indices = index_table(d, n)
        w.append(np.empty(len(indices)))
        q.append(np.empty(len(indices)))
        last = indices[:, -1]
        run = (indices == last[:, None]).sum(axis=1)
        for m in range(1, n + 1):
            rows = np.flatnonzero(run == m)
            before = packed_position(d, indices[rows, : n - m])
            i, w0, q0 = last[rows], w[n - m][before], q[n - m][before]
            u = i * q0 - w0
            power = factorial(m) * (-1) ** (m - 1) / float(d) ** (2 * m)
            loss = power * (u / factorial(2 * m - 1) + q0 / factorial(2 * m))
            w[n][rows] = power * (u / factorial(2 * m) + q0 / factorial(2 * m + 1)) - (i + 1) * loss
            q[n][rows] = -loss
    return [values / d for values in w], q


def weinberg_eigenvalues(U: ArrayLike) -> Floats:
    r"""The d largest Weinberg eigenvalues of U (..., d), in falling order of magnitude; shape (..., d).

    .. math:: G U \psi = \eta \psi

    1/eta is a coupling at which U binds one state more, at threshold. G is positive, so every eta is real, for signed
    potentials too: positive ones belong to attraction, negative ones to repulsion turned over. G = V V^T, where V
    integrates from 0 to r, so V^T U V has the same spectrum. V^T U V is projected on Legendre polynomials, shell by
    shell (eight a shell up to d = 64, three from d = 129); the operator itself is exact. Up to d = 64 the largest
    eigenvalue is right to 1e-12; the k-th, whose wave function has k - 1/2 half-waves, as long as no shell holds more
    than about a quarter of one. The cost is an eigenvalue problem of about 512 rows a potential.

    Examples
    --------
    >>> eta = weinberg_eigenvalues(np.full(16, 2.0))
    >>> bool(np.allclose(eta[:3], 2.0 / (np.pi * np.array([0.5, 1.5, 2.5])) ** 2, rtol=1e-12))
    True
    """
    U = checks.real_array("U", U)
    d = U.shape[-1]
    m = max(3, min(8, 512 // d))
    checks.memory(f"U: d = {d}", 48 * m * (m + 1) * d**2, "take fewer shells")
    V = _integration(d, m)
    flat = U.reshape(-1, d)
    eta = np.empty(flat.shape)
    for row, potential in enumerate(flat):
        spectrum = np.linalg.eigvalsh(np.einsum("ias,i,iat->st", V, potential, V, optimize=True))
        eta[row] = spectrum[np.argsort(-np.abs(spectrum), kind="stable")[:d]]
    return eta.reshape(U.shape)


def _integration(d: int, m: int) -> Floats:
    """The integral from 0 to r, from m orthonormal Legendre polynomials a shell to m + 1; shape (d, m + 1, d m)."""
    h = 1.0 / d
    V, shell = np.zeros((d, m + 1, d, m)), np.arange(d)
    V[:, 0, :, 0] = h * np.tri(d, k=-1) + h / 2 * np.eye(d)  # all of the shells below, half of its own
    for n in range(m):
        # int P_n = (P_{n+1} - P_{n-1}) / (2n + 1), for orthonormal polynomials on a length h
        V[shell, n + 1, shell, n] = h / 2 / np.sqrt((2 * n + 1) * (2 * n + 3))
        if n:
            V[shell, n - 1, shell, n] = -h / 2 / np.sqrt((2 * n + 1) * (2 * n - 1))
    return V.reshape(d, m + 1, d * m)


def born_radius(U: ArrayLike) -> Floats:
    """The Born series' radius of convergence in the coupling, 1 over the largest ``|eta|``; U (..., d) -> (...).

    The series of U itself converges where this is above 1; infinite for U = 0.

    Examples
    --------
    >>> bool(np.isclose(born_radius(np.full(32, 1.0)), np.pi**2 / 4, rtol=1e-12))
    True
    """
    with np.errstate(divide="ignore", over="ignore"):
        return 1 / np.abs(weinberg_eigenvalues(U)[..., 0])


def pade(U: ArrayLike, m: int, n: int) -> Floats:
    r"""The [m/n] Padé approximant of the Born series, at coupling 1.

    .. math:: \frac{p_0 + \dots + p_m \lambda^m}{1 + q_1 \lambda + \dots + q_n \lambda^n}
              = \sum_{k \le m + n} a^{(k)} \lambda^k + O(\lambda^{m + n + 1})

    a_0 has poles, at the couplings that bind a state, and a rational function can follow it past them where the series
    cannot. Shape (...); at a pole a signed infinity or a huge value. m, the numerator's degree, is at least 1, n, the
    denominator's, at least 0, together 1000 at most; U (..., d).

    It is found from a_0 as a quotient of two series that converge everywhere, not from the terms, and so keeps its digits to
    any degrees: for a square well four times past the radius [6/6] and higher are right to 1e-14, where the terms' own
    rounding would leave 1e-10 (see `pade_of_terms`).

    Examples
    --------
    >>> U = np.full(8, 10.0)  # past the radius, one state bound
    >>> bool(np.isclose(pade(U, 8, 8), 1 - np.tan(np.sqrt(10)) / np.sqrt(10), rtol=1e-13))
    True
    """
    U = checks.real_array("U", U)
    m, n = _degrees(m, n)
    result = np.empty(U.size // U.shape[-1])
    for rows, x in shells.blocks(U, _BLOCK // (m + n + 1)):
        with np.errstate(over="ignore", invalid="ignore"):
            w, q = _coupling_series(x, m + n)
        series = checks.representable("U", np.stack([w, q]), _WEAKER)
        result[rows] = [of_quotient(series[0, :, k], series[1, :, k], m, n) for k in range(series.shape[-1])]
    return result.reshape(U.shape[:-1])[()]


def _degrees(m: int, n: int) -> tuple[int, int]:
    m = checks.integer("m", m, minimum=1, limit=LARGEST_ORDER)
    return m, checks.integer("n", n, minimum=0, limit=LARGEST_ORDER - m)


def pade_of_terms(terms: ArrayLike, m: int, n: int) -> Floats:
    """The [m/n] Padé approximant, at coupling 1, of a series whose terms are given, learned ones, say; shape (...).

    `terms` (..., m + n or more) are those of orders 1, 2, .., of which those past m + n are not used; m is at least 1,
    n at least 0, together 1000 at most. At a pole the result is a signed infinity or a huge value; fewer terms, or 0/0,
    are a ValueError. At a relative distance t from a pole the relative error is up to some 1e-12 / t, where a_0's own
    is 1e-16 / t. A series that is rational of lower degree has many solutions, all with the same quotient: that of
    smallest norm is taken. What rounding leaves of the terms tells high degrees no longer apart: for a square well four
    times past the radius [5/5] and higher stay at 1e-10 to 1e-8, ten times past it at 1e-6 to 1e-4; `pade` goes on.

    Examples
    --------
    >>> float(pade_of_terms([1.0, 0.5], 1, 1))      # 1 + 1/2 + 1/4 + ..
    2.0
    """
    m, n = _degrees(m, n)
    terms = checks.real_array("terms", terms)
    if terms.shape[-1] < m + n:
        raise ValueError(f"terms: shape {terms.shape}; the last axis must be m + n = {m + n} long or longer")
    flat = terms[..., : m + n].reshape(-1, m + n)
    result = np.array([of_terms(series, m, n) for series in flat])
    if np.isnan(result).any():
        raise ValueError("terms: the quotient is 0/0; take lower degrees")
    return result.reshape(terms.shape[:-1])[()]
