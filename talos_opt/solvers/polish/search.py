"""Local search from a schedule: every move simulated, until none of them helps any more."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

from talos_opt.core.problem import Ints, Problem
from talos_opt.solvers.engine.run import Run
from talos_opt.solvers.polish.neighbours import Neighbourhood, Step
from talos_opt.solvers.polish.trials import Trials


@dataclass
class Clock:
    """When to stop, which is not when the run is proven.

    Parameters
    ----------
    run : Run
    until : float
        Moment on the run's clock.
    """

    run: Run
    until: float

    @classmethod
    def of(cls, run: Run, most_s: float) -> Clock:
        """Give a run so many seconds more, within its time limit."""
        return cls(run, min(run.deadline, run.clock() + most_s))

    @property
    def over(self) -> bool:
        """Whether the time is over or the run is cancelled."""
        return self.run.cancel.is_set() or self.run.clock() >= self.until


def is_over(run: Run) -> bool:
    """Tell whether a run is cancelled or out of time; it may be proven."""
    return run.cancel.is_set() or run.remaining == 0.0


def descend(problem: Problem, trials: Trials, limit: float, clock: Clock) -> bool:
    """Try moves until none improves the schedule any more, or the time is over.

    Parameters
    ----------
    problem : Problem
    trials : Trials
        With the schedule to start from; it holds the best one afterwards.
    limit : float
        Largest value that is any good.
    clock : Clock

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
            if clock.over:
                return False
            improved |= trials.attempt(trials.device, limit, order)
        for step in itertools.chain(around.runs(device), around.singles(device)):
            if clock.over:
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
