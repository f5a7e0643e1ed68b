"""Read and write files safely.

A file is written under a temporary name and then renamed, so that it is either complete
or absent. Files that are read may be untrusted: no content is executed, and its size is
checked before memory is allocated.
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
# Not a POSIX system: files of killed writers are not removed
except ModuleNotFoundError:
    fcntl = None  # type: ignore[assignment]  # a module, or none

import numpy as np
from numpy.typing import ArrayLike

from paperlib._support import validation

# Networks and notebooks with their pictures take a few MB, the checkpoints of this
# project's largest trainings 200 MB.
MAX_BYTES = 2**30
MAX_JSON_BYTES = 2**26

_PART = ".part-"


@contextmanager
def atomically(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path to write to, and rename it to `path` at the end.

    The temporary file is in the folder of `path`, which is created if it is missing. If
    the block raises an error, the temporary file is removed, and a previous file at
    `path` remains. If the file cannot be written, an OSError names it.

    Examples
    --------
    >>> import tempfile, pathlib
    >>> folder = pathlib.Path(tempfile.mkdtemp())
    >>> with atomically(folder / "note.txt") as part:
    ...     _ = part.write_text("whole")
    >>> [file.name for file in folder.iterdir()]
    ['note.txt']
    """
    path = validation.path("path", path)
    if not path.name:
        raise ValueError(f"path = {str(path)!r}: must name a file, not a folder")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove_orphans(path)
        part = path.with_name(f"{_PART}{path.name}-{secrets.token_hex(4)}{path.suffix}")
        lock = open(part, "xb")  # its mode follows the user's umask
        # Without locks, the temporary file of a killed writer stays
        with suppress(OSError):
            _lock(lock)
    except OSError as error:
        raise _named(error, path, "written") from None
    try:
        yield part
        with open(part, "rb") as file:
            # Otherwise a power cut could leave a renamed file without content
            os.fsync(file.fileno())
        os.replace(part, path)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise _named(error, path, "written") from None
    finally:
        part.unlink(missing_ok=True)
        lock.close()


def _named(error: OSError, path: Path, action: str) -> OSError:
    """Return an error of the same type whose message names the path and the action.

    `action` is "read" or "written". The message has the reason that `error` has.
    """
    text = f"{path}: cannot be {action} ({error.strerror})"
    return type(error)(error.errno, text)


def _lock(file: IO) -> None:
    """Lock an open file, or raise an OSError if it is locked already.

    The lock holds until the file is closed. The system releases the lock however the
    process ends. On a system without POSIX file locks, the file is closed at once.
    """
    if fcntl:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    else:
        file.close()


def _remove_orphans(path: Path) -> None:
    """Remove temporary files of `path` that no process has locked.

    A writer that is killed leaves such a file. On a system without POSIX file locks, no
    file is removed.
    """
    if fcntl is None:
        return
    for part in path.parent.glob(f"{_PART}{glob.escape(path.name)}-*"):
        with suppress(OSError), open(part, "rb") as file:
            _lock(file)
            part.unlink()


def write_npz(path: str | Path, **arrays: ArrayLike) -> None:
    """Write arrays to a compressed .npz file, atomically.

    Raise a TypeError for an array of Python objects, because only a pickle could store
    them.
    """
    for name, array in arrays.items():
        try:
            plain = not np.asarray(array).dtype.hasobject
        # An error of the object's own __array__, or rows of different lengths
        except Exception:
            plain = False
        if not plain:
            raise TypeError(
                f"{name}: {type(array).__name__} given; must be an array without "
                "Python objects"
            )
    with atomically(path) as part, open(part, "wb") as file:
        # The stub matches the arrays with the argument `allow_pickle`
        np.savez_compressed(file, **arrays)  # type: ignore[arg-type]


def read_npz(path: str | Path, names: Iterable[str]) -> dict[str, np.ndarray]:
    """Read all arrays of a .npz file, at most 1 GiB in total, without pickle.

    Raise a ValueError if the file is damaged or too large, or if it lacks an array of
    `names`. The sizes are checked before an array is created, because a file of a few
    kilobytes can claim to hold a terabyte.
    """
    path = _existing(path)
    try:
        with zipfile.ZipFile(path) as archive, warnings.catch_warnings(action="ignore"):
            entries = archive.infolist()
            total = sum(entry.file_size for entry in entries)
            arrays = _arrays(archive, entries) if total <= MAX_BYTES else None
    # A damaged zip raises one of a dozen types, from zlib's to NotImplementedError
    except Exception:
        raise ValueError(
            f"{path}: must be a .npz file; it is damaged or has another format"
        ) from None
    if arrays is None:
        raise ValueError(
            f"{path}: holds {total / 2**30:.3g} GiB of arrays; must be at most "
            f"{MAX_BYTES / 2**30:g} GiB"
        )
    names = validation.sequence("names", names, str)
    missing = sorted(set(names) - set(arrays))
    if missing:
        raise ValueError(f"{path}: has no array {', '.join(map(repr, missing))}")
    return arrays


