"""The one-pass placements of large graphs, a device or an op at a time, on lists and dicts."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from talos_opt.core.problem import Problem
from talos_opt.testing.reference.flat import Flat, channel, route
from tests.reference.queues import capacity, groups


class Rooms:
    """What groups that have been placed leave of each device's memory.

    Parameters
    ----------
    problem : Problem
    size : sequence of int
        Bytes that each group holds, its largest workspace aside.
    usable : sequence of sequence of bool
    """

    def __init__(
        self, problem: Problem, size: Sequence[int], usable: Sequence[Sequence[bool]]
    ) -> None:
        self.flat, self.size, self.usable = Flat(problem), size, usable
        self.problem, self.count = problem, len(problem.cluster.devices)
        self.members = groups(problem)
        self.group = [
            next(g for g, members in enumerate(self.members) if i in members)
            for i in range(len(self.flat.ops))
        ]
        self.home: dict[int, int] = {}

    def workspace(self, group: int) -> int:
        return max(self.flat.ops[i].memory.workspace for i in self.members[group])

    def fits(self, group: int, d: int, kept: int = 0) -> bool:
        """Whether a group may go to a device, and has room there beside `kept` bytes."""
        here = [g for g, where in self.home.items() if where == d]
        widest = max(self.workspace(g) for g in [*here, group])
        held = sum(self.size[g] for g in [*here, group])
        return self.usable[group][d] and held + widest + kept <= capacity(self.problem, d)

    def work(self, group: int, d: int) -> float:
        """Load of a group on a device."""
        total = 0.0
        for i in self.members[group]:
            total += (self.flat.time(i, d) or 0.0) * self.flat.ops[i].slots
        return total / self.problem.cluster.devices[d].slots

    def load(self, d: int) -> float:
        return sum(self.work(g, d) for g, where in self.home.items() if where == d)

    def top(self) -> float:
        return max(self.load(d) for d in range(self.count))

    def device(self) -> list[int]:
        return [self.home[g] for g in self.group]


def fill(rooms: Rooms, sequence: Sequence[int], turn: Sequence[int], target: float) -> bool:
    """Fill devices in turn, each up to a load; False if a group found no room.

    A group that may not go to the device at hand goes where the load is least then; so does one
    that no longer fits below the target, unless that is elsewhere and another turn is left.
    """
    at = 0
    for group in dict.fromkeys(rooms.group[op] for op in sequence):
        while True:
            here = turn[at]
            total = {
                d: rooms.load(d) + rooms.work(group, d)
                for d in range(rooms.count)
                if rooms.fits(group, d)
            }
            if here in total and total[here] <= target:
                chosen = here
                break
            chosen = min(total, key=lambda d: (total[d], d != here, d), default=-1)
            if chosen == here or at + 1 == len(turn) or not rooms.usable[group][here]:
                break
            at += 1
        if chosen < 0:
            return False
        rooms.home[group] = chosen
    return True


def spread_scores(
    rooms: Rooms, group: int, price: Sequence[float], scale: float
) -> dict[int, float]:
    """What a group's work costs on each device that has room; dearer with the device's load."""
    first = rooms.load(0)
    return {
        d: (rooms.work(group, d) + 1e-9 * scale)
        * price[d]
        * math.exp((rooms.load(d) - first) / scale)
        for d in range(rooms.count)
        if rooms.fits(group, d)
    }


@dataclass(frozen=True)
class Steering:
    """What steers a pass by earliest ends; fields as the kernel's."""

    hold: Sequence[float]
    urgency: Sequence[float]
    window: int
    reserve: Sequence[int]
    price: Sequence[float]


@dataclass(frozen=True)
class Step:
    """The next op of a pass, where it goes and when it ends; device -1: nowhere."""

    op: int
    device: int
    end: float


def earliest_ends(rooms: Rooms, steering: Steering, follow: Sequence[int]) -> Iterator[Step]:
    """Place the ops one by one; see `place_earliest`.

    The window may close between ops that became ready together. Which of them it takes is left
    open: a window of one follows the order given while it lasts (-1 ends it), for wider ones the
    comparison ends there.
    """
    flat, cluster = rooms.flat, rooms.problem.cluster
    end: dict[int, float] = {}
    where: dict[int, int] = {}
    kept = list(steering.reserve)
    slots = [[0.0] * item.slots for item in cluster.devices]
    carried: dict[object, float] = {}
    window: list[int] = []
    inputs = [[e for e in flat.edges if e[1] == i] for i in range(len(flat.ops))]
    for position in range(len(flat.ops)):
        known: dict[int, float] = {}
        for i in range(len(flat.ops)):
            if i in end or i in window or any(source not in end for source, _, _ in inputs[i]):
                continue
            before = [end[source] for source, _, _ in inputs[i]] or [flat.release[i]]
            known[i] = max(steering.hold[flat.model[i]], *before)
        while known and len(window) < steering.window:
            least = min(known.values())
            tied = [i for i, moment in known.items() if moment == least]
            if len(tied) > steering.window - len(window):
                if steering.window > 1 or follow[position] < 0:
                    return
                assert follow[position] in tied, "neither the first to be ready nor as early"
                tied = [follow[position]]
            window += tied
            for i in tied:
                del known[i]
        op = min(window, key=lambda i: steering.urgency[i])
        window.remove(op)
        group = rooms.group[op]
        confined = not all(rooms.usable[group])
        best, best_score, best_start = -1, math.inf, math.inf
        for d in range(rooms.count):
            if group in rooms.home:
                open_ = rooms.home[group] == d
            else:
                open_ = rooms.fits(group, d, 0 if confined else kept[d])
            arrivals = [
                _arrival(rooms, end[source], where[source], d, size, carried)
                for source, _, size in inputs[op]
            ]
            start = max([flat.release[op], min(slots[d]), *arrivals])
            if not open_ or start == math.inf:
                continue
            score = start + (flat.time(op, d) or 0.0) * (1.0 + steering.price[d])
            if score < best_score:
                best, best_score, best_start = d, score, start
        if best < 0:
            yield Step(op, -1, math.inf)
            return
        time = flat.time(op, best) or 0.0
        stop = best_start + time
        spot = slots[best].index(min(slots[best]))
        for source, _, size in sorted(inputs[op]):
            way = route(cluster, where[source], best)
            if not way:
                continue
            hop = way[-1]
            length = flat.hop_time(*hop, size)
            line = channel(cluster, *hop)
            if line is not None:
                carried[line] = max(carried.get(line, 0.0), end[source]) + length
            # A device without a copy engine is kept busy: the reader's by the op's own end.
            if not cluster.devices[best].copy_engine:
                stop += length
            if not cluster.devices[where[source]].copy_engine:
                slots[where[source]][0] += length
        if time > 0:
            others = [s for s in range(len(slots[best])) if s != spot]
            slots[best][spot] = stop
            for s in others[: flat.ops[op].slots - 1]:
                slots[best][s] = max(slots[best][s], stop)
        if group not in rooms.home:
            rooms.home[group] = best
            if confined:
                kept[best] = max(0, kept[best] - rooms.size[group])
        end[op], where[op] = stop, best
        yield Step(op, best, stop)


def _arrival(
    rooms: Rooms, end: float, source: int, d: int, size: int, carried: dict[object, float]
) -> float:
    """When a tensor could be on a device: only the last hop waits for its channel."""
    way = route(rooms.problem.cluster, source, d)
    if way is None:
        return math.inf
    for hop in way:
        if hop == way[-1]:
            end = max(end, carried.get(channel(rooms.problem.cluster, *hop), 0.0))
        end += rooms.flat.hop_time(*hop, size)
    return end
