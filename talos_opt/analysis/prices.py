"""Talos' price of an op on each device (Eq. 4), read off a schedule.

"A Weighted Speedup-Aware Device Placement of Deep Learning Models" (ASAP 2021) prices an op while
it places ops one after another; here all are placed. So what was "already placed" is what started
before, and a device on which the op did not run is priced as if all else had stayed as it is.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from talos_opt.analysis.deliveries import arrivals
from talos_opt.analysis.turnaround import Turnaround
from talos_opt.core.problem import Problem
from talos_opt.core.schedule import Schedule


@dataclass(frozen=True)
class Price:
    """Parts of Eq. 4 on one device, in the graph's time unit, from when the inputs were produced.

    Parameters
    ----------
    device : int
    comm : float
        Until the last input has arrived. Estimated where the op did not run: hops by the links'
        times, without other transfers in their way.
    wait : float
        What the device's queue (where the op ran: whatever it waited for) adds to that. Estimated:
        until what had started there before the inputs were produced leaves enough slots.
    exec : float
        Time of the op there.
    max_pt : float
        Largest wait + comm + exec of the ops of the same model and topological step that started
        before it, on their devices; 0 if there is none.
    speedup : float or None
        Weighted speedup: wait + comm + exec on the reference over that here; 1 on a device of the
        reference kind, None where it is undefined.
    ran : bool
        Whether the op ran here: the parts are then those of the schedule.
    """

    device: int
    comm: float
    wait: float
    exec: float
    max_pt: float
    speedup: float | None
    ran: bool

    @property
    def turnaround(self) -> float:
        """Wait + comm + exec."""
        return self.wait + self.comm + self.exec

    @property
    def cost(self) -> float:
        """Eq. 4: wait + comm + exec - maxPt."""
        return self.turnaround - self.max_pt


def price(problem: Problem, schedule: Schedule, op: int) -> tuple[Price, ...]:
    """Return the price of an op on each device that it can run on and its inputs can reach.

    Parameters
    ----------
    problem : Problem
    schedule : Schedule
        A feasible one.
    op : int
    """
    return _Pricing(problem, schedule, op).run()


class _Pricing:
    def __init__(self, problem: Problem, schedule: Schedule, op: int) -> None:
        self.problem, self.schedule, self.op = problem, schedule, op
        self.arrays = problem.arrays
        self.otherwise = Turnaround(problem, schedule)
        self.ready = self.otherwise.ready
        self.edges = self.arrays.in_edge[self.arrays.in_ptr[op] : self.arrays.in_ptr[op + 1]]
        self.here = int(schedule.device[op])

    def run(self) -> tuple[Price, ...]:
        parts = {d: self._parts(d) for d in range(self.arrays.device_count)}
        max_pt = self._max_pt()
        found = []
        for d, (comm, wait, length) in parts.items():
            if np.isfinite(comm + wait + length):
                speedup = self._speedup(parts, d)
                found.append(Price(d, comm, wait, length, max_pt, speedup, d == self.here))
        return tuple(found)

    def _parts(self, device: int) -> tuple[float, float, float]:
        """Comm, wait and exec on a device; infinite where the op cannot run or be reached."""
        if device != self.here:
            return self.otherwise.parts(self.op, device)
        ready = float(self.ready[self.op])
        there = arrivals(self.problem, self.schedule).time[self.edges]
        arrival = max(ready, float(there.max(initial=0.0)))
        start, end = float(self.schedule.start[self.op]), float(self.schedule.end[self.op])
        return arrival - ready, start - arrival, end - start

    def _max_pt(self) -> float:
        arrays, schedule, op = self.arrays, self.schedule, self.op
        others = (arrays.model == arrays.model[op]) & (arrays.level == arrays.level[op])
        start = schedule.start[op]
        earlier = schedule.start == start
        earlier[op:] = False  # of ops that start together the lower number counts as the first
        others &= earlier | (schedule.start < start)
        return float((schedule.end - self.ready)[others].max(initial=0.0))

    def _speedup(self, parts: dict[int, tuple[float, float, float]], device: int) -> float | None:
        kinds = [item.kind for item in self.problem.cluster.devices]
        reference = self.problem.cluster.reference
        if kinds[device] == reference:
            return 1.0
        if kinds[self.here] == reference:
            there = sum(parts[self.here])
        else:
            there = min(sum(parts[d]) for d, kind in enumerate(kinds) if kind == reference)
        spent = sum(parts[device])
        return float(there / spent) if np.isfinite(there) and spent > 0 else None
