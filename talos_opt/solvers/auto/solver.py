"""`auto`: a portfolio. Cheap answers first, local search, then exact solvers in their shadow."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterable
from itertools import islice

from talos_opt.core.errors import DependencyError, SolverError
from talos_opt.core.problem import Problem
from talos_opt.core.result import Status
from talos_opt.solvers.auto.stages import (
    CPSAT_UP_TO_OPS,
    LARGE,
    PROVABLE,
    SMALL,
    Stage,
    last_stage,
    searches,
    stages,
)
from talos_opt.solvers.auto.turns import AGAIN, Turns
from talos_opt.solvers.engine import registry
from talos_opt.solvers.engine.base import ALL_FEATURES, NoOptions, Solver, Verdict
from talos_opt.solvers.engine.budget import Budget, Clock
from talos_opt.solvers.engine.compilation import MOST_AT_ONCE
from talos_opt.solvers.engine.dependencies import require_compatible_highspy
from talos_opt.solvers.engine.run import Run
from talos_opt.solvers.engine.warmup import tell_compiling
from talos_opt.solvers.shared.whole_models import MANY_MODELS, first_schedule

#: In order of cost; run until the time is over, so that the answer is no worse than the best.
BASELINES = ("single", "sequential", "aswm", "tsam", "heft", "etf", "talos")

#: Share of the time that the baselines may take together where they may need it all.
_BASELINE_SHARE = 0.3
#: Turns that are taken at the most: where none finds anything to do, the time goes unused.
_MOST_TURNS = 50
#: Least seconds of a turn.
_SHORTEST_TURN = 0.3
#: Share of the time that CP-SAT may take while kernels are compiled, at no charge.
_MEANWHILE = 0.5
#: Stages that the kernels compiled at first are for.
_FIRST_STAGES = 5
#: Seconds between two looks at whether kernels are there.
_PATIENCE = 0.05


class AutoSolver(Solver):
    """Baselines and Talos, annealing, then proofs and repairs from the best of them.

    Up to 20,000 ops never worse than the best baseline; always with a proven bound: the root
    bounds, and whatever an exact solver proves. It stops as soon as the incumbent meets the bound.
    """

    name = "auto"
    summary = "portfolio: baselines, talos, fast, dp, relax, cpsat, lns, coarse, large; best of all"
    exact = True
    features = ALL_FEATURES
    Options = NoOptions
    #: Whether the kernels of the stages have been asked for.
    _asked = False

    def solve(self, problem: Problem, run: Run) -> Verdict:
        """Let the solvers take their turns until the answer is proven or the time is over."""
        require_compatible_highspy()  # now, not when CP-SAT has its turn, or never
        _offer_whole_models(problem, run)
        count = problem.arrays.op_count
        share = _BASELINE_SHARE if count > CPSAT_UP_TO_OPS else 1.0
        names = BASELINES if count <= LARGE else ()
        reason = self._run_rules(problem, run.limited(share * run.remaining), names)
        self._asked = False
        for turn, stage in enumerate(stages(problem)):
            if run.overdue or turn >= _MOST_TURNS:
                break
            part = run.limited(stage.limit(run.remaining, count))
            verdict = self._take(problem, run, part, stage)
            if verdict is None:
                continue
            reason = reason or verdict.reason
            if verdict.status is Status.INFEASIBLE:
                return verdict
        self._share(problem, run)
        if run.best is not None:
            return Verdict(Status.FEASIBLE)
        return Verdict(Status.UNKNOWN, f"no schedule was found within the time limit; {reason}")

    def _take(self, problem: Problem, run: Run, part: Run, stage: Stage) -> Verdict | None:
        """Let a solver have its turn; None if it cannot run here."""
        solver = self._create(stage)
        if not solver.covers(problem):
            return None
        if not self._asked and solver.kernels(problem):
            self._work_meanwhile(problem, run)
            self._asked = True
        try:
            self._repair_until_compiled(problem, part, solver)
            return solver.solve(problem, part)
        except DependencyError as error:
            if stage.solver == "cpsat":
                raise
            run.note(str(error))  # without numba the others have all the time
        except SolverError as error:
            run.note(f"{stage.solver}: {error}")  # the others go on
        return None

    def _share(self, problem: Problem, run: Run) -> None:
        """Share what time is left among searches by what they gain."""
        arms = {stage.solver: stage for stage in searches(problem)}
        turns = Turns(tuple(arms))
        while turns.names and not (run.overdue or run.proven):
            name, share = turns.choose()
            length = math.inf
            if share < 1:
                length = max(_SHORTEST_TURN, min(AGAIN, share * arms[name].share) * run.remaining)
            before, began = run.value, run.clock()
            if self._take(problem, run, run.limited(length), arms[name]) is None:
                turns.drop(name)
                continue
            turns.tell(name, before, run.value, run.clock() - began)
            if share == 1 and run.value >= before:
                turns.drop(name)  # it has nothing left to do

    def go_on(self, problem: Problem, run: Run) -> None:
        """Use what time is left."""
        solver = self._create(last_stage(problem))
        if solver.covers(problem):
            with contextlib.suppress(DependencyError):
                solver.solve(problem, run)

    def _create(self, stage: Stage) -> Solver:
        """Return a stage's solver; what its user asked of it comes before what the stage does."""
        return registry.create(stage.solver, {**stage.options, **self.others.get(stage.solver, {})})

    def _run_rules(self, problem: Problem, run: Run, names: Iterable[str]) -> str:
        """Run baselines; return why the last one that failed did."""
        reason = ""
        for name in names:
            if run.overdue:
                break
            solver = self._create(Stage(name, 1.0))
            if solver.covers(problem):
                reason = solver.solve(problem, run).reason or reason
                if not run.overdue:
                    run.complete(name)
        return reason

    def _work_meanwhile(self, problem: Problem, run: Run) -> None:
        """Have the kernels of the stages to come compiled, and do without them until then.

        Where they have been compiled before, this comes back as soon as they are loaded. The clock
        stands still: what is done here for want of kernels is a gift. What follows is not disturbed
        by compiling any more, so that it comes to what it would come to on any later day.
        """
        solvers = [self._create(stage) for stage in islice(stages(problem), _FIRST_STAGES)]
        needs = [solver.kernels(problem) for solver in solvers if solver.covers(problem)]
        names = tuple(dict.fromkeys(name for group in needs for name in group))
        kernels, count = run.kernels, problem.arrays.op_count
        kernels.start(*names)
        if count < SMALL:
            names = next(group for group in needs if group)  # and these may be all that it takes
        while not (kernels.compiling or kernels.are_done(*names) or run.overdue):
            kernels.wait(_PATIENCE, *names)
        if not kernels.compiling:
            return
        tell_compiling(run)
        with run.clock.hold():
            ends = (run.cancel.is_set, lambda: kernels.are_done(*names))
            part = run.by(Budget(Clock(run.clock.raw)).within(_MEANWHILE * run.remaining, *ends))
            part.workers = max(1, run.workers - MOST_AT_ONCE)
            if count > LARGE:
                self._run_rules(problem, part, BASELINES)
            elif count <= PROVABLE and self._create(Stage("cpsat", 1.0)).covers(problem):
                self._create(Stage("cpsat", 1.0)).solve(problem, part)
            while not (any(end() for end in ends) or run.proven or run.clock.exhausted):
                kernels.wait(_PATIENCE, *names)

    def _repair_until_compiled(self, problem: Problem, run: Run, solver: Solver) -> None:
        """Let `lns` use the time in which a solver would wait for kernels, and nothing is free."""
        names, kernels = solver.kernels(problem), run.kernels
        if not run.clock.exhausted or run.best is None:
            return
        lns = self._create(Stage("lns", 1.0))
        if problem.arrays.op_count > CPSAT_UP_TO_OPS or not lns.covers(problem):
            return
        kernels.start(*names)
        if not kernels.are_done(*names):
            part = run.limited(math.inf, lambda: kernels.are_done(*names))
            lns.solve(problem, part)


def _offer_whole_models(problem: Problem, run: Run) -> None:
    """Where models are many, placing each as a whole takes no time and is hard to beat."""
    if len(problem.arrays.release) < MANY_MODELS or run.overdue:
        return
    schedule = first_schedule(problem)
    if schedule is not None:
        run.offer(schedule, "whole models")
