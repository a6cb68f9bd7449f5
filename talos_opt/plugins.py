"""What a package of one's own needs to add solvers: the same that those of talos_opt are made of.

    from talos_opt.plugins import Solver, Status, Verdict, simulate

    class Mine(Solver):
        name = "mine"

        def solve(self, problem, run):
            run.offer(simulate(problem, device, order), self.name)
            return Verdict(Status.FEASIBLE)

    talos_opt.solve(problem, Mine())

See docs/plugins.md, also for file formats and exports.
"""

from talos_opt.core.result import Status
from talos_opt.core.simulator import MemoryDeadlockError, simulate
from talos_opt.core.transfers import NoRouteError
from talos_opt.solvers.engine.base import (
    ALL_FEATURES,
    FREE_FEATURES,
    SAMPLE_FEATURES,
    Feature,
    NoOptions,
    Solver,
    Verdict,
    features_of,
)
from talos_opt.solvers.engine.run import Run

__all__ = [
    "ALL_FEATURES",
    "FREE_FEATURES",
    "SAMPLE_FEATURES",
    "Feature",
    "MemoryDeadlockError",
    "NoOptions",
    "NoRouteError",
    "Run",
    "Solver",
    "Status",
    "Verdict",
    "features_of",
    "simulate",
]
