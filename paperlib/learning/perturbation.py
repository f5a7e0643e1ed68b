r"""Read Taylor tensors off trained ensembles, all orders at once or order by order.

Near U = 0 a network equals its Taylor series, and so does the target. There are two
protocols.

*Direct*: train one ensemble on the target and read all orders off it.

*Iterative*: train an ensemble, subtract the orders that it has learned from the target,
and train the next ensemble on the remainder. Each iteration adds one order.

.. math:: f_1 = f, \qquad
          f_{k+1}[U] = f_k[U] - \sum_{n \le k} s^{(n,k)} t^{(n,k)}_{i_1 \dots i_n} U_{i_1} \cdots U_{i_n}, \qquad
          t^{(n,k)} = \frac{1}{n!} \Big\langle \partial^n \mathrm{MLP}_k \Big\rangle_0

The learned tensors are *combined*: each ensemble corrects the errors of the lower
orders that the earlier ensembles left, to the extent that its members agree on the
correction.

.. math:: T^{(n)} = t^{(n,n)} + \sum_{k > n} s^{(n,k)}\, t^{(n,k)}, \qquad
          s = \max\Big(0,\, 1 - \frac{\sigma^2}{\|t\|^2}\Big)

Here :math:`\sigma^2` is the squared standard error of the mean over members, estimated
from the variation between them. The weight s is 0 if there is only one member, and 1
for n = k. The paper's second version proposes to remove the leading order, to train on
the remainder and to combine the results. The protocols are our own.

References
----------
- Kaspschak and Meißner, the paper (2021):
  https://doi.org/10.1103/PhysRevResearch.3.023223
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

from paperlib._support import validation
from paperlib._support.validation import Floats
from paperlib.learning.config import TrainingConfig
from paperlib.learning.ensemble import Ensemble
from paperlib.learning.targets.target import Target, orders_in_turn
from paperlib.learning.training import train_ensemble
from paperlib.networks.mlp import MLP
from paperlib.taylor.series import taylor_expand
from paperlib.taylor.symmetric import SymmetricTensor
from paperlib.taylor.tensors import derivative_tensor

__all__ = [
    "LearnedSeries",
    "compare_direct_iterative",
    "direct",
    "iterative",
    "relative_errors",
]


@dataclass(frozen=True, eq=False)
class LearnedSeries:
    """The Taylor series that networks have learned, callable as the approximation of its highest order.

    Parameters
    ----------
    ensembles : sequence of Ensemble
        Ensembles in the order of their training. The learned orders up to k were
        subtracted from the target of ensemble k before ensemble k + 1 was trained.
    order : int
        Highest order of the series, at least the number of ensembles and at most 20.
        Ensemble n gives order n. The last ensemble also gives the orders above the
        number of ensembles.

    Raises
    ------
    TypeError
        If an argument has the wrong type.
    ValueError
        If `ensembles` is empty, the networks differ in the number of inputs, or `order`
        is out of range.

    Examples
    --------
    >>> from paperlib import pretrained
    >>> series = LearnedSeries((pretrained.ensemble("scattering_lengths"),), order=2)
    >>> series.terms(np.zeros((3, 64))).shape
    (3, 3)
    """

    ensembles: Sequence[Ensemble]
    order: int

    def __post_init__(self) -> None:
        object.__setattr__(
            self,
            "ensembles",
            tuple(validation.sequence("ensembles", self.ensembles, Ensemble)),
        )
        if not self.ensembles:
            raise ValueError("ensembles = (): must be one or more")
        dims = {ensemble.member(0).dim for ensemble in self.ensembles}
        if len(dims) > 1:
            raise ValueError(
                f"ensembles: of networks with {sorted(dims)} inputs; must be of one kind"
            )
        order = validation.integer(
            "order",
            self.order,
            minimum=len(self.ensembles),
            limit=validation.TENSOR_ORDER,
        )
        object.__setattr__(self, "order", order)

    @property
    def dim(self) -> int:
        """Return the number of inputs d of the networks."""
        return self.ensembles[0].member(0).dim

    @cached_property
    def shares(self) -> Floats:
        """Return the weight of each ensemble in each learned tensor.

        Returns
        -------
        ndarray of float64, shape (order, ensembles)
            One row per order. The weight is 1 for the ensemble that gives the order, s
            for later ensembles and 0 for earlier ones. The array is cached and
            read-only.
        """
        shares = np.zeros((self.order, len(self.ensembles)))
        for n, row in enumerate(shares, 1):
            own = min(n, len(row)) - 1
            row[own] = 1.0
            row[own + 1 :] = [
                _agreement(ensemble, n) for ensemble in self.ensembles[own + 1 :]
            ]
        shares.flags.writeable = False  # the array is cached
        return shares

    @cached_property
    def tensors(self) -> tuple[SymmetricTensor, ...]:
        """Return the learned tensors of all orders, averaged over members.

        Returns
        -------
        tuple of SymmetricTensor
            The tensors of orders 1, 2, .., `order` and dimension d, including the
            factor 1/n!.
        """
        return tuple(self.tensor(n) for n in range(1, self.order + 1))

    def tensor(self, order: int) -> SymmetricTensor:
        """Return the learned tensor of one order, averaged over members.

        Parameters
        ----------
        order : int
            Order n of the tensor, from 1 to the highest learned.

        Returns
        -------
        SymmetricTensor
            The combined tensor of order n and dimension d, including the factor 1/n!.

        Raises
        ------
        TypeError
            If `order` is not an integer.
        ValueError
            If `order` is out of range.

        Examples
        --------
        >>> from paperlib import pretrained
        >>> series = LearnedSeries((pretrained.ensemble("scattering_lengths"),), order=2)
        >>> series.tensor(2).full().shape
        (64, 64)
        """
        return self._combined(
            order,
            lambda ensemble, n: _mean(
                ensemble, lambda member: _member_tensor(member, n)
            ),
        )

    def member_tensor(self, number: int, order: int) -> SymmetricTensor:
        """Return the tensor of one order that a single member of each ensemble has learned.

        The ensembles are combined with the weights `shares`, as in `tensor`.

        Parameters
        ----------
        number : int
            Index of the member in every ensemble, from 0.
        order : int
            Order n of the tensor, from 1 to the highest learned.

        Returns
        -------
        SymmetricTensor
            The tensor of order n and dimension d, including the factor 1/n!.

        Raises
        ------
        TypeError
            If an argument is not an integer.
        ValueError
            If an argument is out of range.

        Examples
        --------
        >>> from paperlib import pretrained
        >>> series = LearnedSeries((pretrained.ensemble("scattering_lengths"),), order=2)
        >>> series.member_tensor(0, order=1).full().shape
        (64,)
        """
        return self._combined(
            order, lambda ensemble, n: _member_tensor(ensemble.member(number), n)
        )

    def _combined(
        self, order: int, tensor: Callable[[Ensemble, int], SymmetricTensor]
    ) -> SymmetricTensor:
        """Return the weighted sum over ensembles of `tensor(ensemble, order)`."""
        order = validation.integer("order", order, minimum=1, maximum=self.order)
        parts = zip(self.shares[order - 1], self.ensembles, strict=True)
        return reduce(
            add, (tensor(ensemble, order) * share for share, ensemble in parts if share)
        )

    def terms(self, U: ArrayLike) -> Floats:
        """Return the learned terms of the series at the potentials U.

        The tensor of the highest order is not built.

        Parameters
        ----------
        U : array_like of float, shape (..., d)
            Potentials, finite.

        Returns
        -------
        ndarray of float64, shape (..., order + 1)
            The terms, from the constant to the highest order.

        Raises
        ------
        TypeError
            If U does not hold real numbers.
        ValueError
            If U has another shape or is not finite, or a term overflows float64.

        Examples
        --------
        >>> from paperlib import pretrained
        >>> series = LearnedSeries((pretrained.ensemble("scattering_lengths"),), order=2)
        >>> constant, first, second = series.terms(np.zeros(64))
        >>> float(abs(first)), float(abs(second))
        (0.0, 0.0)
        """
        U = validation.real_array("U", U, last=self.dim)
        try:
            with np.errstate(over="ignore", invalid="ignore"):
                means = [
                    _mean(each, lambda mlp: taylor_expand(mlp, self.order).terms(U))
                    for each in self.ensembles
                ]
        except ValueError as error:  # a term overflows float64
            raise ValueError(f"U: as {error}") from None
        # The constant is never subtracted, so the last ensemble learns it too, and
        # learns it best.
        shares = np.concatenate([np.eye(len(means))[-1:], self.shares])
        with np.errstate(over="ignore", invalid="ignore"):
            return validation.representable(
                "U", np.einsum("nk,k...n->...n", shares, np.array(means)), "scale it"
            )

    def __call__(self, U: ArrayLike) -> Floats:
        """Return the learned approximation of the highest order, the sum of the terms.

        Parameters
        ----------
        U : array_like of float, shape (..., d)
            Potentials, finite.

        Returns
        -------
        ndarray of float64, shape (...)
            The approximation of the target.

        Raises
        ------
        TypeError
            If U does not hold real numbers.
        ValueError
            If U has another shape or is not finite, or the result overflows float64.

        Examples
        --------
        >>> from paperlib import pretrained
        >>> series = LearnedSeries((pretrained.ensemble("scattering_lengths"),), order=2)
        >>> series(np.zeros((3, 64))).shape
        (3,)
        """
        with np.errstate(over="ignore"):
            return validation.representable("U", self.terms(U).sum(axis=-1), "scale it")


def _member_tensor(mlp: MLP, order: int) -> SymmetricTensor:
    """Return the Taylor tensor of a network at the origin: its partial derivatives of one order, divided by n!."""
    return derivative_tensor(mlp, order, np.zeros(mlp.dim)) / factorial(order)


def _mean(ensemble: Ensemble, of_member: Callable[[MLP], Any]) -> Any:
    """Return the mean of a function of a member over all members of an ensemble."""
    # Members are added one at a time, because a tensor of order 5 has ten million
    # entries.
    return reduce(add, map(of_member, ensemble.members)) / len(ensemble.members)


def _agreement(ensemble: Ensemble, order: int) -> float:
    """Return the weight s of an ensemble's mean tensor of one order, by James-Stein shrinkage towards zero.

    The weight grows with the agreement of the members. It is 0 if there is only one member.
    """
    tensors = [_member_tensor(member, order) for member in ensemble.members]
    count, mean = len(tensors), reduce(add, tensors) / len(tensors)
    if count == 1 or not mean.norm():
        return 0.0
    spread = sum((tensor - mean).norm() ** 2 for tensor in tensors) / (count - 1)
    return max(0.0, 1 - spread / count / mean.norm() ** 2)


def direct(
    target: Target,
    config: TrainingConfig,
    order: int,
    *,
    cache: str | Path | None = None,
) -> LearnedSeries:
    """Train one ensemble on the target and read all orders up to `order` off it.

    Parameters
    ----------
    target : Target
        The function to learn.
    config : TrainingConfig
        Configuration of the training.
    order : int
        Highest order of the series, from 1 to 20.
    cache : path, optional
        Folder that stores the trainings; see `training.train_ensemble`.

    Returns
    -------
    LearnedSeries
        The series of one ensemble.

    Raises
    ------
    TypeError
        If an argument has the wrong type.
    ValueError
        If `order` is out of range, the target lacks a fitted derivative, or every
        member diverged.

    Warns
    -----
    UserWarning
        If U = 0 is more than one standard deviation from the mean of the sampled
        potentials.

    Examples
    --------
    >>> from paperlib.learning.targets import scattering_length_target
    >>> config = TrainingConfig(
    ...     d=4, hidden=(8,), sampling="signed", samples=256, batch=32, steps=16, warmup=0, seeds=(7,)
    ... )
    >>> series = direct(scattering_length_target(), config, order=2)
    >>> [tensor.order for tensor in series.tensors]
    [1, 2]
    """
    order = validation.integer("order", order, minimum=1, limit=validation.TENSOR_ORDER)
    validation.instance("config", config, TrainingConfig)
    _warn_of_a_far_centre(config)
    return LearnedSeries((train_ensemble(config, target, cache=cache),), order)


def iterative(
    target: Target,
    configs: Sequence[TrainingConfig],
    *,
    exact: Sequence[SymmetricTensor] = (),
    cache: str | Path | None = None,
) -> LearnedSeries:
    """Learn a target order by order, each order from the remainder that the learned lower orders leave.

    Parameters
    ----------
    target : Target
        The function to learn.
    configs : sequence of TrainingConfig
        One configuration per order, with its own scale and sampling. All have the same
        d.
    exact : sequence of SymmetricTensor, optional
        Exact tensors of orders 1, 2, .. to subtract in place of the learned ones. The
        comparison shows the cost of the errors of the learned tensors. The returned
        series is read off the networks in both cases.
    cache : path, optional
        Folder that stores the trainings; see `training.train_ensemble`.

    Returns
    -------
    LearnedSeries
        The series of one ensemble per order.

    Raises
    ------
    TypeError
        If an argument has the wrong type.
    ValueError
        If `configs` is empty, the values of d differ, the target lacks a fitted
        derivative, `exact` has too few orders or another dimension, or every member of
        an ensemble diverged.

    Warns
    -----
    UserWarning
        If U = 0 is more than one standard deviation from the mean of the sampled
        potentials.

    Examples
    --------
    >>> from paperlib.learning.targets import scattering_length_target
    >>> config = TrainingConfig(
    ...     d=4, hidden=(8,), sampling="signed", samples=256, batch=32, steps=16, warmup=0, seeds=(7,)
    ... )
    >>> series = iterative(scattering_length_target(), [config, config])
    >>> len(series.ensembles), series.order
    (2, 2)
    """
    validation.instance("target", target, Target)
    configs = tuple(validation.sequence("configs", configs, TrainingConfig))
    if not configs:
        raise ValueError("configs = (): must be one TrainingConfig an order")
    if len({config.d for config in configs}) > 1:
        raise ValueError(
            f"configs: have d = {[config.d for config in configs]}; must have one"
        )
    exact = orders_in_turn("exact", exact)
    if exact and len(exact) < len(configs) - 1:
        raise ValueError(
            f"exact: {len(exact)} tensors; {len(configs)} orders need {len(configs) - 1}"
        )
    if exact and exact[0].dim != configs[0].d:
        raise ValueError(
            f"exact: tensors of dim {exact[0].dim}; configs have d = {configs[0].d}"
        )
    for config in set(configs):
        _warn_of_a_far_centre(config)
    ensembles: list = []
    removed: Sequence[SymmetricTensor] = ()
    for k, config in enumerate(configs, 1):
        ensembles.append(train_ensemble(config, target.subtract(removed), cache=cache))
        if k < len(configs):
            removed = exact[:k] or LearnedSeries(tuple(ensembles), k).tensors
    return LearnedSeries(tuple(ensembles), len(ensembles))


def _warn_of_a_far_centre(config: TrainingConfig) -> None:
    """Warn if U = 0, the expansion point of the series, is far from the sampled potentials.

    The distance from the mean is the root mean square over shells, in units of each shell's standard deviation. A
    distance above 1 counts as far.
    """
    U = config.potentials(1024, 0)
    far = np.sqrt(np.mean((U.mean(axis=0) / U.std(axis=0)) ** 2))
    if far > 1:
        warnings.warn(
            f"the centre U = 0 is {far:.1f} standard deviations from the mean of what is sampled ({config.sampling}, "
            f"min_scale = {config.min_scale:g}): what is learned there is extrapolated",
            stacklevel=3,
        )


def relative_errors(
    series: LearnedSeries, exact: Sequence[SymmetricTensor]
) -> tuple[Floats, Floats]:
    r"""Return the relative errors of learned tensors, compared with exact ones.

    Parameters
    ----------
    series : LearnedSeries
        The learned series.
    exact : sequence of SymmetricTensor
        Exact tensors of orders 1, 2, .., at most as far as the series goes.

    Returns
    -------
    mean : ndarray of float64, shape (orders,)
        The errors of the tensors averaged over members, one for each tensor of `exact`.
    members : ndarray of float64, shape (orders, members)
        The errors of the tensors of the first, second, .. members. The smallest
        ensemble determines the number of members.

    Raises
    ------
    TypeError
        If an argument has the wrong type.
    ValueError
        If `exact` has more orders than the series, or is not of orders 1, 2, .. and one
        dimension.

    Notes
    -----
    The errors use the Frobenius norm:

    .. math:: \epsilon_n = \| T^{(n)} - B^{(n)} \| \, / \, \| B^{(n)} \|

    Examples
    --------
    >>> from paperlib import born, pretrained
    >>> series = LearnedSeries((pretrained.ensemble("scattering_lengths"),), order=1)
    >>> mean, members = relative_errors(series, [born.born_tensor(1, 64)])
    >>> mean.shape, members.shape[0]
    ((1,), 1)
    """
    validation.instance("series", series, LearnedSeries)
    exact = orders_in_turn("exact", exact)
    if len(exact) > series.order:
        raise ValueError(f"exact: {len(exact)} orders; the series has {series.order}")
    count = min(len(ensemble.members) for ensemble in series.ensembles)
    mean = [
        (tensor - true).norm() / true.norm()
        for tensor, true in zip(series.tensors, exact, strict=False)
    ]
    members = [
        [
            (series.member_tensor(i, true.order) - true).norm() / true.norm()
            for i in range(count)
        ]
        for true in exact
    ]
    return np.array(mean), np.array(members)


def compare_direct_iterative(
    target: Target,
    config: TrainingConfig,
    exact: Sequence[SymmetricTensor],
    *,
    cache: str | Path | None = None,
) -> Floats:
    """Return the relative errors of the direct and the iterative protocol with the same total number of steps.

    Parameters
    ----------
    target : Target
        The function to learn.
    config : TrainingConfig
        Configuration of each order of the iterative protocol. The direct protocol takes
        its steps times the number of orders.
    exact : sequence of SymmetricTensor
        Exact tensors of orders 1, 2, ..
    cache : path, optional
        Folder that stores the trainings; see `training.train_ensemble`.

    Returns
    -------
    ndarray of float64, shape (2, orders, 1 + members)
        The errors of the direct protocol, then those of the iterative one. The first
        column is the error of the mean over members, and the other columns are the
        errors of the members.

    Raises
    ------
    TypeError
        If an argument has the wrong type.
    ValueError
        If `direct`, `iterative` or `relative_errors` refuses the arguments.

    Examples
    --------
    >>> from paperlib import born
    >>> from paperlib.learning.targets import scattering_length_target
    >>> config = TrainingConfig(
    ...     d=4, hidden=(8,), sampling="signed", samples=256, batch=32, steps=16, warmup=0, seeds=(7,)
    ... )
    >>> compare_direct_iterative(scattering_length_target(), config, [born.born_tensor(n, 4) for n in (1, 2)]).shape
    (2, 2, 2)
    """
    long = replace(config, steps=len(exact) * config.steps)
    series = (
        direct(target, long, len(exact), cache=cache),
        iterative(target, [config] * len(exact), cache=cache),
    )
    return np.array([np.column_stack(relative_errors(each, exact)) for each in series])
