"""Run notebooks with papermill, without a browser, and write their results to a build folder.

An interrupted run continues with the notebooks that it has not finished.
"""

import hashlib
import json
import os
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from paperlib._support import determinism, validation
from paperlib._support.files import atomically, read_json, write_json
from paperlib.companion import pretrained
from paperlib.companion.reproduction import scheduler

PROFILES = {
    "standard": "networks that ship in every notebook, and two ensembles of them trained anew",
    "full": "every network trained anew",
    "quick": "networks that ship in every notebook, and none trained anew",
}
# The ensembles that the standard profile trains again, with their training times in
# minutes. The first is trained with derivatives, the second on values alone.
SAMPLE = {"signed": 1.0, "scattering_lengths": 2.0}

# Variables that change the output of cells: the backend of plots, start-up files and
# warning filters.
_REACHES_IN = ("MPLBACKEND", "PYTHONSTARTUP", "PYTHONWARNINGS")
_LONGEST = 60  # characters of a folder of sockets: the system allows names of 107


def notebooks(folder: str | Path, only: str | None = None) -> list[Path]:
    """Return the numbered notebooks of a folder.

    Parameters
    ----------
    folder : path
        The folder of notebooks.
    only : str, optional
        The beginning of the names of the chosen notebooks, such as "02".

    Returns
    -------
    list of Path
        The notebooks in the order of their numbers.

    Raises
    ------
    FileNotFoundError
        If the folder has no such notebook.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     for name in ("01_one", "02_two"):
    ...         (Path(folder) / f"{name}.ipynb").touch()
    ...     [path.stem for path in notebooks(folder, "02")]
    ['02_two']
    """
    folder = validation.path("folder", folder)
    begins = "" if only is None else validation.instance("only", only, str)
    found = sorted(folder.glob("[0-9][0-9]_*.ipynb"))
    if not found:
        raise FileNotFoundError(
            f"{folder}: no notebooks there; must be those of a checkout"
        )
    chosen = [path for path in found if path.stem.startswith(begins)]
    if not chosen:
        known = ", ".join(path.stem[:2] for path in found)
        raise FileNotFoundError(
            f"only = {validation.brief(only)}: no such notebook in {folder}; there are {known}"
        )
    return chosen


def notebook_parameters(path: str | Path) -> dict[str, str]:
    """Return the parameters of a notebook.

    Parameters
    ----------
    path : path
        The notebook.

    Returns
    -------
    dict of str to str
        Name -> default value as source text, from the cell with the tag `parameters`.

    Raises
    ------
    FileNotFoundError
        If the notebook does not exist.
    """
    import papermill

    path = validation.path("path", path)
    if not path.is_file() or path.suffix != ".ipynb":
        raise FileNotFoundError(f"{path}: no such notebook")
    return {
        name: entry["default"]
        for name, entry in papermill.inspect_notebook(str(path)).items()
    }


def kernel_environment(folder: str | Path) -> dict[str, str]:
    """Return the environment variables of a kernel.

    Parameters
    ----------
    folder : path
        The folder for IPython's files.

    Returns
    -------
    dict of str to str
        The variables of this process and of the deterministic mode, without those that
        change the output of cells.
    """
    import matplotlib

    kept = {
        name: value
        for name, value in determinism.environment(os.environ).items()
        if name not in _REACHES_IN
    }
    own = {
        "IPYTHONDIR": str(folder),
        "MATPLOTLIBRC": str(Path(matplotlib.get_data_path()) / "matplotlibrc"),
    }
    return kept | own


