"""Memory of devices over time, as step functions."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from talos_opt.core import occupancy
from talos_opt.core.problem import UNLIMITED, Floats, Ints, MemoryRule, Problem
from talos_opt.core.schedule import Schedule


@dataclass(frozen=True)
class MemoryCurve:
    """Bytes alive on a device over time: weights, outputs, received copies and workspaces.

    Parameters
    ----------
    device : str
    limit : int or None
        Usable bytes; None: no limit.
    times : (k,) float
        In the graph's time unit; the first is 0.
    bytes : (k,) int
        ``bytes[i]`` holds from ``times[i]`` until ``times[i + 1]``, the last one from then on.
    static : int or None
        Bytes that the limit is held against under the memory rule ``static``; None under the
        rule ``peak``, where it is held against the curve.
    """

    device: str
    limit: int | None
    times: Floats
    bytes: Ints
    static: int | None = None

    @property
    def peak(self) -> int:
        """Most bytes that it holds or, under the rule ``static``, that are held against it."""
        return max(int(self.bytes.max(initial=0)), self.static or 0)

    @property
    def share(self) -> float:
        """The peak as a share of the limit; 0 without a limit."""
        return self.peak / self.limit if self.limit else 0.0


def memory_curves(
    problem: Problem, schedule: Schedule, tolerance: float
) -> tuple[MemoryCurve, ...]:
    """Return the memory of every device over time.

    Parameters
    ----------
    problem : Problem
    schedule : Schedule
    tolerance : float
        Moments this close are one: rounding makes no peaks.
    """
    alive = occupancy.memory_intervals(problem, schedule)
    weights = occupancy.resident_weights(problem, schedule.device)
    static = occupancy.static_memory(problem, schedule.device).tolist()
    counted = problem.memory_rule is MemoryRule.STATIC
    by_device = np.argsort(alive.resource, kind="stable")
    cuts = np.searchsorted(alive.resource[by_device], np.arange(1, len(weights)))
    curves = []
    for d, rows in enumerate(np.split(by_device, cuts)):
        limit = int(problem.arrays.capacity[d])
        times, change = _steps(alive.start[rows], alive.end[rows], alive.amount[rows], tolerance)
        curves.append(
            MemoryCurve(
                problem.device_ids[d],
                None if limit == UNLIMITED else limit,
                times,
                int(weights[d]) + np.cumsum(change),
                int(static[d]) if counted else None,
            )
        )
    return tuple(curves)


def _steps(start: Floats, end: Floats, amount: Ints, tolerance: float) -> tuple[Floats, Ints]:
    """Moments, from 0 on, and by how much the sum of the amounts changes at each."""
    times = np.concatenate([[0.0], start, end])
    change = np.concatenate([[0], amount, -amount])
    by_time = np.argsort(times, kind="stable")
    times, change = times[by_time], change[by_time]
    first = np.flatnonzero(np.diff(times, prepend=-np.inf) > tolerance)
    times, change = times[first], np.add.reduceat(change, first)
    kept = change != 0
    kept[0] = True
    return times[kept], change[kept]
