"""Networks of one architecture that differ by their seed: what a training makes and a notebook opens."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from paperlib._support import checks
from paperlib._support.checks import Floats
from paperlib._support.files import read_npz, write_npz
from paperlib.networks.mlp import MLP, from_arrays, to_arrays

__all__ = ["Ensemble"]

CURVES = {"loss": "(epochs, members)", "validation": "(epochs, members)", "seconds": "(epochs,)"}


@dataclass(frozen=True, eq=False)
class Ensemble:
    """An ensemble of networks and the curves of their training.

    Parameters
    ----------
    members : tuple of MLP
        All of one shape and activation.
    seeds : tuple of int
        One a member.
    loss, validation : ndarray of float, shape (epochs, members)
        What was minimised, over each epoch's steps, and the mean squared error on held-out samples, in units of the
        target's variance.
    seconds : ndarray of float, shape (epochs,)
        Wall time of each epoch's steps, all members together; the first includes compiling them.
    configuration : str
        JSON of the fields of the `TrainingConfig` and of the target's name; empty where they are not known.

    Examples
    --------
    >>> network = MLP([[[1.0, 2.0]]], [[0.5]], "tanh")
    >>> ensemble = Ensemble((network, network), (0, 1), np.ones((1, 2)), np.ones((1, 2)), np.ones(1))
    >>> float(ensemble.mean([1.0, 1.0])), float(ensemble.spread([1.0, 1.0]))
    (3.5, 0.0)
    """

    members: Sequence[MLP]
    seeds: Sequence[int]
    loss: Floats
    validation: Floats
    seconds: Floats
    configuration: str = ""

    def __post_init__(self) -> None:
        members = tuple(checks.sequence("members", self.members, MLP))
        if not members:
            raise ValueError("members = (): must be one MLP or more")
        object.__setattr__(self, "members", members)
        for name, shape in CURVES.items():
            curve = checks.shaped(name, getattr(self, name))
            if curve.ndim != (1 if name == "seconds" else 2):
                raise ValueError(f"{name}: shape {curve.shape}; must be {shape}")
            object.__setattr__(self, name, checks.frozen_copy(curve))
        checks.instance("configuration", self.configuration, str)
        given: list[Any] = checks.sequence("seeds", self.seeds)
        seeds = tuple(checks.integer(f"seeds[{n}]", seed, -(2**63), 2**63 - 1) for n, seed in enumerate(given))
        object.__setattr__(self, "seeds", seeds)
        kinds = [([weight.shape for weight in member.weights], member.activation) for member in members]
        for number, kind in enumerate(kinds):
            if kind != kinds[0]:
                raise ValueError(f"members[{number}]: must have the shape and the activation of members[0]")
        if not len(self.seeds) == np.shape(self.loss)[-1] == np.shape(self.validation)[-1] == len(self.members):
            raise ValueError(
                f"seeds = {checks.brief(self.seeds)}: seeds and curves must be one a member, of {len(self.members)}"
            )
        if not len(self.loss) == len(self.validation) == len(self.seconds):
            raise ValueError(
                f"seconds: {len(self.seconds)} epochs; loss has {len(self.loss)}, validation {len(self.validation)}"
            )

    def mlp(self, number: int) -> MLP:
        """The member of this number."""
        return self.members[checks.integer("number", number, minimum=0, maximum=len(self.members) - 1)]

    def predict(self, x: ArrayLike) -> Floats:
        """Every member's output; x of shape (..., d) -> (members, ...)."""
        return np.stack([member(x) for member in self.members])

    def mean(self, x: ArrayLike) -> Floats:
        """The ensemble's mean output; x of shape (..., d) -> (...)."""
        with np.errstate(over="ignore"):
            return checks.representable("x", self.predict(x).mean(axis=0), "scale the inputs or the weights")

    def spread(self, x: ArrayLike) -> Floats:
        """The standard deviation of the members' outputs; x of shape (..., d) -> (...)."""
        with np.errstate(over="ignore", invalid="ignore"):
            return checks.representable("x", self.predict(x).std(axis=0), "scale the inputs or the weights")

    def save(self, path: str | Path) -> None:
        """Write a .npz file, atomically, in single precision: what networks trained in it hold."""
        layers = zip(*(member.weights for member in self.members)), zip(*(member.biases for member in self.members))
        stacked = to_arrays(*([np.stack(layer) for layer in part] for part in layers))
        single = {name: getattr(self, name) for name in CURVES} | stacked
        write_npz(
            path,
            activation=np.array(self.members[0].activation),
            configuration=np.array(self.configuration),
            seeds=np.array(self.seeds, dtype=np.int64),
            **{name: np.asarray(array, dtype=np.float32) for name, array in single.items()},
        )

    @classmethod
    def load(cls, path: str | Path) -> "Ensemble":
        """Read what `save` wrote; a FileNotFoundError or, of a file that is damaged or something else, a ValueError."""
        arrays = read_npz(path, (*CURVES, "activation", "seeds", "weights_0", "biases_0"))
        try:
            weights, biases = from_arrays(arrays)
            seeds, activation = arrays["seeds"].tolist(), arrays["activation"].tolist()
            members = [MLP([w[i] for w in weights], [b[i] for b in biases], activation) for i in range(len(seeds))]
            curves = {name: arrays[name] for name in CURVES}
            return cls(members, seeds, **curves, configuration=str(arrays.get("configuration", "")))
        except (KeyError, IndexError, TypeError, ValueError) as error:
            raise ValueError(f"{path}: does not hold an ensemble ({error})") from None
