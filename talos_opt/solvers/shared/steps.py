"""Values come in steps where all times are multiples of one tick: bounds round up to the next."""

from __future__ import annotations

import math

from talos_opt.core.problem import Objective, Problem
from talos_opt.solvers.shared.grid import common_tick, whole_weights

#: A tick in more parts than these is too short a step to be of use.
_MOST_PARTS = 2**31


def value_step(problem: Problem) -> float:
    """Return a number that the value of some optimal schedule is a multiple of; 0 if none is known.

    Where all times are multiples of a tick, the starts of an optimal schedule may be rounded down
    to ticks, and its completion times and loads are multiples too (docs/bounds.md, Steps). No step
    is known under the objectives memory and step, nor where a price of moving is added.
    """
    if problem.frozen is not None and (problem.frozen.price > 0).any():
        return 0.0
    if problem.objective in (Objective.MEMORY, Objective.STEP):
        return 0.0
    per_unit = common_tick(problem)
    if per_unit <= 0:
        return 0.0
    if problem.objective is Objective.MAKESPAN:
        return 1.0 / per_unit
    if problem.objective is Objective.BOTTLENECK:  # loads are divided over slots
        parts = math.lcm(*problem.arrays.slots.tolist())
        return 1.0 / (per_unit * parts) if parts <= _MOST_PARTS else 0.0
    _, factor = whole_weights(problem.arrays.model_weight)
    return 1.0 / (per_unit * factor) if factor > 0 else 0.0
