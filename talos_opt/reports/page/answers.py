"""The schedules that a report holds side by side, and the best bound that they state."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from talos_opt.core.errors import InputError
from talos_opt.core.metrics import Metrics, measure
from talos_opt.core.problem import Problem
from talos_opt.core.result import OPTIMALITY_TOLERANCE
from talos_opt.core.rounding import ULPS, spacing
from talos_opt.core.schedule import Schedule


@dataclass(frozen=True)
class Answer:
    """One schedule of a report.

    Parameters
    ----------
    label : str
        What the report calls it.
    schedule : Schedule
    document : mapping
        What a talos-schedule/1 document says beside the rows: solver, bound, time, history.
        It may lack any of it.
    """

    label: str
    schedule: Schedule
    document: Mapping[str, Any]


@dataclass(frozen=True)
class Measured:
    """An answer with what it is worth.

    Parameters
    ----------
    answer : Answer
    metrics : Metrics
        Computed from the schedule, whatever the document says.
    value : float
        Of the problem's objective.
    bound : float or None
        Lower bound that the document states for this objective.
    """

    answer: Answer
    metrics: Metrics
    value: float
    bound: float | None


def measured(problem: Problem, answer: Answer) -> Measured:
    """Compute what an answer is worth under the problem's objective."""
    metrics = measure(problem, answer.schedule)
    bound = answer.document.get("lower_bound")
    # A bound on another objective says nothing here.
    same = answer.document.get("objective", problem.objective.value) == problem.objective.value
    if not (same and isinstance(bound, (int, float)) and not isinstance(bound, bool)):
        bound = None
    return Measured(answer, metrics, metrics.value(problem.objective), bound)


def best_bound(entries: Sequence[Measured], forced: float) -> tuple[float | None, str]:
    """Return the best stated bound, which holds for all answers, and the label of who states it.

    Parameters
    ----------
    entries : sequence of Measured
    forced : float
        What releases alone force of the value (`metrics.forced_value`).

    Raises
    ------
    InputError
        If it is above a value, so that it cannot hold.
    """
    stated = [entry for entry in entries if entry.bound is not None]
    if not stated:
        return None, ""
    top = max(stated, key=lambda entry: entry.bound or 0.0)
    least = min(entries, key=lambda entry: entry.value)
    assert top.bound is not None, "only stated bounds are compared"
    allowed = OPTIMALITY_TOLERANCE * (least.value - forced) + ULPS * spacing(least.value)
    if top.bound > least.value + allowed:
        raise InputError(
            f"{top.answer.label} states lower_bound {top.bound:.9g}, expected at most "
            f"{least.value:.9g}, the value of {least.answer.label}",
            path="lower_bound",
        )
    return top.bound, top.answer.label
