"""``talos-opt online``: models arrive over time, and policies are compared."""

from __future__ import annotations

import argparse
import json
import math
from typing import TYPE_CHECKING, Any

from talos_opt.cli import arguments, exits, replan
from talos_opt.cli.output import complain, emit, emit_json
from talos_opt.cli.progress import ProgressBar
from talos_opt.cli.signals import Signals
from talos_opt.reports.texts.tables import percent, quantity, table

if TYPE_CHECKING:
    from talos_opt.online.compared import Online


def add_parser(commands: Any) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "online",
        help="let models arrive over time, and compare what can be done about it",
        description="Let the models of a trace arrive one after the other, decide each time by a "
        "policy that does not know what will come, and compare the weighted completion times "
        "with the optimum of whoever knows all arrivals.",
        epilog="docs/online.md describes traces and policies.",
        allow_abbrev=False,
    )
    parser.add_argument("trace", metavar="TRACE", help="trace of arrivals")
    parser.add_argument(
        "--policies",
        type=arguments.names,
        metavar="NAME,NAME",
        help="policies to compare (default: resolve,keep,fifo,talos)",
    )
    parser.add_argument(
        "--objective", choices=("toct", "makespan"), help="what to minimise (default: the trace's)"
    )
    parser.add_argument(
        "--move-cost",
        type=replan.price,
        metavar="PRICE",
        help="of resolve, for each op that runs elsewhere than planned before: 5us, or 1us/MiB "
        "of its weights",
    )
    parser.add_argument(
        "--plot", metavar="FILE", help="draw the policies into this file: .png, .svg or .pdf"
    )
    arguments.add_limits(parser)
    arguments.add_json(parser, "the result")
    arguments.add_log(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace, signals: Signals) -> int:
    """Compare policies on a trace; return the exit code."""
    from talos_opt.cli import files
    from talos_opt.core.config import SolveConfig
    from talos_opt.online.compared import compare_policies
    from talos_opt.online.policies import POLICIES, NoScheduleError, Setting
    from talos_opt.online.trace import read_trace

    if args.plot is not None:
        from talos_opt.reports import style

        files.require_writable(args.plot, style.SUFFIXES, packed=False)
        style.require_matplotlib()
    trace = read_trace(args.trace, args.objective)
    plan = SolveConfig().override(
        time_limit=args.time_limit,
        seed=args.seed,
        workers=args.workers,
        options=arguments.options_by_solver(args.option),
    )
    setting = Setting(
        time_limit=plan.time_limit,
        seed=plan.seed,
        workers=plan.workers,
        options=plan.options,
        move_cost=replan.cost_of(args.move_cost, trace.problem.graph.time_unit),
    )
    try:
        with ProgressBar() as bar:
            found = signals.run(
                lambda: compare_policies(
                    trace,
                    args.policies or tuple(POLICIES),
                    setting,
                    cancel=signals.cancel,
                    on_progress=bar.report,
                ),
                bar.draw,
                "what is finished",
            )
    except NoScheduleError as error:
        complain(str(error))
        return exits.NO_SCHEDULE
    if found is None:
        complain("interrupted before a policy was through")
        return exits.INTERRUPTED
    if args.plot is not None:
        _draw(found, args.plot)
    if args.json:
        emit_json(json.dumps(found.to_dict(), indent=1))
    else:
        emit(_text(found))
    for message in found.failed.values():
        complain(f"note: {message}")
    return exits.INTERRUPTED if found.clairvoyant.interrupted else exits.SOLVED


def _text(found: Online) -> str:
    problem, best = found.trace.problem, found.clairvoyant
    unit = problem.graph.time_unit
    models = len(problem.graph.model_ids)
    rows = [
        (
            lived.policy,
            quantity(found.value(lived), unit),
            f"+{percent(ratio - 1)}" if math.isfinite(ratio := found.ratio(lived)) else "-",
            str(lived.moves),
            quantity(round(max(lived.decided_s), 3), "s"),
        )
        for lived in found.lived
    ]
    rows.append(("all known", quantity(best.value, unit), "", "", ""))
    rows.append(("lower bound", quantity(best.lower_bound, unit), "", "", ""))
    columns = ("policy", problem.objective.value, "above all known", "moves", "longest decision")
    head = (
        f"{found.trace.name}: {models} models arrive at {len(found.trace.arrivals)} times; with "
        f"all known beforehand {best.status.value}; objective {problem.objective.in_full}"
    )
    return f"{head}\n\n{table(columns, rows)}"


def _draw(found: Online, target: str) -> None:
    from talos_opt.reports import style
    from talos_opt.reports.online_plot import Bar, draw_online

    problem, best = found.trace.problem, found.clairvoyant
    assert best.metrics is not None
    assert best.value is not None
    bars = [Bar(one.policy, found.value(one), found.completions(one)) for one in found.lived]
    bars.append(Bar("all known", best.value, best.metrics.completion))
    arrival = {model.id: model.release for model in problem.graph.models}
    title = f"{found.trace.name}: {problem.objective.value}"
    unit = problem.graph.time_unit
    style.save(draw_online(title, bars, best.lower_bound, arrival, unit), target)
