"""ASWM: whole models placed by average speedup, Talos' first baseline."""

from __future__ import annotations

from itertools import groupby

from talos_opt.core.problem import Problem
from talos_opt.solvers.baselines.orders import average_speedups, by_models
from talos_opt.solvers.engine.base import RULE_FEATURES, NoOptions, Solver, Verdict
from talos_opt.solvers.engine.run import Run
from talos_opt.solvers.shared.constructive import Builder, DeadEndError, construct


class AswmSolver(Solver):
    """Models in order of average speedup, each as a whole on the device that finishes it first.

    Reproduces Fig. 1 (model 1 on the GPU, model 2 on the CPU: 12.5) and the published bars,
    where the second model waits for the GPU if that finishes it sooner than the idle CPU would.
    Ops that the model's device cannot run or hold go to their fastest device with room.
    """

    name = "aswm"
    summary = "whole models by average speedup, earliest finish (Talos' baseline)"
    features = RULE_FEATURES
    Options = NoOptions

    def solve(self, problem: Problem, run: Run) -> Verdict:
        """Offer one schedule."""
        return construct(problem, run, self.name, self._place_models)

    def _place_models(self, builder: Builder) -> None:
        problem = builder.problem
        speedup = average_speedups(problem)
        models = sorted(range(len(speedup)), key=lambda j: (-speedup[j], j))
        model = problem.arrays.model.tolist()
        for _, members in groupby(by_models(problem, models), key=model.__getitem__):
            self._place_model(builder, list(members))

    def _place_model(self, builder: Builder, members: list[int]) -> None:
        """Try every device as the model's home and keep the one that finishes it first."""
        best: tuple[float, int] | None = None
        reason: DeadEndError | None = None
        before = builder.mark()
        for home in range(builder.arrays.device_count):
            try:
                _fill(builder, members, home)
                finish = max(builder.end[i] for i in members)
                if best is None or finish < best[0]:
                    best = (finish, home)
            except DeadEndError as error:
                reason = error
            builder.undo(before)
        if best is None:
            raise reason if reason is not None else DeadEndError("no device")
        _fill(builder, members, best[1])


def _fill(builder: Builder, members: list[int], home: int) -> None:
    for op in members:
        if builder.has_started(op):
            continue
        possible = builder.candidates(op)
        device = home
        if home not in possible:
            device = min(possible, key=lambda d: (builder.time[op][d], d))
        start = max(builder.arrival(op, device), builder.queue_end(device, builder.demand[op]))
        builder.place(op, device, start)
