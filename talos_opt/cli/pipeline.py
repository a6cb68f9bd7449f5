"""``talos-opt pipeline``: a placement as a pipeline of micro-batches."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from talos_opt.cli import arguments, exits
from talos_opt.cli.output import emit, emit_json
from talos_opt.cli.signals import Signals
from talos_opt.reports.texts.tables import percent, quantity, table, visible

if TYPE_CHECKING:
    from talos_opt.core.pipelining.records import Step
    from talos_opt.core.problem import Problem
    from talos_opt.core.schedule import Schedule
    from talos_opt.formats.emit import Layout

#: How the document is spread over lines: a step, a stage or a block each.
LAYOUT: Layout = {"steps": [{"stages": [{"blocks": []}]}]}

SCHEMA = "talos-pipeline/1"

DEFAULT_MICROBATCHES = (1, 2, 4, 8, 16, 32)
DEFAULT_SCHEDULES = ("gpipe", "1f1b")


def add_parser(commands: Any) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "pipeline",
        help="step time of a placement as a pipeline of micro-batches",
        description="Take each device of a schedule for a stage, and the graph's times for those "
        "of one micro-batch. Print, for each number of micro-batches and each order of blocks, how "
        "long a step takes, which share of it stages wait, and the memory that each device needs.",
        allow_abbrev=False,
    )
    arguments.add_graph(parser)
    arguments.add_schedule(parser)
    parser.add_argument(
        "--microbatches",
        type=_counts,
        default=DEFAULT_MICROBATCHES,
        metavar="M,M",
        help="numbers of micro-batches (default: 1,2,4,8,16,32)",
    )
    parser.add_argument(
        "--schedule",
        type=arguments.names,
        default=DEFAULT_SCHEDULES,
        dest="orders",
        metavar="ORDER,ORDER",
        help="gpipe: all forward blocks, then all backward blocks; 1f1b: one of each in turn "
        "(default: both)",
    )
    arguments.add_problem(parser)
    arguments.add_format(parser)
    parser.add_argument(
        "--plot",
        metavar="FILE",
        help="draw the blocks of the fastest step that fits into this file: .png, .svg or .pdf",
    )
    arguments.add_output(parser, "the figures")
    parser.set_defaults(run=run)


def _counts(text: str) -> tuple[int, ...]:
    """Read numbers of at least 1 with commas between them."""
    return tuple(arguments.count(part.strip()) for part in text.split(","))


def run(args: argparse.Namespace, signals: Signals) -> int:
    """Work out all steps, print and write them, and return the exit code."""
    from talos_opt.cli import files
    from talos_opt.core.errors import InputError
    from talos_opt.core.pipelining.settings import PipelineSchedule
    from talos_opt.core.pipelining.step import pipeline_steps
    from talos_opt.formats.emit import lines_of
    from talos_opt.formats.source import split_suffix
    from talos_opt.formats.target import write_lines

    known = [one.value for one in PipelineSchedule]
    for name in args.orders:
        if name not in known:
            raise InputError(f"--schedule: {name!r}, expected {' or '.join(known)}")
    files.stream_as_json(args)
    files.require_writable(args.output)
    if args.plot is not None:
        from talos_opt.reports import style

        files.require_writable(args.plot, style.SUFFIXES, packed=False)
        style.require_matplotlib()
    problem, schedule = _read(args)
    found = pipeline_steps(problem, schedule, args.orders, args.microbatches)
    fastest = min(found, key=lambda step: (not step.fits, _per_microbatch(step)))
    if args.plot is not None:
        from talos_opt.reports.pipeline_plot import draw_pipeline

        style.save(draw_pipeline(problem, fastest), args.plot)
    document = {
        "schema": SCHEMA,
        "graph": problem.graph.name,
        "time_unit": problem.graph.time_unit,
        "steps": [step.to_dict(problem.device_ids) for step in found],
    }
    if args.output is not None:
        write_lines(lines_of(document, LAYOUT, split_suffix(args.output)[1]), args.output)
    if args.json:
        emit_json(files.to_json(document, LAYOUT))
    else:
        emit(describe(problem, found, fastest))
    return exits.SOLVED if fastest.fits else exits.NO_SCHEDULE


def _per_microbatch(step: Step) -> float:
    return step.time / step.microbatches


def _read(args: argparse.Namespace) -> tuple[Problem, Schedule]:
    from talos_opt.cli.schedules import note_other_graph, open_schedules, read_graph

    (file,) = open_schedules([args.schedule])
    problem = read_graph(args, args.graph, file)
    schedule = file.schedule(problem)
    note_other_graph(problem, file)
    return problem, schedule


def describe(problem: Problem, found: list[Step], fastest: Step) -> str:
    """Return the text that is printed."""
    from talos_opt.core.units import format_bytes

    unit, ids = problem.graph.time_unit, problem.device_ids
    used = fastest.stages
    rows = [
        (
            str(step.schedule),
            str(step.microbatches),
            quantity(step.time, unit),
            quantity(_per_microbatch(step), unit),
            percent(step.bubble),
            *(
                format_bytes(int(step.memory[d])) + ("" if not step.short[d] else " !")
                for d in used
            ),
        )
        for step in found
    ]
    names = [ids[d] for d in used]
    heads = ("schedule", "micro-batches", "step", "per micro-batch", "bubble", *names)
    lines = [
        f"{visible(problem.graph.name)}: {len(used)} stages, {' -> '.join(map(visible, names))}",
        "",
        table(heads, rows),
    ]
    if any(not step.fits for step in found):
        lines += ["", "!: more than the device has"]
    if fastest.fits:
        lines += [
            "",
            f"shortest per micro-batch: {fastest.schedule}, {fastest.microbatches} micro-batches",
        ]
    else:
        least = min(found, key=lambda step: int(step.short.max()))
        d = int(least.short.argmax())
        lines += [
            "",
            f"nothing fits: {least.schedule} with {least.microbatches} micro-batches comes "
            f"nearest, and {visible(ids[d])} is short of {format_bytes(int(least.short[d]))}",
        ]
    return "\n".join(lines)
