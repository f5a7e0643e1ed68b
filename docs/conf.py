"""The book: the explorer, the notebooks as they are stored, and the library's docstrings. Built by `make book`."""

from importlib import metadata

from docutils.nodes import raw
from sphinx.util.docutils import SphinxDirective

from paperlib import explorer

project = "paperlib"
author = copyright = "The paperlib authors"
release = metadata.version("neural-born-series")

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.viewcode",
    "numpydoc",
    "sphinxcontrib.bibtex",
    "sphinx-mathjax-offline",
]
templates_path = ["_templates"]
exclude_patterns = ["README.md"]  # index.md includes it

nb_execution_mode = "off"
nb_merge_streams = True
nb_render_markdown_format = "myst"  # tables that cells print are tables
myst_enable_extensions = ["amsmath", "dollarmath"]
myst_heading_anchors = 2

bibtex_bibfiles = ["docs/references.bib"]

default_role = "py:obj"
autodoc_default_options = {"members": True, "member-order": "bysource"}
numpydoc_show_class_members = False

html_theme = "furo"
html_title = "paperlib"
html_copy_source = False
html_static_path = ["_static"]
html_css_files = ["wide.css"]


class Explorer(SphinxDirective):
    def run(self):
        return [raw("", explorer.page(), format="html")]


def setup(app):
    app.add_directive("explorer", Explorer)
