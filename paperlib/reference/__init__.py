"""Trained networks and tables of studies that ship with the package, so that every notebook opens ready."""

from importlib.resources import as_file, files

from paperlib.checks import choice, sequence
from paperlib.ensemble import Ensemble
from paperlib.files import read_npz

__all__ = ["ensemble", "table"]


def ensemble(name):
    """Load an ensemble that ships.

    Raises
    ------
    ValueError
        If there is none of that name.

    Examples
    --------
    >>> ensemble("scattering_lengths").mlp(0)
    MLP(64-64-64-64-64-1, gelu)
    """
    with as_file(_file(name)) as path:
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
