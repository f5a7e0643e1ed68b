"""Test that the figures do not depend on the style of the caller."""

import numpy as np
import pytest

pytest.importorskip("matplotlib")

import matplotlib.pyplot as plt
from matplotlib.backends.backend_agg import FigureCanvasAgg

from paperlib import figures
from paperlib.companion.figures import style


def pixels(figure):
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.array(canvas.buffer_rgba())


def iterations():
    """A figure with lines and with texts in their colours."""
    rows = [[0.1], [0.1, 0.3]]
    return figures.iterations({"signed": rows, "attractive": rows})


def protocols():
    """A figure with line collections and a legend."""
    errors = np.array([[[0.1, 0.2]], [[0.01, 0.02]]])
    return figures.protocols(["values", "derivatives"], errors)


def overview():
    """A figure with steps, a band and a span."""
    depths = np.linspace(0.1, 1.0, 4)
    born = np.stack([-depths / 3, -depths / 2], axis=1)
    return figures.overview(
        np.ones(8), depths, -depths, born, -depths, 0.1 * depths, (0.2, 0.8)
    )


def centres_of_expansion():
    """A figure with a histogram and spans."""
    centres = np.array([-0.2, 0.0, 0.2])
    errors = np.array([[0.3, 2.0], [0.1, 1.0], [0.2, 2.0]])
    return figures.centres_of_expansion(
        centres,
        {"values": errors, "derivatives": errors / 2},
        dict.fromkeys(("values", "derivatives"), centres),
    )


def lengths_of_training():
    """A figure with bands in the colours of the cycle."""
    errors = np.array([[[0.3], [0.5]], [[0.1], [0.2]]])
    return figures.lengths_of_training(
        [10, 20], {"Adam": errors, "SOAP": errors / 9}, 0.5
    )


def error_bars():
    """A figure with dots in several colours."""
    return figures.error_bars({"learned": np.array([[0.5, 3.0], [1.0, 2.0]])})


@pytest.mark.parametrize(
    "draw",
    [
        iterations,
        protocols,
        overview,
        centres_of_expansion,
        lengths_of_training,
        error_bars,
    ],
)
def test_colours_of_the_package_under_another_style(draw):
    """Draw and render under a style whose colour cycle has one colour only."""
    with plt.style.context(["default", figures.STYLE]):
        expected = pixels(draw())
    magenta = {"axes.prop_cycle": plt.cycler("color", ["#ff00ff"])}
    with plt.style.context(["default", figures.STYLE, magenta]):
        assert np.array_equal(pixels(draw()), expected)
    plt.close("all")


def test_only_several_panels_have_letters():
    figure, axis = style.panels(1, 2.0)
    assert axis.get_title(loc="left") == ""
    figure, axes = style.panels(2, 2.0)
    assert [axis.get_title(loc="left") for axis in axes] == ["(a)", "(b)"]
    figure, axes = style.panels(2, 2.0, letters=False)
    assert [axis.get_title(loc="left") for axis in axes] == ["", ""]
    plt.close("all")


def test_a_band_reaches_over_all_curves():
    figure, axis = style.panels(1, 2.0)
    style.band(axis, np.arange(3.0), [[1, 5, 2], [3, 4, 0], [2, 2, 9]], "C0")
    (path,) = axis.collections[0].get_paths()
    heights = {x: set(path.vertices[path.vertices[:, 0] == x, 1]) for x in (0, 1, 2)}
    assert heights == {0: {1, 3}, 1: {2, 5}, 2: {0, 9}}
    plt.close(figure)


def test_centres_of_expansion_shade_the_data_of_each_ensemble():
    centres = np.array([-0.2, 0.0, 0.2])
    errors, means = np.ones((3, 2)), np.linspace(0.0, 0.2, 101)
    figure = figures.centres_of_expansion(
        centres, {"left": errors, "right": errors}, {"left": -means, "right": means}
    )
    for axis, side in zip(figure.axes[:2], (-1, 1)):
        (span,) = axis.patches
        ends = side * np.array([0.01, 0.19])
        np.testing.assert_allclose(
            sorted(ends), [span.get_x(), span.get_x() + span.get_width()]
        )
    plt.close(figure)


def test_growth_shows_only_exponents_that_the_points_determine():
    x = np.array([1.0, 2.0, 4.0, 8.0])
    lines = {
        "square": (x, x**2),
        "exponential": (x, np.exp(x)),
        "short": (x[1:], x[1:]),
    }
    figure = figures.growth({"x": lines, "y": lines})
    labels = [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
    assert labels == ["square\n$\\propto x^{2.00 \\pm 0.00}$", "exponential", "short"]
    plt.close("all")
