"""Save the state of a training in a file, so that the training can resume.

The file is named by `TrainingConfig.fingerprint`, a hash of the configuration and the
target's name.
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

# Trained weights are determined by the configuration, the values of the target, the
# libraries, and the code in these source files of the package.
_CODE = (
    "_support/tensorflow.py",
    "learning/config.py",
    "learning/compiled_training.py",
    "learning/soap.py",
    "learning/tensorflow_activations.py",
    "learning/training.py",
)


def code() -> bytes:
    """Return the joined SHA-256 hashes of the source files of _CODE.

    A change of comments, docstrings or layout in a file does not change its hash.
    """
    hashes = b""
    for name in _CODE:
        tree = ast.parse((files("paperlib") / name).read_bytes())
        hashes += hashlib.sha256(_written(tree).encode()).digest()
    return hashes


def _written(part: Any) -> str:
    """Return a syntax tree as text, without docstrings.

    `part` is a node of the tree, a list of nodes, or a value of a field. `ast.dump` and
    `ast.unparse` are not used, because they write some trees differently in different
    versions of Python. Empty fields of a node are omitted, because a later version of
    Python may add fields.

    Examples
    --------
    >>> _written(ast.parse("x  # a comment"))
    "Module(body=[Expr(value=Name(id='x', ctx=Load()))])"
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
    """Return whether a node is a statement that consists of a string only.

    Every docstring is such a statement.
    """
    return isinstance(part, ast.Expr) and isinstance(
        getattr(part.value, "value", None), str
    )


@dataclass(frozen=True)
class Checkpoint:
    """A file with the state of one training after an epoch.

    The file holds the variables of the networks and of the optimizer, and three
    *curves*, which record the training: for each epoch so far, the loss and the
    validation error of each member, and the seconds that the epoch took.

    Parameters
    ----------
    path : Path
        The .npz file.
    origin : str
        A hash that is stored in the file. A training resumes from the file only if its
        own hash is the same. The hash is computed, by `Checkpoint.of`, from all that
        determines the trained weights besides the configuration: the code, the versions
        of TensorFlow and Keras, the settings of deterministic mode, and the values of
        the target.
    """

    path: Path
    origin: str

    @classmethod
    def of(
        cls, folder: str | Path, fingerprint: str, values: np.ndarray
    ) -> "Checkpoint":
        """Return the checkpoint of a training, without reading or writing its file.

        `fingerprint` is that of the training's configuration and target, and names the
        file in `folder`. `values` are the values of the target at the held-out
        potentials. They enter the hash `origin`, because two different targets may have
        the same name.
        """
        tf, keras = tensorflow.load()
        bits = determinism.departures() or str(determinism.FIXED)
        origin = hashlib.sha256(f"{tf.__version__} {keras.__version__} {bits}".encode())
        origin.update(hashlib.sha256(values.tobytes()).digest() + code())
        return cls(Path(folder) / f"{fingerprint}.npz", origin.hexdigest()[:16])

    def restore(self, state: Sequence[Any]) -> list[list]:
        """Assign the stored variables, if the file can be used, and return its curves.

        If the file does not exist, or cannot be used, no variable is assigned.

        Parameters
        ----------
        state : sequence of Keras variables
            The variables of the networks and of the optimizer, assigned in place. They
            must have the same order as when they were stored.

        Returns
        -------
        list of list
            The curves: loss and validation error, each an array of one number for each
            member, and seconds. Each list has one entry for each epoch that was
            completed. All three lists are empty if no variable is assigned.

        Warns
        -----
        UserWarning
            If the file exists and cannot be used: if it is damaged, or its `origin` is
            another one, that is, if it was written by other code, with other libraries,
            under other settings of deterministic mode, or for other values of the
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
        """Write variables and curves to the file, and replace an existing file.

        `state` are the Keras variables of the networks and of the optimizer. `curves`
        are three lists with an entry for each epoch: the loss of each member, the
        validation error of each member, and the seconds. If writing fails, an existing
        file is unchanged.
        """
        arrays = {f"state_{k:03}": variable.numpy() for k, variable in enumerate(state)}
        arrays |= dict(zip(CURVES, curves, strict=True))
        write_npz(self.path, origin=self.origin, **arrays)
