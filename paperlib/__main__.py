"""The command line: python -m paperlib list | reproduce | check | store | train | sweep."""

import argparse
import os
import sys
from pathlib import Path

from paperlib.companion import reproduction
from paperlib._support.files import read_json

__all__ = ["main"]


def _parser():
    parser = argparse.ArgumentParser(prog="python -m paperlib", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def bare(name, what, example):
        return commands.add_parser(
            name, help=what, description=what, epilog=f"example: python -m paperlib {example}", allow_abbrev=False
        )

    def command(name, what, example):
        sub = bare(name, what, example)
        sub.add_argument("--root", type=Path, default=Path.cwd(), help="the checkout (default: this folder)")
        sub.add_argument("--only", metavar="NN", help="notebooks whose name begins so, such as 02")
        return sub

    command("list", "List the notebooks, their titles and parameters.", "list --only 02")
    sub = command(
        "reproduce", "Run the notebooks, compare, and write build/report.html.", "reproduce --only 02 --profile quick"
    )
    sub.add_argument(
        "--profile",
        choices=("full", "quick"),
        default=os.environ.get("PROFILE") or "full",
        help="full trains every network anew, quick uses those that ship (default: $PROFILE, or full)",
    )
    sub.add_argument("--build", type=Path, help="where results go (default: ROOT/build)")
    for name, what in (
        ("check", "Compare the results of a run with the stored figures and numbers."),
        ("store", "Store the results of a run, after you have looked at them, in ROOT/figures."),
    ):
        sub = command(name, what, f"{name} --results build/results")
        sub.add_argument("--results", type=Path, help="the run's folder (default: ROOT/build/results)")
    what = "Train networks on a_0, order by order; write them, and say how far their tensors are from the Born series."
    sub = bare("train", what, "train mine.json --orders 2 --output mine")
    sub.add_argument(
        "config", type=Path, help='a JSON file of TrainingConfig\'s fields, such as {"d": 16, "kind": "signed"}'
    )
    sub.add_argument("--orders", type=int, default=1, help="how many orders, one ensemble each (default: 1)")
    sub.add_argument(
        "--output", type=Path, default=Path("trained"), help="a folder (default: trained); going on where it stopped"
    )
    what = (
        "Train a grid of networks on a_0 by dask, into one parquet table; a second run goes on where the first stopped."
    )
    sub = bare("sweep", what, "sweep grid.json --table widths.parquet")
    sub.add_argument(
        "grid",
        type=Path,
        help='a JSON file such as {"fixed": {"d": 16}, "grid": {"hidden": [[32], [64]], "seeds": [[0], [1]]}}',
    )
    sub.add_argument("--table", type=Path, default=Path("sweep.parquet"), help="the table (default: sweep.parquet)")
    sub.add_argument(
        "--scheduler", metavar="ADDRESS", help="a dask scheduler (default: a cluster of this machine's cores)"
    )
    return parser


def _names(options):
    if options.only is None:
        return None
    return [path.stem for path in reproduction.notebooks(options.root / "notebooks", options.only)]


def _list(options):
    for path in reproduction.notebooks(options.root / "notebooks", options.only):
        cells = read_json(path)["cells"]
        title = "".join(cells[0]["source"]).splitlines()[0].lstrip("# ")
        parameters = ", ".join(f"{k} = {v}" for k, v in reproduction.notebook_parameters(path).items())
        print(f"{path.stem}: {title}\n    parameters: {parameters or 'none'}")
    return 0


def _reproduce(options):
    build = options.build or options.root / "build"
    results = reproduction.reproduce(
        options.root, build, profile=options.profile, only=options.only, say=lambda line: print(line, flush=True)
    )
    verdicts = reproduction.compare(results, options.root / "figures", _names(options))
    reproduction.write_report(build / "report.html", verdicts, results, options.root / "figures", options.profile)
    print(f"report: {build / 'report.html'}")
    return _summary(verdicts)


def _check(options):
    results = options.results or options.root / "build" / "results"
    return _summary(reproduction.compare(results, options.root / "figures", _names(options)))


def _store(options):
    results = options.results or options.root / "build" / "results"
    for name in reproduction.store(results, options.root / "figures", _names(options)):
        print(f"stored figures/{name}")
    return 0


def _train(options):
    from paperlib.learning import perturbation, targets
    from paperlib.physics import born
    from paperlib.learning.training import TrainingConfig

    given, known = read_json(options.config), TrainingConfig.__dataclass_fields__
    if not isinstance(given, dict) or not set(given) <= set(known):
        raise ValueError(f"{options.config}: must be an object with fields among {', '.join(known)}")
    config = TrainingConfig(**given)
    series = perturbation.iterative(
        targets.scattering_length_target(), (config,) * options.orders, cache=options.output / "trained"
    )
    exact = [born.born_tensor(n, config.d) for n in range(1, options.orders + 1)]
    for k, error in enumerate(perturbation.relative_errors(series, exact)[0], 1):
        path = options.output / f"order_{k}.npz"
        series.ensembles[k - 1].save(path)
        print(f"{path}: order {k} learned with a relative error of {error:.2g}")
    return 0


def _sweep(options):
    from paperlib.learning import sweep

    sweep.sweep(sweep.read_grid(options.grid), options.table, scheduler=options.scheduler)
    return 0


def _summary(verdicts):
    for verdict in verdicts:
        if not verdict.passed:
            print(
                f"FAILED {verdict.notebook} {verdict.kind} {verdict.name}: stored {verdict.stored or '-'}, "
                f"new {verdict.new or '-'}, allowed {verdict.allowed or '-'}. {verdict.note}"
            )
    failed = sum(not verdict.passed for verdict in verdicts)
    print(f"{len(verdicts) - failed} comparisons passed, {failed} failed")
    return 1 if failed or not verdicts else 0


def main(arguments=None):
    """Run a command; return the exit status: 0, 1 where a comparison failed, 2 where the call was wrong.

    Examples
    --------
    >>> main(["list", "--root", "nowhere"])
    2
    """
    options = _parser().parse_args(arguments)
    commands = {
        "list": _list,
        "reproduce": _reproduce,
        "check": _check,
        "store": _store,
        "train": _train,
        "sweep": _sweep,
    }
    try:
        return commands[options.command](options)
    except (ValueError, OSError, ModuleNotFoundError) as error:
        print(f"paperlib {options.command}: {error}", file=sys.stderr)
        return 2
    except RuntimeError as error:
        print(f"paperlib {options.command}: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
