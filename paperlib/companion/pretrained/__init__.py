"""Load pretrained networks and stored tables of studies.

A study trains many networks to compare settings, and stores a table of their errors and
training times. With the pretrained networks and the tables, every notebook runs without
training.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from paperlib._support import validation
from paperlib._support.files import read_npz, write_npz
from paperlib.companion.pretrained import manifest
from paperlib.companion.pretrained.manifest import ship
from paperlib.learning.config import TrainingConfig
from paperlib.learning.ensemble import Ensemble
from paperlib.learning.perturbation import LearnedSeries
from paperlib.learning.targets import scattering_length_target
from paperlib.learning.training import train_ensemble

__all__ = [
    "ensemble",
    "load_or_train",
    "series",
    "sha256",
    "ship",
    "table",
    "train_again",
]


def ensemble(name: str, folder: str | Path | None = None) -> Ensemble:
    """Load a pretrained ensemble, or an ensemble that a run has trained.

    Parameters
    ----------
    name : str
        The name of the ensemble.
    folder : path, optional
        A folder of newly trained networks. By default the pretrained networks of the
        package are read.

    Returns
    -------
    Ensemble
        The networks, with their seeds and learning curves.

    Raises
    ------
    ValueError
        If the package lacks a pretrained file of this name, or if its arrays differ
        from the manifest.
    FileNotFoundError
        If `folder` has no file of this name, because the notebook that trains these
        networks has not been run.

    Examples
    --------
    >>> ensemble("scattering_lengths").member(0)
    MLP(64-64-64-64-1, silu)
    """
    return Ensemble.load(_file(name, folder))


def series(name: str, folder: str | Path | None = None) -> LearnedSeries:
    """Load the ensembles NAME_1, NAME_2, .. of an iteration as a learned series.

    Parameters
    ----------
    name : str
        The common name of the ensembles, without the number of the iteration.
    folder : path, optional
        A folder of newly trained networks. By default the pretrained networks of the
        package are read.

    Returns
    -------
    LearnedSeries
        The series, of an order equal to the number of ensembles.

    Raises
    ------
    ValueError
        If the package lacks a pretrained file of this name, or if its arrays differ
        from the manifest.
    FileNotFoundError
        If `folder` has no file of this name, because the notebook that trains these
        networks has not been run.

    Examples
    --------
    >>> series("born_signed").order
    5
    """
    parts = _parts(name, folder)
    return LearnedSeries(tuple(ensemble(part, folder) for part in parts), len(parts))


def table(name: str, folder: str | Path | None = None) -> dict[str, np.ndarray]:
    """Load the table of a study whose networks are not in the package.

    The networks of these studies are too large to be distributed.

    Parameters
    ----------
    name : str
        The name of the study.
    folder : path, optional
        A folder of newly trained networks. By default the pretrained networks of the
        package are read.

    Returns
    -------
    dict of str to ndarray
        The arrays of the table.

    Raises
    ------
    ValueError
        If the package lacks a pretrained file of this name, or if its arrays differ
        from the manifest.
    FileNotFoundError
        If `folder` has no file of this name, because the notebook that trains these
        networks has not been run.

    Examples
    --------
    >>> table("optimizers")["errors"].ndim
    5
    """
    return read_npz(_file(name, folder), ())


def load_or_train(
    name: str, train: Callable[[], Any] | None, folder: str | Path | None
) -> Ensemble | LearnedSeries | dict[str, np.ndarray]:
    """Load pretrained results, or train and store them.

    Every notebook calls this function for its networks: with `folder` None it loads
    them, otherwise it trains them.

    Parameters
    ----------
    name : str
        The name of an ensemble, of a series of ensembles, or of the table of a study.
    train : callable or None
        A function without arguments that returns an Ensemble, a LearnedSeries or a dict
        of arrays. It is called only if `folder` is given.
    folder : path or None
        The folder in which the result of `train` is stored: as NAME.npz, or as
        NAME_1.npz, NAME_2.npz, .. for a series. None loads the pretrained result.

    Returns
    -------
    Ensemble, LearnedSeries or dict of str to ndarray
        The pretrained result, or the result of `train`.

    Raises
    ------
    ValueError
        If `folder` is None and the package lacks a pretrained result of this name.
    TypeError
        If `folder` is given and `train` is not callable, or if it returns an object of
        another type.

    Examples
    --------
    >>> load_or_train("scattering_lengths", train=None, folder=None).seeds
    (0, 1, 2, 3, 4)
    """
    if folder is None:
        validation.choice("name", name, (*_names(), *_names("_1")))
        if name in _names("_1"):
            return series(name)
        arrays = table(name)
        return ensemble(name) if "weights_0" in arrays else arrays
    folder = validation.path("folder", folder)
    result = validation.called("train", train)()
    if isinstance(result, dict):
        write_npz(folder / f"{name}.npz", **result)
    elif isinstance(result, Ensemble):
        result.save(folder / f"{name}.npz")
    else:
        validation.instance("train", result, LearnedSeries)
        for k, member in enumerate(result.ensembles, 1):
            member.save(folder / f"{name}_{k}.npz")
    return result


def train_again(
    name: str, folder: str | Path, *, cache: str | Path | None = None
) -> Path:
    """Train a pretrained ensemble again from its configuration in the manifest.

    Only ensembles that were trained on a_0 itself can be trained again by this
    function.

    Parameters
    ----------
    name : str
        The name of the ensemble.
    folder : path
        The folder for the new ensemble.
    cache : path, optional
        A folder of checkpoints. A training that it contains is not repeated.

    Returns
    -------
    Path
        The file FOLDER/NAME.npz.

    Raises
    ------
    ValueError
        If no pretrained ensemble of this name was trained on a_0.

    Examples
    --------
    >>> train_again("born_signed_2", "folder")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    ...
    ValueError: name = 'born_signed_2': must be one of ...
    """
    target = scattering_length_target()
    configurations = {}
    for network, entry in manifest.read()["networks"].items():
        fields = dict(entry.get("configuration", {}))
        if fields.pop("target", None) == target.name:
            configurations[network] = fields
    fields = configurations[validation.choice("name", name, configurations)]
    config = TrainingConfig.from_json(manifest.MANIFEST, fields)
    path = validation.path("folder", folder) / f"{name}.npz"
    train_ensemble(config, target, cache=cache).save(path)
    return path


def sha256(name: str, folder: str | Path | None = None) -> dict[str, str]:
    """Return the SHA-256 hashes of networks, one for each file.

    Parameters
    ----------
    name : str
        The name of an ensemble, of a table, or of a series, which has a file for each
        of its ensembles.
    folder : path, optional
        A folder of newly trained networks. By default the pretrained networks of the
        package are read.

    Returns
    -------
    dict of str to str
        File name without its suffix -> SHA-256 hash of the names, dtypes, shapes and
        bytes of the file's arrays, without arrays named `seconds`.

    Raises
    ------
    ValueError
        If the package lacks a pretrained file of this name, or if its arrays differ
        from the manifest.
    FileNotFoundError
        If `folder` has no file of this name, because the notebook that trains these
        networks has not been run.

    Examples
    --------
    >>> list(sha256("born_attractive"))
    ['born_attractive_1', 'born_attractive_2', 'born_attractive_3', 'born_attractive_4']
    """
    validation.instance("name", name, str)
    names = _parts(name, folder) if name in _names("_1", folder) else [name]
    return {part: manifest.digest(_file(part, folder)) for part in names}


def _parts(name: str, folder: str | Path | None) -> list[str]:
    """Return the names NAME_1, NAME_2, .. of the existing files of a series.

    At most 20 files are found. If `folder` is given but has no file of the series, the
    only name is NAME_1, so that the caller raises the error when it reads this file. If
    `folder` is None and the package has no series of this name, raise a ValueError.
    """
    names = _names("", folder)
    parts = [f"{name}_{k}" for k in range(1, 21) if f"{name}_{k}" in names]
    if not parts and folder is None:
        validation.choice("name", name, _names("_1"))
    return parts or [f"{name}_1"]


def _names(ending: str = "", folder: str | Path | None = None) -> list[str]:
    """Return the names of .npz files that end in `ending`, without the ending.

    The files are those in `folder`, by default the pretrained files.
    """
    if folder is None:
        folder = manifest.MANIFEST.parent
    paths = validation.path("folder", folder).glob("*.npz")
    stems = sorted(path.stem for path in paths)
    return [stem.removesuffix(ending) for stem in stems if stem.endswith(ending)]


def _file(name: str, folder: str | Path | None) -> Path:
    """Return the path FOLDER/NAME.npz, or the path of a pretrained file.

    If `folder` is None, the hash of the pretrained file is compared with the manifest
    first. Raise a ValueError if the package has no such file or if the hashes differ.
    """
    if folder is not None:
        return validation.path("folder", folder) / f"{name}.npz"
    path = manifest.MANIFEST.parent / f"{validation.choice('name', name, _names())}.npz"
    manifest.verify(path)
    return path
