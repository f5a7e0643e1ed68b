r"""Read Taylor tensors off trained ensembles, all orders at once or order by order.

Near U = 0 a network equals its Taylor series, and so does the target. There are two
protocols.

*Direct*: train one ensemble on the target and read all orders off it.

*Iterative*: train an ensemble, subtract the orders that it has learned from the target,
and train the next ensemble on the remainder. Each iteration adds one order.

.. math:: f_1 = f, \qquad
          f_{k+1}[U] = f_k[U] - \sum_{n \le k} s^{(n,k)}
          t^{(n,k)}_{i_1 \dots i_n} U_{i_1} \cdots U_{i_n}, \qquad
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

PROTOCOLS = ("direct", "iterative")


@dataclass(frozen=True, eq=False)
class LearnedSeries:
    """The Taylor series that networks have learned.

    The series is callable as the approximation of its highest order.

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
        ensembles = tuple(validation.sequence("ensembles", self.ensembles, Ensemble))
        if not ensembles:
            raise ValueError("ensembles = (): must be one or more")
        dims = {ensemble.member(0).dim for ensemble in ensembles}
        if len(dims) > 1:
            raise ValueError(
                f"ensembles: networks have {sorted(dims)} inputs; "
                f"all must have the same number"
            )
        limits = {"minimum": len(ensembles), "limit": validation.TENSOR_ORDER}
        order = validation.integer("order", self.order, **limits)
        object.__setattr__(self, "ensembles", ensembles)
        object.__setattr__(self, "order", order)

    @property
    def dim(self) -> int:
        """Return the number of inputs d of the networks.

        Returns
        -------
        int
            The number of inputs.

        Examples
        --------
        >>> from paperlib import pretrained
        >>> LearnedSeries((pretrained.ensemble("scattering_lengths"),), order=1).dim
        64
        """
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

        Examples
        --------
        >>> from paperlib import pretrained
        >>> ensemble = pretrained.ensemble("scattering_lengths")
        >>> LearnedSeries((ensemble,), order=2).shares.tolist()
        [[1.0], [1.0]]
        """
        shares = np.zeros((self.order, len(self.ensembles)))
        for n, row in enumerate(shares, 1):
            own = min(n, len(row)) - 1
            row[own] = 1.0
            for later in range(own + 1, len(row)):
                row[later] = _agreement(self.ensembles[later], n)
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

        Examples
        --------
        >>> from paperlib import pretrained
        >>> ensemble = pretrained.ensemble("scattering_lengths")
        >>> [tensor.order for tensor in LearnedSeries((ensemble,), order=2).tensors]
        [1, 2]
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
        >>> ensemble = pretrained.ensemble("scattering_lengths")
        >>> series = LearnedSeries((ensemble,), order=2)
        >>> series.tensor(2).full().shape
        (64, 64)
        """
        return self._combined(
            order, lambda each: _mean(each, lambda mlp: _taylor_tensor(mlp, order))
        )

    def member_tensor(self, number: int, order: int) -> SymmetricTensor:
        """Return the learned tensor of one order of a single member of each ensemble.

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
        >>> ensemble = pretrained.ensemble("scattering_lengths")
        >>> series = LearnedSeries((ensemble,), order=2)
        >>> series.member_tensor(0, order=1).full().shape
        (64,)
        """
        return self._combined(
            order, lambda ensemble: _taylor_tensor(ensemble.member(number), order)
        )

    def _combined(
        self, order: int, tensor: Callable[[Ensemble], SymmetricTensor]
    ) -> SymmetricTensor:
        """Return the weighted sum over ensembles of their tensors of one order."""
        order = validation.integer("order", order, minimum=1, maximum=self.order)
        parts = zip(self.shares[order - 1], self.ensembles, strict=True)
        return reduce(add, (tensor(each) * share for share, each in parts if share))

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
        >>> ensemble = pretrained.ensemble("scattering_lengths")
        >>> series = LearnedSeries((ensemble,), order=2)
        >>> constant, first, second = series.terms(np.zeros(64))
        >>> float(abs(first)), float(abs(second))
        (0.0, 0.0)
        """
        U = validation.real_array("U", U, last=self.dim)
        with np.errstate(over="ignore", invalid="ignore"):
            try:
                means = [
                    _mean(each, lambda mlp: taylor_expand(mlp, self.order).terms(U))
                    for each in self.ensembles
                ]
            except ValueError as error:  # a term overflows float64
                raise ValueError(f"U: {error}") from None
            # The constant is never subtracted, so the last ensemble learns it too, and
            # learns it best.
            shares = np.concatenate([np.eye(len(means))[-1:], self.shares])
            terms = np.einsum("nk,k...n->...n", shares, np.array(means))
        return validation.representable("U", terms, "scale it")

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
        >>> ensemble = pretrained.ensemble("scattering_lengths")
        >>> series = LearnedSeries((ensemble,), order=2)
        >>> series(np.zeros((3, 64))).shape
        (3,)
        """
        with np.errstate(over="ignore"):
            return validation.representable("U", self.terms(U).sum(axis=-1), "scale it")


