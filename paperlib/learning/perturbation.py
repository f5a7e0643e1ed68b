r"""Read Taylor tensors off trained ensembles, all orders at once or order by order.

The target is a function f of the potentials U. The Taylor tensor of order n is the
symmetric tensor of its n-th derivatives at U = 0, divided by n!. An ensemble consists
of networks, its members, that are trained on the same function with different seeds.
The mean over members of their Taylor tensors of order n approximates the Taylor tensor
of that function. There are two protocols to learn the tensors of orders 1 to N.

*Direct*: train one ensemble on the target, and compute the Taylor tensors of all orders
from it.

*Iterative*: train N ensembles one after another. The first ensemble is trained on the
target itself, :math:`f_1 = f`. Let :math:`t^{(n,k)}` be the mean Taylor tensor of order
n of ensemble k. Before the next ensemble is trained, the tensors of orders 1 to k are
subtracted from the function that ensemble k was trained on:

.. math:: f_{k+1}[U] = f_k[U] - \sum_{n=1}^{k} s^{(n,k)}
          t^{(n,k)}_{i_1 \dots i_n} U_{i_1} \cdots U_{i_n}

Ensemble n is the first one whose tensor of order n is used. The later ensembles k > n
learn the error of that tensor, because it remains in :math:`f_k`. All these tensors are
*combined*, that is, added with weights s, to the learned tensor of order n:

.. math:: T^{(n)} = \sum_{k=n}^{N} s^{(n,k)}\, t^{(n,k)}, \qquad
          s^{(n,n)} = 1, \qquad
          s^{(n,k)} = \max\Big(0,\, 1 - \frac{\sigma^2}{\|t^{(n,k)}\|^2}\Big)
          \quad (k > n)

Here :math:`\|t\|` is the Frobenius norm, and :math:`\sigma^2` is the squared standard
error of the mean :math:`t^{(n,k)}`, estimated from the variation between the members of
ensemble k. The weight of a correction is therefore close to 1 if the members agree on
it. It is 0 if they do not agree, or if there is only one member.

The paper's second version proposes to remove the leading order, to train on the
remainder and to combine the results. The protocols here are our own.

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
    """The Taylor series at U = 0 that networks have learned.

    Calling the series evaluates the sum of all its terms, from the constant to the
    highest order.

    Parameters
    ----------
    ensembles : sequence of Ensemble
        Ensembles in the order of their training, with networks of the same number of
        inputs. Ensemble 1 was trained on the target. Ensemble k + 1 was trained on the
        target minus the terms of orders 1 to k that the first k ensembles have learned
        together, or minus exact terms. The direct protocol has one ensemble, and the
        iterative protocol one for each order.
    order : int
        Highest order of the series, at least the number of ensembles and at most 20.
        The tensor of order n is that of ensemble n, plus the corrections by later
        ensembles. For an order n above the number of ensembles, it is the tensor of the
        last ensemble.

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

        The learned tensor of order n is the weighted sum of the tensors of order n of
        all ensembles.

        Returns
        -------
        ndarray of float64, shape (order, ensembles)
            Row n - 1 holds the weights for order n. The weight is 0 for the ensembles
            before ensemble n, 1 for ensemble n, and from 0 to 1 for the ensembles after
            it: close to 1 if the members of that ensemble agree on their tensor of
            order n, and 0 if it has only one member. If there is no ensemble n, the
            last ensemble has the weight 1. The array is cached and read-only.

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
        """Return the learned Taylor tensors of all orders, averaged over members.

        Returns
        -------
        tuple of SymmetricTensor
            The tensors of orders 1, 2, .., `order`, each as `tensor` returns it. Their
            dimension is the number of inputs. The tuple is cached.

        Examples
        --------
        >>> from paperlib import pretrained
        >>> ensemble = pretrained.ensemble("scattering_lengths")
        >>> [tensor.order for tensor in LearnedSeries((ensemble,), order=2).tensors]
        [1, 2]
        """
        return tuple(self.tensor(n) for n in range(1, self.order + 1))

    def tensor(self, order: int) -> SymmetricTensor:
        """Return the learned Taylor tensor of one order, averaged over members.

        Parameters
        ----------
        order : int
            Order n of the tensor, from 1 to the highest order of the series.

        Returns
        -------
        SymmetricTensor
            The tensor of order n and dimension d: the n-th derivatives divided by n!,
            averaged over the members of each ensemble, and added over the ensembles
            with the weights `shares`.

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
        """Return the learned Taylor tensor of one order and one member per ensemble.

        The tensors of different members show how much a tensor depends on the seed.

        Parameters
        ----------
        number : int
            Index of the member in every ensemble, from 0 to the number of members of
            the smallest ensemble minus 1.
        order : int
            Order n of the tensor, from 1 to the highest order of the series.

        Returns
        -------
        SymmetricTensor
            The tensor of order n and dimension d: the n-th derivatives of the member
            divided by n!, added over the ensembles with the weights `shares`.

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
        """Return the sum of tensor(ensemble) over ensembles, with the weights `shares`.

        `tensor` maps an ensemble to a tensor of the order `order`. It is not called for
        ensembles of weight 0. Raise an error if `order` is not an order of the series.
        """
        order = validation.integer("order", order, minimum=1, maximum=self.order)
        parts = zip(self.shares[order - 1], self.ensembles, strict=True)
        return reduce(add, (tensor(each) * share for share, each in parts if share))

    def terms(self, U: ArrayLike) -> Floats:
        """Return the learned terms of the series at the potentials U.

        The term of order n is the learned tensor of order n, contracted n times with U.
        It is computed without the tensor itself. Only `shares` computes tensors, of
        orders below the number of ensembles.

        Parameters
        ----------
        U : array_like of float, shape (..., d)
            Potentials, finite.

        Returns
        -------
        ndarray of float64, shape (..., order + 1)
            The terms of orders 0, 1, .., `order`. The term of order 0, the constant, is
            the mean output of the last ensemble at U = 0.

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
            means = [
                reduce(add, self._member_terms(each, U)) / len(each.members)
                for each in self.ensembles
            ]
            # No constant is subtracted between two trainings, so every ensemble learns
            # the constant of the target. The last ensemble learns it best.
            shares = np.concatenate([np.eye(len(means))[-1:], self.shares])
            terms = np.einsum("nk,k...n->...n", shares, np.array(means))
        return validation.representable("U", terms, "use smaller values")

    def term_errors(self, U: ArrayLike) -> Floats:
        """Return the standard errors of the learned terms at the potentials U.

        The standard errors follow from the differences between the members of the last
        ensemble, because this ensemble is trained on the remainder that contains the
        errors of all ensembles before it. An error that its members share, such as that
        of the samples, is not part of them.

        Parameters
        ----------
        U : array_like of float, shape (..., d)
            Potentials, finite.

        Returns
        -------
        ndarray of float64, shape (..., order + 1)
            The standard error of each term that `terms` returns. It is infinite if the
            last ensemble has one member.

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
        >>> series.term_errors(np.zeros(64))[1:].tolist()
        [0.0, 0.0]
        """
        U = validation.real_array("U", U, last=self.dim)
        with np.errstate(over="ignore", invalid="ignore"):
            terms = np.array(self._member_terms(self.ensembles[-1], U))
            if len(terms) == 1:
                return np.full_like(terms[0], np.inf)
            errors = np.std(terms, axis=0) / np.sqrt(len(terms) - 1)
        return validation.representable("U", errors, "use smaller values")

    def tensor_error(self, order: int) -> float:
        """Return the standard error of the learned tensor of one order.

        The standard error follows from the differences between the members of the last
        ensemble, as in `term_errors`.

        Parameters
        ----------
        order : int
            Order n of the tensor, from 1 to the highest order of the series.

        Returns
        -------
        float
            The standard error in the Frobenius norm. It is infinite if the last
            ensemble has one member.

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
        >>> series = LearnedSeries((ensemble,), order=1)
        >>> bool(series.tensor_error(1) < series.tensor(1).norm())
        True
        """
        order = validation.integer("order", order, minimum=1, maximum=self.order)
        _, squared_error = _mean_and_squared_error(self.ensembles[-1], order)
        return float(np.sqrt(squared_error))

    def _member_terms(self, ensemble: Ensemble, U: Floats) -> list[Floats]:
        """Return the terms of each member of an ensemble, shape (..., order + 1).

        `U` has been checked. Raise a ValueError if a term overflows float64.
        """
        try:
            return [taylor_expand(m, self.order).terms(U) for m in ensemble.members]
        except ValueError:  # the arguments are checked, so a term overflows
            raise ValueError(
                "U: a term overflows float64; use smaller values"
            ) from None

    def __call__(self, U: ArrayLike) -> Floats:
        """Return the learned approximation of the target at U, the sum of all terms.

        Parameters
        ----------
        U : array_like of float, shape (..., d)
            Potentials, finite.

        Returns
        -------
        ndarray of float64, shape (...)
            The sum of the terms of orders 0 to `order` at each potential.

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
            total = self.terms(U).sum(axis=-1)
        return validation.representable("U", total, "use smaller values")


