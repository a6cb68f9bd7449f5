"""The objective memory, minimised by asking for schedules within smaller and smaller devices.

A schedule is worth at most v exactly if it fits devices whose memory is cut to what v leaves of
each. So every solver that keeps memory limits can minimise memory, and every proof that nothing
fits is a bound (docs/bounds.md, "Smaller devices").
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from talos_opt.core.arrays import devices_allowed, op_needs
from talos_opt.core.occupancy import most_needed
from talos_opt.core.problem import Ints, MemoryRule, Objective, Problem
from talos_opt.core.result import Status
from talos_opt.core.schedule import Schedule
from talos_opt.core.shares import room_for, share_units
from talos_opt.solvers.engine.base import Verdict
from talos_opt.solvers.engine.run import Run

#: Share of the remaining time that one question may take, unless it is the last.
_SLICE = 0.2
#: Questions that are asked at the most: a bisection of all that floats can tell apart.
_MOST_QUESTIONS = 200


@dataclass(frozen=True)
class Squeezed:
    """A problem within smaller devices, and what is known if nothing fits.

    Parameters
    ----------
    problem : Problem or None
        Under the objective makespan; None: some op fits nowhere.
    capacity : (m,) int
        Usable bytes.
    above : float
        Least value of a schedule that does not fit; infinite: there is none.
    """

    problem: Problem | None
    capacity: Ints
    above: float


def squeeze(problem: Problem, value: float, *, below: bool = False) -> Squeezed:
    """Cut the devices of a problem to what a value of the objective memory leaves of them.

    Parameters
    ----------
    problem : Problem
    value : float
        Schedules of at most this value fit, and no others.
    below : bool
        Only those of less.
    """
    arrays = problem.arrays
    step = arrays.byte_unit(sent=problem.memory_rule is MemoryRule.PEAK)
    capacity, above, everything = arrays.capacity.copy(), math.inf, most_needed(arrays)
    for d, unit in enumerate(share_units(arrays)):
        if unit == 0:
            continue
        room = room_for(unit, value, below=below)
        room -= room % step if room > 0 else 0  # what is held is a multiple of it
        if room < min(capacity[d], everything):
            capacity[d] = room
            above = min(above, (room + step if room >= 0 else 0) / unit)
    if (capacity < 0).any():
        return Squeezed(None, capacity, max(above, value))
    return Squeezed(_cut(problem, capacity), capacity, max(above, value))


def _cut(problem: Problem, capacity: Ints) -> Problem | None:
    """Return the problem with other capacities, None if some op fits nowhere."""
    arrays = problem.arrays
    static = problem.memory_rule is MemoryRule.STATIC
    need = op_needs(arrays, arrays.time, static_memory=static)
    time = np.where(need > capacity, np.inf, arrays.time)
    if not np.isfinite(time).any(axis=1).all():
        return None
    leaders = np.unique(arrays.group, return_index=True)[1]
    allowed = arrays.allowed & devices_allowed(time, arrays.group, leaders)
    small = replace(arrays, time=time, capacity=capacity, allowed=allowed)
    return problem.replaced(problem.graph, problem.cluster, small).with_objective(
        Objective.MAKESPAN
    )


class SqueezedRun(Run):
    """A run on a squeezed problem; what it finds goes to the run on the whole one as well.

    Parameters
    ----------
    outer : Run
        Under the objective memory.
    problem : Problem
        Squeezed.
    seconds : float
        After which it ends, if the other does not end earlier.
    """

    def __init__(self, outer: Run, problem: Problem, seconds: float = math.inf) -> None:
        super().__init__(
            problem, time_limit=seconds, seed=outer.seed, workers=outer.workers, inside=outer
        )
        self.outer = outer

    @property
    def overdue(self) -> bool:
        """Whether a quick solver must give up; the whole problem has its schedule elsewhere."""
        return self.stopped

    @property
    def hint(self) -> Schedule | None:
        """A schedule to start from: the incumbent, or else that of the whole problem."""
        return self.best or self.outer.best

    def offer(self, schedule: Schedule, solver: str) -> bool:
        """Keep a schedule if it is better, and offer it to the run on the whole problem."""
        kept = super().offer(schedule, solver)
        if kept:
            self.outer.offer(schedule, solver)
        return kept

    def note(self, text: str) -> None:
        """Keep a remark for the result."""
        self.outer.note(text)


#: Looks for any schedule of a squeezed problem.
Attempt = Callable[[Problem, Run], Verdict]


def descend(
    problem: Problem, run: Run, attempt: Attempt, name: str, *, eager: bool = False
) -> Verdict:
    """Minimise memory by asking for schedules within smaller and smaller devices.

    Bisection between the bound and the incumbent: a schedule lowers the one, a proof that there is
    none raises the other, and where neither is found in time the next question is an easier one.

    Parameters
    ----------
    problem : Problem
        Under the objective memory.
    run : Run
    attempt : callable
    name : str
        Who to report as.
    eager : bool
        Ask first whether the bound is reached.
    """
    failed, last_room = -math.inf, False
    for k in range(_MOST_QUESTIONS):
        if run.stopped or last_room:
            break
        low = max(run.lower_bound, failed)
        cut = _question(problem, run, low, first=eager and k == 0)
        last = _is_last(problem, run, cut)
        verdict = _ask(problem, run, cut, attempt, math.inf if last else _SLICE * run.remaining)
        if verdict is None:
            run.raise_bound(_bound(run, cut), name)
            continue
        if verdict.status is Status.INFEASIBLE:
            if run.best is None and (cut.capacity == problem.arrays.capacity).all():
                return verdict
            run.raise_bound(_bound(run, cut), name)
        elif verdict.status is Status.UNKNOWN:
            failed, last_room = cut.above, last
    if run.best is not None:
        return Verdict(Status.FEASIBLE)
    return Verdict(Status.UNKNOWN, f"{name} found no schedule that fits within the time limit")


def _bound(run: Run, cut: Squeezed) -> float:
    """Return what is proven if nothing fits; the incumbent may lie a rounding above that."""
    return min(cut.above, run.value)


def _question(problem: Problem, run: Run, low: float, *, first: bool) -> Squeezed:
    if run.best is None:
        return squeeze(problem, math.inf)
    if first:
        return squeeze(problem, run.lower_bound)
    high = squeeze(problem, run.target, below=True)
    middle = squeeze(problem, low + 0.5 * (run.target - low))
    if low >= run.target or (middle.capacity >= high.capacity).all() or middle.above <= low:
        return high
    return middle


def _is_last(problem: Problem, run: Run, cut: Squeezed) -> bool:
    """Whether nothing easier is worth asking after a question."""
    if run.best is None:
        return True
    high = squeeze(problem, run.target, below=True)
    return bool((cut.capacity >= high.capacity).all())


def _ask(
    problem: Problem, run: Run, cut: Squeezed, attempt: Attempt, seconds: float
) -> Verdict | None:
    """Return what comes of a question; None: some op fits nowhere."""
    if cut.problem is None:
        return None
    inner = SqueezedRun(run, cut.problem, min(seconds, run.remaining))
    part = inner.limited(math.inf, lambda: inner.best is not None or run.stopped)
    verdict = attempt(cut.problem, part)
    if inner.best is not None:
        return Verdict(Status.FEASIBLE)
    return verdict if verdict.status is Status.INFEASIBLE else Verdict(Status.UNKNOWN)
