"""Test the explorer: its numbers, its sliders, and its static picture."""

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("matplotlib")

from matplotlib.backends.backend_agg import FigureCanvasAgg
from oracles import refusal

from paperlib import born, explorer, figures, pretrained, scattering
from paperlib.companion.explorer import ORDER, SHAPES
from paperlib.learning.perturbation import LearnedSeries


def pixels(figure):
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.array(canvas.buffer_rgba())


@st.composite
def chosen(draw):
    shape = draw(st.sampled_from(sorted(SHAPES)))
    moves = {"depth": SHAPES[shape].depth} | SHAPES[shape].parameters
    limits = {name: (least, most) for name, (least, _, most, _) in moves.items()}
    return {"shape": shape} | {
        name: draw(st.floats(*ends).map(lambda x: round(x, 6)))
        for name, ends in limits.items()
    }


TENSORS = [born.born_tensor(n, 64) for n in (1, 2, 3)]


@settings(max_examples=40)
@given(chosen())
def test_view_against_results_at_the_depth_itself(at):
    """Compare a view with results that are not scaled from depth one.

    Terms are compared with the closed tensors, the eigenvalue with that of U, and a_0
    with the wave function.
    """
    seen = explorer.view(**at)
    parameters = {
        name: value for name, value in at.items() if name not in ("shape", "depth")
    }
    U = SHAPES[at["shape"]].potential(at["depth"], 64, **parameters)
    np.testing.assert_allclose(seen.potential, U, rtol=1e-12, atol=1e-300)
    np.testing.assert_allclose(
        seen.terms[:3],
        [tensor.contract(U) for tensor in TENSORS],
        rtol=1e-9,
        atol=1e-300,
    )
    np.testing.assert_allclose(
        abs(seen.eigenvalue) * born.born_radius(U) if at["depth"] else 1, 1, rtol=1e-9
    )
    r, u = seen.wave
    np.testing.assert_allclose(seen.a0, r[-1] - u[-1], rtol=1e-9, atol=1e-12)
    at_depth = np.argmin(np.abs(seen.depths - at["depth"]))
    nearby = SHAPES[at["shape"]].potential(seen.depths[at_depth], 64, **parameters)
    np.testing.assert_allclose(
        seen.exact[at_depth],
        scattering.scattering_length(nearby),
        rtol=1e-9,
        atol=1e-14,
    )
    np.testing.assert_allclose(
        seen.born[at_depth],
        np.cumsum(born.born_terms(nearby, ORDER)),
        rtol=1e-9,
        atol=1e-14,
    )


def test_learned_terms_are_contracted_tensors():
    series = LearnedSeries(
        tuple(pretrained.ensemble(f"born_signed_{n}") for n in range(1, ORDER + 1)),
        ORDER,
    )
    for shape, depth in (("Yukawa", 3.0), ("Woods-Saxon", -7.0)):
        seen = explorer.view(shape, depth)
        by_tensor = [tensor.contract(seen.potential) for tensor in series.tensors]
        np.testing.assert_allclose(seen.learned, by_tensor, rtol=1e-9)
        last = np.argmin(np.abs(seen.depths - depth))
        scaled = seen.potential * seen.depths[last] / depth
        np.testing.assert_allclose(seen.networks[last, -1], series(scaled), rtol=1e-9)


def test_report_states_whether_the_series_converges():
    inside = explorer.view("square well", 2.46)
    outside = explorer.view("square well", 2.48)
    assert "converges" in explorer.report(inside)
    assert "diverges" in explorer.report(outside)
    assert f"{inside.a0:.5f}" in explorer.report(inside)


def test_infinite_scattering_length_is_drawn_without_a_warning(recwarn):
    seen = vars(explorer.view("square well", 2.0)) | {
        "a0": np.inf,
        "wave": (np.linspace(0, 1, 9), np.full(9, np.nan)),
    }
    pixels(figures.one_potential(**seen))
    assert not recwarn.list


@pytest.mark.parametrize(
    "wrong, message",
    [
        (
            {"shape": "gaussian"},
            r"shape = 'gaussian': must be one of 'square well', 'Gaussian'",
        ),
        (
            {"shape": "square well", "width": 0.4},
            r"width: not a parameter of shape 'square well'; must be one of 'radius'$",
        ),
        ({"depth": 41}, r"depth = 41: must be from -40 to 40 for shape 'Gaussian'"),
        ({"depth": float("nan")}, r"depth = nan: must be a finite number"),
        ({"width": 0.0}, r"width = 0.0: must be from 0.2 to 1 for shape 'Gaussian'"),
        ({"width": "wide"}, r"width = 'wide': must be a finite number"),
    ],
)
@pytest.mark.parametrize(
    "opened", [explorer.view, explorer.explore, explorer.page, explorer.sliders]
)
def test_bad_input(opened, wrong, message):
    if opened is explorer.sliders:
        pytest.importorskip("anywidget")
    with pytest.raises(refusal(message), match="^" + message):
        opened(**wrong)


