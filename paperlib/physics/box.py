r"""Compute the ground-state energy of a particle in a box, and its derivatives.

The box is a second theory for networks to learn, beside S-wave scattering. The Taylor
series of its energy is the Rayleigh-Schrödinger perturbation series. The particle has
mass m, the box has length L, and the potential V has one value at each of d inner grid
points. In units of :math:`\hbar^2 / 2 m L^2`, the Hamiltonian H, the kinetic energy K
and the ground-state energy E are

.. math:: H[V] = K + \operatorname{diag}(V), \qquad
          K = (d + 1)^2 \operatorname{tridiag}(-1, 2, -1), \qquad
          E[V] = \min \operatorname{spec} H[V]

Mills, Spanner and Tamblyn studied how a network learns E from samples of V.

References
----------
- Schrödinger, Quantisierung als Eigenwertproblem III (1926):
  https://doi.org/10.1002/andp.19263851302
- Mills, Spanner and Tamblyn, Deep learning and the Schrödinger equation (2017):
  https://arxiv.org/abs/1702.01361
"""

from collections.abc import Callable
from itertools import permutations

import numpy as np
from numpy.typing import ArrayLike

from paperlib._support import validation
from paperlib._support.validation import Floats
from paperlib.taylor.symmetric import SymmetricTensor, index_table

__all__ = ["box_tensor", "energy", "energy_gradient", "energy_jet"]

MAX_POINTS = 4096
MAX_V = 1e100  # squares of larger values may overflow in LAPACK


def _kinetic(d: int) -> Floats:
    """Return the matrix K of the kinetic energy, shape (d, d), for d grid points.

    It is (d + 1)^2 times the matrix with 2 on the diagonal and -1 beside it, in units
    of hbar^2 / 2 m L^2.
    """
    return (d + 1) ** 2 * (2 * np.eye(d) - np.eye(d, k=1) - np.eye(d, k=-1))


def box_tensor(order: int, d: int) -> SymmetricTensor:
    r"""Return the Taylor tensor of the ground-state energy at V = 0.

    The tensor follows from Rayleigh-Schrödinger perturbation theory.

    Parameters
    ----------
    order : int
        Order of the tensor, from 1 to 3.
    d : int
        Number of inner grid points, from 2 to 4096.

    Returns
    -------
    SymmetricTensor
        The tensor T of E[V] = E[0] + T_i V_i + T_ij V_i V_j + .., of dimension d.
        Energies and potentials are in units of :math:`\hbar^2 / 2 m L^2`.

    Raises
    ------
    TypeError
        If `order` or `d` is not an integer.
    ValueError
        If `order` or `d` is out of range.

    Notes
    -----
    For V = 0, the ground state is :math:`\psi` with the energy :math:`E_0`, the excited
    states are :math:`|m\rangle` with the energies :math:`E_m`, and the reduced
    resolvent is :math:`R = \sum_{m > 0} |m\rangle\langle m| / (E_0 - E_m)`. The
    tensors are the following expressions, symmetrised over their indices:

    .. math:: T_i = \psi_i^2, \quad T_{ij} = \psi_i R_{ij} \psi_j, \quad
              T_{ijk} = \psi_i R_{ij} R_{jk} \psi_k
              - \psi_i^2\, \psi_j (R^2)_{jk} \psi_k

    Examples
    --------
    A constant potential shifts the energy by itself, and higher orders vanish:

    >>> float(box_tensor(1, 8).packed.sum().round(12))
    1.0
    >>> bool(np.isclose(box_tensor(2, 8).contract(np.ones(8)), 0))
    True
    """
    order = validation.integer("order", order, minimum=1, maximum=3)
    d = validation.integer("d", d, minimum=2, limit=MAX_POINTS)
    energies, states = np.linalg.eigh(_kinetic(d))
    psi = states[:, 0]
    R = (states[:, 1:] / (energies[0] - energies[1:])) @ states[:, 1:].T

    formulas: dict[int, Callable] = {
        1: lambda i: psi[i] ** 2,
        2: lambda i, j: psi[i] * R[i, j] * psi[j],
        3: lambda i, j, k: (
            psi[i] * R[i, j] * R[j, k] * psi[k]
            - psi[i] ** 2 * psi[j] * (R @ R)[j, k] * psi[k]
        ),
    }
    reordered = permutations(index_table(d, order).T)
    terms = [formulas[order](*indices) for indices in reordered]
    return SymmetricTensor(order, d, np.mean(terms, axis=0))


