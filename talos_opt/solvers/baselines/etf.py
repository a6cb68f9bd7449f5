"""ETF: earliest task first."""

from __future__ import annotations

import numpy as np

from talos_opt.core.problem import Problem
from talos_opt.solvers.base import NoOptions, Solver, Verdict
from talos_opt.solvers.baselines.orders import upward_ranks
from talos_opt.solvers.constructive import Builder, DeadEndError, construct
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
    arrays = builder.arrays
    rank = upward_ranks(builder.problem)
    missing = [len(inputs) for inputs in builder.inputs]
    # Rows of the ready ops: arrival on every device, infinite where they may not go.
    ready = [i for i, count in enumerate(missing) if count == 0]
    rows = [_arrivals(builder, i) for i in ready]
    for _ in range(arrays.op_count):
        table = np.array(rows)
        demand = arrays.demand[ready]
        free = np.array(
            [[builder.queue_end(d, min(int(k), len(builder.free[d]))) for d in
              range(arrays.device_count)] for k in (1, *set(demand.tolist()))]
        )  # fmt: skip
        which = {k: n for n, k in enumerate((1, *set(demand.tolist())))}
        start = np.maximum(table, free[[which[int(k)] for k in demand]])
        time = arrays.time[ready]
        # Among equal starts the longer path below goes first, then the device that is faster.
        order = np.lexsort(
            (np.where(np.isfinite(time), time, np.inf).ravel(),
             -np.repeat(rank[ready], arrays.device_count), start.ravel())
        )  # fmt: skip
        row, device = divmod(int(order[0]), arrays.device_count)
        op = ready[row]
        if not np.isfinite(start[row, device]):
            builder.candidates(op)
            raise DeadEndError(f"{builder.problem.names[op]} cannot be reached by its inputs")
        bound_before = builder.device_of(op) >= 0
        builder.place(op, device, float(start[row, device]))
        del ready[row], rows[row]
        for reader in builder.readers[op]:
            missing[reader] -= 1
            if missing[reader] == 0:
                ready.append(reader)
                rows.append(_arrivals(builder, reader))
        if not bound_before:
            _close_full(builder, ready, rows, device)


def _arrivals(builder: Builder, op: int) -> list[float]:
    row = [float("inf")] * builder.arrays.device_count
    for d in builder.candidates(op):
        row[d] = builder.arrival(op, d)
    return row


def _close_full(builder: Builder, ready: list[int], rows: list[list[float]], device: int) -> None:
    """After a group was bound, drop devices that ready ops no longer fit on or are bound off."""
    for k, op in enumerate(ready):
        home = builder.device_of(op)
        if home >= 0:
            rows[k] = [v if d == home else float("inf") for d, v in enumerate(rows[k])]
        elif not builder.fits(builder.group[op], device):
            rows[k][device] = float("inf")
