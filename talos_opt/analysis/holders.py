"""Who held a resource just before a moment, and who gave it up then."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from talos_opt.core.occupancy import (
    Intervals,
    channel_intervals,
    compute_intervals,
    memory_intervals,
)
from talos_opt.core.problem import Floats, Ints, Problem
from talos_opt.core.schedule import Schedule


@dataclass(frozen=True)
class Held:
    """Intervals of a resource, and whose they are.

    Parameters
    ----------
    intervals : Intervals
        q of them.
    op : (q,) int
        The op that holds, or whose tensor is held.
    transfer : (q,) int
        Row of the transfer that holds; -1: an op, or a tensor in memory.
    tensor : (q,) int, optional
        Of memory: which tensor is held; -1: a workspace.
    """

    intervals: Intervals
    op: Ints
    transfer: Ints
    tensor: Ints | None = None


class Holders:
    """Looks up intervals by resource and time.

    Parameters
    ----------
    held : Held
    tolerance : float
        Times closer than this are equal; what is no longer than this holds nothing.
    """

    def __init__(self, held: Held, tolerance: float) -> None:
        self.held, self.tolerance = held, tolerance
        intervals = held.intervals
        last = int(intervals.resource.max(initial=-1)) + 1
        lasting = np.flatnonzero(intervals.end - intervals.start > tolerance)
        resource = intervals.resource[lasting]
        self.rows = [lasting[resource == r] for r in range(last)]
        self.by_end = [rows[np.argsort(intervals.end[rows], kind="stable")] for rows in self.rows]
        self.ends = [intervals.end[rows] for rows in self.by_end]

    def amount_before(self, resource: Ints, time: Floats) -> Ints:
        """Return how much of each resource is held until just before each time (q,)."""
        found = np.zeros(len(resource), dtype=np.int64)
        intervals = self.held.intervals
        for r, by_end in enumerate(self.by_end):
            asked = resource == r
            if not asked.any():
                continue
            moment = time[asked] - self.tolerance
            rows = self.rows[r]
            by_start = rows[np.argsort(intervals.start[rows], kind="stable")]
            taken = np.concatenate(([0], np.cumsum(intervals.amount[by_start])))
            given = np.concatenate(([0], np.cumsum(intervals.amount[by_end])))
            begun = np.searchsorted(intervals.start[by_start], moment, side="left")
            ended = np.searchsorted(intervals.end[by_end], moment, side="right")
            found[asked] = taken[begun] - given[ended]
        return found

    def ended_at(self, resource: int, time: float) -> Ints:
        """Return the intervals that end at a time and held the resource before it, largest first.

        Of intervals of the same amount the one that began first comes first.
        """
        if resource >= len(self.by_end):
            return np.zeros(0, dtype=np.int64)
        rows, intervals = self.by_end[resource], self.held.intervals
        ends = self.ends[resource]
        first = np.searchsorted(ends, time - self.tolerance, side="left")
        last = np.searchsorted(ends, time + self.tolerance, side="right")
        found: Ints = rows[first:last]
        found = found[intervals.start[found] < time - self.tolerance]
        first_come = np.lexsort((intervals.start[found], -intervals.amount[found]))
        return np.asarray(found[first_come])


def slots_held(problem: Problem, schedule: Schedule) -> Held:
    """Slots of devices: held by ops, and by transfers where there is no copy engine."""
    arrays, moves = problem.arrays, schedule.transfers
    # compute_intervals lists the ops, then the transfers by their sources, then by their targets.
    rows = [np.flatnonzero(~arrays.copy_engine[side]) for side in (moves.source, moves.target)]
    op = np.concatenate([np.arange(arrays.op_count), *(moves.op[held] for held in rows)])
    transfer = np.concatenate([np.full(arrays.op_count, -1), *rows])
    intervals = compute_intervals(problem, schedule)
    assert len(op) == len(intervals.start), "an interval for each op and for each transfer's side"
    return Held(intervals, op, transfer)


def channels_held(problem: Problem, schedule: Schedule) -> Held:
    """Channels of links under contention ``serial``, held by transfers (-1: none)."""
    moves = schedule.transfers
    return Held(channel_intervals(problem, schedule), moves.op, np.arange(len(moves)))


def memory_held(problem: Problem, schedule: Schedule) -> Held:
    """Bytes on devices beside the weights; the op is that whose tensor or workspace it is."""
    arrays, moves = problem.arrays, schedule.transfers
    count = arrays.device_count
    ops = np.arange(arrays.op_count)
    intervals = memory_intervals(problem, schedule)
    # memory_intervals lists tensors by number and device, then the workspace of every op.
    home = np.arange(arrays.tensor_count) * count + schedule.device[arrays.tensor_op]
    places = np.unique(np.concatenate([home, moves.tensor * count + moves.target]))
    tensor = np.concatenate([places // count, np.full(len(ops), -1)])
    op = np.concatenate([arrays.tensor_op[places // count], ops])
    assert len(op) == len(intervals.start), "a tensor for each place, a workspace for each op"
    return Held(intervals, op, np.full(len(op), -1), tensor)
