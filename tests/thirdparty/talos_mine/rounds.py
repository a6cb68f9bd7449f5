"""Solver ``rounds``: each op in turn goes to the device on which it ends first, or to the next."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from talos_opt import Problem
from talos_opt.plugins import (
    FREE_FEATURES,
    Feature,
    MemoryDeadlockError,
    NoRouteError,
    Run,
    Solver,
    Status,
    Verdict,
    simulate,
)


@dataclass(frozen=True)
class Options:
    """What a user may set.

    Parameters
    ----------
    rounds : int
        Random orders of the devices to try, at least 1.
    """

    rounds: int = 20

    def __post_init__(self) -> None:
        if self.rounds < 1:
            raise ValueError(f"rounds is {self.rounds}, expected at least 1")


class Rounds(Solver):
    """A random placement of each group of ops, as often as asked for; the best one is kept."""

    name = "rounds"
    summary = "random placements"
    features = FREE_FEATURES - {Feature.SERIAL_LINKS}
    Options = Options

    def solve(self, problem: Problem, run: Run) -> Verdict:
        """Search until done, out of time or cancelled."""
        arrays = problem.arrays
        rng = np.random.default_rng(run.seed)
        order = np.arange(arrays.op_count)
        for _ in range(self.options.rounds):
            if run.stopped:
                break
            of_group = np.array([rng.choice(np.flatnonzero(fits)) for fits in arrays.allowed])
            try:
                found = simulate(problem, of_group[arrays.group], order)
            except (NoRouteError, MemoryDeadlockError):
                continue
            run.consider(found, self.name)
        if run.best is None:
            return Verdict(Status.UNKNOWN, "no random placement had room and routes: try more")
        return Verdict(Status.FEASIBLE)
