"""The `lns` solver."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from talos_opt.core.problem import Problem
from talos_opt.core.result import Status
from talos_opt.solvers.cpsat import backend
from talos_opt.solvers.cpsat.placement import BuildStoppedError, PlacementFormulation
from talos_opt.solvers.cpsat.search import hint, search
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
from talos_opt.solvers.lns.neighbourhoods import NEIGHBOURHOODS
from talos_opt.solvers.shared.grid import make_grid
from talos_opt.solvers.shared.obstacles import find_obstacle

#: Share of the time that finding a first incumbent may take.
_START_SHARE = 0.15
#: A repair that ends within this share of its time was easy: the next one frees more groups.
_EASY = 0.3


@dataclass(frozen=True)
class LnsOptions:
    """Options of `LnsSolver`.

    Parameters
    ----------
    window : int
        Colocation groups that the first repair frees; it adapts.
    step_s : float
        Seconds that one repair may take.
    """

    window: int = 24
    step_s: float = 1.5

    def __post_init__(self) -> None:
        if self.window < 1:
            raise ValueError(f"window is {self.window}, expected at least 1")
        if not 0 < self.step_s < math.inf:
            raise ValueError(f"step_s is {self.step_s}, expected above 0")


class LnsSolver(Solver):
    """Fix most of the incumbent, let CP-SAT solve the rest to the end, and repeat elsewhere."""

    name = "lns"
    summary = "large-neighbourhood search: CP-SAT repairs windows of the incumbent"
    features = SAMPLE_FEATURES - {Feature.MEMORY} | {Feature.FROZEN}
    Options = LnsOptions

    def solve(self, problem: Problem, run: Run) -> Verdict:
        """Repair windows until the time is over."""
        obstacle = find_obstacle(problem)
        if obstacle:
            return Verdict(Status.INFEASIBLE, obstacle)
        if run.best is None:
            part = run.limited(_START_SHARE * run.remaining)
            verdict = registry.create("fast").solve(problem, part)
            if run.best is None:
                return verdict
        if run.stopped:
            return Verdict(Status.FEASIBLE)
        if backend.needs_own_process():
            run.note("lns: CP-SAT cannot run beside TensorFlow; no window was repaired")
            return Verdict(Status.FEASIBLE)
        formulation = _build(problem, run)
        if formulation is not None:
            _repair_windows(formulation, run, self.options)
        return Verdict(Status.FEASIBLE)


def _build(problem: Problem, run: Run) -> PlacementFormulation | None:
    """Build the formulation that all repairs restrict; None if the time did not suffice."""
    kind = PlacementFormulation if is_placement_only(problem) else SequencingFormulation
    grid = make_grid(problem, run.value)
    formulation = kind(
        backend.load(), problem, grid, run.value, lambda: run.stopped, symmetric=False
    )
    try:
        formulation.build()
    except BuildStoppedError:
        return None
    return formulation


def _repair_windows(formulation: PlacementFormulation, run: Run, options: LnsOptions) -> None:
    rng = np.random.default_rng(run.seed)
    names = list(NEIGHBOURHOODS)
    score = dict.fromkeys(names, 1.0)
    window = options.window
    groups = formulation.arrays.group_count
    while not run.stopped and run.best is not None:
        shares = np.array([score[name] for name in names])
        name = names[int(rng.choice(len(names), p=shares / shares.sum()))]
        free = NEIGHBOURHOODS[name](formulation.problem, run.best, window, rng)
        before, began = run.value, run.elapsed
        with formulation.fixed(run.best, free):
            hint(formulation, run.best)
            step = run.limited(options.step_s)
            search(backend.load(), formulation, step, LnsSolver.name, {})
        gained = run.value < before
        score[name] = 0.8 * score[name] + (1.0 if gained else 0.02)
        spent = run.elapsed - began
        if spent < _EASY * options.step_s:
            window = min(groups, math.ceil(window * 1.15))
        elif spent >= options.step_s and not gained:
            window = max(4, int(window * 0.85))
        if window == groups and len(free) == groups and spent < options.step_s:
            return  # everything was free, and CP-SAT finished: nothing is left to repair
