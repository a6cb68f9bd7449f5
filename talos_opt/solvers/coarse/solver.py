"""The `coarse` solver: local search over packs of ops, then over the ops themselves."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from talos_opt.core.problem import Problem
from talos_opt.core.result import Status
from talos_opt.core.simulator import simulate
from talos_opt.solvers.coarse.coarsening import Caps, coarsen
from talos_opt.solvers.coarse.levels import LevelRun, find_levels
from talos_opt.solvers.coarse.unpacking import offer_unpacked
from talos_opt.solvers.engine import registry
from talos_opt.solvers.engine.base import FREE_FEATURES, Feature, Solver, Verdict
from talos_opt.solvers.engine.run import Run
from talos_opt.solvers.engine.warmup import get_ready, give_up, tiny_problem
from talos_opt.solvers.shared.obstacles import find_obstacle
from talos_opt.solvers.shared.quotient import Packed


@dataclass(frozen=True)
class CoarseOptions:
    """Options of `CoarseSolver`.

    Parameters
    ----------
    packs : int
        Parts that all work is cut into: no pack takes more than one of them, so that there are
        some times as many packs. 0: two levels of packs, of usual sizes.
    share : float
        Share of the time for the search over packs; what is left refines. 1: no refining.
    """

    packs: int = 0
    share: float = 0.6

    def __post_init__(self) -> None:
        if self.packs < 0:
            raise ValueError(f"packs is {self.packs}, expected at least 0")
        if not 0 < self.share <= 1:
            raise ValueError(f"share is {self.share}, expected 0 < share <= 1")


class CoarseSolver(Solver):
    """Local search over packs of ops, which moves more at a time than any move of a single op.

    Multilevel, as in graph partitioning: the search begins with few packs; its answer is where
    it goes on with more of them, and last with the ops. Packs are convex, so that each can be
    taken for an op.
    """

    name = "coarse"
    summary = "merges ops into packs, local search over these, then over the ops; large graphs"
    features = FREE_FEATURES - {Feature.MEMORY}
    Options = CoarseOptions

    def kernels(self, problem: Problem) -> tuple[str, ...]:
        """Return those of `fast`, and of merging and taking apart."""
        return ("annealing", "reinsertion", "packs", "paths")

    def solve(self, problem: Problem, run: Run) -> Verdict:
        """Search on every level of packs, then among the ops."""
        obstacle = find_obstacle(problem)
        if obstacle:
            return Verdict(Status.INFEASIBLE, obstacle)
        if not get_ready(run, *self.kernels(problem)):
            return give_up(run, self.name)
        begin, length = run.clock(), self.options.share * run.remaining
        levels = find_levels(problem, self.options.packs)
        if levels:
            spent = run.clock() - begin  # taking packs apart takes about as long
            self._search(levels, run, begin + max(length / 2, length - spent))
        if self.options.share < 1 and not run.stopped:
            return registry.create("fast").solve(problem, run)
        if run.best is not None:
            return Verdict(Status.FEASIBLE)
        why = "no schedule of packs was found" if levels else "the graph hardly contracts"
        return Verdict(Status.UNKNOWN, f"coarse: {why}")

    def _search(self, levels: list[Packed], run: Run, end_s: float) -> None:
        """Search from the coarsest level down; each hands its answer to the one below.

        Parameters
        ----------
        levels : list of Packed
            From fine to coarse.
        run : Run
        end_s : float
            Moment on the run's clock by which to be done.
        """
        above: Run | None = None
        for number in reversed(range(len(levels))):
            packed = levels[number]
            left = end_s - run.clock()
            target = math.inf if above is not None else run.value
            level = LevelRun(packed.problem, run, left / (number + 1), target)
            if above is not None and above.best is not None:
                offer_unpacked(levels[number + 1], above.best, level, self.name)
            try:
                _improve(level)
            finally:  # what was found is not lost by Ctrl-C
                _offer_below(levels[: number + 1], level, run)
            if run.stopped or level.hopeless:
                return
            above = level


def _improve(level: Run) -> None:
    if not level.stopped:
        registry.create("fast").solve(level.problem, level)


def _offer_below(levels: list[Packed], level: Run, run: Run) -> None:
    """Offer the best schedule of the last of the levels to the run itself."""
    if level.best is None:
        return
    for packed in reversed(levels[1:]):
        below = LevelRun(packed.original, run)
        offer_unpacked(packed, level.best, below, CoarseSolver.name)
        if below.best is None:
            return
        level = below
    assert level.best is not None
    offer_unpacked(levels[0], level.best, run, CoarseSolver.name)


def use_packs() -> None:
    """Call what merges ops, and what takes packs apart."""
    problem = tiny_problem()
    packed = coarsen(problem, Caps(1))
    order = packed.problem.arrays.order
    schedule = simulate(packed.problem, np.zeros(len(order), dtype=np.int64), order)
    offer_unpacked(packed, schedule, Run(problem), CoarseSolver.name)
