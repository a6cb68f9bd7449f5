"""A schedule that runs, planned again at a moment."""

from __future__ import annotations

import dataclasses
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from talos_opt import api
from talos_opt.core import units
from talos_opt.core.errors import InputError, SolverError
from talos_opt.core.feasibility import check
from talos_opt.core.frozen import Frozen
from talos_opt.core.metrics import forced_value
from talos_opt.core.problem import Objective, Problem
from talos_opt.core.replanning import (
    MoveCost,
    Replanning,
    freeze,
    join_models,
    require_running,
)
from talos_opt.core.result import Result, Status
from talos_opt.core.schedule import Schedule
from talos_opt.formats import read_schedule
from talos_opt.online.moves import Moved, list_moves
from talos_opt.solvers.bounds.root import quick_bound

#: Who places what joins around what is planned, and the most seconds that it takes.
_AROUND, _AROUND_S = "heft", 5.0
#: How much of a bound that was summed up at other scales rounding may be.
_ROUNDING = 1e-9


@dataclass(frozen=True)
class Replan:
    """What came of planning again.

    Parameters
    ----------
    result : Result
        Of the problem in which what has started is fixed; value and bound contain the price of what
        moves.
    answer : Result
        The same schedule, history and future, as one of the whole problem: what is written to
        files. Its value has no price in it, and its bound is of schedules that keep what has
        started.
    left : Replanning
    moves : tuple of Moved
        Ops that had not started and run elsewhere than planned.
    """

    result: Result
    answer: Result
    left: Replanning
    moves: tuple[Moved, ...]

    @property
    def schedule(self) -> Schedule | None:
        """The whole schedule, if there is one."""
        return self.answer.schedule

    @property
    def lost(self) -> tuple[str, ...]:
        """Ops that had started and run again."""
        names = self.left.problem.names
        return tuple(names[op] for op in self.left.lost)

    @property
    def price(self) -> float:
        """What the moves cost, in units of the objective's value."""
        frozen, schedule = self.left.problem.frozen, self.answer.schedule
        return 0.0 if frozen is None or schedule is None else frozen.cost(schedule.device)

    def to_dict(self) -> dict[str, Any]:
        """Return a talos-schedule/1 document, with ``replanned`` and ``moves``."""
        return self.answer.to_dict() | self.facts()

    def facts(self) -> dict[str, Any]:
        """Return what the document says of planning again."""
        frozen, ids = self.left.problem.frozen, self.left.problem.device_ids
        left = () if frozen is None else [ids[d] for d in frozen.left.nonzero()[0].tolist()]
        return {
            "replanned": {
                "at": self.left.moment,
                "started": int(self.left.begun.sum()),
                "without": list(left),
                "lost": list(self.lost),
                "price": self.price,
                "value": self.result.value,
                "lower_bound": None
                if self.result.status is Status.INFEASIBLE
                else self.result.lower_bound,
                "status": self.result.status.value,
            },
            "moves": [move.to_dict() for move in self.moves],
        }


def replan(
    problem: Problem | str | os.PathLike[str],
    running: Schedule | Result | str | os.PathLike[str],
    at: float,
    *,
    add: Sequence[Problem | str | os.PathLike[str]] = (),
    without: Sequence[str] = (),
    move_cost: MoveCost | float | None = None,
    solver: str | None = None,
    **settings: Any,
) -> Replan:
    """Plan a schedule that runs again at a moment.

    Parameters
    ----------
    problem : Problem or path
        Of the schedule; its cluster may have more devices by now.
    running : Schedule, Result or path
        A feasible schedule of it.
    at : float
        The moment, in the graph's time unit, no later than the schedule's end. What starts before
        it has started.
    add : sequence of Problem or path
        Graphs whose models join then; their clusters do not matter.
    without : sequence of str
        Ids of devices that leave then.
    move_cost : MoveCost or float, optional
        What it costs to run an op elsewhere than planned, in units of the objective's value.
    solver : str, optional
        Default auto.
    **settings
        As of `talos_opt.solve`.

    Returns
    -------
    Replan

    Raises
    ------
    InputError
        On a moment, a device or a schedule that does not fit the problem; and as `solve` does.
    """
    for name, several in (("add", add), ("without", without)):
        if isinstance(several, (str, os.PathLike, Problem)):
            raise InputError(f"{name} is {units.describe(several)}, expected a list")
    given = problem if isinstance(problem, Problem) else api.read(problem)
    if settings.get("objective") is not None:
        given = given.with_objective(settings.pop("objective"))
    if isinstance(running, Result):
        if running.schedule is None:
            raise InputError(f"running has no schedule: it is {running.status}")
        running = running.schedule
    if not isinstance(running, Schedule | str | os.PathLike):
        raise InputError(
            f"running is {units.describe(running)}, expected a Schedule, a Result or a path"
        )
    if not isinstance(running, Schedule):
        running = read_schedule(running, given)
    moment = units.magnitude(at, "at", path="at")
    require_running(given, running, moment)
    joined = join_models(given, [_read_joining(one, given) for one in add], moment)
    left = freeze(joined, running, moment, without=without, move_cost=_as_cost(move_cost))
    return solve_left(left, solver, **settings)