def _taylor_tensor(mlp: MLP, order: int) -> SymmetricTensor:
    """Return the tensor of all derivatives of one order n at U = 0, divided by n!.

    `mlp` is the network that is differentiated, and `order` is n.
    """
    return derivative_tensor(mlp, order, np.zeros(mlp.dim)) / factorial(order)


def _mean(ensemble: Ensemble, function: Callable[[MLP], Any]) -> Any:
    """Return the mean of function(member) over the members of an ensemble.

    The function returns an array or a SymmetricTensor, and so does `_mean`.
    """
    # The results are added one after another and not stored, because a tensor of order
    # 5 has ten million entries for 64 inputs.
    return reduce(add, map(function, ensemble.members)) / len(ensemble.members)


def _agreement(ensemble: Ensemble, order: int) -> float:
    """Return the weight of an ensemble's correction to the tensor of one order.

    The weight is max(0, 1 - e^2 / m^2). Here m is the Frobenius norm of the mean Taylor
    tensor of the N members, and e is the standard error of this mean: e^2 is the sum of
    the squared norms of the members' deviations from the mean, divided by N (N - 1).
    This is the James-Stein shrinkage towards zero. The weight is 0 if there is only one
    member or m is 0.
    """
    mean, squared_error = _mean_and_squared_error(ensemble, order)
    if len(ensemble.members) == 1 or not mean.norm():
        return 0.0
    return max(0.0, 1 - squared_error / mean.norm() ** 2)


