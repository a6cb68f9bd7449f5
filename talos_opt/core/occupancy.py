"""What a schedule holds over time: slots, link channels and memory, as intervals and their peaks.

Used by the checker and the metrics. Intervals are half open: what ends at t makes room for what
starts at t, and what takes no time holds nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from talos_opt.core import rounding
from talos_opt.core.problem import Arrays, Floats, Ints, Problem
from talos_opt.core.schedule import Schedule
from talos_opt.core.sums import max_by, sum_by


@dataclass(frozen=True)
class Intervals:
    """Columns of q intervals, each holding an amount of one resource.

    Parameters
    ----------
    resource : (q,) int
        Device (or channel) that is held.
    start, end : (q,) float
    amount : (q,) int
        Slots or bytes.
    """

    resource: Ints
    start: Floats
    end: Floats
    amount: Ints

    @classmethod
    def join(cls, *parts: Intervals) -> Intervals:
        """Concatenate several sets of intervals."""
        return cls(
            np.concatenate([part.resource for part in parts]),
            np.concatenate([part.start for part in parts]),
            np.concatenate([part.end for part in parts]),
            np.concatenate([part.amount for part in parts]),
        )

    def trimmed(self, tolerance: float | None = None) -> Intervals:
        """Return the intervals, each ending sooner by what rounding may have added to it.

        Parameters
        ----------
        tolerance : float, optional
            By how much; default: a few spacings of floats. Never a share of an interval that
            matters, so that none is lost.
        """
        allowed = rounding.between(self.end, self.end - self.start, tolerance=tolerance)
        return replace(self, end=self.end - allowed)

    def peak(self, resource: int) -> tuple[int, float]:
        """Return the largest amount held at once of a resource, and when it is first reached."""
        chosen = (self.resource == resource) & (self.end > self.start)
        if not chosen.any():
            return 0, 0.0
        start, end, amount = self.start[chosen], self.end[chosen], self.amount[chosen]
        times = np.concatenate([end, start])  # ends first: a stable sort frees before it takes
        change = np.concatenate([-amount, amount])
        by_time = np.argsort(times, kind="stable")
        held = np.cumsum(change[by_time])
        top = int(np.argmax(held))
        return max(int(held[top]), 0), float(times[by_time[top]])


def compute_intervals(problem: Problem, schedule: Schedule) -> Intervals:
    """Slots held by ops, and by transfers where a device has no copy engine."""
    arrays = problem.arrays
    parts = [Intervals(schedule.device, schedule.start, schedule.end, arrays.demand)]
    moves = schedule.transfers
    for side in (moves.source, moves.target):
        held = ~arrays.copy_engine[side]
        ones = np.ones(int(held.sum()), dtype=np.int64)
        parts.append(Intervals(side[held], moves.start[held], moves.end[held], ones))
    return Intervals.join(*parts)


def channel_intervals(problem: Problem, schedule: Schedule) -> Intervals:
    """Transfers on the channels of contention ``serial`` (channel -1: none)."""
    moves = schedule.transfers
    channel = problem.arrays.channel[moves.source, moves.target]
    return Intervals(channel, moves.start, moves.end, np.ones(len(moves), dtype=np.int64))


def memory_intervals(problem: Problem, schedule: Schedule) -> Intervals:
    """Bytes alive beside the weights: outputs, received copies and workspaces.

    Liveness as model.md states it: a tensor lives from its op's start until its last local
    reader and its last outgoing transfer end; a copy on another device (a staged one too) from
    its transfer's start until its last reader there and its last onward transfer end.
    """
    arrays, moves = problem.arrays, schedule.transfers
    count, maker = arrays.device_count, arrays.tensor_op
    home = np.arange(arrays.tensor_count) * count + schedule.device[maker]
    copies = moves.tensor * count + moves.target
    # Every place (tensor, device) where one lives, and the last moment it is needed there.
    places, first = np.unique(np.concatenate([home, copies]), return_index=True)
    last = np.concatenate([schedule.end[maker], moves.end])[first]
    reads = arrays.edge_tensor * count + schedule.device[arrays.edge_dst]
    sends = moves.tensor * count + moves.source
    for keys, ends in ((reads, schedule.end[arrays.edge_dst]), (sends, moves.end)):
        spot = np.searchsorted(places, keys)
        known = (spot < len(places)) & (places[np.minimum(spot, len(places) - 1)] == keys)
        np.maximum.at(last, spot[known], ends[known])
    start = np.concatenate([schedule.start[maker], moves.start])[first]
    amount = np.concatenate([arrays.tensor_size, moves.bytes])[first]
    tensors = Intervals(places % count, start, last, arrays.bytes_at(amount, places % count))
    workspace = arrays.bytes_at(arrays.workspace, schedule.device)
    work = Intervals(schedule.device, schedule.start, schedule.end, workspace)
    return Intervals.join(tensors, work)


def static_memory(problem: Problem, device: Ints) -> Ints:
    """Bytes per device under the static rule: weights + outputs + largest workspace (m,)."""
    arrays = problem.arrays
    held = arrays.weights_at(device) + arrays.outputs_at(device)
    workspace = arrays.bytes_at(arrays.workspace, device)
    held = sum_by(device, held, arrays.device_count)
    return held + max_by(device, workspace, arrays.device_count)


def most_needed(arrays: Arrays) -> int:
    """Bytes that no device ever needs more of, whatever is placed there, under either rule."""
    largest = np.maximum(arrays.tensor_size, arrays.sent_bytes)
    return int((arrays.weights + arrays.workspace).sum() + largest.sum())


def resident_weights(problem: Problem, device: Ints) -> Ints:
    """Bytes of weights per device (m,)."""
    arrays = problem.arrays
    return sum_by(device, arrays.weights_at(device), arrays.device_count)
