"""``talos-opt trace``: a schedule as a trace that Perfetto shows."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from talos_opt.cli import arguments, exits
from talos_opt.cli.output import complain, emit_written
from talos_opt.cli.signals import Signals

if TYPE_CHECKING:
    pass


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
    from talos_opt.tasks.drawing import write_trace

    files.require_target(args, (".json",))
    (file,) = schedules.open_schedules([args.schedule])
    problem = schedules.read_graph(args, args.graph, file)
    schedule = file.schedule(problem)
    schedules.note_other_graph(problem, file)
    if not write_trace(problem, schedule, args.output):
        complain(
            "note: the schedule is not feasible, so no critical path is drawn; "
            "talos-opt check names each broken rule"
        )
    facts = {
        "ops": problem.graph.op_count,
        "transfers": len(schedule.transfers),
        "devices": len(problem.device_ids),
    }
    emit_written(args, facts)
    return exits.SOLVED
