"""Trained networks and tables of studies that ship with the package, so that every notebook opens ready."""

from importlib.resources import as_file, files
from pathlib import Path

from paperlib._support.checks import choice, sequence
from paperlib.learning.ensemble import Ensemble
from paperlib._support.files import read_npz

__all__ = ["ensemble", "table"]


def ensemble(name, folder=None):
    """Load an ensemble that ships, or one of the same name that a run has trained anew.

    Parameters
    ----------
    name : str
    folder : path, optional
        Where a run saved what it trained.

    Raises
    ------
    ValueError
        If none of that name ships.
    FileNotFoundError
        If there is none in `folder`: the notebook that trains it was not run.

    Examples
    --------
    >>> ensemble("scattering_lengths").mlp(0)
    MLP(64-64-64-64-64-1, gelu)
    """
    shipped = _file(name)
    if folder is not None:
        return Ensemble.load(Path(folder) / shipped.name)
    with as_file(shipped) as path:
        return Ensemble.load(path)


def table(name, columns):
    """Load the table of a study too large to ship the networks of: what a full run of its notebook recorded.

    Parameters
    ----------
    name : str
    columns : collection of str

    Returns
    -------
    dict of ndarray

    Raises
    ------
    ValueError
        If there is none of that name, or it lacks one of the columns.

    Examples
    --------
    >>> table("optimizers", ["errors"])["errors"].ndim
    5
    """
    with as_file(_file(name)) as path:
        return read_npz(path, sequence("columns", columns, str))


def _file(name):
    known = sorted(file.name.removesuffix(".npz") for file in files(__name__).iterdir() if file.name.endswith(".npz"))
    choice("name", name, known)
    return files(__name__) / f"{name}.npz"
