"""The data of a whole report: what each schedule is worth, beside what the graph says."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from talos_opt.analysis.causes import find_causes
from talos_opt.core.errors import InputError
from talos_opt.core.metrics import Metrics, forced_value
from talos_opt.core.pipelining.records import Block
from talos_opt.core.pipelining.step import Pipeline
from talos_opt.core.problem import MemoryRule, Objective, Problem
from talos_opt.core.result import OPTIMALITY_TOLERANCE, relative_gap
from talos_opt.core.shares import value_unit
from talos_opt.formats.schedule import finite
from talos_opt.reports.cards import cards_of
from talos_opt.reports.page.answers import Answer, Measured, best_bound, measured
from talos_opt.reports.page.breakdown_data import breakdown_data
from talos_opt.reports.page.data import Json, op_details, op_names, schedule_data
from talos_opt.reports.page.frame import page_frame
from talos_opt.reports.page.problem_data import problem_numbers, speedup_curves
from talos_opt.reports.view import view_of

#: More blocks than these are no picture.
_MOST_BLOCKS = 20_000


def report_data(
    problem: Problem,
    answers: Sequence[Answer],
    on_progress: Callable[[float, str], None] | None = None,
    changes: Mapping[str, Any] | None = None,
) -> Json:
    """Return the data of a report; see `write_report`."""
    if not answers:
        raise InputError("answers is empty, expected at least one schedule to report on")
    entries = [measured(problem, answer) for answer in answers]
    bound, source = best_bound(entries, forced_value(problem))
    schedules = []
    for k, entry in enumerate(entries):
        if on_progress is not None:
            on_progress(k / len(entries), f"laying out {entry.answer.label}")
        causes = find_causes(problem, entry.answer.schedule)
        view = view_of(problem, entry.answer.schedule, entry.answer.document, causes)
        found = view.breakdown
        schedules.append(
            schedule_data(
                view,
                entry.answer.label,
                _facts(problem, entry, bound, source if len(entries) > 1 else "")
                | {"bottleneck_on": "" if found is None else found.busiest},
                _devices(problem, entry),
                causes,
                _history(entry.answer.document, problem),
            )
            | _step(problem, entry)
            | {"where": None if found is None else breakdown_data(found, whole=True)}
            | {"cards": cards_of(problem, entry.answer.schedule, entry.metrics)}
        )
    # What the ops are called is the same in all views.
    page = page_frame(view, schedules) | {
        "kind": "report",
        "title": problem.graph.name,
        "objective": problem.objective.value,
        "memory_unit": value_unit(problem, Objective.MEMORY),
        "known": finite(_known(problem)),
        "ops": op_names(view) | op_details(problem),
        "problem": problem_numbers(problem),
        "changes": None if changes is None else finite(dict(changes)),
        "static_rule": problem.memory_rule is MemoryRule.STATIC,
    }
    for model, release in zip(page["models"], problem.arrays.release.tolist(), strict=True):
        model["release"] = release
    page["speedups"], page["no_speedups"] = speedup_curves(problem)
    return page


def _facts(problem: Problem, entry: Measured, bound: float | None, source: str) -> Json:
    document, metrics = entry.answer.document, entry.metrics
    gap = None if bound is None else relative_gap(entry.value, bound, forced_value(problem))
    status = str(document.get("status") or "feasible")
    if gap is not None:
        status = "optimal" if gap <= OPTIMALITY_TOLERANCE else "feasible"
    runtime = document.get("runtime_s")
    return {
        "status": status,
        "solver": _text(document.get("solver")),
        "objective": problem.objective.value,
        "value": entry.value,
        "lower_bound": bound,
        "own_bound": entry.bound,
        "bound_from": "" if source == entry.answer.label else source,
        "gap": gap,
        "runtime_s": runtime if _is_number(runtime) else None,
        "toct": metrics.toct,
        "makespan": metrics.makespan,
        "bottleneck": metrics.bottleneck,
        "memory": metrics.memory,
        "step": metrics.step,
        "weighted_speedup": metrics.weighted_speedup,
        "reference": problem.source.cluster.reference,
        "idle": metrics.total_idle,
        "moved": metrics.transferred_bytes,
        "longest": max(metrics.load.values()),
        "memory_rule": problem.memory_rule.value,
    }


def _devices(problem: Problem, entry: Measured) -> list[Json]:
    metrics: Metrics = entry.metrics
    held = metrics.held(problem.memory_rule)
    counts = np.bincount(entry.answer.schedule.device, minlength=len(problem.device_ids))
    return [
        {
            "id": device.id,
            "kind": device.kind,
            "slots": device.slots,
            "ops": count,
            "load": metrics.load[device.id],
            "idle": metrics.idle_time[device.id],
            "held": held[device.id],
            "peak": metrics.peak_memory[device.id],
            "limit": device.usable_memory,
        }
        for device, count in zip(problem.cluster.devices, counts.tolist(), strict=True)
    ]


def _step(problem: Problem, entry: Measured) -> Json:
    """Return the blocks of a step, where the problem asks for steps and they can be drawn."""
    if problem.pipeline is None or not problem.is_pipelined:
        return {}
    device, asked = entry.answer.schedule.device, problem.pipeline
    try:
        step = Pipeline(problem, device).run(asked.schedule, asked.microbatches)
    except InputError:
        return {"step": None}
    if len(step.blocks) > _MOST_BLOCKS:
        return {"step": None}
    blocks = {name: [getattr(block, name) for block in step.blocks] for name in Block._fields}
    return {
        "step": {
            "schedule": step.schedule.value,
            "microbatches": step.microbatches,
            "time": step.time,
            "bubble": step.bubble,
            "stages": step.stages,
            "blocks": blocks,
        }
    }


def _history(document: Mapping[str, Any], problem: Problem) -> list[Json]:
    """Return the incumbent and the bound over time; empty where the document does not say."""
    events = document.get("history")
    same = document.get("objective", problem.objective.value) == problem.objective.value
    if not (same and isinstance(events, (list, tuple))):
        return []
    return [
        {
            "t": event["time_s"],
            "value": event["value"] if _is_number(event.get("value")) else None,
            "bound": event["lower_bound"] if _is_number(event.get("lower_bound")) else None,
            "solver": _text(event.get("solver")) or "",
        }
        for event in events
        if isinstance(event, Mapping) and _is_number(event.get("time_s"))
    ]


def _known(problem: Problem) -> Json | None:
    known = dict(problem.graph.known)
    return {key: value for key, value in known.items() if _is_number(value) or key == "source"}


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None
