"""``talos-opt whatif GRAPH SCHEDULE``: what each of a few single changes would be worth."""

from __future__ import annotations

import argparse
import json
from typing import TYPE_CHECKING

from talos_opt.cli import exits, schedules
from talos_opt.cli.output import complain, emit, emit_json
from talos_opt.cli.progress import ProgressLine
from talos_opt.cli.signals import Signals
from talos_opt.reports.digits import moment
from talos_opt.reports.texts.tables import percent, quantity, table

if TYPE_CHECKING:
    from talos_opt.core.problem import Problem
    from talos_opt.core.schedule import Schedule
    from talos_opt.studies.single_changes import Help


def run(args: argparse.Namespace, signals: Signals) -> int:
    """Search for what would help, print it, and return the exit code."""
    from talos_opt.core.errors import InputError
    from talos_opt.studies.single_changes import SECONDS

    for name in ("output", "measured", "dtype"):
        if getattr(args, name) is not None:
            raise InputError(f"--{name} goes with --add or --replace, not with a schedule")
    problem, schedule = schedules.read_feasible(args, *schedules.open_schedules([args.schedule]))
    seconds = SECONDS if args.time_limit is None else args.time_limit
    found = search(
        problem, schedule, signals, solver=args.solver, seconds=seconds, seed=args.seed or 0
    )
    if args.json:
        emit_json(json.dumps(found.to_dict(), indent=1))
    else:
        emit(describe(found))
    if signals.interrupted:
        complain("interrupted: changes that were not searched are left out")
        return exits.INTERRUPTED
    return exits.SOLVED


def search(
    problem: Problem,
    schedule: Schedule,
    signals: Signals,
    *,
    solver: str,
    seconds: float,
    seed: int,
    workers: int | None = None,
) -> Help:
    """Search for what would help, with a line that says how far it is."""
    from talos_opt.core.shares import value_unit
    from talos_opt.studies.single_changes import what_would_help

    with ProgressLine(seconds) as line:
        unit = value_unit(problem)
        return signals.run(
            lambda: what_would_help(
                problem,
                schedule,
                solver=solver,
                time_limit=seconds,
                seed=seed,
                workers=workers,
                on_search=lambda k, count, name: line.begin(f"{k + 1} of {count}, {name}", unit),
                on_progress=line.update,
                cancel=signals.cancel,
            ),
            line.draw,
        )


def describe(found: Help) -> str:
    """Return the table of changes."""
    from talos_opt.core.metrics import forced_value
    from talos_opt.core.shares import value_unit

    problem = found.base.problem
    unit, name = value_unit(problem), problem.objective.value
    work = found.given - forced_value(problem)
    rows = [
        (
            item.change.label,
            item.change.why,
            "-" if item.result.value is None else moment(item.result.value, unit, work),
            moment(item.result.lower_bound, unit, work),
            quantity(item.gain, unit),
            percent(item.gain_share),
        )
        for item in found.helped
    ]
    base = (
        f"{name} {moment(found.given, unit, work)} ({problem.objective.words}); "
        f"as it is, searched for as long, {moment(found.base.value or 0.0, unit, work)}, "
        f"bound {moment(found.base.lower_bound, unit, work)}\n"
        f"each change alone, searched for {quantity(found.seconds, 's')}; more time may gain more"
    )
    if not rows:
        return f"{base}\n\nthis schedule suggests no change"
    columns = ("change", "what speaks for it", name, "bound", "gain", "share")
    return f"{base}\n\n{table(columns, rows, left=(0, 1))}"
