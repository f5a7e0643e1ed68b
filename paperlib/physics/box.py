r"""A second theory: the ground state of a particle in a box, whose Taylor series is Rayleigh-Schrödinger's.

The box is [0, 1] with d inner grid points, energies in units of :math:`\hbar^2 / 2 m L^2`:

.. math:: H[V] = K + \operatorname{diag}(V), \qquad K = (d + 1)^2 \operatorname{tridiag}(-1, 2, -1), \qquad
          E[V] = \min \operatorname{spec} H[V]

Learning E from samples of V with a network is the problem of Mills, Spanner and Tamblyn.

References
----------
- Schrödinger, Quantisierung als Eigenwertproblem III (1926): https://doi.org/10.1002/andp.19263851302
- Mills, Spanner and Tamblyn, Deep learning and the Schrödinger equation (2017): https://arxiv.org/abs/1702.01361
"""

from itertools import permutations
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from paperlib._support import checks
from paperlib._support.checks import Floats
from paperlib.taylor.symmetric import SymmetricTensor, index_table

__all__ = ["box_tensor", "energy", "energy_gradient", "energy_jet"]

MOST_POINTS = 4096
LARGEST_V = 1e100  # past it LAPACK's squares may not be doubles


def _kinetic(d: int) -> Floats:
    return (d + 1) ** 2 * (2 * np.eye(d) - np.eye(d, k=1) - np.eye(d, k=-1))


def box_tensor(order: int, d: int) -> SymmetricTensor:
    r"""The Taylor tensor of the ground-state energy at V = 0, by Rayleigh-Schrödinger perturbation theory.

    E[V] = E[0] + T_i V_i + T_ij V_i V_j + ..; `order` from 1 to 3, d from 2 to 4096.

    With the free ground state :math:`\psi` and the reduced resolvent :math:`R = \sum_{m > 0} |m\rangle\langle m| / (E_0 - E_m)`,
    symmetrised over the indices:

    .. math:: T_i = \psi_i^2, \quad T_{ij} = \psi_i R_{ij} \psi_j, \quad
              T_{ijk} = \psi_i R_{ij} R_{jk} \psi_k - \psi_i^2\, \psi_j (R^2)_{jk} \psi_k

    Examples
    --------
    >>> float(box_tensor(1, 8).packed.sum().round(12))      # a constant potential shifts the energy by itself,
    1.0
    >>> bool(np.isclose(box_tensor(2, 8).contract(np.ones(8)), 0))      # and by no more
    True
    """
    order = checks.integer("order", order, minimum=1, maximum=3)
    d = checks.integer("d", d, minimum=2, limit=MOST_POINTS)
    energies, states = np.linalg.eigh(_kinetic(d))
    psi = states[:, 0]
    R = (states[:, 1:] / (energies[0] - energies[1:])) @ states[:, 1:].T

    def summand(i: Floats, j: Any = None, k: Any = None) -> Floats:
        if order == 1:
            return psi[i] ** 2
        if order == 2:
            return psi[i] * R[i, j] * psi[j]
        return psi[i] * R[i, j] * R[j, k] * psi[k] - psi[i] ** 2 * psi[j] * (R @ R)[j, k] * psi[k]

    columns = index_table(d, order).T
    return SymmetricTensor(order, d, np.mean([summand(*turned) for turned in permutations(columns)], axis=0))


def energy(V: ArrayLike) -> Floats:
    """The ground-state energy; V of shape (n, d) -> (n,).

    Examples
    --------
    >>> energy(np.zeros((1, 3))).round(4)     # 32 (1 - cos(pi/4))
    array([9.3726])
    """
    return np.asarray(np.linalg.eigvalsh(_hamiltonians(V))[:, 0], np.float64)


def energy_gradient(V: ArrayLike) -> Floats:
    r"""Its gradient, by Hellmann and Feynman: :math:`\partial E / \partial V_i = \psi_i^2`; (n, d) -> (n, d)."""
    return np.linalg.eigh(_hamiltonians(V))[1][:, :, 0] ** 2


def energy_jet(V: ArrayLike, v: ArrayLike) -> tuple[Floats, Floats, Floats]:
    r"""Energy (n,), gradient (n, d), and the Hessian times v (n, d), by second-order perturbation theory; V and v (n, d).

    .. math:: \sum_j \frac{\partial^2 E}{\partial V_i \partial V_j} v_j
              = 2\, \psi_i \sum_{m > 0} m_i \frac{\langle m | v | \psi \rangle}{E - E_m}
    """
    H = _hamiltonians(V)
    v = checks.alike("v", v, "V", H.shape[:2])
    energies, states = np.linalg.eigh(H)
    psi, excited = states[:, :, 0], states[:, :, 1:]
    with np.errstate(all="ignore"):
        amplitudes = np.einsum("nim,ni->nm", excited, v * psi) / (energies[:, :1] - energies[:, 1:])
        product = 2 * psi * np.einsum("nim,nm->ni", excited, amplitudes)
    return energies[:, 0], psi**2, checks.representable("v", product, "scale it, or take V without degenerate levels")


def _hamiltonians(V: ArrayLike) -> Floats:
    V = checks.real_array("V", V)
    if V.ndim != 2:
        raise ValueError(f"V: shape {V.shape}; must be (n, {V.shape[-1]})")
    if np.abs(V).max() > LARGEST_V:
        raise ValueError(f"V: holds {np.abs(V).max():.3g}; must be from -{LARGEST_V:g} to {LARGEST_V:g}")
    d = V.shape[1]
    if d > MOST_POINTS:
        raise ValueError(f"V: {d} points; at most {MOST_POINTS} are taken")
    checks.memory("V", 32 * len(V) * d * d, "take fewer at a time")
    H = np.zeros((len(V), d, d)) + _kinetic(d)
    H[:, np.arange(d), np.arange(d)] += V
    return H
