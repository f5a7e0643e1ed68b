"""Notebooks run headless by papermill, into a build folder, and going on where a run stopped."""

import hashlib
import json
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from paperlib._support import checks
from paperlib._support.files import atomically, read_json, write_json
from paperlib.companion import reference
from paperlib.companion.reproduction import kernels, lanes

__all__ = ["PROFILES", "notebook_parameters", "notebooks", "reproduce", "run_notebook"]

PROFILES = {
    "standard": "networks that ship in every notebook, and two ensembles of them trained anew",
    "full": "every network trained anew",
    "quick": "networks that ship in every notebook, and none trained anew",
}
# One of values alone, one with derivatives; and the minutes that each takes.
SAMPLE = {"signed": 1.0, "scattering_lengths": 2.0}


def notebooks(folder: str | Path, only: str | None = None) -> list[Path]:
    """The numbered notebooks of a folder, in order; `only` those whose names begin so, such as "02".

    A FileNotFoundError if there is none.
    """
    folder = checks.path("folder", folder)
    begins = "" if only is None else checks.instance("only", only, str)
    found = sorted(folder.glob("[0-9][0-9]_*.ipynb"))
    if not found:
        raise FileNotFoundError(f"{folder}: no notebooks there; must be those of a checkout")
    chosen = [path for path in found if path.stem.startswith(begins)]
    if not chosen:
        known = ", ".join(path.stem[:2] for path in found)
        raise FileNotFoundError(f"only = {checks.brief(only)}: no such notebook in {folder}; there are {known}")
    return chosen


def notebook_parameters(path: str | Path) -> dict[str, str]:
    """The notebook's parameters: name -> default, as written in its cell tagged `parameters`."""
    import papermill

    path = checks.path("path", path)
    if not path.is_file() or path.suffix != ".ipynb":
        raise FileNotFoundError(f"{path}: no such notebook")
    return {name: entry["default"] for name, entry in papermill.inspect_notebook(str(path)).items()}


def run_notebook(path: str | Path, output: str | Path, parameters: Mapping[str, Any]) -> None:
    """Run one notebook in its own folder, with its parameters, and write the executed copy to `output`, and as a page beside it.

    A parameter that it does not have is a ValueError, where papermill alone would only warn. If a cell raises, a
    RuntimeError names the notebook and the error; the executed copy then ends there.
    """
    import papermill
    from nbconvert import HTMLExporter

    path, output = Path(path), Path(output)
    known = notebook_parameters(path)
    if unknown := [name for name in parameters if name not in known]:
        has = ", ".join(known) or "none"
        raise ValueError(f"parameter {unknown[0]!r}: {path.name} has none of that name; it has {has}")
    output.parent.mkdir(parents=True, exist_ok=True)
    bar = {"desc": path.stem, "leave": True} if sys.stderr.isatty() else False
    with kernels.alone() as kernel:
        try:
            papermill.execute_notebook(
                str(path), str(output), parameters=dict(parameters), cwd=str(path.parent), progress_bar=bar, **kernel
            )
        except papermill.PapermillExecutionError as error:
            raise RuntimeError(f"{path.name}: {error.ename}: {error.evalue}") from error
    with atomically(output.with_suffix(".html")) as part:
        part.write_text(HTMLExporter().from_filename(str(output))[0], encoding="utf-8")