@contextmanager
def isolated_kernel() -> Iterator[dict[str, Any]]:
    """Provide the options with which papermill starts an isolated kernel.

    Yields
    ------
    dict
        Keyword arguments of ``papermill.execute_notebook``. The kernel's temporary
        files exist until the context ends.
    """
    from jupyter_client.kernelspec import KernelSpecManager
    from jupyter_client.manager import AsyncKernelManager

    folders = [
        folder
        for folder in (tempfile.gettempdir(), "/tmp", "/var/tmp")
        if os.access(folder, os.W_OK)
    ]
    short = [folder for folder in folders if len(folder) <= _LONGEST]
    with tempfile.TemporaryDirectory(dir=short[0] if short else None) as folder:
        # Jupyter frees the ports that it has found for a kernel before the kernel binds
        # them. If two kernels start at the same time, one may take the other's port.
        # Socket files in a folder of the kernel's own cannot be taken.
        sockets = (
            {"transport": "ipc", "ip": str(Path(folder) / "kernel")} if short else {}
        )

        class Kernel(AsyncKernelManager):
            def __init__(self, **options: Any) -> None:
                # Without folders the only kernel specification is that of this
                # interpreter's own ipykernel.
                super().__init__(
                    kernel_spec_manager=KernelSpecManager(kernel_dirs=[]),
                    **sockets,
                    **options,
                )

            def start_kernel(self, **options: Any) -> Any:
                return super().start_kernel(env=kernel_environment(folder), **options)

        # The kernel is ended by an interrupt. Its message about the interrupt would
        # hide the relevant output.
        quiet = ["--IPKernelApp.log_level=CRITICAL"]
        yield {
            "kernel_name": "python3",
            "kernel_manager_class": Kernel,
            "extra_arguments": quiet,
        }


def run_notebook(
    path: str | Path, output: str | Path, parameters: Mapping[str, Any]
) -> None:
    """Run one notebook in its own folder, and write the executed copy as a notebook and as an HTML page.

    Parameters
    ----------
    path : path
        The notebook.
    output : path
        The executed copy. The HTML page is written beside it.
    parameters : mapping of str to object
        Values that replace the defaults of the notebook's parameters.

    Raises
    ------
    ValueError
        If the notebook does not have one of the parameters. papermill alone would only
        warn.
    RuntimeError
        If a cell raises an error. The message names the notebook and the error. The
        executed copy ends at this cell.
    """
    import papermill
    from nbconvert import HTMLExporter

    path, output = Path(path), Path(output)
    known = notebook_parameters(path)
    if unknown := [name for name in parameters if name not in known]:
        has = ", ".join(known) or "none"
        raise ValueError(
            f"parameter {unknown[0]!r}: {path.name} has none of that name; it has {has}"
        )
    output.parent.mkdir(parents=True, exist_ok=True)
    bar = {"desc": path.stem, "leave": True} if sys.stderr.isatty() else False
    with isolated_kernel() as kernel:
        try:
            papermill.execute_notebook(
                str(path),
                str(output),
                parameters=dict(parameters),
                cwd=str(path.parent),
                progress_bar=bar,
                **kernel,
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
    log: Callable[[str], Any] = print,
) -> Path:
    """Run the notebooks of a checkout, in parallel if there are several cores.

    A notebook that an earlier run has finished is skipped if it has not changed since
    then, and neither has its input.

    Parameters
    ----------
    root : path
        The checkout, with the folder `notebooks` and the packages that they import.
    build : path
        The folder for executed notebooks, results and trained networks.
    profile : str
        "full" trains every network again. "standard" trains two ensembles again,
        provided that neither `only` nor `parameters` is given, and "quick" none. In
        both, the notebooks use the pretrained networks.
    only : str, optional
        The beginning of the names of the chosen notebooks. In a full run, the notebooks
        whose networks they read are run too.
    parameters : mapping of str to object, optional
        Values of parameters of the notebooks. Notebooks that do not have all of these
        parameters are not run.
    log : callable
        Receives lines of progress.

    Returns
    -------
    Path
        The results folder, BUILD/PROFILE.

    Raises
    ------
    RuntimeError
        If a notebook fails. The error is raised after all notebooks that do not depend
        on the failed notebook have run.
    ValueError
        If notebooks read each other's networks in a cycle.
    """
    root, build = (
        validation.path("root", root).resolve(),
        validation.path("build", build).resolve(),
    )
    validation.choice("profile", profile, tuple(PROFILES))
    results = build / profile
    done_path = results / "done.json"
    done = read_json(done_path) if done_path.exists() else {}
    plans: dict[str, _Plan] = {}
    given, wanted = dict(parameters or {}), notebooks(root / "notebooks", only)
    if given:
        wanted = [
            path for path in wanted if given.keys() <= notebook_parameters(path).keys()
        ]
    for path in wanted:
        plans[path.stem] = _plan(path, results, build, profile, given)
        wanted += [
            path.with_name(f"{name}.ipynb")
            for name in plans[path.stem].call.after
            if name not in plans
        ]
    packages = [path.parent for path in root.glob("*/__init__.py")]
    library = _digest(
        sorted(
            path
            for package in packages
            for path in package.rglob("*")
            if path.suffix in (".py", ".npz")
        )
    )
    numbers = _digest(sorted((root / "figures").rglob("*.json")))

    def fingerprint_of(plan: _Plan, *readers: _Plan) -> str:
        """Return a hash of everything on which the results of a notebook depend.

        `readers` are the notebooks whose fingerprints need this one. A notebook that is its own reader is in a cycle.
        """
        if plan in readers:
            raise ValueError(
                f"{plan.path.name}: what it `reads` leads back to itself; must be notebooks before it"
            )
        # A notebook is out of date if its input has changed: the stored numbers, for
        # the overview, or the networks that another notebook trains.
        read = [fingerprint_of(plans[name], *readers, plan) for name in plan.call.after]
        chosen = json.dumps(given, sort_keys=True, default=str) if given else ""
        return _digest(
            [plan.path],
            library,
            numbers if "stored" in plan.known else "",
            chosen,
            *read,
        )

    # Each task has a hash of its input, the file that it writes, and the call that
    # writes the file.
    tasks = {
        name: (fingerprint_of(plan), results / "numbers" / f"{name}.json", plan.call)
        for name, plan in sorted(plans.items())
    }
    train_anew = partial(pretrained.train_again, cache=build / "trained")
    for name, minutes in (
        SAMPLE.items() if profile == "standard" and only is None and not given else ()
    ):
        folder = results / "networks"
        call = scheduler.Call(train_anew, (name, folder), minutes=minutes)
        tasks[f"{name}, trained anew"] = library, folder / f"{name}.npz", call
    calls = {}
    for name, (fingerprint, made, call) in tasks.items():
        if done.get(name) == fingerprint and made.exists():
            log(
                f"{name}: finished by an earlier run, unchanged since (remove {build.name}/ to run it again)"
            )
        else:
            calls[name] = call
    failures = []
    for name, error in scheduler.run(calls, log):
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
    """A notebook to run, with the defaults of its parameters and the call that runs it.

    The call comes after the calls of the notebooks whose networks this notebook reads.
    """

    path: Path
    known: dict[str, str]
    call: scheduler.Call


