"""``talos-opt explain``: where time goes, why an op sits where it sits, what moves change."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from talos_opt.cli import arguments, exits, schedules
from talos_opt.cli.output import complain, emit, emit_json
from talos_opt.cli.signals import Signals

if TYPE_CHECKING:
    from talos_opt.analysis.breakdown import Breakdown
    from talos_opt.analysis.explanation import Explanation
    from talos_opt.analysis.module_stay import ModuleStay
    from talos_opt.core.problem import Problem
    from talos_opt.core.schedule import Schedule
    from talos_opt.formats.emit import Layout

#: The same of a document about a module.
MODULE: Layout = {"devices": [], "parts": [], "ops": []}

#: How the document is spread over lines: an input, a device or a step each.
LAYOUT: Layout = {
    "inputs": [],
    "meanwhile": [],
    "prices": [],
    "moves": [],
    "before": [],
    "after": [],
}


def add_parser(commands: Any) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "explain",
        help="explain where the time of a schedule goes, or why an op is where it is",
        description="Without OP, show where the time goes: what each device does and waits for, "
        "the critical path, when each model is done, and what weighs most. With OP, show where it "
        "ran and when, what it waited for, Talos' price of each device (Eq. 4), what the objective "
        "becomes if the op moves, and the chain of ops that it is part of. A move takes the ops "
        "colocated with it along, leaves all others on their devices, and is simulated with ops "
        "in the order of their starts. With MODULE, show on which devices its ops are, when they "
        "run, what is moved for them, and how much later they may start.",
        allow_abbrev=False,
    )
    arguments.add_graph(parser)
    arguments.add_schedule(parser)
    parser.add_argument(
        "op",
        metavar="OP|MODULE",
        nargs="?",
        help="MODEL/OP, or OP alone if no other op has that id; or a module where ops name theirs, "
        "such as transformer.h.0.mlp or transformer.h.*.mlp (default: the whole schedule)",
    )
    parser.add_argument(
        "--move", metavar="DEVICE", help="write the schedule with the op on this device to -o FILE"
    )
    arguments.add_target(
        parser, "file to write the moved schedule to; - writes JSON to standard output, alone"
    )
    arguments.add_json(parser, "the explanation")
    arguments.add_problem(parser)
    arguments.add_format(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace, signals: Signals) -> int:
    """Explain a schedule, an op or a module, write what a move makes, return the exit code."""
    from talos_opt.analysis.explanation import Explanation
    from talos_opt.cli import files
    from talos_opt.cli.progress import ProgressBar
    from talos_opt.formats.source import STREAM
    from talos_opt.tasks.explaining import explain

    _require_target(args)
    problem, schedule = schedules.read_feasible(args, *schedules.open_schedules([args.schedule]))
    target = None if args.move is None else _target(problem, schedule, args.op, args.move)
    with ProgressBar() as bar:
        bar.show(0.0, "what waited for what")
        found = explain(problem, schedule, args.op, on_progress=bar.show)
    written = None
    if target is not None and isinstance(found, Explanation):
        written = _write(found, target, args.output)
    if args.json:
        emit_json(files.to_json(found.to_dict(), _layout(found)))
    elif args.output != STREAM:
        emit(_text(found) + (f"\n\nwritten to {args.output}" if written else ""))
    if written is False and isinstance(found, Explanation):
        reason = next(move.reason for move in found.moves if move.device == target)
        complain(f"{args.output} is not written: {reason}")
        return exits.NO_SCHEDULE
    return exits.SOLVED


def _text(found: Breakdown | Explanation | ModuleStay) -> str:
    from talos_opt.analysis.breakdown import Breakdown
    from talos_opt.analysis.module_stay import ModuleStay
    from talos_opt.cli import explained, explained_module
    from talos_opt.reports.texts import breakdown

    if isinstance(found, Breakdown):
        return breakdown.tell(found)
    return explained_module.tell(found) if isinstance(found, ModuleStay) else explained.tell(found)


def _layout(found: Breakdown | Explanation | ModuleStay) -> Layout:
    from talos_opt.analysis.breakdown import Breakdown
    from talos_opt.analysis.module_stay import ModuleStay
    from talos_opt.formats.emit import BREAKDOWN

    if isinstance(found, Breakdown):
        return BREAKDOWN
    return MODULE if isinstance(found, ModuleStay) else LAYOUT


def _require_target(args: argparse.Namespace) -> None:
    from talos_opt.cli import files
    from talos_opt.core.errors import InputError

    if args.move is not None and args.op is None:
        raise InputError("--move moves an op: it needs OP")
    if args.move is not None and args.output is None:
        raise InputError("--move makes a schedule: it needs -o FILE to write it to")
    if args.output is not None and args.move is None:
        raise InputError("-o writes the schedule after a move: it needs --move DEVICE")
    files.require_target(args, (*files.SUFFIXES, ".npz"))


def _target(problem: Problem, schedule: Schedule, what: str, name: str) -> int:
    from talos_opt.core.errors import InputError
    from talos_opt.tasks.explaining import is_op

    if not is_op(problem, what):
        raise InputError(f"--move moves an op, and {what!r} is not the name of one")
    op = problem.find_op(what)
    if name not in problem.device_ids:
        raise InputError(
            f"--move names the unknown device {name!r}, expected one of "
            f"{', '.join(problem.device_ids)}"
        )
    device = problem.device_ids.index(name)
    if device == schedule.device[op]:
        raise InputError(f"--move names {name}, where {problem.names[op]} already is")
    return device


def _write(found: Explanation, target: int, output: str) -> bool:
    """Write the schedule after a move; False if the move leads to none."""
    from talos_opt import formats
    from talos_opt.analysis.moves import MoveError, moved
    from talos_opt.core.feasibility import require_feasible
    from talos_opt.core.result import Result, Status

    problem, op = found.problem, found.op
    try:
        schedule = moved(problem, found.schedule, op, target)
    except MoveError:
        return False
    require_feasible(problem, schedule)
    ids = problem.device_ids
    note = f"{problem.names[op]} moved from {ids[found.schedule.device[op]]} to {ids[target]}"
    result = Result(
        problem=problem,
        status=Status.FEASIBLE,
        schedule=schedule,
        lower_bound=0.0,  # nothing was proven here
        solver="explain",
        notes=(note,),
    )
    formats.write_schedule(result, output)
    return True
