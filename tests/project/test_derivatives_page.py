"""Test docs/derivatives.md: its code blocks print the numbers that the page shows."""

import doctest
import re
from pathlib import Path

import numpy as np
import pytest

from paperlib import MLP
from paperlib.taylor import program

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "derivatives.md").read_text("utf-8")
WEIGHTS = [[[1.0, 0.5], [-0.5, 1.0]], [[2.0, 1.0]]]
BIASES = [[0.0, 0.5], [0.25]]


@pytest.fixture
def page():
    """Run the page's code blocks; return the counts, the report and the namespace."""
    blocks = re.findall(r"^```pycon\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
    test = doctest.DocTestParser().get_doctest(
        "\n".join(blocks), {}, "docs/derivatives.md", None, 0
    )
    report = []
    runner = doctest.DocTestRunner(verbose=False)
    result = runner.run(test, out=report.append, clear_globs=False)
    return result, "".join(report), test.globs


def test_the_code_blocks_print_the_numbers_of_the_page(page):
    result, report, _ = page
    assert result.attempted >= 20 and result.failed == 0, report


def test_the_numbers_are_second_derivatives(page):
    """Compare them with the closed form W1^T diag(W2 tanh'') W1."""
    names = page[2]
    W1, W2 = map(np.array, WEIGHTS)
    tau = np.tanh(W1 @ [0.5, -0.5] + BIASES[0])
    hessian = W1.T @ np.diag(W2[0] * -2 * tau * (1 - tau**2)) @ W1
    np.testing.assert_allclose(names["tensor"].full(), hessian, rtol=1e-14)
    np.testing.assert_allclose(names["entries"], names["tensor"].packed, rtol=1e-14)


def test_rows_are_numbered_as_in_the_table(page):
    names = page[2]
    layer = names["layer"]
    assert (layer.order, layer.adjoints) == (2, 1)
    assert not len(layer.up) and layer.down["first"].all()
    assert names["request"] == program.Derivatives(2, 2)


def test_keras_gives_the_network_of_the_page(page):
    keras = pytest.importorskip("paperlib.learning.soap").keras
    model = keras.Sequential(
        [keras.Input((2,)), keras.layers.Dense(2, "tanh"), keras.layers.Dense(1)]
    )
    for layer, weight, bias in zip(model.layers, WEIGHTS, BIASES):
        layer.set_weights([np.transpose(weight), np.array(bias)])
    imported, mlp = MLP.from_keras(model), page[2]["mlp"]
    assert repr(imported) == repr(mlp)
    for k in range(2):
        np.testing.assert_array_equal(imported.weights[k], mlp.weights[k])
        np.testing.assert_array_equal(imported.biases[k], mlp.biases[k])


def test_files_of_the_last_table_exist():
    for line in PAGE.split("## Where to change what")[1].splitlines():
        for name in re.findall(r"`([\w/]+(?:\.py|/))`", line):
            folder = ROOT if name.startswith("tests/") else ROOT / "paperlib"
            assert (folder / name).exists(), name
