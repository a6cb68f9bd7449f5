"""The objective memory without an order: what a device holds all the time, and what one op needs.

Whatever the order, a device holds the weights placed there and, while the op that needs most runs,
its inputs, output and workspace. That is the static rule of another problem, in which placement is
all that there is to decide; CP-SAT proves that smaller devices do not suffice (docs/bounds.md).
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from talos_opt.core.problem import MemoryRule, Objective, Problem
from talos_opt.core.result import Status
from talos_opt.solvers.bounds.least_memory import running_needs
from talos_opt.solvers.cpsat import backend
from talos_opt.solvers.cpsat.placement import BuildStoppedError, PlacementFormulation
from talos_opt.solvers.cpsat.search import search
from talos_opt.solvers.engine.base import Verdict
from talos_opt.solvers.engine.run import Run
from talos_opt.solvers.shared.grid import make_grid
from talos_opt.solvers.shared.squeezing import SqueezedRun, squeeze

#: Above this size building the formulation takes longer than the bound is worth.
_UP_TO_OPS = 20_000
#: Share of the remaining time that one question may take, unless it is the last.
_SLICE = 0.25


def bound_memory(problem: Problem, run: Run, name: str) -> Verdict:
    """Raise the bound on memory by placement alone, and list-schedule the placements found.

    Parameters
    ----------
    problem : Problem
        Objective memory.
    run : Run
    name : str
        Who to report as.
    """
    if run.best is None:
        return Verdict(Status.UNKNOWN, "relax bounds memory below a known schedule only")
    arrays = problem.arrays
    if arrays.device_count == 1 or arrays.op_count > _UP_TO_OPS:
        return Verdict(Status.FEASIBLE)
    if backend.needs_own_process():
        run.note("relax: CP-SAT cannot run beside TensorFlow; no bound on memory was sought")
        return Verdict(Status.FEASIBLE)
    high = run.target
    while not run.stopped and run.lower_bound < high:
        middle = 0.5 * (run.lower_bound + high)
        cut = squeeze(problem, middle)
        if cut.above >= high:  # the last question: whether anything is below
            cut = squeeze(problem, high, below=True)
        seconds = run.remaining if cut.above >= high else _SLICE * run.remaining
        status = Status.INFEASIBLE
        if cut.problem is not None:
            inner = SqueezedRun(run, cut.problem, seconds)
            status = _place(without_order(cut.problem), inner, name)
        if status is Status.INFEASIBLE:
            run.raise_bound(min(cut.above, run.value), name)
        elif (cut.capacity == squeeze(problem, run.lower_bound).capacity).all():
            break
        high = min(high, run.target) if status is Status.INFEASIBLE else min(middle, run.target)
    return Verdict(Status.FEASIBLE)


def without_order(problem: Problem) -> Problem:
    """Return a problem of the static rule that has a placement for each schedule of this one."""
    if problem.memory_rule is MemoryRule.STATIC:
        return problem
    arrays = problem.arrays
    instant = (arrays.time <= 0).any(axis=1)  # what takes no time there needs no room
    need = np.where(instant, 0, running_needs(problem))
    static = replace(arrays, output=np.zeros_like(arrays.output), workspace=need)
    other = problem.replaced(problem.graph, problem.cluster, static)
    object.__setattr__(other, "memory_rule", MemoryRule.STATIC)
    return other


def _place(problem: Problem, run: Run, name: str) -> Status:
    """Return `INFEASIBLE` if no placement fits, whatever else if one does or the time is over."""
    asked = problem.with_objective(Objective.BOTTLENECK)
    formulation = PlacementFormulation(
        backend.load(), asked, make_grid(asked), math.inf, lambda: run.spent
    )
    formulation.feasibility = True
    formulation.relaxed = True
    began = run.clock()
    try:
        formulation.build()
    except BuildStoppedError:
        return Status.UNKNOWN
    found = search(formulation.cp, formulation, run, name, {}, run.clock() - began)
    return found.verdict.status
