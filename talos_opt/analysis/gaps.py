"""What each device is idle for: its gaps, and what the next activity there waits for in each.

A slot that is free at a moment is put down to the op or transfer that starts next on its device:
to the first of the obstacles of docs/model.md, "Where the time goes", that are still in its way.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, NamedTuple

import numpy as np

from talos_opt.analysis.causes import Cause, Causes, Codes
from talos_opt.analysis.deliveries import arrivals, departures
from talos_opt.analysis.holders import slots_held
from talos_opt.core.problem import Bools, Floats, Ints, Problem
from talos_opt.core.schedule import Schedule


class Part(IntEnum):
    """What a slot does, or waits for."""

    #: It runs an op.
    COMPUTE = 0
    #: A transfer holds it: its device has no copy engine.
    TRANSFER = 1
    #: The next op's model is not released.
    RELEASE = 2
    #: An op that makes an input of the next activity has not ended.
    INPUT = 3
    #: All inputs are made; one is on its way, or queues for a link.
    ARRIVAL = 4
    #: The next activity, or the transfer that brings its input, lacks memory.
    MEMORY = 5
    #: The next activity, or the transfer that brings its input, lacks slots.
    SLOT = 6
    #: Nothing is in the way of the next activity: the order was chosen that way.
    ORDER = 7
    #: Nothing more starts on the device.
    TAIL = 8


#: What a person reads of each part, in a table's heading.
LABELS = {
    Part.COMPUTE: "compute",
    Part.TRANSFER: "transfer",
    Part.RELEASE: "release",
    Part.INPUT: "input",
    Part.ARRIVAL: "arrival",
    Part.MEMORY: "memory",
    Part.SLOT: "slot",
    Part.ORDER: "order",
    Part.TAIL: "done",
}

#: What a cause at the end of a wait makes of it; others leave nothing to explain.
_PART_OF = {
    Cause.SLOT: Part.SLOT,
    Cause.MEMORY: Part.MEMORY,
    Cause.LINK: Part.ARRIVAL,
    Cause.DELAY: Part.ORDER,
}


@dataclass(frozen=True)
class Gaps:
    """Stretches of time in which slots of a device are free, g of them.

    Parameters
    ----------
    device : (g,) int
    start, end : (g,) float
        In the graph's time unit.
    slots : (g,) int
        How many are free.
    part : (g,) int
        `Part`: what they wait for.
    next_op, next_transfer : (g,) int
        What starts next on the device: an op, or, if the second is not -1, that transfer of the
        op's tensor. -1, -1: nothing.
    by, transfer : (g,) int
        Op that is waited for, or, if the second is not -1, that transfer of its tensor; -1: none.
    """

    device: Ints
    start: Floats
    end: Floats
    slots: Ints
    part: Ints
    next_op: Ints
    next_transfer: Ints
    by: Ints
    transfer: Ints

    def __post_init__(self) -> None:
        for column in vars(self).values():
            column.setflags(write=False)

    @property
    def spent(self) -> Floats:
        """Slot time of each gap (g,)."""
        return np.asarray((self.end - self.start) * self.slots)


class _Stage(NamedTuple):
    """One obstacle of q activities: until when it is there, what it is, and who is waited for."""

    until: Floats
    part: Ints
    by: Ints
    transfer: Ints


class _Pieces(NamedTuple):
    """Columns of gaps; `following` is an activity: one of n ops, then of t transfers; -1: none."""

    device: Ints
    start: Floats
    end: Floats
    slots: Ints
    following: Ints
    part: Ints
    by: Ints
    transfer: Ints

    @classmethod
    def join(cls, pieces: list[_Pieces]) -> _Pieces:
        columns: Any = zip(*pieces, strict=True)
        return cls(*map(np.concatenate, columns))

    def taken(self, rows: Ints) -> _Pieces:
        columns: Any = self
        return _Pieces(*(column[rows] for column in columns))


def find_gaps(problem: Problem, schedule: Schedule, causes: Causes) -> Gaps:
    """Find all gaps of all devices between the earliest release and the makespan.

    Parameters
    ----------
    problem : Problem
    schedule : Schedule
        One that `talos_opt.core.feasibility.check` has passed.
    causes : Causes
        Of this schedule.
    """
    held = slots_held(problem, schedule)
    stages = _obstacles(problem, schedule, causes)
    count, origin = problem.arrays.op_count, float(problem.arrays.release.min())
    activity = np.where(held.transfer < 0, held.op, count + held.transfer)
    by_device = np.argsort(held.intervals.resource, kind="stable")
    owner = held.intervals.resource[by_device]
    cuts = np.searchsorted(owner, np.arange(1, problem.arrays.device_count))
    parts = []
    for d, rows in enumerate(np.split(by_device, cuts)):
        start, end = held.intervals.start[rows], held.intervals.end[rows]
        held_slots = held.intervals.amount[rows]
        points, used = _used_slots(start, end, held_slots, origin, schedule.makespan)
        free = int(problem.arrays.slots[d]) - used
        # Of several that start together, the one that lasts longest.
        order = np.lexsort((start - end, start))
        first = np.searchsorted(start[order], points[1:], side="left")
        following = np.append(activity[rows[order]], -1)[first]
        parts.append(_cut(d, points, free, following, stages))
    found = _Pieces.join(parts)
    by_time = np.lexsort((found.start, found.device))
    found = found.taken(by_time)
    sent = found.following >= count
    row = np.where(sent, found.following - count, -1)
    next_op = found.following.copy()
    next_op[sent] = schedule.transfers.op[row[sent]]
    return Gaps(
        found.device, found.start, found.end, found.slots, found.part, next_op, row,
        found.by, found.transfer,
    )  # fmt: skip


def _used_slots(
    start: Floats, end: Floats, amount: Ints, origin: float, horizon: float
) -> tuple[Floats, Ints]:
    """Return moments from the origin to the horizon, and the slots in use from each to the next."""
    points = np.unique(np.concatenate([[origin, horizon], start, end]))
    points = points[(points >= origin) & (points <= horizon)]
    change = np.zeros(len(points) + 1, dtype=np.int64)
    np.add.at(change, np.searchsorted(points, start), amount)
    np.add.at(change, np.searchsorted(points, end), -amount)
    return points, np.cumsum(change)[: len(points) - 1]


def _cut(device: int, points: Floats, free: Ints, following: Ints, stages: list[_Stage]) -> _Pieces:
    """Cut the gaps of a device where what the next activity waits for changes."""
    rows = np.flatnonzero(free)
    after = following[rows]
    lower, upper = points[:-1][rows], points[1:][rows]

    def piece(chosen: Bools, start: Floats, end: Floats, what: Iterable[Ints]) -> _Pieces:
        count = int(chosen.sum())
        named = [column[after[chosen]] for column in what]
        return _Pieces(
            np.full(count, device), start[chosen], end[chosen], free[rows[chosen]],
            after[chosen], *named,
        )  # fmt: skip

    last, done = after < 0, lower
    tail = np.full(len(stages[0].part) + 1, Part.TAIL)  # -1 reads its end
    pieces = [piece(last, lower, upper, (tail, -np.ones_like(tail), -np.ones_like(tail)))]
    for stage in stages:
        until = np.minimum(upper, np.maximum(done, stage.until[after]))
        pieces.append(piece(~last & (until > done), done, until, stage[1:]))
        done = until
    return _Pieces.join(pieces)


def _obstacles(problem: Problem, schedule: Schedule, causes: Causes) -> list[_Stage]:
    """Return what each activity waits for, in that order: n ops, then t transfers.

    The last stage lasts until the activity starts.
    """
    arrays, moves = problem.arrays, schedule.transfers
    total = arrays.op_count + len(moves)
    last = _last_inputs(problem, schedule)
    # The transfer that brings the last input: when it could have started, and why it did not.
    hop = np.flatnonzero(last.transfer >= 0)
    row = last.transfer[hop]
    ready, started = np.full((2, total), -np.inf)
    ready[hop], started[hop] = departures(problem, schedule).time[row], moves.start[row]
    arrival, queue = np.full((2, total), Part.ARRIVAL)
    queue[hop] = _parts(causes.hop_cause[row], Part.ARRIVAL)
    queue[queue == Part.ORDER] = Part.ARRIVAL
    lacks = queue[hop] != Part.ARRIVAL
    by, transfer = last.by.copy(), last.transfer.copy()
    by[hop[lacks]] = causes.hop_by[row[lacks]]
    transfer[hop[lacks]] = causes.hop_transfer[row[lacks]]
    release = np.concatenate([arrays.release[arrays.model], np.full(len(moves), -np.inf)])
    none = np.full(total, -1)
    return [
        _Stage(release, np.full(total, Part.RELEASE), none, none),
        _Stage(last.produced, np.full(total, Part.INPUT), last.producer, none),
        _Stage(ready, arrival, last.by, last.transfer),
        _Stage(started, queue, by, transfer),
        _Stage(last.arrived, arrival, last.by, last.transfer),
        _Stage(
            np.concatenate([schedule.start, moves.start]),
            _parts(np.concatenate([causes.cause, causes.hop_cause]), Part.ORDER),
            np.concatenate([causes.by, causes.hop_by]),
            np.concatenate([causes.transfer, causes.hop_transfer]),
        ),
    ]


class _LastInputs(NamedTuple):
    """Of n ops, then of t transfers: the input made last, and the one that arrived last.

    Without inputs times are minus infinity and numbers -1.
    """

    produced: Floats
    producer: Ints
    arrived: Floats
    by: Ints  # the producer of the one that arrived last
    transfer: Ints  # that brought it


def _last_inputs(problem: Problem, schedule: Schedule) -> _LastInputs:
    arrays, moves = problem.arrays, schedule.transfers
    reads, leaves = arrivals(problem, schedule), departures(problem, schedule)
    made, first = _last_of(problem, schedule.end[arrays.edge_src])
    came, edge = _last_of(problem, reads.time)
    some = np.flatnonzero(edge >= 0)
    producer, by, transfer = np.full((3, arrays.op_count), -1)
    producer[some] = arrays.edge_src[first[some]]
    by[some], transfer[some] = reads.by[edge[some]], reads.transfer[edge[some]]
    return _LastInputs(
        np.concatenate([made, schedule.end[moves.op]]),
        np.concatenate([producer, moves.op]),
        np.concatenate([came, leaves.time]),
        np.concatenate([by, leaves.by]),
        np.concatenate([transfer, leaves.transfer]),
    )


def _last_of(problem: Problem, time: Floats) -> tuple[Floats, Ints]:
    """Return the latest time of each op's edges and the edge that has it (n,), (n,).

    Without edges they are minus infinity, and -1.
    """
    arrays = problem.arrays
    latest = np.full(arrays.op_count, -np.inf)
    edge = np.full(arrays.op_count, -1)
    some = np.flatnonzero(np.diff(arrays.in_ptr))
    if len(some):
        by_time = np.lexsort((time, arrays.edge_dst))
        edge[some] = by_time[arrays.in_ptr[some + 1] - 1]
        latest[some] = time[edge[some]]
    return latest, edge


def _parts(cause: Codes, otherwise: Part) -> Ints:
    table = np.array([_PART_OF.get(Cause(k), otherwise) for k in range(len(Cause))])
    return np.asarray(table[cause], dtype=np.int64)
