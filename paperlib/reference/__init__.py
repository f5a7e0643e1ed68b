"""Trained networks that ship with the package, so that every notebook opens ready."""

from importlib.resources import as_file, files

from paperlib.ensemble import Ensemble

__all__ = ["ensemble", "names"]


def names():
    """The names of the ensembles that ship.

    Examples
    --------
    >>> "scattering_lengths" in names()
    True
    """
    return sorted(file.name.removesuffix(".npz") for file in files(__name__).iterdir() if file.name.endswith(".npz"))


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
    if name not in names():
        raise ValueError(f"name = {name!r}: must be one of {', '.join(map(repr, names()))}")
    with as_file(files(__name__) / f"{name}.npz") as path:
        return Ensemble.load(path)
