r"""Perturbation theory for networks: the Taylor tensors that ensembles have learned, all at once or order by order.

Near U = 0 every network is its Taylor series, and so is the target. *Direct*: train one ensemble on the target and read all
orders off it. *Iterative*: train an ensemble, take the orders that it has learned off the target, train the next on what is
left, one order more each time.

.. math:: f_1 = f, \qquad f_{k+1}[U] = f_k[U] - \sum_{n \le k} s^{(n,k)} t^{(n,k)}_{i_1 \dots i_n} U_{i_1} \cdots U_{i_n},
          \qquad t^{(n,k)} = \frac{1}{n!} \Big\langle \partial^n \mathrm{MLP}_k \Big\rangle_0

*Combined*, each ensemble corrects what those before it left of the lower orders, as far as its members agree on it:

.. math:: T^{(n)} = t^{(n,n)} + \sum_{k > n} s^{(n,k)}\, t^{(n,k)}, \qquad
          s = \max\Big(0,\, 1 - \frac{\sigma^2}{\|t\|^2}\Big)

with :math:`\sigma^2` the squared standard error of the mean over members, by their own spread; s = 0 if there is but one
member, and one for n = k. The paper's second version proposes to remove the leading order, train on the rest and combine;
the protocols are ours.

References
----------
- Kaspschak and Meißner, the paper (2021): https://doi.org/10.1103/PhysRevResearch.3.023223
"""

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, reduce
from math import factorial
from operator import add
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from paperlib._support import checks
from paperlib._support.checks import Floats
from paperlib.learning.configuration import TrainingConfig
from paperlib.learning.ensemble import Ensemble
from paperlib.learning.targets.target import Target, orders_in_turn
from paperlib.learning.training import train_ensemble
from paperlib.networks.mlp import MLP
from paperlib.taylor.expansion import taylor_expand
from paperlib.taylor.symmetric import SymmetricTensor
from paperlib.taylor.tensors import derivative_tensor

__all__ = ["LearnedSeries", "both_ways", "direct", "iterative", "relative_errors"]


