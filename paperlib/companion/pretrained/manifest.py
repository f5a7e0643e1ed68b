"""Read and write the manifest of the pretrained networks.

The manifest is the file `manifest.json` beside the pretrained networks. For each file
of trained networks, or of errors of such networks, it has the SHA-256 hash of its
arrays. For an ensemble it also has the configuration of its training. It also has the
machine, the hash of the training code, and the settings of deterministic mode with
which the networks were trained.

Two trainings are compared by the hashes of their arrays. Running times differ between
trainings, so arrays named `seconds` are not hashed.
"""

import hashlib
import json
import re
import shutil
from importlib.resources import files
from pathlib import Path
from typing import Any

from paperlib._support import determinism, validation
from paperlib._support.files import atomically, read_json, read_npz, write_json
from paperlib.learning.checkpoints import code

MANIFEST = Path(str(files(__package__))) / "manifest.json"


def digest(path: str | Path) -> str:
    """Return the SHA-256 hash of the arrays of a .npz file.

    The hash covers the name, dtype, shape and bytes of each array, in the order of the
    names. Arrays named `seconds` are left out.

    Parameters
    ----------
    path : path
        The file to read.

    Returns
    -------
    str
        64 hexadecimal digits.

    Raises
    ------
    FileNotFoundError
        If the file does not exist.
    ValueError
        If the file is not a .npz file.

    Examples
    --------
    >>> len(digest(MANIFEST.parent / "signed.npz"))
    64
    """
    total = hashlib.sha256()
    for name, array in sorted(read_npz(path, ()).items()):
        if name != "seconds":
            total.update(f"{name} {array.dtype.str} {array.shape}\n".encode())
            total.update(array.tobytes())
    return total.hexdigest()


def read(path: str | Path = MANIFEST) -> dict[str, Any]:
    """Read and validate a manifest.

    Parameters
    ----------
    path : path
        The file to read, by default the manifest of the package.

    Returns
    -------
    dict
        `machine` (dict: the processor, the number of cores, and versions of libraries),
        `arithmetic` (dict: the environment variables of deterministic mode, empty if
        the networks were trained without it), `code` (str: a hash of the training
        code), and `networks` (dict: for each file by name a dict with `sha256` and, for
        an ensemble, `configuration`).

    Raises
    ------
    ValueError
        If the file is not a manifest, or if a hash does not have 64 hexadecimal digits.

    Examples
    --------
    >>> sorted(read())
    ['arithmetic', 'code', 'machine', 'networks']
    """
    content = read_json(path)
    kinds = {"machine": dict, "arithmetic": dict, "code": str, "networks": dict}
    if not isinstance(content, dict) or kinds != {
        name: type(content.get(name)) for name in kinds
    }:
        raise ValueError(
            f"{path}: must be a manifest, with the fields {', '.join(kinds)}"
        )
    for name, entry in content["networks"].items():
        sha256 = entry.get("sha256") if isinstance(entry, dict) else None
        if not isinstance(sha256, str) or not re.fullmatch("[0-9a-f]{64}", sha256):
            raise ValueError(
                f"{path}: {validation.brief(name)}: sha256 = "
                f"{validation.brief(sha256)}; must be 64 hexadecimal digits"
            )
    return content


def verify(path: Path) -> None:
    """Check that a pretrained file has the arrays that the manifest names.

    Parameters
    ----------
    path : Path
        The file to check. A file that the manifest does not name passes.

    Raises
    ------
    ValueError
        If the hash of the file differs from the hash in the manifest.

    Examples
    --------
    >>> verify(MANIFEST.parent / "signed.npz")
    """
    entry = read()["networks"].get(path.stem)
    if entry and digest(path) != entry["sha256"]:
        raise ValueError(
            f"{path}: the SHA-256 of its arrays must be that in {MANIFEST.name}; "
            "restore both files, or store both"
        )


def ship(folder: str | Path, manifest: str | Path = MANIFEST) -> list[Path]:
    """Copy newly trained networks to the folder of a manifest, and write the manifest.

    The manifest describes this machine, this code and this process' mode. So the
    networks must come from a full run of this code on this machine.

    Parameters
    ----------
    folder : path
        The folder with the newly trained .npz files.
    manifest : path, optional
        The manifest to write. By default the manifest of the package, whose pretrained
        networks are then replaced.

    Returns
    -------
    list of Path
        The files in `folder` that were copied.

    Raises
    ------
    ValueError
        If `folder` lacks a file that the existing manifest names.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     _ = shutil.copy(MANIFEST.parent / "signed.npz", folder)
    ...     [path.name for path in ship(folder, Path(folder) / "manifest.json")]
    ['signed.npz']
    """
    manifest = Path(manifest)
    paths = {path.stem: path for path in sorted(Path(folder).glob("*.npz"))}
    if manifest.exists():
        missing = sorted(read(manifest)["networks"].keys() - paths.keys())
        if missing:
            raise ValueError(
                f"{folder}: has no {missing[0]}.npz; must have all pretrained "
                "networks: run all notebooks with --profile full"
            )
    networks: dict[str, Any] = {}
    for name, path in paths.items():
        networks[name] = {"sha256": digest(path)}
        configuration = str(read_npz(path, ()).get("configuration", ""))
        if configuration:
            networks[name]["configuration"] = json.loads(configuration)
    content = {
        "machine": determinism.machine(),
        "arithmetic": {} if determinism.departures() else determinism.FIXED,
        "code": _code(),
        "networks": networks,
    }
    for path in paths.values():
        with atomically(manifest.parent / path.name) as part:
            shutil.copyfile(path, part)
    write_json(manifest, content)
    return list(paths.values())


def differences() -> str:
    """Describe how this machine and code differ from those in the manifest.

    Returns
    -------
    str
        The differences in one line, separated by semicolons: whether this process is in
        deterministic mode, the training code, the processor, and the versions of Python
        and of the libraries. The string is empty if there is no difference.
    """
    stored = read()
    reasons = [determinism.departures()]
    if stored["code"] != _code():
        reasons.append("the training code differs")
    for name, value in determinism.machine().items():
        other = stored["machine"].get(name)
        if name != "cores" and value != other:
            reasons.append(f"{name} is {value} here, and was {other} for the manifest")
    return "; ".join(filter(None, reasons))


def _code() -> str:
    """Return the SHA-256 hash of the code that trains."""
    return hashlib.sha256(code()).hexdigest()
