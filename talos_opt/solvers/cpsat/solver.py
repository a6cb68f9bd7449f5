"""The `cpsat` solver."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import Any

from talos_opt.core.problem import Objective, Problem
from talos_opt.core.result import Status
from talos_opt.core.schedule import Schedule
from talos_opt.solvers.bounds.joins import learn_windows
from talos_opt.solvers.cpsat import backend, isolation
from talos_opt.solvers.cpsat.bounded import BoundedFormulation
from talos_opt.solvers.cpsat.checks import require_incumbent
from talos_opt.solvers.cpsat.placement import BuildStoppedError, PlacementFormulation
from talos_opt.solvers.cpsat.search import Searched, hint, no_time, search
from talos_opt.solvers.cpsat.sequencing import SequencingFormulation
from talos_opt.solvers.engine import registry
from talos_opt.solvers.engine.base import (
    SAMPLE_FEATURES,
    Feature,
    Solver,
    Verdict,
    is_placement_only,
)
from talos_opt.solvers.engine.run import Run
from talos_opt.solvers.shared.grid import Grid, make_grid
from talos_opt.solvers.shared.obstacles import find_obstacle
from talos_opt.solvers.shared.squeezing import SqueezedRun, descend, squeeze

#: Who makes a first schedule, the first that can.
_FIRST = ("heft", "etf", "sequential", "single")
#: Share of the time that it may take.
_START_SHARE = 0.3
#: Grids that are tried at the most.
_ROUNDS = 4
#: A grid that is so much finer is worth another search.
_FINER = 1.5
#: Share of the time, and seconds, that a proven answer's makespan may take (objective memory).
_TIE_SHARE, _TIE_S = 0.3, 2.0
#: Largest number of ops whose starts and tails are bounded by paths and joins, beyond which the
#: formulation is too large already, and the share of the time that this may take.
_MOST_BOUNDED, _WINDOW_SHARE = 400, 0.1
#: Fewer ops are mostly proven before the kernel of joins is loaded; for so many seconds, and for
#: such a share of the time, that is tried first.
_FEW_OPS, _QUICK_S, _QUICK_SHARE = 30, 2.0, 0.3
#: Above this size a makespan is left to polishing.
_TIE_UP_TO_OPS = 120
#: On a fine grid the objective may pass what presolve of CP-SAT 9.15 is right for.
_WITHOUT_PRESOLVE = {"cp_model_presolve": False}
#: Without presolve, many workers have seen infeasibility where there is none (decision 0002).
_MOST_WORKERS = 8


@dataclass(frozen=True)
class CpsatOptions:
    """Options of `CpsatSolver`.

    Parameters
    ----------
    deterministic : bool
        Same seed, same answer: CP-SAT's strategies take turns on one thread. Give
        `deterministic_time` too, since a wall-clock limit ends each search at another point.
    deterministic_time : float
        CP-SAT's deterministic time limit; 0: none.
    """

    deterministic: bool = False
    deterministic_time: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.deterministic_time < math.inf:
            raise ValueError(f"deterministic_time is {self.deterministic_time}, expected >= 0")

    def parameters(self) -> dict[str, Any]:
        """Return the CP-SAT parameters that these options stand for."""
        chosen: dict[str, Any] = {}
        if self.deterministic:
            chosen |= {"interleave_search": True, "num_workers": 1}
        if self.deterministic_time > 0:
            chosen["max_deterministic_time"] = self.deterministic_time
        return chosen


class CpsatSolver(Solver):
    """Exact: constraint programming over every rule of the model and all objectives."""

    name = "cpsat"
    summary = "exact: CP-SAT over placement, order and transfers; warm start, bounds"
    exact = True
    features = SAMPLE_FEATURES | {Feature.FROZEN}
    Options = CpsatOptions

    def solve(self, problem: Problem, run: Run) -> Verdict:
        """Prove an optimum, or improve incumbent and bound until stopped."""
        obstacle = find_obstacle(problem)
        if obstacle:
            return Verdict(Status.INFEASIBLE, obstacle)
        if backend.needs_own_process():
            return isolation.solve(problem, run, self.options)
        _start(problem, run)
        if problem.objective is Objective.MEMORY:
            return self._squeeze(problem, run)
        if run.best is None:
            if run.spent:
                return no_time(run)
            verdict = self._find_any(problem, run)
            if run.best is None:
                return verdict
        return self._improve(problem, run)

    def _find_any(self, problem: Problem, run: Run, start: Schedule | None = None) -> Verdict:
        """Find out whether there is a schedule at all: times do not matter to that."""
        # Where something has started, moments count and not the order alone.
        any_times = problem.frozen is None
        asked = problem.with_objective(Objective.BOTTLENECK if any_times else Objective.MAKESPAN)
        formulation = _formulate(asked, make_grid(asked), math.inf, run)
        formulation.feasibility = True
        return self._search(formulation, run, start=start).verdict

    def _squeeze(self, problem: Problem, run: Run) -> Verdict:
        """Minimise memory by asking whether smaller devices suffice; then the makespan there."""
        verdict = descend(
            problem, run, lambda part, inner: self._find_any(part, inner, run.best), self.name,
            eager=True,
        )  # fmt: skip
        if run.proven and problem.arrays.op_count <= _TIE_UP_TO_OPS:
            least = squeeze(problem, run.value).problem
            seconds = min(_TIE_S, _TIE_SHARE * run.remaining)
            if least is not None and run.best is not None and seconds > 0:
                inner = SqueezedRun(run, least, seconds)
                inner.offer(run.best, run.best_solver)
                self._improve(least, inner)
        return verdict

    def _improve(self, problem: Problem, run: Run) -> Verdict:
        """Search below the incumbent; small problems first without what takes time to load."""
        count, options = problem.arrays.op_count, self.options
        if not problem.objective.is_timed or options.deterministic or count > _MOST_BOUNDED:
            return self._refine(problem, run, bounded=False)
        if count < _FEW_OPS:
            backend.load()  # before the clock of the first try starts
            part = run.limited(min(_QUICK_S, _QUICK_SHARE * run.remaining))
            verdict = self._refine(problem, part, bounded=False)
            if run.stopped or not part.stopped:
                return verdict
        return self._refine(problem, run, bounded=True)

    def _refine(self, problem: Problem, run: Run, *, bounded: bool) -> Verdict:
        """Search on finer grids as the incumbent gets better and as proofs ask for.

        `bounded`: told what paths and joins prove of starts and tails.
        """
        verdict, fine, ceiling = Verdict(Status.FEASIBLE), False, math.inf
        for _ in range(_ROUNDS):
            if run.stopped:
                break
            upper = _upper(problem, run)
            grid = make_grid(problem, upper, fine=fine)
            formulation = _formulate(problem, grid, upper, run, bounded=bounded)
            if fine:
                formulation.known = run.lower_bound
            searched = self._search(formulation, run, fine=fine, ceiling=ceiling)
            verdict = searched.verdict
            if run.stopped or not searched.finished:
                break
            # What is left is rounding: the grid's optimum is this far below the true one at most.
            ceiling = min(ceiling, run.lower_bound + grid.loss(problem))
            finer = make_grid(problem, _upper(problem, run), fine=fine)
            if finer.per_unit > _FINER * grid.per_unit:
                continue
            if fine or problem.objective is Objective.MAKESPAN or grid.loss(problem) == 0:
                break
            fine = True
        return verdict

    def _search(
        self,
        formulation: PlacementFormulation,
        run: Run,
        *,
        fine: bool = False,
        ceiling: float = math.inf,
        start: Schedule | None = None,
    ) -> Searched:
        options: CpsatOptions = self.options
        cp, began = formulation.cp, time.monotonic()
        try:
            formulation.build()
        except BuildStoppedError:
            return Searched(no_time(run))
        build_s = time.monotonic() - began
        if start is not None:  # a schedule that exceeds the limits, but may be near one that fits
            hint(formulation, start)
        elif run.best is not None:
            hint(formulation, run.best)
            require_incumbent(cp, formulation, run.best, run.value, build_s)
        parameters = options.parameters()
        if fine:
            parameters |= _WITHOUT_PRESOLVE
            parameters["num_workers"] = min(run.workers, _MOST_WORKERS)
            parameters |= options.parameters()
        return search(
            cp, formulation, run, self.name, parameters, build_s,
            every=options.deterministic, ceiling=ceiling,
        )  # fmt: skip


def _start(problem: Problem, run: Run) -> None:
    """Have some schedule: its value bounds the horizon."""
    part = run.limited(_START_SHARE * run.remaining)
    for name in _FIRST:
        if run.best is not None or part.overdue:
            return
        solver = registry.create(name)
        if solver.covers(problem):
            solver.solve(problem, part)


def _upper(problem: Problem, run: Run) -> float:
    """Value of the incumbent; loads are sums of lengths, known to the last digit of the times."""
    if problem.objective is not Objective.BOTTLENECK or run.best is None:
        return run.value
    return run.value + 4 * problem.arrays.op_count * math.ulp(run.best.makespan)


def _formulate(
    problem: Problem, grid: Grid, upper: float, run: Run, *, bounded: bool = False
) -> PlacementFormulation:
    cp = backend.load()
    if is_placement_only(problem):
        return PlacementFormulation(cp, problem, grid, upper, lambda: run.spent)
    if bounded:
        memory = learn_windows(problem, run, upper, _WINDOW_SHARE)
        run.raise_bound(memory.bound(), "cpsat")
        if not memory.stranded.size:
            return BoundedFormulation(cp, problem, grid, upper, lambda: run.spent, memory)
    return SequencingFormulation(cp, problem, grid, upper, lambda: run.spent)