def test_sliders_have_whole_steps():
    for name, shape in SHAPES.items():
        for least, first, most, step in (shape.depth, *shape.parameters.values()):
            steps = np.array([first - least, most - first]) / step
            np.testing.assert_allclose(steps, np.round(steps), atol=1e-9)
        rows = explorer.data()["shapes"][name]["networks"]
        assert len(rows) == len(shape.grid())
        assert {len(row) for row in rows} == {ORDER + 1}


def test_data_is_a_new_dictionary_at_each_call():
    """Change everything that a caller can change, and compare with the next call."""
    changed, unchanged = explorer.data(), explorer.data()
    for shape in changed["shapes"].values():
        shape["depth"] = None
        shape["parameters"].clear()
        shape["networks"][0][0] = np.nan
        shape["networks"].pop()
    changed["shapes"].clear()
    changed.clear()
    assert explorer.data() == unchanged
    assert all(shape.parameters for shape in SHAPES.values())


def test_the_page_and_the_report_have_the_same_text():
    """`explorer.js` receives the text of the report, and contains none of its own."""
    data = explorer.data()
    report = explorer.report(explorer.view())
    assert all(name in report for name in data["columns"])
    assert any(verdict in report for verdict in data["verdicts"])
    for text in (" ranges;", '"Born term"', '"Born sum"', *data["verdicts"]):
        assert text not in explorer.script()
        assert text in explorer.page()


def test_terms_of_the_page_are_those_of_the_view():
    for name in ("Yukawa", "Woods-Saxon"):
        for number, parameters in list(enumerate(SHAPES[name].grid()))[::97]:
            row = explorer.data()["shapes"][name]["networks"][number]
            np.testing.assert_allclose(
                row[1:], explorer.view(name, 1.0, **parameters).learned, rtol=1e-11
            )


def test_page_loads_nothing_else():
    page = explorer.page("Yukawa", 3.0, width=0.3)
    assert "://" not in page and page.count("</script>") == 1
    assert '"Yukawa", {"depth": 3.0, "width": 0.3}' in page


def test_without_a_user_explore_returns_the_static_picture(capsys):
    figure = explorer.explore("Gaussian", 8.0)
    seen = explorer.view("Gaussian", 8.0)
    assert capsys.readouterr().out.strip() == explorer.report(seen)
    assert np.array_equal(pixels(figure), pixels(explorer.picture(seen)))


@pytest.fixture(scope="module")
def kernel():
    client = pytest.importorskip("jupyter_client")
    manager, client = client.manager.start_new_kernel(kernel_name="python3")
    yield client
    client.stop_channels()
    manager.shutdown_kernel()


def mime_types(client, code, interactive):
    """Return the MIME types of a cell's value.

    The front end accepts input from a user if `interactive` is true.
    """
    types = []

    def collect(message):
        assert message["msg_type"] != "error", message["content"]
        types.extend(
            message["content"].get("data", {})
            if message["msg_type"] == "execute_result"
            else ()
        )

    client.execute_interactive(
        code, allow_stdin=interactive, output_hook=collect, timeout=120
    )
    return set(types)


WIDGET = "application/vnd.jupyter.widget-view+json"


def test_sliders_for_a_user_and_a_picture_for_programs(kernel):
    code = "from paperlib import explorer; explorer.explore()"
    assert WIDGET in mime_types(kernel, code, interactive=True)
    assert mime_types(kernel, code, interactive=False) == {"image/png", "text/plain"}
    without = (
        "import sys; sys.modules['anywidget'] = None  # as if it were not installed\n"
        + code
    )
    assert mime_types(kernel, without, interactive=True) == {"image/png", "text/plain"}


def test_without_ipython_or_anywidget():
    code = "import sys; sys.modules |= {'anywidget': None, 'IPython': None}; "
    code += "from paperlib import explorer; "
    code += "assert type(explorer.explore()).__name__ == 'Figure'"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_view_imports_neither_tensorflow_nor_matplotlib():
    code = "import sys; from paperlib import explorer; explorer.view(); "
    code += "heavy = {'tensorflow', 'matplotlib', 'anywidget', 'IPython'}; "
    code += "assert not heavy & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
