"""Save the state of a training in a file, so that the training can be resumed or its result loaded.

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
    *(
        f"learning/{name}.py"
        for name in (
            "config",
            "compiled_training",
            "soap",
            "tensorflow_activations",
            "training",
        )
    ),
)


def code() -> bytes:
    """Return the concatenated SHA-256 hashes of the source files that determine the trained weights.

    Comments, docstrings and layout do not change a hash.
    """
    texts = (
        _written(ast.parse((files("paperlib") / name).read_bytes())) for name in _CODE
    )
    return b"".join(hashlib.sha256(text.encode()).digest() for text in texts)


def _written(part: Any) -> str:
    """Serialise a part of a syntax tree as text, without string statements such as docstrings.

    `ast.dump` and `ast.unparse` write some trees differently in different versions of Python. Empty fields are left out
    here, because a later version may add fields.
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
    return (
        isinstance(part, ast.Expr)
        and isinstance(part.value, ast.Constant)
        and isinstance(part.value.value, str)
    )


@dataclass(frozen=True)
class Checkpoint:
    """The file of one training: the state of its variables after an epoch, and its curves up to that epoch.

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
        """Return the checkpoint in `folder` of the training whose configuration has this fingerprint.

        `values` are the target's values at some samples. They distinguish two functions that have the same name.
        """
        tf, keras = tensorflow.load()
        bits = determinism.departures() or str(determinism.FIXED)
        origin = hashlib.sha256(f"{tf.__version__} {keras.__version__} {bits}".encode())
        origin.update(hashlib.sha256(values.tobytes()).digest() + code())
        return cls(Path(folder) / f"{fingerprint}.npz", origin.hexdigest()[:16])

    def restore(self, state: Sequence[Any]) -> list[list]:
        """Load the file into the variables, if it exists, and return the curves stored in it.

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
                made = "by other code or libraries, in another arithmetic or on other values"
                raise ValueError(f"{self.path}: was trained {made}")
        except ValueError as error:
            warnings.warn(f"{error}; trained anew", stacklevel=4)
            return [[], [], []]
        for name, variable in zip(names, state, strict=True):
            variable.assign(arrays[name])
        return [list(arrays[name]) for name in CURVES]

    def store(self, state: Sequence[Any], curves: Sequence[list]) -> None:
        """Write the variables and the curves to the file, which is replaced atomically."""
        arrays = {f"state_{k:03}": variable.numpy() for k, variable in enumerate(state)}
        write_npz(
            self.path,
            origin=self.origin,
            **dict(zip(CURVES, curves, strict=True)),
            **arrays,
        )
