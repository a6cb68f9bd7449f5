"""When each model is done: its share of the objective, its slack, and the least that it takes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from talos_opt.analysis.slack import Slacks
from talos_opt.core import rounding
from talos_opt.core.metrics import completion_times
from talos_opt.core.problem import Floats, Problem
from talos_opt.core.schedule import Schedule


@dataclass(frozen=True)
class Completion:
    """When a model is done; times in the graph's unit.

    Parameters
    ----------
    model : int
    completion : float
        C(j), the latest end of one of its ops.
    release, weight : float
    share : float
        w(j) C(j) over the toct; 0 where that is 0.
    slack : float
        How much later its last op may start before the objective grows, as `slack` has it;
        infinite where the objective does not depend on it.
    bound : float
        No schedule completes it sooner.
    """

    model: int
    completion: float
    release: float
    weight: float
    share: float
    slack: float
    bound: float


def completions(problem: Problem, schedule: Schedule, slacks: Slacks) -> tuple[Completion, ...]:
    """Return the completion of every model of a feasible schedule."""
    arrays = problem.arrays
    done = completion_times(problem, schedule)
    slack = np.full(len(done), np.inf)
    last = np.flatnonzero(schedule.end >= done[arrays.model])
    np.minimum.at(slack, arrays.model[last], slacks.op[last])
    weighted = arrays.model_weight * done
    whole = float(weighted.sum())
    bound = completion_bounds(problem)
    return tuple(
        Completion(
            j,
            float(done[j]),
            float(arrays.release[j]),
            float(arrays.model_weight[j]),
            float(weighted[j]) / whole if whole > 0 else 0.0,
            float(slack[j]),
            float(bound[j]),
        )
        for j in range(len(done))
    )


def completion_bounds(problem: Problem) -> Floats:
    """Return when each model can be done at the earliest, whatever the others do (k,).

    The larger of two: its release and the longest path through its ops, each on its fastest
    device; its release and the least slot time of its ops over all slots.
    """
    arrays = problem.arrays
    fastest = arrays.time.min(axis=1)
    # Counted from the earliest release, so that late ones take no digits.
    origin = float(arrays.release.min())
    release = arrays.release - origin
    ready = release[arrays.model].tolist()
    ends = [0.0] * arrays.op_count
    times, readers = fastest.tolist(), arrays.edge_dst.tolist()
    out = arrays.out_ptr.tolist()
    for i in arrays.order.tolist():
        end = ends[i] = ready[i] + times[i]
        for reader in readers[out[i] : out[i + 1]]:
            ready[reader] = max(ready[reader], end)
    longest = np.zeros(len(arrays.release))
    np.maximum.at(longest, arrays.model, ends)
    # A device works off at most a slot's time per slot and moment.
    load = (arrays.time * arrays.demand[:, None] / arrays.slots[None, :]).min(axis=1)
    work = np.bincount(arrays.model, weights=load, minlength=len(longest))
    shared = release + work / arrays.device_count
    error = rounding.sum_error(arrays.op_count)
    least = np.maximum(longest, shared) * (1 - error) + origin
    if origin:
        least -= np.spacing(least)
    return np.asarray(np.maximum(least, arrays.release))
