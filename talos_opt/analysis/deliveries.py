"""When the tensors of a schedule are where they are needed, and what brings them."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from talos_opt.core.problem import Floats, Ints, Problem
from talos_opt.core.schedule import Schedule


class Waits(NamedTuple):
    """Inputs of each op (e of them, as the problem's edges) or tensors of each transfer.

    Parameters
    ----------
    time : float array
        When it is there.
    by : int array
        Its producer.
    transfer : int array
        Row of the transfer that brings it; -1: it is produced there, or moves in no time.
    """

    time: Floats
    by: Ints
    transfer: Ints

    def activity(self, ops: int) -> Ints:
        """Return what brings it: an op's number, or `ops` + the row of a transfer."""
        return np.where(self.transfer >= 0, ops + self.transfer, self.by)


def arrivals(problem: Problem, schedule: Schedule) -> Waits:
    """Return when the tensor of each edge is on its reader's device, and what brings it (e,)."""
    arrays = problem.arrays
    target = schedule.device[arrays.edge_dst]
    return _deliveries(problem, schedule, arrays.edge_tensor, target)


def departures(problem: Problem, schedule: Schedule) -> Waits:
    """Return when the tensor of each transfer is where it starts from, and what brings it (t,)."""
    moves = schedule.transfers
    return _deliveries(problem, schedule, moves.tensor, moves.source)


def _deliveries(problem: Problem, schedule: Schedule, tensor: Ints, target: Ints) -> Waits:
    """When tensors are on devices, by listed hops or by such as take no time."""
    arrays, moves = problem.arrays, schedule.transfers
    count = arrays.device_count
    keys = moves.tensor * count + moves.target
    by_key = np.argsort(keys, kind="stable")
    op = arrays.tensor_op[tensor]
    source = schedule.device[op]

    def rows_of(device: Ints) -> Ints:
        wanted = tensor * count + device
        spot = np.minimum(np.searchsorted(keys[by_key], wanted), max(len(keys) - 1, 0))
        if not len(keys):
            return np.full(len(op), -1)
        rows = by_key[spot]
        return np.where((keys[rows] == wanted) & (device != source), rows, -1)

    row = rows_of(target)
    stage = np.where(source == target, -1, arrays.via[source, target])
    staged = (row < 0) & (stage >= 0)
    # The onward hop takes no time and need not be listed: the tensor is there with the first.
    row = np.where(staged, rows_of(np.where(staged, stage, source)), row)
    time = schedule.end[op]
    if len(moves):
        time = np.where(row >= 0, moves.end[row], time)
    return Waits(time, op, row)
