"""The diagnosis in a process of its own, where CP-SAT would crash here (see `cpsat.backend`)."""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import time
from contextlib import suppress
from typing import Any

from talos_opt.core.errors import SolverError, TalosError
from talos_opt.core.problem import Problem
from talos_opt.core.relaxations import Explanation
from talos_opt.solvers.engine.background import run_beside, start_python
from talos_opt.solvers.engine.run import Run

#: Seconds that the child may outlast the time limit before it is ended.
_GRACE = 0.5


def explain(problem: Problem, run: Run) -> Explanation | None:
    """Run `explain_infeasibility` in a child process; None if it does not end in time."""
    until = time.time() + run.remaining  # starting up counts too
    request = pickle.dumps((problem, until, run.seed, run.workers))
    try:
        child = start_python(__name__, "main", stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    except OSError as error:
        raise SolverError(f"no process can be started for CP-SAT: {error}") from error

    def late() -> bool:
        return run.cancel.is_set() or run.budget.is_over_by(_GRACE)

    try:
        answer, _ = run_beside(lambda: child.communicate(request), late, child.kill)
    finally:
        child.kill()
        child.wait()
    if not answer:
        return None
    content: Any = pickle.loads(answer)
    if isinstance(content, Exception):
        raise content if isinstance(content, TalosError) else SolverError(str(content))
    explanation: Explanation | None = content
    return explanation


def main() -> None:
    """Serve one request on standard input; the child's side of `explain`."""
    from talos_opt.solvers.infeasibility.diagnosis import explain_infeasibility

    # Ctrl-C in a terminal reaches this process too; it is for the caller to stop it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # nothing else may write beside the answer
    problem, until, seed, workers = pickle.load(sys.stdin.buffer)
    answer: Any
    try:
        answer = explain_infeasibility(
            problem, seconds=until - time.time(), seed=seed, workers=workers
        )
    except Exception as error:
        answer = error if isinstance(error, TalosError) else SolverError(str(error))
    with suppress(BrokenPipeError), out:
        pickle.dump(answer, out)
