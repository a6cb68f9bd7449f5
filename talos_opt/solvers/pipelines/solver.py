"""`pipeline`: placements for steps of a pipeline, and for its memory."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from talos_opt.core.errors import InfeasibleScheduleError, UnsupportedError
from talos_opt.core.problem import Ints, MemoryRule, Problem
from talos_opt.core.result import Status
from talos_opt.core.simulator import MemoryDeadlockError, simulate
from talos_opt.core.transfers import NoRouteError
from talos_opt.solvers.engine import registry
from talos_opt.solvers.engine.base import Feature, Solver, Verdict
from talos_opt.solvers.engine.run import Run
from talos_opt.solvers.engine.warmup import get_ready, tiny_problem
from talos_opt.solvers.pipelines.blocks import StepBlocks
from talos_opt.solvers.pipelines.bounds import path_bound, rounds_problem
from talos_opt.solvers.pipelines.chains import ChainSearch, TimeIsOverError
from talos_opt.solvers.pipelines.facts import make_steps, op_loads
from talos_opt.solvers.pipelines.search import StepSearch

#: Who says in turn what the largest load is at the least, and for what share of the time.
_ROUNDS = (("dp", 0.15), ("relax", 0.15))
#: Shares of what lies between bound and value, up to which chains are searched for one by one.
_LIMITS = (0.1, 0.3, 0.6, 1.0)
#: Share of the time for the first local search, and the most seconds.
_SEARCH_SHARE, _SEARCH_S = 0.2, 3.0
#: More blocks than this are no matter of looking at all chains.
_MOST_BLOCKS = 2_000
#: Ways to place what is in no stage that are looked at for each chain.
_MOST_FREE = 1_000


@dataclass(frozen=True)
class PipelineOptions:
    """Options of `pipeline`.

    Parameters
    ----------
    chains : bool
        Look through all chains of ideals whose step may be shorter, which proves optima.
    """

    chains: bool = True


class PipelineSolver(Solver):
    """Starts from the best balance of loads, moves borders, then looks through all chains."""

    name = "pipeline"
    summary = "objective step and memory rule pipeline: stages balanced, moved, all looked through"
    exact = True
    features = frozenset(Feature) - {Feature.TOCT, Feature.MAKESPAN, Feature.MEMORY}
    Options = PipelineOptions

    def kernels(self, problem: Problem) -> tuple[str, ...]:
        """Return the kernels of steps, and of splits."""
        return ("steps", "splits")

    def require(self, problem: Problem) -> None:
        """Refuse what is not about steps of a pipeline.

        Raises
        ------
        UnsupportedError
        GraphError
            If the problem does not say how steps are run.
        """
        if not problem.is_pipelined:
            raise UnsupportedError(
                f"solver {self.name!r} does not cover problems without a pipeline; use auto"
            )
        super().require(problem)
        problem.require_pipeline()

    def solve(self, problem: Problem, run: Run) -> Verdict:
        """Bounds and a start, a local search, then chains, for as long as there is time."""
        if not get_ready(run, "steps"):
            return Verdict(Status.UNKNOWN, "pipeline: kernels were not compiled in time")
        from talos_opt.kernels.pipelines import step_value

        steps = make_steps(problem)
        if (steps.phase[steps.src] > steps.phase[steps.dst]).any():
            return Verdict(Status.INFEASIBLE, "an op reads what a later phase makes")
        work = _Work(problem, run, self.name, lambda home: float(step_value(steps, home)))
        run.raise_bound(path_bound(problem), self.name)
        work.offer_alone()
        work.offer_even()
        reason = work.balance()
        if reason:
            return Verdict(Status.INFEASIBLE, reason)
        work.search(run.limited(min(_SEARCH_S, _SEARCH_SHARE * run.remaining)))
        if self.options.chains:
            ended = work.chains()
            if ended and run.best is None and not work.failed:
                return Verdict(Status.INFEASIBLE, "no chain of stages fits the devices")
        work.search(run)
        if run.best is not None:
            return Verdict(Status.FEASIBLE)
        return Verdict(Status.UNKNOWN, "pipeline: no placement was found within the time limit")


class _Work:
    """One solve: what is known of placements.

    Parameters
    ----------
    problem : Problem
    run : Run
    name : str
    evaluate : callable
        Value of a placement of groups, where links carry any number of tensors at once.
    """

    def __init__(self, problem: Problem, run: Run, name: str, evaluate) -> None:  # type: ignore[no-untyped-def]
        self.problem, self.run, self.name, self.evaluate = problem, run, name, evaluate
        #: Values of placements for which no schedule was found, though there may be one.
        self.failed: list[float] = []
        self.rounds = 0

    def offer(self, home: Ints) -> bool:
        """Offer a placement of groups (g,); whether a schedule of it is feasible."""
        problem = self.problem
        device = home[problem.arrays.group]
        try:
            self.run.offer(simulate(problem, device, problem.arrays.rank), self.name)
        except (NoRouteError, MemoryDeadlockError):
            return False
        except InfeasibleScheduleError as error:
            if not all(item.startswith(("memory", "pipeline")) for item in error.violations):
                raise
            return False
        return True

    def offer_alone(self) -> None:
        """Offer all on one device, where one can run all."""
        arrays = self.problem.arrays
        for d in np.flatnonzero(arrays.allowed.all(axis=0)).tolist():
            if self.run.overdue:
                return
            self._try(np.full(arrays.group_count, d, dtype=np.int64))

    def offer_even(self) -> None:
        """Offer an order of all ops that is cut into parts of equal work: seldom good, but soon."""
        arrays = self.problem.arrays
        load = op_loads(self.problem).min(axis=1)
        work = np.bincount(arrays.group, weights=load, minlength=arrays.group_count)
        if self.run.overdue or not np.isfinite(work).all():
            return
        inside = arrays.forward
        rank = np.full(arrays.group_count, arrays.op_count, dtype=np.int64)
        np.minimum.at(rank, arrays.group[inside], arrays.rank[inside])
        order = np.argsort(rank, kind="stable")
        done = np.cumsum(work[order]) - work[order] / 2
        share = done * arrays.device_count / max(float(work.sum()), np.finfo(float).tiny)
        home = np.empty(arrays.group_count, dtype=np.int64)
        home[order] = np.minimum(share.astype(np.int64), arrays.device_count - 1)
        self._try(home)

    def balance(self) -> str:
        """Raise the bound by what devices have to do, and offer what does it best.

        Returns
        -------
        str
            Why there is no placement, empty if there may be one.
        """
        run, rounds = self.run, rounds_problem(self.problem)
        inner = Run(
            rounds, time_limit=run.remaining, seed=run.seed, workers=run.workers, inside=run
        )
        for name, share in _ROUNDS:
            if run.stopped or inner.proven:
                break
            solver = registry.create(name)
            if not solver.covers(rounds):
                continue
            verdict = solver.solve(rounds, inner.limited(share * run.remaining))
            if verdict.status is Status.INFEASIBLE:
                return verdict.reason
            run.raise_bound(min(inner.lower_bound, run.value), self.name)
            if inner.best is not None:
                self._try(self._home(inner.best.device))
        return ""

    def _home(self, device: Ints) -> Ints:
        home = np.empty(self.problem.arrays.group_count, dtype=np.int64)
        home[self.problem.arrays.group] = device
        return home

    def _try(self, home: Ints) -> None:
        value = self.evaluate(home)
        if math.isfinite(value) and value < self.run.value and not self.offer(home):
            self._fail(value)

    def _fail(self, value: float) -> None:
        """Remember that a placement may still be feasible, where another order could do it."""
        peak = self.problem.memory_rule is MemoryRule.PEAK
        if peak and self.problem.arrays.memory_limited:
            self.failed.append(value)

    def search(self, part: Run) -> None:
        """Move groups about for a while, from the incumbent."""
        run = self.run
        while run.best is not None and not part.stopped:
            search = StepSearch(self.problem, self.evaluate, run.seed + self.rounds)
            self.rounds += 1
            for value, home in search.run(self._home(run.best.device), lambda: part.stopped):
                if value < run.target and not self.offer(home):
                    self._fail(value)

    def chains(self) -> bool:
        """Look through all chains, in steps of the limit; whether that came to an end."""
        problem, run = self.problem, self.run
        if run.best is not None and run.stopped:
            return False
        blocks = StepBlocks(problem)
        free = len(blocks.loose) * math.log(problem.arrays.device_count)
        if blocks.count > _MOST_BLOCKS or free > math.log(_MOST_FREE):
            return False
        for share in _LIMITS:
            if run.best is None and share < 1:
                continue
            if run.best is not None and run.stopped:
                return True
            bound, limit = run.lower_bound, run.target
            if share < 1:
                limit = bound + share * (limit - bound)
            search = ChainSearch(problem, blocks, self.evaluate, lambda: run.overdue)
            try:
                for value, home in search.run(limit):
                    if self.offer(home):
                        search.limit = min(search.limit, run.target)
                    else:
                        self._fail(value)
            except TimeIsOverError:
                return False
            run.raise_bound(min(search.limit, run.value, *self.failed), self.name)
        return True


def use_steps() -> None:
    """Call the kernel on something tiny."""
    from talos_opt.kernels.pipelines import step_value

    problem = tiny_problem().with_stages("acyclic").with_objective("step")
    problem = problem.with_pipeline({"microbatches": 1, "schedule": "gpipe"})
    step_value(make_steps(problem), np.zeros(problem.arrays.group_count, dtype=np.int64))
