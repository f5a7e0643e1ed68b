"""Test the readers of untrusted files.

Readers check sizes before they read, execute nothing, and refuse a file by an error in
one line that names it.

The files are mutated valid files and arbitrary bytes. With `HYPOTHESIS_PROFILE=long`
there are a hundred times more examples.
"""

import ast
import io
import json
import re
import tempfile
import tracemalloc
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from paperlib import reproduction, sweep
from paperlib.__main__ import main
from paperlib._support import files
from paperlib.companion.reproduction.claims import undecided
from paperlib.learning.ensemble import Ensemble
from paperlib.networks.mlp import MLP

EXAMPLES = max(1, settings.default.max_examples // 2)
FOLDER = Path(tempfile.mkdtemp(prefix="paperlib-"))
NETWORK = MLP([[[1.0, 2.0], [0.5, -1.0]], [[1.0, 3.0]]], [[0.5, 0.1], [0.0]], "tanh")
NETWORK.save(FOLDER / "network.npz")
Ensemble((NETWORK,), (0,), np.ones((3, 1)), np.ones((3, 1)), np.ones(3)).save(
    FOLDER / "ensemble.npz"
)
NUMBER = {"value": 1.5, "meaning": "m", "rtol": 1e-6, "at_most": 2.0}
RECORD = {
    "notebook": "01_a",
    "retrained": False,
    "numbers": {"x": NUMBER},
    "figures": {"f": [[3, 1.5, 2.5]]},
}
files.write_json(FOLDER / "record.json", RECORD)
files.write_json(
    FOLDER / "grid.json",
    {
        "fixed": {"d": 4, "seeds": [0]},
        "grid": {"hidden": [[4], [8]], "depth": [1.0, 2.5]},
    },
)
CRITERION = {"below": 0.5, "reason": "r", "controls": ["y"]}
CLAIM = {
    "id": "C1",
    "text": "t",
    "notebook": "01_a",
    "cases": [{"protocol": "p", "criteria": {"x": CRITERION}}],
}
files.write_json(FOLDER / "claims.json", {"paper": "p", "claims": [CLAIM]})
GOOD = [
    (FOLDER / name).read_bytes()
    for name in (
        "network.npz", "ensemble.npz", "record.json", "grid.json", "claims.json",
    )
]  # fmt: skip
READERS = {
    "MLP.load": MLP.load,
    "Ensemble.load": Ensemble.load,
    "read_npz": lambda path: files.read_npz(path, ()),
    "read_json": files.read_json,
    "read_record": reproduction.read_record,
    "read_grid": sweep.read_grid,
    "read_claims": lambda path: [claim.because for claim in undecided(path)],
}


def read(content, reader):
    """Return the content of a file, or None if the reader raised a valid error."""
    path = FOLDER / "strange.file"
    path.write_bytes(content)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            return READERS[reader](path)
        except ValueError as error:
            assert "\n" not in str(error) and len(str(error)) < 1000
            # The error on a grid with invalid values names the field instead of the
            # file.
            assert "strange.file" in str(error) or (
                reader == "read_grid" and re.match(r"\w+(\[\d+\])?( = |:)", str(error))
            )
            return None


def members(archive):
    with zipfile.ZipFile(io.BytesIO(archive)) as opened:
        return {name: opened.read(name) for name in opened.namelist()}


def packed(contents, compression=zipfile.ZIP_DEFLATED):
    buffer = io.BytesIO()
    with (
        zipfile.ZipFile(buffer, "w", compression) as archive,
        warnings.catch_warnings(action="ignore"),
    ):
        for name, content in contents:
            archive.writestr(name, content)
    return buffer.getvalue()


def array_file(array=None, *, shape=None, descr="<f8", content=b""):
    """Return a .npy file of an array, or with an arbitrary header and content."""
    buffer = io.BytesIO()
    if array is not None:
        np.save(buffer, array, allow_pickle=True)
    else:
        header = {"descr": descr, "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(buffer, header)
        buffer.write(content)
    return buffer.getvalue()


@st.composite
def damaged(draw):
    """Draw a damaged file.

    It is a valid file with bytes changed, removed, inserted or taken from another file,
    or an archive with exchanged members.
    """
    content = draw(st.sampled_from(GOOD))
    if content[:2] == b"PK" and draw(st.booleans()):
        inside = members(content)
        names, values = list(inside), list(inside.values())
        if draw(st.booleans()):
            values = draw(st.permutations(values))
        else:
            where = draw(st.integers(0, len(values) - 1))
            values[where] = draw(
                st.one_of(
                    st.just(mutated(draw, values[where])),
                    STRANGE_ARRAYS.map(array_file),
                )
            )
        return packed(zip(names, values, strict=True))
    return mutated(draw, content)


def mutated(draw, content):
    for _ in range(draw(st.integers(1, 3))):
        start = draw(st.integers(0, max(0, len(content) - 1)))
        stop = draw(st.integers(start, min(len(content), start + 40)))
        new = draw(
            st.one_of(
                st.binary(max_size=8),
                st.sampled_from(TOKENS),
                st.sampled_from(GOOD).map(lambda c: c[start:stop]),
            )
        )
        content = content[:start] + new + content[stop:]
    return content


TOKENS = [
    b"NaN",
    b"1e999",
    b"null",
    b"true",
    b'"',
    b"[",
    b"}",
    b"9" * 5000,
    b"-1",
    b"PK\x01\x02",
    b"\x93NUMPY",
    b"|O",
    b"shape",
]
STRANGE_ARRAYS = st.sampled_from([
    np.array({}), np.array("tanh"), np.array(["tanh", "x\ny"]), np.array([]),
    np.array(3), np.ones((2, 2, 2)), np.array([np.nan]), np.array([1j]),
    np.zeros(3, [("a", "f8")]), np.array(b"tanh"), np.array("elu(nan)"),
    np.ones((0, 4)), np.array([-1, 2**62]), np.array([["tanh"]]), np.array(True),
    np.datetime64("2020-01-01"), np.ones(3, ">f4"), np.full((1, 2), 1e300),
])  # fmt: skip


@given(
    content=st.one_of(damaged(), st.binary(max_size=300)),
    reader=st.sampled_from(sorted(READERS)),
)
@settings(max_examples=EXAMPLES, suppress_health_check=list(HealthCheck))
def test_a_malformed_file_is_read_or_rejected(content, reader):
    found = read(content, reader)
    if isinstance(found, MLP):
        assert np.isfinite(
            np.concatenate([a.ravel() for a in (*found.weights, *found.biases)])
        ).all()


@given(
    content=st.recursive(
        st.none()
        | st.booleans()
        | st.integers()
        | st.floats(allow_nan=False, allow_infinity=False)
        | st.text(max_size=9),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(st.sampled_from([*RECORD, *NUMBER, "grid", "d"]), inner)
        ),
    ),
    under=st.sampled_from(
        [
            (),
            ("numbers",),
            ("numbers", "x"),
            ("figures",),
            ("figures", "f"),
            ("grid",),
            ("grid", "d"),
        ]
    ),
    reader=st.sampled_from(["read_record", "read_grid"]),
)
@settings(max_examples=EXAMPLES, suppress_health_check=list(HealthCheck))
def test_json_of_another_structure_is_rejected(content, under, reader):
    whole = json.loads(
        json.dumps(RECORD if reader == "read_record" else {"grid": {"d": [4]}})
    )
    place = whole
    for name in under[:-1]:
        place = place.setdefault(name, {})
    if under:
        place[under[-1]] = content
    read(json.dumps(whole if under else content).encode(), reader)


BOMBS = {
    "a header that declares a terabyte": packed(
        [("format.npy", array_file(shape=(2**37,)))]
    ),
    "a header that declares more than there is": packed(
        [("format.npy", array_file(shape=(2**20,), content=b"12345678"))]
    ),
    "a negative shape": packed(
        [("format.npy", array_file(shape=(-1, -1), content=b"12345678"))]
    ),
    "a shape beyond an int64": packed(
        [("format.npy", array_file(shape=(2**40, 2**40)))]
    ),
    "a text of a terabyte": packed(
        [("format.npy", array_file(shape=(), descr="<U274877906944"))]
    ),
    "a pickle": packed([("format.npy", array_file(np.array({"a": 1})))]),
    "two arrays of one name": packed([("a.npy", array_file(np.ones(1)))] * 2),
    "no archive": array_file(shape=(2**37,)),
}


@pytest.mark.parametrize("reader", ["MLP.load", "Ensemble.load", "read_npz"])
@pytest.mark.parametrize("content", BOMBS.values(), ids=BOMBS)
def test_compressed_bombs_allocate_no_memory(content, reader):
    tracemalloc.start()
    try:
        assert read(content, reader) is None
        assert tracemalloc.get_traced_memory()[1] < 2**20
    finally:
        tracemalloc.stop()


def test_an_archive_of_a_gibibyte_of_zeros_is_rejected_unread(monkeypatch):
    monkeypatch.setattr(files, "MAX_BYTES", 2**20)
    # A kilobyte on disk, a mebibyte and a header in memory
    zeros = packed([("a.npy", array_file(np.zeros(2**17)))])
    (FOLDER / "zeros.npz").write_bytes(zeros)
    assert len(zeros) < 2**12
    tracemalloc.start()
    with pytest.raises(
        ValueError, match=r"zeros.npz: holds .* GiB of arrays; must be at most .* GiB"
    ):
        files.read_npz(FOLDER / "zeros.npz", ())
    assert tracemalloc.get_traced_memory()[1] < 2**19
    tracemalloc.stop()


@pytest.mark.parametrize(
    "text, why",
    [
        ("[" * 100_000, "nested too deeply"),
        ('{"a":' * 100_000, "nested too deeply"),
        ('{"a": NaN}', "NaN must be a finite number"),
        ('{"a": -Infinity}', "-Infinity must be a finite number"),
        ('{"a": 1e999}', "1e999 must be a finite number"),
        (f"[-{10**400}]", "-1000000000000000000 must be a finite number"),
        ('{"a": 1, "a": 2}', "the keys of an object must be unique"),
        ("9" * 5000, "must be valid JSON"),
        ("\ud800", "must be valid JSON"),
        ("", "must be valid JSON"),
    ],
)
def test_invalid_json_is_rejected(text, why):
    path = FOLDER / "strange.json"
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    with pytest.raises(ValueError, match=rf"^[^\n]*strange.json: [^\n]*{why}[^\n]*$"):
        files.read_json(path)


def test_a_long_json_file_is_rejected_unread(monkeypatch):
    monkeypatch.setattr(files, "MAX_JSON_BYTES", 10)
    (FOLDER / "long.json").write_text("[1, 2, 3, 4, 5]")
    with pytest.raises(
        ValueError, match="long.json: has 15 bytes; must be at most 10 bytes"
    ):
        files.read_json(FOLDER / "long.json")


def test_a_grid_of_too_many_points_is_rejected():
    grid = {
        name: [1 + k / 1000 for k in range(1000)]
        for name in ("depth", "learning_rate", "min_scale")
    }
    assert read(json.dumps({"grid": grid}).encode(), "read_grid") is None


@pytest.mark.parametrize("name", ["../../x", "/etc/x", "a/b", "a\\b", ""])
def test_a_record_cannot_name_files_outside_its_folder(name):
    assert (
        read(json.dumps(RECORD | {"figures": {name: []}}).encode(), "read_record")
        is None
    )
    assert read(json.dumps(RECORD | {"notebook": name}).encode(), "read_record") is None


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "[]",
        '{"widht": 1}',
        '{"d": "four"}',
        '{"d": NaN}',
        '{"hidden": [[]]}',
        '{"d": 1e400}',
        "[" * 10**5,
    ],
)
def test_a_training_of_a_malformed_configuration_is_rejected(text, capsys):
    (FOLDER / "config.json").write_text(text)
    assert (
        main(
            ["train", str(FOLDER / "config.json"), "--output", str(FOLDER / "trained")]
        )
        == 2
    )
    said = capsys.readouterr().err
    assert said.startswith("paperlib train: ") and said.count("\n") == 1


