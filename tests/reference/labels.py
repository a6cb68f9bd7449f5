"""Every partial schedule in order of starts, and the rows that describe what it leaves behind.

No dominance and no bound: all orders, all devices. For problems of about four ops.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from talos_opt.core.problem import Objective, Problem
from talos_opt.testing.reference.flat import Flat, route
from tests.reference.queues import capacity, groups

Row = tuple[float, ...]


@dataclass(frozen=True)
class Layout:
    """What rows list beyond what every problem needs.

    Parameters
    ----------
    instant : bool
        Some op takes no time, so that rows hold the start of the last op.
    spread : bool
        Tensors take time, so that arrivals are listed per device.
    limited : sequence of int
        Devices whose memory is watched.
    """

    instant: bool
    spread: bool
    limited: Sequence[int]


@dataclass(frozen=True)
class Placed:
    """An op of a partial schedule."""

    op: int
    device: int
    start: float
    end: float


@dataclass
class Partials:
    """Least objective that each row of each set of ops can still end with.

    Parameters
    ----------
    problem : Problem
    layout : Layout
    """

    problem: Problem
    layout: Layout
    best: dict[frozenset[int], dict[Row, float]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.flat = Flat(self.problem)
        self.count = len(self.flat.ops)
        self.devices = self.problem.cluster.devices
        self.groups = groups(self.problem)
        self._extend(())

    # ---- all partial schedules -------------------------------------------------------------

    def _extend(self, done: tuple[Placed, ...]) -> float:
        ended = frozenset(item.op for item in done)
        if len(done) == self.count:
            best = self._completed(done)
        else:
            best = min((self._extend((*done, item)) for item in self._next(done)), default=math.inf)
        rows = self.best.setdefault(ended, {})
        row = self.row(done)
        rows[row] = min(best, rows.get(row, math.inf))
        return best

    def _next(self, done: tuple[Placed, ...]) -> Iterator[Placed]:
        flat, home = self.flat, {item.op: item for item in done}
        now = max((item.start for item in done), default=0.0)
        slots = self._slots(done)
        for i in self.ready(frozenset(home)):
            for d in range(len(self.devices)):
                time = flat.time(i, d)
                if time is None or not self._fits(done, i, d):
                    continue
                start = max([now, flat.release[i], *self._arrivals(home, i, d)])
                if time > 0:
                    start = max(start, slots[d][flat.ops[i].slots - 1])
                if start < math.inf:
                    yield Placed(i, d, start, start + time)

    def ready(self, ended: frozenset[int]) -> list[int]:
        waiting = {reader for source, reader, _ in self.flat.edges if source not in ended}
        return [i for i in range(self.count) if i not in ended | waiting]

    def _arrivals(self, home: dict[int, Placed], i: int, d: int) -> list[float]:
        return [
            self._there(home[source], d) for source, reader, _ in self.flat.edges if reader == i
        ]

    def _there(self, item: Placed, d: int) -> float:
        way = route(self.problem.cluster, item.device, d)
        if way is None:
            return math.inf
        size = max((size for source, _, size in self.flat.edges if source == item.op), default=0)
        return item.end + sum(self.flat.hop_time(a, b, size) for a, b in way)

    def _fits(self, done: tuple[Placed, ...], i: int, d: int) -> bool:
        """Groups are counted as a whole from their first op on, whose device binds the others."""
        device = [-1] * self.count
        for op, where in [*((item.op, item.device) for item in done), (i, d)]:
            for other in self.group(op):
                if device[other] not in (-1, where) or self.flat.time(other, where) is None:
                    return False
                device[other] = where
        return all(
            self.flat.static_need(device, e) <= capacity(self.problem, e)
            for e in range(len(self.devices))
        )

    def group(self, op: int) -> list[int]:
        return next(members for members in self.groups if op in members)

    def _slots(self, done: tuple[Placed, ...]) -> list[list[float]]:
        """When slots are free, never before the last start; ascending on each device."""
        slots = [[0.0] * device.slots for device in self.devices]
        for item in done:
            if item.end > item.start:
                wanted = self.flat.ops[item.op].slots
                slots[item.device] = sorted([item.end] * wanted + slots[item.device][wanted:])
        now = max((item.start for item in done), default=0.0)
        return [sorted(max(free, now) for free in each) for each in slots]

    # ---- what is left behind ---------------------------------------------------------------

    def _completed(self, done: tuple[Placed, ...]) -> float:
        """Objective over the models that are complete."""
        total = 0.0
        for j, model in enumerate(self.problem.graph.models):
            ends = [item.end for item in done if self.flat.model[item.op] == j]
            if len(ends) == len(model.ops):
                if self.problem.objective is Objective.TOCT:
                    total += model.weight * max(ends)
                else:
                    total = max(total, max(ends))
        return total

    def row(self, done: tuple[Placed, ...]) -> Row:
        """As `talos_opt.kernels.labels` describes it; lists by the numbers of what they list."""
        home = {item.op: item for item in done}
        slots = self._slots(done)
        now = max((item.start for item in done), default=0.0) if self.layout.instant else 0.0
        entries = [self._completed(done), now, *(free for each in slots for free in each)]
        for op in self.front(frozenset(home)):
            free = [0.0 if self.layout.instant else each[0] for each in slots]
            if self.layout.spread:
                entries += [
                    max(self._there(home[op], d), free[d]) for d in range(len(self.devices))
                ]
            else:
                entries.append(max(home[op].end, min(free)))
        for j in self.open_sinks(frozenset(home)):
            entries.append(max(home[i].end for i in self._sinks(j) if i in home))
        device = [-1] * self.count
        for item in done:
            for other in self.group(item.op):
                device[other] = item.device
        parts = [[op.memory for op, x in zip(self.flat.ops, device, strict=True) if x == d]
                 for d in self.layout.limited]  # fmt: skip
        entries += [sum(memory.weights + memory.output for memory in here) for here in parts]
        entries += [max((memory.workspace for memory in here), default=0) for here in parts]
        for members in self.open_groups(frozenset(home)):
            entries.append(next(home[i].device for i in members if i in home))
        return tuple(float(entry) for entry in entries)

    def front(self, ended: frozenset[int]) -> list[int]:
        open_ = {a for a, b, _ in self.flat.edges if a in ended and b not in ended}
        return sorted(open_)

    def _sinks(self, j: int) -> list[int]:
        sources = {a for a, _, _ in self.flat.edges}
        return [i for i in range(self.count) if self.flat.model[i] == j and i not in sources]

    def open_sinks(self, ended: frozenset[int]) -> list[int]:
        return [
            j
            for j in range(len(self.problem.graph.models))
            if any(i in ended for i in self._sinks(j))
            and any(i not in ended for i in range(self.count) if self.flat.model[i] == j)
        ]

    def open_groups(self, ended: frozenset[int]) -> list[list[int]]:
        """Groups with members inside and outside, by their first op."""
        return [
            members
            for members in self.groups
            if any(i in ended for i in members) and not all(i in ended for i in members)
        ]


def minimal(rows: Sequence[Row], exact: int) -> set[Row]:
    """Rows that no other undercuts; the last ones of their entries must be equal for that."""

    def beats(one: Row, other: Row) -> bool:
        free = len(one) - exact
        pairs = zip(one[:free], other[:free], strict=True)
        return one != other and one[free:] == other[free:] and all(a <= b for a, b in pairs)

    return {row for row in rows if not any(beats(other, row) for other in rows)}