def _taylor_tensor(mlp: MLP, order: int) -> SymmetricTensor:
    """Return the Taylor tensor of a network at the origin, including 1/n!."""
    return derivative_tensor(mlp, order, np.zeros(mlp.dim)) / factorial(order)


def _mean(ensemble: Ensemble, function: Callable[[MLP], Any]) -> Any:
    """Return the mean of a function of a member over the members of an ensemble."""
    # Members are added one at a time, because a tensor of order 5 has ten million
    # entries.
    return reduce(add, map(function, ensemble.members)) / len(ensemble.members)


def _agreement(ensemble: Ensemble, order: int) -> float:
    """Return the weight s of an ensemble's mean tensor of one order.

    It is the James-Stein shrinkage towards zero, which grows with the agreement of the
    members. It is 0 if there is only one member.
    """
    tensors = [_taylor_tensor(member, order) for member in ensemble.members]
    count = len(tensors)
    mean = reduce(add, tensors) / count
    if count == 1 or not mean.norm():
        return 0.0
    variance = sum((tensor - mean).norm() ** 2 for tensor in tensors) / (count - 1)
    return max(0.0, 1 - variance / count / mean.norm() ** 2)


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
    ...     d=4, hidden=(8,), sampling="signed", steps=16, warmup=0, seeds=(7,)
    ... )
    >>> series = direct(scattering_length_target(), config, order=2)
    >>> [tensor.order for tensor in series.tensors]
    [1, 2]
    """
    order = validation.integer("order", order, minimum=1, limit=validation.TENSOR_ORDER)
    validation.instance("config", config, TrainingConfig)
    _warn_of_extrapolation(config)
    return LearnedSeries((train_ensemble(config, target, cache=cache),), order)


def iterative(
    target: Target,
    configs: Sequence[TrainingConfig],
    *,
    exact: Sequence[SymmetricTensor] = (),
    cache: str | Path | None = None,
) -> LearnedSeries:
    """Learn a target order by order.

    The learned orders are subtracted from the target before the next order is learned.

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
    ...     d=4, hidden=(8,), sampling="signed", steps=16, warmup=0, seeds=(7,)
    ... )
    >>> series = iterative(scattering_length_target(), [config, config])
    >>> len(series.ensembles), series.order
    (2, 2)
    """
    validation.instance("target", target, Target)
    configs = tuple(validation.sequence("configs", configs, TrainingConfig))
    if not configs:
        raise ValueError("configs = (): must be one TrainingConfig for each order")
    exact = orders_in_turn("exact", exact)
    _check_sizes(configs, exact)
    for config in set(configs):
        _warn_of_extrapolation(config)
    ensembles: list = []
    removed: Sequence[SymmetricTensor] = ()
    for k, config in enumerate(configs, 1):
        ensembles.append(train_ensemble(config, target.subtract(removed), cache=cache))
        if k < len(configs):
            removed = exact[:k] or LearnedSeries(tuple(ensembles), k).tensors
    return LearnedSeries(tuple(ensembles), len(ensembles))


def _check_sizes(
    configs: Sequence[TrainingConfig], exact: Sequence[SymmetricTensor]
) -> None:
    """Raise a ValueError unless the configurations and the exact tensors agree."""
    dims = [config.d for config in configs]
    if len(set(dims)) > 1:
        raise ValueError(f"configs: have d = {dims}; must have one d")
    if exact and len(exact) < len(configs) - 1:
        raise ValueError(
            f"exact: {len(exact)} tensors; {len(configs)} orders need "
            f"{len(configs) - 1}"
        )
    if exact and exact[0].dim != dims[0]:
        raise ValueError(
            f"exact: tensors of dim {exact[0].dim}; configs have d = {dims[0]}"
        )


def learn(
    target: Target,
    config: TrainingConfig,
    exact: Sequence[SymmetricTensor],
    protocol: str,
    cache: str | Path | None = None,
) -> tuple[LearnedSeries, tuple[Floats, Floats]]:
    """Learn all orders of `exact` by one of PROTOCOLS, and compare them with `exact`.

    Return the series and its `relative_errors`. The iterative protocol uses the
    configuration for each order.
    """
    if protocol == "direct":
        series = direct(target, config, len(exact), cache=cache)
    else:
        series = iterative(target, (config,) * len(exact), cache=cache)
    return series, relative_errors(series, exact)


def _warn_of_extrapolation(config: TrainingConfig) -> None:
    """Warn if U = 0, the expansion point of the series, is far from the samples.

    The distance from the mean is the root mean square over shells, in units of each
    shell's standard deviation. A distance above 1 counts as far.
    """
    U = config.potentials(1024, 0)
    distance = np.sqrt(np.mean((U.mean(axis=0) / U.std(axis=0)) ** 2))
    if distance > 1:
        warnings.warn(
            f"the expansion point U = 0 is {distance:.1f} standard deviations from the "
            f"mean of the sampled potentials ({config.sampling}, min_scale = "
            f"{config.min_scale:g}): the series is extrapolated",
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
        Exact tensors of orders 1, 2, .., at most to the order of the series.

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
    mean = np.empty(len(exact))
    members = np.empty((len(exact), count))
    for row, tensor in enumerate(exact):
        mean[row] = (series.tensors[row] - tensor).norm() / tensor.norm()
        for number in range(count):
            learned = series.member_tensor(number, tensor.order)
            members[row, number] = (learned - tensor).norm() / tensor.norm()
    return mean, members


def compare_direct_iterative(
    target: Target,
    config: TrainingConfig,
    exact: Sequence[SymmetricTensor],
    *,
    cache: str | Path | None = None,
) -> Floats:
    """Return the relative errors of both protocols for the same number of steps.

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
        If `direct`, `iterative` or `relative_errors` raises it for the arguments.

    Examples
    --------
    >>> from paperlib import born
    >>> from paperlib.learning.targets import scattering_length_target
    >>> config = TrainingConfig(
    ...     d=4, hidden=(8,), sampling="signed", steps=16, warmup=0, seeds=(7,)
    ... )
    >>> exact = [born.born_tensor(n, 4) for n in (1, 2)]
    >>> compare_direct_iterative(scattering_length_target(), config, exact).shape
    (2, 2, 2)
    """
    long = replace(config, steps=len(exact) * config.steps)
    _, by_direct = learn(target, long, exact, "direct", cache)
    _, by_iterative = learn(target, config, exact, "iterative", cache)
    return np.array([np.column_stack(each) for each in (by_direct, by_iterative)])
