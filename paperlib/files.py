"""Files that are whole or not there: written beside their place, then renamed into it."""

import errno
import glob
import json
import os
import tempfile
from contextlib import contextmanager, suppress
from pathlib import Path

try:
    import fcntl
except ModuleNotFoundError:  # not a POSIX system: what a killed writer left stays there
    fcntl = None  # type: ignore[assignment]  # a module, or none

import numpy as np

__all__ = ["atomically", "read_json", "read_npz", "write_json", "write_npz"]

_PART = ".part-"


@contextmanager
def atomically(path):
    """Give a path to write to; what was written replaces `path` when the block ends without an error.

    The folder is made where it is missing.

    Raises
    ------
    OSError
        If the folder cannot be made or written to; the message names the file.

    Examples
    --------
    >>> import tempfile, pathlib
    >>> folder = pathlib.Path(tempfile.mkdtemp())
    >>> with atomically(folder / "note.txt") as part:
    ...     _ = part.write_text("whole")
    >>> [file.name for file in folder.iterdir()]
    ['note.txt']
    """
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove_orphans(path)
        handle, name = tempfile.mkstemp(prefix=f"{_PART}{path.name}-", suffix=path.suffix, dir=path.parent)
        held = open(handle, "rb")
        _lock(held)
    except OSError as error:
        raise type(error)(error.errno, f"{path}: cannot be written ({error.strerror})") from None
    part = Path(name)
    try:
        yield part
        part.chmod(0o644)  # mkstemp makes files that only their owner reads
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


def _lock(file):
    """Hold a file until it is closed; the system lets go of it however this process ends."""
    if fcntl:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    else:
        file.close()


def _remove_orphans(path):
    """Remove what writers of this file that were killed have left beside it: parts that nobody holds."""
    for part in path.parent.glob(f"{_PART}{glob.escape(path.name)}-*") if fcntl else ():
        with suppress(OSError), open(part, "rb") as file:
            _lock(file)
            part.unlink()


def write_npz(path, **arrays):
    """Write arrays to a compressed .npz file, atomically."""
    with atomically(path) as part, open(part, "wb") as file:
        np.savez_compressed(file, **arrays)


def read_npz(path, names):
    """Read arrays from a .npz file, without pickle.

    Parameters
    ----------
    path : path
    names : collection of str
        The arrays that must be there.

    Returns
    -------
    dict of ndarray, every array of the file

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it is not a .npz file, is damaged, or lacks one of `names`.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file")
    try:
        with np.load(path, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
    except Exception:  # a damaged zip raises one of a dozen types, from zlib's to NotImplementedError
        raise ValueError(f"{path}: not a readable .npz file; it is damaged or of another kind") from None
    missing = sorted(set(names) - set(arrays))
    if missing:
        raise ValueError(f"{path}: has no array {', '.join(map(repr, missing))}; it was written by something else")
    return arrays


def write_json(path, content):
    """Write JSON, atomically; keys in the order given, so that a diff reads well."""
    with atomically(path) as part:
        part.write_text(json.dumps(content, indent=1, allow_nan=False) + "\n", encoding="utf-8")


def read_json(path):
    """Read JSON.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it is not JSON.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file")
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: not JSON ({error})") from None
