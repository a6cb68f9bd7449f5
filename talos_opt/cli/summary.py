"""A result in a few lines: value, bound, gap, and what each device has to do."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from talos_opt.cli.output import visible
from talos_opt.cli.text import percent, quantity, settled, table
from talos_opt.core.metrics import forced_value
from talos_opt.core.relaxations import RelaxationKind
from talos_opt.core.result import Status
from talos_opt.core.shares import value_unit
from talos_opt.core.units import format_bytes
from talos_opt.reports.digits import moment

if TYPE_CHECKING:
    from talos_opt.analysis.breakdown import Breakdown
    from talos_opt.core.metrics import Metrics
    from talos_opt.core.relaxations import Explanation
    from talos_opt.core.result import Result
    from talos_opt.core.robustness import Robustness

#: Ops and transfers of which `solve` says where the time goes: of more it takes a second.
MOST_ACTIVITIES = 50_000


def summarise(result: Result, written: str | None = None) -> str:
    """Return the text that ``solve`` prints.

    Parameters
    ----------
    result : Result
    written : str, optional
        File that the schedule was written to.
    """
    lines = [_headline(result)]
    if result.metrics is not None:
        lines += ["", *_values(result, result.metrics), "", devices(result, result.metrics)]
        lines += ["", *_where(result)]
    if result.robust is not None:
        lines += ["", *_robust(result.robust, value_unit(result.problem))]
    if result.explanation is not None:
        lines += ["", *_changes(result.explanation)]
    if written:
        lines += ["", f"written to {visible(written)}"]
    return "\n".join(lines)


def _headline(result: Result) -> str:
    status = "interrupted, " if result.interrupted else ""
    status += {
        Status.OPTIMAL: "optimal",
        Status.FEASIBLE: "feasible",
        Status.INFEASIBLE: "infeasible: there is no feasible schedule",
        Status.UNKNOWN: "unknown: no feasible schedule was found",
    }[result.status]
    return (
        f"{visible(result.problem.graph.name)}: {status}; solver {_solvers(result)}, "
        f"{quantity(round(result.runtime_s, 3), 's')}"
    )


def _solvers(result: Result) -> str:
    """Name the solver, and who found the schedule where that was another."""
    finder = ""
    best = float("inf")
    for event in result.history:
        if event.value is not None and event.value < best:
            best, finder = event.value, event.solver
    if finder in ("", result.solver):
        return result.solver
    what = "found" if result.robust is None else "nominal plan found"
    return f"{result.solver} ({what} by {finder})"


def _changes(explanation: Explanation) -> list[str]:
    """Return what would make an infeasible problem feasible, and how much of that is proven."""
    single, together = explanation.single, explanation.relaxations
    if single:
        head = "one of these changes makes it feasible"
        listed, more = single, "" if explanation.complete else "; there may be others"
    else:
        head = "these changes together make it feasible"
        listed, more = together, "; no fewer do" if explanation.smallest else "; fewer may do"
    lines = [f"{head}{more}:"]
    for item in listed:
        memory = item.kind is RelaxationKind.MEMORY
        known = ", no less" if item.least else f"; at least {format_bytes(item.bound)} are needed"
        lines.append(f"  {visible(str(item))}{known if memory else ''}")
    return lines


def breakdown_of(result: Result) -> Breakdown | None:
    """Return where the time goes; None without a schedule, or if it would take too long."""
    from talos_opt.analysis.breakdown import break_down

    schedule = result.schedule
    if schedule is None or len(schedule.device) + len(schedule.transfers) > MOST_ACTIVITIES:
        return None
    return break_down(result.problem, schedule)


def _where(result: Result) -> list[str]:
    from talos_opt.cli.breakdown_text import tell_briefly

    found = breakdown_of(result)
    if found is None:
        return ["talos-opt explain GRAPH SCHEDULE says where the time goes"]
    return [tell_briefly(found)]


def _values(result: Result, metrics: Metrics) -> list[str]:
    objective = result.problem.objective
    unit = value_unit(result.problem)
    work = metrics.value(objective) - forced_value(result.problem)
    others = [
        f"{other.value} {quantity(value, value_unit(result.problem, other))}"
        for other, value in metrics.values.items()
        if other is not objective
    ]
    if metrics.weighted_speedup is not None:
        reference = result.problem.source.cluster.reference
        others.append(f"weighted speedup {metrics.weighted_speedup:.4g} over {visible(reference)}")
    others.append(f"{format_bytes(metrics.transferred_bytes)} moved")
    rows = [
        (objective.value, moment(metrics.value(objective), unit, work)),
        ("lower bound", f"{moment(result.lower_bound, unit, work)}, gap {percent(result.gap)}"),
        ("also", ", ".join(others)),
    ]
    return [f"{name:<11}  {value}" for name, value in rows]


def _robust(found: Robustness, unit: str) -> list[str]:
    """Return the robust plan beside the nominal one: estimates, and what is proven."""
    asked = found.asked
    risk = f"mean of the worst {percent(1 - asked.risk.level)}" if asked.risk.level else "mean"
    moving = f", transfers {percent(asked.transfer_noise)}" if asked.transfer_noise else ""

    def shown(value: float) -> str:
        return moment(value, unit, value - found.forced)

    rows = [
        (name, shown(plan.value), f"{shown(plan.risk)} ± {quantity(plan.error, unit)}")
        for name, plan in (("nominal", found.nominal), ("robust", found.chosen))
    ]
    loses, costs = percent(found.loss), percent(found.cost)
    above = found.nominal.risk - found.forced
    error = percent(found.error / above if above > 0 else 0.0)
    return [
        f"robust plan: op times varied by {percent(asked.noise)}{moving}, searched on "
        f"{asked.samples} samples, estimated on {found.fresh} fresh ones",
        table(("plan", "no noise", f"{risk} (95 % interval)"), rows),
        f"under noise the nominal plan loses {loses}; the robust one gains "
        f"{percent(found.gain)} ± {error} on it and costs {costs} without noise",
        f"proven: no plan has a mean below {shown(found.lower_bound)}",
    ]


def devices(result: Result, metrics: Metrics) -> str:
    """Return the table of what each device has to do."""
    problem, schedule = result.problem, result.schedule
    assert schedule is not None, "metrics come from a schedule"
    rule = problem.memory_rule
    held = metrics.held(rule)
    ops = np.bincount(schedule.device, minlength=len(problem.device_ids))
    unit = problem.graph.time_unit
    span = metrics.makespan - float(problem.arrays.release.min())
    rows = []
    for device, count in zip(problem.cluster.devices, ops.tolist(), strict=True):
        limit = device.usable_memory
        rows.append(
            (
                device.id,
                device.kind,
                str(count),
                quantity(metrics.load[device.id], unit),
                quantity(settled(metrics.idle_time[device.id], span), unit),
                format_bytes(held[device.id]),
                "no limit" if limit is None else format_bytes(limit),
            )
        )
    columns = ("device", "kind", "ops", "load", "idle", f"memory ({rule.value})", "of")
    return table(columns, rows, left=(0, 1))
