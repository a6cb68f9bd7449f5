"""TSAM: ops dispatched by transient speedup, Talos' second baseline."""

from __future__ import annotations

import heapq

from talos_opt.core.problem import Problem
from talos_opt.solvers.base import NoOptions, Solver, Verdict
from talos_opt.solvers.baselines.orders import average_speedups
from talos_opt.solvers.constructive import Builder, construct
from talos_opt.solvers.run import Run

#: Priority of an op on a device: larger is taken first.
Priority = tuple[bool, float, float, int]


class TsamSolver(Solver):
    """No device idles while an op is ready that it can run.

    Whenever a device is free it takes the ready op whose transient speedup there is largest
    (its best time on another kind of device over its time here). Ops that are faster here than
    elsewhere go first, among them those of the model with the largest average speedup: that is
    which model of a pair starts on the GPU. Reproduces Fig. 1 (11.5) and the published bars.
    """

    name = "tsam"
    summary = "no idling: ready ops by transient speedup (Talos' baseline)"
    Options = NoOptions

    def solve(self, problem: Problem, run: Run) -> Verdict:
        """Offer one schedule."""
        return construct(problem, run, self.name, lambda builder: _dispatch(builder))


def _dispatch(builder: Builder) -> None:
    arrays = builder.arrays
    priority = _priorities(builder)
    missing = [len(inputs) for inputs in builder.inputs]
    events = sorted(set(arrays.release.tolist()))  # heap of moments at which to look again
    waiting = [(builder.release[i], i) for i, count in enumerate(missing) if count == 0]
    heapq.heapify(waiting)  # ops by the time from which they are ready
    ready: set[int] = set()
    placed = 0
    while placed < arrays.op_count:
        now = heapq.heappop(events)
        while waiting and waiting[0][0] <= now:
            ready.add(heapq.heappop(waiting)[1])
        while True:
            choice = _choose(builder, ready, now, priority)
            if choice is None:
                break
            op, device = choice
            ready.remove(op)
            start = max(now, builder.arrival(op, device))
            builder.place(op, device, start)
            placed += 1
            heapq.heappush(events, builder.end[op])
            for reader in builder.readers[op]:
                missing[reader] -= 1
                if missing[reader] == 0:
                    when = max(builder.end[i] for i, _ in builder.inputs[reader])
                    heapq.heappush(waiting, (max(when, builder.release[reader]), reader))
            while waiting and waiting[0][0] <= now:  # ops that took no time
                ready.add(heapq.heappop(waiting)[1])


def _choose(
    builder: Builder, ready: set[int], now: float, priority: list[list[Priority]]
) -> tuple[int, int] | None:
    """Return the (op, free device) pair of highest priority, None if nothing can start."""
    free = {
        d: sum(time <= now for time in slots)
        for d, slots in enumerate(builder.free)
        if slots[0] <= now
    }
    best: tuple[Priority, int, int] | None = None
    for op in ready:
        for d in builder.candidates(op):
            if free.get(d, 0) >= builder.demand[op]:
                key = (priority[op][d], -op, -d)
                if best is None or key > best:
                    best = key
    return None if best is None else (-best[1], -best[2])


def _priorities(builder: Builder) -> list[list[Priority]]:
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
            row.append((speedup > 1, average[model[i]], speedup, -i))
        table.append(row)
    return table
