"""A result in a few lines: value, bound, gap, and what each device has to do."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np

from talos_opt.core.metrics import forced_value
from talos_opt.core.problem import Objective
from talos_opt.core.relaxations import RelaxationKind
from talos_opt.core.result import Status
from talos_opt.core.shares import value_unit
from talos_opt.core.units import format_bytes
from talos_opt.reports.digits import moment
from talos_opt.reports.texts.tables import percent, quantity, settled, table, visible

if TYPE_CHECKING:
    from talos_opt.analysis.breakdown import Breakdown
    from talos_opt.analysis.where import ModuleRow
    from talos_opt.core.gains import Gains
    from talos_opt.core.metrics import Metrics
    from talos_opt.core.relaxations import Explanation
    from talos_opt.core.result import Result
    from talos_opt.core.robustness import Robustness

#: Headings and rows.
Table = tuple[Sequence[str], Sequence[Sequence[str]]]

#: Modules that have a row of their own: those that take longest.
MODULES = 8
#: Ops and transfers of which `solve` says where the time goes: of more it takes a second.
MOST_ACTIVITIES = 50_000


def summarise(result: Result, written: str | None = None, gained: Gains | None = None) -> str:
    """Return the text that ``solve`` prints.

    Parameters
    ----------
    result : Result
    written : str, optional
        File that the schedule was written to.
    gained : Gains, optional
        What the schedule gains over the baselines.
    """
    lines = [headline(result)]
    if result.metrics is not None:
        lines += ["", *_aligned(values(result, result.metrics, gained))]
        modules = module_table(result)
        if modules is not None:
            lines += ["", table(*modules, left=(0, 1))]
        lines += [
            "",
            table(*device_table(result, result.metrics), left=(0, 1)),
            "",
            *_where(result),
        ]
    if result.robust is not None:
        lines += ["", *_robust(result.robust, value_unit(result.problem))]
    if result.explanation is not None:
        lines += ["", *_changes(result.explanation)]
    if written:
        lines += ["", f"written to {visible(written)}"]
    return "\n".join(lines)


def _aligned(rows: Iterable[tuple[str, str]]) -> Iterator[str]:
    return (f"{name:<11}  {value}" for name, value in rows)


def headline(result: Result) -> str:
    """Return graph, status, solver and seconds in a line."""
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
        known = f"; at least {format_bytes(item.bound)} are needed" if item.bound > 1 else ""
        known = ", no less" if item.least else known or "; fewer may do"
        lines.append(f"  {visible(str(item))}{known if memory else ''}")
    return lines


def breakdown_of(result: Result) -> Breakdown | None:
    """Return where the time goes; None without a schedule, or if it would take too long."""
    from talos_opt.analysis.breakdown import break_down

    schedule = result.schedule
    if schedule is None or len(schedule.device) + len(schedule.transfers) > MOST_ACTIVITIES:
        return None
    return break_down(result.problem, schedule)


def details_of(result: Result) -> dict[str, Any]:
    """Return what ``--json`` has beside a schedule: where the time goes, and where modules are."""
    from talos_opt.analysis.where import modules_by_device

    details: dict[str, Any] = {}
    where = breakdown_of(result)
    if where is not None:
        details["breakdown"] = where.to_dict()
    if result.schedule is not None and result.problem.graph.op_count <= MOST_ACTIVITIES:
        rows = modules_by_device(result.problem, result.schedule)
        details["modules"] = [asdict(row) for row in rows]
    return details


def _where(result: Result) -> list[str]:
    from talos_opt.reports.texts.breakdown import tell_briefly

    found = breakdown_of(result)
    if found is None:
        return ["talos-opt explain GRAPH SCHEDULE says where the time goes"]
    return [tell_briefly(found)]


def values(
    result: Result, metrics: Metrics, gained: Gains | None = None
) -> Iterator[tuple[str, str]]:
    """Yield what a schedule is worth, as names and texts; a name is empty if it goes on."""
    objective = result.problem.objective
    unit = value_unit(result.problem)
    work = metrics.value(objective) - forced_value(result.problem)
    yield objective.value, f"{moment(metrics.value(objective), unit, work)} ({objective.words})"
    yield "lower bound", f"{moment(result.lower_bound, unit, work)}, gap {percent(result.gap)}"
    said = "" if gained is None else tell_gains(gained, objective)
    if said:
        yield "gain", said
    name = "also"
    for other, value in metrics.values.items():
        if other is not objective:
            worth = quantity(value, value_unit(result.problem, other))
            yield name, f"{other.value} {worth} ({other.words})"
            name = ""
    moved = f"{format_bytes(metrics.transferred_bytes)} moved"
    if metrics.weighted_speedup is not None:
        reference = visible(result.problem.source.cluster.reference)
        moved = f"weighted speedup {metrics.weighted_speedup:.4g} over {reference}, {moved}"
    yield name, moved


def tell_gains(gained: Gains, objective: Objective) -> str:
    """Return how much better a schedule is than the baselines, as far as that is defined."""
    found = (
        (gained.over_single, f"the best single device ({visible(gained.device or '')})"),
        (gained.over_sequential, "filling the devices in order"),
    )
    return ", ".join(_times(ratio, what, objective) for ratio, what in found if ratio is not None)


def _times(ratio: float, what: str, objective: Objective) -> str:
    shown = f"{ratio:.3g}"
    if objective is Objective.MEMORY:
        return f"{'the' if shown == '1' else f'1/{shown} of the'} share of {what}"
    return f"{'' if shown == '1' else f'{shown}x '}as fast as {what}"


def module_table(result: Result) -> Table | None:
    """Return where each module or model is; None where that says no more than the devices do."""
    from talos_opt.analysis.where import modules_by_device

    problem, schedule = result.problem, result.schedule
    assert schedule is not None, "metrics come from a schedule"
    columns = problem.graph.columns
    known = any("module" in attrs for attrs in columns.attrs.values())
    if columns.op_count > MOST_ACTIVITIES or not (known or len(columns.model_ids) > 1):
        return None
    rows = modules_by_device(problem, schedule)
    if len(rows) == 1:
        return None
    kept = set(sorted(range(len(rows)), key=lambda k: -rows[k].time)[:MODULES])
    rest = [row for k, row in enumerate(rows) if k not in kept]
    unit = problem.graph.time_unit
    cells = [
        (_module_name(row), row.device, str(row.ops), quantity(row.time, unit),
         format_bytes(row.weights))
        for k, row in enumerate(rows) if k in kept
    ]  # fmt: skip
    if rest:
        devices = ", ".join(dict.fromkeys(row.device for row in rest))
        time, weights = sum(row.time for row in rest), sum(row.weights for row in rest)
        ops = str(sum(row.ops for row in rest))
        name = f"{len(rest)} more"
        cells.append((name, devices, ops, quantity(time, unit), format_bytes(weights)))
    return ("module" if known else "model", "device", "ops", "time", "weights"), cells


def _module_name(row: ModuleRow) -> str:
    if not row.module:
        return "single ops of others"
    return row.module if row.whole else f"{row.module} (part)"


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


def device_table(result: Result, metrics: Metrics) -> Table:
    """Return what each device has to do."""
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
    return ("device", "kind", "ops", "load", "idle", f"memory ({rule.value})", "of"), rows
