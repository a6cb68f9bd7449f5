"""What memory every schedule needs of some device, as a share of it: the objective memory.

need      some device holds the op that needs the most: its weights (with its group) and, while it
          runs, its inputs, its output and its workspace.
total     what is confined to some devices, held all the time, shares them.
crowd     of q k + 1 needs on q equal devices, k + 1 are on one of them.
moment    what has to be in memory while some op runs shares all devices.

Linear in ops and edges, but for moments, which large graphs go without. See docs/bounds.md.
"""

from __future__ import annotations

import math

import numpy as np

from talos_opt.core.problem import Floats, Ints, MemoryRule, Problem
from talos_opt.core.shares import share_units
from talos_opt.solvers.shared.moments import fullest_moment, least_held
from talos_opt.solvers.shared.obstacles import distinct_rows
from talos_opt.solvers.shared.squeezing import squeeze

#: What a quotient may be off by, as a share.
_ROUNDING = 1e-15


def memory_bound(problem: Problem) -> float:
    """Return a lower bound on the objective memory."""
    arrays = problem.arrays
    units = np.array(share_units(arrays), dtype=np.float64)
    held = resident(problem)
    bound = max(_need(problem, units), _total(problem, held, units))
    if (units > 0).all():
        bound = max(bound, _crowd(held, units))
        moment = fullest_moment(arrays) if problem.memory_rule is MemoryRule.PEAK else None
        if moment is not None:
            bound = max(bound, moment.held / float(units.sum()))
    return next_value(problem, bound)


def next_value(problem: Problem, bound: float) -> float:
    """Return the least value that a schedule may have, of those that are not below a bound."""
    if bound <= 0:
        return 0.0
    least = squeeze(problem, bound * (1 - 4 * _ROUNDING), below=True).above
    return least if math.isfinite(least) else bound


def resident(problem: Problem) -> Ints:
    """Bytes that each colocation group holds on its device all the time (g,)."""
    arrays = problem.arrays
    static = problem.memory_rule is MemoryRule.STATIC
    return arrays.group_held if static else arrays.group_weights


def running_needs(problem: Problem) -> Ints:
    """Bytes that a device needs while each op runs, beside the weights, if that takes time (n,).

    Under the peak rule: inputs, which are there as made or as sent, output and workspace.
    """
    arrays = problem.arrays
    if problem.memory_rule is MemoryRule.STATIC:
        return arrays.workspace
    need = arrays.output + arrays.workspace
    np.add.at(need, arrays.edge_dst, least_held(arrays))
    return need


def _need(problem: Problem, units: Floats) -> float:
    arrays = problem.arrays
    running = running_needs(problem)[:, None]
    if problem.memory_rule is MemoryRule.PEAK:
        running = np.where(arrays.time > 0, running, 0)
    need = resident(problem)[arrays.group][:, None] + running
    share = np.where(units > 0, need / np.where(units > 0, units, 1), 0.0)
    share[~arrays.allowed[arrays.group]] = math.inf
    return float(share.min(axis=1).max())


def _total(problem: Problem, held: Ints, units: Floats) -> float:
    """With what the largest op needs beside it, where there is only one device to hold it."""
    arrays, allowed, bound = problem.arrays, problem.arrays.allowed, 0.0
    running = running_needs(problem)
    if problem.memory_rule is MemoryRule.PEAK:
        running = np.where((arrays.time <= 0).any(axis=1), 0, running)
    for homes in distinct_rows(allowed):
        if (units[homes] > 0).all():
            confined = ~(allowed & ~homes).any(axis=1)
            total = int(held[confined].sum())
            if homes.sum() == 1:
                total += int(running[confined[arrays.group]].max(initial=0))
            bound = max(bound, total / float(units[homes].sum()))
    return bound


def _crowd(held: Ints, units: Floats) -> float:
    """Whichever device it is, it is no larger than the largest."""
    count, ranked = len(units), np.sort(held)[::-1]
    bound = 0.0
    for k in range(1, (len(ranked) - 1) // count + 1):
        first = ranked[: count * k + 1]
        bound = max(bound, float(first[-(k + 1) :].sum()) / float(units.max()))
    return bound
