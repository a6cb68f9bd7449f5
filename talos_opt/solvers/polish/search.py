"""Local search from a schedule: every move simulated, until none of them helps any more."""

from __future__ import annotations

import itertools

from talos_opt.core.problem import Ints, Problem
from talos_opt.solvers.engine.budget import Budget
from talos_opt.solvers.polish.neighbours import Neighbourhood, Step
from talos_opt.solvers.polish.trials import Trials


def descend(problem: Problem, trials: Trials, limit: float, budget: Budget) -> bool:
    """Try moves until none improves the schedule any more, or the time is over.

    Parameters
    ----------
    problem : Problem
    trials : Trials
        With the schedule to start from; it holds the best one afterwards.
    limit : float
        Largest value that is any good.
    budget : Budget

    Returns
    -------
    bool
        Whether it got to where no move helps.
    """
    around, members = Neighbourhood(problem), problem.arrays.members
    improved = True
    while improved:
        improved = False
        device, orders = trials.device, [trials.priority, *around.orders()]
        for order in orders:
            if budget.spent:
                return False
            improved |= trials.attempt(trials.device, limit, order)
        for step in itertools.chain(around.runs(device), around.singles(device)):
            if budget.spent:
                return False
            where = _moved(trials.device, members, step)
            if where is not None:
                improved |= trials.attempt(where, limit)
    return True


def _moved(device: Ints, members: tuple[Ints, ...], step: Step) -> Ints | None:
    """Return a placement after a step; None if an earlier step has made it already."""
    where = device.copy()
    for group in step.groups:
        where[members[group]] = step.target
    return None if (where == device).all() else where