def solve_left(left: Replanning, solver: str | None = None, **settings: Any) -> Replan:
    """Solve what is left of a schedule.

    Parameters
    ----------
    left : Replanning
    solver : str, optional
    **settings
        As of `talos_opt.solve`.
    """
    settings.setdefault("started", time.monotonic())
    if left.problem.frozen is not None and "warm_start" not in settings:
        settings["warm_start"] = _carry_on(left)
    result = api.solve(left.problem, solver, **settings)
    answer = _whole(left, result)
    moves = () if answer.schedule is None else list_moves(left, answer.schedule)
    return Replan(result, answer, left, moves)


def place_around(left: Replanning, solver: str, **settings: Any) -> Result:
    """Let a rule place what joins; all that was planned stays as it was planned.

    Parameters
    ----------
    left : Replanning
        For its problem, whose first ops are those of the running schedule.
    solver : str
    **settings
        As of `talos_opt.solve`.
    """
    whole = dataclasses.replace(left.problem, frozen=None)
    kept = freeze(whole, left.running, left.moment, planned=True)
    return api.solve(kept.problem, solver, **{"explain": False, **settings})


def _carry_on(left: Replanning) -> Schedule | None:
    """Return the plan that runs, with what joins placed around it; None where it cannot go on."""
    frozen = left.problem.frozen
    assert frozen is not None
    if frozen.left.any():
        return None
    if len(left.running.device) == left.problem.arrays.op_count:
        found: Schedule | None = left.running
    else:
        try:
            found = place_around(left, _AROUND, time_limit=_AROUND_S).schedule
        except (InputError, SolverError):
            return None
    return None if found is None or check(left.problem, found) else found


def _whole(left: Replanning, result: Result) -> Result:
    """Return a result of the problem with what has started as one of the whole problem."""
    frozen = left.problem.frozen
    if frozen is None:
        return result
    whole = dataclasses.replace(left.problem, frozen=None)
    answer = dataclasses.replace(result, problem=whole)
    if not frozen.price.any() or result.status is Status.INFEASIBLE:
        return answer
    # Without prices a schedule is worth so much less, at the most.
    bound = result.lower_bound - float(frozen.prices(whole.arrays).max(axis=1).sum())
    bound = max(bound, _bound_without_prices(left.problem, frozen))
    status = Status.FEASIBLE if result.status is Status.OPTIMAL else result.status
    return dataclasses.replace(answer, lower_bound=bound, status=status)


def _bound_without_prices(problem: Problem, frozen: Frozen) -> float:
    """Return what critical paths and loads say where moving has no price, rounded down."""
    free = dataclasses.replace(frozen, price=np.zeros_like(frozen.price))
    problem = dataclasses.replace(problem, frozen=free)
    bound, forced = quick_bound(problem), forced_value(problem)
    return max(forced, bound - _ROUNDING * bound)


def _as_cost(given: MoveCost | float | None) -> MoveCost | None:
    if given is None or isinstance(given, MoveCost):
        return given
    return MoveCost(units.magnitude(given, "move_cost", path="move_cost"))


def _read_joining(source: Problem | str | os.PathLike[str], problem: Problem) -> Problem:
    if isinstance(source, Problem):
        return source
    from talos_opt import formats

    return formats.read_problem(source, cluster=problem.cluster, objective=Objective.TOCT)
