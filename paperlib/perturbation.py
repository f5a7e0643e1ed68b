r"""Perturbation theory for networks: the Taylor tensors that an ensemble has learned, all at once or order by order.

Near U = 0 every network is its Taylor series, and so is the target. *Direct*: train one
ensemble on the target and read all orders off it. *Iterative*: train the first ensemble on the target, take the first order
that it has learned off the target, train the next on what is left, and so on; order n is read off ensemble n alone.

.. math:: f_1 = f, \qquad T^{(n)} = \frac{1}{n!} \Big\langle \partial^n \mathrm{MLP}_n \Big\rangle_0, \qquad
          f_{n+1} = f_n - T^{(n)}_{i_1 \dots i_n} U_{i_1} \cdots U_{i_n}

The mean is over the members of ensemble n. The paper's second version proposes the iteration; the protocols are ours.
"""

from dataclasses import dataclass
from functools import cached_property
from math import factorial
from pathlib import Path

import numpy as np

from paperlib import checks
from paperlib.symmetric import SymmetricTensor
from paperlib.targets import orders_in_turn
from paperlib.taylor import derivative_tensor
from paperlib.training import TrainingConfig, train_ensemble

__all__ = ["LearnedSeries", "direct", "iterative", "relative_errors"]


@dataclass(frozen=True, eq=False)
class LearnedSeries:
    """The series that networks have learned, and the approximations of order n that it makes.

    Parameters
    ----------
    ensembles : tuple of Ensemble
        Order n is read off `ensembles[n - 1]`.

    Examples
    --------
    >>> from paperlib import reference
    >>> series = LearnedSeries((reference.ensemble("scattering_lengths"),) * 2)
    >>> series.order, series.terms(np.zeros((3, 64))).shape
    (2, (3, 3))
    """

    ensembles: tuple

    def __post_init__(self):
        if not self.ensembles:
            raise ValueError("ensembles = (): must be one or more")
        dims = {ensemble.mlp(0).dim for ensemble in self.ensembles}
        if len(dims) > 1:
            raise ValueError(f"ensembles: of networks with {sorted(dims)} inputs; must be of one kind")

    @property
    def order(self):
        """The highest order learned."""
        return len(self.ensembles)

    @property
    def dim(self):
        """The number of inputs."""
        return self.ensembles[0].mlp(0).dim

    @cached_property
    def constant(self):
        """The learned value at the centre: order zero."""
        return float(self.ensembles[0].mean(np.zeros(self.dim)))

    @cached_property
    def tensors(self):
        """The learned tensors of orders 1, 2, ..: means over members; a tuple of SymmetricTensor."""
        return tuple(_mean_tensor(ensemble, n) for n, ensemble in enumerate(self.ensembles, 1))

    def tensor(self, order):
        """The learned tensor of one order.

        Raises
        ------
        ValueError
            If `order` is not from 1 to the highest order learned.
        """
        return self.tensors[checks.integer("order", order, minimum=1, maximum=self.order) - 1]

    def terms(self, U):
        """The learned terms, order by order.

        Parameters
        ----------
        U : array_like of float, shape (..., d)

        Returns
        -------
        ndarray of float64, shape (..., order + 1)
            From the constant up.
        """
        U = checks.real_array("U", U, last=self.dim)
        terms = [tensor.contract(U) for tensor in self.tensors]
        return np.stack([np.full(U.shape[:-1], self.constant), *terms], axis=-1)

    def __call__(self, U):
        """The learned approximation of the highest order: the sum of the terms."""
        return self.terms(U).sum(axis=-1)


def _member_tensor(mlp, order):
    return derivative_tensor(mlp, order, np.zeros(mlp.dim)) / factorial(order)


def _mean_tensor(ensemble, order):
    # One member's tensor at a time: at order 5 each is tens of millions of numbers.
    total = sum((_member_tensor(member, order).packed for member in ensemble.members), 0.0)
    return SymmetricTensor(order, ensemble.mlp(0).dim, total / len(ensemble.members))


def direct(target, config, order, *, checkpoint=None):
    """Train one ensemble on the target and read all orders off it.

    Parameters
    ----------
    target : Target
    config : TrainingConfig
    order : int, at least 1
    checkpoint : path, optional
        See `training.train_ensemble`.

    Returns
    -------
    LearnedSeries
    """
    order = checks.integer("order", order, minimum=1)
    return LearnedSeries((train_ensemble(config, target, checkpoint=checkpoint),) * order)


def iterative(target, configs, *, exact=(), checkpoints=None):
    """Learn a target order by order, each from what the learned lower orders leave of it.

    Parameters
    ----------
    target : Target
    configs : sequence of TrainingConfig
        One an order, each with a scale and a sampling of its own.
    exact : sequence of SymmetricTensor, optional
        Tensors of orders 1, 2, .. to take off in place of the learned ones: what it costs that those are not exact.
    checkpoints : path, optional
        A folder for the checkpoints, one an order.

    Returns
    -------
    LearnedSeries

    Raises
    ------
    ValueError
        If `configs` is empty or their d differ, or `exact` is given for fewer orders than needed.
    """
    configs = tuple(configs)
    if not configs or not all(isinstance(config, TrainingConfig) for config in configs):
        raise ValueError(f"configs = {configs!r}: must be one TrainingConfig an order")
    if len({config.d for config in configs}) > 1:
        raise ValueError(f"configs: have d = {[config.d for config in configs]}; must have one")
    exact = orders_in_turn("exact", exact)
    if exact and len(exact) < len(configs) - 1:
        raise ValueError(f"exact: {len(exact)} tensors; {len(configs)} orders need {len(configs) - 1}")
    if exact and exact[0].dim != configs[0].d:
        raise ValueError(f"exact: tensors of dim {exact[0].dim}; configs have d = {configs[0].d}")
    ensembles, removed = [], []
    for n, config in enumerate(configs, 1):
        checkpoint = None if checkpoints is None else Path(checkpoints) / f"order_{n}.npz"
        ensemble = train_ensemble(config, target.less(removed), checkpoint=checkpoint)
        ensembles.append(ensemble)
        if n < len(configs):
            removed.append(exact[n - 1] if exact else _mean_tensor(ensemble, n))
    return LearnedSeries(tuple(ensembles))


def relative_errors(series, exact):
    r"""How far learned tensors are from exact ones.

    .. math:: \epsilon_n = \| T^{(n)} - B^{(n)} \| \, / \, \| B^{(n)} \| \qquad \text{(Frobenius)}

    Parameters
    ----------
    series : LearnedSeries
    exact : sequence of SymmetricTensor
        Of orders 1, 2, .., no more than were learned.

    Returns
    -------
    mean : ndarray of float64, shape (orders,)
        Of the ensemble means.
    members : list of ndarray of float64, each of shape (members,)
        Of the members, order by order.
    """
    exact = orders_in_turn("exact", exact)
    if len(exact) > series.order:
        raise ValueError(f"exact: {len(exact)} orders; the series has {series.order}")
    mean, members = [], []
    for tensor, ensemble, true in zip(series.tensors, series.ensembles, exact, strict=False):
        size = true.norm()
        mean.append((tensor - true).norm() / size)
        members.append(
            np.array([(_member_tensor(member, true.order) - true).norm() / size for member in ensemble.members])
        )
    return np.array(mean), members
