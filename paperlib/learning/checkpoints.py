"""Trainings kept on disk, each in a file named by its configuration: to go on from where one stopped, or to take as it is."""

import ast
import hashlib
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np

from paperlib._support import arithmetic, tensorflow
from paperlib._support.files import read_npz, write_npz
from paperlib.learning.ensemble import CURVES

__all__ = ["Checkpoint", "code"]

# The code that decides, beside the configuration and the target's values, which weights come out.
_CODE = (
    "_support/tensorflow.py",
    *(f"learning/{name}.py" for name in ("configuration", "programs", "soap", "tensorflow_activations", "training")),
)


def code() -> bytes:
    """Return the hashes of the code that decides which weights come out, one after the other.

    Comments, docstrings and layout leave a hash as it is.
    """
    texts = (_written(ast.parse((files("paperlib") / name).read_bytes())) for name in _CODE)
    return b"".join(hashlib.sha256(text.encode()).digest() for text in texts)


def _written(part: Any) -> str:
    """Write a part of a syntax tree as text, without statements that are only a string, such as docstrings.

    `ast.dump` and `ast.unparse` write some trees differently from one Python to the next. Fields that are empty are left
    out here, because a later Python may add fields.
    """
    if isinstance(part, list):
        return f"[{', '.join(_written(each) for each in part if not _is_text(each))}]"
    if not isinstance(part, ast.AST):
        return ascii(part)
    fields = [f"{name}={_written(value)}" for name, value in ast.iter_fields(part) if value not in (None, [])]
    return f"{type(part).__name__}({', '.join(fields)})"


def _is_text(part: Any) -> bool:
    return isinstance(part, ast.Expr) and isinstance(part.value, ast.Constant) and isinstance(part.value.value, str)


@dataclass(frozen=True)
class Checkpoint:
    """A training's file: the state of its variables after an epoch, and its curves so far.

    `origin` is what a training must share with the one kept here, beside its configuration; see `Checkpoint.of`.
    """

    path: Path
    origin: str

    @classmethod
    def of(cls, folder: str | Path, fingerprint: str, values: np.ndarray) -> "Checkpoint":
        """The file in `folder` of the training whose configuration has this fingerprint.

        By `values`, the target's at some samples, two functions of one name are told apart.
        """
        tf, keras = tensorflow.load()
        bits = arithmetic.departures() or str(arithmetic.FIXED)
        origin = hashlib.sha256(f"{tf.__version__} {keras.__version__} {bits}".encode())
        origin.update(hashlib.sha256(values.tobytes()).digest() + code())
        return cls(Path(folder) / f"{fingerprint}.npz", origin.hexdigest()[:16])

    def restore(self, state: Sequence[Any]) -> list[list]:
        """Read the file into variables, if it is there; give loss, validation and seconds, epoch by epoch.

        They are empty where there is nothing to go on from; a warning tells of a file that is damaged, or was made by other
        code, other libraries, in another arithmetic or from other values.
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
        """Replace the file, atomically."""
        arrays = {f"state_{k:03}": variable.numpy() for k, variable in enumerate(state)}
        write_npz(self.path, origin=self.origin, **dict(zip(CURVES, curves, strict=True)), **arrays)
