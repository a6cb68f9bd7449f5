"""The `relax` solver: lower bounds from relaxations, and schedules from their placements."""

from __future__ import annotations

import math
import time
from typing import ClassVar

from talos_opt.core.problem import Problem
from talos_opt.core.result import Status
from talos_opt.solvers.base import ALL_FEATURES, Feature, NoOptions, Solver, Verdict
from talos_opt.solvers.bounds.path_memory import PathMemory
from talos_opt.solvers.bounds.relaxation import RelaxedFormulation
from talos_opt.solvers.cpsat import backend
from talos_opt.solvers.cpsat.grid import make_grid
from talos_opt.solvers.cpsat.placement import BuildStoppedError
from talos_opt.solvers.cpsat.search import hint, no_time, search
from talos_opt.solvers.obstacles import find_obstacle
from talos_opt.solvers.run import Run


class RelaxSolver(Solver):
    """Bounds from CP-SAT over placement with precedence and transfers, but no sequencing.

    The incumbent in `run` is its horizon: the better it is, the sooner the bound rises.
    """

    name = "relax"
    summary = "lower bounds: CP-SAT over placement and delays without sequencing"
    features: ClassVar[frozenset[Feature]] = ALL_FEATURES - {Feature.BOTTLENECK}
    Options = NoOptions

    def solve(self, problem: Problem, run: Run) -> Verdict:
        """Raise the bound, and list-schedule the placements found on the way."""
        obstacle = find_obstacle(problem)
        if obstacle:
            return Verdict(Status.INFEASIBLE, obstacle)
        memory = PathMemory(problem)
        memory.improve()
        run.raise_bound(memory.bound(), self.name)
        if run.stopped:
            return no_time(run)
        if backend.needs_own_process():
            run.note("relax: CP-SAT cannot run beside TensorFlow; only path bounds were used")
            return Verdict(Status.FEASIBLE if run.best is not None else Status.UNKNOWN)
        cp = backend.load()
        began = time.monotonic()
        formulation = RelaxedFormulation(
            cp,
            problem,
            make_grid(problem),
            run.value if run.best is not None else math.inf,
            lambda: run.cancel.is_set() or run.remaining <= 0,
            memory,
        )
        try:
            formulation.build()
        except BuildStoppedError:
            return no_time(run)
        if run.best is not None:
            hint(formulation, run.best)
        return search(cp, formulation, run, self.name, {}, time.monotonic() - began)
