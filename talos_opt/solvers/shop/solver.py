"""The `shop` solver: what can be said by queues is searched by moving critical ops in them."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from talos_opt.core.problem import Ints, Problem
from talos_opt.core.result import Status
from talos_opt.solvers.engine import registry
from talos_opt.solvers.engine.base import FREE_FEATURES, Feature, Solver, Verdict
from talos_opt.solvers.engine.run import Run
from talos_opt.solvers.engine.warmup import get_ready, give_up, tiny_problem
from talos_opt.solvers.shared.obstacles import find_obstacle
from talos_opt.solvers.shared.queues import queues_tell_all
from talos_opt.solvers.shared.starting import incumbent, order_by_start, run_rules
from talos_opt.solvers.shop.chain import Chain
from talos_opt.solvers.shop.pool import Point, Pool

#: Most chains: one per worker, up to this number.
_MOST_CHAINS = 8
#: Moves of `fast` in place of a step, where queues do not tell all.
_MOVES_PER_STEP = 8
#: Constructive rules that give the first points where there is none.
RULES = ("heft", "etf", "sequential", "single")
#: Ops by steps between two looks at the clock: some 20 ms.
_CHUNK = 150_000
#: Runs that end where they begin after which a chain has nothing more to do.
_IDLE = 50


@dataclass(frozen=True)
class ShopOptions:
    """Options of `ShopSolver`.

    Parameters
    ----------
    steps : int
        Steps that each chain makes; 0: until the time is over. With a number, the same seed and
        the same number of workers give the same answer.
    rules : bool
        Whether to start from simple rules too where there is an incumbent; without one, always.
    """

    steps: int = 0
    rules: bool = True

    def __post_init__(self) -> None:
        if self.steps < 0:
            raise ValueError(f"steps is {self.steps}, expected at least 0")


class ShopSolver(Solver):
    """Tabu search on critical ops, one chain per worker, between points of a population."""

    name = "shop"
    summary = "local search for shops: many ops to order, no or cheap transfers"
    Options = ShopOptions
    features = FREE_FEATURES - {
        Feature.BOTTLENECK,
        Feature.MEMORY,
        Feature.PEAK_MEMORY,
        Feature.SERIAL_LINKS,
        Feature.NO_COPY_ENGINE,
    }

    def kernels(self, problem: Problem) -> tuple[str, ...]:
        """Return that of its steps."""
        return ("shops",)

    def solve(self, problem: Problem, run: Run) -> Verdict:
        """Improve until the time, or the number of steps, is used up."""
        obstacle = find_obstacle(problem)
        if obstacle:
            return Verdict(Status.INFEASIBLE, obstacle)
        if not get_ready(run, *self.kernels(problem)):
            return give_up(run, self.name)
        rules = RULES if self.options.rules or run.best is None else ()
        starts = _find_starts(problem, run, rules)
        if run.best is None or not queues_tell_all(problem):
            moves = self.options.steps * _MOVES_PER_STEP
            return registry.create("fast", {"moves": moves}).solve(problem, run)
        workers = max(1, min(run.workers, _MOST_CHAINS))
        shared = Pool()
        chains = [
            Chain(
                problem,
                run.seed * 1000 + number,
                Pool() if self.options.steps else shared,
                starts[number :: min(workers, len(starts))] or starts[:1],
            )
            for number in range(workers)
        ]
        with ThreadPoolExecutor(workers) as pool:
            try:
                found = list(pool.map(lambda chain: self._improve(chain, run), chains))
            except BaseException:  # Ctrl-C: the pool waits for its threads
                run.cancel.set()
                raise
        for chain, point in zip(chains, found, strict=True):
            _offer(chain, point, run)
        return Verdict(Status.FEASIBLE)

    def _improve(self, chain: Chain, run: Run) -> Point:
        """Let a chain search; return the best point that it has found."""
        total, done, idle = self.options.steps, 0, 0
        chunk = max(10, _CHUNK // chain.problem.arrays.op_count)
        best = None
        while idle < _IDLE and not run.stopped and not (total and done >= total):
            made = chain.search(min(chunk, total - done) if total else chunk)
            done += made
            idle = 0 if made else idle + 1
            if best is None or chain.value < best.value:
                best = chain.point()
                if not total:  # else others would see sooner or later what this one has found
                    _offer(chain, best, run)
        if best is None:
            chain.search(0)
            best = chain.point()
        return best


def _find_starts(problem: Problem, run: Run, rules: tuple[str, ...]) -> list[tuple[Ints, Ints]]:
    """Return placements and orders to start from, best first: the incumbent's and those of rules.

    The incumbent alone may lie where no way leads on; chains that start elsewhere do not.
    """
    found = incumbent(run) + run_rules(problem, run, rules)
    found.sort(key=lambda item: item[0])
    return [(schedule.device, order_by_start(problem, schedule)) for _, schedule in found]


def _offer(chain: Chain, point: Point, run: Run) -> None:
    if point.value < run.value:
        run.offer(chain.schedule(point), ShopSolver.name)


def use_shops() -> None:
    """Call the kernels."""
    problem = tiny_problem()
    order = problem.arrays.order.copy()
    chain = Chain(problem, 0, Pool(), [(np.zeros(2, dtype=np.int64), order)])
    chain.search(1)
    chain.schedule(chain.point())
