"""``talos-opt check``: whether a schedule is feasible, and worth what it says."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from talos_opt.cli import arguments, exits, ran, schedules
from talos_opt.cli.output import emit, emit_json
from talos_opt.cli.signals import Signals
from talos_opt.core.units import describe
from talos_opt.reports.texts.tables import number, quantity, settled, visible

if TYPE_CHECKING:
    from talos_opt.core.metrics import Metrics
    from talos_opt.core.problem import Problem

#: A stated value this close to the recomputed one is the same: files may round. It is a share of
#: what can change: times count from the earliest release.
TOLERANCE = 1e-6
#: What float sums leave of a difference, as a share of the time from there to the last end.
NOISE = 1e-9


def add_parser(commands: Any) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "check",
        help="check a schedule against its graph",
        description="Check that a schedule is a feasible answer to a graph, and that the value "
        "and the metrics that it states are those it has. Prints 'feasible' and the metrics, or "
        "each broken rule on a line of its own.",
        epilog="The exit code is 0 if the schedule is feasible and states true values, else 1.",
        allow_abbrev=False,
    )
    arguments.add_graph(parser)
    arguments.add_schedule(parser)
    arguments.add_problem(parser)
    arguments.add_format(parser)
    ran.add_ran(parser)
    arguments.add_json(parser, "what was found")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace, signals: Signals) -> int:
    """Check a schedule, print what is wrong with it or its metrics, and return the exit code."""
    from talos_opt import api
    from talos_opt.core.metrics import measure
    from talos_opt.formats.schedule import finite

    ran.require_together(args)
    (file,) = schedules.open_schedules([args.schedule])
    stated = file.document
    problem = schedules.read_graph(args, args.graph, file)
    schedule = file.schedule(problem)
    schedules.note_other_graph(problem, file)
    violations = api.check(problem, schedule)
    metrics = None if violations else measure(problem, schedule)
    found = None if args.ran is None else ran.read(args, problem)
    wrong = [] if metrics is None else list(differences(stated, problem, metrics))
    if args.json:
        document = {
            "schema": "talos-check/1",
            "graph": problem.graph.name,
            "feasible": not violations,
            "violations": [asdict(item) for item in violations],
            "misstated": wrong,
            "objective": problem.objective.value,
            "time_unit": problem.graph.time_unit,
            "value": None if metrics is None else metrics.value(problem.objective),
            "metrics": None if metrics is None else metrics.to_dict(),
        }
        if found is not None:
            document["ran"] = ran.document(found, problem, schedule)
        emit_json(json.dumps(finite(document), indent=1))
    elif metrics is None or wrong:
        lines = [*map(str, violations), *(f"value: {text}" for text in wrong)]
        emit("\n".join(map(visible, lines)))
    else:
        emit(f"feasible\n{_metrics(problem, metrics)}")
    if found is not None and not args.json:
        emit(f"\n{ran.describe(found, problem, schedule)}")
    return exits.NO_SCHEDULE if violations or wrong else exits.SOLVED


def differences(stated: Mapping[str, Any], problem: Problem, metrics: Metrics) -> Iterator[str]:
    """Yield what a schedule file states about itself and is not so.

    Parameters
    ----------
    stated : mapping
        The talos-schedule/1 document.
    problem : Problem
    metrics : Metrics
        Recomputed from the schedule.
    """
    measured = metrics.to_dict()
    same = _Same(problem, metrics)
    objective = stated.get("objective", problem.objective.value)
    if objective in measured:
        value = measured[objective]
        yield from _compare("value", stated.get("value"), value, same.slack(objective, value))
        bound = stated.get("lower_bound")
        if bound is not None and _is_number(bound) and bound > value + same.slack(objective, value):
            yield f"lower_bound is stated as {number(bound)}, above the value itself"
    claimed = stated.get("metrics")
    if isinstance(claimed, Mapping):
        for name, value in claimed.items():
            if name not in measured:
                continue
            known = measured[name]
            if not (isinstance(value, Mapping) and isinstance(known, Mapping)):
                yield from _compare(f"metrics.{name}", value, known, same.slack(name, known))
                continue
            for key, item in value.items():
                path = f"metrics.{name}.{key}"
                if key in known:
                    yield from _compare(path, item, known[key], same.slack(name, known[key]))
                else:
                    yield f"{path} is stated, but the problem has no {key!r}"


class _Same:
    """How far a stated number may be from the recomputed one, wherever time zero is."""

    def __init__(self, problem: Problem, metrics: Metrics) -> None:
        weight = float(problem.arrays.model_weight.sum())
        origin = float(problem.arrays.release.min())
        span = metrics.makespan - origin
        #: For each metric that is a time: what the origin adds to it, and its noise.
        self.times = dict.fromkeys(("makespan", "completion", "idle_time"), (origin, span))
        self.times["toct"] = (origin * weight, span * weight)
        self.times |= dict.fromkeys(("bottleneck", "load"), (0.0, span))
        self.latest, self.summed = metrics.makespan, problem.arrays.op_count

    def slack(self, name: str, measured: object) -> float:
        """Return by how much a metric may differ from `measured`."""
        from talos_opt.core import rounding

        if not isinstance(measured, (int, float)):
            return 0.0
        base, noise = self.times.get(name, (0.0, 0.0))
        if measured < base:  # the idle time of a device that is not used
            base = 0.0
        rounded = rounding.ULPS * rounding.spacing(measured)
        if name == "idle_time":
            rounded += self.summed * rounding.spacing(self.latest)
        return TOLERANCE * (abs(measured) - base) + NOISE * noise + rounded


def _compare(path: str, stated: Any, measured: Any, slack: float) -> Iterator[str]:
    if stated is None:  # not stated, or stated as undefined
        return
    if not (_is_number(stated) and _is_number(measured)):
        yield f"{path} is stated as {describe(stated)}, but is {measured!r}"
    elif abs(stated - measured) > slack:
        shown, known = number(stated), number(measured)
        if shown == known:  # they differ in digits that are not shown otherwise
            shown, known = repr(stated), repr(measured)
        yield f"{path} is stated as {shown}, but is {known}"


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _metrics(problem: Problem, metrics: Metrics) -> str:
    from talos_opt.core.shares import value_unit
    from talos_opt.core.units import format_bytes

    unit = problem.graph.time_unit
    lines = [
        (item.value, f"{quantity(value, value_unit(problem, item))} ({item.words})")
        for item, value in metrics.values.items()
    ]
    if metrics.weighted_speedup is not None:
        over = visible(problem.source.cluster.reference)
        lines.append(("weighted speedup", f"{metrics.weighted_speedup:.4g} over {over}"))
    span = metrics.makespan - float(problem.arrays.release.min())
    lines.append(("idle time", quantity(settled(metrics.total_idle, span), unit)))
    lines.append(("moved", format_bytes(metrics.transferred_bytes)))
    return "\n".join(f"{name:<16}  {value}" for name, value in lines)
