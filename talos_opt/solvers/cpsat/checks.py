"""Cheap cross-checks of what CP-SAT is told and of what it says.

CP-SAT 9.15 has proven what is not (docs/decisions/0002), always in presolve. So a proof that was
quick is asked for once more without, and an incumbent must be a solution of the formulation.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from talos_opt.core.errors import InternalError
from talos_opt.core.schedule import Schedule
from talos_opt.solvers.cpsat.answers import Answer, read_answer
from talos_opt.solvers.cpsat.backend import make_solver
from talos_opt.solvers.cpsat.placement import PlacementFormulation
from talos_opt.solvers.engine.run import Run

#: Least and most seconds of a second opinion.
_LEAST_S, _MOST_S = 0.05, 1.0
#: Seconds that fixing the incumbent may take; a formulation that took longer to build is not asked.
_PIN_S = 0.3


def _solver(cp: Any, seconds: float) -> Any:
    solver = make_solver(cp)
    solver.parameters.num_workers = 1
    solver.parameters.cp_model_presolve = False
    solver.parameters.max_time_in_seconds = seconds
    return solver


def second_opinion(
    cp: Any, first: Any, status: Any, formulation: PlacementFormulation, run: Run
) -> Answer | None:
    """Look, without presolve, for a solution that a proof excludes; None where there is none.

    Parameters
    ----------
    cp : module
    first : CpSolver
        That claims the proof.
    status : OPTIMAL or INFEASIBLE
    formulation : PlacementFormulation
    run : Run
    """
    seconds = min(_MOST_S, run.remaining, max(_LEAST_S, 2 * first.wall_time))
    if seconds <= 0 or run.cancel.is_set() or (status == cp.OPTIMAL and formulation.feasibility):
        return None
    model = formulation.model.clone()
    if status == cp.OPTIMAL:
        model.add(formulation.objective <= round(first.objective_value) - 1)
    other = _solver(cp, seconds)
    if other.solve(model) not in (cp.OPTIMAL, cp.FEASIBLE):
        return None
    return read_answer(formulation, other.value)


def require_incumbent(
    cp: Any, formulation: PlacementFormulation, schedule: Schedule, value: float, build_s: float
) -> None:
    """Fix the hinted incumbent: it must be a solution, of the value that rounding leaves it.

    Parameters
    ----------
    cp : module
    formulation : PlacementFormulation
        Hinted with the schedule.
    schedule : Schedule
    value : float
    build_s : float
        Seconds that building took.

    Raises
    ------
    InternalError
        If it is not: the formulation cuts off a feasible schedule.
    """
    if build_s > _PIN_S:
        return
    pinned = _solver(cp, _PIN_S)
    pinned.parameters.fix_variables_to_their_hinted_value = True
    status = pinned.solve(formulation.model)
    if status == cp.OPTIMAL:
        _require_value(formulation, pinned.objective_value, value)
        return
    if status != cp.INFEASIBLE:
        return
    # Times that the checker's tolerance lets pass may be a tick off: the placement must do.
    model = formulation.model.clone()
    model.clear_hints()
    for group, device in enumerate(_canonical_homes(formulation, schedule)):
        model.add(formulation.x[group][device] == 1)
    if _solver(cp, _PIN_S).solve(model) == cp.INFEASIBLE:
        raise InternalError(
            f"the formulation has no place for a feasible schedule of value {value!r}"
        )


def _canonical_homes(formulation: PlacementFormulation, schedule: Schedule) -> list[int]:
    arrays = formulation.arrays
    home = np.zeros(arrays.group_count, dtype=np.int64)
    home[arrays.group] = schedule.device
    label = formulation.relabelled(schedule.device)
    return [int(label[device]) for device in home]


def _require_value(formulation: PlacementFormulation, objective: float, value: float) -> None:
    grid = formulation.load_grid
    tick = 2.0 / formulation.objective_scale
    seen = formulation.objective_base + objective / formulation.objective_scale
    most = max(value, formulation.upper) * (1 + 1e-9) + tick
    least = 2 * value - most - grid.loss(formulation.problem)
    if not least <= seen <= most:
        raise InternalError(
            f"the formulation values a schedule at {seen!r} that is worth {value!r}"
        )
