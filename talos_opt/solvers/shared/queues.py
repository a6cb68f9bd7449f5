"""Where a queue of ops for each slot is all that a schedule has to say."""

from __future__ import annotations

import numpy as np

from talos_opt.core.problem import Arrays, Floats, MemoryRule, Objective, Problem
from talos_opt.solvers.shared.paths import best_times

#: Completions of more models are not told apart in reasonable time.
_MOST_MODELS = 16
#: From this number of ops on there is something to order, and up to this one steps are quick.
FEWEST_OPS, MOST_OPS = 30, 5_000
#: Share of the ops that must be free of others' devices, and what transfers may take of op times.
_FREE, _CHEAP = 0.9, 0.1


def queues_tell_all(problem: Problem) -> bool:
    """Whether a queue of ops for each slot determines the schedule.

    Not where transfers wait for links or devices, where ops hold several slots at once, where
    memory has to be watched over time, or where something has started. The bottleneck knows no
    queues at all.
    """
    arrays = problem.arrays
    moving = bool((arrays.latency > 0).any() or (arrays.per_byte > 0).any())
    return (
        problem.objective.is_timed
        and problem.frozen is None
        and (problem.objective is Objective.MAKESPAN or len(arrays.release) <= _MOST_MODELS)
        and bool((arrays.demand == 1).all())
        and not (arrays.memory_limited and problem.memory_rule is MemoryRule.PEAK)
        and not (moving and (not arrays.copy_engine.all() or bool((arrays.channel >= 0).any())))
    )


def route_delays(arrays: Arrays) -> Floats:
    """Latency and time per byte between all devices, over all hops (2, m, m); inf: no route."""
    count = arrays.device_count
    delay = np.zeros((2, count, count))
    for source in range(count):
        for target in range(count):
            path = arrays.path(source, target)
            if path is None:
                delay[0, source, target] = np.inf
            else:
                for hop in path:
                    delay[:, source, target] += arrays.latency[hop], arrays.per_byte[hop]
    return delay


def is_shop(problem: Problem) -> bool:
    """Whether a problem is much like a shop: many ops to order, no or cheap transfers."""
    arrays = problem.arrays
    if not FEWEST_OPS <= arrays.op_count <= MOST_OPS or not queues_tell_all(problem):
        return False
    if int(arrays.slots.sum()) == 1:
        return False
    alone = np.bincount(arrays.group, minlength=arrays.group_count)[arrays.group] == 1
    if float(alone.mean()) < _FREE:
        return False
    if not len(arrays.edge_src):
        return True
    delay = route_delays(arrays)
    apart = np.isfinite(delay[0]) & ~np.eye(arrays.device_count, dtype=bool)
    if not apart.any():
        return True
    sent = delay[0][apart].mean() + delay[1][apart].mean() * arrays.edge_bytes.mean()
    return bool(sent <= _CHEAP * best_times(arrays).mean())
