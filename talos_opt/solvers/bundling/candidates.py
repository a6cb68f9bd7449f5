"""One way to bundle: its problem, what was found and what is proven."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from talos_opt.core.bundle_memory import View, views
from talos_opt.core.bundling import Derivation
from talos_opt.core.errors import GraphError
from talos_opt.core.feasibility import check
from talos_opt.core.metrics import objective_value
from talos_opt.core.problem import Problem
from talos_opt.core.result import Result, Status
from talos_opt.core.schedule import Schedule
from talos_opt.solvers.bundling.ways import Way


@dataclass
class Candidate:
    """A way to bundle while it is searched.

    Parameters
    ----------
    way : tuple of Bundle
    bound : float
        Proven: no schedule of this way has a smaller value; infinite if there is none.
    reason : str
        Why there is no schedule, where that is proven.
    schedule, value
        The best one found; infinite without one.
    solver : str
        Who found it.
    exhausted : bool
        Whether searching longer cannot tell more.
    searched : bool
        Whether a solver has looked at it.
    idle : int
        How many times in a row solvers have ended long before their time was over.
    notes : tuple of str
        Of the search that found the schedule, or of the last one.
    """

    way: Way
    bound: float = 0.0
    reason: str = ""
    schedule: Schedule | None = None
    value: float = math.inf
    solver: str = ""
    exhausted: bool = False
    searched: bool = False
    idle: int = 0
    notes: tuple[str, ...] = ()
    _problem: Problem | None = None
    _views: Sequence[View] = field(default_factory=tuple)

    def prepare(self, derivation: Derivation) -> bool:
        """Derive its problem; False, with a reason, if no schedule of it can exist."""
        if self._problem is None and not self.reason:
            try:
                self._problem = derivation.derive(self.way)
                self._views = views(self._problem)
            except GraphError as error:
                self.rule_out(error.message)
        return not self.reason

    @property
    def problem(self) -> Problem:
        """The derived problem, of which schedules are checked."""
        assert self._problem is not None, "prepare comes first"
        return self._problem

    @property
    def views(self) -> Sequence[View]:
        """What solvers see of it."""
        return self._views

    def rule_out(self, reason: str) -> None:
        """Note that there is no schedule."""
        self.reason, self.bound, self.exhausted = reason, math.inf, True

    def learn(self, view: View, result: Result) -> bool:
        """Take in what a solver found out about a view.

        Returns
        -------
        bool
            Whether its schedule is one of the derived problem.
        """
        self.searched = True
        if view.bounds:
            if result.status is Status.INFEASIBLE:
                self.rule_out(result.reason)
                return False
            self.bound = max(self.bound, result.lower_bound)
        if result.schedule is None:
            return False
        if not view.schedules and check(self.problem, result.schedule):
            return False
        self.keep(result.schedule, _finder(result), result.notes)
        return True

    def keep(self, schedule: Schedule, solver: str, notes: tuple[str, ...] = ()) -> None:
        """Keep a schedule of the derived problem if it is better."""
        value = objective_value(self.problem, schedule)
        if value < self.value:
            self.schedule, self.value, self.solver, self.notes = schedule, value, solver, notes


def _finder(result: Result) -> str:
    """Name who found the best value."""
    found = [event for event in result.history if event.value is not None]
    return min(found, key=lambda event: event.value or 0.0).solver if found else result.solver
