"""Trained networks and tables of studies that ship with the package, so that every notebook opens ready."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from paperlib._support import checks
from paperlib._support.files import read_npz, write_npz
from paperlib.companion.reference import manifest
from paperlib.companion.reference.manifest import ship
from paperlib.learning.configuration import TrainingConfig
from paperlib.learning.ensemble import Ensemble
from paperlib.learning.perturbation import LearnedSeries
from paperlib.learning.targets import scattering_length_target
from paperlib.learning.training import train_ensemble

__all__ = ["digests", "ensemble", "retrained", "series", "ship", "table", "trained"]


def ensemble(name: str, folder: str | Path | None = None) -> Ensemble:
    """Open an ensemble that ships, or, of the same name, one that a run has trained anew and kept in a folder.

    A ValueError if none of that name ships; a FileNotFoundError if there is none in the folder: the notebook that
    trains it was not run.

    Examples
    --------
    >>> ensemble("scattering_lengths").mlp(0)
    MLP(64-64-64-64-1, silu)
    """
    return Ensemble.load(_file(name, folder))


def series(name: str, folder: str | Path | None = None) -> LearnedSeries:
    """Open the ensembles NAME_1, NAME_2, .. of an iteration as the series that they have learned; see `ensemble`.

    Examples
    --------
    >>> series("born_signed").order
    5
    """
    parts = _parts(name, folder)
    return LearnedSeries(tuple(ensemble(part, folder) for part in parts), len(parts))


def table(name: str, folder: str | Path | None = None) -> dict[str, np.ndarray]:
    """Open the table of a study too large to ship the networks of; see `ensemble`.

    Examples
    --------
    >>> table("optimizers")["errors"].ndim
    5
    """
    return read_npz(_file(name, folder), ())


def trained(
    name: str, train: Callable[[], Any] | None, folder: str | Path | None
) -> Ensemble | LearnedSeries | dict[str, np.ndarray]:
    """Open what ships, or train it and keep it: the one call by which a notebook has its networks.

    Parameters
    ----------
    name : str
        Of an ensemble, of the ensembles of a series, or of a study's table.
    train : callable
        Takes nothing; makes an Ensemble, a LearnedSeries or a dict of arrays. Not called where nothing is trained.
    folder : path or None
        Where what `train` makes is kept; None opens what ships.

    Examples
    --------
    >>> trained("scattering_lengths", train=None, folder=None).seeds
    (0, 1, 2, 3, 4)
    """
    if folder is None:
        checks.choice("name", name, (*_names(), *_names("_1")))
        kind = series if name in _names("_1") else ensemble if "weights_0" in table(name) else table
        return kind(name)
    if not callable(train):
        raise TypeError(f"train = {checks.brief(train)}: must be callable where `folder` is given")
    folder, made = checks.path("folder", folder), train()
    if isinstance(made, dict):
        write_npz(folder / f"{name}.npz", **made)
    elif isinstance(made, Ensemble):
        made.save(folder / f"{name}.npz")
    else:
        for k, each in enumerate(checks.instance("train", made, LearnedSeries).ensembles, 1):
            each.save(folder / f"{name}_{k}.npz")
    return made


def retrained(name: str, folder: str | Path, *, cache: str | Path | None = None) -> Path:
    """Train an ensemble that ships anew, from nothing but its configuration in the manifest; the file in `folder`.

    Of those that were trained on a_0 itself, or a ValueError. `cache` is a folder where trainings are kept.
    """
    target = scattering_length_target()
    configs = {each: entry.get("configuration", {}) for each, entry in manifest.read()["networks"].items()}
    known = {each: config for each, config in configs.items() if config.get("target") == target.name}
    chosen = known[checks.choice("name", name, known)]
    fields = {field: value for field, value in chosen.items() if field != "target"}
    made = train_ensemble(TrainingConfig.from_json(manifest.MANIFEST, fields), target, cache=cache)
    path = checks.path("folder", folder) / f"{name}.npz"
    made.save(path)
    return path


def digests(name: str, folder: str | Path | None = None) -> dict[str, str]:
    """The SHA-256 of the networks of this name, or of each of a series', by their files; see `ensemble`.

    Examples
    --------
    >>> list(digests("born_attractive"))
    ['born_attractive_1', 'born_attractive_2', 'born_attractive_3', 'born_attractive_4']
    """
    several = checks.instance("name", name, str) in _names("_1", folder)
    return {part: manifest.digest(_file(part, folder)) for part in (_parts(name, folder) if several else [name])}


def _parts(name: str, folder: str | Path | None) -> list[str]:
    """The files of a series, in turn."""
    names = _names("", folder)
    parts = [f"{name}_{k}" for k in range(1, 21) if f"{name}_{k}" in names]
    if not parts and folder is None:
        checks.choice("name", name, _names("_1"))
    return parts or [f"{name}_1"]  # which reading will miss


def _names(ending: str = "", folder: str | Path | None = None) -> list[str]:
    """What ships or lies in a folder, less the ending that they have."""
    where = manifest.MANIFEST.parent if folder is None else checks.path("folder", folder)
    here = where.iterdir() if where.is_dir() else ()
    names = sorted(path.stem for path in here if path.suffix == ".npz")
    return [name.removesuffix(ending) for name in names if name.endswith(ending)]


def _file(name: str, folder: str | Path | None) -> Path:
    if folder is not None:
        return checks.path("folder", folder) / f"{name}.npz"
    path = manifest.MANIFEST.parent / f"{checks.choice('name', name, _names())}.npz"
    manifest.verify(path)
    return path
