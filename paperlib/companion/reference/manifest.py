"""The manifest of what ships: of each file of networks the SHA-256 of its arrays, how they were trained, and on what.

Two trainings are compared as bits, and what took how long is none of them: arrays named `seconds` are left out.
"""

import hashlib
import json
import re
import shutil
from importlib.resources import files
from pathlib import Path
from typing import Any

from paperlib._support import arithmetic, checks
from paperlib._support.files import atomically, read_json, read_npz, write_json
from paperlib.learning.checkpoints import code

__all__ = ["MANIFEST", "differences", "digest", "read", "ship", "verify"]

MANIFEST = Path(str(files(__package__))) / "manifest.json"


def digest(path: str | Path) -> str:
    """The SHA-256 of a .npz file's arrays, by name, kind and shape, without those that are times."""
    total = hashlib.sha256()
    for name, array in sorted(read_npz(path, ()).items()):
        if name != "seconds":
            total.update(f"{name} {array.dtype.str} {array.shape}\n".encode())
            total.update(array.tobytes())
    return total.hexdigest()


def read(path: str | Path = MANIFEST) -> dict[str, Any]:
    """The manifest: `machine`, `arithmetic`, `code` and, by the names of their files, `networks`.

    A ValueError if it holds something else, or a hash that is none.
    """
    content = read_json(path)
    kinds = {"machine": dict, "arithmetic": dict, "code": str, "networks": dict}
    if not isinstance(content, dict) or any(not isinstance(content.get(name), kind) for name, kind in kinds.items()):
        raise ValueError(f"{path}: not a manifest; must hold {', '.join(kinds)}")
    for name, entry in content["networks"].items():
        found = entry.get("sha256") if isinstance(entry, dict) else None
        if not isinstance(found, str) or not re.fullmatch("[0-9a-f]{64}", found):
            raise ValueError(
                f"{path}: {checks.brief(name)}: sha256 = {checks.brief(found)}; must be 64 hexadecimal digits"
            )
    return content


def verify(path: Path) -> None:
    """A ValueError if a file that ships is not the one that the manifest names."""
    entry = read()["networks"].get(path.stem)
    if entry and digest(path) != entry["sha256"]:
        raise ValueError(f"{path}: its arrays are not those of {MANIFEST.name}; restore both, or store both")


def ship(folder: str | Path, manifest: str | Path = MANIFEST) -> list[Path]:
    """Make networks that a full run on this machine has just trained, in `folder`, those that ship, beside their manifest.

    A ValueError if some of those that the manifest names were not: what ships comes of one code and one arithmetic.
    """
    manifest, found = Path(manifest), sorted(Path(folder).glob("*.npz"))
    missing = sorted(read(manifest)["networks"].keys() - {path.stem for path in found}) if manifest.exists() else []
    if missing:
        raise ValueError(f"{folder}: {missing[0]} is not among what was trained; run all notebooks with --profile full")
    networks: dict[str, Any] = {path.stem: {"sha256": digest(path)} for path in found}
    for path in found:
        if configuration := str(read_npz(path, ()).get("configuration", "")):
            networks[path.stem]["configuration"] = json.loads(configuration)
    held = {} if arithmetic.departures() else arithmetic.FIXED
    content = {"machine": arithmetic.machine(), "arithmetic": held, "code": _code(), "networks": networks}
    for path in found:
        with atomically(manifest.parent / path.name) as part:
            shutil.copyfile(path, part)
    write_json(manifest, content)
    return found


def differences() -> str:
    """What is otherwise here than where the shipped networks were trained, in a line; empty where nothing that is known is."""
    there, here = read(), arithmetic.machine()
    found = [arithmetic.departures(), "other code trains" if there["code"] != _code() else ""]
    found += [f"{name} {value} here, {there['machine'].get(name)} there" for name, value in here.items()
              if name != "cores" and value != there["machine"].get(name)]  # fmt: skip
    return "; ".join(filter(None, found))


def _code() -> str:
    return hashlib.sha256(code()).hexdigest()
