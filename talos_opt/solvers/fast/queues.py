"""What tabu search over queues needs, and the problems that it applies to."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from talos_opt.core.problem import Arrays, Floats, MemoryRule, Objective, Problem

if TYPE_CHECKING:
    from talos_opt.kernels.queues import Queues

#: Completions of more models are not told apart in reasonable time.
_MOST_MODELS = 16


def queues_tell_all(problem: Problem) -> bool:
    """Whether a queue of ops for each slot determines the schedule.

    Not where transfers wait for links or devices, where ops hold several slots at once, or where
    memory has to be watched over time. The bottleneck knows no queues at all.
    """
    arrays = problem.arrays
    moving = bool((arrays.latency > 0).any() or (arrays.per_byte > 0).any())
    return (
        problem.objective is not Objective.BOTTLENECK
        and (problem.objective is Objective.MAKESPAN or len(arrays.release) <= _MOST_MODELS)
        and bool((arrays.demand == 1).all())
        and not (arrays.memory_limited and problem.memory_rule is MemoryRule.PEAK)
        and not (moving and (not arrays.copy_engine.all() or bool((arrays.channel >= 0).any())))
    )


def make_queues(problem: Problem, seed: int) -> Queues:
    """Allocate queues and working space; the kernel fills them."""
    from talos_opt.kernels.queues import Queues

    arrays = problem.arrays
    several = problem.objective is Objective.TOCT
    lanes = len(arrays.release) if several else 1
    ops, devices = arrays.op_count, arrays.device_count

    def whole(count: int) -> np.ndarray:
        return np.zeros(count, dtype=np.int64)

    return Queues(
        lane=arrays.model.copy() if several else whole(ops),
        weight=arrays.model_weight.copy() if several else np.ones(1),
        delay=route_delays(arrays),
        home=whole(arrays.group_count),
        device=whole(ops),
        slot=whole(ops),
        before=whole(ops),
        after=whole(ops),
        first=whole(int(arrays.slots.sum())),
        last=whole(int(arrays.slots.sum())),
        order=whole(ops),
        place=whole(ops),
        head=np.zeros(ops),
        head_without=np.zeros(ops),
        tail=np.zeros((ops, lanes)),
        tail_without=np.zeros((ops, lanes)),
        done=np.zeros(lanes),
        held=whole(devices),
        widest=whole(devices),
        banned=whole(ops),
        mark=whole(ops),
        pick=whole(ops),
        counter=whole(4),
        value=np.full(3, np.inf),
        random=np.array([(seed + 1) % 2**63], dtype=np.uint64),
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