@dataclass(frozen=True, eq=False)
class LearnedSeries:
    """The series that networks have learned, and the approximations of order n that it makes.

    Parameters
    ----------
    ensembles : tuple of Ensemble
        In the order of their training: the orders up to k of ensemble k were taken off before the next was trained.
    order : int
        The highest order read off the last ensemble, at least their number; lower ones are read off it too.

    Examples
    --------
    >>> from paperlib import reference
    >>> series = LearnedSeries((reference.ensemble("scattering_lengths"),), order=2)
    >>> series.terms(np.zeros((3, 64))).shape
    (3, 3)
    """

    ensembles: Sequence[Ensemble]
    order: int

    def __post_init__(self) -> None:
        object.__setattr__(self, "ensembles", tuple(checks.sequence("ensembles", self.ensembles, Ensemble)))
        if not self.ensembles:
            raise ValueError("ensembles = (): must be one or more")
        dims = {ensemble.mlp(0).dim for ensemble in self.ensembles}
        if len(dims) > 1:
            raise ValueError(f"ensembles: of networks with {sorted(dims)} inputs; must be of one kind")
        order = checks.integer("order", self.order, minimum=len(self.ensembles), limit=checks.TENSOR_ORDER)
        object.__setattr__(self, "order", order)

    @property
    def dim(self) -> int:
        """The number of inputs."""
        return self.ensembles[0].mlp(0).dim

    @cached_property
    def shares(self) -> Floats:
        """How much of each ensemble's tensors counts, shape (order, ensembles).

        One for the ensemble that an order is read off, s for those after it, nothing for those before it.
        """
        shares = np.zeros((self.order, len(self.ensembles)))
        for n, row in enumerate(shares, 1):
            own = min(n, len(row)) - 1
            row[own] = 1.0
            row[own + 1 :] = [_agreement(ensemble, n) for ensemble in self.ensembles[own + 1 :]]
        shares.flags.writeable = False  # they are kept
        return shares

    @cached_property
    def tensors(self) -> tuple[SymmetricTensor, ...]:
        """The learned tensors of orders 1, 2, ..: means over members; a tuple of SymmetricTensor."""
        return tuple(self.tensor(n) for n in range(1, self.order + 1))

    def tensor(self, order: int) -> SymmetricTensor:
        """The learned tensor of one order, from 1 to the highest learned."""
        return self._combined(order, lambda ensemble, n: _mean(ensemble, lambda member: _member_tensor(member, n)))

    def member_tensor(self, number: int, order: int) -> SymmetricTensor:
        """The tensor of one order that the members of this number alone have learned."""
        return self._combined(order, lambda ensemble, n: _member_tensor(ensemble.mlp(number), n))

    def _combined(self, order: int, tensor: Callable[[Ensemble, int], SymmetricTensor]) -> SymmetricTensor:
        order = checks.integer("order", order, minimum=1, maximum=self.order)
        parts = zip(self.shares[order - 1], self.ensembles, strict=True)
        return reduce(add, (tensor(ensemble, order) * share for share, ensemble in parts if share))

    def terms(self, U: ArrayLike) -> Floats:
        """The learned terms at U (..., d), from the constant up: (..., order + 1). No tensor of the highest order is built."""
        U = checks.real_array("U", U, last=self.dim)
        try:
            with np.errstate(over="ignore", invalid="ignore"):
                means = [_mean(each, lambda mlp: taylor_expand(mlp, self.order).terms(U)) for each in self.ensembles]
        except ValueError as error:  # beyond the largest double
            raise ValueError(f"U: as {error}") from None
        # The constant is never taken off, so the last ensemble has learned it too, and best.
        shares = np.concatenate([np.eye(len(means))[-1:], self.shares])
        with np.errstate(over="ignore", invalid="ignore"):
            return checks.representable("U", np.einsum("nk,k...n->...n", shares, np.array(means)), "scale it")

    def __call__(self, U: ArrayLike) -> Floats:
        """The learned approximation of the highest order: the sum of the terms."""
        with np.errstate(over="ignore"):
            return checks.representable("U", self.terms(U).sum(axis=-1), "scale it")


def _member_tensor(mlp: MLP, order: int) -> SymmetricTensor:
    return derivative_tensor(mlp, order, np.zeros(mlp.dim)) / factorial(order)


def _mean(ensemble: Ensemble, of_member: Callable[[MLP], Any]) -> Any:
    # One member's at a time: at order 5 a tensor is ten million numbers.
    return reduce(add, map(of_member, ensemble.members)) / len(ensemble.members)


def _agreement(ensemble: Ensemble, order: int) -> float:
    """The share s of an ensemble's mean tensor that its members agree on: James and Stein's shrinkage towards zero."""
    tensors = [_member_tensor(member, order) for member in ensemble.members]
    count, mean = len(tensors), reduce(add, tensors) / len(tensors)
    if count == 1 or not mean.norm():
        return 0.0
    spread = sum((tensor - mean).norm() ** 2 for tensor in tensors) / (count - 1)
    return max(0.0, 1 - spread / count / mean.norm() ** 2)


def direct(target: Target, config: TrainingConfig, order: int, *, cache: str | Path | None = None) -> LearnedSeries:
    """Train one ensemble on the target and read all orders up to `order` off it.

    `cache` is a folder where trainings are kept; see `training.train_ensemble`. A warning tells if U = 0 is more than a
    standard deviation from the mean of what is sampled.
    """
    order = checks.integer("order", order, minimum=1, limit=checks.TENSOR_ORDER)
    checks.instance("config", config, TrainingConfig)
    _warn_of_a_far_centre(config)
    return LearnedSeries((train_ensemble(config, target, cache=cache),), order)


