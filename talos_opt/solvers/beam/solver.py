"""The `beam` solver: where memory is tight, first an order that holds little, then a placement."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from talos_opt.core.problem import UNLIMITED, MemoryRule, Objective, Problem
from talos_opt.core.result import Status
from talos_opt.solvers.beam.least import LeastMemory
from talos_opt.solvers.beam.orders import OrderSearch, Tensors
from talos_opt.solvers.bounds.cuts import MomentCuts
from talos_opt.solvers.engine.base import NoOptions, Solver, Verdict
from talos_opt.solvers.engine.run import Run
from talos_opt.solvers.engine.warmup import get_ready, give_up, tiny_problem
from talos_opt.solvers.shared.moments import Moment
from talos_opt.solvers.shared.obstacles import describe_moment, find_obstacle
from talos_opt.solvers.shared.offering import offer_placement

#: Share of its time for an order, where several devices may have to share what it holds.
_ORDER_SHARE = 0.5
#: Share of its time for a proof that no order fits.
_CUT_SHARE = 0.1
#: Shares of the time of all ops after which the second of two devices takes over.
_CUTS = (0.5, 0.4, 0.6, 0.3, 0.7, 0.2, 0.8)


class BeamSolver(Solver):
    """Orders of all ops by beam search; each device with them all, or two with a part each.

    Made for the peak rule, under which an order decides whether ops fit at all. Under the static
    rule it does not matter, and any order serves.
    """

    name = "beam"
    summary = "tight memory: beam search over orders of small peak, for the peak rule"
    Options = NoOptions

    def kernels(self, problem: Problem) -> tuple[str, ...]:
        """Return that of orders."""
        return ("orders",)

    def solve(self, problem: Problem, run: Run) -> Verdict:
        """Search for an order that fits, and offer what follows from it."""
        obstacle = find_obstacle(problem)
        if obstacle:
            return Verdict(Status.INFEASIBLE, obstacle)
        if not get_ready(run, *self.kernels(problem)):
            return give_up(run, self.name)
        if problem.objective is Objective.MEMORY:
            return LeastMemory(problem, run, self.name).search()
        arrays = problem.arrays
        alone = np.flatnonzero(arrays.allowed.all(axis=0))
        part = run if arrays.device_count == 1 else run.limited(_ORDER_SHARE * run.remaining)
        search = OrderSearch(
            Tensors.of(arrays), arrays.order.copy(), run.seed, lambda: part.stopped
        )
        room = (arrays.capacity - arrays.weights.sum())[alone]
        if problem.memory_rule is MemoryRule.PEAK:
            moment = self._too_full(problem, search, run.limited(_CUT_SHARE * run.remaining))
            if moment is not None:
                return Verdict(Status.INFEASIBLE, describe_moment(problem, moment))
            search.reach(int(room.max(initial=0)))
        priority = np.empty(arrays.op_count)
        priority[search.order] = np.arange(arrays.op_count)
        for whole, device in placements(problem, search.order):
            if run.overdue or (run.best is not None and not whole):
                break  # others are better at sharing out what fits anyway
            offer_placement(run, device, priority, self.name)
        if run.best is not None:
            return Verdict(Status.FEASIBLE)
        return Verdict(Status.UNKNOWN, "beam found no order that fits")

    def _too_full(self, problem: Problem, search: OrderSearch, run: Run) -> Moment | None:
        """Return a moment that all devices together have no room for, if one is found."""
        arrays = problem.arrays
        if run.best is not None or (arrays.capacity >= UNLIMITED).any():
            return None
        room = sum(arrays.capacity.tolist())
        return MomentCuts(arrays).fullest(search.tops(), room, room, lambda: run.stopped)


def placements(problem: Problem, order: np.ndarray) -> Iterator[tuple[bool, np.ndarray]]:
    """Yield all ops on each device that may run them, then the order cut in two for each pair.

    With each, whether it is on one device.
    """
    arrays = problem.arrays
    count, devices = arrays.op_count, arrays.device_count
    alone = np.flatnonzero(arrays.allowed.all(axis=0)).tolist()
    for d in alone:
        yield True, np.full(count, d)
    time = np.where(np.isfinite(arrays.time), arrays.time, 0.0).min(axis=1)[order]
    done = np.cumsum(time) / max(1e-300, float(time.sum()))
    for cut in _CUTS:
        for a in range(devices):
            for b in range(devices):
                if a == b:
                    continue
                device = np.empty(count, dtype=np.int64)
                device[order] = np.where(done <= cut, a, b)
                yield False, _repaired(problem, device)


def _repaired(problem: Problem, device: np.ndarray) -> np.ndarray:
    """Return a placement with each group together, where its first op is, or else may be."""
    arrays = problem.arrays
    _, first = np.unique(arrays.group, return_index=True)
    home = device[first]
    wrong = ~arrays.allowed[np.arange(arrays.group_count), home]
    home = np.where(wrong, arrays.allowed.argmax(axis=1), home)
    return np.asarray(home[arrays.group])


def use_orders() -> None:
    """Call the kernels of orders, and of cuts."""
    arrays = tiny_problem().arrays
    search = OrderSearch(Tensors.of(arrays), arrays.order.copy(), 0, lambda: True)
    search.search(0, arrays.op_count, 0, width=2)
    MomentCuts(arrays).fullest(search.tops() + 1, 0, 0, lambda: False)