def energy(V: ArrayLike) -> Floats:
    r"""Return the ground-state energy of each potential.

    Parameters
    ----------
    V : array_like of float, shape (n, d)
        Potentials at the d inner grid points, in units of :math:`\hbar^2 / 2 m L^2`.

    Returns
    -------
    ndarray of float64, shape (n,)
        The energies, in the same units.

    Raises
    ------
    TypeError
        If V is not real.
    ValueError
        If V does not have the shape (n, d), is empty or not finite, holds a value
        outside -1e100 to 1e100, or has d above 4096, or if the matrices need more
        memory than is free.

    Examples
    --------
    >>> energy(np.zeros((1, 3))).round(4)     # 32 (1 - cos(pi/4))
    array([9.3726])
    """
    return np.asarray(np.linalg.eigvalsh(_hamiltonians(V))[:, 0], np.float64)


def energy_gradient(V: ArrayLike) -> Floats:
    r"""Return the gradient of the ground-state energy, by the Hellmann-Feynman theorem.

    Parameters
    ----------
    V : array_like of float, shape (n, d)
        Potentials at the d inner grid points, in units of :math:`\hbar^2 / 2 m L^2`.

    Returns
    -------
    ndarray of float64, shape (n, d)
        The dimensionless gradient :math:`\partial E / \partial V_i = \psi_i^2`, where
        :math:`\psi` is the normalised ground state.

    Raises
    ------
    TypeError
        If V is not real.
    ValueError
        If V does not have the shape (n, d), is empty or not finite, holds a value
        outside -1e100 to 1e100, or has d above 4096, or if the matrices need more
        memory than is free.

    Examples
    --------
    >>> energy_gradient(np.zeros((1, 3))).round(12)     # sin(pi i/4)^2 / 2
    array([[0.25, 0.5 , 0.25]])
    """
    return np.linalg.eigh(_hamiltonians(V))[1][:, :, 0] ** 2


def energy_jet(V: ArrayLike, v: ArrayLike) -> tuple[Floats, Floats, Floats]:
    r"""Return the ground-state energy, its gradient, and its Hessian times v.

    Parameters
    ----------
    V : array_like of float, shape (n, d)
        Potentials at the d inner grid points, in units of :math:`\hbar^2 / 2 m L^2`.
    v : array_like of float, shape (n, d)
        Vectors that multiply the Hessians, one per potential.

    Returns
    -------
    energy : ndarray of float64, shape (n,)
        The energies, in the units of V.
    gradient : ndarray of float64, shape (n, d)
        The gradients.
    product : ndarray of float64, shape (n, d)
        The Hessian-vector products.

    Raises
    ------
    TypeError
        If V or v is not real.
    ValueError
        If V does not have the shape (n, d), is empty or not finite, holds a value
        outside -1e100 to 1e100, or has d above 4096, or if the matrices need more
        memory than is free. Also raised if v is not finite or does not have the shape
        of V, or if a product is not finite, as for a degenerate ground state.

    Notes
    -----
    Second-order perturbation theory gives the product:

    .. math:: \sum_j \frac{\partial^2 E}{\partial V_i \partial V_j} v_j
              = 2\, \psi_i \sum_{m > 0} m_i \frac{\langle m | v | \psi \rangle}{E - E_m}

    Here :math:`\psi` and E are the ground state of H[V] and its energy, and
    :math:`|m\rangle` and :math:`E_m` are the excited states and their energies.

    Examples
    --------
    A constant potential does not change the gradient:

    >>> E, gradient, product = energy_jet(np.zeros((1, 3)), np.ones((1, 3)))
    >>> bool(np.allclose(product, 0))
    True
    """
    H = _hamiltonians(V)
    v = validation.alike("v", v, "V", H.shape[:2])
    energies, states = np.linalg.eigh(H)
    psi, excited = states[:, :, 0], states[:, :, 1:]
    with np.errstate(all="ignore"):
        gaps = energies[:, :1] - energies[:, 1:]
        amplitudes = np.einsum("nim,ni->nm", excited, v * psi) / gaps
        product = 2 * psi * np.einsum("nim,nm->ni", excited, amplitudes)
    validation.representable(
        "v", product, "use a smaller v, or a V without degenerate levels"
    )
    return energies[:, 0], psi**2, product


def _hamiltonians(V: ArrayLike) -> Floats:
    """Return the Hamiltonians H[V] of potentials V (n, d), shape (n, d, d).

    Raise a TypeError or a ValueError if V is invalid, or if the matrices need more
    memory than is free.
    """
    V = validation.real_array("V", V)
    if V.ndim != 2:
        raise ValueError(f"V: shape {V.shape}; must be (n, {V.shape[-1]})")
    largest = np.abs(V).max()
    if largest > MAX_V:
        raise ValueError(
            f"V: holds a value of magnitude {largest:.3g}; must be at most {MAX_V:g}"
        )
    n, d = V.shape
    if d > MAX_POINTS:
        raise ValueError(f"V: has {d} grid points; must have at most {MAX_POINTS}")
    validation.memory("V", 32 * n * d * d, "take fewer potentials")
    H = np.zeros((n, d, d)) + _kinetic(d)
    H[:, np.arange(d), np.arange(d)] += V
    return H
