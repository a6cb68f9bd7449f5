"""CP-SAT in a process of its own, where this one would crash (see `backend`): the caller's side."""

from __future__ import annotations

import time
from typing import Any

from talos_opt.core.problem import Problem
from talos_opt.core.result import Status
from talos_opt.solvers.engine import isolation
from talos_opt.solvers.engine.base import Verdict
from talos_opt.solvers.engine.run import Run


def solve(problem: Problem, run: Run, options: Any) -> Verdict:
    """Run `CpsatSolver` in a child process; incumbents and bounds come as soon as it has them."""
    until = time.time() + run.remaining  # starting up counts too
    request = (problem, until, run.seed, run.workers, run.best, run.lower_bound, options)

    def hear(kind: str, content: Any) -> None:
        if kind == "schedule":
            run.offer(content, "cpsat")
        else:
            run.raise_bound(content, "cpsat")

    verdict: Verdict | None = isolation.ask("talos_opt.solvers.cpsat.child", request, run, hear)
    late = "no schedule was found within the time limit"
    return Verdict(Status.UNKNOWN, late) if verdict is None else verdict