def reproduce(
    root: str | Path,
    build: str | Path,
    *,
    profile: str = "standard",
    only: str | None = None,
    parameters: Mapping[str, Any] | None = None,
    say: Callable[[str], Any] = print,
) -> Path:
    """Run the notebooks of a checkout, side by side where there are cores; the folder of their results.

    Those that an earlier run finished, unchanged since, are not run again. In `root` lie `notebooks` and the packages that they call; to
    `build` go executed notebooks, results and what is trained. The profile "full" trains every network anew, "standard"
    two ensembles, and "quick" none; both use those that ship in the notebooks. `only` begins a notebook's name; in a full run, those whose networks it reads are run too.
    `parameters` are given to the notebooks, of which those that do not have them all are not run.
    `say` takes lines of progress. A RuntimeError tells of a notebook that failed, after all others that do not read
    what it trains; a ValueError of notebooks that read one another's networks in a circle.
    """
    root, build = checks.path("root", root).resolve(), checks.path("build", build).resolve()
    checks.choice("profile", profile, tuple(PROFILES))
    results = build / profile
    done_path = results / "done.json"
    done = read_json(done_path) if done_path.exists() else {}
    plans: dict[str, _Plan] = {}
    given, wanted = dict(parameters or {}), notebooks(root / "notebooks", only)
    if given:
        wanted = [path for path in wanted if given.keys() <= notebook_parameters(path).keys()]
    for path in wanted:
        plans[path.stem] = _plan(path, results, build, profile, given)
        wanted += [path.with_name(f"{name}.ipynb") for name in plans[path.stem].call.after if name not in plans]
    packages = [path.parent for path in root.glob("*/__init__.py")]
    library = _digest(
        sorted(path for package in packages for path in package.rglob("*") if path.suffix in (".py", ".npz"))
    )
    numbers = _digest(sorted((root / "figures").rglob("*.json")))

    def fingerprint_of(plan: _Plan, *readers: _Plan) -> str:
        if plan in readers:
            raise ValueError(f"{plan.path.name}: what it `reads` leads back to itself; must be notebooks before it")
        # A notebook is out of date when what it reads changes: stored numbers, as the overview, or what another trains.
        read = [fingerprint_of(plans[name], *readers, plan) for name in plan.call.after]
        chosen = json.dumps(given, sort_keys=True, default=str) if given else ""
        return _digest([plan.path], library, numbers if "stored" in plan.known else "", chosen, *read)

    # Of each: the hash of what it depends on, the file that it makes, and the call that makes it.
    tasks = {
        name: (fingerprint_of(plan), results / "numbers" / f"{name}.json", plan.call)
        for name, plan in sorted(plans.items())
    }
    train_anew = partial(reference.retrained, cache=build / "trained")
    for name, minutes in SAMPLE.items() if profile == "standard" and only is None and not given else ():
        folder = results / "reference"
        call = lanes.Call(train_anew, (name, folder), minutes=minutes)
        tasks[f"{name}, trained anew"] = library, folder / f"{name}.npz", call
    calls = {}
    for name, (fingerprint, made, call) in tasks.items():
        if done.get(name) == fingerprint and made.exists():
            say(f"{name}: finished by an earlier run, unchanged since (remove {build.name}/ to run it again)")
        else:
            calls[name] = call
    failures = []
    for name, error in lanes.run(calls, say):
        if error is None:
            done[name] = tasks[name][0]
            write_json(done_path, done)
        else:
            failures.append(error)
    if failures:
        raise failures[0]
    return results


@dataclass(frozen=True)
class _Plan:
    """A notebook to run: which parameters it knows, and the call that runs it, after those whose networks it reads."""

    path: Path
    known: dict[str, str]
    call: lanes.Call


def _plan(path: Path, results: Path, build: Path, profile: str, parameters: Mapping[str, Any]) -> _Plan:
    known, about = notebook_parameters(path), read_json(path)["metadata"].get("paperlib", {})
    full = profile == "full" and "retrain" in known
    offered = {"retrain": full, "cache": str(build / "trained")}
    given = {"results": str(results), **{name: value for name, value in offered.items() if name in known}, **parameters}
    reads, minutes = (about.get("reads", []), about.get("minutes", 0)) if full else ([], 0)
    reads = [notebooks(path.parent, name)[0].stem for name in reads]
    arguments = (path, results / "notebooks" / path.name, given)
    return _Plan(path, known, lanes.Call(run_notebook, arguments, tuple(reads), minutes))


def _digest(paths: Iterable[Path], *more: str) -> str:
    """A hash of files' contents; of a notebook, its source alone, since its stored outputs decide nothing."""
    total = hashlib.sha256("".join(more).encode())
    for path in paths:
        total.update(path.name.encode())
        if path.suffix == ".ipynb":
            cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
            total.update("\0".join("".join(cell["source"]) for cell in cells).encode())
        else:
            total.update(path.read_bytes())
    return total.hexdigest()
