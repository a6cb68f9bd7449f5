"""``talos-opt sweep``: run a study, and show what came of it."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from talos_opt.cli import arguments, exits
from talos_opt.cli.output import complain, emit, emit_json, tell_who_waits
from talos_opt.cli.progress import ProgressBar
from talos_opt.cli.signals import Signals
from talos_opt.reports.texts.tables import quantity

if TYPE_CHECKING:
    from talos_opt.studies.running import Tally
    from talos_opt.tasks.sweeping import Swept

SHOW = "show"


def add_parser(commands: Any) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "sweep",
        help="run a study of many cases, and show its results",
        usage="%(prog)s STUDY [options], or %(prog)s show DATABASE [options]",
        description="Solve all cases of a study, graphs x clusters x objectives x solvers x seeds "
        "x parameters, in processes, and keep each result in a database as soon as there is one. "
        "The same command again goes on where it ended. `show` prints what is in the database.",
        epilog="docs/studies.md describes studies and databases.",
        allow_abbrev=False,
    )
    parser.add_argument("study", metavar="STUDY", help="study file (show: its database)")
    run_only = parser.add_argument_group("to run a study")
    run_only.add_argument(
        "--workers",
        type=arguments.count,
        metavar="N",
        help="processes, which share the cores (default: what the study says, or one for every "
        "four cores); with --dask local, workers",
    )
    arguments.add_dask(run_only, "solve the cases")
    run_only.add_argument(
        "--retry", action="store_true", help="solve cases that failed before once more"
    )
    arguments.add_target(
        parser,
        "database of the results (default: the study's name with .db); with show --case, the "
        "schedule's file",
    )
    show_only = parser.add_argument_group("to show its results")
    show_only.add_argument(
        "--by",
        type=arguments.names,
        metavar="NAME,NAME",
        help="a line for each value of these parameters, or of graph, cluster, objective, solver "
        "or seed, instead of each case",
    )
    show_only.add_argument("--csv", metavar="FILE", help="write the lines to this file as CSV")
    show_only.add_argument(
        "--plot",
        metavar="FILE",
        help="draw price against value, and a map over two parameters (those of --by, or the "
        "first two), into this file: .png, .svg or .pdf",
    )
    show_only.add_argument(
        "--case",
        type=arguments.count,
        metavar="N",
        help="write the schedule of this case to the file of -o",
    )
    arguments.add_json(parser, "the result")
    arguments.add_log(parser)
    parser.set_defaults(run=run, show=False)
    _take_show(parser)


def _take_show(parser: argparse.ArgumentParser) -> None:
    """Let the word ``show`` come before the file, with options wherever the user puts them."""
    plain = parser.parse_known_args

    def parse(args: Any = None, namespace: Any = None) -> Any:
        shown = bool(args) and args[0] == SHOW
        found, rest = plain(args[1:] if shown else args, namespace)
        found.show = shown
        return found, rest

    parser.parse_known_args = parse  # type: ignore[method-assign]


def run(args: argparse.Namespace, signals: Signals) -> int:
    """Run a study or show its results; return the exit code."""
    wrong = ("workers", "dask", "retry") if args.show else ("by", "csv", "plot", "case")
    for name in wrong:
        if getattr(args, name):
            from talos_opt.core.errors import InputError

            raise InputError(
                f"--{name} is for {'running' if args.show else 'showing'} a study: talos-opt sweep "
                f"{'STUDY' if args.show else 'show DATABASE'} --{name}"
            )
    if args.show:
        from talos_opt.cli.sweep_show import show

        return show(args)
    return _solve(args, signals)


def _solve(args: argparse.Namespace, signals: Signals) -> int:
    from talos_opt.cli import files
    from talos_opt.studies.study import read_study
    from talos_opt.tasks.sweeping import database_of, sweep

    study = read_study(args.study)
    files.require_writable(database_of(study, args.output), ())
    with ProgressBar() as bar:
        found = signals.run(
            lambda: sweep(
                study,
                args.output,
                workers=args.workers,
                dask=args.dask,
                retry=args.retry,
                on_workers=lambda count: tell_who_waits(count, args.dask),
                on_progress=lambda tally: bar.report(*_progress(tally, dask=bool(args.dask))),
                cancel=signals.cancel,
            ),
            bar.draw,
            "what is finished",
        )
    return _report(args, found, interrupted=signals.interrupted)


def _progress(tally: Tally, *, dask: bool) -> tuple[float, str]:
    left = tally.total - tally.done
    text = f"{tally.done} of {tally.total} cases"
    if dask:
        text += f", {tally.workers} at a time" if tally.workers else ", no worker yet"
    if tally.failed:
        text += f", {tally.failed} failed"
    if tally.solved and left:
        text += f", about {quantity(round(left * tally.elapsed_s / tally.solved), 's')} left"
    return (tally.done / tally.total, text)


def _report(args: argparse.Namespace, found: Swept, *, interrupted: bool) -> int:
    import json

    tally = found.tally
    if args.json:
        document = {
            "schema": "talos-written/1", "command": "sweep", "output": found.database,
            "cases": found.cases, "solved_now": tally.solved, "statuses": found.statuses,
            "elapsed_s": tally.elapsed_s, "solve_s": tally.solve_s, "interrupted": interrupted,
        }  # fmt: skip
        emit_json(json.dumps(document, indent=1))
    else:
        listed = ", ".join(f"{count} {status}" for status, count in found.statuses.items())
        emit(f"{found.database}: {found.cases} cases ({listed})")
        emit(
            f"{tally.solved} solved now in {quantity(round(tally.elapsed_s, 2), 's')}; "
            f"talos-opt sweep show {found.database} prints them"
        )
    if interrupted:
        complain("note: interrupted; the same command goes on with the cases that are left")
        return exits.INTERRUPTED
    return exits.SOLVED if found.complete else exits.NO_SCHEDULE
