"""Test that the hash of the training code depends on its syntax tree, but not on comments, docstrings and layout."""

import ast
import hashlib

import pytest

from paperlib.learning import checkpoints

SOURCE = '''"""A module."""

import numpy as np

RATE = 0.5
"""The learning rate."""


@np.vectorize
def step(x: float, *rest, rate=RATE, **named) -> float:
    """Return one step."""
    # Downhill.
    return x - rate * (x + 2) if x > 0 else f"{x!r:>8} at {rate}"


class Walk:
    """A walk."""

    first, steps = None, [step, lambda: 1]

    async def walk(self):
        while (n := len(self.steps)) < 3:
            self.steps[0:n, ...] = {"a": b"b", **{}}
'''


def hashed(source):
    return hashlib.sha256(checkpoints._written(ast.parse(source)).encode()).hexdigest()[
        :16
    ]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("# Downhill.", "# Uphill."),
        ("    # Downhill.\n", ""),
        ('"""Return one step."""', '"""Return a step.\n\n    Downhill.\n    """'),
        ('"""A module."""\n', ""),
        ('"""A walk."""', '"""The walk."""'),
        ('"""The learning rate."""', ""),
        ("RATE = 0.5", "\n\nRATE = 0.50"),
        ("x - rate * (x + 2)", "(x - (rate * (x + 2)))"),
        ("x: float, *rest", "x: float,\n    *rest"),
        ('"a"', "'a'"),
        ("\n", "\r\n"),
    ],
)
def test_comments_docstrings_and_layout_leave_the_hash_as_it_is(old, new):
    assert old in SOURCE and hashed(SOURCE.replace(old, new)) == hashed(SOURCE)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("0.5", "0.25"),
        ("+ 2", "+ 2.0"),
        ("+ 2", "- 2"),
        ("x > 0", "x >= 0"),
        ("rate * (x + 2)", "rate * x + 2"),
        ("rate=RATE", "rate=None"),
        ("return x", "yield x"),
        ("Walk", "Run"),
        ('"a"', '"b"'),
        ('b"b"', '"b"'),
        ("!r", "!s"),
        ("first, steps = None", "first, steps = 0"),
        ("async ", ""),
        ("@np.vectorize\n", ""),
        ("[step, lambda: 1]", "[lambda: 1, step]"),
    ],
)
def test_other_code_has_another_hash(old, new):
    assert old in SOURCE and hashed(SOURCE.replace(old, new)) != hashed(SOURCE)


def test_every_python_gives_one_hash():
    assert hashed(SOURCE) == "e9c609818083b747"


def test_a_changed_comment_keeps_a_checkpoint(tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoints, "files", lambda package: tmp_path)
    monkeypatch.setattr(checkpoints, "_CODE", ("a.py",))

    def code(source):
        (tmp_path / "a.py").write_text(source)
        return checkpoints.code()

    assert (
        code(SOURCE)
        == code(SOURCE.replace("Downhill", "Uphill"))
        != code(SOURCE.replace("0.5", "0.6"))
    )
