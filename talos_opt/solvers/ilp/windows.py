"""When an op can start and must have ended, before anything is decided.

Heads and tails are longest paths over the cheapest devices, transfers included; deadlines follow
from a known schedule. They make the big-M of every row as small as is known to be safe.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from talos_opt.core import rounding
from talos_opt.core.metrics import completion_times
from talos_opt.core.problem import Arrays, Bools, Floats, Objective, Problem
from talos_opt.core.schedule import Schedule
from talos_opt.solvers.shared.obstacles import group_memory

#: A deadline is loosened by this share, far above the backends' tolerances, so that none of them
#: calls the schedule that it came from infeasible (CBC's preprocessing did at 1e-9).
_SLACK = 1e-6


@dataclass(frozen=True)
class Windows:
    """Earliest starts and remaining work of every op, in the graph's time unit.

    Parameters
    ----------
    head : (n, m) float
        No feasible schedule starts op i on device d earlier; infinite where it cannot run there.
    tail : (n, m) float
        Time that must pass between the end of op i on device d and the completion of its model.
    completion : (k,) float
        No feasible schedule completes a model earlier.
    deadline : (k,) float
        Some optimal schedule completes every model by then.
    """

    head: Floats
    tail: Floats
    completion: Floats
    deadline: Floats


def possible_devices(problem: Problem) -> Bools:
    """Return the devices that a colocation group may go to and fits on (g, m)."""
    arrays = problem.arrays
    need = group_memory(problem)
    return np.asarray(arrays.allowed & (need[:, None] <= arrays.capacity[None, :]))


def make_windows(problem: Problem, possible: Bools, incumbent: Schedule | None) -> Windows:
    """Compute the windows of all ops.

    Parameters
    ----------
    problem : Problem
        With objective toct or makespan.
    possible : (g, m) bool
        From `possible_devices`.
    incumbent : Schedule, optional
        A feasible schedule; better ones complete no model later than its value allows.
    """
    arrays = problem.arrays
    time = np.where(possible[arrays.group], arrays.time, np.inf)
    head, tail = _heads(arrays, time), _tails(arrays, time)
    ends = (head + time + tail).min(axis=1)
    completion = np.zeros(len(arrays.release))
    np.maximum.at(completion, arrays.model, ends)
    deadline = _deadlines(problem, completion, safe_horizon(problem, time), incumbent)
    return Windows(head, tail, completion, deadline)


def _edge_delay(arrays: Arrays, edge: int, source: int, target: int) -> float:
    """Least time between the end of an edge's producer and the start of its reader."""
    producer, reader = int(arrays.edge_src[edge]), int(arrays.edge_dst[edge])
    if source != target and arrays.group[producer] == arrays.group[reader]:
        return math.inf
    hops = arrays.path(source, target)
    if hops is None:
        return math.inf
    size = int(arrays.edge_bytes[edge])
    return sum(arrays.transfer_time(a, b, size) for a, b in hops)


def _heads(arrays: Arrays, time: Floats) -> Floats:
    devices = range(arrays.device_count)
    head = np.where(np.isfinite(time), arrays.release[arrays.model][:, None], np.inf)
    for i in arrays.order.tolist():
        for edge in arrays.in_edge[arrays.in_ptr[i] : arrays.in_ptr[i + 1]].tolist():
            end = head[arrays.edge_src[edge]] + time[arrays.edge_src[edge]]
            for d in np.flatnonzero(np.isfinite(head[i])).tolist():
                arrival = min(end[s] + _edge_delay(arrays, edge, s, d) for s in devices)
                head[i, d] = max(head[i, d], arrival)
    return head


def _tails(arrays: Arrays, time: Floats) -> Floats:
    devices = range(arrays.device_count)
    tail = np.where(np.isfinite(time), 0.0, np.inf)
    for i in arrays.order[::-1].tolist():
        for edge in range(int(arrays.out_ptr[i]), int(arrays.out_ptr[i + 1])):
            rest = time[arrays.edge_dst[edge]] + tail[arrays.edge_dst[edge]]
            for d in np.flatnonzero(np.isfinite(tail[i])).tolist():
                after = min(_edge_delay(arrays, edge, d, t) + rest[t] for t in devices)
                tail[i, d] = max(tail[i, d], after)
    return tail


def safe_horizon(problem: Problem, time: Floats) -> float:
    """Return a time by which every left-shifted schedule has ended.

    In a left-shifted schedule something runs at every moment between the last release and the
    makespan, or what comes later could move forward; so the longest times of all ops and hops
    are enough.
    """
    arrays = problem.arrays
    total = float(np.where(np.isfinite(time), time, 0.0).max(axis=1).sum())
    hop = arrays.via == -1
    np.fill_diagonal(hop, False)
    for first, last in pairwise(arrays.read_ptr.tolist()):
        edges = slice(first, last)
        if first == last:
            continue
        size = int(arrays.edge_bytes[edges].max())
        longest = np.where(hop, arrays.latency + size * arrays.per_byte, 0.0)
        total += float(longest.max(axis=0).sum())  # at most one hop into every device
    return float(arrays.release.max()) + total


def _deadlines(
    problem: Problem, completion: Floats, horizon: float, incumbent: Schedule | None
) -> Floats:
    """Latest completion of every model that need be looked at.

    Every optimal schedule is at most as dear as the incumbent, so for toct
    w_j C_j <= UB - sum over the others of w_i times their earliest completion. The incumbent's
    makespan is not a deadline for toct: a better schedule may complete an unimportant model later.
    Some optimal schedule is left-shifted, so the safe horizon holds for models of weight 0 too.
    """
    arrays = problem.arrays
    deadline = np.full(len(completion), horizon)
    if incumbent is None:
        return deadline
    known = completion_times(problem, incumbent)
    if problem.objective is Objective.MAKESPAN:
        return np.full(len(completion), float(known.max()) * (1 + _SLACK))
    weight = arrays.model_weight
    least = weight * completion
    value = float(weight @ known)
    spare = value - (float(least.sum()) - least) + rounding.sum_error(len(least)) * value
    with np.errstate(divide="ignore", invalid="ignore"):
        latest = np.where(weight > 0, spare / weight, np.inf)
    # The incumbent itself may not be left-shifted, and must stay feasible as a start.
    deadline = np.maximum(np.minimum(deadline, latest), known)
    return np.asarray(deadline * (1 + _SLACK))
