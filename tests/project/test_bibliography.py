"""Test that docs/references.bib has exactly the cited works, and that each work is always cited by the same link."""

import json
import re
import unicodedata
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BIB = ROOT / "docs" / "references.bib"
ENTRIES = {
    key: dict(re.findall(r"^  (\w+) = \{(.*)\},$", fields, re.MULTILINE))
    for key, fields in re.findall(
        r"^@\w+\{(\w+),\n(.*?)^\}$", BIB.read_text("utf-8"), re.MULTILINE | re.DOTALL
    )
}
LINK = r"""https?://[^\s()<>"'`\]]*[^\s()<>"'`\].,;:]"""
# Citations without a link: arXiv:.. in a text, and the fields `doi` of CITATION.cff.
BARE = {
    "https://arxiv.org/abs/": r"arXiv:(\d{4}\.\d{4,5}|[a-z-]+/\d{7})",
    "https://doi.org/": r"^ *doi: (\S+)$",
}


def address(entry):
    """Return the link of an entry: its arXiv page, else its DOI, else its URL."""
    if "eprint" in entry:
        return f"https://arxiv.org/abs/{entry['eprint']}"
    return f"https://doi.org/{entry['doi']}" if "doi" in entry else entry["url"]


def texts():
    """Yield (name, text) of everything with citations: pages, text of notebooks, source files and metadata."""
    pages = [
        path
        for path in sorted((ROOT / "docs").glob("*.md"))
        if path.name != "bibliography.md"
    ]
    for path in [
        *pages,
        *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CITATION.cff")),
    ]:
        yield str(path.relative_to(ROOT)), path.read_text("utf-8")
    for path in sorted((ROOT / "notebooks").glob("*.ipynb")):
        cells = json.loads(path.read_text("utf-8"))["cells"]
        yield (
            str(path.relative_to(ROOT)),
            "\n".join(
                "".join(cell["source"])
                for cell in cells
                if cell["cell_type"] == "markdown"
            ),
        )
    for path in sorted((ROOT / "paperlib").rglob("*.py")):
        yield str(path.relative_to(ROOT)), path.read_text("utf-8")


def links(text):
    found = re.findall(LINK, text)
    return {
        *found,
        *(
            prefix + name
            for prefix, form in BARE.items()
            for name in re.findall(form, text, re.MULTILINE)
        ),
    }


def test_every_link_has_an_entry():
    known = {address(entry) for entry in ENTRIES.values()}
    papers = {
        (name, link)
        for name, text in texts()
        for link in links(text)
        if re.search(r"//(\w+\.)?(doi|arxiv)\.org", link)
    }
    strange = {(name, link) for name, link in papers if link not in known}
    assert papers and not strange, (
        "add it to docs/references.bib, or link to the address that the work has there"
    )


def test_every_entry_is_cited():
    everything = set().union(*(links(text) for _, text in texts()))
    assert not {
        key for key, entry in ENTRIES.items() if address(entry) not in everything
    }


def test_cited_titles_are_those_of_the_entries():
    titles = {
        address(entry): re.sub(r"[{}\\]", "", entry["title"])
        for entry in ENTRIES.values()
    }
    text = (ROOT / "docs" / "related.md").read_text("utf-8")
    cited = re.findall(r"\*([^*]+)\*, \[[^\]]+\]\(([^)]+)\)", text)
    assert cited
    assert cited == [(titles[link], link) for _, link in cited]


def test_entries_are_complete_and_sorted():
    assert BIB.read_text("utf-8").count("@") == len(ENTRIES) > 0, (
        "an entry is not of the form that is read here"
    )
    assert list(ENTRIES) == sorted(ENTRIES)
    assert len({address(entry) for entry in ENTRIES.values()}) == len(ENTRIES), (
        "one work twice"
    )
    for key, entry in ENTRIES.items():
        assert {"author", "title", "year"} <= set(entry) and {
            "doi",
            "eprint",
            "url",
        } & set(entry), key
        first = entry["author"].replace("ö", "oe").split(" and ")[0].split(",")[0]
        letters = (
            unicodedata.normalize("NFKD", first)
            .encode("ascii", "ignore")
            .decode()
            .lower()
        )
        words = re.findall("[a-z]+", letters)
        assert re.fullmatch(rf"({'|'.join(words)}){entry['year']}[a-z]?", key), (
            f"{key}: must be the first author and year"
        )


def test_bibtex_reads_the_same_entries():
    database = pytest.importorskip("pybtex.database").parse_file(
        str(BIB), bib_format="bibtex"
    )
    assert list(database.entries) == list(ENTRIES)
    for key, entry in database.entries.items():
        assert dict(entry.fields) == {
            name: value for name, value in ENTRIES[key].items() if name != "author"
        }, key
        assert entry.persons["author"]
