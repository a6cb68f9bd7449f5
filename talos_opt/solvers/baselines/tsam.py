"""TSAM: ops dispatched by transient speedup, Talos' second baseline."""

from __future__ import annotations

import heapq

from talos_opt.core.problem import Problem
from talos_opt.solvers.baselines.orders import average_speedups
from talos_opt.solvers.engine.base import RULE_FEATURES, NoOptions, Solver, Verdict
from talos_opt.solvers.engine.run import Run
from talos_opt.solvers.shared.constructive import Builder, construct

#: An op waiting for a device, in ascending order of preference: not faster here than elsewhere,
#: average speedup of its model, transient speedup (both negated), op.
Entry = tuple[bool, float, float, int]


class TsamSolver(Solver):
    """No device idles while an op is ready that it can run.

    Whenever a device is free it takes the ready op whose transient speedup there is largest
    (its best time on another kind of device over its time here). Ops that are faster here than
    elsewhere go first, among them those of the model with the largest average speedup: that is
    which model of a pair starts on the GPU. Reproduces Fig. 1 (11.5) and the published bars.
    """

    name = "tsam"
    summary = "no idling: ready ops by transient speedup (Talos' baseline)"
    features = RULE_FEATURES
    Options = NoOptions

    def solve(self, problem: Problem, run: Run) -> Verdict:
        """Offer one schedule."""
        return construct(problem, run, self.name, _dispatch)


def _dispatch(builder: Builder) -> None:
    queues = _Queues(builder)
    missing, todo = builder.missing(), builder.todo()
    # Heap of moments at which to look again: releases, and ends of what has started.
    moments = {builder.release[i] for i in todo} | {builder.end[i] for i in builder.order}
    events = sorted(moments)
    waiting = [(builder.ready(i), i) for i in todo if missing[i] == 0]
    heapq.heapify(waiting)  # ops by the time from which they are ready
    placed = 0
    while placed < len(todo):
        now = heapq.heappop(events)
        while True:
            while waiting and waiting[0][0] <= now:  # also ops whose inputs took no time
                queues.add(heapq.heappop(waiting)[1])
            choice = queues.best(now)
            if choice is None:
                break
            op, device = choice
            builder.place(op, device, max(now, builder.arrival(op, device)))
            placed += 1
            heapq.heappush(events, builder.end[op])
            for reader in builder.readers[op]:
                missing[reader] -= 1
                if missing[reader] == 0:
                    heapq.heappush(waiting, (builder.ready(reader), reader))


class _Queues:
    """The ready ops, as one heap per device: the best pair is found without looking at all."""

    def __init__(self, builder: Builder) -> None:
        self.builder = builder
        self.entries = _entries(builder)
        self.heaps: list[list[Entry]] = [[] for _ in builder.free]

    def add(self, op: int) -> None:
        for d in self.builder.candidates(op):
            heapq.heappush(self.heaps[d], self.entries[op][d])

    def best(self, now: float) -> tuple[int, int] | None:
        """Return the (op, free device) pair of highest priority, None if nothing can start."""
        best: tuple[Entry, int] | None = None
        for d, slots in enumerate(self.builder.free):
            free = sum(time <= now for time in slots)
            entry = self._first(d, free) if free else None
            if entry is not None and (best is None or (entry, d) < best):
                best = (entry, d)
        return None if best is None else (best[0][-1], best[1])

    def _first(self, device: int, free: int) -> Entry | None:
        """Best op for a device with so many free slots.

        Ops that were placed, or may no longer go there, are dropped for good: memory only
        fills up and bindings stay.
        """
        builder, heap = self.builder, self.heaps[device]
        too_wide: list[Entry] = []
        found: Entry | None = None
        while heap and found is None:
            op = heap[0][-1]
            if builder.device[op] >= 0 or device not in builder.candidates(op):
                heapq.heappop(heap)
            elif builder.demand[op] > free:
                too_wide.append(heapq.heappop(heap))
            else:
                found = heap[0]
        for entry in too_wide:
            heapq.heappush(heap, entry)
        return found


def _entries(builder: Builder) -> list[list[Entry]]:
    problem = builder.problem
    average = average_speedups(problem)
    kinds = [device.kind for device in problem.cluster.devices]
    model = problem.arrays.model.tolist()
    table = []
    for i, times in enumerate(builder.time):
        row = []
        for d, here in enumerate(times):
            elsewhere = min(
                (t for t, kind in zip(times, kinds, strict=True) if kind != kinds[d]), default=here
            )
            speedup = elsewhere / here if 0 < here < float("inf") else float("inf")
            row.append((speedup <= 1, -average[model[i]], -speedup, i))
        table.append(row)
    return table
