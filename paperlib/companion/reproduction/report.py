"""The report: one HTML page, each number and each figure beside the stored one."""

import base64
from collections import Counter
from pathlib import Path

from paperlib._support.files import atomically

__all__ = ["write_report"]

TEMPLATE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>Reproduction report</title>
<style>
 body { font: 15px/1.5 system-ui, sans-serif; max-width: 78rem; margin: 2rem auto; padding: 0 1rem; color: #222 }
 table { border-collapse: collapse; width: 100%; margin: .5rem 0 1.5rem } th, td { text-align: left; padding: .3rem .7rem .3rem 0; border-bottom: 1px solid #ddd; vertical-align: top }
 .wide { overflow-x: auto } h2, h3 { overflow-wrap: anywhere }
 td.number { font-variant-numeric: tabular-nums; white-space: nowrap }
 .passed { color: #00674a; font-weight: 600 } .failed { color: #b02300; font-weight: 600 }
 figure { margin: 0; flex: 1 1 20rem } figcaption { color: #555; font-size: 13px } img { width: 100%; border: 1px solid #eee }
 .trio { display: flex; flex-wrap: wrap; gap: 1rem; margin-bottom: 1.5rem }
</style></head><body>
<h1>Reproduction report</h1>
<p>Profile <b>{{ profile }}</b>: <b class="{{ 'failed' if counts[False] else 'passed' }}">{{ counts[True] }} passed, {{ counts[False] }} failed</b>.
Numbers are held to the tolerance stored with them, figures to the data they plot and then to their pixels.</p>
{% for notebook, rows in groups.items() %}
<h2>{{ notebook }}</h2>
{% if rows.numbers %}<div class="wide"><table><tr><th>number</th><th>stored</th><th>new</th><th>allowed</th><th>verdict</th><th></th></tr>
{% for v in rows.numbers %}<tr><td>{{ v.name }}</td><td class="number">{{ v.stored }}</td><td class="number">{{ v.new }}</td><td class="number">{{ v.allowed }}</td>
<td class="{{ 'passed' if v.passed else 'failed' }}">{{ 'passed' if v.passed else 'failed' }}</td><td>{{ v.note }}</td></tr>{% endfor %}</table></div>{% endif %}
{% for v, pictures in rows.figures %}
<h3>{{ v.name }} <span class="{{ 'passed' if v.passed else 'failed' }}">{{ 'passed' if v.passed else 'failed' }}</span></h3>
<p>rms of pixels {{ v.new or 'not computed' }}; allowed: {{ v.allowed or 'both pictures' }}. {{ v.note }}</p>
<div class="trio">{% for caption, source in pictures %}<figure>{% if source %}<img alt="{{ v.name }}, {{ caption }}" src="{{ source }}">{% endif %}<figcaption>{{ caption }}{{ '' if source else ': none' }}</figcaption></figure>{% endfor %}</div>
{% endfor %}{% endfor %}
</body></html>
"""


def write_report(path, verdicts, results, stored, profile):
    """Write the report, with its pictures inside, to one HTML file.

    Parameters
    ----------
    path : path
    verdicts : list of Verdict
    results, stored : path
        The folders that were compared.
    profile : str
        How the notebooks were run.
    """
    from jinja2 import Environment

    results, stored = Path(results), Path(stored)
    groups: dict = {}
    for verdict in verdicts:
        rows = groups.setdefault(verdict.notebook, {"numbers": [], "figures": []})
        if verdict.kind == "figure":
            pictures = [
                ("stored", _embedded(stored / f"{verdict.name}.png")),
                ("new", _embedded(results / f"{verdict.name}.png")),
                ("difference", _embedded(results / f"{verdict.name}-failed-diff.png")),
            ]
            rows["figures"].append((verdict, pictures))
        else:
            rows["numbers"].append(verdict)
    page = Environment(autoescape=True).from_string(TEMPLATE)
    text = page.render(groups=groups, counts=Counter(v.passed for v in verdicts), profile=profile)
    with atomically(path) as part:
        part.write_text(text, encoding="utf-8")


def _embedded(picture):
    """A picture as a data URI, so that the report is one file that can be sent; empty if there is none."""
    if not picture.exists():
        return ""
    return "data:image/png;base64," + base64.b64encode(picture.read_bytes()).decode()
