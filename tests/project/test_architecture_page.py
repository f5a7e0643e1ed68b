"""Test docs/architecture.md, a table of the modules, and docs/renames.md."""

import re
from pathlib import Path

import paperlib

HOME = Path(paperlib.__file__).parent
PAGE = (HOME.parent / "docs" / "architecture.md").read_text("utf-8")
ROWS = re.findall(r"^\| (?:`(\w+)`)? ?\| `([\w.]+)` \|", PAGE, re.MULTILINE)


def listed():
    """Yield (layer, module) for each row; a layer stands in its first row only."""
    layer = ""
    for name, module in ROWS:
        layer = name or layer
        yield layer, module


def modules(layer):
    """Yield a layer's modules; a package counts as one, except for `compiled`."""
    for path in sorted((HOME / layer).iterdir()):
        if path.name == "compiled":
            for part in path.glob("[!_]*.py"):
                yield f"compiled.{part.stem}"
        elif path.suffix == ".py" or (path / "__init__.py").exists():
            if path.stem != "__init__":
                yield path.stem


def test_the_table_lists_every_module():
    layers = ["companion", "learning", "physics", "taylor", "networks", "_support"]
    assert list(dict.fromkeys(layer for layer, _ in listed())) == layers
    for layer in layers:
        names = [module for each, module in listed() if each == layer]
        assert sorted(names) == sorted(modules(layer))


def test_names_of_tests_and_modules_exist():
    tests = HOME.parent / "tests"
    for name in re.findall(r"`(test_\w+\.py)`", PAGE):
        assert (tests / "taylor" / name).exists(), name
    for name in re.findall(r"`((?:paperlib|tests)/[\w/.]+)`", PAGE):
        assert (HOME.parent / name).exists(), name


def test_new_names_exist():
    page = (HOME.parent / "docs" / "renames.md").read_text("utf-8")
    table = page.split("## Public names")[1].split("## Commands")[0]
    rows = re.findall(r"^\| (?:`.*`) \| `(?:paperlib\.)?([\w.]+)", table, re.MULTILINE)
    assert len(rows) > 15
    for name in rows:
        value = paperlib
        for part in name.split("."):
            value = getattr(value, part)
