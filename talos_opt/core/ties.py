"""Which of two schedules is better: the value, then total idle time, then transferred bytes.

Under the objective memory the makespan comes before idle time.

Values and idle times are sums of many floats; they count as equal if they differ by no more than
rounding may, which is a share of what can change: times count from the earliest release.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from talos_opt.core import rounding
from talos_opt.core.metrics import forced_value, idle_times, objective_value
from talos_opt.core.problem import Objective, Problem
from talos_opt.core.schedule import Schedule

#: Sums that differ by less than this share are equal.
ROUNDING = 1e-12


@dataclass(frozen=True, slots=True)
class Standing:
    """What schedules are compared by; times in the graph's unit.

    Parameters
    ----------
    value : float
        Of the objective.
    idle : float
        Over all devices.
    bytes : int
        Over all hops.
    value_slack, idle_slack : float
        Differences up to these are rounding.
    end : float
        Makespan, where it is the first tie-breaker; else 0.
    """

    value: float
    idle: float
    bytes: int
    value_slack: float
    idle_slack: float
    end: float = 0.0

    def beats(self, other: Standing) -> bool:
        """Tell whether it is better: by value, else as `tidier`."""
        slack = max(self.value_slack, other.value_slack)
        if abs(self.value - other.value) > slack:
            return self.value < other.value
        return self.tidier(other)

    def tidier(self, other: Standing) -> bool:
        """Tell whether it is better if values do not count: by idle time, else by bytes."""
        slack = max(self.idle_slack, other.idle_slack)
        if abs(self.end - other.end) > slack:
            return self.end < other.end
        if abs(self.idle - other.idle) > slack:
            return self.idle < other.idle
        return self.bytes < other.bytes


def standing(problem: Problem, schedule: Schedule, value: float | None = None) -> Standing:
    """Return what a feasible schedule is compared by; its value, where the caller knows it."""
    if value is None:
        value = objective_value(problem, schedule)
    idle = float(idle_times(problem, schedule).sum())
    moved = int(schedule.transfers.bytes.sum())
    return rank(problem, value, idle, moved, float(schedule.end.max()))


def rank(problem: Problem, value: float, idle: float, moved: int, end: float) -> Standing:
    """Return the standing of a schedule of which these figures are known.

    Parameters
    ----------
    problem : Problem
    value, idle : float
    moved : int
        Bytes.
    end : float
        Latest end of an op.
    """
    span = end - float(problem.arrays.release.min())
    slack = ROUNDING * span + rounding.ULPS * problem.arrays.device_count * math.ulp(end)
    first = end if problem.objective is Objective.MEMORY else 0.0
    return Standing(value, idle, moved, value_slack(problem, value), slack, first)


def value_slack(problem: Problem, value: float) -> float:
    """Return by how much values about this one may differ from it and be equal."""
    return ROUNDING * (value - forced_value(problem)) + math.ulp(value)
