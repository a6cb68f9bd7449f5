"""``talos-opt speedups``: how much faster each op type runs on one device than on another."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from talos_opt.cli import arguments, exits
from talos_opt.cli.output import complain, emit, emit_json
from talos_opt.cli.signals import Signals
from talos_opt.cli.traces import add_skip, details, figures, notes
from talos_opt.reports.texts.tables import visible

if TYPE_CHECKING:
    from talos_opt.analysis.speedups import LeftOver, Row, Speedups
    from talos_opt.formats.emit import Layout
    from talos_opt.formats.trace_reader import Trace

#: How the document is spread over lines: an op type, an op or a pair each.
LAYOUT: Layout = {
    "reference": {"left_over": []},
    "other": {"left_over": []},
    "types": [],
    "ops": [],
    "pairs": [],
}


def add_parser(commands: Any) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "speedups",
        help="compare two traces of a model, one per device, op type by op type",
        description="Read two Chrome traces of one model, each from a run on one device, align "
        "their ops by name and order, and print the speedup of each op type: its time on the "
        "reference over its time on the other. Only outermost ops count; in a trace with kernels "
        "an op takes as long as the kernels that it launched. Where a trace marks several steps, "
        "times are means over them.",
        allow_abbrev=False,
    )
    for name, what in (("reference", "reference device"), ("other", "other device")):
        parser.add_argument(
            name,
            metavar=f"{name.upper()}_TRACE",
            help=f"trace of the {what}: torch.profiler's, TensorFlow's or 'talos-opt trace''s, "
            "as JSON, or packed as .gz",
        )
        parser.add_argument(
            f"--{name}-process",
            metavar="NAME",
            help=f"process of the {what}'s trace to read, where it holds ops of several: its "
            "name, its number or a part of its name",
        )
    add_skip(parser)
    parser.add_argument(
        "--top",
        type=arguments.count,
        metavar="N",
        help="print only the N op types that take longest on the reference",
    )
    arguments.add_output(parser, "the speedups")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace, signals: Signals) -> int:
    """Compare two traces, print the table and return the exit code."""
    from talos_opt.cli import files
    from talos_opt.formats.chrome_trace import read_trace
    from talos_opt.formats.emit import lines_of
    from talos_opt.formats.source import split_suffix
    from talos_opt.formats.target import write_lines
    from talos_opt.tasks.traces import compare_traces

    files.stream_as_json(args)
    files.require_writable(args.output)
    reference = read_trace(args.reference, process=args.reference_process)
    other = read_trace(args.other, process=args.other_process)
    skip = args.skip_steps
    found = compare_traces(reference, other, skip=skip)
    document = found.to_dict()
    for side, trace in (("reference", reference), ("other", other)):
        document[side] = {"trace": trace.source, **figures(trace, skip), **document[side]}
    if args.output is not None:
        lines = lines_of(document, LAYOUT, split_suffix(args.output)[1])
        write_lines(lines, args.output)
    if args.json:
        emit_json(files.to_json(document, LAYOUT))
    else:
        emit(_text(found, (reference, other), args.top, skip))
    for trace in (reference, other):
        for note in notes(trace, skip):
            complain(f"note: {trace.source}: {note}")
    if not found.pairs:
        complain("note: the traces have no op in common")
    return exits.SOLVED


def _text(found: Speedups, traces: Sequence[Trace], top: int | None, skip: int) -> str:
    from talos_opt.reports.texts.tables import table

    shown = found.types if top is None else found.types[:top]
    lines = [f"{len(found.pairs)} ops aligned, speedup {_ratio(found.speedup)}"]
    sides = (
        ("reference", found.reference_us, found.reference_coverage),
        ("other", found.other_us, found.other_coverage),
    )
    for trace, (side, total, coverage) in zip(traces, sides, strict=True):
        lines.append(f"{side:<9}  {_side(trace, total, coverage, skip)}")
        lines += [f"{'':<9}  {detail}" for detail in details(trace, skip)]
    lines += [
        "",
        table(
            ("op type", "count", "reference", "other", "speedup", "spread"),
            [_cells(row) for row in shown],
        ),
    ]
    hidden = len(found.types) - len(shown)
    if hidden:
        lines.append(f"and {hidden} more op types")
    for side, left in (("reference", found.left_reference), ("other", found.left_other)):
        if left:
            lines.append(f"only on the {side}: {_left(left)}")
    return "\n".join(lines)


def _side(trace: Trace, total: float, coverage: float, skip: int) -> str:
    from talos_opt.reports.texts.tables import percent, quantity
    from talos_opt.tasks.traces import one_step

    count = len(one_step(trace, skip))
    spent = quantity(total, "us") + (" a step" if trace.steps else "")
    timed = ", time of kernels" if trace.kernels else ""
    aligned = f"{percent(coverage)} of it aligned{timed}"
    return f"{visible(trace.source)}: {count} ops, {spent}, {aligned}"


def _cells(row: Row) -> Sequence[str]:
    from talos_opt.reports.texts.tables import percent, quantity

    return (
        row.name,
        str(row.count),
        quantity(row.reference_us, "us"),
        quantity(row.other_us, "us"),
        _ratio(row.speedup),
        percent(row.spread),
    )


def _ratio(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"


def _left(left: Sequence[LeftOver]) -> str:
    from talos_opt.reports.texts.tables import quantity

    listed = [
        f"{visible(item.name)} x {item.count} ({quantity(item.total_us, 'us')})"
        for item in left[:5]
    ]
    more = len(left) - len(listed)
    return ", ".join(listed) + (f", and {more} more" if more else "")
