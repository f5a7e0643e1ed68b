"""Check that files are written atomically, and that damaged files are rejected."""

import errno
import json
import os
import signal
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from paperlib._support.files import (
    atomically,
    read_json,
    read_npz,
    write_json,
    write_npz,
)
from paperlib.learning.ensemble import Ensemble
from paperlib.networks.mlp import MLP


def test_a_failed_write_leaves_the_good_file(tmp_path):
    path = tmp_path / "deep" / "numbers.json"
    write_json(path, {"value": 1})
    with pytest.raises(RuntimeError), atomically(path) as part:
        part.write_text("half of")
        raise RuntimeError("power cut")
    assert read_json(path) == {"value": 1}
    assert os.listdir(path.parent) == ["numbers.json"]


def test_the_file_of_a_killed_writer_is_removed_at_the_next_write(tmp_path):
    """Remove the temporary file of a killed writer at the next write.

    The temporary file of a running writer stays.
    """
    path, code = (
        tmp_path / "a.json",
        "import os, signal; os.kill(os.getpid(), signal.SIGKILL)",
    )
    script = "from paperlib._support.files import atomically\n"
    script += f"with atomically({str(path)!r}):\n    {code}"
    assert subprocess.run([sys.executable, "-c", script]).returncode == -signal.SIGKILL
    (orphan,) = tmp_path.iterdir()
    with atomically(path) as part:
        assert not orphan.exists()
        write_json(path, {"by": "another"})
        assert part.exists()
        part.write_text('{"by": "this one"}')
    assert read_json(path) == {"by": "this one"}
    assert os.listdir(tmp_path) == ["a.json"]


@pytest.mark.skipif(
    not os.path.exists("/dev/full"), reason="needs a device that is always full"
)
def test_a_full_disk_raises_a_one_line_error(tmp_path):
    path = tmp_path / "a.json"
    write_json(path, {"value": 1})
    with pytest.raises(
        OSError,
        match=r"^\[Errno 28\] [^\n]*a.json: cannot be written \(No space left on device\)$",
    ):
        with atomically(path), open("/dev/full", "w") as full:
            full.write("more")
    assert read_json(path) == {"value": 1} and os.listdir(tmp_path) == ["a.json"]


def test_nan_is_not_written_to_json(tmp_path):
    path = tmp_path / "numbers.json"
    write_json(path, {"value": 1})
    with pytest.raises(ValueError):
        write_json(path, {"value": float("nan")})
    assert json.loads(path.read_text()) == {"value": 1}


@pytest.mark.parametrize("mask", [0o022, 0o077, 0o027])
def test_files_have_the_permissions_of_the_umask(tmp_path, mask):
    before = os.umask(mask)
    try:
        write_json(tmp_path / "a.json", {})
    finally:
        os.umask(before)
    assert (tmp_path / "a.json").stat().st_mode & 0o777 == 0o666 & ~mask


def test_a_file_system_without_locks_or_modes_can_be_written(tmp_path, monkeypatch):
    """Write to file systems such as Lustre without flock and CIFS without chmod.

    The temporary files of other writers stay, because no lock distinguishes them from
    orphans.
    """
    import fcntl

    def refused(*_):
        raise OSError(errno.ENOSYS, "Function not implemented")

    for module, name in ((fcntl, "flock"), (os, "chmod"), (os, "fchmod")):
        monkeypatch.setattr(module, name, refused)
    other = tmp_path / ".part-a.json-0123.json"
    other.write_text("half of")
    write_json(tmp_path / "a.json", {"value": 1})
    assert read_json(tmp_path / "a.json") == {"value": 1} and other.exists()


def test_an_unwritable_folder_raises_a_one_line_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match=r"x.json: cannot be written \([^\n]*\)$"):
        write_json(tmp_path / "file" / "x.json", {})


@given(st.binary(max_size=400))
@settings(max_examples=100)
def test_random_bytes_are_rejected(tmp_path_factory, content):
    path = tmp_path_factory.mktemp("foreign") / "file.npz"
    path.write_bytes(content)
    for read in (lambda p: read_npz(p, ()), MLP.load, Ensemble.load):
        with pytest.raises(ValueError, match="^[^\n]*file.npz[^\n]*$"):
            read(path)


def test_pickles_are_not_opened(tmp_path):
    path = tmp_path / "file.npz"
    np.savez(path, activation=np.array([{}], dtype=object))
    with pytest.raises(ValueError, match="must be a .npz file; it is damaged"):
        read_npz(path, ())


def test_missing_arrays_are_named(tmp_path):
    write_npz(tmp_path / "file.npz", a=np.ones(2))
    with pytest.raises(ValueError, match="has no array 'b', 'c'"):
        read_npz(tmp_path / "file.npz", ("a", "b", "c"))
    with pytest.raises(FileNotFoundError, match="none.npz: no such file"):
        read_npz(tmp_path / "none.npz", ())
    with pytest.raises(FileNotFoundError, match="none.json: no such file"):
        read_json(tmp_path / "none.json")
    (tmp_path / "bad.json").write_text("{")
    with pytest.raises(ValueError, match="bad.json: must be valid JSON"):
        read_json(tmp_path / "bad.json")


def test_arrays_of_python_objects_are_not_written(tmp_path):
    with pytest.raises(
        TypeError, match="^ragged: list given; must be an array without Python objects$"
    ):
        write_npz(tmp_path / "a.npz", good=np.ones(2), ragged=[[1], [2, 3]])
    assert not list(tmp_path.iterdir())


def test_a_too_long_name_raises_a_one_line_error():
    with pytest.raises(OSError, match=r"x: cannot be read \(File name too long\)$"):
        read_json("x" * 5000)


@pytest.mark.parametrize("folder", [".", "/", ""])
def test_a_folder_cannot_be_written_as_a_file(folder):
    with pytest.raises(
        ValueError, match="^path = '.*': must name a file, not a folder$"
    ):
        write_npz(folder, a=np.zeros(1))
