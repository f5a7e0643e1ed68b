"""Files that are whole or not there: written beside their place, then renamed into it.

What is read may come from a stranger: nothing in it is run, and its size is known before memory is taken for it.
"""

import errno
import glob
import json
import os
import secrets
import warnings
import zipfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from math import isfinite, prod
from pathlib import Path
from typing import IO, Any

try:
    import fcntl
except ModuleNotFoundError:  # not a POSIX system: what a killed writer left stays there
    fcntl = None  # type: ignore[assignment]  # a module, or none

import numpy as np
from numpy.typing import ArrayLike

from paperlib._support import checks

# Networks take a few MB, the checkpoints of the largest trainings here 200 MB; notebooks with their pictures, a few MB.
MOST_BYTES = 2**30
MOST_JSON_BYTES = 2**26

__all__ = ["atomically", "read_json", "read_npz", "write_json", "write_npz"]

_PART = ".part-"


@contextmanager
def atomically(path: str | Path) -> Iterator[Path]:
    """Give a path to write to; what was written replaces `path` when the block ends without an error.

    The folder is made where it is missing; an OSError names the file that cannot be written.

    Examples
    --------
    >>> import tempfile, pathlib
    >>> folder = pathlib.Path(tempfile.mkdtemp())
    >>> with atomically(folder / "note.txt") as part:
    ...     _ = part.write_text("whole")
    >>> [file.name for file in folder.iterdir()]
    ['note.txt']
    """
    path = checks.path("path", path)
    if not path.name:
        raise ValueError(f"path = {str(path)!r}: is a folder; must name a file")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove_orphans(path)
        part = path.with_name(f"{_PART}{path.name}-{secrets.token_hex(4)}{path.suffix}")
        held = open(part, "xb")  # with the mode that the user's mask leaves
        with suppress(OSError):  # on a file system without locks a killed writer's part stays
            _lock(held)
    except OSError as error:
        raise type(error)(error.errno, f"{path}: cannot be written ({error.strerror})") from None
    try:
        yield part
        with open(part, "rb") as file:
            os.fsync(file.fileno())  # else a power cut could leave the name without the content
        os.replace(part, path)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise OSError(error.errno, f"{path}: cannot be written ({error.strerror})") from None
    finally:
        part.unlink(missing_ok=True)
        held.close()


def _lock(file: IO) -> None:
    """Hold a file until it is closed; the system lets go of it however this process ends."""
    if fcntl:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    else:
        file.close()


def _remove_orphans(path: Path) -> None:
    """Remove what writers of this file that were killed have left beside it: parts that nobody holds."""
    for part in path.parent.glob(f"{_PART}{glob.escape(path.name)}-*") if fcntl else ():
        with suppress(OSError), open(part, "rb") as file:
            _lock(file)
            part.unlink()


def write_npz(path: str | Path, **arrays: ArrayLike) -> None:
    """Write arrays to a compressed .npz file, atomically; none may hold objects, which only a pickle could."""
    for name, array in arrays.items():
        try:
            plain = not np.asarray(array).dtype.hasobject
        except Exception:  # a stranger's __array__, or rows of different lengths
            plain = False
        if not plain:
            raise TypeError(f"{name}: {type(array).__name__} given; must be an array without Python objects")
    with atomically(path) as part, open(part, "wb") as file:
        np.savez_compressed(file, **arrays)  # type: ignore[arg-type]  # its stub takes them for `allow_pickle`


def read_npz(path: str | Path, names: Iterable[str]) -> dict[str, np.ndarray]:
    """Read every array of a .npz file, without pickle, of 1 GiB in all; a ValueError if it lacks one of `names` or is damaged.

    Sizes are checked before an array is made: a few kilobytes can be packed so that they claim a terabyte.
    """
    path = _existing(path)
    try:
        with zipfile.ZipFile(path) as archive, warnings.catch_warnings(action="ignore"):
            entries = archive.infolist()
            total = sum(entry.file_size for entry in entries)
            arrays = _arrays(archive, entries) if total <= MOST_BYTES else None
    except Exception:  # a damaged zip raises one of a dozen types, from zlib's to NotImplementedError
        raise ValueError(f"{path}: not a readable .npz file; it is damaged or of another kind") from None
    if arrays is None:
        raise ValueError(f"{path}: holds {total / 2**30:.3g} GiB of arrays; at most {MOST_BYTES / 2**30:g} are read")
    names = checks.sequence("names", names, str)
    missing = sorted(set(names) - set(arrays))
    if missing:
        raise ValueError(f"{path}: has no array {', '.join(map(repr, missing))}; it was written by something else")
    return arrays


def _existing(path: str | Path) -> Path:
    path = checks.path("path", path)
    try:
        found = path.is_file()
    except OSError as error:  # a name too long, a folder that may not be entered
        raise type(error)(error.errno, f"{path}: cannot be read ({error.strerror})") from None
    if not found:
        raise FileNotFoundError(f"{path}: no such file")
    return path


def _arrays(archive: zipfile.ZipFile, entries: list[zipfile.ZipInfo]) -> dict[str, np.ndarray]:
    """The arrays of an open archive; any exception where it is damaged."""
    arrays = {}
    for entry in entries:
        name = entry.filename.removesuffix(".npy")
        with archive.open(entry) as file:
            version = np.lib.format.read_magic(file)
            header = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}[version]
            shape, _, dtype = header(file)
            if name in arrays or dtype.hasobject or min(shape, default=0) < 0:
                raise ValueError
            if file.tell() + prod(shape) * dtype.itemsize != entry.file_size:
                raise ValueError
        with archive.open(entry) as file:
            arrays[name] = np.lib.format.read_array(file, allow_pickle=False)
    return arrays


def write_json(path: str | Path, content: Any) -> None:
    """Write JSON, atomically; keys in the order given, so that a diff reads well."""
    with atomically(path) as part:
        try:
            text = json.dumps(content, indent=1, allow_nan=False)
        except (TypeError, ValueError, RecursionError) as error:
            raise ValueError(f"content: cannot be written as JSON ({error})") from None
        part.write_text(text + "\n", encoding="utf-8")


def read_json(path: str | Path) -> Any:
    """Read JSON of up to 64 MiB.

    Refused, by a ValueError, is what is no JSON or larger, names NaN or a number beyond the largest double, gives a name
    twice, or is nested too deeply.
    """
    path = _existing(path)
    if path.stat().st_size > MOST_JSON_BYTES:
        raise ValueError(f"{path}: has {path.stat().st_size} bytes; at most {MOST_JSON_BYTES} are read")
    try:
        text = path.read_text(encoding="utf-8")
        return json.loads(
            text, parse_constant=_number, parse_float=_number, parse_int=_integer, object_pairs_hook=_object
        )
    except RecursionError:
        raise ValueError(f"{path}: not JSON that is read (nested too deeply)") from None
    except ValueError as error:
        raise ValueError(f"{path}: not JSON ({' '.join(str(error).split())[:200]})") from None


def _number(text: str) -> float:
    if not isfinite(value := float(text)):
        raise ValueError(f"{text[:20]} is no finite number")
    return value


def _integer(text: str) -> int:
    _number(text)
    return int(text)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("an object gives a name twice")
    return found
