"""The objective memory: the largest share of a device's usable bytes that a schedule needs there.

A device without a limit has bytes to spare and counts nothing, unless no device has a limit: then
bytes themselves are compared (model.md, "Memory").
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from talos_opt.core import occupancy
from talos_opt.core.arrays import UNLIMITED, Arrays
from talos_opt.core.pipelining.step import step_memory
from talos_opt.core.problem import Ints, MemoryRule, Objective, Problem
from talos_opt.core.schedule import Schedule


def share_units(arrays: Arrays) -> list[int]:
    """Return the bytes that are worth 1 on each device (m,); 0: its bytes are worth nothing."""
    if not arrays.memory_limited:
        return [1] * arrays.device_count
    return [0 if size >= UNLIMITED else size for size in arrays.capacity.tolist()]


def share_of(arrays: Arrays, held: Iterable[int]) -> float:
    """Return the objective memory of devices that hold some bytes each (m,).

    Returns
    -------
    float
        A share, at most 1 where memory suffices; bytes if no device has a limit.
    """
    pairs = zip(held, share_units(arrays), strict=True)
    return max((int(size) / unit for size, unit in pairs if unit), default=0.0)


def held_bytes(problem: Problem, schedule: Schedule) -> Ints:
    """Bytes that each device needs under the problem's memory rule (m,)."""
    if problem.memory_rule is MemoryRule.STATIC:
        return occupancy.static_memory(problem, schedule.device)
    if problem.memory_rule is MemoryRule.PIPELINE:
        return step_memory(problem, schedule.device)
    return peak_memory(problem, schedule)


def peak_memory(problem: Problem, schedule: Schedule) -> Ints:
    """Most bytes that each device holds at once: its weights, and what is alive there (m,)."""
    # What rounding lets overlap by a spacing counts no more here than where limits are checked.
    alive = occupancy.memory_intervals(problem, schedule).trimmed()
    peaks = [alive.peak(d)[0] for d in range(problem.arrays.device_count)]
    weights = occupancy.resident_weights(problem, schedule.device)
    return np.asarray(weights + np.array(peaks, dtype=np.int64))


def room_for(unit: int, value: float, *, below: bool = False) -> int:
    """Return the most bytes of a device whose share is at most a value, -1 if there are none.

    Parameters
    ----------
    unit : int
        Bytes that are worth 1, above 0.
    value : float
    below : bool
        The share has to be smaller than the value.
    """
    low, high = -1, UNLIMITED
    while low < high:
        middle = (low + high + 1) // 2
        share = middle / unit
        if share < value or (share == value and not below):
            low = middle
        else:
            high = middle - 1
    return low


def value_unit(problem: Problem, objective: Objective | None = None) -> str:
    """Return the unit of an objective's values, by default of the problem's own."""
    if (objective or problem.objective) is not Objective.MEMORY:
        return problem.graph.time_unit
    return "of a device" if problem.arrays.memory_limited else "bytes"
