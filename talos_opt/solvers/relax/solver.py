"""The `relax` solver: lower bounds from relaxations, and schedules from their placements."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass

from talos_opt.core.errors import DependencyError
from talos_opt.core.problem import Objective, Problem
from talos_opt.core.result import Status
from talos_opt.solvers.bounds.diagram import Diagrams
from talos_opt.solvers.bounds.joins import Joins
from talos_opt.solvers.bounds.mixed import mixed_bound
from talos_opt.solvers.bounds.path_memory import PathMemory
from talos_opt.solvers.cpsat import backend
from talos_opt.solvers.cpsat.placement import BuildStoppedError
from talos_opt.solvers.cpsat.search import hint, no_time, search
from talos_opt.solvers.engine.base import SAMPLE_FEATURES, Solver, Verdict
from talos_opt.solvers.engine.run import Run
from talos_opt.solvers.engine.warmup import get_ready
from talos_opt.solvers.ilp.builder import BuildStoppedError as BuildStopped
from talos_opt.solvers.relax.covering import prove_by_contents
from talos_opt.solvers.relax.formulation import RelaxedFormulation
from talos_opt.solvers.relax.resident import bound_memory
from talos_opt.solvers.relax.superblocks import prove_bottleneck
from talos_opt.solvers.shared.grid import make_grid
from talos_opt.solvers.shared.obstacles import find_obstacle
from talos_opt.solvers.shared.offering import offer_placement

#: Labels that the passes over the cut diagrams keep, one after the other.
_LABELS = (250, 1000, 4000, 16000)
#: Share of the remaining time that they may take.
_DIAGRAM_SHARE = 0.5
#: Share of the remaining time that contents may take before superblocks have their turn.
_CONTENTS_SHARE = 0.6
#: Share of the remaining time that prices of loads and paths may take.
_MIXED_SHARE = 0.2
#: Share of the remaining time that joins may take.
_JOIN_SHARE = 0.3
#: Share of its time after which CP-SAT gives up if nothing moves: on wide graphs nothing will.
_PATIENCE = 0.35
#: Above this number of ops a pass takes too long to be worth its start.
_DIAGRAMS_UP_TO_OPS = 20_000


@dataclass(frozen=True)
class RelaxOptions:
    """Options of `RelaxSolver`: bounds on the bottleneck that are left out.

    Parameters
    ----------
    contents : bool
        Whether to price what each device may hold.
    superblocks : bool
        Whether to solve the MILP over blocks of devices.
    """

    contents: bool = True
    superblocks: bool = True


class RelaxSolver(Solver):
    """Bounds from CP-SAT over placement with precedence and transfers, but no sequencing.

    The incumbent in `run` is its horizon: the better it is, the sooner the bound rises.
    """

    name = "relax"
    features = SAMPLE_FEATURES
    summary = "lower bounds: CP-SAT over placement and delays without sequencing"
    Options = RelaxOptions

    def solve(self, problem: Problem, run: Run) -> Verdict:
        """Raise the bound, and list-schedule the placements found on the way."""
        obstacle = find_obstacle(problem)
        if obstacle:
            return Verdict(Status.INFEASIBLE, obstacle)
        if problem.objective is Objective.BOTTLENECK:
            return self._bound_bottleneck(problem, run)
        if problem.objective is Objective.MEMORY:
            return bound_memory(problem, run, self.name)
        memory = PathMemory(problem)
        memory.improve(lambda: run.stopped)
        run.raise_bound(memory.bound(), self.name)
        part = run.limited(run.remaining * _MIXED_SHARE)
        run.raise_bound(mixed_bound(problem, lambda: part.stopped), self.name)
        self._read_joins(memory, run)
        if not memory.stranded.size:
            self._read_diagrams(memory, run)
        if memory.stranded.size:
            return self._give_up(memory, run)
        if run.stopped:
            return no_time(run)
        if backend.needs_own_process():
            run.note("relax: CP-SAT cannot run beside TensorFlow; only path bounds were used")
            return Verdict(Status.FEASIBLE if run.best is not None else Status.UNKNOWN)
        cp = backend.load()
        began = time.monotonic()
        upper = run.value if run.best is not None else math.inf
        formulation = RelaxedFormulation(
            cp,
            problem,
            make_grid(problem, upper),
            upper,
            lambda: run.spent,
            memory,
        )
        try:
            formulation.build()
        except BuildStoppedError:
            return no_time(run)
        if run.best is not None:
            hint(formulation, run.best)
        build_s = time.monotonic() - began
        return search(cp, formulation, run, self.name, {}, build_s, patience=_PATIENCE).verdict

    def _bound_bottleneck(self, problem: Problem, run: Run) -> Verdict:
        if run.best is None:
            return Verdict(
                Status.UNKNOWN, "relax bounds the bottleneck below a known schedule only"
            )
        try:
            self._price_contents(problem, run)
            if self.options.superblocks and not run.stopped:
                prove_bottleneck(problem, run, self.name)
        except BuildStopped:
            run.note("relax: the time limit was reached while the formulation was written")
        return Verdict(Status.FEASIBLE)

    def _price_contents(self, problem: Problem, run: Run) -> None:
        """Find what each device may hold, for most of the time unless that is all there is."""
        share = _CONTENTS_SHARE if self.options.superblocks else 1.0
        if self.options.contents:
            try:
                prove_by_contents(problem, run.limited(share * run.remaining), self.name)
            except DependencyError as error:
                run.note(str(error))

    def _give_up(self, memory: PathMemory, run: Run) -> Verdict:
        """Nothing is left for some op: there is no schedule, or none below the incumbent."""
        if math.isfinite(memory.upper):
            run.raise_bound(memory.upper, self.name)
            return no_time(run)
        op = memory.problem.names[int(memory.stranded[0])]
        return Verdict(
            Status.INFEASIBLE,
            f"no placement lets {op} reach its inputs and its readers; add a link, or relax a pin",
        )

    def kernels(self, problem: Problem) -> tuple[str, ...]:
        """Return that of joins, or of contents."""
        if problem.objective.is_timed:
            return ("joins",)
        bottleneck = problem.objective is Objective.BOTTLENECK
        priced = self.options.contents and not problem.arrays.copy_engine.all()
        return ("contents",) if bottleneck and priced else ()

    def _read_joins(self, memory: PathMemory, run: Run) -> None:
        """Learn what inputs that come late from elsewhere prove."""
        if memory.stranded.size or not get_ready(run, "joins", urgent=False):
            return
        part = run.limited(run.remaining * _JOIN_SHARE)
        joins = Joins(memory)
        if joins.improve(run.value, lambda: part.stopped) and not memory.stranded.size:
            run.raise_bound(memory.bound(), self.name)
            run.raise_bound(joins.refute(run.value, lambda: part.stopped), self.name)

    def _read_diagrams(self, memory: PathMemory, run: Run) -> None:
        """Pass over cut diagrams with more and more labels, while that pays."""
        if memory.arrays.op_count > _DIAGRAMS_UP_TO_OPS:
            return
        diagrams = Diagrams(memory)
        part = run.limited(run.remaining * _DIAGRAM_SHARE)
        for most in _LABELS:
            before = memory.bound()
            more = diagrams.improve(run.value, most, lambda: part.stopped)
            run.raise_bound(memory.bound(), self.name)
            device = diagrams.placement()
            if device is not None:
                offer_placement(part, device, memory.starts().min(axis=1), self.name)
            if part.stopped or not more or (most > _LABELS[1] and memory.bound() <= before):
                return
