"""ETF: earliest task first."""

from __future__ import annotations

import numpy as np

from talos_opt.core.problem import Floats, Ints, Problem
from talos_opt.solvers.base import NoOptions, Solver, Verdict
from talos_opt.solvers.baselines.orders import upward_ranks
from talos_opt.solvers.constructive import Builder, construct
from talos_opt.solvers.run import Run


class EtfSolver(Solver):
    """The ready op that can start earliest anywhere goes next; ties: largest upward rank.

    Hwang, Chow, Anger, Lee, "Scheduling precedence graphs in systems with interprocessor
    communication times" (1989); memory and colocation as in m-ETF of Baechi (2020).
    """

    name = "etf"
    summary = "earliest task first, memory- and colocation-aware"
    Options = NoOptions

    def solve(self, problem: Problem, run: Run) -> Verdict:
        """Offer one schedule."""
        return construct(problem, run, self.name, _place_earliest)


def _place_earliest(builder: Builder) -> None:
    table = _Table(builder)
    missing = [len(inputs) for inputs in builder.inputs]
    table.open([i for i, count in enumerate(missing) if count == 0])
    for _ in range(builder.arrays.op_count):
        op, device, start = table.earliest()
        group = builder.group[op]
        bound_before = builder.home[group] >= 0
        builder.place(op, device, start)
        table.close(op)
        readers = builder.readers[op]
        for reader in readers:
            missing[reader] -= 1
        table.open([reader for reader in readers if missing[reader] == 0])
        if not bound_before:
            table.bind(group, device)


class _Table:
    """Ready ops, and when their inputs could be on each device; infinite where they may not go."""

    def __init__(self, builder: Builder) -> None:
        arrays = builder.arrays
        self.builder = builder
        self.rank = upward_ranks(builder.problem)
        self.ready = np.empty(0, dtype=np.int64)
        self.arrival = np.full((arrays.op_count, arrays.device_count), np.inf)
        self.size, self.work = np.array(builder.size), np.array(builder.work)
        self.home = np.full(arrays.group_count, -1)

    def open(self, ops: list[int]) -> None:
        for op in ops:
            for d in self.builder.candidates(op):
                self.arrival[op, d] = self.builder.arrival(op, d)
        self.ready = np.concatenate([self.ready, np.array(ops, dtype=np.int64)])

    def close(self, op: int) -> None:
        self.ready = self.ready[self.ready != op]

    def earliest(self) -> tuple[int, int, float]:
        """Return the op that can start first, where and when.

        Among equal starts the longer path below goes first, then the device that is faster.
        """
        builder, ready = self.builder, self.ready
        start = np.maximum(self.arrival[ready], self._queue_ends(ready))
        first = float(start.min())
        if not np.isfinite(first):
            op = int(ready[0])
            raise builder.missing_route(op, builder.candidates(op)[0])
        row, device = np.nonzero(start == first)
        ops = ready[row]
        best = int(np.lexsort((device, ops, builder.arrays.time[ops, device], -self.rank[ops]))[0])
        return int(ops[best]), int(device[best]), first

    def _queue_ends(self, ops: Ints) -> Floats:
        """When the slots that each op needs are free on each device."""
        builder = self.builder
        wanted, which = np.unique(builder.arrays.demand[ops], return_inverse=True)
        ends = [
            [builder.queue_end(d, min(k, len(slots))) for d, slots in enumerate(builder.free)]
            for k in wanted.tolist()
        ]
        return np.asarray(np.array(ends)[which])

    def bind(self, group: int, device: int) -> None:
        """Drop the places that ready ops cannot go to any more, now that a group has its own."""
        builder, ready = self.builder, self.ready
        self.home[group] = device
        own = ready[builder.arrays.group[ready] == group]
        elsewhere = np.arange(self.arrival.shape[1]) != device
        self.arrival[np.ix_(own, elsewhere)] = np.inf
        groups = builder.arrays.group[ready]
        widest = np.maximum(builder.widest[device], self.work[groups])
        over = builder.held[device] + self.size[groups] + widest > builder.capacity[device]
        self.arrival[ready[over & (self.home[groups] < 0)], device] = np.inf
