"""Notebooks run headless by papermill, into a build folder, and going on where a run stopped."""

import hashlib
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from paperlib._support import checks
from paperlib._support.files import read_json, write_json
from paperlib.companion.reproduction import lanes

__all__ = ["notebook_parameters", "notebooks", "reproduce", "run_notebook"]

PROFILES = ("full", "quick")


def notebooks(folder, only=None):
    """The numbered notebooks of a folder, in order.

    Parameters
    ----------
    folder : path
    only : str, optional
        The beginning of a name, such as "02".

    Raises
    ------
    FileNotFoundError
        If there is none.
    """
    folder = checks.path("folder", folder)
    if only is not None:
        checks.instance("only", only, str)
    found = sorted(folder.glob("[0-9][0-9]_*.ipynb"))
    if not found:
        raise FileNotFoundError(f"{folder}: no notebooks there; must be those of a checkout")
    chosen = [path for path in found if only is None or path.stem.startswith(only)]
    if not chosen:
        known = ", ".join(path.stem[:2] for path in found)
        raise FileNotFoundError(f"only = {checks.told(only)}: no such notebook in {folder}; there are {known}")
    return chosen


def notebook_parameters(path):
    """The notebook's parameters: name -> default, as written in its cell tagged `parameters`."""
    import papermill

    path = checks.path("path", path)
    if not path.is_file() or path.suffix != ".ipynb":
        raise FileNotFoundError(f"{path}: no such notebook")
    return {name: entry["default"] for name, entry in papermill.inspect_notebook(str(path)).items()}


def run_notebook(path, output, parameters):
    """Run one notebook in its own folder and write the executed copy to `output`.

    Parameters
    ----------
    path, output : path
    parameters : dict
        Injected after the cell tagged `parameters`.

    Raises
    ------
    ValueError
        If the notebook has no parameter of that name: papermill alone would only warn.
    RuntimeError
        If a cell raises, naming the notebook and the error; the executed copy then ends there.
    """
    import papermill
    from traitlets.config import Config

    path, output = Path(path), Path(output)
    known = notebook_parameters(path)
    for name in parameters:
        if name not in known:
            raise ValueError(
                f"parameter {name!r}: {path.name} has none of that name; it has {', '.join(known) or 'none'}"
            )
    output.parent.mkdir(parents=True, exist_ok=True)
    terminal = sys.stderr.isatty()
    with TemporaryDirectory() as sockets:
        # Jupyter frees the ports that it has found for a kernel before the kernel takes them; of two that start at once, one
        # may lose its own to the other. Files in a folder of its own cannot be taken.
        own = Config(KernelManager={"transport": "ipc", "ip": str(Path(sockets) / "kernel")})
        try:
            papermill.execute_notebook(
                str(path),
                str(output),
                parameters=parameters,
                cwd=str(path.parent),
                kernel_name="python3",
                progress_bar={"desc": path.stem, "leave": True} if terminal else False,
                config=own,
                # Its remark on being interrupted, which is how it is ended, would hide what matters.
                extra_arguments=["--IPKernelApp.log_level=CRITICAL"],
            )
        except papermill.PapermillExecutionError as error:
            raise RuntimeError(f"{path.name}: {error.ename}: {error.evalue}") from error


def reproduce(root, build, *, profile="full", only=None, say=print):
    """Run the notebooks of a checkout, side by side where there are cores; those that an earlier run finished, unchanged
    since, are not run again.

    Parameters
    ----------
    root : path
        The checkout, with `notebooks` and `paperlib` in it.
    build : path
        Executed notebooks, their results and what they train go there.
    profile : {"full", "quick"}
        "full" trains every network anew, "quick" uses those that ship.
    only : str, optional
        The beginning of a notebook's name; in a full run, those whose networks it reads are run too.
    say : callable
        Takes a line of progress.

    Returns
    -------
    Path
        The folder of the results.

    Raises
    ------
    ValueError
        If notebooks read one another's networks in a circle.
    RuntimeError
        If a notebook failed, after all others that do not read what it trains.
    """
    root, build = checks.path("root", root).resolve(), checks.path("build", build).resolve()
    checks.choice("profile", profile, PROFILES)
    results = build / profile
    done_path = results / "done.json"
    done = read_json(done_path) if done_path.exists() else {}
    plans: dict = {}
    wanted = notebooks(root / "notebooks", only)
    for path in wanted:
        plans[path.stem] = _plan(path, results, build, profile)
        wanted += [notebooks(path.parent, name)[0] for name in plans[path.stem].reads if name not in plans]
    library = _digest(sorted(path for path in (root / "paperlib").rglob("*") if path.suffix in (".py", ".npz")))
    numbers = _digest(sorted((root / "figures" / "numbers").glob("*.json")))

    def fingerprint_of(plan, *readers):
        if plan in readers:
            raise ValueError(f"{plan.path.name}: what it `reads` leads back to itself; must be notebooks before it")
        # A notebook is out of date when what it reads changes: stored numbers, as the overview, or what another trains.
        read = [fingerprint_of(plans[name], *readers, plan) for name in plan.reads]
        return _digest([plan.path], library, numbers if "stored" in plan.known else "", *read)

    waiting = {}
    for name, plan in sorted(plans.items()):
        fingerprint = fingerprint_of(plan)
        if done.get(name) == fingerprint and (results / "numbers" / f"{name}.json").exists():
            say(f"{name}: finished by an earlier run, unchanged since (remove {build.name}/ to run it again)")
        else:
            waiting[name] = plan, fingerprint
    failures = []
    for name, error in lanes.run({name: _call(plan, waiting) for name, (plan, _) in waiting.items()}, say):
        if error is None:
            done[name] = waiting[name][1]
            write_json(done_path, done)
        else:
            failures.append(error)
    if failures:
        raise failures[0]
    return results


@dataclass(frozen=True)
class _Plan:
    """A notebook to run: which parameters it knows and is given, whose networks it reads, minutes that its training takes."""

    path: Path
    output: Path
    known: dict
    given: dict
    reads: tuple
    minutes: float


def _plan(path, results, build, profile):
    known, about = notebook_parameters(path), read_json(path)["metadata"].get("paperlib", {})
    full = profile == "full" and "retrain" in known
    given: dict = {"results": str(results)}
    given |= {"retrain": full} if "retrain" in known else {}
    given |= {"cache": str(build / "trained")} if "cache" in known else {}
    reads, minutes = (about.get("reads", []), about.get("minutes", 0)) if full else ([], 0)
    return _Plan(path, results / "notebooks" / path.name, known, given, tuple(reads), minutes)


def _call(plan, waiting):
    after = tuple(name for name in plan.reads if name in waiting)
    return lanes.Call(run_notebook, (plan.path, plan.output, plan.given), after, plan.minutes)


def _digest(paths, *more):
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
