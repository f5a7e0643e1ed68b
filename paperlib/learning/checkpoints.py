"""Save the state of a training in a file, from which the training can resume.

Each file is named by the fingerprint of the training's configuration.
"""

import ast
import hashlib
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np

from paperlib._support import determinism, tensorflow
from paperlib._support.files import read_npz, write_npz
from paperlib.learning.ensemble import CURVES

# The source files that determine the trained weights, together with the configuration
# and the target's values.
_CODE = (
    "_support/tensorflow.py",
    "learning/config.py",
    "learning/compiled_training.py",
    "learning/soap.py",
    "learning/tensorflow_activations.py",
    "learning/training.py",
)


def code() -> bytes:
    """Return the joined SHA-256 hashes of the files that determine trained weights.

    Comments, docstrings and layout do not change a hash.
    """
    hashes = b""
    for name in _CODE:
        tree = ast.parse((files("paperlib") / name).read_bytes())
        hashes += hashlib.sha256(_written(tree).encode()).digest()
    return hashes


def _written(part: Any) -> str:
    """Return a part of a syntax tree as text, without statements such as docstrings.

    `ast.dump` and `ast.unparse` write some trees differently in different versions of
    Python. Empty fields are omitted here, because a later version may add fields.
    """
    if isinstance(part, list):
        return f"[{', '.join(_written(each) for each in part if not _is_text(each))}]"
    if not isinstance(part, ast.AST):
        return ascii(part)
    fields = [
        f"{name}={_written(value)}"
        for name, value in ast.iter_fields(part)
        if value not in (None, [])
    ]
    return f"{type(part).__name__}({', '.join(fields)})"


def _is_text(part: Any) -> bool:
    """Return whether a part of a syntax tree is a statement that is only a string."""
    return isinstance(part, ast.Expr) and isinstance(
        getattr(part.value, "value", None), str
    )


@dataclass(frozen=True)
class Checkpoint:
    """The file of one training, with its variables and curves after an epoch.

    Parameters
    ----------
    path : Path
        The .npz file.
    origin : str
        Hash of everything besides the configuration that a training must share with the
        stored one: the code, the library versions, the deterministic mode and the
        target's values. `Checkpoint.of` computes it.
    """

    path: Path
    origin: str

    @classmethod
    def of(
        cls, folder: str | Path, fingerprint: str, values: np.ndarray
    ) -> "Checkpoint":
        """Return the checkpoint in `folder` of the configuration with this fingerprint.

        `values` are the target's values at some samples. They distinguish two functions
        that have the same name.
        """
        tf, keras = tensorflow.load()
        bits = determinism.departures() or str(determinism.FIXED)
        origin = hashlib.sha256(f"{tf.__version__} {keras.__version__} {bits}".encode())
        origin.update(hashlib.sha256(values.tobytes()).digest() + code())
        return cls(Path(folder) / f"{fingerprint}.npz", origin.hexdigest()[:16])

    def restore(self, state: Sequence[Any]) -> list[list]:
        """Load the variables from the file, if it exists, and return its curves.

        Parameters
        ----------
        state : sequence of Keras variables
            The variables of the training and of its optimizer, assigned in place.

        Returns
        -------
        list of list
            Loss, validation and seconds, one entry per epoch. All three are empty if
            the file is missing or unusable.

        Warns
        -----
        UserWarning
            If the file is damaged, or was written by other code, with other libraries,
            under another setting of the deterministic mode, or for other values of the
            target.
        """
        names = [f"state_{k:03}" for k in range(len(state))]
        if not self.path.exists():
            return [[], [], []]
        try:
            arrays = read_npz(self.path, ["origin", *CURVES, *names])
            if str(arrays["origin"]) != self.origin:
                raise ValueError(
                    f"{self.path}: was trained by other code or libraries, under "
                    f"another setting of deterministic mode, or on other values"
                )
        except ValueError as error:
            warnings.warn(f"{error}; the training starts again", stacklevel=4)
            return [[], [], []]
        for name, variable in zip(names, state, strict=True):
            variable.assign(arrays[name])
        return [list(arrays[name]) for name in CURVES]

    def store(self, state: Sequence[Any], curves: Sequence[list]) -> None:
        """Write the variables and the curves to the file, atomically."""
        arrays = {f"state_{k:03}": variable.numpy() for k, variable in enumerate(state)}
        arrays |= dict(zip(CURVES, curves, strict=True))
        write_npz(self.path, origin=self.origin, **arrays)
