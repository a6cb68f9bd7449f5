"""What a MILP backend is handed and what it hands back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from talos_opt.core.result import Status
from talos_opt.solvers.engine.budget import Budget
from talos_opt.solvers.ilp.builder import Variable


@dataclass(frozen=True)
class Job:
    """One call of a backend.

    Parameters
    ----------
    program : pulp.LpProblem
        To be minimised.
    budget : Budget
    mip_gap : float
        Relative gap at which to stop.
    seed : int
    threads : int
    start : dict of variable to float
        Values of all integer variables in a known solution; empty: none is known.
    stopped : callable
        Asked often; where it says True, the backend stops.
    on_solution : callable
        Told of better solutions while the backend runs, as a function from variable to value.
    on_bound : callable
        Told of proven bounds on the objective while the backend runs.
    """

    program: Any
    budget: Budget
    mip_gap: float
    seed: int
    threads: int
    stopped: Callable[[], bool]
    on_solution: Callable[[Callable[[Variable], float]], None]
    on_bound: Callable[[float], None]
    start: dict[Variable, float] = field(default_factory=dict)

    @property
    def remaining(self) -> float:
        """Seconds left, never negative."""
        return self.budget.remaining


@dataclass(frozen=True)
class Outcome:
    """How a call ended.

    Parameters
    ----------
    status : Status
        ``FEASIBLE`` if stopped with a solution, ``UNKNOWN`` if stopped without.
    bound : float or None
        Proven lower bound on the objective.
    values : callable, optional
        Function from variable to value in the best solution.
    """

    status: Status
    bound: float | None = None
    values: Callable[[Variable], float] | None = None
