"""``talos-opt analyze``: what the speedups of a graph's models say before anything is solved."""

from __future__ import annotations

import argparse
import math
from typing import TYPE_CHECKING

from talos_opt.cli import arguments, exits
from talos_opt.cli.output import complain, emit, emit_json
from talos_opt.cli.progress import ProgressBar
from talos_opt.cli.signals import Signals

if TYPE_CHECKING:
    from typing import Any

    from talos_opt.tasks.analyzing import Analysis

#: Pairs of models that are compared unless more are asked for: those of a hundred models.
MOST_PAIRS = 5000


def add_parser(commands: Any) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "analyze",
        help="speedups, affinity and packing of a graph's models, before anything is solved",
        description="Print how much faster the ops of each model run on one device kind than on "
        "another, which ops cost most, how alike the models are, and how many ops are left after "
        "Talos' packing. Speedup is the time on the reference over the time on the other; an "
        "average is total over total.",
        allow_abbrev=False,
    )
    arguments.add_graph(parser)
    arguments.add_cluster(parser)
    arguments.add_format(parser)
    parser.add_argument(
        "--models",
        type=arguments.names,
        metavar="PATTERN,PATTERN",
        help="only the models whose ids match, such as 'bert*' (default: all)",
    )
    parser.add_argument(
        "--reference",
        metavar="DEVICE",
        help="device kind or id that speedups refer to (default: the cluster's reference)",
    )
    parser.add_argument(
        "--other",
        metavar="DEVICE",
        help="device kind or id that is compared with it (default: the first other kind)",
    )
    parser.add_argument(
        "--sv",
        type=_ranges,
        metavar="LOW-HIGH,LOW-HIGH",
        help="packing: multiples of the first op's speedup within which ops merge",
    )
    parser.add_argument(
        "--tv",
        type=_times,
        metavar="TIME,TIME",
        help="packing: reference times that a pack may reach, in the graph's unit (default for "
        "both: the settings of Talos' Table IV)",
    )
    parser.add_argument(
        "--top",
        type=arguments.count,
        metavar="N",
        help="print the N ops of each model that cost most (default: 10)",
    )
    parser.add_argument(
        "--pairs",
        type=arguments.count,
        default=MOST_PAIRS,
        metavar="N",
        help=f"compare at most N pairs of models (default: {MOST_PAIRS}); if there are more, "
        "alike models are represented by one of them, then those that take longest are chosen",
    )
    parser.add_argument(
        "--plots", metavar="DIR", help="folder to draw the figures into, as PNG and SVG"
    )
    arguments.add_output(parser, "the analysis")
    parser.set_defaults(run=run)


def _ranges(text: str) -> tuple[tuple[float, float], ...]:
    """Read LOW-HIGH,LOW-HIGH with 0 < LOW <= 1 <= HIGH."""
    found = []
    for part in text.split(","):
        low, dash, high = part.strip().rpartition("-")
        try:
            pair = float(low), float(high)
        except ValueError:
            pair = math.nan, math.nan
        if not (dash and 0 < pair[0] <= 1 <= pair[1] < math.inf):
            raise argparse.ArgumentTypeError(
                f"{part!r} is not a range LOW-HIGH with 0 < LOW <= 1 <= HIGH, such as 0.5-2"
            )
        found.append(pair)
    return tuple(dict.fromkeys(found))


def _times(text: str) -> tuple[float, ...]:
    """Read times above 0 with commas in between."""
    found = []
    for part in text.split(","):
        try:
            value = float(part)
        except ValueError:
            value = math.nan
        if not 0 < value < math.inf:
            raise argparse.ArgumentTypeError(f"{part!r} is not a time above 0")
        found.append(value)
    return tuple(dict.fromkeys(found))


def run(args: argparse.Namespace, signals: Signals) -> int:
    """Analyse a graph, print and write what was found, and return the exit code."""
    from talos_opt import api
    from talos_opt.analysis.model_summary import TOP
    from talos_opt.cli import analysis_text, files
    from talos_opt.formats.emit import lines_of
    from talos_opt.formats.source import split_suffix
    from talos_opt.formats.target import write_lines
    from talos_opt.reports import analysis_document
    from talos_opt.tasks.analyzing import analyze

    files.stream_as_json(args)
    files.require_writable(args.output)
    if args.plots is not None:
        _prepare(args.plots)
    problem = api.read(args.graph, cluster=args.cluster, format=args.source_format)
    with ProgressBar() as bar:
        found = analyze(
            problem,
            models=args.models,
            reference=args.reference,
            other=args.other,
            ranges=args.sv,
            times=args.tv,
            most_pairs=args.pairs,
            on_progress=bar.show,
        )
        drawn = [] if args.plots is None else _draw(found, args.plots, bar)
    document = found.to_dict()
    if args.output is not None:
        suffix = split_suffix(args.output)[1]
        write_lines(lines_of(document, analysis_document.LAYOUT, suffix), args.output)
    if args.json:
        emit_json(files.to_json(document, analysis_document.LAYOUT))
    else:
        emit(analysis_text.describe(document, args.top or TOP))
    if drawn:
        complain(f"note: {len(drawn)} figures drawn into {args.plots}, each as PNG and SVG")
    return exits.SOLVED


def _prepare(folder: str) -> None:
    """Make the folder of the figures, and refuse one that cannot be written to."""
    import tempfile
    from pathlib import Path

    from talos_opt.core.errors import InputError
    from talos_opt.reports.style import require_matplotlib

    require_matplotlib()
    try:
        Path(folder).mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except FileExistsError:
        raise InputError("is a file, expected a folder for the figures", source=folder) from None
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        raise InputError(f"cannot be written to: {why}", source=folder) from None


def _draw(found: Analysis, folder: str, bar: ProgressBar) -> list[str]:
    """Draw all figures into a folder; return their names."""
    from talos_opt.reports import style
    from talos_opt.reports.speedup_plots import figures

    todo = figures(found.models, found.pairs, found.problem.graph.time_unit)
    for done, (name, draw) in enumerate(todo):
        bar.show(done / len(todo), f"drawing {name}")
        style.save_both(draw(), folder, name)
    return [name for name, _ in todo]
