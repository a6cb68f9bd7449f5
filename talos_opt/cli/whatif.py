"""``talos-opt whatif``: what would help a schedule, or another card a profiled graph."""

from __future__ import annotations

import argparse
import json
from typing import TYPE_CHECKING, Any

from talos_opt.cli import arguments, exits
from talos_opt.cli.output import complain, emit, emit_json
from talos_opt.cli.progress import ProgressLine
from talos_opt.cli.signals import Signals
from talos_opt.reports.texts.tables import quantity, table, visible

if TYPE_CHECKING:
    from talos_opt.core.problem import Problem
    from talos_opt.core.result import Result

_DEFAULT_S = 10.0


def add_parser(commands: Any) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "whatif",
        help="what single changes are worth, or another card for a profiled graph",
        description="With a schedule, list the single changes that it suggests (a link twice as "
        "fast, more memory, one more device, an op type twice as fast, the weight of a model), and "
        "search for the value after each, starting from the schedule. Without one, estimate the "
        "ops of a profiled graph, or of a trace, on devices of the catalogue, from the FLOPs and "
        "bytes that it holds; the model is not needed. Solve it as it is and as it would be, and "
        "print both.",
        allow_abbrev=False,
    )
    arguments.add_graph(parser)
    parser.add_argument(
        "schedule", metavar="SCHEDULE", nargs="?", help="schedule whose changes are to be searched"
    )
    parser.add_argument(
        "--replace",
        type=arguments.assignments,
        action=arguments.Merging,
        metavar="NAME=DEVICE",
        help="device of the catalogue to put in the place of one of the graph's, as in gpu0=h100; "
        "several with commas",
    )
    arguments.add_estimates(parser, "--add")
    parser.add_argument(
        "--solver", metavar="NAME", default="auto", help="solver of all (default: auto)"
    )
    parser.add_argument(
        "--time-limit",
        type=arguments.seconds,
        metavar="SECONDS",
        help=f"time for each solve (default: {_DEFAULT_S:g})",
    )
    arguments.add_seed(parser)
    arguments.add_problem(parser)
    arguments.add_format(parser)
    arguments.add_target(parser, "file to write the graph with the new devices to")
    arguments.add_json(parser, "the figures")
    arguments.add_log(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace, signals: Signals) -> int:
    """Estimate, solve before and after, print both, and return the exit code."""
    from talos_opt import formats
    from talos_opt.cli import files
    from talos_opt.cli.solve import read_problem
    from talos_opt.core.errors import InputError
    from talos_opt.frameworks.common.whatif import remarks, what_if

    if args.schedule is not None:
        if args.add or args.replace:
            raise InputError("--add and --replace compare graphs: leave out them or the schedule")
        from talos_opt.cli import single_changes

        return single_changes.run(args, signals)
    if not (args.add or args.replace):
        raise InputError(
            "give a schedule, or a device with --add or --replace: there is nothing to compare"
        )
    args.time_limit = _DEFAULT_S if args.time_limit is None else args.time_limit
    files.require_target(args, (*files.SUFFIXES, ".npz"))
    before = read_problem(args, args.graph, args.objective)
    after = what_if(
        before, add=args.add, replace=args.replace, dtype=args.dtype, measured=args.measured
    )
    if args.output:
        formats.write_problem(after, args.output)
    complain(*remarks(before))
    found = []
    for title, problem in (("as it is", before), ("what if", after)):
        if signals.interrupted:
            break
        found.append(_solve(args, signals, title, problem))
    if not found:
        return exits.INTERRUPTED
    if args.json:
        emit_json(json.dumps([_figures(result) for result in found], indent=1))
    elif args.output == "-":  # the graph is there
        complain(_describe(found))
    else:
        emit(_describe(found))
        if args.output:
            emit(f"written to {visible(args.output)}")
    if signals.interrupted:
        return exits.INTERRUPTED
    solved = all(result.schedule is not None for result in found)
    return exits.SOLVED if solved else exits.NO_SCHEDULE


def _solve(args: argparse.Namespace, signals: Signals, title: str, problem: Problem) -> Result:
    from talos_opt import api
    from talos_opt.core.shares import value_unit

    with ProgressLine(args.time_limit) as line:
        line.begin(title, value_unit(problem))
        return signals.run(
            lambda: api.solve(
                problem,
                args.solver,
                time_limit=args.time_limit,
                seed=args.seed or 0,
                on_progress=line.update,
                cancel=signals.cancel,
            ),
            line.draw,
        )


def _figures(result: Result) -> dict[str, Any]:
    """Return what ``--json`` prints of a solve; times in the graph's unit."""
    problem = result.problem
    return {
        "devices": [device.to_dict() for device in problem.cluster.devices],
        "sum_of_ops": _sums(problem),
        "objective": problem.objective.value,
        "time_unit": problem.graph.time_unit,
        "status": result.status.value,
        "value": result.value,
        "lower_bound": result.lower_bound if result.schedule is not None else None,
    }


def _sums(problem: Problem) -> dict[str, float]:
    """Return what all ops that may run on a device take there together."""
    import numpy as np

    time = problem.arrays.time
    total = np.where(np.isfinite(time), time, 0.0).sum(axis=0)
    return dict(zip(problem.device_ids, total.tolist(), strict=True))


def _describe(found: list[Result]) -> str:
    """Return a table of devices, and one of values."""
    from talos_opt.core.problem import Objective
    from talos_opt.core.shares import value_unit

    unit = found[0].problem.graph.time_unit
    sums = [_sums(result.problem) for result in found]
    devices = dict.fromkeys(name for total in sums for name in total)
    rows = [
        (visible(name), *(quantity(total.get(name), unit) for total in sums)) for name in devices
    ]
    titles = ("sum of ops", "as it is", "what if")[: 1 + len(found)]
    text = table(titles, rows, left=(0,))
    first, last = found[0], found[-1]
    rows = []
    for what, pick in (("value", "value"), ("bound", "lower_bound")):
        values = [getattr(r, pick) if r.schedule is not None else None for r in found]
        rows.append((what, *(quantity(v, value_unit(first.problem)) for v in values)))
    rows.append(("status", *(result.status.value for result in found)))
    text += "\n\n" + table((first.problem.objective.in_full, *titles[1:]), rows, left=(0,))
    if len(found) > 1 and first.value and last.value:
        if first.problem.objective is Objective.MEMORY:
            text += f"\n\nwhat if needs {last.value / first.value:.3g} times the share"
        else:
            text += f"\n\nwhat if is {first.value / last.value:.3g} times as fast"
    return text
