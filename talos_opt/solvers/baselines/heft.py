"""HEFT: heterogeneous earliest finish time."""

from __future__ import annotations

import numpy as np

from talos_opt.core.problem import Problem
from talos_opt.core.timeline import Timeline
from talos_opt.solvers.baselines.orders import upward_ranks
from talos_opt.solvers.engine.base import RULE_FEATURES, NoOptions, Solver, Verdict
from talos_opt.solvers.engine.run import Run
from talos_opt.solvers.shared.constructive import Builder, construct


class HeftSolver(Solver):
    """Ops by upward rank, each where it finishes first, with insertion.

    Topcuoglu, Hariri, Wu, "Performance-effective and low-complexity task scheduling for
    heterogeneous computing" (2002); memory and colocation as in m-ETF of Baechi (2020): a
    device without room for an op's whole group is not a candidate.
    """

    name = "heft"
    summary = "heterogeneous earliest finish time, memory- and colocation-aware"
    features = RULE_FEATURES
    Options = NoOptions

    def solve(self, problem: Problem, run: Run) -> Verdict:
        """Offer one schedule."""
        return construct(problem, run, self.name, _place_by_rank, insertion=True)


def _place_by_rank(builder: Builder) -> None:
    arrays = builder.arrays
    rank = upward_ranks(builder.problem)
    lines = [Timeline(slots) for slots in arrays.slots.tolist()]
    # Ops of no length tie with their readers; the topological position keeps them first.
    # So do equal ranks that float sums put a hair apart.
    coarse = np.round(rank / max(float(rank.max()), 1e-300), 12)
    for op in builder.order:  # what has started
        device = builder.device[op]
        lines[device].add(builder.start[op], builder.end[op], builder.demand[op])
    for op in np.lexsort((arrays.rank, -coarse)).tolist():
        if builder.device[op] >= 0:
            continue
        best: tuple[float, float, int] | None = None
        for d in builder.candidates(op):
            length = builder.time[op][d]
            start = lines[d].earliest(builder.arrival(op, d), length, builder.demand[op])
            if best is None or start + length < best[0]:
                best = (start + length, start, d)
        assert best is not None
        _, start, device = best
        lines[device].add(start, start + builder.time[op][device], builder.demand[op])
        builder.place(op, device, start)
