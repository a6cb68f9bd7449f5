"""`auto`: a portfolio. Cheap answers first, local search, then exact solvers in their shadow."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import Any, NamedTuple

from talos_opt.core.errors import DependencyError, SolverError, UnsupportedError
from talos_opt.core.problem import Problem
from talos_opt.core.result import Status
from talos_opt.solvers.engine import registry
from talos_opt.solvers.engine.base import NoOptions, Solver, Verdict, is_placement_only
from talos_opt.solvers.engine.budget import Budget, Clock
from talos_opt.solvers.engine.compilation import MOST_AT_ONCE
from talos_opt.solvers.engine.dependencies import require_compatible_highspy
from talos_opt.solvers.engine.run import Run
from talos_opt.solvers.engine.warmup import tell_compiling
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
#: Share of the time that CP-SAT may take while kernels are compiled, at no charge.
_MEANWHILE = 0.5
#: Stages that the kernels compiled at first are for.
_FIRST_STAGES = 5
#: Seconds between two looks at whether kernels are there.
_PATIENCE = 0.05
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
        share = _BASELINE_SHARE if problem.arrays.op_count > _CPSAT_UP_TO_OPS else 1.0
        names = BASELINES if problem.arrays.op_count <= _LARGE else ()
        reason = _run_rules(problem, run.limited(share * run.remaining), names)
        asked = False
        for turn, stage in enumerate(_stages(problem)):
            if run.overdue or turn >= _MOST_TURNS:
                break
            solver = registry.create(stage.solver, stage.options)
            if not _covers(solver, problem):
                continue
            if not asked and solver.kernels(problem):
                _work_meanwhile(problem, run)
                asked = True
            try:
                share = min(stage.most_s, stage.share * run.remaining)
                part = run.limited(share)
                _repair_until_compiled(problem, part, solver)
                verdict = solver.solve(problem, part)
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
            registry.create(last.solver, last.options).solve(problem, run)


def _offer_whole_models(problem: Problem, run: Run) -> None:
    """Where models are many, placing each as a whole takes no time and is hard to beat."""
    if len(problem.arrays.release) < MANY_MODELS or run.overdue:
        return
    schedule = first_schedule(problem)
    if schedule is not None:
        run.offer(schedule, "whole models")


def _run_rules(problem: Problem, run: Run, names: Iterable[str]) -> str:
    """Run baselines; return why the last one that failed did."""
    reason = ""
    for name in names:
        if run.overdue:
            break
        reason = registry.create(name).solve(problem, run).reason or reason
    return reason


def _covers(solver: Solver, problem: Problem) -> bool:
    try:
        solver.require(problem)
    except UnsupportedError:
        return False
    return True


def _work_meanwhile(problem: Problem, run: Run) -> None:
    """Have the kernels of the stages to come compiled, and do without them until then.

    Where they have been compiled before, this comes back as soon as they are loaded. The clock
    stands still: what is done here for want of kernels is a gift. What follows is not disturbed by
    compiling any more, so that it comes to what it would come to on any later day.
    """
    solvers = [registry.create(stage.solver) for stage in islice(_stages(problem), _FIRST_STAGES)]
    needs = [solver.kernels(problem) for solver in solvers if _covers(solver, problem)]
    names = tuple(dict.fromkeys(name for group in needs for name in group))
    kernels, count = run.kernels, problem.arrays.op_count
    kernels.start(*names)
    if count < _SMALL:
        names = next(group for group in needs if group)  # and these may be all that it takes
    while not (kernels.compiling or kernels.are_done(*names) or run.cancel.is_set()):
        kernels.wait(_PATIENCE, *names)
    if not kernels.compiling:
        return
    tell_compiling(run)
    with run.clock.hold():
        ends = (run.cancel.is_set, lambda: kernels.are_done(*names))
        part = run.by(Budget(Clock(run.clock.raw)).within(_MEANWHILE * run.remaining, *ends))
        part.workers = max(1, run.workers - MOST_AT_ONCE)
        if count > _LARGE:
            _run_rules(problem, part, BASELINES)
        elif count <= _PROVABLE:
            registry.create("cpsat").solve(problem, part)
        while not (any(end() for end in ends) or run.proven or run.clock.exhausted):
            kernels.wait(_PATIENCE, *names)


def _repair_until_compiled(problem: Problem, run: Run, solver: Solver) -> None:
    """Let `lns` use the time in which a solver would wait for kernels, and nothing is a gift."""
    names, kernels = solver.kernels(problem), run.kernels
    if not run.clock.exhausted or run.best is None or problem.arrays.op_count > _CPSAT_UP_TO_OPS:
        return
    kernels.start(*names)
    if not kernels.are_done(*names):
        part = run.limited(math.inf, lambda: kernels.are_done(*names))
        registry.create("lns").solve(problem, part)


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
