"""Notebooks in a browser, as a reader has them: JupyterLab, every cell run, a slider moved. Run by `make browser`."""

import json
import os
import secrets
import shutil
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import pytest

from paperlib import explorer

pytestmark = pytest.mark.browser

ROOT = Path(__file__).parent.parent
SCREENSHOTS = ROOT / "build" / "browser"
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
# All cells in the page, none left out because it is off the screen; and no question about news.
SETTINGS = {
    "notebook-extension/tracker": {"windowingMode": "none"},
    "apputils-extension/notification": {"fetchNews": "false", "checkForUpdates": False},
}


def listing(folder, server):
    """What the server says of itself once it listens: it has chosen a free port."""
    for _ in range(600):
        for path in folder.glob("jpserver-*.json"):
            try:
                return json.loads(path.read_text())
            except ValueError:  # half written
                pass
        assert server.poll() is None, "JupyterLab ended before it listened"
        time.sleep(0.1)
    raise AssertionError("JupyterLab did not listen within a minute")


@pytest.fixture(scope="module")
def browser():
    playwright = pytest.importorskip(
        "playwright.sync_api", reason="playwright is not installed: pip install .[browser]"
    )
    if CHROMIUM is None:
        pytest.skip("chromium is not installed: apt-get install chromium")
    with playwright.sync_playwright() as running:
        chromium = running.chromium.launch(executable_path=CHROMIUM)
        yield chromium
        chromium.close()


@pytest.fixture(scope="module")
def lab(tmp_path_factory, browser):
    """JupyterLab on a copy of the notebooks, with a token: its folder, its address and the token.

    It asks for the browser, because without one no server need be started.
    """
    pytest.importorskip("jupyterlab", reason="JupyterLab is not installed: pip install .[notebooks]")
    folder = tmp_path_factory.mktemp("lab")
    for name in ("notebooks", "figures"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns(".ipynb_checkpoints"))
    for name, values in SETTINGS.items():
        path = folder / "settings" / "@jupyterlab" / f"{name}.jupyterlab-settings"
        path.parent.mkdir(parents=True)
        path.write_text(json.dumps(values))
    token = secrets.token_hex()
    places = {f"JUPYTERLAB_{name.upper()}_DIR": str(folder / name) for name in ("settings", "workspaces")}
    places |= {f"JUPYTER_{name.upper()}_DIR": str(folder / name) for name in ("runtime", "config", "data")}
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--ip=127.0.0.1", "--port=0", "--allow-root"]
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
            # Asked to end, it ends its kernels too.
            server.terminate()
            try:
                server.wait(30)
            except subprocess.TimeoutExpired:
                server.kill()
                server.wait()


@pytest.fixture
def page(browser, request):
    """A page, of which a screenshot is kept whatever happens."""
    page = browser.new_page(viewport={"width": 1400, "height": 1000})
    yield page
    page.screenshot(path=SCREENSHOTS / f"{request.node.name}.png")
    page.close()


def run_all(page, lab, name):
    """Open a notebook, run it, save it, and return it as it was saved."""
    folder, url, token = lab
    path = folder / "notebooks" / f"{name}.ipynb"
    before = path.stat().st_mtime_ns
    page.goto(f"{url}lab/tree/notebooks/{name}.ipynb?reset&token={token}")  # without the tabs of the one before
    page.get_by_text("Python 3 (ipykernel) | Idle").wait_for(timeout=120_000)
    # What was stored goes first, so that nothing of it is taken for what this run made.
    for menu, item in (("Edit", "Clear Outputs of All Cells"), ("Run", "Run All Cells")):
        page.get_by_role("menuitem", name=menu, exact=True).click()
        page.get_by_role("menuitem", name=item, exact=True).click()
    cells = sum(cell.cell_type == "code" for cell in nbformat.read(path, 4).cells)
    # Cells whose source is folded away have no prompt; the last one is shown, and is the last to run.
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
    return [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]


def test_a_slider_of_the_overview_moves_the_picture_and_the_numbers(lab, page):
    notebook = run_all(page, lab, "00_overview")
    assert not [output for output in outputs(notebook) if output.output_type == "error"]
    opened = page.locator(".jp-OutputArea-output:has(.widget-slider)")
    picture, numbers = opened.locator("img"), opened.locator("pre")
    slider = opened.locator(".widget-slider", has_text="depth")
    picture.wait_for()
    opened.scroll_into_view_if_needed()
    page.screenshot(path=SCREENSHOTS / "before.png")
    # What the cell printed when it was stored, static, is what the sliders open with.
    stored = nbformat.read(ROOT / "notebooks" / "00_overview.ipynb", 4).cells[-1].outputs[0].text
    assert numbers.inner_text().strip() == stored.strip()
    seen = picture.get_attribute("src"), numbers.inner_text(), slider.locator(".widget-readout").inner_text()
    slider.locator(".noUi-handle").press("ArrowRight")
    page.wait_for_function(
        "([image, src]) => image.src != src", arg=[picture.element_handle(), seen[0]], timeout=10_000
    )
    moved = picture.get_attribute("src"), numbers.inner_text(), slider.locator(".widget-readout").inner_text()
    assert all(before != after for before, after in zip(seen, moved, strict=True))
    assert moved[1].strip() == explorer.report(explorer.view("Gaussian", float(moved[2])))


def test_a_network_of_ones_own(lab, page):
    if not (ROOT / "notebooks" / "11_your_own_network.ipynb").exists():
        pytest.skip("there is no notebook 11")
    notebook = run_all(page, lab, "11_your_own_network")
    assert not [
        output for output in outputs(notebook) if output.output_type == "error" or output.get("name") == "stderr"
    ]
