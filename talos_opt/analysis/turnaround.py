"""How long an op would have taken on a device where it did not run, all else left as it is."""

from __future__ import annotations

import numpy as np

from talos_opt.core.arrays import Arrays
from talos_opt.core.problem import Problem
from talos_opt.core.schedule import Schedule


class Turnaround:
    """Comm, wait and exec of the ops of a schedule on other devices (docs/model.md).

    Parameters
    ----------
    problem : Problem
    schedule : Schedule

    Attributes
    ----------
    ready : (n,) float
        When the last input of each op was produced, or its model was released.
    """

    def __init__(self, problem: Problem, schedule: Schedule) -> None:
        self.arrays, self.schedule = problem.arrays, schedule
        self.ready = self.arrays.release[self.arrays.model].copy()
        np.maximum.at(self.ready, self.arrays.edge_dst, schedule.end[self.arrays.edge_src])
        self._queues: dict[int, _Queue] = {}

    def parts(self, op: int, device: int) -> tuple[float, float, float]:
        """Return comm, wait and exec, from the moment when the op's inputs have been produced.

        Infinite where the op cannot run, or an input cannot get there. Hops take the links' times,
        without other transfers in their way; the op waits for what had started on the device
        before that moment, until as many slots as it holds are free.
        """
        ready, length = float(self.ready[op]), float(self.arrays.time[op, device])
        arrival = self._arrival(op, device)
        if not np.isfinite(arrival + length):
            return np.inf, np.inf, np.inf
        free = ready  # what takes no time needs no slot
        if length > 0:
            if device not in self._queues:
                self._queues[device] = _Queue(self.arrays, self.schedule, device)
            free = self._queues[device].free(ready, int(self.arrays.demand[op]))
        return arrival - ready, max(free, arrival) - arrival, length

    def _arrival(self, op: int, device: int) -> float:
        arrays, end = self.arrays, self.schedule.end
        latest = float(self.ready[op])
        for edge in arrays.in_edge[arrays.in_ptr[op] : arrays.in_ptr[op + 1]].tolist():
            producer, size = int(arrays.edge_src[edge]), int(arrays.edge_bytes[edge])
            hops = arrays.path(int(self.schedule.device[producer]), device)
            if hops is None:
                return np.inf
            travel = sum(arrays.transfer_time(a, b, size) for a, b in hops)
            latest = max(latest, float(end[producer]) + travel)
        return latest


class _Queue:
    """When a device would be free for an op that becomes ready at some time."""

    def __init__(self, arrays: Arrays, schedule: Schedule, device: int) -> None:
        ops = np.flatnonzero(schedule.device == device)
        ops = ops[np.argsort(schedule.end[ops], kind="stable")]
        self.slots = int(arrays.slots[device])
        self.start, self.end = schedule.start[ops], schedule.end[ops]
        self.held = arrays.demand[ops]

    def free(self, time: float, demand: int) -> float:
        """Return when what had started before a time leaves so many slots."""
        running = np.flatnonzero((self.start < time) & (self.end > time))
        left = self.slots - int(self.held[running].sum())
        for i in running.tolist():
            if left >= demand:
                break
            time, left = float(self.end[i]), left + int(self.held[i])
        return time
