"""Count constructions that make a sentence hard to read.

The texts are docstrings, comments, pages with their tables, and notebooks. The limits
leave room for honest uses. In the docstrings of tinygp, opt_einsum, diffrax, pyhf and
torch-jet together, 1,000 words have 0.1 clauses with "what" in place of a noun.
"""

import ast
import io
import json
import re
import tokenize
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
VERBS = (
    "is are was were has have had a an the they it this that no can does do did goes"
    " comes came trains depends leads needs follows becomes belongs makes moves lies"
    " ships gives takes must may"
)
PRIVATE = (
    r"anew|roads?|doors?|taken off|held (to|against)|nearer|handed on|of ours"
    r"|number by number|strangers?'?s?|kept apart|the one arithmetic|spelled"
)
PATTERNS = {  # a construction, and how often it may stand in 1,000 words
    rf"\b[Ww]hat ({'|'.join(VERBS.split())})\b": 0.5,
    r"\b(told|tells?|telling)\b": 0.3,
    r"\b(is|are|was|be|were) (no|none)\b(?! longer)": 0.3,
    r"\b(so|as) many\b": 0.3,
    r"\b(of|in|to|by|from|beside|within) which\b": 0.3,
    rf"\b({PRIVATE})\b": 0.3,
}
NO_PROSE = re.compile(
    r"```.*?```|`[^`]*`|\$\$.*?\$\$|\$[^$]*\$|\.\. math::.*?(?=\n\S|\Z)|>>>[^\n]*",
    re.DOTALL,
)
DOCUMENTED = ast.Module | ast.ClassDef | ast.FunctionDef


def docstrings():
    for path in (ROOT / "paperlib").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, DOCUMENTED) and (text := ast.get_docstring(node)):
                yield re.split(r"\n\s*>>>", text)[0]


def comments():
    for path in (ROOT / "paperlib").rglob("*.py"):
        for token in tokenize.generate_tokens(
            io.StringIO(path.read_text("utf-8")).readline
        ):
            if token.type == tokenize.COMMENT:
                yield token.string.lstrip("# ")


def pages():
    for path in [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")]:
        yield path.read_text("utf-8")


def notebooks():
    for path in (ROOT / "notebooks").glob("*.ipynb"):
        for cell in json.loads(path.read_text("utf-8"))["cells"]:
            if cell["cell_type"] == "markdown":
                yield "".join(cell["source"])


@pytest.mark.parametrize("texts", [docstrings, comments, pages, notebooks])
def test_sentences_have_nouns(texts):
    text = "\n".join(NO_PROSE.sub(" ", each) for each in texts())
    words = len(re.findall(r"[A-Za-z][A-Za-z'-]*", text))
    for pattern, limit in PATTERNS.items():
        found = [match.group() for match in re.finditer(pattern, text)]
        assert len(found) <= limit * words / 1000 + 1, (
            f"{len(found)} in {words} words: {found[:20]}"
        )


def test_the_glossary_is_short_and_sorted():
    page = (ROOT / "docs" / "glossary.md").read_text("utf-8")
    entries = re.findall(r"^- \*\*(.*?)\.\*\*", page, re.MULTILINE)
    assert 20 < len(entries) <= 30
    assert entries == sorted(entries, key=str.lower)
