"""From a backend's bound to one that may be claimed."""

from __future__ import annotations

import math

from talos_opt.core.problem import Objective, Problem

#: A MILP bound holds up to the backend's tolerances (1e-9 on rows and integrality; node pruning
#: and printed digits at 1e-6 or less, all absolute, on objectives of the order of 100): it is
#: lowered by this absolute amount and this share before it is claimed.
_ABSOLUTE, _RELATIVE = 1e-6, 2e-7
#: Share of a step that a bound must pass a multiple by before it is rounded up to the next.
_CLEAR = 1e-6


def time_error(problem: Problem, scale: float) -> float:
    """Return what tolerances on times may be worth in the objective.

    Where a late release makes the horizon long, what is a small share of it is a large share of
    what ops take.

    Parameters
    ----------
    problem : Problem
    scale : float
        Time units in one unit of the formulation.
    """
    toct = problem.objective is Objective.TOCT
    return _ABSOLUTE * scale * (float(problem.arrays.model_weight.sum()) if toct else 1.0)


def safe_bound(bound: float, unit: float, step: float, error: float = 0.0) -> float:
    """Lower a backend's bound to what is safe, then round it up to a possible value.

    Parameters
    ----------
    bound : float
        On the formulation's scaled objective.
    unit : float
        What one unit of that is worth in the problem's objective.
    step : float
        From `value_step`.
    error : float
        From `time_error`, in the problem's objective.
    """
    safe = (bound - _ABSOLUTE - _RELATIVE * abs(bound)) * unit - error
    return max(safe, math.ceil(safe / step - _CLEAR) * step) if step > 0 else safe
