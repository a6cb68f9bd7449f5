"""The `cpsat` solver."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import Any

from talos_opt.core.problem import Problem
from talos_opt.core.result import Status
from talos_opt.solvers.base import Solver, Verdict, is_placement_only
from talos_opt.solvers.cpsat import backend, isolation
from talos_opt.solvers.cpsat.grid import make_grid
from talos_opt.solvers.cpsat.placement import BuildStoppedError, PlacementFormulation
from talos_opt.solvers.cpsat.search import hint, no_time, search
from talos_opt.solvers.cpsat.sequencing import SequencingFormulation
from talos_opt.solvers.obstacles import find_obstacle
from talos_opt.solvers.run import Run


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
    Options = CpsatOptions

    def solve(self, problem: Problem, run: Run) -> Verdict:
        """Prove an optimum, or improve incumbent and bound until stopped."""
        obstacle = find_obstacle(problem)
        if obstacle:
            return Verdict(Status.INFEASIBLE, obstacle)
        if backend.needs_own_process():
            return isolation.solve(problem, run, self.options)
        cp = backend.load()
        began = time.monotonic()
        upper = run.value if run.best is not None else math.inf
        kind = PlacementFormulation if is_placement_only(problem) else SequencingFormulation
        formulation = kind(
            cp,
            problem,
            make_grid(problem),
            upper,
            lambda: run.cancel.is_set() or run.remaining <= 0,
        )
        try:
            formulation.build()
        except BuildStoppedError:
            return no_time(run)
        if run.best is not None:
            hint(formulation, run.best)
        build_s = time.monotonic() - began
        options: CpsatOptions = self.options
        return search(
            cp, formulation, run, self.name, options.parameters(), build_s,
            every=options.deterministic,
        )  # fmt: skip