def _existing(path: str | Path) -> Path:
    """Return the path of an existing file as a Path.

    Raise a FileNotFoundError if the file does not exist or is a folder, and another
    OSError if its name is too long or its folder is not accessible.
    """
    path = validation.path("path", path)
    try:
        if path.is_file():
            return path
    except OSError as error:  # the name is too long, or the folder is not accessible
        raise _named(error, path, "read") from None
    raise FileNotFoundError(f"{path}: no such file")


def _arrays(
    archive: zipfile.ZipFile, entries: list[zipfile.ZipInfo]
) -> dict[str, np.ndarray]:
    """Return the arrays of an open archive by name, without the suffix ".npy".

    `entries` are the entries of the archive, one for each array. The size of an array
    in its header must be that of its entry. Raise an exception, of any type, if the
    archive is damaged, has a name twice, or holds an array of Python objects.
    """
    arrays = {}
    for entry in entries:
        name = entry.filename.removesuffix(".npy")
        with archive.open(entry) as file:
            version = np.lib.format.read_magic(file)
            header = {
                (1, 0): np.lib.format.read_array_header_1_0,
                (2, 0): np.lib.format.read_array_header_2_0,
            }[version]
            shape, _, dtype = header(file)
            if name in arrays or dtype.hasobject or min(shape, default=0) < 0:
                raise ValueError
            if file.tell() + prod(shape) * dtype.itemsize != entry.file_size:
                raise ValueError
        with archive.open(entry) as file:
            arrays[name] = np.lib.format.read_array(file, allow_pickle=False)
    return arrays


def write_json(path: str | Path, content: Any) -> None:
    """Write JSON atomically, with keys in the given order to keep diffs readable.

    Raise a ValueError if `content` has a NaN, an infinity, or an object that JSON does
    not have, or if it is nested too deeply.
    """
    with atomically(path) as part:
        try:
            text = json.dumps(content, indent=1, allow_nan=False)
        except (TypeError, ValueError, RecursionError) as error:
            raise ValueError(f"content: cannot be written as JSON ({error})") from None
        part.write_text(text + "\n", encoding="utf-8")


def read_json(path: str | Path) -> Any:
    """Read a JSON file of at most 64 MiB.

    Raise a FileNotFoundError if the file does not exist. Raise a ValueError if it is
    too large or not JSON, if it holds NaN or a number that overflows float64, if an
    object has a key twice, or if it is nested too deeply.
    """
    path = _existing(path)
    if path.stat().st_size > MAX_JSON_BYTES:
        raise ValueError(
            f"{path}: has {path.stat().st_size} bytes; must be at most "
            f"{MAX_JSON_BYTES} bytes"
        )
    try:
        text = path.read_text(encoding="utf-8")
        return json.loads(
            text,
            parse_constant=_number,
            parse_float=_number,
            parse_int=_integer,
            object_pairs_hook=_object,
        )
    except RecursionError:
        raise ValueError(f"{path}: must be JSON; it is nested too deeply") from None
    except ValueError as error:
        raise ValueError(
            f"{path}: must be valid JSON ({' '.join(str(error).split())[:200]})"
        ) from None


def _number(text: str) -> float:
    """Return a JSON number as a float.

    Raise a ValueError if it is NaN or infinity, or if it overflows float64.
    """
    if not isfinite(value := float(text)):
        raise ValueError(f"{text[:20]} must be a finite number")
    return value


def _integer(text: str) -> int:
    """Return a JSON integer as an int.

    Raise a ValueError if it overflows float64.
    """
    _number(text)
    return int(text)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return a JSON object, given as pairs of key and value, as a dict.

    Raise a ValueError if a key occurs twice.
    """
    content = dict(pairs)
    if len(content) < len(pairs):
        raise ValueError("the keys of an object must be unique")
    return content
