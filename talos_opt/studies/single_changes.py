"""What would help: the value after each single change, by a short search from a schedule."""

from __future__ import annotations

import dataclasses
import math
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

from talos_opt import api
from talos_opt.analysis.breakdown import break_down
from talos_opt.analysis.changes import Change, single_changes
from talos_opt.analysis.moves import MoveError, resimulated
from talos_opt.core.errors import InputError
from talos_opt.core.feasibility import check
from talos_opt.core.given import require_schedule
from talos_opt.core.metrics import forced_value, objective_value
from talos_opt.core.problem import Problem
from talos_opt.core.result import Result, Status
from talos_opt.core.schedule import Schedule
from talos_opt.solvers.engine.run import Progress

#: Seconds of each search.
SECONDS = 10.0


@dataclass(frozen=True)
class Helped:
    """What a change is worth.

    Parameters
    ----------
    change : Change
    before : float
        Value of the best schedule without the change, by the weights of the change.
    result : Result
        Of the changed problem.
    """

    change: Change
    before: float
    result: Result

    @property
    def gain(self) -> float | None:
        """What the change takes from the value; None if there is no schedule."""
        return None if self.result.value is None else self.before - self.result.value

    @property
    def gain_share(self) -> float | None:
        """The gain as a share of what the value before is above what releases alone force."""
        gain, above = self.gain, self.before - forced_value(self.change.problem)
        return None if gain is None else gain / above if above > 0 else 0.0


@dataclass(frozen=True)
class Help:
    """All changes, most helpful first.

    Parameters
    ----------
    given : float
        Value of the schedule that was given.
    seconds : float
        Of each search.
    base : Result
        Of the problem as it is, searched for as long as each change from the same schedule.
    helped : tuple of Helped
    """

    given: float
    seconds: float
    base: Result
    helped: tuple[Helped, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain Python values; times in the graph's unit."""
        problem = self.base.problem
        return {
            "schema": "talos-whatif/1",
            "graph": problem.graph.name,
            "objective": problem.objective.value,
            "time_unit": problem.graph.time_unit,
            "seconds": self.seconds,
            "given": self.given,
            "value": self.base.value,
            "lower_bound": _finite(self.base.lower_bound),
            "status": self.base.status.value,
            "changes": [
                {
                    "kind": item.change.kind,
                    "change": item.change.label,
                    "why": item.change.why,
                    "before": item.before,
                    "value": item.result.value,
                    "lower_bound": _finite(item.result.lower_bound),
                    "status": item.result.status.value,
                    "gain": item.gain,
                    "gain_share": item.gain_share,
                }
                for item in self.helped
            ],
        }


def _finite(bound: float) -> float | None:
    return bound if math.isfinite(bound) else None


def what_would_help(
    problem: Problem,
    schedule: Schedule,
    *,
    solver: str = "auto",
    time_limit: float = SECONDS,
    seed: int = 0,
    workers: int | None = None,
    on_search: Callable[[int, int, str], None] | None = None,
    on_progress: Callable[[Progress], None] | None = None,
    cancel: threading.Event | None = None,
) -> Help:
    """Search, from a schedule, for the value after each change that the schedule suggests.

    Half of the time of each change goes into a search afresh, as one that starts from a schedule
    of the old problem hardly leaves it; the other half into one that starts from the better of what
    was found and the old placement, simulated in the order of its starts. In the end each change
    tries what was found for the others. The unchanged problem is searched first, in the same way,
    so that a gain is not what more time alone brings.

    Parameters
    ----------
    problem : Problem
    schedule : Schedule
        A feasible one.
    solver : str
    time_limit : float
        Seconds of each search.
    seed : int
    workers : int, optional
    on_search : callable, optional
        Called before each search with its number from 0, how many there are, and its name.
    on_progress : callable, optional
        As for `talos_opt.solve`.
    cancel : threading.Event, optional
        Set it to stop; changes that were not searched are left out.

    Raises
    ------
    InputError
        If devices may be bundled, or as `talos_opt.solve` raises it.
    """
    require_schedule(problem, schedule)
    require_plain(problem)
    changes = single_changes(break_down(problem, schedule))

    def search(k: int, name: str, given: Problem, start: Schedule | None) -> Result:
        if on_search is not None:
            on_search(k, len(changes) + 1, name)
        solve = partial(
            api.solve, given, solver, time_limit=time_limit / 2, seed=seed, workers=workers,
            on_progress=on_progress, cancel=cancel, explain=False,
        )  # fmt: skip
        first = solve()
        if first.status is Status.OPTIMAL:
            return first
        return _better(solve(warm_start=_best_of(given, (start, first.schedule))), first)

    results = [search(0, "as it is", problem, schedule)]
    assert results[0].schedule is not None, "no worse than the schedule that was given"
    for k, change in enumerate(changes, start=1):
        if cancel is not None and cancel.is_set():
            break
        start = carried_over(change.problem, results[0].schedule)
        results.append(search(k, change.label, change.problem, start))
    schedules = [result.schedule for result in results]
    base, *changed = (improved(result, schedules) for result in results)
    assert base.schedule is not None, "never taken away"
    helped = []
    for change, result in zip(changes, changed, strict=False):
        judge = change.problem if change.kind == "weight" else problem
        before = min(objective_value(judge, s) for s in (schedule, base.schedule))
        helped.append(Helped(change, before, result))
    helped.sort(key=lambda item: -(item.gain_share or 0.0))
    return Help(objective_value(problem, schedule), time_limit, base, tuple(helped))


def _best_of(problem: Problem, schedules: Sequence[Schedule | None]) -> Schedule | None:
    known = [schedule for schedule in schedules if schedule is not None]
    return min(known, key=partial(objective_value, problem), default=None)


def _better(first: Result, second: Result) -> Result:
    """Return the result with the smaller value, with the larger of both bounds."""
    values = [math.inf if r.value is None else r.value for r in (first, second)]
    best = first if values[0] <= values[1] else second
    bound = max(first.lower_bound, second.lower_bound)
    return dataclasses.replace(best, lower_bound=bound)


def improved(result: Result, others: Sequence[Schedule | None]) -> Result:
    """Return a result with the best of what was found for the other problems, if it is better."""
    problem = result.problem
    best, value = result.schedule, result.value
    for other in others:
        if other is None or other is result.schedule:
            continue
        if int(other.device.max()) >= problem.arrays.device_count:
            continue  # it uses the device that one more of a kind is
        carried = carried_over(problem, other)
        if carried is None:
            continue
        reached = objective_value(problem, carried)
        if value is None or reached < value:
            best, value = carried, reached
    return result if best is result.schedule else dataclasses.replace(result, schedule=best)


def require_plain(problem: Problem) -> None:
    """Refuse a problem whose devices may be bundled: a change would be one of members.

    Raises
    ------
    InputError
    """
    if problem.bundling is not None or problem.cluster.bundles:
        raise InputError("devices may act as one (bundles), expected a graph without bundles")


def carried_over(problem: Problem, schedule: Schedule) -> Schedule | None:
    """Return what a schedule becomes in a changed problem; None if nothing of it is feasible there.

    That is the better of the schedule as it is and its placement, simulated in the order of its
    starts.
    """
    found = [schedule]
    with suppress(MoveError):
        found.append(resimulated(problem, schedule))
    return _best_of(problem, [item for item in found if not check(problem, item)])
