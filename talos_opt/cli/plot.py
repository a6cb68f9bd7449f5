"""``talos-opt plot``: a schedule as a Gantt chart."""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from talos_opt.cli import arguments, exits, schedules
from talos_opt.cli.output import complain, emit_written
from talos_opt.cli.progress import ProgressBar
from talos_opt.cli.signals import Signals

if TYPE_CHECKING:
    from talos_opt.core.pipelining.records import Step
    from talos_opt.formats.schedule import ScheduleFile
    from talos_opt.reports.gantt import Options
    from talos_opt.reports.view import View

#: Suffixes of pictures, and of pages.
PICTURES, PAGES = (".png", ".svg", ".pdf"), (".html", ".htm")

#: Widths of a picture, in inches.
NARROWEST, WIDEST = 6.0, 60.0

#: Dots per inch of a picture.
COARSEST, FINEST = 50.0, 600.0

#: What ops can be coloured by: `reports.colouring.COLOUR_BY`.
COLOURS = ("model", "type", "slack")

#: Options that pictures have and pages do not, beside the width.
OF_PICTURES = (
    "dpi", "from_time", "to_time", "devices", "models", "colour_by", "no_fold", "no_memory", "dark",
    "search",
)  # fmt: skip

#: A time with or without its unit.
_TIME = re.compile(r"\s*([-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)\s*(s|ms|us|ns)?\s*")

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
        "op type or slack, transfers as thin bars on lanes of the links, idle time hatched, memory "
        "over time under it, and the critical path framed.",
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
    _add_choices(parser)
    parser.set_defaults(run=run)


def _add_choices(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--width",
        type=lambda text: _number(text, "a width in inches", NARROWEST, WIDEST),
        metavar="INCHES",
        help="width of a picture (default: 12); a wider one shows more of a large schedule",
    )
    parser.add_argument(
        "--dpi",
        type=lambda text: _number(text, "a number of dots per inch", COARSEST, FINEST),
        metavar="DOTS",
        help="dots per inch of a picture (default: 150)",
    )
    for name, which in (("--from-time", "start"), ("--to-time", "end")):
        parser.add_argument(
            name,
            type=_time,
            metavar="TIME",
            help=f"{which} of the time that a picture shows: 20ms, 1.5s, or a number in the "
            "graph's unit (default: all)",
        )
    parser.add_argument(
        "--devices",
        type=arguments.names,
        metavar="ID,ID",
        help="draw only these devices, by id or by kind, and the links between them",
    )
    parser.add_argument(
        "--models",
        type=arguments.names,
        metavar="ID,ID",
        help="only these models have colours; the ops of others are pale",
    )
    parser.add_argument(
        "--colour-by",
        choices=COLOURS,
        help="what the colours of ops stand for: their model, their op type, or how much later "
        "they may start before the objective grows (default: model)",
    )
    parser.add_argument(
        "--no-fold",
        action="store_true",
        help="draw every device: above 16 devices, kinds of at least 4 have one lane each",
    )
    parser.add_argument("--no-memory", action="store_true", help="leave memory out of a picture")
    parser.add_argument("--dark", action="store_true", help="light lines and text on dark paper")
    parser.add_argument(
        "--search",
        action="store_true",
        help="draw the search that found the schedule instead: best value and bound over time",
    )


def _number(text: str, what: str, least: float, most: float) -> float:
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not least <= value <= most:
        raise argparse.ArgumentTypeError(f"{text!r} is not {what}, expected {least:g} to {most:g}")
    return value


def _time(text: str) -> tuple[float, str]:
    """Read a time: its number, and its unit or ''."""
    found = _TIME.fullmatch(text)
    if found is None:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a time, expected a number, with or without s, ms, us or ns"
        )
    return float(found[1]), found[2] or ""


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
    else:
        _refuse_for_pages(args)
    if args.search:
        return _draw_search(args)
    with ProgressBar() as bar:
        bar.show(0.0, "reading")
        view, step = _read_view(args, *schedules.open_schedules([args.schedule]))
        bar.show(0.5, "drawing")
        view = _write(view, step, args, page=page)
    if view.facts.get("broken_rules"):
        complain(
            "note: the schedule is not feasible, so no critical path is drawn; "
            "talos-opt check names each broken rule"
        )
    ops, moves = len(view.op_names), len(view.transfer_op)
    facts = {"ops": ops, "transfers": moves, "devices": len(view.devices)}
    emit_written(args, facts)
    return exits.SOLVED


