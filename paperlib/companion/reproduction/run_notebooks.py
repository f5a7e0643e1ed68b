"""Run notebooks without a browser, and write their results to a build folder.

An interrupted run continues with the notebooks that it has not finished. Each notebook
runs in a kernel that uses this Python interpreter, in deterministic mode if the machine
supports it. Settings of IPython, Jupyter and matplotlib in the user's home directory do
not affect the kernel.
"""

import hashlib
import json
import os
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
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
    "standard": "run with pretrained networks, and train two ensembles again",
    "full": "train every network again",
    "quick": "run with pretrained networks, without any training",
}
# The ensembles that the standard profile trains again, with their training times in
# minutes. The first is trained with derivatives, the second on values alone.
SAMPLE = {"signed": 1.0, "scattering_lengths": 1.0}

# Environment variables that change the output of cells: the backend of plots, start-up
# files and warning filters.
_REMOVED = ("MPLBACKEND", "PYTHONSTARTUP", "PYTHONWARNINGS")
# The largest number of characters in the path of the folder where the folder of
# sockets is created. The system allows 107 for the path of a socket.
_MAX_PATH = 60


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
        The paths of the files NN_NAME.ipynb, where NN are two digits, sorted by name.

    Raises
    ------
    FileNotFoundError
        If the folder has no such file, or none whose name begins with `only`.

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
    beginning = "" if only is None else validation.instance("only", only, str)
    paths = sorted(folder.glob("[0-9][0-9]_*.ipynb"))
    chosen = [path for path in paths if path.stem.startswith(beginning)]
    if not paths:
        raise FileNotFoundError(
            f"{folder}: must have a notebook with a name such as 01_name.ipynb"
        )
    if not chosen:
        numbers = ", ".join(path.stem[:2] for path in paths)
        raise FileNotFoundError(
            f"only = {validation.brief(only)}: must begin the name of a notebook in "
            f"{folder}; the notebooks are {numbers}"
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

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> from nbformat import v4, write
    >>> cell = v4.new_code_cell("d = 4", metadata={"tags": ["parameters"]})
    >>> kernel = {"name": "python3", "display_name": "", "language": "python"}
    >>> notebook = v4.new_notebook(cells=[cell], metadata={"kernelspec": kernel})
    >>> with TemporaryDirectory() as folder:
    ...     path = Path(folder) / "01_one.ipynb"
    ...     write(notebook, path)
    ...     notebook_parameters(path)
    {'d': '4'}
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
        The variables of this process and, if the machine supports it, of deterministic
        mode. MPLBACKEND, PYTHONSTARTUP and PYTHONWARNINGS are left out, because they
        change the output of cells. IPYTHONDIR is `folder`, and MATPLOTLIBRC is
        matplotlib's own file of defaults.
    """
    import matplotlib

    variables = determinism.environment(os.environ)
    for name in _REMOVED:
        variables.pop(name, None)
    return variables | {
        "IPYTHONDIR": str(folder),
        "MATPLOTLIBRC": str(Path(matplotlib.get_data_path()) / "matplotlibrc"),
    }


@contextmanager
def isolated_kernel() -> Iterator[dict[str, Any]]:
    """Provide the options with which papermill starts an isolated kernel.

    Yields
    ------
    dict
        Keyword arguments of ``papermill.execute_notebook``. The folder for the kernel's
        temporary files exists until the context ends.
    """
    from jupyter_client.kernelspec import KernelSpecManager
    from jupyter_client.manager import AsyncKernelManager

    places = (tempfile.gettempdir(), "/tmp", "/var/tmp")
    short = [place for place in places if len(place) <= _MAX_PATH]
    parent = next((place for place in short if os.access(place, os.W_OK)), None)
    with tempfile.TemporaryDirectory(dir=parent) as folder:
        # Jupyter chooses free ports for a kernel and releases them before the kernel
        # binds them. If two kernels start at the same time, one may bind a port chosen
        # for the other. Socket files in a folder for one kernel avoid this conflict.
        sockets = {}
        if parent:
            sockets = {"transport": "ipc", "ip": str(Path(folder) / "kernel")}

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

        yield {
            "kernel_name": "python3",
            "kernel_manager_class": Kernel,
            # The kernel is ended by an interrupt. Its message about the interrupt would
            # hide the relevant output.
            "extra_arguments": ["--IPKernelApp.log_level=CRITICAL"],
        }


def run_notebook(
    path: str | Path, output: str | Path, parameters: Mapping[str, Any]
) -> None:
    """Run one notebook in its own folder, and write the executed copy.

    Parameters
    ----------
    path : path
        The notebook.
    output : path
        The executed copy to write. After a run without errors, an HTML page of the same
        name is written beside it.
    parameters : mapping of str to object
        Values that replace the defaults of the notebook's parameters.

    Raises
    ------
    FileNotFoundError
        If the notebook does not exist.
    ValueError
        If `parameters` has a name that is not a parameter of the notebook. (papermill
        alone would only warn.)
    RuntimeError
        If a cell raises an error. The message names the notebook and the error. The
        executed copy ends at this cell.

    Examples
    --------
    >>> run_notebook("01_missing.ipynb", "executed.ipynb", {})
    Traceback (most recent call last):
    ...
    FileNotFoundError: 01_missing.ipynb: no such notebook
    """
    import papermill
    from nbconvert import HTMLExporter

    path, output = Path(path), Path(output)
    allowed = notebook_parameters(path)
    for name in parameters:
        validation.choice(f"{path.name}: parameter", name, allowed)
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
        part.write_text(HTMLExporter().from_filename(str(output))[0], "utf-8")


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

    A notebook that an earlier run has finished is skipped if the notebook, its
    parameters, the code of the checkout's packages, and the results and networks that
    it reads have not changed since then.

    Parameters
    ----------
    root : path
        The checkout, with the folder `notebooks` and the packages that they import.
    build : path
        The folder for executed notebooks, results and trained networks.
    profile : str
        In the profiles "standard" and "quick", the notebooks use the pretrained
        networks. "standard" also trains two ensembles again, provided that neither
        `only` nor `parameters` is given. In the profile "full", the notebooks train
        every network again.
    only : str, optional
        The beginning of the names of the chosen notebooks, such as "02". In the profile
        "full", the notebooks whose networks they read are run too.
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
    FileNotFoundError
        If the checkout has no notebook, or none whose name begins with `only`.
    ValueError
        If `profile` is none of the three names, or if notebooks read each other's
        networks in a cycle.

    Examples
    --------
    >>> reproduce(".", "build", profile="slow")
    Traceback (most recent call last):
    ...
    ValueError: profile = 'slow': must be one of 'standard', 'full', 'quick'
    """
    root = validation.path("root", root).resolve()
    build = validation.path("build", build).resolve()
    validation.choice("profile", profile, tuple(PROFILES))
    parameters = dict(parameters or {})
    plan = _Plan(root, build, profile, parameters)
    for path in notebooks(root / "notebooks", only):
        if parameters.keys() <= notebook_parameters(path).keys():
            plan.add(path)
    tasks = [plan.tasks[name] for name in sorted(plan.tasks)]
    if profile == "standard" and only is None and not parameters:
        tasks += plan.trainings()
    _run(tasks, plan.results / "done.json", log)
    return plan.results


@dataclass(frozen=True)
class Task:
    """A call that is skipped if an earlier run has finished it with this fingerprint.

    Parameters
    ----------
    name : str
        The name of the task in lines of progress and in done.json.
    fingerprint : str
        A hash of everything on which the results of the call depend. When the call has
        ended without an error, done.json in the results folder stores it by `name`.
    file : Path
        One of the files that the call writes. The call is skipped only if this file
        exists.
    call : scheduler.Call
        The call.
    """

    name: str
    fingerprint: str
    file: Path
    call: scheduler.Call


class _Plan:
    """Collect the tasks of one run of `reproduce`.

    Parameters
    ----------
    root : Path
        The checkout.
    build : Path
        The folder for executed notebooks, results and trained networks.
    profile : str
        "standard", "full" or "quick".
    parameters : dict of str to object
        Values of parameters for all notebooks.

    Attributes
    ----------
    results : Path
        The results folder, BUILD/PROFILE.
    tasks : dict of str to Task
        The task of each notebook by its name. It starts empty, and `add` fills it. It
        does not contain the tasks that `trainings` returns.
    """

    def __init__(
        self, root: Path, build: Path, profile: str, parameters: dict[str, Any]
    ) -> None:
        self.results = build / profile
        self.tasks: dict[str, Task] = {}
        self._cache = build / "trained"
        self._full = profile == "full"
        self._parameters = parameters
        code: list[Path] = []
        for package in root.glob("*/__init__.py"):
            code += package.parent.rglob("*.py")
            code += package.parent.rglob("*.npz")
        self._code = _digest(sorted(code))
        self._stored = _digest(sorted((root / "figures").rglob("*.json")))

    def add(self, path: Path, readers: tuple[Path, ...] = ()) -> Task:
        """Add the task of a notebook to `tasks`, and return it.

        In the profile "full", the tasks of the notebooks whose networks this one reads
        are added too. The notebook's metadata name these notebooks (`reads`) and its
        running time (`minutes`). `readers` are the notebooks that read the networks of
        this one, directly or through others. Raise a ValueError if `path` itself is
        among them.
        """
        name = path.stem
        if path in readers:
            raise ValueError(
                f"{path.name}: `reads` leads back to the notebook itself; "
                "must name notebooks that do not read its networks"
            )
        if name in self.tasks:
            return self.tasks[name]
        defaults = notebook_parameters(path)
        full = self._full and "retrain" in defaults
        offered = {"retrain": full, "cache": str(self._cache)}
        values: dict[str, Any] = {"results": str(self.results)}
        values |= {key: value for key, value in offered.items() if key in defaults}
        values |= self._parameters
        about = read_json(path)["metadata"].get("paperlib", {}) if full else {}
        read = [
            self.add(notebooks(path.parent, beginning)[0], (*readers, path))
            for beginning in about.get("reads", [])
        ]
        # A notebook is out of date if its input has changed: the stored numbers, for
        # the overview, or the networks that another notebook trains.
        inputs = [self._code, json.dumps(self._parameters, sort_keys=True, default=str)]
        inputs += [self._stored] if "stored" in defaults else []
        inputs += [task.fingerprint for task in read]
        file = self.results / "numbers" / f"{name}.json"
        arguments = path, self.results / "notebooks" / path.name, values
        after = [task.name for task in read]
        call = scheduler.Call(run_notebook, arguments, after, about.get("minutes", 0))
        self.tasks[name] = Task(name, _digest([path], *inputs), file, call)
        return self.tasks[name]

    def trainings(self) -> list[Task]:
        """Return one task for each ensemble of SAMPLE, which trains it again.

        A task writes the ensemble to RESULTS/networks/NAME.npz. Its fingerprint covers
        the code and the pretrained networks of the packages in the checkout.
        """
        train = partial(pretrained.train_again, cache=self._cache)
        folder = self.results / "networks"
        tasks = []
        for name, minutes in SAMPLE.items():
            call = scheduler.Call(train, (name, folder), minutes=minutes)
            file = folder / f"{name}.npz"
            tasks.append(Task(f"{name}, trained again", self._code, file, call))
        return tasks


def _run(tasks: Sequence[Task], done_path: Path, log: Callable[[str], Any]) -> None:
    """Run the tasks that an earlier run has not finished with the same fingerprint.

    The JSON file `done_path` has the fingerprint of each finished task by its name. It
    is written after each task. A task is run too if its `file` is missing. `log`
    receives lines of progress. If tasks fail, the tasks that do not depend on them are
    still run. Then the error of the task that failed first is raised.
    """
    done = read_json(done_path) if done_path.exists() else {}
    fingerprints = {}
    calls = {}
    for task in tasks:
        if done.get(task.name) == task.fingerprint and task.file.exists():
            log(
                f"{task.name}: finished by an earlier run, unchanged since "
                f"(remove {done_path.parent} to run it again)"
            )
        else:
            fingerprints[task.name] = task.fingerprint
            calls[task.name] = task.call
    errors = []
    for name, error in scheduler.run(calls, log):
        if error:
            errors.append(error)
        else:
            done[name] = fingerprints[name]
            write_json(done_path, done)
    if errors:
        raise errors[0]


def _digest(paths: Iterable[Path], *texts: str) -> str:
    """Return the SHA-256 hash of texts, and of the names and contents of files.

    Names are hashed without their folders. Of a notebook, only the source of its cells
    is hashed, because its stored outputs do not affect a run.
    """
    total = hashlib.sha256("".join(texts).encode())
    for path in paths:
        total.update(path.name.encode())
        if path.suffix == ".ipynb":
            cells = json.loads(path.read_text("utf-8"))["cells"]
            total.update("\0".join("".join(cell["source"]) for cell in cells).encode())
        else:
            total.update(path.read_bytes())
    return total.hexdigest()