def iterative(
    target: Target,
    configs: Sequence[TrainingConfig],
    *,
    exact: Sequence[SymmetricTensor] = (),
    cache: str | Path | None = None,
) -> LearnedSeries:
    """Learn a target order by order, each from what the learned lower orders leave of it.

    A ValueError if the configurations' d differ, a fit asks for what the target does not give, or `exact` is too short.

    Parameters
    ----------
    target : Target
    configs : sequence of TrainingConfig
        One an order, each with a scale and a sampling of its own.
    exact : sequence of SymmetricTensor, optional
        Tensors of orders 1, 2, .. to take off in place of the learned ones: what it costs that those are not exact. What is
        returned is read off the networks all the same.
    cache : path, optional
        A folder where trainings are kept; see `training.train_ensemble`.
    """
    checks.instance("target", target, Target)
    configs = tuple(checks.sequence("configs", configs, TrainingConfig))
    if not configs:
        raise ValueError("configs = (): must be one TrainingConfig an order")
    if len({config.d for config in configs}) > 1:
        raise ValueError(f"configs: have d = {[config.d for config in configs]}; must have one")
    exact = orders_in_turn("exact", exact)
    if exact and len(exact) < len(configs) - 1:
        raise ValueError(f"exact: {len(exact)} tensors; {len(configs)} orders need {len(configs) - 1}")
    if exact and exact[0].dim != configs[0].d:
        raise ValueError(f"exact: tensors of dim {exact[0].dim}; configs have d = {configs[0].d}")
    for config in set(configs):
        _warn_of_a_far_centre(config)
    ensembles: list = []
    removed: Sequence[SymmetricTensor] = ()
    for k, config in enumerate(configs, 1):
        ensembles.append(train_ensemble(config, target.minus(removed), cache=cache))
        if k < len(configs):
            removed = exact[:k] or LearnedSeries(tuple(ensembles), k).tensors
    return LearnedSeries(tuple(ensembles), len(ensembles))


def _warn_of_a_far_centre(config: TrainingConfig) -> None:
    """Say so if U = 0, where the series is taken, is not among what is sampled."""
    U = config.potentials(1024, 0)
    far = np.sqrt(np.mean((U.mean(axis=0) / U.std(axis=0)) ** 2))
    if far > 1:
        warnings.warn(
            f"the centre U = 0 is {far:.1f} standard deviations from the mean of what is sampled ({config.kind}, "
            f"smallest = {config.smallest:g}): what is learned there is extrapolated",
            stacklevel=3,
        )


def relative_errors(series: LearnedSeries, exact: Sequence[SymmetricTensor]) -> tuple[Floats, Floats]:
    r"""How far learned tensors are from exact ones.

    .. math:: \epsilon_n = \| T^{(n)} - B^{(n)} \| \, / \, \| B^{(n)} \| \qquad \text{(Frobenius)}

    Of the ensemble means, shape (orders,), and of what the first, second, .. members have learned, shape (orders,
    members); `exact` are tensors of orders 1, 2, .., no more than were learned.
    """
    checks.instance("series", series, LearnedSeries)
    exact = orders_in_turn("exact", exact)
    if len(exact) > series.order:
        raise ValueError(f"exact: {len(exact)} orders; the series has {series.order}")
    count = min(len(ensemble.members) for ensemble in series.ensembles)
    mean = [(tensor - true).norm() / true.norm() for tensor, true in zip(series.tensors, exact, strict=False)]
    members = [
        [(series.member_tensor(i, true.order) - true).norm() / true.norm() for i in range(count)] for true in exact
    ]
    return np.array(mean), np.array(members)


def both_ways(
    target: Target, config: TrainingConfig, exact: Sequence[SymmetricTensor], *, cache: str | Path | None = None
) -> Floats:
    """Relative errors of tensors learned by one training, and order by order with as many steps in all.

    `config` is that of each order in turn; the one training has its steps times the orders of `exact`. The array is of
    shape (2, orders, 1 + members): direct and iterative, of the means first. See `direct` for `cache`.
    """
    long = replace(config, steps=len(exact) * config.steps)
    series = direct(target, long, len(exact), cache=cache), iterative(target, [config] * len(exact), cache=cache)
    return np.array([np.column_stack(relative_errors(each, exact)) for each in series])