def _mean_and_squared_error(
    ensemble: Ensemble, order: int
) -> tuple[SymmetricTensor, float]:
    """Return the mean Taylor tensor of the members and its squared standard error.

    The squared error is the sum of the squared norms of the N members' deviations from
    the mean, divided by N (N - 1). It is infinite if there is only one member.
    """
    tensors = [_taylor_tensor(member, order) for member in ensemble.members]
    count = len(tensors)
    mean = reduce(add, tensors) / count
    if count == 1:
        return mean, np.inf
    variance = sum((tensor - mean).norm() ** 2 for tensor in tensors) / (count - 1)
    return mean, variance / count


def direct(
    target: Target,
    config: TrainingConfig,
    order: int,
    *,
    cache: str | Path | None = None,
) -> LearnedSeries:
    """Train one ensemble on the target, and compute the Taylor series from it.

    Parameters
    ----------
    target : Target
        The function to learn.
    config : TrainingConfig
        Configuration of the training.
    order : int
        Highest order of the series, from 1 to 20.
    cache : path, optional
        Folder that stores the training in a file. If the file exists, the training
        resumes from it, or is skipped if it is complete.

    Returns
    -------
    LearnedSeries
        The Taylor series at U = 0, with one ensemble and the tensors of orders 1 to
        `order`.

    Raises
    ------
    TypeError
        If an argument has the wrong type.
    ValueError
        If `order` is out of range, the target lacks a derivative that `config.fit`
        includes, or every member diverged.

    Warns
    -----
    UserWarning
        If U = 0, the expansion point of the series, is more than one standard deviation
        from the mean of the sampled potentials, as a root mean square over the shells.

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
    """Learn the Taylor series of a target order by order, with one ensemble per order.

    The learned terms of orders 1 to k are subtracted from the target before ensemble k
    + 1 is trained.

    Parameters
    ----------
    target : Target
        The function to learn.
    configs : sequence of TrainingConfig
        The configurations of the trainings for orders 1, 2, .. They may differ in every
        field except d.
    exact : sequence of SymmetricTensor, optional
        Taylor tensors of the target at U = 0, of orders 1, 2, .., at least one fewer
        than `configs`. If given, their terms are subtracted in place of the learned
        ones. The result then shows how accurate a training is without the errors of the
        orders before it. The tensors of the returned series are those of the networks
        in both cases.
    cache : path, optional
        Folder that stores each training in a file. If the file of a training exists,
        the training resumes from it, or is skipped if it is complete.

    Returns
    -------
    LearnedSeries
        The Taylor series at U = 0. Its order and the number of its ensembles are the
        number of configurations.

    Raises
    ------
    TypeError
        If an argument has the wrong type.
    ValueError
        If `configs` is empty, the values of d differ, the target lacks a derivative
        that the `fit` of a configuration includes, `exact` has too few orders or a
        dimension other than d, or every member of an ensemble diverged.

    Warns
    -----
    UserWarning
        If U = 0, the expansion point of the series, is more than one standard deviation
        from the mean of the sampled potentials of a configuration, as a root mean
        square over the shells.

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
    """Raise a ValueError if the configurations and the exact tensors do not fit.

    All configurations must have the same d. The tensors, unless there are none, must
    have the dimension d, and all orders below the number of configurations.
    """
    dims = [config.d for config in configs]
    if len(set(dims)) > 1:
        raise ValueError(f"configs: have d = {dims}; must have the same d")
    if exact and len(exact) < len(configs) - 1:
        raise ValueError(
            f"exact: has {len(exact)} tensors; must have {len(configs) - 1} or more, "
            f"for {len(configs)} configs"
        )
    if exact and exact[0].dim != dims[0]:
        raise ValueError(
            f"exact: the tensors have dim {exact[0].dim}; must be {dims[0]}, as d in "
            "configs"
        )


