"""`auto`: a portfolio. Cheap answers first, local search, then exact solvers in their shadow."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from talos_opt.core.errors import DependencyError, SolverError, UnsupportedError
from talos_opt.core.problem import Problem
from talos_opt.core.result import Status
from talos_opt.solvers.engine import registry
from talos_opt.solvers.engine.base import NoOptions, Solver, Verdict, is_placement_only
from talos_opt.solvers.engine.dependencies import require_compatible_highspy
from talos_opt.solvers.engine.run import Run
from talos_opt.solvers.shared.whole_models import MANY_MODELS, first_schedule

#: In order of cost; run until the time is over, so that the answer is no worse than the best.
BASELINES = ("single", "sequential", "aswm", "tsam", "heft", "etf", "talos")

#: Below this size CP-SAT needs less time than loading compiled kernels takes.
_SMALL = 30
#: Up to this size the full CP-SAT formulation proves optima in seconds to minutes.
_PROVABLE = 120
#: Above this size even the baselines take longer than a good answer by linear passes.
_LARGE = 20_000
#: Above this size merging ops and taking packs apart takes too much of the time.
_COARSE_UP_TO_OPS = 200_000
#: Seconds that the first turn of local search takes at the most, and for each op.
_FIRST_S, _FIRST_S_PER_OP = 2.0, 0.01
#: Share of the time that the baselines may take together on more ops than that.
_BASELINE_SHARE = 0.3
#: Turns that are taken at the most: where none finds anything to do, the time goes unused.
_MOST_TURNS = 50
#: Above this size building CP-SAT's formulation takes longer than it is worth.
_CPSAT_UP_TO_OPS = 5_000


class Stage(NamedTuple):
    """A solver's turn.

    Parameters
    ----------
    solver : str
    share : float
        Share of the time that remains when its turn comes.
    options : mapping
    most_s : float
        Seconds that it takes at the most, whatever the share.
    """

    solver: str
    share: float
    options: Mapping[str, Any] = {}
    most_s: float = math.inf


class AutoSolver(Solver):
    """Baselines and Talos, annealing, then proofs and repairs from the best of them.

    Up to 20,000 ops never worse than the best baseline; always with a proven bound: the root
    bounds, and whatever an exact solver proves. It stops as soon as the incumbent meets the bound.
    """

    name = "auto"
    summary = "portfolio: baselines, talos, fast, dp, relax, cpsat, lns, coarse, large; best of all"
    exact = True
    Options = NoOptions

    def solve(self, problem: Problem, run: Run) -> Verdict:
        """Let the solvers take their turns until the answer is proven or the time is over."""
        require_compatible_highspy()  # now, not when CP-SAT has its turn, or never
        _offer_whole_models(problem, run)
        reason = self._run_baselines(problem, run)
        for turn, stage in enumerate(_stages(problem)):
            if run.overdue or turn >= _MOST_TURNS:
                break
            solver = self._create(stage)
            try:
                solver.require(problem)
            except UnsupportedError:
                continue
            try:
                with run.limited_to(min(stage.most_s, stage.share * run.remaining)):
                    verdict = solver.solve(problem, run)
            except DependencyError as error:
                if stage.solver == "cpsat":
                    raise
                run.note(str(error))  # without numba the others have all the time
                continue
            except SolverError as error:
                run.note(f"{stage.solver}: {error}")  # the others go on
                continue
            reason = reason or verdict.reason
            if verdict.status is Status.INFEASIBLE:
                return verdict
        if run.best is not None:
            return Verdict(Status.FEASIBLE)
        return Verdict(Status.UNKNOWN, f"no schedule was found within the time limit; {reason}")

    def go_on(self, problem: Problem, run: Run) -> None:
        """Let the last stage, which always finds something to do, use what time is left."""
        *_, last = _stages(problem) if problem.arrays.op_count >= _SMALL else (Stage("fast", 1.0),)
        with contextlib.suppress(DependencyError):
            self._create(last).solve(problem, run)

    def _create(self, stage: Stage) -> Solver:
        """Return a stage's solver; what its user asked of it comes before what the stage does."""
        return registry.create(stage.solver, {**stage.options, **self.others.get(stage.solver, {})})

    def _run_baselines(self, problem: Problem, run: Run) -> str:
        """Run the rules, within a share of the time where they may need it all."""
        count, reason = problem.arrays.op_count, ""
        share = _BASELINE_SHARE if count > _CPSAT_UP_TO_OPS else 1.0
        with run.limited_to(share * run.remaining):
            for name in BASELINES if count <= _LARGE else ():
                if run.overdue:
                    break
                reason = self._create(Stage(name, 1.0)).solve(problem, run).reason or reason
        return reason


def _offer_whole_models(problem: Problem, run: Run) -> None:
    """Where models are many, placing each as a whole takes no time and is hard to beat."""
    if len(problem.arrays.release) < MANY_MODELS or run.overdue:
        return
    schedule = first_schedule(problem)
    if schedule is not None:
        run.offer(schedule, "whole models")


def _stages(problem: Problem) -> Iterator[Stage]:
    """Yield the turns that suit a problem, by its size."""
    count = problem.arrays.op_count
    if count < _SMALL:
        yield Stage("cpsat", 0.5)
        while True:  # whatever stops one of them short, the next begins with what it learned
            yield Stage("dp", 0.3)
            yield Stage("relax", 0.3)
            yield Stage("fast", 0.3)
            yield Stage("lns", 0.3)
            yield Stage("cpsat", 1.0)
    if count > _LARGE:
        if count <= _COARSE_UP_TO_OPS:
            yield Stage("large", 0.3)
            yield Stage("coarse", 0.7, {"share": 1.0})
        yield Stage("large", 1.0)
        return
    if count > _CPSAT_UP_TO_OPS:
        if len(problem.arrays.release) >= MANY_MODELS:
            yield Stage("large", 0.3)  # merging ops finds little between models of a few ops
        yield Stage("coarse", 0.7, {"share": 1.0})
        yield Stage("large", 0.4)
        yield Stage("fast", 1.0)
        return
    # Exact solvers need a good incumbent, not the best: what is left to find has another turn.
    yield Stage("fast", 0.3, most_s=_FIRST_S + _FIRST_S_PER_OP * count)
    if is_placement_only(problem):
        yield Stage("cpsat", 0.35)
        yield Stage("relax", 0.5)
        yield Stage("cpsat", 0.4)
        yield Stage("lns", 0.5)
        yield Stage("fast", 1.0)
        return
    yield Stage("dp", 0.4, {"most_ideals": 3000})
    yield Stage("relax", 0.35)
    if count <= _PROVABLE:
        yield Stage("cpsat", 0.5)
    yield Stage("lns", 0.2)
    yield Stage("fast", 1.0)
