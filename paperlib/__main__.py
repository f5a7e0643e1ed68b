"""The command line: python -m paperlib list | reproduce | check | store | seed-variation | train | sweep | determinism."""

import os
import sys
import time
from argparse import REMAINDER, ArgumentParser, Namespace
from collections.abc import Callable, Sequence
from io import TextIOWrapper
from pathlib import Path

from paperlib._support import determinism
from paperlib._support.files import read_json
from paperlib.companion import pretrained, reproduction
from paperlib.companion.reproduction import Verdict

# Commands that train networks, or run notebooks that do, restart in deterministic mode.
TRAINING = ("reproduce", "seed-variation", "train", "sweep")


def _parser() -> ArgumentParser:
    """Return the parser of the command line. A command's help text is the docstring of its function."""
    parser = ArgumentParser(prog="python -m paperlib", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def command(run: Callable[[Namespace], int], example: str) -> ArgumentParser:
        """Add a command, named by the first word of its example."""
        what, end = run.__doc__, f"example: python -m paperlib {example}"
        sub = commands.add_parser(
            example.split()[0],
            help=what,
            description=what,
            epilog=end,
            allow_abbrev=False,
        )
        sub.set_defaults(run=run)
        return sub

    def of_a_checkout(
        run: Callable[[Namespace], int], example: str, *, only: bool = True
    ) -> ArgumentParser:
        """Add a command with the option --root and, unless `only` is false, the option --only."""
        sub = command(run, example)
        sub.add_argument(
            "--root",
            type=Path,
            default=Path.cwd(),
            help="the checkout (default: this folder)",
        )
        if only:
            sub.add_argument(
                "--only",
                metavar="NN",
                help="notebooks whose name begins so, such as 02",
            )
        return sub

    of_a_checkout(_list, "list --only 02")
    sub = of_a_checkout(_reproduce, "reproduce --only 02 --profile quick")
    profiles = "; ".join(
        f"{name}: {text}" for name, text in reproduction.PROFILES.items()
    )
    sub.add_argument(
        "--profile",
        choices=tuple(reproduction.PROFILES),
        default=os.environ.get("PROFILE") or "standard",
        help=f"{profiles} (default: $PROFILE, or standard)",
    )
    sub.add_argument(
        "--build", type=Path, help="where results go (default: ROOT/build)"
    )
    for run, name in ((_check, "check"), (_store, "store")):
        sub = of_a_checkout(run, f"{name} --results build/results")
        sub.add_argument(
            "--results",
            type=Path,
            help="the run's folder (default: ROOT/build/results)",
        )
    sub = of_a_checkout(_seed_variation, "seed-variation --trainings 8", only=False)
    sub.add_argument(
        "--build", type=Path, help="where results go, to go on in (default: ROOT/build)"
    )
    default = reproduction.seed_variation.TRAININGS
    sub.add_argument(
        "--trainings", type=int, default=default, help=f"how many (default: {default})"
    )
    sub = command(_train, "train mine.json --orders 2 --output mine")
    sub.add_argument(
        "config",
        type=Path,
        help='JSON of TrainingConfig\'s fields, such as {"d": 16, "sampling": "signed"}',
    )
    sub.add_argument(
        "--orders",
        type=int,
        default=1,
        help="how many orders, one ensemble each (default: 1)",
    )
    sub.add_argument(
        "--output",
        type=Path,
        default=Path("trained"),
        help="a folder (default: trained), to go on in",
    )
    sub = command(_sweep, "sweep grid.json --table widths.parquet")
    what = 'a JSON file such as {"fixed": {"d": 16}, "grid": {"hidden": [[32], [64]], "seeds": [[0], [1]]}}'
    sub.add_argument("grid", type=Path, help=what)
    sub.add_argument(
        "--table",
        type=Path,
        default=Path("sweep.parquet"),
        help="the table (default: sweep.parquet)",
    )
    sub.add_argument(
        "--scheduler",
        metavar="ADDRESS",
        help="of dask (default: a cluster of this machine's cores)",
    )
    sub = command(_deterministic, "deterministic jupyter lab notebooks")
    sub.add_argument(
        "command_line", nargs=REMAINDER, metavar="COMMAND ...", help="what to run"
    )
    return parser


def _log(line: str) -> None:
    """Print a line at once, so that progress is visible."""
    print(line, flush=True)


def _names(options: Namespace) -> list[str] | None:
    """Return the names of the notebooks that --only selects, or None for all."""
    if options.only is None:
        return None
    return [
        path.stem
        for path in reproduction.notebooks(options.root / "notebooks", options.only)
    ]


def _list(options: Namespace) -> int:
    """List the notebooks, their titles and parameters."""
    for path in reproduction.notebooks(options.root / "notebooks", options.only):
        cells = read_json(path)["cells"]
        title = "".join(cells[0]["source"]).splitlines()[0].lstrip("# ")
        parameters = ", ".join(
            f"{k} = {v}" for k, v in reproduction.notebook_parameters(path).items()
        )
        print(f"{path.stem}: {title}\n    parameters: {parameters or 'none'}")
    return 0


def _reproduce(options: Namespace) -> int:
    """Run the notebooks, compare, and write build/report.html."""
    build, stored, started = (
        options.build or options.root / "build",
        options.root / "figures",
        time.monotonic(),
    )
    results = reproduction.reproduce(
        options.root, build, profile=options.profile, only=options.only, log=_log
    )
    verdicts = reproduction.compare(results, stored, _names(options))
    networks = reproduction.compare_networks(results)
    facts = reproduction.provenance(
        options.root, options.profile, time.monotonic() - started, networks
    )
    reproduction.write_report(
        build / "report.html", [*networks, *verdicts], results, stored, facts
    )
    print(f"networks: {facts['networks']}\nreport: {build / 'report.html'}")
    return _summary(verdicts)


def _check(options: Namespace) -> int:
    """Compare the results of a run with the stored figures and numbers."""
    results = options.results or options.root / "build" / "results"
    return _summary(
        reproduction.compare(results, options.root / "figures", _names(options))
    )


def _store(options: Namespace) -> int:
    """Store the results of a run, after you have looked at them, in ROOT/figures."""
    results = options.results or options.root / "build" / "results"
    for name in reproduction.store(results, options.root / "figures", _names(options)):
        print(f"stored figures/{name}")
    if (options.root / "figures" / reproduction.claims.CLAIMS).exists():
        readme = options.root / "README.md"
        for claim in reproduction.write_claims(
            options.root / "figures", readme if readme.exists() else None
        ):
            print(f"claim {claim.id} {claim.because}")
    if (results / "networks").exists() and options.only is None:
        for path in pretrained.ship(results / "networks"):
            print(f"ships {path.name}")
    return 0


def _seed_variation(options: Namespace) -> int:
    """Retrain everything with other seeds, in an hour and a half, and write how far its numbers lie apart
    to figures/seed_variation.json.
    """
    build = options.build or options.root / "build"
    measured = reproduction.measure_seed_variation(
        options.root, build, options.trainings, log=_log
    )
    print(
        f"stored figures/seed_variation.json: {sum(map(len, measured.values()))} numbers of {len(measured)} notebooks"
    )
    return 0


def _train(options: Namespace) -> int:
    """Train networks on a_0, order by order; write them, and say how far their tensors are from the Born series."""
    from paperlib.learning import perturbation, targets
    from paperlib.learning.config import TrainingConfig
    from paperlib.physics import born

    config = TrainingConfig.from_json(options.config, read_json(options.config))
    target, cache = targets.scattering_length_target(), options.output / "trained"
    series = perturbation.iterative(target, (config,) * options.orders, cache=cache)
    exact = [born.born_tensor(n, config.d) for n in range(1, options.orders + 1)]
    for k, error in enumerate(perturbation.relative_errors(series, exact)[0], 1):
        path = options.output / f"order_{k}.npz"
        series.ensembles[k - 1].save(path)
        print(f"{path}: order {k} learned with a relative error of {error:.2g}")
    return 0


def _sweep(options: Namespace) -> int:
    """Train a grid of networks on a_0 by dask, into a parquet table; a second run goes on where the first stopped."""
    from paperlib.learning import sweep

    sweep.sweep(
        sweep.read_grid(options.grid), options.table, scheduler=options.scheduler
    )
    return 0


def _deterministic(options: Namespace) -> int:
    """Run a command in the one arithmetic, in which trainings give the same bits everywhere; alone, show what it fixes."""
    if not options.command_line:
        print(
            "\n".join(
                f"{name}={value}\n    {determinism.WHY[name]}"
                for name, value in determinism.FIXED.items()
            )
        )
        return 0
    determinism.become(options.command_line)


def _summary(verdicts: list[Verdict]) -> int:
    """Print failed comparisons and the counts; return 0, or 1 if one failed or none was made."""
    failed = [verdict for verdict in verdicts if not verdict.passed]
    for verdict in failed:
        print(
            f"FAILED {verdict.notebook} {verdict.kind} {verdict.name}: stored {verdict.stored or '-'}, "
            f"new {verdict.new or '-'}, allowed {verdict.allowed or '-'}. {verdict.note}"
        )
    print(f"{len(verdicts) - len(failed)} comparisons passed, {len(failed)} failed")
    return 1 if failed or not verdicts else 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit status.

    The status is 0 on success, 1 if a comparison fails or the command raises a
    RuntimeError, and 2 if it raises a ValueError, an OSError or a ModuleNotFoundError,
    for instance after an invalid call.

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
        If the arguments cannot be parsed, or if they request the help text.

    Examples
    --------
    >>> main(["list", "--root", "nowhere"])
    2
    """
    options = _parser().parse_args(arguments)
    # A character that the terminal cannot encode is replaced
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="replace")
    try:
        return int(options.run(options))
    except (ValueError, OSError, ModuleNotFoundError, RuntimeError) as error:
        print(f"paperlib {options.command}: {error}", file=sys.stderr)
        return 1 if isinstance(error, RuntimeError) else 2


def start() -> None:
    """Run the command of this process' arguments, and exit with its status.

    Commands that train networks are restarted in deterministic mode first.

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
