"""What a placement becomes when it is simulated in the order of the best schedule so far."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from talos_opt.analysis.moves import order_of_starts
from talos_opt.core.occupancy import static_memory
from talos_opt.core.problem import Ints, MemoryRule, Objective, Problem
from talos_opt.core.schedule import Schedule
from talos_opt.core.simulator import MemoryDeadlockError, simulate
from talos_opt.core.ties import Standing, rank, standing
from talos_opt.core.transfers import NoRouteError
from talos_opt.solvers.shared.instance import make_instance

if TYPE_CHECKING:
    from talos_opt.kernels.inserting import Rows


@dataclass(frozen=True)
class Figures:
    """All that a schedule is judged by.

    Parameters
    ----------
    standing : Standing
    devices : int
        That run an op.
    transfers : int
        Hops.
    """

    standing: Standing
    devices: int
    transfers: int


#: Tells whether the first is better than the second.
Better = Callable[[Figures, Figures], bool]


def judge(problem: Problem, schedule: Schedule) -> Figures:
    """Measure a feasible schedule."""
    devices = devices_used(schedule.device)
    return Figures(standing(problem, schedule), devices, len(schedule.transfers))


def devices_used(device: Ints) -> int:
    """Return how many devices run an op."""
    return int(np.count_nonzero(np.bincount(device)))


class Trials:
    """A schedule, and the placements that are tried in its order.

    Parameters
    ----------
    problem : Problem
    begin : Schedule
    better : callable
    """

    def __init__(self, problem: Problem, begin: Schedule, better: Better) -> None:
        self.problem, self.better = problem, better
        self.static = problem.arrays.memory_limited and problem.memory_rule is MemoryRule.STATIC
        self._made: Schedule | None = begin
        # A copy, as kernels would be compiled once more for what cannot be written to.
        self.device, self.figures = begin.device.copy(), judge(problem, begin)
        self.priority = order_of_starts(problem, begin.start, begin.end)

    def attempt(self, where: Ints, limit: float, priority: Ints | None = None) -> bool:
        """Simulate a placement; if that makes a better schedule, go on from it and return True.

        Parameters
        ----------
        where : (n,) int
        limit : float
            A larger value is no better.
        priority : (n,) int, optional
            Position of each op in another order, producers before their readers.
        """
        if not self.problem.keeps_stages(where):
            return False
        if self.static:
            held = static_memory(self.problem, where)
            if (held > self.problem.arrays.capacity).any():
                return False
        return self._improves(where, self.priority if priority is None else priority, limit)

    def schedule(self) -> Schedule:
        """Return the best schedule so far."""
        assert self._made is not None
        return self._made

    def _improves(self, where: Ints, priority: Ints, limit: float) -> bool:
        try:
            made = simulate(self.problem, where, priority)
        except (NoRouteError, MemoryDeadlockError):
            return False
        figures = judge(self.problem, made)
        if not self.better(figures, self.figures):
            return False
        self._made, self.device, self.figures = made, where, figures
        self.priority = order_of_starts(self.problem, made.start, made.end)
        return True


class CompiledTrials(Trials):
    """The same by a compiled pass; only the last schedule is simulated, when it is asked for.

    Memory over time is not seen by that pass.
    """

    def __init__(self, problem: Problem, begin: Schedule, better: Better) -> None:
        super().__init__(problem, begin, better)
        self.instance, self.rows = make_instance(problem, near=False), make_rows(problem)
        self.found, self.made_by = np.zeros(5), self.priority

    def schedule(self) -> Schedule:
        """Return the best schedule so far."""
        if self._made is None:
            self._made = simulate(self.problem, self.device, self.made_by)
        return self._made

    def arguments(self, where: Ints, priority: Ints, limit: float) -> tuple[Any, ...]:
        """Return what the kernel takes."""
        order = np.argsort(priority)
        return self.instance, self.rows, where, order, float(limit), self.found

    def _improves(self, where: Ints, priority: Ints, limit: float) -> bool:
        from talos_opt.kernels.inserting import insert_all

        insert_all(*self.arguments(where, priority, limit))
        value, idle, moved, transfers, end = self.found.tolist()
        if not np.isfinite(value):
            return False
        about = rank(self.problem, value, idle, int(moved), end)
        figures = Figures(about, devices_used(where), int(transfers))
        if not self.better(figures, self.figures):
            return False
        self._made, self.made_by = None, priority
        self.device, self.figures = where, figures
        self.priority = order_of_starts(self.problem, self.rows.start, self.rows.end)
        return True


def covers(problem: Problem, begin: Schedule) -> bool:
    """Tell whether `CompiledTrials` see all that decides whether a placement has a schedule.

    They take ops in the order of their starts as it is: an op that rounding lets start a little
    before its input ends must not come before it there.
    """
    arrays = problem.arrays
    if problem.objective is Objective.MEMORY or problem.frozen is not None:
        return False
    place = order_of_starts(problem, begin.start, begin.end)
    return (not arrays.memory_limited or problem.memory_rule is MemoryRule.STATIC) and bool(
        (place[arrays.edge_src] < place[arrays.edge_dst]).all()
    )


def make_rows(problem: Problem) -> Rows:
    """Allocate the working space of a compiled pass."""
    from talos_opt.kernels.inserting import Rows

    arrays = problem.arrays
    ops, devices = arrays.time.shape
    lines = devices + int(arrays.channel.max(initial=-1)) + 1
    hops = min(arrays.tensor_count * devices, 2 * len(arrays.edge_src))
    queued = lines > devices or not arrays.copy_engine.all()
    width = 2 * (ops + (hops if queued else 0)) + 2
    models = len(arrays.release)
    return Rows(
        start=np.zeros(ops),
        end=np.zeros(ops),
        arrived=np.zeros((arrays.tensor_count, devices)),
        moment=np.zeros((lines, width)),
        used=np.zeros((lines, width), dtype=np.int64),
        length=np.ones(lines, dtype=np.int64),
        room=np.concatenate([arrays.slots, np.ones(lines - devices, dtype=np.int64)]),
        busy=np.zeros(lines),
        last=np.zeros(lines),
        load=np.zeros(lines),
        done=np.zeros(models),
        least=np.zeros(models),
    )
