"""``talos-opt check``: whether a schedule is feasible, and worth what it says."""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from talos_opt.cli import arguments, exits, schedules
from talos_opt.cli.output import emit, visible
from talos_opt.cli.signals import Signals
from talos_opt.cli.text import number, quantity, settled
from talos_opt.core.units import describe

if TYPE_CHECKING:
    from talos_opt.core.metrics import Metrics
    from talos_opt.core.problem import Problem

#: A stated value this close to the recomputed one is the same: files may round.
TOLERANCE = 1e-6


def add_parser(commands: Any) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "check",
        help="check a schedule against its graph",
        description="Check that a schedule is a feasible answer to a graph, and that the value "
        "and the metrics that it states are those it has. Prints 'feasible' and the metrics, or "
        "each broken rule on a line of its own.",
        epilog="The exit code is 0 if the schedule is feasible and states true values, else 1.",
        allow_abbrev=False,
    )
    parser.add_argument("graph", metavar="GRAPH", help="graph file; - reads standard input")
    parser.add_argument(
        "schedule", metavar="SCHEDULE", help="talos-schedule/1 file, or its columns (.npz)"
    )
    arguments.add_problem(parser)
    arguments.add_format(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace, signals: Signals) -> int:
    """Check a schedule, print what is wrong with it or its metrics, and return the exit code."""
    from talos_opt import api
    from talos_opt.core.metrics import measure

    (file,) = schedules.open_schedules([args.schedule])
    stated = file.document
    problem = schedules.read_graph(args, args.graph, file)
    schedule = file.schedule(problem)
    schedules.note_other_graph(problem, file)
    complaints = [str(violation) for violation in api.check(problem, schedule)]
    if not complaints:
        metrics = measure(problem, schedule)
        complaints = [f"value: {text}" for text in differences(stated, problem, metrics)]
    if complaints:
        emit("\n".join(map(visible, complaints)))
        return exits.NO_SCHEDULE
    emit(f"feasible\n{_metrics(problem, metrics)}")
    return exits.SOLVED


def differences(stated: Mapping[str, Any], problem: Problem, metrics: Metrics) -> Iterator[str]:
    """Yield what a schedule file states about itself and is not so.

    Parameters
    ----------
    stated : mapping
        The talos-schedule/1 document.
    problem : Problem
    metrics : Metrics
        Recomputed from the schedule.
    """
    measured = asdict(metrics)
    objective = stated.get("objective", problem.objective.value)
    if objective in measured:
        yield from _compare("value", stated.get("value"), measured[objective])
        bound = stated.get("lower_bound")
        if (
            bound is not None
            and _is_number(bound)
            and bound > measured[objective] * (1 + TOLERANCE)
        ):
            yield f"lower_bound is stated as {number(bound)}, above the value itself"
    claimed = stated.get("metrics")
    if isinstance(claimed, Mapping):
        for name, value in claimed.items():
            if name in measured:
                yield from _compare(f"metrics.{name}", value, measured[name])


def _compare(path: str, stated: Any, measured: Any) -> Iterator[str]:
    if stated is None:  # not stated, or stated as undefined
        return
    if isinstance(stated, Mapping) and isinstance(measured, Mapping):
        for key, value in stated.items():
            if key in measured:
                yield from _compare(f"{path}.{key}", value, measured[key])
            else:
                yield f"{path}.{key} is stated, but the problem has no {key!r}"
    elif not (_is_number(stated) and _is_number(measured)):
        yield f"{path} is stated as {describe(stated)}, but is {measured!r}"
    elif not math.isclose(stated, measured, rel_tol=TOLERANCE, abs_tol=1e-9):
        yield f"{path} is stated as {number(stated)}, but is {number(measured)}"


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _metrics(problem: Problem, metrics: Metrics) -> str:
    from talos_opt.core.units import format_bytes

    unit = problem.graph.time_unit
    lines = [(name, quantity(getattr(metrics, name), unit)) for name in arguments.OBJECTIVES]
    if metrics.weighted_speedup is not None:
        over = visible(problem.cluster.reference)
        lines.append(("weighted speedup", f"{metrics.weighted_speedup:.4g} over {over}"))
    lines.append(("idle time", quantity(settled(metrics.total_idle, metrics.makespan), unit)))
    lines.append(("moved", format_bytes(metrics.transferred_bytes)))
    return "\n".join(f"{name:<16}  {value}" for name, value in lines)
