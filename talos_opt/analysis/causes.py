"""Why each op and transfer of a schedule starts when it does, and the critical path.

An activity (an op, or one hop of a tensor) is held against the rules of docs/model.md one at a
time: if it alone cannot start a moment sooner, some rule forbids it, and the activity whose end
lifts that rule is what it waited for.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
import numpy.typing as npt

from talos_opt.analysis.deliveries import Waits, arrivals, departures
from talos_opt.analysis.holders import Holders, channels_held, memory_held, slots_held
from talos_opt.core import rounding
from talos_opt.core.occupancy import resident_weights
from talos_opt.core.problem import UNLIMITED, Ints, MemoryRule, Objective, Problem
from talos_opt.core.schedule import Schedule

Codes = npt.NDArray[np.int8]


class Cause(IntEnum):
    """Why an activity starts no sooner."""

    #: It starts at time 0.
    NOTHING = 0
    #: Its model was released then.
    RELEASE = 1
    #: The op that produces an input (for a transfer: its tensor) ended then.
    INPUT = 2
    #: An input (for a second hop: the tensor at the stage) arrived then.
    TRANSFER = 3
    #: An op on the device ended and gave its slots; without a copy engine also a transfer.
    SLOT = 4
    #: Bytes came free on the device.
    MEMORY = 5
    #: No rule forbids an earlier start: the order was chosen that way.
    DELAY = 6
    #: A transfer left the link. Of transfers only.
    LINK = 7


@dataclass(frozen=True)
class Causes:
    """Why each of n ops and t transfers starts no sooner.

    Where several rules forbid it at once, the first of this list is told: inputs, release, link,
    slots, memory.

    Parameters
    ----------
    cause : (n,) int8
        `Cause` of each op.
    by : (n,) int
        Op that it waited for; -1: none. TRANSFER, and SLOT and MEMORY where a transfer's end
        was waited for: the producer of the tensor. MEMORY: the op whose end set bytes free.
    transfer : (n,) int
        Row of the transfer that it waited for; -1: none.
    hop_cause, hop_by, hop_transfer : (t,) int8, int, int
        The same of each transfer.
    """

    cause: Codes
    by: Ints
    transfer: Ints
    hop_cause: Codes
    hop_by: Ints
    hop_transfer: Ints

    def __post_init__(self) -> None:
        for column in vars(self).values():
            column.setflags(write=False)


@dataclass(frozen=True, slots=True)
class Step:
    """One op of a chain of ops that waited for each other.

    Parameters
    ----------
    op : int
    transfer : int
        Row of the transfer that this op waited for; -1: none.
    cause : Cause
        Why the op started no sooner.
    transfers : tuple of int
        All transfers between the previous step's op and this one, by time: the second hop of a
        tensor waits for the first, one transfer for another on its link. `transfer` is the last.
    """

    op: int
    transfer: int
    cause: Cause
    transfers: tuple[int, ...] = ()


def find_causes(problem: Problem, schedule: Schedule) -> Causes:
    """Find out why each op and transfer of a feasible schedule starts no sooner.

    An activity is `DELAY` if and only if it alone could start a moment sooner while all others
    stay as they are. That it could start much sooner, in a gap further ahead, is not looked for.

    Parameters
    ----------
    problem : Problem
    schedule : Schedule
        One that `talos_opt.core.feasibility.check` has passed.
    """
    return _Finder(problem, schedule).run()


class _Finder:
    """Activities 0 to n - 1 are the ops, n to n + t - 1 the transfers."""

    def __init__(self, problem: Problem, schedule: Schedule) -> None:
        self.problem, self.schedule = problem, schedule
        self.arrays, self.moves = problem.arrays, schedule.transfers
        self.tolerance = rounding.noise(schedule.start, schedule.end)
        self.count = self.arrays.op_count
        self.start = np.concatenate([schedule.start, self.moves.start])
        self.length = np.concatenate([schedule.end, self.moves.end]) - self.start
        total = len(self.start)
        self.cause = np.full(total, Cause.DELAY, dtype=np.int8)
        self.by = np.full(total, -1, dtype=np.int64)
        self.transfer = np.full(total, -1, dtype=np.int64)

    def run(self) -> Causes:
        # A transfer at time 0 has a producer that ended then.
        self.cause[: self.count][self.schedule.start <= self.tolerance] = Cause.NOTHING
        self._inputs()
        self._releases()
        self._links()
        self._slots()
        if self.problem.memory_rule is MemoryRule.PEAK:
            self._memory()
        cause, by, transfer = self.cause, self.by, self.transfer
        n = self.count
        return Causes(cause[:n], by[:n], transfer[:n], cause[n:], by[n:], transfer[n:])

    def _inputs(self) -> None:
        """Inputs that came when their reader started; tensors that came when they were sent on."""
        reads = arrivals(self.problem, self.schedule)
        self._await(self.arrays.edge_dst, reads)
        sent = departures(self.problem, self.schedule)
        self._await(self.count + np.arange(len(self.moves)), sent)

    def _await(self, activity: Ints, waits: Waits) -> None:
        unexplained = self.cause[activity] == Cause.DELAY
        late = unexplained & (waits.time > self.start[activity] - self.tolerance)
        # Written last to first: the first input that binds is the one that stays.
        rows = np.flatnonzero(late)[::-1]
        chosen, row = activity[rows], waits.transfer[rows]
        self.by[chosen], self.transfer[chosen] = waits.by[rows], row
        self.cause[chosen] = np.where(row >= 0, Cause.TRANSFER, Cause.INPUT)

    def _releases(self) -> None:
        release = self.arrays.release[self.arrays.model]
        cause = self.cause[: self.count]
        held = (cause == Cause.DELAY) & (self.start[: self.count] <= release + self.tolerance)
        cause[held] = Cause.RELEASE

    def _links(self) -> None:
        channel = self.arrays.channel[self.moves.source, self.moves.target]
        rows = np.flatnonzero(channel >= 0)
        holders = Holders(channels_held(self.problem, self.schedule), self.tolerance)
        self._contend(holders, self.count + rows, channel[rows], Cause.LINK)

    def _slots(self) -> None:
        arrays, moves = self.arrays, self.moves
        holders = Holders(slots_held(self.problem, self.schedule), self.tolerance)
        self._contend(holders, np.arange(self.count), self.schedule.device, Cause.SLOT)
        for side in (moves.source, moves.target):
            rows = np.flatnonzero(~arrays.copy_engine[side])
            self._contend(holders, self.count + rows, side[rows], Cause.SLOT)

    def _contend(self, holders: Holders, activity: Ints, resource: Ints, cause: Cause) -> None:
        """Slots and links: what lasts needs its share free just before its start as well."""
        waiting = (self.cause[activity] == Cause.DELAY) & (self.length[activity] > self.tolerance)
        activity, resource = activity[waiting], resource[waiting]
        ops = activity < self.count
        need, room = np.ones((2, len(activity)), dtype=np.int64)
        if cause is Cause.SLOT:
            need[ops] = self.arrays.demand[activity[ops]]
            room = self.arrays.slots[resource]
        used = holders.amount_before(resource, self.start[activity])
        full = used + need > room
        for a, r in zip(activity[full].tolist(), resource[full].tolist(), strict=True):
            ended = holders.ended_at(r, float(self.start[a]))
            if len(ended):
                self.cause[a] = cause
                self.by[a] = holders.held.op[ended[0]]
                self.transfer[a] = holders.held.transfer[ended[0]]

    def _memory(self) -> None:
        """Bytes that an activity takes from its start on were not free just before it."""
        arrays, schedule, moves = self.arrays, self.schedule, self.moves
        room = arrays.capacity - resident_weights(self.problem, schedule.device)
        room = np.where(arrays.capacity >= UNLIMITED, UNLIMITED, room)
        lasts = self.length[: self.count] > self.tolerance
        read = np.diff(arrays.read_ptr) > 0
        size = arrays.bytes_at(arrays.tensor_size, schedule.device[arrays.tensor_op])
        kept = np.where(lasts[arrays.tensor_op] | read, size, 0)
        need = np.where(lasts, arrays.bytes_at(arrays.workspace, schedule.device), 0)
        need = need + np.add.reduceat(kept, arrays.tensor_ptr[:-1])
        device = np.concatenate([schedule.device, moves.target])
        need = np.concatenate([need, arrays.bytes_at(moves.bytes, moves.target)])
        waiting = (self.cause == Cause.DELAY) & (room[device] < UNLIMITED)
        activity = np.flatnonzero(waiting)
        if not len(activity):
            return
        releases = _Releases(self.problem, schedule, self.tolerance)
        used = releases.holders.amount_before(device[activity], self.start[activity])
        over = used + need[activity] - room[device[activity]]
        for k in np.flatnonzero(over > 0).tolist():
            a = int(activity[k])
            found = releases.find(a, int(device[a]), float(self.start[a]), int(over[k]))
            if found is not None:
                self.cause[a] = Cause.MEMORY
                self.by[a], self.transfer[a] = found


class _Releases:
    """Which op or transfer, by its end, set memory free."""

    def __init__(self, problem: Problem, schedule: Schedule, tolerance: float) -> None:
        self.arrays, self.schedule, self.tolerance = problem.arrays, schedule, tolerance
        self.held = memory_held(problem, schedule)
        self.holders = Holders(self.held, tolerance)

    def find(self, waiting: int, device: int, time: float, over: int) -> tuple[int, int] | None:
        """Return the op and the transfer (-1: an op) that set most free on a device at a time.

        Parameters
        ----------
        waiting : int
            Op that starts then. If it takes no time it ends then as well, and what it alone sets
            free is not an obstacle to an earlier start of its own.
        device : int
        time : float
        over : int
            Bytes that lack just before.

        Returns
        -------
        tuple or None
            None: nothing but what the op itself sets free was in its way.
        """
        found: list[tuple[int, int]] = []
        for row in self.holders.ended_at(device, time).tolist():
            amount = int(self.held.intervals.amount[row])
            uses = [use for use in self._last_uses(row, device, time) if use != (waiting, -1)]
            if not uses:
                over -= amount
            elif amount > 0:
                found.append(min(uses, key=self._begun))
        # What began before its end leads back in time; what takes no time may lead in a circle.
        found.sort(key=lambda use: self._begun(use) >= time - self.tolerance)
        return found[0] if found and over > 0 else None

    def _last_uses(self, row: int, device: int, time: float) -> list[tuple[int, int]]:
        arrays, schedule = self.arrays, self.schedule
        op = int(self.held.op[row])
        assert self.held.tensor is not None, "of memory"
        tensor = int(self.held.tensor[row])
        if tensor < 0:
            return [(op, -1)]  # a workspace
        uses: list[tuple[int, int]] = []
        edges = slice(*arrays.read_ptr[tensor : tensor + 2].tolist())
        readers = arrays.edge_dst[edges]
        near = np.abs(schedule.end[readers] - time) <= self.tolerance
        uses += [(int(r), -1) for r in readers[near & (schedule.device[readers] == device)]]
        if schedule.device[op] == device and abs(schedule.end[op] - time) <= self.tolerance:
            uses.append((op, -1))
        moves = schedule.transfers
        ended = (moves.tensor == tensor) & (np.abs(moves.end - time) <= self.tolerance)
        ended &= (moves.source == device) | (moves.target == device)
        uses += [(op, int(k)) for k in np.flatnonzero(ended)]
        return uses

    def _begun(self, use: tuple[int, int]) -> float:
        op, transfer = use
        column = self.schedule.start if transfer < 0 else self.schedule.transfers.start
        return float(column[op if transfer < 0 else transfer])


def critical_path(
    problem: Problem, schedule: Schedule, causes: Causes | None = None, *, to: int | None = None
) -> tuple[Step, ...]:
    """Return the chain of ops that waited for each other up to an op, first op first.

    It begins with an op that started at time 0 or at its release. A step without a cause (`DELAY`)
    is preceded by its last input, or the last op before it on its device: there, and only there,
    time passes between one activity and the next. Ops of no length that wait for each other's
    memory end the chain, and so may begin it.

    Parameters
    ----------
    problem : Problem
    schedule : Schedule
        A feasible one.
    causes : Causes, optional
        What `find_causes` returned, if it is known.
    to : int, optional
        Last op of the chain; default: `last_op`.
    """
    causes = find_causes(problem, schedule) if causes is None else causes
    walk = _Walk(problem, schedule, causes)
    op = last_op(problem, schedule) if to is None else to
    steps: list[Step] = []
    seen: set[tuple[int, int]] = set()
    at: tuple[int, int] | None = (op, -1)
    hops: list[int] = []
    while at is not None and at not in seen:
        seen.add(at)
        before = walk.before(*at)
        if at[1] >= 0:
            hops.append(at[1])
        else:
            steps.append(Step(at[0], -1, Cause(int(causes.cause[at[0]]))))
        if (before is None or before in seen or before[1] < 0) and steps:
            path = tuple(reversed(hops))
            last = steps[-1]
            steps[-1] = Step(last.op, path[-1] if path else -1, last.cause, path)
            hops = []
        at = before
    return tuple(reversed(steps))


def last_op(problem: Problem, schedule: Schedule) -> int:
    """Return the op that ends last; under ``toct`` of those whose model has a weight.

    If no model has one: of all ops.
    """
    end = schedule.end
    if problem.objective is Objective.TOCT:
        counts = problem.arrays.model_weight[problem.arrays.model] > 0
        if counts.any():
            end = np.where(counts, end, -np.inf)
    return int(np.argmax(end))


class _Walk:
    """From an activity to the one that it waited for; activities as (op, transfer or -1)."""

    def __init__(self, problem: Problem, schedule: Schedule, causes: Causes) -> None:
        self.problem, self.schedule, self.causes = problem, schedule, causes
        self.tolerance = rounding.noise(schedule.start, schedule.end)
        self.reads: Waits | None = None
        self.sent: Waits | None = None

    def before(self, op: int, transfer: int) -> tuple[int, int] | None:
        causes = self.causes
        if transfer < 0:
            cause, by, row = causes.cause[op], causes.by[op], causes.transfer[op]
        else:
            cause, by = causes.hop_cause[transfer], causes.hop_by[transfer]
            row = causes.hop_transfer[transfer]
        if cause == Cause.DELAY:
            return self._last_before(op, transfer)
        return None if by < 0 else (int(by), int(row))

    def _last_before(self, op: int, transfer: int) -> tuple[int, int] | None:
        """What ended last of that which an activity without a cause needed."""
        arrays, schedule = self.problem.arrays, self.schedule
        if transfer >= 0:
            if self.sent is None:
                self.sent = departures(self.problem, schedule)
            return op, int(self.sent.transfer[transfer])
        edges = arrays.in_edge[arrays.in_ptr[op] : arrays.in_ptr[op + 1]]
        if len(edges):
            if self.reads is None:
                self.reads = arrivals(self.problem, schedule)
            last = edges[np.argmax(self.reads.time[edges])]
            return int(self.reads.by[last]), int(self.reads.transfer[last])
        before = schedule.end <= schedule.start[op] + self.tolerance
        before &= (schedule.device == schedule.device[op]) & (schedule.start < schedule.start[op])
        ended = np.flatnonzero(before)
        return (int(ended[np.argmax(schedule.end[ended])]), -1) if len(ended) else None
