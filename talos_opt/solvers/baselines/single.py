"""Everything on one device."""

from __future__ import annotations

import numpy as np

from talos_opt.core.problem import Problem
from talos_opt.core.result import Status
from talos_opt.core.simulator import MemoryDeadlockError
from talos_opt.solvers.baselines.orders import by_models, shortest_first
from talos_opt.solvers.engine.base import SAMPLE_FEATURES, Feature, NoOptions, Solver, Verdict
from talos_opt.solvers.engine.run import Run
from talos_opt.solvers.shared.constructive import (
    DeadEndError,
    OutOfTimeError,
    explain,
    realise,
)


class SingleSolver(Solver):
    """The best of every device alone, models in file order, weighted shortest or released first."""

    name = "single"
    summary = "every device alone, models in file order, weighted shortest and released first"
    features = SAMPLE_FEATURES | {Feature.FROZEN}
    Options = NoOptions

    def solve(self, problem: Problem, run: Run) -> Verdict:
        """Offer up to three schedules for each device that can hold everything."""
        arrays = problem.arrays
        if problem.stages.use_all and arrays.device_count > 1:
            return Verdict(Status.UNKNOWN, "single: one device alone does not use all of them")
        if problem.stages.use_all and not arrays.forward.any():
            return Verdict(Status.INFEASIBLE, "no op is a forward op, and every device needs one")
        reasons = []
        tried: set[object] = set()
        cut_short = False
        for d, name in enumerate(problem.device_ids):
            if run.overdue:
                cut_short = True
                break
            alike = (int(arrays.slots[d]), int(arrays.capacity[d]), arrays.time[:, d].tobytes())
            if alike in tried:
                continue  # nothing is sent, so the schedules are those of the other device
            try:
                self._hold(problem, d)
                tried.add(alike)
                device = np.full(arrays.op_count, d, dtype=np.int64)
                in_file_order = tuple(range(len(arrays.release)))
                shortest = tuple(shortest_first(problem, d))
                # By releases a device need not wait for a model while another is there.
                released = tuple(sorted(shortest, key=arrays.release.tolist().__getitem__))
                for models in dict.fromkeys((in_file_order, shortest, released)):
                    order = by_models(problem, list(models))
                    run.offer(realise(problem, device, order, run=run), self.name)
            except OutOfTimeError:
                cut_short = True
                break
            except (DeadEndError, MemoryDeadlockError) as error:
                reasons.append(f"{name}: {explain(problem, error)}")
        if run.best is not None:
            return Verdict(Status.FEASIBLE)
        if cut_short:
            return Verdict(Status.UNKNOWN, "single: time ran out before every device was tried")
        return Verdict(Status.UNKNOWN, f"no device can hold everything ({'; '.join(reasons)})")

    def _hold(self, problem: Problem, device: int) -> None:
        """Raise `DeadEndError` if a device cannot run and hold every op."""
        arrays = problem.arrays
        outside = np.flatnonzero(~arrays.allowed[:, device])
        if len(outside):
            op = int(arrays.members[int(outside[0])][0])
            raise DeadEndError(f"{problem.names[op]} or an op colocated with it cannot run there")
        if problem.memory_rule.value == "peak":
            return  # the simulator looks at what is alive
        held = sum(arrays.weights.tolist()) + sum(arrays.output.tolist())
        need = held + int(arrays.workspace.max())
        if need > arrays.capacity[device]:
            size = int(arrays.capacity[device])
            raise DeadEndError(f"not everything fits into its {size} bytes")
