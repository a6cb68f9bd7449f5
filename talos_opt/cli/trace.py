"""``talos-opt trace``: a schedule as a trace that Perfetto shows."""

from __future__ import annotations

import argparse
from typing import Any

from talos_opt.cli import arguments, exits
from talos_opt.cli.output import emit
from talos_opt.cli.signals import Signals


def add_parser(commands: Any) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "trace",
        help="write a schedule as a Chrome trace, for Perfetto",
        description="Write a schedule as a Chrome trace, which ui.perfetto.dev and "
        "chrome://tracing open: a row for each slot of each device, rows for the transfers of "
        "each link, and arrows from the op that makes a tensor over its transfer to the first op "
        "that reads it.",
        allow_abbrev=False,
    )
    parser.add_argument("graph", metavar="GRAPH", help="graph file; - reads standard input")
    parser.add_argument(
        "schedule", metavar="SCHEDULE", help="talos-schedule/1 file, or its columns (.npz)"
    )
    parser.add_argument(
        "-o",
        "--output",
        metavar="FILE",
        required=True,
        help="file to write the trace to: .json or .json.gz; - writes to standard output",
    )
    arguments.add_problem(parser)
    arguments.add_format(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace, signals: Signals) -> int:
    """Write the trace of a schedule and return the exit code."""
    from talos_opt.cli import files, schedules
    from talos_opt.formats.chrome_trace import write_schedule_trace
    from talos_opt.formats.source import STREAM

    if args.output != STREAM:
        files.require_writable(args.output, (".json",))
    (file,) = schedules.open_schedules([args.schedule])
    problem = schedules.read_graph(args, args.graph, file)
    schedule = file.schedule(problem)
    schedules.note_other_graph(problem, file)
    write_schedule_trace(problem, schedule, args.output)
    if args.output != STREAM:
        ops, moves = problem.graph.op_count, len(schedule.transfers)
        emit(f"{args.output}: {ops} ops, {moves} transfers, {len(problem.device_ids)} devices")
    return exits.SOLVED
