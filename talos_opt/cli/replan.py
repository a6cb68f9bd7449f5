"""``talos-opt solve --running``: plan a schedule that runs again, from a moment on."""

from __future__ import annotations

import argparse
import dataclasses
from typing import TYPE_CHECKING, Any, NamedTuple

from talos_opt.cli import arguments, exits
from talos_opt.cli.output import complain, emit, emit_json
from talos_opt.cli.progress import ProgressLine
from talos_opt.cli.signals import Signals
from talos_opt.reports.texts.tables import quantity, table

if TYPE_CHECKING:
    from talos_opt.core.config import SolveConfig
    from talos_opt.core.problem import Problem
    from talos_opt.core.replanning import MoveCost
    from talos_opt.core.schedule import Schedule
    from talos_opt.online.replan import Replan

#: Arguments that mean nothing without a running schedule.
#: Arguments of solve that do not go with it.
_NOT_RUNNING = (
    "warm_start", "granularity", "no_split", "bundles", "dask", "samples", "noise",
    "transfer_noise", "risk",
)  # fmt: skip
_NEED_RUNNING = ("at", "add", "without", "move_cost", "write_graph")


class Price(NamedTuple):
    """What moving costs, a time as it was written: for each op, or for so many bytes."""

    amount: str
    bytes: int = 0


def amount(text: str) -> str:
    """Check a time: ``12.5``, in the graph's unit, or ``5ms``."""
    from talos_opt.core import units
    from talos_opt.core.errors import GraphError

    try:
        units.moment(text, "s", "it")
    except GraphError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a time such as 12.5 or 5ms") from None
    return text


def price(text: str) -> Price:
    """Read ``5us``, for each op that moves, or ``1us/MiB``, for its weights."""
    before, slash, unit = text.partition("/")
    found: Price | None
    try:
        found = Price(amount(before), _bytes(unit.strip()) if slash else 0)
    except argparse.ArgumentTypeError:
        found = None
    if found is None or (slash and not found.bytes):
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a price of moving such as 5us (of an op) or 1us/MiB (of weights)"
        )
    return found


