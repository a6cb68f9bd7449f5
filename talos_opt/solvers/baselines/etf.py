"""ETF: earliest task first."""

from __future__ import annotations

import math
from heapq import heappop, heappush
from typing import NamedTuple

from talos_opt.core.problem import Problem
from talos_opt.solvers.baselines.orders import upward_ranks
from talos_opt.solvers.engine.base import RULE_FEATURES, NoOptions, Solver, Verdict
from talos_opt.solvers.engine.run import Run
from talos_opt.solvers.shared.constructive import Builder, construct

#: A ready op, in ascending order of preference: negated upward rank, time on the device, op.
Entry = tuple[float, float, int]


class _Queue(NamedTuple):
    """Heaps of ops that may start when the slots are free, and of those whose inputs come later."""

    waiting: list[Entry]
    coming: list[tuple[float, Entry]]


class EtfSolver(Solver):
    """The ready op that can start earliest anywhere goes next; ties: largest upward rank.

    Hwang, Chow, Anger, Lee, "Scheduling precedence graphs in systems with interprocessor
    communication times" (1989); memory and colocation as in m-ETF of Baechi (2020).
    """

    name = "etf"
    summary = "earliest task first, memory- and colocation-aware"
    features = RULE_FEATURES
    Options = NoOptions

    def solve(self, problem: Problem, run: Run) -> Verdict:
        """Offer one schedule."""
        return construct(problem, run, self.name, _place_earliest)


def _place_earliest(builder: Builder) -> None:
    ready = _Ready(builder)
    missing, todo = builder.missing(), builder.todo()
    ready.open([i for i in todo if missing[i] == 0])
    for _ in todo:
        op, device, start = ready.earliest()
        builder.place(op, device, start)
        ready.close(op)
        readers = builder.readers[op]
        for reader in readers:
            missing[reader] -= 1
        ready.open([reader for reader in readers if missing[reader] == 0])


class _Ready:
    """Ready ops, in a queue for each device and number of slots that they need there.

    What could start before the slots are free starts when they are; the queue's time only grows,
    so an op moves from `coming` (by arrival of its inputs) to `waiting` (by preference) once.
    """

    def __init__(self, builder: Builder) -> None:
        self.builder = builder
        self.rank = upward_ranks(builder.problem).tolist()
        self.ops: dict[int, None] = {}  # in the order in which they became ready
        self.queues: dict[tuple[int, int], _Queue] = {}

    def open(self, ops: list[int]) -> None:
        builder = self.builder
        for op in ops:
            self.ops[op] = None
            for d in builder.candidates(op):
                queue = self.queues.setdefault((d, builder.demand[op]), _Queue([], []))
                entry = (-self.rank[op], builder.time[op][d], op)
                heappush(queue.coming, (builder.arrival(op, d), entry))

    def close(self, op: int) -> None:
        del self.ops[op]

    def earliest(self) -> tuple[int, int, float]:
        """Return the op that can start first, where and when.

        Among equal starts the longer path below goes first, then the device that is faster.
        """
        best: tuple[float, Entry, int] | None = None
        for (device, demand), queue in self.queues.items():
            first = self._first(queue, device, self.builder.queue_end(device, demand))
            if first is not None and (best is None or (*first, device) < best):
                best = (*first, device)
        if best is None or best[0] == math.inf:
            op = next(iter(self.ops))
            raise self.builder.missing_route(op, self.builder.candidates(op)[0])
        start, (_, _, op), device = best
        return op, device, start

    def _first(self, queue: _Queue, device: int, free: float) -> tuple[float, Entry] | None:
        """Return the start and the entry of the op that goes first on a device."""
        while queue.coming and queue.coming[0][0] <= free:
            heappush(queue.waiting, heappop(queue.coming)[1])
        while queue.waiting:
            if self._may_go(queue.waiting[0][-1], device):
                return free, queue.waiting[0]
            heappop(queue.waiting)
        while queue.coming:
            if self._may_go(queue.coming[0][1][-1], device):
                return queue.coming[0]
            heappop(queue.coming)
        return None

    def _may_go(self, op: int, device: int) -> bool:
        """Tell whether an op is still to be placed and may go there; once not, never again."""
        builder, group = self.builder, self.builder.group[op]
        if builder.device[op] >= 0:
            return False
        home = builder.home[group]
        return home == device or (home < 0 and builder.fits(group, device))
