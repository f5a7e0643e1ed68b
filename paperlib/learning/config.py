"""Define the configuration of a training, which determines the trained networks."""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from paperlib._support import validation
from paperlib._support.validation import Floats
from paperlib.learning.targets.target import FITS, Target
from paperlib.learning.tensorflow_activations import TRAINABLE
from paperlib.physics.potentials import SAMPLE_KINDS, sample

OPTIMIZERS = ("adam", "muon", "soap")


@dataclass(frozen=True)
class TrainingConfig:
    """The configuration of a training.

    It is hashable, and for a given target it determines the trained networks.

    Parameters
    ----------
    d : int
        Number of shells of a potential, which is the number of network inputs.
    hidden : sequence of int
        Widths of the hidden layers.
    activation : {"gelu", "sigmoid", "silu", "softplus", "tanh"}
        Activation function of the hidden layers.
    sampling : {"attractive", "signed", "sparse"}
        Distribution of the sampled potentials; see `potentials.sample`.
    depth : float
        Largest ``|U_i|`` of a sampled potential, positive.
    min_scale : float
        Smallest size of a sampled potential in units of `depth`, from 0 to 1.
    samples : int
        Number of potentials in an epoch.
    sample_sets : int or None
        Number of sample sets that the epochs cycle through. None draws a new set each
        epoch.
    batch : int
        Number of potentials in a step. An epoch has ``samples // batch`` steps and does
        not use the remaining potentials.
    steps : int
        Total number of steps.
    fit : {"values", "gradients", "hessian_vectors", "third_derivatives"}
        Quantities in the loss. "gradients" adds the gradients to the values.
        "hessian_vectors" adds Hessian-vector products along one random direction v per
        sample, and "third_derivatives" adds D^3 f[v, v, .]. The squared error of each
        quantity is divided by the mean square of that quantity.
    optimizer : {"soap", "adam", "muon"}
        Name of the optimizer.
    learning_rate : float or sequence of float
        Peak of the learning rate, one for all members or one per member. The rate rises
        linearly over the first `warmup` steps and then falls to zero as a cosine.
    warmup : int
        Number of steps of the linear rise.
    validation : int
        Number of held-out potentials, drawn from the same distribution.
    sample_seed : int
        Seed of the potentials and of the random directions.
    seeds : sequence of int
        One seed per member, all different.

    Raises
    ------
    TypeError
        If a field has the wrong type.
    ValueError
        If a field is out of its range, two seeds are equal, or the number of learning
        rates differs from that of the seeds.

    Examples
    --------
    >>> TrainingConfig(hidden=(32, 32), seeds=(0,)).hidden
    (32, 32)
    >>> TrainingConfig(activation="relu6")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    ...
    ValueError: activation = 'relu6': must be one of 'gelu', 'sigmoid', ...
    """

    d: int = 64
    hidden: Sequence[int] = (64, 64, 64)
    activation: str = "silu"
    sampling: str = "attractive"
    depth: float = 1.0
    min_scale: float = 0.2
    samples: int = 32_768
    sample_sets: int | None = None
    batch: int = 256
    steps: int = 12_000
    fit: str = "values"
    optimizer: str = "soap"
    learning_rate: float | Sequence[float] = 3e-3
    warmup: int = 200
    validation: int = 2_048
    sample_seed: int = 0
    seeds: Sequence[int] = (0, 1, 2, 3, 4)

    def __post_init__(self) -> None:
        # The checks convert equal values to the same form, for example 0 to 0.0 for a
        # float. Storing the result gives equal configurations the same fingerprint.
        def store(name: str, check: Callable, *rest: Any, **limits: Any) -> None:
            checked = check(name, getattr(self, name), *rest, **limits)
            object.__setattr__(self, name, checked)

        for name in ("d", "samples", "batch", "steps", "validation"):
            store(name, validation.integer, minimum=1, limit=2**31)
        for name in ("warmup", "sample_seed"):
            store(name, validation.integer, minimum=0, limit=2**63)
        if self.sample_sets is not None:
            store("sample_sets", validation.integer, minimum=1)
        store("hidden", _integers, 1)
        store("seeds", _integers, 0)
        store("depth", validation.number, above=0)
        store("min_scale", validation.number, minimum=0)
        store("activation", validation.choice, TRAINABLE)
        store("fit", validation.choice, FITS)
        store("sampling", validation.choice, SAMPLE_KINDS)
        store("optimizer", validation.choice, OPTIMIZERS)
        store("learning_rate", _rates)
        self._check_consistency()

    def _check_consistency(self) -> None:
        """Raise a ValueError unless the fields agree with each other."""
        rates, seeds = self.learning_rate, self.seeds
        if isinstance(rates, tuple) and len(rates) != len(seeds):
            raise ValueError(
                f"learning_rate = {rates}: must be one number, or one for each of "
                f"{len(seeds)} seeds"
            )
        if len(set(seeds)) < len(seeds):
            raise ValueError(
                f"seeds = {seeds}: must differ, or members would be the same network"
            )
        for name, limit in (("batch", "samples"), ("warmup", "steps")):
            value, maximum = getattr(self, name), getattr(self, limit)
            if value > maximum:
                raise ValueError(
                    f"{name} = {value}: must be at most {limit} = {maximum}"
                )
        if self.min_scale > 1:
            raise ValueError(f"min_scale = {self.min_scale}: must be from 0 to 1")

    @classmethod
    def from_json(cls, name: str | Path, content: Any) -> "TrainingConfig":
        """Return the configuration stored in the content of a JSON file.

        Parameters
        ----------
        name : str or Path
            Name of the file, for error messages.
        content : object
            Decoded content of the file, a dict from field names to values.

        Returns
        -------
        TrainingConfig
            The configuration. Fields that `content` lacks have their defaults.

        Raises
        ------
        ValueError
            If `content` is not a dict, or has an unknown field or a value that its
            field cannot have.

        Examples
        --------
        >>> TrainingConfig.from_json("config.json", {"hidden": [8]}).hidden
        (8,)
        """
        if not isinstance(content, dict) or not set(content) <= set(FIELDS):
            raise ValueError(
                f"{name}: must be an object with fields among {', '.join(FIELDS)}"
            )
        try:
            return cls(**content)
        except (TypeError, ValueError) as error:
            raise ValueError(f"{name}: {error}") from None

    def potentials(self, n: int, *seed: int) -> Floats:
        """Draw random potentials from the distribution of the configuration.

        Parameters
        ----------
        n : int
            Number of potentials.
        *seed : int
            Integers that together seed the random generator.

        Returns
        -------
        ndarray of float64, shape (n, d)
            The potentials U, dimensionless; see `potentials.sample`.

        Raises
        ------
        TypeError
            If n or a seed is not an integer.
        ValueError
            If n is not positive or the array does not fit in memory.

        Examples
        --------
        >>> TrainingConfig(d=4).potentials(3, 0).shape
        (3, 4)
        """
        return sample(
            n,
            self.d,
            depth=self.depth,
            kind=self.sampling,
            smallest=self.min_scale,
            seed=seed,
        )

    def fingerprint(self, target: Target) -> str:
        """Return a hash of the configuration and the target's name.

        Configurations and targets with the same fingerprint train to the same networks.

        Parameters
        ----------
        target : Target
            The target. Only its name enters the hash.

        Returns
        -------
        str
            Sixteen hexadecimal digits.

        Raises
        ------
        TypeError
            If `target` is not a Target.

        Examples
        --------
        >>> from paperlib.learning.targets import scattering_length_target
        >>> len(TrainingConfig().fingerprint(scattering_length_target()))
        16
        """
        return hashlib.sha256(self.written(target).encode()).hexdigest()[:16]

    def written(self, target: Target) -> str:
        """Return the configuration and the target's name as JSON.

        Parameters
        ----------
        target : Target
            The target. Only its name is written.

        Returns
        -------
        str
            A JSON object with the fields of the configuration and the field "target",
            sorted by name.

        Raises
        ------
        TypeError
            If `target` is not a Target.

        Examples
        --------
        >>> from paperlib.learning.targets import scattering_length_target
        >>> json.loads(TrainingConfig().written(scattering_length_target()))["target"]
        'scattering length'
        """
        name = validation.instance("target", target, Target).name
        return json.dumps(asdict(self) | {"target": name}, sort_keys=True)


FIELDS = tuple(field.name for field in fields(TrainingConfig))


def _integers(name: str, values: Any, minimum: int) -> tuple[int, ...]:
    """Return a non-empty sequence of integers, each at least `minimum`, as a tuple."""
    if not isinstance(values, (tuple, list)) or not values:
        wrong = ValueError if isinstance(values, (tuple, list)) else TypeError
        raise wrong(
            f"{name} = {validation.brief(values)}: must be a tuple of integers, "
            f"at least one"
        )
    return tuple(
        validation.integer(f"{name}[{i}]", value, minimum=minimum, limit=2**31)
        for i, value in enumerate(values)
    )


def _rates(name: str, value: Any) -> float | tuple[float, ...]:
    """Return a learning rate as a float, or a sequence of them as a tuple."""
    if isinstance(value, (tuple, list)):
        return tuple(validation.number(name, rate, above=0) for rate in value)
    return validation.number(name, value, above=0)
