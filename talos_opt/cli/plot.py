"""``talos-opt plot``: a schedule as a Gantt chart."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from talos_opt.cli import arguments, exits, schedules
from talos_opt.cli.output import complain, emit_written
from talos_opt.cli.progress import ProgressBar
from talos_opt.cli.signals import Signals

if TYPE_CHECKING:
    from talos_opt.formats.schedule import ScheduleFile
    from talos_opt.reports.view import View

#: Suffixes of pictures, and of pages.
PICTURES, PAGES = (".png", ".svg", ".pdf"), (".html", ".htm")

#: Widths of a picture, in inches.
NARROWEST, WIDEST = 6.0, 60.0

#: Arguments that say how the graph is read, and how an error names them.
_OF_GRAPH = {
    "cluster": "--cluster",
    "objective": "--objective",
    "memory_rule": "--memory-rule",
    "stages": "--stages",
    "use_all": "--use-all",
    "pipeline": "--pipeline",
    "source_format": "--from",
}


def add_parser(commands: Any) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "plot",
        help="draw a schedule as a Gantt chart",
        description="Draw a schedule: a lane for each slot of each device, ops coloured by model, "
        "transfers as thin bars on lanes of the links, idle time hatched, memory over time under "
        "it, and the critical path framed.",
        epilog="Without the graph, memory and the critical path cannot be drawn, and a device "
        "has as many lanes as it has overlapping ops.",
        allow_abbrev=False,
    )
    arguments.add_graph_and_schedule(parser)
    arguments.add_target(
        parser,
        "file to draw into: .png, .svg or .pdf, or .html for a page to zoom and search in; - "
        "writes PNG to standard output (default: the schedule's name with .png)",
    )
    arguments.add_json(parser, "what was drawn")
    arguments.add_problem(parser)
    arguments.add_format(parser)
    parser.add_argument(
        "--width",
        type=_width,
        metavar="INCHES",
        help="width of a picture, 150 dots to the inch (default: 12); a wider one shows "
        "more of a large schedule",
    )
    parser.set_defaults(run=run)


def _width(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not NARROWEST <= value <= WIDEST:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a width in inches, expected {NARROWEST:g} to {WIDEST:g}"
        )
    return value


def run(args: argparse.Namespace, signals: Signals) -> int:
    """Draw a schedule and return the exit code."""
    from talos_opt.cli import files
    from talos_opt.core.errors import InputError
    from talos_opt.formats.source import STREAM, split_suffix
    from talos_opt.reports.style import require_matplotlib

    args.graph = schedules.graph_of(args)
    target = args.output
    if target is None:
        target = split_suffix(args.schedule)[0] + PICTURES[0]
        args.output = target
    files.require_target(args, PICTURES + PAGES, packed=False)
    page = Path(target).suffix.lower() in PAGES
    if target == STREAM and sys.stdout.isatty():
        raise InputError("standard output is a terminal, expected a file or a pipe for a picture")
    if not page:
        require_matplotlib()
    elif args.width is not None:
        raise InputError("--width is for pictures: a page is as wide as its window")
    with ProgressBar() as bar:
        bar.show(0.0, "reading")
        view = _read_view(args, *schedules.open_schedules([args.schedule]))
        bar.show(0.5, "drawing")
        _write(view, target, page=page, width=args.width)
    if view.facts.get("broken_rules"):
        complain(
            "note: the schedule is not feasible, so no critical path is drawn; "
            "talos-opt check names each broken rule"
        )
    ops, moves = len(view.op_names), len(view.transfer_op)
    facts = {"ops": ops, "transfers": moves, "devices": len(view.devices)}
    emit_written(args, facts)
    return exits.SOLVED


def _read_view(args: argparse.Namespace, file: ScheduleFile) -> View:
    from talos_opt.core.errors import InputError
    from talos_opt.reports.view import view_of, view_of_document

    stated = file.document
    if args.graph is None:
        for name, argument in _OF_GRAPH.items():
            if getattr(args, name) is not None:
                raise InputError(f"{argument} says how the graph is read: it needs GRAPH")
        try:
            return view_of_document(stated)
        except InputError as error:
            raise error.located(source=args.schedule) from None
    problem = schedules.read_graph(args, args.graph, file)
    schedule = file.schedule(problem)
    schedules.note_other_graph(problem, file)
    try:
        return view_of(problem, schedule, stated)
    except InputError as error:
        raise error.located(source=args.schedule) from None


def _write(view: View, target: str, *, page: bool, width: float | None) -> None:
    if page:
        from talos_opt.reports.page import write_gantt_page

        write_gantt_page(view, target)
        return
    from talos_opt.reports.gantt import WIDTH, write_gantt

    write_gantt(view, target, width=WIDTH if width is None else width)