def _bytes(text: str) -> int:
    """Read ``MiB``, which is one, or ``4MiB``."""
    return arguments.size(f"1{text}" if text[:1].isalpha() else text)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of planning again."""
    group = parser.add_argument_group("to plan again what runs (docs/online.md)")
    group.add_argument(
        "--running",
        metavar="SCHEDULE",
        help="a schedule of the graph that runs: what has started by --at stays",
    )
    group.add_argument(
        "--at",
        type=amount,
        metavar="TIME",
        help="the moment from which on the rest is planned again: in the graph's unit, or 5ms",
    )
    group.add_argument(
        "--add",
        action="append",
        metavar="GRAPH",
        help="a graph whose models join then; may be repeated",
    )
    group.add_argument(
        "--without",
        type=arguments.names,
        metavar="DEVICE,DEVICE",
        help="devices that leave then; what is lost with them runs again",
    )
    group.add_argument(
        "--move-cost",
        type=price,
        metavar="PRICE",
        help="added to the objective for each op that runs elsewhere than planned: 5us, or "
        "1us/MiB of its weights",
    )
    group.add_argument(
        "--write-graph",
        metavar="FILE",
        help="write the graph with what joins and without what was read from what runs again",
    )


def is_asked(args: argparse.Namespace) -> bool:
    """Tell whether a running schedule is to be planned again.

    Raises
    ------
    InputError
        If arguments say half of it.
    """
    from talos_opt.core.errors import InputError

    if args.running is None:
        for name in _NEED_RUNNING:
            if getattr(args, name) is not None:
                flag = "--" + name.replace("_", "-")
                raise InputError(f"{flag} is about a schedule that runs: expected --running too")
        return False
    if args.at is None:
        raise InputError("--running is planned again from a moment on: expected --at TIME too")
    for name in _NOT_RUNNING:
        if getattr(args, name, None) is not None:
            flag = "--" + name.replace("_", "-")
            raise InputError(f"{flag} does not go with --running, whose schedule is begun from")
    return True


def run(args: argparse.Namespace, signals: Signals, plan: SolveConfig) -> int:
    """Plan again, write the answer, print it, and return the exit code."""
    from talos_opt.cli import files
    from talos_opt.core import units
    from talos_opt.core.shares import value_unit
    from talos_opt.online.replan import replan

    if args.write_graph is not None:
        files.require_writable(args.write_graph, ())
    problem, running = _read(args, plan.objective)
    unit = problem.graph.time_unit
    at = units.moment(args.at, unit, "at")
    with ProgressLine(plan.time_limit, value_unit(problem)) as line:
        found = signals.run(
            lambda: replan(
                problem,
                running,
                at,
                add=args.add or (),
                without=args.without or (),
                move_cost=cost_of(args.move_cost, unit),
                config=plan,
                on_progress=line.update,
                cancel=signals.cancel,
            ),
            line.draw,
        )
    return report(args, found)


def report(args: argparse.Namespace, found: Replan) -> int:
    """Write and print what came of it."""
    from talos_opt import formats
    from talos_opt.core.errors import InputError
    from talos_opt.reports.texts.summary import summarise

    failed = ""
    try:
        if args.output:
            formats.write_schedule(found.to_dict(), args.output)
        if args.write_graph:
            formats.write_problem(found.answer.problem, args.write_graph)
    except InputError as error:
        failed = str(error)
    if args.json or failed:
        emit_json(_document(found))
    else:
        emit("\n".join([summarise(found.answer, args.output), "", *_story(found)]))
    for note in found.result.notes:
        complain(f"note: {note}")
    if found.result.reason:
        complain(f"{found.result.status.value}: {found.result.reason}")
    if failed:
        complain(f"error: {failed}; the schedule went to standard output instead")
    if found.result.interrupted:
        return exits.INTERRUPTED
    if failed:
        return exits.BAD_INPUT
    return exits.NO_SCHEDULE if found.schedule is None else exits.SOLVED


def _document(found: Replan) -> str:
    from talos_opt.formats import emit as layouts
    from talos_opt.formats.schedule import finite
    from talos_opt.reports.texts.summary import details_of

    whole = found.to_dict() | details_of(found.answer)
    return "\n".join(layouts.json_lines(finite(whole), layouts.SCHEDULE))


def _story(found: Replan) -> list[str]:
    """Return what stays, what is lost, and what moves."""
    left, unit = found.left, found.left.problem.graph.time_unit
    begun, count = int(left.begun.sum()), left.problem.arrays.op_count
    lines = [
        f"at {quantity(left.moment, unit)}: {begun} of {count} ops have started and stay, "
        f"{len(found.moves)} run elsewhere than planned"
    ]
    if left.problem.frozen is not None and left.problem.frozen.price.any():
        total = found.result.value
        lines.append(
            f"moving costs {quantity(found.price, unit)}: {quantity(total, unit)} with it, "
            f"lower bound {quantity(found.result.lower_bound, unit)}"
        )
    if found.lost:
        lines.append(f"runs again: {', '.join(found.lost)}")
    if found.moves:
        rows = [
            (
                move.op,
                move.source,
                move.target,
                quantity(move.planned_start, unit),
                quantity(move.start, unit),
                move.why,
            )
            for move in found.moves
        ]
        columns = ("op", "planned on", "runs on", "planned at", "starts", "why")
        lines += ["", table(columns, rows, left=(0, 1, 2, 5))]
    return lines


def cost_of(given: Price | None, unit: str) -> MoveCost | None:
    """Return what moving costs in a time unit."""
    from talos_opt.core import units
    from talos_opt.core.replanning import MoveCost

    if given is None:
        return None
    time = units.moment(given.amount, unit, "move_cost")
    return MoveCost(per_byte=time / given.bytes) if given.bytes else MoveCost(per_op=time)


def _read(args: argparse.Namespace, objective: str | None) -> tuple[Problem, Schedule]:
    """Read the graph, on its own cluster as it is by now, and the schedule that runs."""
    from talos_opt.cli import schedules
    from talos_opt.core.errors import InputError

    (file,) = schedules.open_schedules([args.running], "the schedule that runs is a file")
    made = file.made
    if made.bundles:
        raise InputError(
            f"{file.name}: devices act as one there, expected a schedule without bundles"
        )
    asked: dict[str, Any] = {"objective": objective or made.objective}
    if args.memory_rule or made.memory_rule:
        asked["memory_rule"] = args.memory_rule or made.memory_rule
    problem = _own_cluster(args, made)
    if made.granularity is not None and made.granularity.value != problem.granularity:
        from talos_opt.core.granularity import by_module

        problem = by_module(problem, made.no_split)
    asked = {name: value for name, value in asked.items() if value is not None}
    problem = dataclasses.replace(problem, **asked)
    if made.stages is not None and args.stages is None and args.use_all is None:
        problem = problem.with_stages(made.stages)
    problem = arguments.with_stages(problem, args)
    running = file.schedule(problem)
    schedules.note_other_graph(problem, file)
    return problem, running


def _own_cluster(args: argparse.Namespace, made: Any) -> Problem:
    """Read the graph; without a cluster of its own, on that of the schedule."""
    from talos_opt import formats
    from talos_opt.core.errors import InputError
    from talos_opt.formats.source import open_source

    source = open_source(args.graph)

    def read(cluster: Any) -> Problem:
        return formats.read_problem(
            source, format=args.source_format, cluster=cluster, objective=made.objective
        )

    try:
        return read(args.cluster)
    except InputError:
        if args.cluster is not None or made.cluster is None:
            raise
        return read(made.cluster)
