"""Test notebooks in a browser: run all cells in JupyterLab and move a slider. Run by `make browser`."""

import json
import os
import re
import secrets
import shutil
import subprocess
import sys
import time
from base64 import b64encode
from pathlib import Path

import nbformat
import numpy as np
import pytest

from paperlib import explorer
from paperlib.companion.explorer import SHAPES

pytestmark = pytest.mark.browser

ROOT = Path(__file__).parents[2]
SCREENSHOTS = ROOT / "build" / "browser"
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
# Render all cells, including those outside the window, and do not ask about news.
SETTINGS = {
    "notebook-extension/tracker": {"windowingMode": "none"},
    "apputils-extension/notification": {"fetchNews": "false", "checkForUpdates": False},
}


def listing(folder, server):
    """Return the server's information file once the server listens, which contains the port that it has chosen."""
    for _ in range(600):
        for path in folder.glob("jpserver-*.json"):
            try:
                return json.loads(path.read_text())
            except ValueError:  # the file is incomplete
                pass
        assert server.poll() is None, "JupyterLab ended before it listened"
        time.sleep(0.1)
    raise AssertionError("JupyterLab did not listen within a minute")


@pytest.fixture(scope="module")
def browser():
    playwright = pytest.importorskip(
        "playwright.sync_api",
        reason="playwright is not installed: pip install .[browser]",
    )
    if CHROMIUM is None:
        pytest.skip("chromium is not installed: apt-get install chromium")
    with playwright.sync_playwright() as running:
        chromium = running.chromium.launch(executable_path=CHROMIUM)
        yield chromium
        chromium.close()


