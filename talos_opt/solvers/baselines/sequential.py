"""Fill the devices one after the other in topological order, as device_map="auto" does."""

from __future__ import annotations

from talos_opt.core.problem import Problem
from talos_opt.solvers.baselines.orders import by_models
from talos_opt.solvers.engine.base import RULE_FEATURES, NoOptions, Solver, Verdict
from talos_opt.solvers.engine.run import Run
from talos_opt.solvers.shared.constructive import Builder, construct


class SequentialSolver(Solver):
    """Fill accelerators in order, then the reference devices, never going back.

    The rule of Hugging Face accelerate's ``infer_auto_device_map``: modules are laid out in
    order on the first device until one no longer fits, then on the next. An op that is pinned
    elsewhere, or colocated with an earlier one, does not move the fill along.
    """

    name = "sequential"
    summary = "fill devices in topological order up to their memory (device_map='auto')"
    features = RULE_FEATURES
    Options = NoOptions

    def solve(self, problem: Problem, run: Run) -> Verdict:
        """Offer one schedule."""
        return construct(problem, run, self.name, self._fill)

    def _fill(self, builder: Builder) -> None:
        problem = builder.problem
        devices = problem.cluster.devices
        reference = problem.cluster.reference
        order = sorted(range(len(devices)), key=lambda d: devices[d].kind == reference)
        filling = 0
        for op in by_models(problem, list(range(len(problem.graph.model_ids)))):
            if builder.has_started(op):
                continue
            possible = builder.candidates(op)
            bound = builder.device_of(op) >= 0
            ahead = [k for k in range(filling, len(order)) if order[k] in possible]
            if bound or not ahead:
                device = possible[0] if bound else max(possible, key=order.index)
            else:
                device = order[ahead[0]]
                # Memory alone moves the fill on: an op that could not run on the devices in
                # between says nothing about the ops after it.
                group = builder.group[op]
                while order[filling] != device and order[filling] in builder.allowed[group]:
                    filling += 1
            start = max(builder.arrival(op, device), builder.queue_end(device, builder.demand[op]))
            builder.place(op, device, start)
