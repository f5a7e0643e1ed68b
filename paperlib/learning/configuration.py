"""Everything that decides which networks come out of a training, as one value that can be hashed."""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from paperlib._support import checks
from paperlib._support.checks import Floats
from paperlib.learning.targets.target import FITS, Target
from paperlib.learning.tensorflow_activations import TRAINABLE
from paperlib.physics.potentials import SAMPLE_KINDS, sample

__all__ = ["FIELDS", "FITS", "TrainingConfig"]

OPTIMIZERS = ("adam", "muon", "soap")


@dataclass(frozen=True)
class TrainingConfig:
    """Everything that decides which networks come out of a training.

    Parameters
    ----------
    d : int
        Shells of a potential, the networks' inputs.
    hidden : tuple of int
        Widths of the hidden layers.
    activation : {"gelu", "sigmoid", "silu", "softplus", "tanh"}
    kind, depth, smallest
        What is sampled: see `potentials.sample`.
    samples : int
        Potentials an epoch.
    sets : int or None
        Epochs go round this many sets of samples; None draws a new one each epoch.
    batch, steps : int
        Potentials a step, and steps in all. An epoch has samples // batch steps; what is left over is not used.
    fit : {"values", "gradients", "hessian_vectors", "third_derivatives"}
        What is fitted: values; and gradients; and Hessian-vector products along one random direction v a sample; and
        D^3 f[v, v, .]. Each is scaled by its own mean square.
    optimizer : {"soap", "adam", "muon"}
    learning_rate : float or tuple of float
        Its peak, one for all or one a member: after `warmup` steps of linear rise it falls to zero as a cosine.
    warmup : int
    validation : int
        Held-out potentials, of the same distribution.
    sample_seed : int
        Seed of the potentials.
    seeds : tuple of int
        One member each.

    Examples
    --------
    >>> TrainingConfig(hidden=(32, 32), seeds=(0,)).hidden
    (32, 32)
    >>> TrainingConfig(activation="relu6")
    Traceback (most recent call last):
    ...
    ValueError: activation = 'relu6': must be one of 'gelu', 'sigmoid', 'silu', 'softplus', 'tanh'
    """

    d: int = 64
    hidden: Sequence[int] = (64, 64, 64)
    activation: str = "silu"
    kind: str = "attractive"
    depth: float = 1.0
    smallest: float = 0.2
    samples: int = 32_768
    sets: int | None = None
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
        # What the checks return is kept: one value has one spelling, and so one fingerprint.
        def keep(name: str, check: Callable, *rest: Any, **limits: Any) -> None:
            object.__setattr__(self, name, check(name, getattr(self, name), *rest, **limits))

        for name in ("d", "samples", "batch", "steps", "validation"):
            keep(name, checks.integer, minimum=1, limit=2**31)
        for name in ("warmup", "sample_seed"):
            keep(name, checks.integer, minimum=0, limit=2**63)
        if self.sets is not None:
            keep("sets", checks.integer, minimum=1)
        keep("hidden", _integers, 1)
        keep("seeds", _integers, 0)
        keep("depth", checks.number, above=0)
        keep("smallest", checks.number, minimum=0)
        choices = {"activation": TRAINABLE, "fit": FITS, "kind": SAMPLE_KINDS, "optimizer": OPTIMIZERS}
        for name, allowed in choices.items():
            keep(name, checks.choice, allowed)
        if isinstance(self.learning_rate, (tuple, list)):
            rates = tuple(checks.number("learning_rate", rate, above=0) for rate in self.learning_rate)
            object.__setattr__(self, "learning_rate", rates)
            if len(rates) != len(self.seeds):
                raise ValueError(
                    f"learning_rate = {rates}: must be one number, or one for each of {len(self.seeds)} seeds"
                )
        else:
            keep("learning_rate", checks.number, above=0)
        if len(set(self.seeds)) < len(self.seeds):
            raise ValueError(f"seeds = {self.seeds}: must differ, or members would be the same network")
        for name, most in (("batch", "samples"), ("warmup", "steps")):
            if getattr(self, name) > getattr(self, most):
                raise ValueError(f"{name} = {getattr(self, name)}: must be at most {most} = {getattr(self, most)}")
        if self.smallest > 1:
            raise ValueError(f"smallest = {self.smallest}: must be from 0 to 1")

    @classmethod
    def from_json(cls, name: str | Path, content: Any) -> "TrainingConfig":
        """A configuration of what a JSON file holds; `name` is the file, for messages.

        A ValueError if `content` is no object, or one with a name or a value that no field has.
        """
        if not isinstance(content, dict) or not set(content) <= set(FIELDS):
            raise ValueError(f"{name}: must be an object with fields among {', '.join(FIELDS)}")
        try:
            return cls(**content)
        except (TypeError, ValueError) as error:
            raise ValueError(f"{name}: {error}") from None

    def potentials(self, n: int, *seed: int) -> Floats:
        """Draw n potentials of this distribution, shape (n, d)."""
        return sample(n, self.d, depth=self.depth, kind=self.kind, smallest=self.smallest, seed=seed)

    def fingerprint(self, target: Target) -> str:
        """A hash of the configuration and the target's name: what it names trains to the same networks."""
        return hashlib.sha256(self.written(target).encode()).hexdigest()[:16]

    def written(self, target: Target) -> str:
        """The configuration and the target's name as JSON."""
        return json.dumps(asdict(self) | {"target": checks.instance("target", target, Target).name}, sort_keys=True)


FIELDS = tuple(field.name for field in fields(TrainingConfig))


def _integers(name: str, values: Any, minimum: int) -> tuple[int, ...]:
    if not isinstance(values, (tuple, list)) or not values:
        wrong = ValueError if isinstance(values, (tuple, list)) else TypeError
        raise wrong(f"{name} = {checks.brief(values)}: must be a tuple of one integer or more")
    return tuple(checks.integer(f"{name}[{i}]", value, minimum=minimum, limit=2**31) for i, value in enumerate(values))
