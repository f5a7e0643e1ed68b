"""Notebooks run headless by papermill, into a build folder, one after the other, and going on where a run stopped."""

import hashlib
import json
import shutil
import sys
from pathlib import Path

from paperlib import checks
from paperlib.files import read_json, write_json

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
    chosen = [path for path in found if only is None or path.stem.startswith(only)]
    if not chosen:
        known = ", ".join(path.stem[:2] for path in found) or "none"
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

    path, output = Path(path), Path(output)
    known = notebook_parameters(path)
    for name in parameters:
        if name not in known:
            raise ValueError(
                f"parameter {name!r}: {path.name} has none of that name; it has {', '.join(known) or 'none'}"
            )
    output.parent.mkdir(parents=True, exist_ok=True)
    terminal = sys.stderr.isatty()
    try:
        papermill.execute_notebook(
            str(path),
            str(output),
            parameters=parameters,
            cwd=str(path.parent),
            kernel_name="python3",
            progress_bar={"desc": path.stem, "leave": True} if terminal else False,
            # Its remarks on the transport between two processes of one machine would hide what matters.
            extra_arguments=["--IPKernelApp.log_level=CRITICAL"],
        )
    except papermill.PapermillExecutionError as error:
        raise RuntimeError(f"{path.name}: {error.ename}: {error.evalue}") from error


def reproduce(root, build, *, profile="full", only=None, say=print):
    """Run the notebooks of a checkout; those that an earlier run finished, unchanged since, are not run again.

    Parameters
    ----------
    root : path
        The checkout, with `notebooks` and `paperlib` in it.
    build : path
        Executed notebooks and their results go there.
    profile : {"full", "quick"}
        "full" trains every network anew, "quick" uses those that ship.
    only : str, optional
        The beginning of a notebook's name.
    say : callable
        Takes a line of progress.

    Returns
    -------
    Path
        The folder of the results.
    """
    root, build = checks.path("root", root).resolve(), checks.path("build", build).resolve()
    checks.choice("profile", profile, PROFILES)
    results = build / profile
    done_path = results / "done.json"
    done = read_json(done_path) if done_path.exists() else {}
    chosen = notebooks(root / "notebooks", only)
    library = _digest(sorted(path for path in (root / "paperlib").rglob("*") if path.suffix in (".py", ".npz")))
    if done.get("library") != library:
        if (results / "checkpoints").exists():
            say(f"the library has changed: networks in {build.name}/{profile}/checkpoints are trained anew")
            shutil.rmtree(results / "checkpoints")
        done = {"library": library}
        write_json(done_path, done)
    numbers = _digest(sorted((root / "figures" / "numbers").glob("*.json")))
    for number, path in enumerate(chosen, 1):
        parameters = notebook_parameters(path)
        # A notebook that reads the stored numbers, as the overview does, is out of date when they change.
        fingerprint = _digest([path], library, numbers if "stored" in parameters else "")
        label = f"[{number}/{len(chosen)}] {path.stem}"
        if done.get(path.stem) == fingerprint and (results / "numbers" / f"{path.stem}.json").exists():
            say(f"{label}: finished by an earlier run, unchanged since (remove {build.name}/ to run it again)")
            continue
        say(f"{label}: running")
        given = {"results": str(results)} | ({"retrain": profile == "full"} if "retrain" in parameters else {})
        run_notebook(path, results / "notebooks" / path.name, given)
        done[path.stem] = fingerprint
        write_json(done_path, done)
    return results


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