CODE = [
    "'''",
    '"""',
    "\\",
    "\n",
    "\r",
    "\"+__import__('os').system('false')+\"",
    "{{ x }}",
    "%run x",
    "!x",
    "\0",
    "\u2028",
    "#",
    "é",
]


@given(st.lists(st.sampled_from(CODE) | st.text(max_size=5), max_size=6).map("".join))
@settings(max_examples=EXAMPLES)
def test_a_parameter_is_written_as_text(value):
    """Check the cell that papermill writes for a parameter.

    `run_notebook` passes the value to papermill unchanged.
    """
    from papermill.translators import PythonTranslator

    cell = ast.parse(PythonTranslator.codify({"given": value}))
    (assignment,) = cell.body
    assert (
        isinstance(assignment, ast.Assign)
        and ast.literal_eval(assignment.value) == value
    )


def test_a_parameter_is_data_in_the_notebook():
    value = "".join(CODE).replace("\0", "") + "'; open('made', 'w')  # \n"
    code = {"cell_type": "code", "outputs": [], "execution_count": None}
    tagged = {"tags": ["parameters"]}
    cells = [
        code | {"metadata": tagged, "source": "given = ''"},
        code | {"metadata": {}, "source": "ascii(given)"},
    ]
    kernel = {"name": "python3", "language": "python", "display_name": "Python 3"}
    content = {
        "cells": cells,
        "metadata": {"kernelspec": kernel},
        "nbformat": 4,
        "nbformat_minor": 4,
    }
    files.write_json(FOLDER / "code" / "01_a.ipynb", content)
    reproduction.run_notebook(
        FOLDER / "code" / "01_a.ipynb", FOLDER / "out.ipynb", {"given": value}
    )
    (output,) = files.read_json(FOLDER / "out.ipynb")["cells"][-1]["outputs"]

    assert (
        ast.literal_eval(ast.literal_eval("".join(output["data"]["text/plain"])))
        == value
    )
    assert not list(FOLDER.rglob("made"))