def _plan(
    path: Path, results: Path, build: Path, profile: str, parameters: Mapping[str, Any]
) -> _Plan:
    """Plan the run of a notebook.

    The notebook at `path` gets `parameters`, the results folder and, if it has these parameters, `retrain` and the
    folder of cached trainings in `build`. In a full run, the notebook's metadata name the notebooks whose networks
    it reads and its running time in minutes.
    """
    known, about = (
        notebook_parameters(path),
        read_json(path)["metadata"].get("paperlib", {}),
    )
    full = profile == "full" and "retrain" in known
    offered = {"retrain": full, "cache": str(build / "trained")}
    given = {
        "results": str(results),
        **{name: value for name, value in offered.items() if name in known},
        **parameters,
    }
    reads, minutes = (
        (about.get("reads", []), about.get("minutes", 0)) if full else ([], 0)
    )
    reads = [notebooks(path.parent, name)[0].stem for name in reads]
    arguments = (path, results / "notebooks" / path.name, given)
    return _Plan(
        path, known, scheduler.Call(run_notebook, arguments, tuple(reads), minutes)
    )


def _digest(paths: Iterable[Path], *more: str) -> str:
    """Return a hash of the names and contents of files, and of the texts `more`.

    Only the source of a notebook's cells is hashed, because its stored outputs do not affect a run.
    """
    total = hashlib.sha256("".join(more).encode())
    for path in paths:
        total.update(path.name.encode())
        if path.suffix == ".ipynb":
            cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
            total.update("\0".join("".join(cell["source"]) for cell in cells).encode())
        else:
            total.update(path.read_bytes())
    return total.hexdigest()
