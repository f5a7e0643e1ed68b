"""Test the archive and the metadata in a small repository: their contents, their consistency, and the errors."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import zipfile
from importlib import import_module
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
METADATA = ("CITATION.cff", "codemeta.json", ".zenodo.json", "codecheck.yml")

pytestmark = pytest.mark.skipif(not shutil.which("git"), reason="needs git")


@pytest.fixture
def ci(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / ".ci"))
    return import_module


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    """Return a committed checkout with a report and all sources of the metadata, and make it the current folder."""
    for name in ("figures/numbers", "notebooks"):
        shutil.copytree(
            ROOT / name,
            tmp_path / name,
            ignore=shutil.ignore_patterns(".ipynb_checkpoints"),
        )
    for name in (*METADATA, ".gitignore", "figures/claims.json", "Makefile"):
        shutil.copy(ROOT / name, tmp_path / name)
    (tmp_path / "run").write_text("#!/bin/sh\n")
    (tmp_path / "run").chmod(0o755)
    (tmp_path / "build").mkdir()
    (tmp_path / "build" / "report.html").write_text("a report")
    monkeypatch.chdir(tmp_path)
    for name in (
        "GIT_AUTHOR_NAME",
        "GIT_COMMITTER_NAME",
        "GIT_AUTHOR_EMAIL",
        "GIT_COMMITTER_EMAIL",
    ):
        monkeypatch.setenv(name, "a@example.org")
    for words in (
        "init --quiet --initial-branch=main",
        "add --all",
        "commit --quiet --message Start",
    ):
        subprocess.run(["git", *words.split()], check=True)
    return tmp_path


def test_the_metadata_agree(ci):
    assert ci("metadata").disagreement(ROOT) is None


@pytest.mark.parametrize(
    "name, place, line",
    [
        ("codemeta.json", ["version"], "version: CITATION.cff has {!r}, a derived file has 'other'; run make metadata"),
        (".zenodo.json", ["title"], "title: CITATION.cff has {!r}, a derived file has 'other'; run make metadata"),
        (".zenodo.json", ["related_identifiers", 0, "identifier"], "the paper's DOI: CITATION.cff has {!r}, a derived file has 'https://doi.org/other'; run make metadata"),
        ("codecheck.yml", ["paper", "reference"], "the paper's DOI: CITATION.cff has {!r}, a derived file has 'other'; run make metadata"),
        ("codecheck.yml", ["manifest", 3, "file"], "codecheck.yml: must list the stored figures and numbers; run make metadata"),
    ],
)  # fmt: skip
def test_metadata_that_disagree_give_one_line(ci, checkout, name, place, line):
    content = at = yaml.safe_load((checkout / name).read_text("utf-8"))
    for key in place[:-1]:
        at = at[key]
    at[place[-1]] = "other"
    (checkout / name).write_text(json.dumps(content), "utf-8")
    about = yaml.safe_load((checkout / "CITATION.cff").read_text("utf-8"))
    wanted = {
        "version": about["version"],
        "title": about["title"],
        "the paper's DOI": f"https://doi.org/{about['preferred-citation']['doi']}",
    }
    assert ci("metadata").disagreement(checkout) == line.format(
        wanted.get(line.partition(":")[0])
    )


def test_an_archive_has_the_checkout_the_report_and_their_description(ci, checkout):
    rocrate = pytest.importorskip("rocrate.rocrate")
    path = ci("archive").write()
    with zipfile.ZipFile(path) as archive:
        held = {name: archive.read(name) for name in archive.namelist()}
        assert archive.getinfo("run").external_attr >> 16 == 0o755
    tracked = subprocess.run(
        ["git", "ls-files"], capture_output=True, text=True, check=True
    ).stdout.split()
    assert set(held) == {*tracked, "build/report.html", "ro-crate-metadata.json"}
    assert all(held[name] == (checkout / name).read_bytes() for name in tracked)
    shutil.unpack_archive(path, checkout / "build" / "unpacked")
    crate = rocrate.ROCrate(checkout / "build" / "unpacked")
    assert crate.name == yaml.safe_load(held["CITATION.cff"])["title"] and "MIT" in str(
        crate.license
    )
    files = {entity.id: entity["sha256"] for entity in crate.get_by_type("File")}
    assert files == {
        name: hashlib.sha256(held[name]).hexdigest()
        for name in (*tracked, "build/report.html")
    }
    assert crate.dereference("figures/claims.json")["description"].startswith(
        "The claims"
    )

    before = path.read_bytes()
    os.utime(checkout / "Makefile", (0, 0))
    assert ci("archive").write().read_bytes() == before


def replaced(path, name, content):
    """Replace the content of one file in an archive, or remove the file if `content` is None."""
    with zipfile.ZipFile(path) as archive:
        held = {entry: archive.read(entry) for entry in archive.namelist()} | {
            name: content
        }
    with zipfile.ZipFile(path, "w") as archive:
        for entry, content in held.items():
            if content is not None:
                archive.writestr(entry, content)


@pytest.mark.parametrize(
    "name, content, line",
    [
        ("Makefile", b"all:", "Makefile was changed"),
        ("figures/claims.json", None, "figures/claims.json is missing"),
        ("paperlib/more.py", b"", "paperlib/more.py was added"),
        ("ro-crate-metadata.json", b"{}", "must be a readable archive ('@graph')"),
        ("ro-crate-metadata.json", b"\n{", "must be a readable archive (Expecting property name enclosed in double quotes: line 2 column 2 (char 2))"),
    ],
)  # fmt: skip
def test_a_changed_archive_gives_one_line(ci, checkout, name, content, line):
    pytest.importorskip("rocrate")
    path = ci("archive").write()
    # With the standard library only
    verify = [sys.executable, "-S", ROOT / ".ci" / "archive.py", path]
    assert subprocess.run(
        verify, capture_output=True, text=True, check=True
    ).stdout.startswith(f"{path}: unchanged since it was written")
    replaced(path, name, content)
    ended = subprocess.run(verify, capture_output=True, text=True)
    assert ended.returncode == 1 and ended.stderr == f"{path}: {line}\n"


def test_a_damaged_archive_gives_one_line(ci, checkout):
    """Check that a change of almost any byte is reported in one line.

    Some bytes of a zip file have no effect, so a few changes may remain undetected.
    """
    pytest.importorskip("rocrate")
    archive = ci("archive")
    path = archive.write()
    whole = path.read_bytes()
    lines = []
    for place in range(0, len(whole), len(whole) // 60):
        path.write_bytes(
            whole[:place] + bytes([whole[place] ^ 255]) + whole[place + 1 :]
        )
        lines.append(archive.difference(path))
    path.write_bytes(whole[: len(whole) // 2])
    lines.append(archive.difference(path))
    assert sum(line is not None for line in lines) >= 55
    assert all(
        line is None or (line.startswith(f"{path}: ") and "\n" not in line)
        for line in lines
    )


def test_a_file_of_another_kind_gives_one_line(ci, tmp_path):
    for name, content in (("text.zip", b"text"), ("gone.zip", None)):
        if content:
            (tmp_path / name).write_bytes(content)
        line = ci("archive").difference(tmp_path / name)
        assert (
            line.startswith(f"{tmp_path / name}: must be a readable archive (")
            and "\n" not in line
        )


def test_an_archive_needs_a_report_and_committed_files(ci, checkout):
    (checkout / "build" / "report.html").unlink()
    with pytest.raises(
        SystemExit,
        match=r"^No archive: build/report.html is missing; run make reproduce first\.$",
    ):
        ci("archive").write()
    (checkout / "new").write_text("")
    with pytest.raises(
        SystemExit, match=r"^No archive: the checkout has changes; commit them first\.$"
    ):
        ci("archive").write()
