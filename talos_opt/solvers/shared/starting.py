"""What a search starts from: the incumbent, and schedules that simple rules make."""

from __future__ import annotations

import numpy as np

from talos_opt.core.problem import Ints, Problem
from talos_opt.core.schedule import Schedule
from talos_opt.solvers.engine import registry
from talos_opt.solvers.engine.run import Run

#: A schedule and its value.
Start = tuple[float, Schedule]


def incumbent(run: Run) -> list[Start]:
    """Return the best schedule so far, if there is one."""
    return [] if run.best is None else [(run.value, run.best)]


def run_rules(
    problem: Problem, run: Run, rules: tuple[str, ...], share: float = 1.0
) -> list[Start]:
    """Run baselines one after the other, offer what they make, and return it.

    Parameters
    ----------
    problem : Problem
    run : Run
    rules : tuple of str
        Names of solvers.
    share : float
        Of the remaining time, for each.
    """
    found: list[Start] = []
    for rule in rules:
        if run.overdue:
            break
        solver = registry.create(rule)
        if not solver.covers(problem):
            continue
        trial = Run(problem, time_limit=share * run.remaining, inside=run)
        solver.solve(problem, trial)
        if trial.best is not None:
            run.offer(trial.best, rule)
            found.append((trial.value, trial.best))
    return found


def order_by_start(problem: Problem, schedule: Schedule) -> Ints:
    """Ops by start; those that start together by end, then in topological order (n,)."""
    keys = (problem.arrays.rank, schedule.end, schedule.start)
    return np.lexsort(keys).astype(np.int64)
