"""Why a problem that the backend proved infeasible is so, in words a user can act on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from talos_opt.core.occupancy import static_memory
from talos_opt.core.problem import NO_ROUTE, Bools, Ints, Problem
from talos_opt.core.result import Status
from talos_opt.core.units import format_bytes
from talos_opt.solvers.engine.run import Run
from talos_opt.solvers.ilp.backend import Job, Outcome
from talos_opt.solvers.ilp.builder import BuildStoppedError
from talos_opt.solvers.ilp.extract import read_placement
from talos_opt.solvers.ilp.placement import PlacementFormulation


@dataclass(frozen=True)
class Diagnosis:
    """What stands in the way.

    Parameters
    ----------
    reason : str
        In words a user can act on.
    counterexample : (n,) int, optional
        A placement that breaks no rule after all: the backend's proof was wrong.
    """

    reason: str
    counterexample: Ints | None = None


def diagnose(
    problem: Problem, possible: Bools, backend: Callable[[Job], Outcome], run: Run
) -> Diagnosis:
    """Find out which restriction no placement meets.

    Memory is made elastic and the bytes too many are minimised: if that has a solution, memory
    is what is short, and by how much at the least; otherwise routes and pins exclude each other.
    A backend that was wrong shows here too, since a placement without overrun is feasible.
    """
    general = Diagnosis("no placement meets colocation, pins, routes and device memory together")
    try:
        elastic = PlacementFormulation(
            problem, possible, 1.0, lambda: run.stopped, lambda _a, _b: False, excess=True
        )
    except BuildStoppedError:
        return general
    elastic.minimise_excess()
    outcome = backend(
        Job(
            elastic.write.program,
            run.budget,
            0.0,
            run.seed,
            run.workers,
            lambda: run.stopped,
            lambda _values: None,
            lambda _bound: None,
        )
    )
    if outcome.status is Status.INFEASIBLE:
        return Diagnosis(_describe_routes(problem))
    if outcome.values is None:
        return general
    device = read_placement(elastic, outcome.values)
    over = static_memory(problem, device) - problem.arrays.capacity
    if (over <= 0).all():
        return Diagnosis(general.reason, device)
    short = ", ".join(
        f"{problem.device_ids[d]} is short by {over[d]} bytes ({format_bytes(int(over[d]))})"
        for d in np.flatnonzero(over > 0)
    )
    proven = outcome.status is Status.OPTIMAL
    which = "the placement that exceeds memory least" if proven else "the best placement found"
    kept = f"with stages ({problem.stages}) " if problem.stages else ""
    return Diagnosis(f"no placement {kept}fits into the devices' memory: in {which}, {short}")


def _describe_routes(problem: Problem) -> str:
    if problem.stages:
        return (
            f"no placement meets stages ({problem.stages}), colocation, pins and routes together, "
            "whatever the memory"
        )
    ids = problem.device_ids
    missing = [
        f"{ids[s]} -> {ids[t]}" for s, t in np.argwhere(problem.arrays.via == NO_ROUTE).tolist()
    ]
    shown = ", ".join(missing[:6]) + (f" and {len(missing) - 6} more" if len(missing) > 6 else "")
    return (
        "no placement meets colocation, pins and routes together, whatever the memory: "
        f"ops that exchange tensors cannot be apart where there is no route ({shown})"
    )
