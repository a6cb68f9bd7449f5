"""CP-SAT in a process of its own: the child's side of `isolation`."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from talos_opt.core.schedule import Schedule
from talos_opt.solvers.cpsat.solver import CpsatSolver
from talos_opt.solvers.engine import isolation
from talos_opt.solvers.engine.base import Verdict
from talos_opt.solvers.engine.run import Progress, Run


def main() -> None:
    """Serve one request."""
    isolation.serve(_solve)


def _solve(request: Any, send: Callable[[str, Any], None]) -> Verdict:
    problem, until, seed, workers, best, bound, options = request
    sent: list[Schedule | None] = [best]

    def forward(progress: Progress | None = None) -> None:
        if run.best is not sent[0]:
            sent[0] = run.best
            send("schedule", run.best)
        if progress is not None:
            send("bound", progress.lower_bound)

    run = Run(problem, time_limit=until - time.time(), seed=seed, workers=workers)
    if best is not None:
        run.offer(best, "warm start")
    run.raise_bound(bound, "bounds")
    run.on_progress = forward
    verdict = CpsatSolver(options).solve(problem, run)
    forward()
    return verdict
