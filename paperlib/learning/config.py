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
from paperlib.physics.potentials import SAMPLE_KINDS, profile, sample

OPTIMIZERS = ("adam", "muon", "soap")


@dataclass(frozen=True)
class TrainingConfig:
    """The configuration of a training.

    A configuration is hashable. Together with the target, that is, the function to
    learn, it determines the trained networks. A training with several seeds trains one
    network for each seed; these networks are the *members* of an ensemble.

    The sampled potentials are U_i = depth s v_i r_i^p, where i counts the d shells,
    r_i = (i - 1/2) / d is the middle of a shell, and p is `radial_power`. The random
    factor s is drawn once for each potential, uniformly from `min_scale` to 1. The
    random numbers v_i are drawn once for each shell, from a distribution on [-1, 1]
    that `sampling` selects. The networks are trained on the inputs s v_i, whatever the
    power is.

    Parameters
    ----------
    d : int
        Number of shells of a potential, which is the number of network inputs, from 1
        to 2^31.
    hidden : sequence of int
        Number of neurons of each hidden layer, at least 1. There must be at least one
        hidden layer.
    activation : {"gelu", "sigmoid", "silu", "softplus", "tanh"}
        Activation function of the hidden layers.
    sampling : {"attractive", "signed", "sparse"}
        Distribution of the v_i: uniform on [0, 1] for "attractive", and uniform on
        [-1, 1] for "signed". "sparse" is "attractive" with some v_i set to 0, each with
        a probability that is drawn once for each potential, uniformly from 0 to 1.
    depth : float
        Scale of the sampled potentials, positive: the upper bound of ``|U_i|`` if
        `radial_power` is 0.
    min_scale : float
        Lower bound of the random factor s, from 0 to 1. It is not a lower bound of the
        potential: every v_i, and therefore every U_i, may be close to 0.
    radial_power : float
        Exponent p of the radius, from -4 to 4. With 0 all shells have the same
        distribution. With -1 inner shells are sampled deeper, which makes the learned
        tensors accurate for potentials that are concentrated at small radii.
    samples : int
        Number of potentials that are drawn together. An epoch uses each of them at most
        once.
    sample_sets : int or None
        None draws `samples` new potentials for each epoch. An integer draws only that
        many sets of `samples` potentials, and the epochs use these sets in turn.
    batch : int
        Number of potentials in a step of the optimizer, at most `samples`. An epoch has
        ``samples // batch`` steps. In each epoch every member visits the potentials in
        another random order, and leaves out the last ``samples % batch`` of them.
    steps : int
        Total number of steps. The last epoch may be shorter than the others.
    fit : {"values", "gradients", "hessian_vectors", "third_derivatives"}
        Quantities in the loss. Each choice adds one quantity to those of the choices
        before it: the values f(U) of the target; its gradients; the products of its
        Hessians with one random direction v for each potential; and D^3 f[v, v, .], the
        vector of third derivatives of f, twice along v. The loss is the sum of the mean
        squared errors of these quantities. The error of the values is divided by the
        variance of the values, and the error of each other quantity by the mean square
        of that quantity. Variance and mean squares are measured on the held-out
        potentials.
    optimizer : {"soap", "adam", "muon"}
        Name of the optimizer. "soap" is `paperlib.learning.soap.SOAP`; the others are
        those of Keras, without weight decay.
    learning_rate : float or sequence of float
        Peak of the learning rate, positive: one number for all members, or one for each
        seed. The rate rises linearly from 0 to the peak over the first `warmup` steps.
        It then falls as half a cosine wave and reaches 0 after `steps` steps.
    warmup : int
        Number of steps of the linear rise, from 0 to `steps`.
    validation : int
        Number of held-out potentials. They are drawn from the same distribution as the
        training potentials, and no step is made on them.
    sample_seed : int
        Seed of the potentials and of the random directions, at least 0. All members
        share them.
    seeds : sequence of int
        One seed for each member, all different and at least 0. A seed determines the
        initial weights of its member, and the order of the potentials in its epochs.

    Raises
    ------
    TypeError
        If a field has the wrong type.
    ValueError
        If a field is out of its range, two seeds are equal, or `learning_rate` is a
        sequence of another length than `seeds`.

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
    radial_power: float = 0.0
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
        # Each check returns its value in one form, for example 0.0 for the float 0 and
        # a tuple for a list. Storing this form in place of the argument gives equal
        # configurations the same fingerprint.
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
        store("radial_power", validation.number)
        profile(1, self.radial_power)  # checks the power
        store("activation", validation.choice, TRAINABLE)
        store("fit", validation.choice, FITS)
        store("sampling", validation.choice, SAMPLE_KINDS)
        store("optimizer", validation.choice, OPTIMIZERS)
        store("learning_rate", _rates)
        self._check_consistency()

    def _check_consistency(self) -> None:
        """Raise a ValueError if a field is out of a bound that another field sets.

        The fields have been checked one by one before, except that `min_scale` is
        checked here to be at most 1.
        """
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
        """Make a configuration from the decoded content of a JSON file.

        Parameters
        ----------
        name : str or Path
            Name of the file. Error messages begin with it. No file is read.
        content : object
            Decoded content of the file: a dict from the names of fields of
            TrainingConfig to their values. It may be empty.

        Returns
        -------
        TrainingConfig
            The configuration. Fields that are missing in `content` have their defaults.

        Raises
        ------
        ValueError
            If `content` is not a dict, has a key that is not a field, or has a value
            that its field does not allow.

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
            Integers, at least 0, that together seed the random generator. The same
            integers draw the same potentials.

        Returns
        -------
        ndarray of float64, shape (n, d)
            The dimensionless potentials, with the value of shell i in column i. The
            attribute `sample_seed` is not used.

        Raises
        ------
        TypeError
            If n or a seed is not an integer.
        ValueError
            If n is below 1, a seed is negative, or the array needs more memory than is
            free.

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
            radial_power=self.radial_power,
            seed=seed,
        )

    @property
    def profile(self) -> Floats:
        """Return the factor r_i^p of each shell, where p is `radial_power`.

        Returns
        -------
        ndarray of float64, shape (d,)
            The factors, all 1 if the power is 0.

        Examples
        --------
        >>> TrainingConfig(d=2, radial_power=-1).profile.tolist()
        [4.0, 1.3333333333333333]
        """
        return profile(self.d, self.radial_power)

    def fingerprint(self, target: Target) -> str:
        """Return a hash of the configuration and the target's name.

        Two trainings with the same fingerprint give the same networks, provided that
        targets with the same name are the same function.

        Parameters
        ----------
        target : Target
            The function to learn. Only its name enters the hash.

        Returns
        -------
        str
            Sixteen hexadecimal digits, the first digits of a SHA-256 hash.

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
            The function to learn. Only its name is written.

        Returns
        -------
        str
            A JSON object with all fields of the configuration, and with the name of the
            target under "target". The keys are sorted.

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
    """Return the argument `name`, a sequence of integers, as a tuple.

    Raise a ValueError if the sequence is empty, or an integer is below `minimum` or
    above 2^31, and a TypeError if `values` is not a tuple or list, or an item is not an
    integer.
    """
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
    """Return the argument `name`, a positive number or a sequence of them.

    A number is returned as a float, and a tuple or list as a tuple of floats. Raise a
    TypeError if a value is not a real number, and a ValueError if it is not finite or
    not positive.
    """
    if isinstance(value, (tuple, list)):
        return tuple(validation.number(name, rate, above=0) for rate in value)
    return validation.number(name, value, above=0)
