"""Read and write the manifest of the pretrained networks.

For each file of networks the manifest has the SHA-256 hash of its arrays and the
configuration of its training. It also names the machine, the code and the settings of
the deterministic mode with which the networks were trained.

Two trainings are compared bit by bit. Running times differ between trainings, so arrays named `seconds` are not hashed.
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
        `machine` (dict), `arithmetic` (dict, the settings of the deterministic mode,
        empty if the networks were trained outside it), `code` (str, a hash of the
        training code), and `networks`, a dict with an entry for each file by name.

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
    if not isinstance(content, dict) or any(
        not isinstance(content.get(name), kind) for name, kind in kinds.items()
    ):
        raise ValueError(f"{path}: not a manifest; must hold {', '.join(kinds)}")
    for name, entry in content["networks"].items():
        found = entry.get("sha256") if isinstance(entry, dict) else None
        if not isinstance(found, str) or not re.fullmatch("[0-9a-f]{64}", found):
            raise ValueError(
                f"{path}: {validation.brief(name)}: sha256 = {validation.brief(found)}; must be 64 hexadecimal digits"
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
            f"{path}: its arrays are not those of {MANIFEST.name}; restore both, or store both"
        )


def ship(folder: str | Path, manifest: str | Path = MANIFEST) -> list[Path]:
    """Copy newly trained networks beside a manifest and write the manifest for them.

    The networks must come from a full run on this machine, so that all pretrained
    networks come from the same code and the same arithmetic.

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
        If `folder` lacks a file that the present manifest names.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     _ = shutil.copy(MANIFEST.parent / "signed.npz", folder)
    ...     [path.name for path in ship(folder, Path(folder) / "manifest.json")]
    ['signed.npz']
    """
    manifest, found = Path(manifest), sorted(Path(folder).glob("*.npz"))
    missing = (
        sorted(read(manifest)["networks"].keys() - {path.stem for path in found})
        if manifest.exists()
        else []
    )
    if missing:
        raise ValueError(
            f"{folder}: {missing[0]} is not among what was trained; run all notebooks with --profile full"
        )
    networks: dict[str, Any] = {path.stem: {"sha256": digest(path)} for path in found}
    for path in found:
        if configuration := str(read_npz(path, ()).get("configuration", "")):
            networks[path.stem]["configuration"] = json.loads(configuration)
    held = {} if determinism.departures() else determinism.FIXED
    content = {
        "machine": determinism.machine(),
        "arithmetic": held,
        "code": _code(),
        "networks": networks,
    }
    for path in found:
        with atomically(manifest.parent / path.name) as part:
            shutil.copyfile(path, part)
    write_json(manifest, content)
    return found


def differences() -> str:
    """Describe how this machine and code differ from those that trained the pretrained networks.

    Returns
    -------
    str
        The known differences in one line, separated by semicolons. The string is empty
        if all known facts agree. The number of cores is not compared.
    """
    there, here = read(), determinism.machine()
    found = [
        determinism.departures(),
        "other code trains" if there["code"] != _code() else "",
    ]
    found += [
        f"{name} {value} here, {there['machine'].get(name)} there"
        for name, value in here.items()
        if name != "cores" and value != there["machine"].get(name)
    ]
    return "; ".join(filter(None, found))


def _code() -> str:
    """Return the SHA-256 hash of the code that trains."""
    return hashlib.sha256(code()).hexdigest()
