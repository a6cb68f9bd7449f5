"""Fewer devices and fewer transfers, for a small share of the value."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import numpy as np

from talos_opt.core.metrics import forced_value
from talos_opt.core.problem import Problem
from talos_opt.core.ties import ROUNDING
from talos_opt.solvers.engine.budget import Budget
from talos_opt.solvers.engine.run import Run
from talos_opt.solvers.polish.emptying import placements_without
from talos_opt.solvers.polish.neighbours import Neighbourhood
from talos_opt.solvers.polish.search import descend
from talos_opt.solvers.polish.setup import MOST_OPS, MOST_S, make_trials
from talos_opt.solvers.polish.trials import Figures, Trials, judge


@dataclass(frozen=True)
class Consolidation:
    """What an answer was exchanged for.

    Parameters
    ----------
    best, value : float
        Of the best schedule found, and of the one that took its place.
    excess : float
        By which share of what can change the second is larger.
    devices, transfers : tuple of (int, int)
        Of the first and of the second.
    """

    best: float
    value: float
    excess: float
    devices: tuple[int, int]
    transfers: tuple[int, int]

    def describe(self, best: str) -> str:
        """Return it in words; `best` is the value of the best schedule with its unit."""
        share = f"{100 * self.excess:.2f} %" if self.excess >= 5e-5 else "<0.01 %"
        than = f"{share} above" if self.excess > ROUNDING else "as good as"
        return (
            f"consolidated: {than} the best found ({best}), "
            f"{_instead(self.devices, 'device')}, {_instead(self.transfers, 'transfer')}"
        )


def consolidate(problem: Problem, run: Run, worth: float) -> Consolidation | None:
    """Put a schedule on fewer devices, with fewer transfers, in the incumbent's place.

    Of the schedules whose value exceeds the incumbent's by no more than a share of what can change
    (the value less what releases force), those on fewer devices are better, then those with fewer
    transfers, then those of smaller value, then ties as ever. Greedy: devices are emptied, runs of
    ops and single ones follow their neighbours, for as long as that makes it better.

    Parameters
    ----------
    problem : Problem
    run : Run
        May be proven. Its time limit holds, and `MOST_S`.
    worth : float
        The share, above 0.

    Returns
    -------
    Consolidation or None
        None if no devices and no transfers are saved; the incumbent then stays, or is polished.
    """
    if run.best is None or run.spent:
        return None
    if problem.arrays.op_count > MOST_OPS:
        run.note(f"worth has no effect on graphs of more than {MOST_OPS} ops")
        return None
    first = judge(problem, run.best)
    best, forced = first.standing.value, forced_value(problem)
    limit = best + max(worth * (best - forced), first.standing.value_slack)

    def better(a: Figures, b: Figures) -> bool:
        if a.standing.value > limit:
            return False
        ours, theirs = (a.devices, a.transfers), (b.devices, b.transfers)
        return ours < theirs or (ours == theirs and a.standing.beats(b.standing))

    trials = make_trials(problem, run.best, better, run)
    budget = run.budget.within(MOST_S)
    before = None
    while before is not trials.figures and not budget.spent:
        before = trials.figures
        _empty_devices(problem, trials, limit, budget)
        descend(problem, trials, limit, budget)
    last = trials.figures
    if (last.devices, last.transfers) == (first.devices, first.transfers):
        run.offer(trials.schedule(), run.best_solver)
        return None
    run.settle(trials.schedule())
    return Consolidation(
        best,
        last.standing.value,
        (last.standing.value - best) / (best - forced) if best > forced else 0.0,
        (first.devices, last.devices),
        (first.transfers, last.transfers),
    )


def _empty_devices(problem: Problem, trials: Trials, limit: float, budget: Budget) -> None:
    """Move all ops off some devices, those with the fewest first, where that is worth it."""
    loads = np.bincount(trials.device, minlength=problem.arrays.device_count)
    # What ran side by side had better not take turns on one device.
    orders = (None, *Neighbourhood(problem).orders())
    for d in np.argsort(loads, kind="stable").tolist():
        for where, order in product(placements_without(problem, trials.device, d), orders):
            if budget.spent:
                return
            if trials.attempt(where, limit, order):
                break


def _instead(count: tuple[int, int], noun: str) -> str:
    before, after = count
    plural = f"{after} {noun}{'' if after == 1 else 's'}"
    return f"{plural} as before" if before == after else f"{plural} instead of {before}"
