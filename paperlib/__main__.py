"""Reproduce the paper's figures and numbers, and train networks."""

import os
import sys
import time
from argparse import REMAINDER, ArgumentParser, Namespace
from collections.abc import Sequence
from io import TextIOWrapper
from pathlib import Path
from typing import Any

from paperlib._support import determinism
from paperlib._support.files import read_json
from paperlib.companion import pretrained, reproduction
from paperlib.companion.reproduction import Verdict

# Commands that train networks, or run notebooks that do, restart in deterministic mode.
TRAINING = ("reproduce", "seed-variation", "train", "sweep")


def _parser() -> ArgumentParser:
    """Return the parser of the command line, python -m paperlib COMMAND."""
    parser = ArgumentParser(prog="python -m paperlib", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    options = _checkout_options() | _training_options()
    for run, names, example in _COMMANDS:
        # The docstring of the function describes the command, and the example begins
        # with its name.
        description = str(run.__doc__)
        command = commands.add_parser(
            example.split()[0],
            help=description.splitlines()[0],
            description=description,
            epilog=f"example: python -m paperlib {example}",
            allow_abbrev=False,
        )
        command.set_defaults(run=run)
        if run is _deterministic:  # argparse would show only "..."
            command.usage = "%(prog)s [-h] [COMMAND ...]"
        for name in names.split():
            command.add_argument(name, **options[name])
    return parser


def _checkout_options() -> dict[str, dict[str, Any]]:
    """Return the keyword arguments of `add_argument` for each option, by its name.

    These are the options for checkouts and for runs of notebooks.
    """
    profiles = reproduction.PROFILES
    texts = [f"{name}: {text}" for name, text in profiles.items()]
    return {
        "--root": {
            "type": Path,
            "default": Path.cwd(),
            "help": "the checkout (default: this folder)",
        },
        "--only": {
            "metavar": "NN",
            "help": "the beginning of the names of the notebooks, such as 02 "
            "(default: all notebooks)",
        },
        "--profile": {
            "choices": tuple(profiles),
            "default": os.environ.get("PROFILE") or "standard",
            "help": f"{'; '.join(texts)} (default: $PROFILE, or standard)",
        },
        "--build": {
            "type": Path,
            "help": "the folder for all results; an interrupted run in it is continued "
            "(default: ROOT/build)",
        },
        "--results": {
            "type": Path,
            "help": "the results of a run, such as build/standard after reproduce "
            "(default: ROOT/build/results, where notebooks that are run by hand "
            "write)",
        },
        "--trainings": {
            "type": int,
            "default": reproduction.seed_variation.TRAININGS,
            "help": "the number of trainings, at least 2 (default: %(default)s)",
        },
    }


def _training_options() -> dict[str, dict[str, Any]]:
    """Return the keyword arguments of `add_argument` for each option, by its name.

    These are the options and arguments of the commands train, sweep and deterministic.
    """
    return {
        "config": {
            "type": Path,
            "help": "a JSON file with fields of TrainingConfig, such as "
            '{"d": 16, "sampling": "signed"}; other fields have their defaults',
        },
        "--orders": {
            "type": int,
            "default": 1,
            "help": "the number of orders to learn, each with an ensemble of networks "
            "(default: %(default)s)",
        },
        "--output": {
            "type": Path,
            "default": "trained",
            "help": "the folder for all results; an interrupted run in it is continued "
            "(default: %(default)s)",
        },
        "grid": {
            "type": Path,
            "help": 'a JSON file such as {"fixed": {"d": 16}, '
            '"grid": {"hidden": [[32], [64]], "seeds": [[0], [1]]}}: every combination '
            "of the lists in grid is trained, here 2 times 2, with the values in "
            "fixed; names are fields of TrainingConfig, protocol or orders",
        },
        "--table": {
            "type": Path,
            "default": "sweep.parquet",
            "help": "the table to write or to continue (default: %(default)s)",
        },
        "--scheduler": {
            "metavar": "ADDRESS",
            "help": "the address of a dask scheduler (default: a new cluster of this "
            "machine's cores)",
        },
        "command_line": {
            "nargs": REMAINDER,
            "metavar": "COMMAND ...",
            "help": "the command to run, with its arguments",
        },
    }


def _log(line: str) -> None:
    """Print a line at once, so that progress is visible."""
    print(line, flush=True)


def _names(options: Namespace) -> list[str] | None:
    """Return the names of the notebooks that --only selects, or None without --only."""
    if options.only is None:
        return None
    paths = reproduction.notebooks(options.root / "notebooks", options.only)
    return [path.stem for path in paths]


def _results(options: Namespace) -> Path:
    """Return the folder of --results, by default ROOT/build/results."""
    return options.results or options.root / "build" / "results"


def _list(options: Namespace) -> int:
    """List the notebooks, their titles and parameters.

    A parameter is shown with its default value. With --only, the notebooks are those
    whose names begin with NN.
    """
    for path in reproduction.notebooks(options.root / "notebooks", options.only):
        heading = "".join(read_json(path)["cells"][0]["source"]).splitlines()[0]
        parameters = ", ".join(
            f"{name} = {value}"
            for name, value in reproduction.notebook_parameters(path).items()
        )
        print(f"{path.stem}: {heading.lstrip('# ')}")
        print(f"    parameters: {parameters or 'none'}")
    return 0


def _reproduce(options: Namespace) -> int:
    """Run the notebooks, compare their results, and write BUILD/report.html.

    The results are written to BUILD/PROFILE, such as build/standard, and compared with
    the stored figures, numbers and claims. With --only in the profile standard, no
    ensemble is trained again.
    """
    started = time.monotonic()
    build = options.build or options.root / "build"
    stored = options.root / "figures"
    results = reproduction.reproduce(
        options.root, build, profile=options.profile, only=options.only, log=_log
    )
    verdicts = reproduction.compare(results, stored, _names(options))
    networks = reproduction.compare_networks(results)
    seconds = time.monotonic() - started
    facts = reproduction.provenance(options.root, options.profile, seconds, networks)
    report = build / "report.html"
    reproduction.write_report(report, [*networks, *verdicts], results, stored, facts)
    print(f"networks: {facts['networks']}\nreport: {report}")
    return _summary(verdicts)


def _check(options: Namespace) -> int:
    """Compare the results of a run with the stored figures, numbers and claims.

    The stored results are in ROOT/figures.
    """
    stored = options.root / "figures"
    return _summary(reproduction.compare(_results(options), stored, _names(options)))


def _store(options: Namespace) -> int:
    """Store the figures and numbers of a run in ROOT/figures.

    The verdicts on claims are stored too. Without --only, newly trained networks of the
    run replace the pretrained networks. Look at the new figures before you store them.
    """
    results, stored = _results(options), options.root / "figures"
    for name in reproduction.store(results, stored, _names(options)):
        print(f"stored figures/{name}")
    if (stored / reproduction.claims.CLAIMS).exists():
        readme = options.root / "README.md"
        page = readme if readme.exists() else None
        for claim in reproduction.write_claims(stored, page):
            print(f"claim {claim.id}: {claim.because}")
    if (results / "networks").exists() and options.only is None:
        for path in pretrained.ship(results / "networks"):
            print(f"stored the pretrained networks {path.name}")
    return 0


def _seed_variation(options: Namespace) -> int:
    """Train all networks again with other seeds, and store the variation of numbers.

    This takes hours. For every number that depends on a training, the values over all
    trainings are written to ROOT/figures/seed_variation.json.
    """
    build = options.build or options.root / "build"
    variation = reproduction.measure_seed_variation(
        options.root, build, options.trainings, log=_log
    )
    count = sum(map(len, variation.values()))
    print(
        f"stored figures/seed_variation.json: {count} numbers "
        f"of {len(variation)} notebooks"
    )
    return 0


def _train(options: Namespace) -> int:
    """Train networks on a_0, order by order, and compare them with the Born series.

    a_0 is the scattering length. For each order N, the ensemble of networks is written
    to OUTPUT/order_N.npz, and the relative error of the learned Born tensor of order N
    is printed.
    """
    from paperlib.learning import perturbation, targets
    from paperlib.learning.config import TrainingConfig
    from paperlib.physics import born

    config = TrainingConfig.from_json(options.config, read_json(options.config))
    target, cache = targets.scattering_length_target(), options.output / "trained"
    exact = [born.born_tensor(n, config.d) for n in range(1, options.orders + 1)]
    series, (errors, _) = perturbation.learn(target, config, exact, "iterative", cache)
    for order, ensemble in enumerate(series.ensembles, 1):
        path = options.output / f"order_{order}.npz"
        ensemble.save(path)
        error = errors[order - 1]
        print(f"{path}: order {order} learned with a relative error of {error:.2g}")
    return 0


def _sweep(options: Namespace) -> int:
    """Train a grid of networks on a_0 with dask, and write a parquet table.

    a_0 is the scattering length. The table has one row for each training of the grid. A
    second run with the same table continues where the first run stopped.
    """
    from paperlib.learning import sweep

    grid = sweep.read_grid(options.grid)
    sweep.sweep(grid, options.table, scheduler=options.scheduler)
    return 0


def _deterministic(options: Namespace) -> int:
    """Run a command in deterministic mode.

    In deterministic mode, trainings give the same bits on every machine that supports
    the mode. Without COMMAND, the environment variables of the mode are printed.
    """
    if options.command_line:
        determinism.become(options.command_line)
    for name, value in determinism.FIXED.items():
        print(f"{name}={value}\n    {determinism.WHY[name]}")
    return 0


def _summary(verdicts: list[Verdict]) -> int:
    """Print the failed comparisons, and the numbers of passed and failed comparisons.

    Return the exit status: 0, or 1 if a comparison failed or nothing was compared.
    """
    failed = [verdict for verdict in verdicts if not verdict.passed]
    for verdict in failed:
        print(
            f"FAILED {verdict.notebook} {verdict.kind} {verdict.name}: "
            f"stored {verdict.stored or '-'}, new {verdict.new or '-'}, "
            f"allowed {verdict.allowed or '-'}. {verdict.note}"
        )
    print(f"{len(verdicts) - len(failed)} comparisons passed, {len(failed)} failed")
    return 1 if failed or not verdicts else 0


# The function of each command, its options, and an example.
_COMMANDS = [
    (_list, "--root --only", "list --only 02"),
    (
        _reproduce,
        "--root --only --profile --build",
        "reproduce --only 02 --profile quick",
    ),
    (_check, "--root --only --results", "check --results build/results"),
    (_store, "--root --only --results", "store --results build/results"),
    (_seed_variation, "--root --build --trainings", "seed-variation --trainings 8"),
    (_train, "config --orders --output", "train mine.json --orders 2 --output mine"),
    (_sweep, "grid --table --scheduler", "sweep grid.json --table widths.parquet"),
    (_deterministic, "command_line", "deterministic jupyter lab notebooks"),
]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit status.

    The status is 0 on success. It is 1 if a comparison fails, if nothing is compared,
    if a control of a claim passes its threshold, or if the command raises a
    RuntimeError, such as the error of a notebook. It is 2 if the command raises another
    ValueError, an OSError or a ModuleNotFoundError, for instance after an invalid
    option. Errors are printed to stderr.

    Parameters
    ----------
    arguments : sequence of str, optional
        The command and its options. The default is the arguments of this process.

    Returns
    -------
    int
        The exit status.

    Raises
    ------
    SystemExit
        If the arguments cannot be parsed (status 2), or if they request the help text
        (status 0).

    Examples
    --------
    >>> main(["list", "--root", "nowhere"])
    2
    """
    options = _parser().parse_args(arguments)
    # A character that the terminal cannot encode is replaced.
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="replace")
    try:
        return int(options.run(options))
    except (ValueError, OSError, ModuleNotFoundError, RuntimeError) as error:
        print(f"paperlib {options.command}: {error}", file=sys.stderr)
        return 1 if isinstance(error, RuntimeError | reproduction.ControlError) else 2


def start() -> None:
    """Run the command of this process' arguments, and exit with its status.

    If the command trains networks, or runs notebooks that do, the process is first
    restarted in deterministic mode.

    Raises
    ------
    SystemExit
        Always, with the status that `main` returns.
    """
    if sys.argv[1:2] and sys.argv[1] in TRAINING:
        determinism.restart()
    sys.exit(main())


if __name__ == "__main__":
    start()
