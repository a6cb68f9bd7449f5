"""What weighs most in a schedule: memory at each peak, tensors that move, and op types by time."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from talos_opt.analysis.holders import memory_held
from talos_opt.core.occupancy import resident_weights, static_memory
from talos_opt.core.problem import Ints, MemoryRule, Problem
from talos_opt.core.schedule import Schedule

#: Rows of each list.
LISTED = 8


@dataclass(frozen=True)
class Holding:
    """Bytes on a device at its peak.

    Parameters
    ----------
    what : str
        ``weights``, ``output``, ``copy`` (received from another device) or ``workspace``.
    op : int
        Whose they are.
    bytes : int
    output : str
        Name of the tensor; empty: the op names none.
    """

    what: str
    op: int
    bytes: int
    output: str = ""


@dataclass(frozen=True)
class Peak:
    """What a device holds when it holds most.

    Parameters
    ----------
    device : int
    bytes : int
        Under the rule ``static`` what it counts, else what is alive.
    time : float or None
        When; None under the rule ``static``, which knows no time.
    weights : int
        Of these bytes, those of weights.
    holdings : tuple of Holding
        Largest first, at most `LISTED`.
    """

    device: int
    bytes: int
    time: float | None
    weights: int
    holdings: tuple[Holding, ...]


@dataclass(frozen=True)
class Moved:
    """A tensor that was sent.

    Parameters
    ----------
    op, tensor : int
    hops, bytes : int
        How often, and how many bytes in all.
    time : float
        That the hops took, in the graph's unit.
    """

    op: int
    tensor: int
    hops: int
    bytes: int
    time: float


@dataclass(frozen=True)
class TypeTime:
    """Ops of one type: how many there are, and how long they ran, in the graph's unit."""

    type: str
    ops: int
    time: float


def peaks(problem: Problem, schedule: Schedule) -> tuple[Peak, ...]:
    """Return what holds the memory of each device at its peak."""
    if problem.memory_rule is MemoryRule.STATIC:
        return tuple(_static(problem, schedule))
    return tuple(_alive(problem, schedule))


def _static(problem: Problem, schedule: Schedule) -> list[Peak]:
    arrays, device = problem.arrays, schedule.device
    weights, outputs = arrays.weights_at(device), arrays.outputs_at(device)
    workspace = arrays.bytes_at(arrays.workspace, device)
    total, resident = static_memory(problem, device), resident_weights(problem, device)
    found = []
    for d in range(arrays.device_count):
        own = np.flatnonzero(device == d)
        held = _largest("weights", own, weights) + _largest("output", own, outputs)
        held += _largest("workspace", own, workspace)[:1]
        found.append(Peak(d, int(total[d]), None, int(resident[d]), _top(held)))
    return found


def _alive(problem: Problem, schedule: Schedule) -> list[Peak]:
    arrays, device = problem.arrays, schedule.device
    weights, resident = arrays.weights_at(device), resident_weights(problem, device)
    held = memory_held(problem, schedule)
    assert held.tensor is not None, "of memory"
    alive = held.intervals.trimmed()
    found = []
    for d in range(arrays.device_count):
        most, time = alive.peak(d)
        listed = _largest("weights", np.flatnonzero(device == d), weights)
        there = (alive.resource == d) & (alive.start <= time) & (alive.end > time)
        for row in np.flatnonzero(there & (alive.amount > 0)).tolist():
            op, tensor = int(held.op[row]), int(held.tensor[row])
            what = "workspace" if tensor < 0 else "output" if device[op] == d else "copy"
            name = "" if tensor < 0 else problem.output_name(tensor)
            listed.append(Holding(what, op, int(alive.amount[row]), name))
        whole = int(resident[d]) + most
        found.append(Peak(d, whole, time, int(resident[d]), _top(listed)))
    return found


def _largest(what: str, ops: Ints, size: Ints) -> list[Holding]:
    chosen = ops[size[ops] > 0]
    chosen = chosen[np.argsort(-size[chosen], kind="stable")][:LISTED]
    return [Holding(what, int(i), int(size[i])) for i in chosen]


def _top(held: list[Holding]) -> tuple[Holding, ...]:
    return tuple(sorted(held, key=lambda item: -item.bytes)[:LISTED])


def most_moved(problem: Problem, schedule: Schedule) -> tuple[Moved, ...]:
    """Return the tensors of which most bytes were sent, at most `LISTED`."""
    moves = schedule.transfers
    count = problem.arrays.tensor_count
    size = np.zeros(count, dtype=np.int64)
    np.add.at(size, moves.tensor, moves.bytes)
    hops = np.bincount(moves.tensor, minlength=count)
    time = np.bincount(moves.tensor, weights=moves.end - moves.start, minlength=count)
    order = np.lexsort((-time, -size))
    return tuple(
        Moved(int(problem.arrays.tensor_op[u]), int(u), int(hops[u]), int(size[u]), float(time[u]))
        for u in order[:LISTED]
        if hops[u]
    )


def type_times(problem: Problem, schedule: Schedule) -> tuple[TypeTime, ...]:
    """Return the op types that ran longest, at most `LISTED`; ops without a type count as one."""
    columns = problem.graph.columns
    length = schedule.end - schedule.start
    time = np.bincount(columns.type, weights=length, minlength=len(columns.types))
    ops = np.bincount(columns.type, minlength=len(columns.types))
    order = np.argsort(-time, kind="stable")
    return tuple(
        TypeTime(columns.types[k], int(ops[k]), float(time[k])) for k in order[:LISTED] if ops[k]
    )