@pytest.fixture(scope="module")
def lab(tmp_path_factory, browser):
    """Start JupyterLab on a copy of the notebooks, and yield its folder, its address and its token.

    The fixture depends on `browser`, so that a server is started only if there is a browser.
    """
    pytest.importorskip(
        "jupyterlab", reason="JupyterLab is not installed: pip install .[notebooks]"
    )
    folder = tmp_path_factory.mktemp("lab")
    for name in ("notebooks", "figures"):
        shutil.copytree(
            ROOT / name,
            folder / name,
            ignore=shutil.ignore_patterns(".ipynb_checkpoints"),
        )
    for name, values in SETTINGS.items():
        path = folder / "settings" / "@jupyterlab" / f"{name}.jupyterlab-settings"
        path.parent.mkdir(parents=True)
        path.write_text(json.dumps(values))
    token = secrets.token_hex()
    places = {
        f"JUPYTERLAB_{name.upper()}_DIR": str(folder / name)
        for name in ("settings", "workspaces")
    }
    places |= {
        f"JUPYTER_{name.upper()}_DIR": str(folder / name)
        for name in ("runtime", "config", "data")
    }
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    alike = [sys.executable, "-m", "paperlib", "deterministic"]  # as `make lab`
    command = [
        *alike,
        sys.executable,
        "-m",
        "jupyterlab",
        "--no-browser",
        "--ip=127.0.0.1",
        "--port=0",
        "--allow-root",
    ]
    with open(folder / "log", "w") as log:
        server = subprocess.Popen(
            [*command, f"--ServerApp.root_dir={folder}"],
            env=os.environ | places | {"JUPYTER_TOKEN": token, "PYTHONPATH": path},
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        try:
            yield folder, listing(folder / "runtime", server)["url"], token
        finally:
            # SIGTERM makes the server end its kernels too.
            server.terminate()
            try:
                server.wait(30)
            except subprocess.TimeoutExpired:
                server.kill()
                server.wait()


@pytest.fixture
def page(browser, request):
    """Yield a page, and store a screenshot of it after the test, also if the test fails."""
    page = browser.new_page(viewport={"width": 1400, "height": 1000})
    yield page
    page.screenshot(path=SCREENSHOTS / f"{request.node.name}.png")
    page.close()


def run_all(page, lab, name):
    """Open a notebook, run and save it, and return the saved notebook."""
    folder, url, token = lab
    path = folder / "notebooks" / f"{name}.ipynb"
    before = path.stat().st_mtime_ns
    # Without the tabs of the previous notebook
    page.goto(f"{url}lab/tree/notebooks/{name}.ipynb?reset&token={token}")
    page.get_by_text("Python 3 (ipykernel) | Idle").wait_for(timeout=120_000)
    # Clear the stored outputs first, so that they cannot be taken for outputs of this
    # run.
    for menu, item in (
        ("Edit", "Clear Outputs of All Cells"),
        ("Run", "Run All Cells"),
    ):
        page.get_by_role("menuitem", name=menu, exact=True).click()
        page.get_by_role("menuitem", name=item, exact=True).click()
    cells = sum(cell.cell_type == "code" for cell in nbformat.read(path, 4).cells)
    # Cells whose source is folded have no prompt. The last cell is not folded, and it
    # runs last.
    page.wait_for_function(
        """cells => {
            const prompts = [...document.querySelectorAll('.jp-CodeCell .jp-InputPrompt')].map(p => p.textContent);
            return prompts.at(-1) == `[${cells}]:`;
        }""",
        arg=cells,
        timeout=300_000,
    )
    page.keyboard.press("Control+s")
    while path.stat().st_mtime_ns == before:
        page.wait_for_timeout(100)
    return nbformat.read(path, 4)


def outputs(notebook):
    return [
        output
        for cell in notebook.cells
        if cell.cell_type == "code"
        for output in cell.outputs
    ]


def test_a_slider_of_the_overview_moves_the_picture_and_the_numbers(lab, page):
    notebook = run_all(page, lab, "00_overview")
    assert not [output for output in outputs(notebook) if output.output_type == "error"]
    opened = page.locator(".jp-OutputArea-output .explorer")
    opened.scroll_into_view_if_needed()
    # The initial state of the sliders has the numbers of the cell's stored static
    # output.
    stored = (
        nbformat.read(ROOT / "notebooks" / "00_overview.ipynb", 4)
        .cells[-1]
        .outputs[0]
        .text
    )
    assert numbers(opened) == in_words(stored)
    before = opened.locator(".picture").inner_html()
    opened.get_by_role("slider", name="depth").press("ArrowRight")
    assert opened.locator(".picture").inner_html() != before
    assert numbers(opened) == in_words(explorer.report(explorer.view("Gaussian", 8.4)))


def in_words(report):
    """Return the numbers of a report, ignoring all text between them."""
    return [float(word) for word in re.findall(r"-?\d+\.\d+", report.replace("−", "-"))]


def numbers(opened):
    return in_words(opened.locator(".numbers").inner_text())


@pytest.fixture(scope="module")
def explorer_page(tmp_path_factory):
    """Return the URI of a file that contains only the explorer."""
    path = tmp_path_factory.mktemp("explorer") / "explorer.html"
    head = '<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
    path.write_text(f"{head}<title>explorer</title>{explorer.page()}", encoding="utf-8")
    return path.as_uri()


MODULE = "data:text/javascript;base64," + b64encode(explorer.script().encode()).decode()


def test_its_numbers_are_those_of_the_library(page, explorer_page):
    """Compare every shape at random slider steps and at the ends of the sliders.

    Scattering lengths are compared by their arc tangent, which stays finite at a pole.
    """
    page.goto(explorer_page)
    seen_in_page = "async ([data, shape, values]) => (await import(MODULE)).view(data, shape, values)"
    random = np.random.default_rng(11)
    for name, shape in SHAPES.items():
        least, _, most, step = shape.depth
        grid = shape.grid()
        steps = [(least, grid[0]), (most, grid[-1]), (0.0, grid[3])]
        steps += [
            (
                least + step * random.integers(round((most - least) / step)),
                grid[random.integers(len(grid))],
            )
            for _ in range(12)
        ]
        for depth, parameters in steps:
            given = [explorer.data(), name, {"depth": depth, **parameters}]
            found = page.evaluate(seen_in_page.replace("MODULE", repr(MODULE)), given)
            seen = explorer.view(name, depth, **parameters)
            for of in (
                "potential",
                "terms",
                "learned",
                "eigenvalue",
                "born",
                "networks",
                "depths",
            ):
                # learned terms have 12 digits, and sums cancel
                wanted = np.abs(getattr(seen, of)).max()
                np.testing.assert_allclose(
                    found[of],
                    getattr(seen, of),
                    rtol=1e-10,
                    atol=1e-11 * wanted,
                    err_msg=f"{name} {of}",
                )
            for of in ("a0", "exact"):
                angles = np.arctan(found[of]), np.arctan(getattr(seen, of))
                np.testing.assert_allclose(
                    *angles, rtol=1e-10, atol=1e-14, err_msg=f"{name} {of}"
                )
            wave = seen.wave[1][::4]
            np.testing.assert_allclose(
                found["wave"],
                wave,
                rtol=1e-10,
                atol=1e-10 * np.abs(wave).max(),
                err_msg=name,
            )


def test_two_explorers_open_at_given_steps(page, tmp_path):
    pieces = [explorer.page("Gaussian", 9.9, width=0.404), explorer.page("Yukawa", 3.0)]
    (tmp_path / "two.html").write_text(
        f'<!doctype html><meta charset="utf-8">{"".join(pieces)}', encoding="utf-8"
    )
    page.goto((tmp_path / "two.html").as_uri())
    first, second = page.locator(".explorer").all()
    assert numbers(first) == in_words(
        explorer.report(explorer.view("Gaussian", 10.0, width=0.4))
    )
    assert numbers(second) == in_words(explorer.report(explorer.view("Yukawa", 3.0)))


@pytest.mark.parametrize(
    "width, scheme", [(1280, "light"), (1280, "dark"), (390, "light"), (390, "dark")]
)
def test_a_key_moves_the_slider_within_a_sixtieth_of_a_second(
    page, explorer_page, width, scheme
):
    faults = []
    page.on("console", lambda message: faults.append(message.text))
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.set_viewport_size({"width": width, "height": 844})
    page.emulate_media(color_scheme=scheme)
    page.goto(explorer_page)
    page.add_style_tag(content=":root { color-scheme: light dark }")
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    page.keyboard.press("ArrowLeft")
    assert page.get_by_role("slider", name="depth").input_value() == "9.6"
    assert numbers(page.locator(".explorer")) == in_words(
        explorer.report(explorer.view("Gaussian", 9.6))
    )
    for name in SHAPES:
        page.get_by_label("shape").select_option(name)
        for key in ("Home", "End"):
            for slider in page.get_by_role("slider").all():
                slider.press(key)
                assert page.locator(".picture svg[role=img]").count() == 3
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert not faults
    # The median of sixty times from the event to the layout of the new picture.
    moved = page.evaluate(
        """() => {
            const [slider] = document.querySelectorAll("input"), times = [];
            for (let k = 0; k < 60; k++) {
                slider.stepDown();
                const start = performance.now();
                slider.dispatchEvent(new Event("input"));
                document.body.getBoundingClientRect();
                times.push(performance.now() - start);
            }
            return times.sort((a, b) => a - b)[30];
        }"""
    )
    assert moved < 16


def test_the_notebook_of_your_own_network(lab, page):
    if not (ROOT / "notebooks" / "11_your_own_network.ipynb").exists():
        pytest.skip("there is no notebook 11")
    notebook = run_all(page, lab, "11_your_own_network")
    assert not [
        output
        for output in outputs(notebook)
        if output.output_type == "error" or output.get("name") == "stderr"
    ]


BOOK = ROOT / "build" / "book"


@pytest.mark.parametrize(
    "width, scheme", [(1280, "light"), (1280, "dark"), (390, "light"), (390, "dark")]
)
def test_every_page_of_the_book_fits_and_raises_nothing(page, width, scheme):
    pages = [
        *BOOK.glob("*.html"),
        *BOOK.glob("notebooks/*.html"),
        *BOOK.glob("docs/*.html"),
        *BOOK.glob("api/*.html"),
    ]
    if not pages:
        pytest.skip("the book is not built: make book")
    faults = []
    page.on("console", lambda message: faults.append(message.text))
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.set_viewport_size({"width": width, "height": 844})
    page.emulate_media(color_scheme=scheme)
    for path in pages:
        page.goto(path.as_uri())
        page.wait_for_function(
            "window.MathJax?.startup?.promise?.then(() => true) ?? true"
        )
        if page.evaluate("document.documentElement.scrollWidth") > width:
            faults.append(f"{path.name} is wider than the window")
        if page.locator("mjx-merror").count():
            faults.append(f"{path.name} has an equation that MathJax refuses")
        page.screenshot(
            path=SCREENSHOTS
            / "book"
            / f"{path.parent.name}-{path.stem}-{width}-{scheme}.png",
            full_page=True,
        )
    assert not faults
    page.goto((BOOK / "index.html").as_uri())
    page.get_by_role("slider", name="depth").press("ArrowRight")
    assert numbers(page.locator(".explorer")) == in_words(
        explorer.report(explorer.view("Gaussian", 10.4))
    )
