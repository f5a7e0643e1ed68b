"""Evaluate, save and load ensembles.

An ensemble consists of networks of the same shape, its members. They are trained
together on the same samples, each with a seed of its own, which determines its initial
weights.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from paperlib._support import validation
from paperlib._support.files import read_npz, write_npz
from paperlib._support.validation import Floats
from paperlib.networks.mlp import MLP, SMALLER, from_arrays, to_arrays

__all__ = ["Ensemble"]

# The curves of an ensemble, which record its training: the name of each array and its
# shape
CURVES = {
    "loss": "(epochs, members)",
    "validation": "(epochs, members)",
    "seconds": "(epochs,)",
}


@dataclass(frozen=True, eq=False)
class Ensemble:
    """Networks that were trained together, with a record of their training.

    Parameters
    ----------
    members : sequence of MLP
        At least one network. All have the same numbers of neurons and the same
        activation.
    seeds : sequence of int
        One seed for each member, in the order of `members`, within the range of int64.
    loss : ndarray of float64, shape (epochs, members)
        Training loss of each member in each epoch, averaged over the steps of the
        epoch. It is dimensionless, because each error in it is divided by a mean square
        or a variance.
    validation : ndarray of float64, shape (epochs, members)
        Validation error of each member after each epoch: the mean squared error of its
        values at held-out potentials, divided by the variance of the target there.
    seconds : ndarray of float64, shape (epochs,)
        Wall time in seconds of the steps of each epoch, for all members together. It
        does not include the time for drawing samples. It includes the time for
        compiling, if the first epoch of the training compiled the program.
    configuration : str
        JSON object with the fields of the `TrainingConfig` and the target's name. It is
        empty if they are not recorded.

    Raises
    ------
    TypeError
        If an argument has the wrong type.
    ValueError
        If `members` is empty, the members differ in the numbers of their neurons or in
        their activation, the numbers of members in the arguments differ, or the numbers
        of epochs in the arrays differ.

    Examples
    --------
    >>> network = MLP([[[1.0, 2.0]]], [[0.5]], "tanh")
    >>> curve = np.ones((1, 2))
    >>> ensemble = Ensemble((network, network), (0, 1), curve, curve, np.ones(1))
    >>> float(ensemble.mean([1.0, 1.0])), float(ensemble.std([1.0, 1.0]))
    (3.5, 0.0)
    """

    members: Sequence[MLP]
    seeds: Sequence[int]
    loss: Floats
    validation: Floats
    seconds: Floats
    configuration: str = ""

    def __post_init__(self) -> None:
        def store(name: str, value: Any) -> None:
            object.__setattr__(self, name, value)

        store("members", tuple(validation.sequence("members", self.members, MLP)))
        for name, shape in CURVES.items():
            curve = validation.shaped(name, getattr(self, name))
            if curve.ndim != len(shape.split(", ")):
                raise ValueError(f"{name}: shape {curve.shape}; must be {shape}")
            store(name, validation.frozen_copy(curve))
        validation.instance("configuration", self.configuration, str)
        seeds: list[Any] = validation.sequence("seeds", self.seeds)
        for n, seed in enumerate(seeds):
            seeds[n] = validation.integer(f"seeds[{n}]", seed, -(2**63), 2**63 - 1)
        store("seeds", tuple(seeds))
        self._check_consistency()

    def _check_consistency(self) -> None:
        """Raise a ValueError if members, seeds and curves do not fit together.

        All members must have the same numbers of neurons and the same activation, and
        all arguments the same number of members and of epochs.
        """
        if not self.members:
            raise ValueError("members = (): must be one MLP or more")
        architectures = [
            ([weight.shape for weight in member.weights], member.activation)
            for member in self.members
        ]
        for number, architecture in enumerate(architectures):
            if architecture != architectures[0]:
                raise ValueError(
                    f"members[{number}]: must have the shape and the activation of "
                    f"members[0]"
                )
        counts = {len(self.seeds), self.loss.shape[1], self.validation.shape[1]}
        if counts != {len(self.members)}:
            raise ValueError(
                f"seeds = {validation.brief(self.seeds)}: seeds, loss and validation "
                f"must have one entry for each of {len(self.members)} members"
            )
        if not len(self.loss) == len(self.validation) == len(self.seconds):
            raise ValueError(
                f"seconds, loss and validation: have {len(self.seconds)}, "
                f"{len(self.loss)} and {len(self.validation)} epochs; must have the "
                "same number"
            )

    def member(self, number: int) -> MLP:
        """Return one member of the ensemble.

        Parameters
        ----------
        number : int
            Index of the member, from 0 to the number of members minus 1.

        Returns
        -------
        MLP
            The network ``members[number]``.

        Raises
        ------
        TypeError
            If `number` is not an integer.
        ValueError
            If `number` is out of range.

        Examples
        --------
        >>> from paperlib import pretrained
        >>> pretrained.ensemble("scattering_lengths").member(0)
        MLP(64-64-64-64-1, silu)
        """
        last = len(self.members) - 1
        number = validation.integer("number", number, minimum=0, maximum=last)
        return self.members[number]

    def predict(self, x: ArrayLike) -> Floats:
        """Evaluate every member at the inputs x.

        Parameters
        ----------
        x : array_like of float, shape (..., d)
            Inputs, finite.

        Returns
        -------
        ndarray of float64, shape (members, ...)
            The output of each member. The leading axes of x follow the axis of the
            members.

        Raises
        ------
        TypeError
            If x does not hold real numbers.
        ValueError
            If x has another shape or is not finite, or an output overflows float64.

        Examples
        --------
        >>> from paperlib import pretrained
        >>> pretrained.ensemble("scattering_lengths").predict(np.zeros((3, 64))).shape
        (5, 3)
        """
        return np.stack([member(x) for member in self.members])

    def mean(self, x: ArrayLike) -> Floats:
        """Return the mean of the members' outputs.

        Parameters
        ----------
        x : array_like of float, shape (..., d)
            Inputs, finite.

        Returns
        -------
        ndarray of float64, shape (...)
            The mean over members.

        Raises
        ------
        TypeError
            If x does not hold real numbers.
        ValueError
            If x has another shape or is not finite, or the result overflows float64.

        Examples
        --------
        >>> from paperlib import pretrained
        >>> pretrained.ensemble("scattering_lengths").mean(np.zeros((3, 64))).shape
        (3,)
        """
        return self._over_members(np.mean, x)

    def std(self, x: ArrayLike) -> Floats:
        """Return the standard deviation of the members' outputs.

        Parameters
        ----------
        x : array_like of float, shape (..., d)
            Inputs, finite.

        Returns
        -------
        ndarray of float64, shape (...)
            The standard deviation over members, with the number of members as its
            divisor.

        Raises
        ------
        TypeError
            If x does not hold real numbers.
        ValueError
            If x has another shape or is not finite, or the result overflows float64.

        Examples
        --------
        >>> networks = [MLP([[[weight]]], [[0.0]], "tanh") for weight in (1.0, 3.0)]
        >>> curve = np.ones((1, 2))
        >>> ensemble = Ensemble(networks, (0, 1), curve, curve, np.ones(1))
        >>> ensemble.std([[1.0], [2.0]])
        array([1., 2.])
        """
        return self._over_members(np.std, x)

    def _over_members(self, statistic: Callable, x: ArrayLike) -> Floats:
        """Return statistic(outputs, axis=0), where axis 0 counts the members.

        The outputs are those of all members at the inputs x, shape (..., d). Raise a
        ValueError if an entry of the result overflows float64.
        """
        with np.errstate(over="ignore", invalid="ignore"):
            result = statistic(self.predict(x), axis=0)
        return validation.representable("x", result, SMALLER)

    def save(self, path: str | Path) -> None:
        """Write the ensemble to an .npz file in single precision.

        The weights that `train_ensemble` returns are numbers of single precision, so
        they are stored exactly. Other weights are rounded.

        Parameters
        ----------
        path : str or Path
            The file. A missing folder is created. An existing file is replaced when the
            new one is complete.

        Raises
        ------
        OSError
            If the file cannot be written.
        ValueError
            If `path` is a folder or cannot be printed.

        Examples
        --------
        >>> import tempfile
        >>> from paperlib import pretrained
        >>> ensemble = pretrained.ensemble("scattering_lengths")
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     ensemble.save(Path(folder) / "ensemble.npz")
        ...     [path.name for path in Path(folder).glob("*.npz")]
        ['ensemble.npz']
        """
        weights = zip(*(member.weights for member in self.members))
        biases = zip(*(member.biases for member in self.members))
        arrays = {name: getattr(self, name) for name in CURVES}
        arrays |= to_arrays(list(map(np.stack, weights)), list(map(np.stack, biases)))
        write_npz(
            path,
            activation=np.array(self.members[0].activation),
            configuration=np.array(self.configuration),
            seeds=np.array(self.seeds, dtype=np.int64),
            **{name: array.astype(np.float32) for name, array in arrays.items()},
        )

    @classmethod
    def load(cls, path: str | Path) -> "Ensemble":
        """Read an ensemble from a file that `save` wrote.

        Parameters
        ----------
        path : str or Path
            The .npz file.

        Returns
        -------
        Ensemble
            The ensemble, with weights and curves as arrays of float64.

        Raises
        ------
        FileNotFoundError
            If the file does not exist.
        ValueError
            If the file is damaged or does not hold an ensemble.

        Examples
        --------
        >>> import tempfile
        >>> from paperlib import pretrained
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder) / "ensemble.npz"
        ...     pretrained.ensemble("scattering_lengths").save(path)
        ...     Ensemble.load(path).seeds
        (0, 1, 2, 3, 4)
        """
        names = (*CURVES, "activation", "seeds", "weights_0", "biases_0")
        arrays = read_npz(path, names)
        try:
            weights, biases = from_arrays(arrays)
            seeds, activation = arrays["seeds"].tolist(), arrays["activation"].tolist()
            members = [
                MLP([w[i] for w in weights], [b[i] for b in biases], activation)
                for i in range(len(seeds))
            ]
            curves: dict = {name: arrays[name] for name in CURVES}
            configuration = str(arrays.get("configuration", ""))
            return cls(members, seeds, **curves, configuration=configuration)
        except (KeyError, IndexError, TypeError, ValueError) as error:
            raise ValueError(f"{path}: must hold an ensemble ({error})") from None