def _refuse_for_pages(args: argparse.Namespace) -> None:
    """Refuse what only pictures have: readers of a page choose it there."""
    from talos_opt.core.errors import InputError

    if args.width is not None:
        raise InputError("--width is for pictures: a page is as wide as its window")
    for name in (
        "dpi",
        "from_time",
        "to_time",
        "devices",
        "models",
        "colour_by",
        "no_fold",
        "no_memory",
        "dark",
        "search",
    ):
        if getattr(args, name) not in (None, False):
            raise InputError(
                f"--{name.replace('_', '-')} is for pictures, expected a file of "
                f"{', '.join(PICTURES)}"
            )


def _draw_search(args: argparse.Namespace) -> int:
    """Draw the history of a schedule's search."""
    from talos_opt.core.errors import InputError
    from talos_opt.reports import style
    from talos_opt.reports.search_plot import draw_search

    (file,) = schedules.open_schedules([args.schedule])
    unit = "" if file.document.get("objective") == "memory" else file.document.get("time_unit", "")
    theme = style.DARK if args.dark else style.LIGHT
    try:
        drawing = draw_search(file.document, str(unit), theme)
    except InputError as error:
        raise error.located(source=args.schedule) from None
    style.save(drawing, args.output, dpi=args.dpi or style.DPI)
    emit_written(args, {"events": len(file.document["history"])})
    return exits.SOLVED


def _read_view(args: argparse.Namespace, file: ScheduleFile) -> tuple[View, Step | None]:
    """Return what is drawn, and a step of it where the problem is a pipeline."""
    from talos_opt.core.errors import InputError
    from talos_opt.reports.view import view_of, view_of_document
    from talos_opt.tasks.drawing import step_of

    stated = file.document
    if args.graph is None:
        for name, argument in _OF_GRAPH.items():
            if getattr(args, name) is not None:
                raise InputError(f"{argument} says how the graph is read: it needs GRAPH")
        try:
            return view_of_document(stated), None
        except InputError as error:
            raise error.located(source=args.schedule) from None
    problem = schedules.read_graph(args, args.graph, file)
    schedule = file.schedule(problem)
    schedules.note_other_graph(problem, file)
    try:
        view = view_of(problem, schedule, stated)
    except InputError as error:
        raise error.located(source=args.schedule) from None
    step, why_not = step_of(problem, schedule)
    if why_not:
        complain(f"note: the step of the pipeline is not drawn: {why_not}")
    return view, step


def _write(view: View, step: Step | None, args: argparse.Namespace, *, page: bool) -> View:
    """Write a page, or a picture of what is asked for; return what is in it."""
    from talos_opt.reports.page import write_gantt_page
    from talos_opt.tasks.drawing import draw

    if page:
        write_gantt_page(view, args.output)
        return view
    options = _options(args, view)
    return draw(view, args.output, args.devices, options, dpi=args.dpi, step=step)


def _options(args: argparse.Namespace, view: View) -> Options:
    from talos_opt.core.errors import InputError
    from talos_opt.core.units import PER_SECOND
    from talos_opt.reports.gantt import WIDTH, Options
    from talos_opt.reports.style import DARK, LIGHT

    def in_unit(time: tuple[float, str] | None) -> float | None:
        if time is None:
            return None
        value, unit = time
        if not unit or unit == view.time_unit:
            return value
        if view.time_unit not in PER_SECOND:
            raise InputError(f"the schedule states no time unit, expected a time without {unit!r}")
        # Rounded: 20 ms are 0.02 s, not a little more.
        per_second = {"ns": 1e9, **PER_SECOND}[unit]
        return float(f"{value * PER_SECOND[view.time_unit] / per_second:.15g}")

    return Options(
        width=args.width or WIDTH,
        start=in_unit(args.from_time),
        end=in_unit(args.to_time),
        models=None if args.models is None else tuple(args.models),
        memory=not args.no_memory,
        theme=DARK if args.dark else LIGHT,
        colour_by=args.colour_by or COLOURS[0],
        fold=not args.no_fold,
    )
