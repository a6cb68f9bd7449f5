"""``talos-opt trace``: a schedule as a trace that Perfetto shows."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from talos_opt.cli import arguments, exits
from talos_opt.cli.output import complain, emit_written
from talos_opt.cli.signals import Signals

if TYPE_CHECKING:
    from talos_opt.core.problem import Problem
    from talos_opt.core.schedule import Schedule


def add_parser(commands: Any) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "trace",
        help="write a schedule as a Chrome trace, for Perfetto",
        description="Write a schedule as a Chrome trace, which ui.perfetto.dev and "
        "chrome://tracing open: a row for each slot of each device, rows for the transfers of "
        "each link, arrows from the op that makes a tensor over its transfer to the first op that "
        "reads it, memory as a counter, the critical path as a row, and marks where models are "
        "released and done.",
        allow_abbrev=False,
    )
    arguments.add_graph(parser)
    arguments.add_schedule(parser)
    arguments.add_target(
        parser,
        "file to write the trace to: .json or .json.gz; - writes to standard output",
        required=True,
    )
    arguments.add_json(parser, "what was written")
    arguments.add_problem(parser)
    arguments.add_format(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace, signals: Signals) -> int:
    """Write the trace of a schedule and return the exit code."""
    from talos_opt.cli import files, schedules
    from talos_opt.formats.chrome_trace import write_schedule_trace

    files.require_target(args, (".json",))
    (file,) = schedules.open_schedules([args.schedule])
    problem = schedules.read_graph(args, args.graph, file)
    schedule = file.schedule(problem)
    schedules.note_other_graph(problem, file)
    write_schedule_trace(problem, schedule, args.output, _critical_path(problem, schedule))
    facts = {
        "ops": problem.graph.op_count,
        "transfers": len(schedule.transfers),
        "devices": len(problem.device_ids),
    }
    emit_written(args, facts)
    return exits.SOLVED


def _critical_path(problem: Problem, schedule: Schedule) -> list[tuple[int, int]]:
    """Return the ops and transfers of the critical path; empty if the schedule breaks rules."""
    from talos_opt.analysis.breakdown import break_down
    from talos_opt.core.feasibility import check

    if check(problem, schedule):
        complain(
            "note: the schedule is not feasible, so no critical path is drawn; "
            "talos-opt check names each broken rule"
        )
        return []
    return [(item.op, item.transfer) for item in break_down(problem, schedule).path.stretches]