def learn(
    target: Target,
    config: TrainingConfig,
    exact: Sequence[SymmetricTensor],
    protocol: str,
    cache: str | Path | None = None,
) -> tuple[LearnedSeries, tuple[Floats, Floats]]:
    """Learn a series by the protocol "direct" or "iterative", and compute its errors.

    `exact` are the Taylor tensors of the target at U = 0, of orders 1, 2, .. Their
    number is the order of the series. The iterative protocol trains with the same
    configuration for each order. `cache` is the folder that stores the trainings, or
    None to store none.

    Return the series and two arrays of relative errors in the Frobenius norm: the
    errors of the tensors averaged over members, shape (orders,), and the errors of the
    members' tensors, shape (orders, members).
    """
    if protocol == "direct":
        series = direct(target, config, len(exact), cache=cache)
    else:
        series = iterative(target, (config,) * len(exact), cache=cache)
    return series, relative_errors(series, exact)


def _warn_of_extrapolation(config: TrainingConfig) -> None:
    """Warn if U = 0, the expansion point of the series, is far from the samples.

    For each shell, the mean of 1024 sampled potentials is divided by their standard
    deviation. Warn if the root mean square of these numbers over the shells exceeds 1.
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
        Taylor tensors of the target at U = 0, of orders 1, 2, .., at most to the order
        of the series.

    Returns
    -------
    mean : ndarray of float64, shape (orders,)
        The error of the learned tensor that is averaged over members,
        ``series.tensor(n)``, for each order n of `exact`.
    members : ndarray of float64, shape (orders, members)
        The errors of the tensors of single members, ``series.member_tensor(number, n)``
        in row n - 1 and column `number`. The number of columns is the number of members
        of the smallest ensemble.

    Raises
    ------
    TypeError
        If an argument has the wrong type.
    ValueError
        If `exact` has more orders than the series, or is not of orders 1, 2, .. and one
        dimension.

    Notes
    -----
    With the Frobenius norm, the error of a learned tensor T, compared with the exact
    tensor B of the same order n, is

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
        raise ValueError(
            f"exact: has {len(exact)} tensors; must have at most {series.order}, the "
            "order of the series"
        )
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
    """Return the errors of the direct and the iterative protocol at the same cost.

    The direct protocol trains one ensemble, and the iterative protocol one for each
    order. Both take the same total number of steps.

    Parameters
    ----------
    target : Target
        The function to learn.
    config : TrainingConfig
        Configuration of each training of the iterative protocol. The training of the
        direct protocol has the same configuration, except that `steps` is multiplied by
        the number of orders.
    exact : sequence of SymmetricTensor
        Taylor tensors of the target at U = 0, of orders 1, 2, .. Their number is the
        number of orders that are learned.
    cache : path, optional
        Folder that stores each training in a file. If the file of a training exists,
        the training resumes from it, or is skipped if it is complete.

    Returns
    -------
    ndarray of float64, shape (2, orders, 1 + members)
        Relative errors of the learned tensors in the Frobenius norm. The first axis
        counts the protocols, direct and iterative. The first column has the errors of
        the tensors averaged over members. The other columns have the errors of the
        tensors of single members.

    Raises
    ------
    TypeError
        If an argument has the wrong type.
    ValueError
        If `exact` is empty or does not have orders 1, 2, .. and the dimension
        `config.d`, the target lacks a derivative that `config.fit` includes, every
        member of an ensemble diverged, or the two protocols have different numbers of
        members because some diverged.

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
