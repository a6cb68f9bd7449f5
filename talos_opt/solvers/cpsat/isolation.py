"""CP-SAT in a process of its own, where this one would crash (see `backend`).

The child is a bare interpreter (see `talos_opt.solvers.engine.background`): multiprocessing's spawn
would import the caller's main module again, and with it the very library that the child must be
free of. Messages are pickles on its standard input and
output; the incumbent reaches the caller as soon as it is found.
"""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from queue import Empty, Queue
from typing import Any

from talos_opt.core.errors import SolverError, TalosError
from talos_opt.core.problem import Problem
from talos_opt.core.schedule import Schedule
from talos_opt.solvers.engine.background import start_python
from talos_opt.solvers.engine.base import Verdict
from talos_opt.solvers.engine.run import Progress, Run

_PATIENCE = 0.05
#: Seconds that the child may outlast the time limit before it is ended.
_GRACE = 0.5


def solve(problem: Problem, run: Run, options: Any) -> Verdict:
    """Run `CpsatSolver` in a child process, passing incumbents and bounds on to `run`."""
    until = time.time() + run.remaining  # starting up counts too
    request = (problem, until, run.seed, run.workers, run.best, run.lower_bound, options)
    try:
        child = start_python(__name__, "main", stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    except OSError as error:
        raise SolverError(f"no process can be started for CP-SAT: {error}") from error
    assert child.stdin is not None
    messages: Queue[Any] = Queue()
    reader = threading.Thread(target=_read, args=(child.stdout, messages), daemon=True)
    reader.start()
    try:
        # A child that is gone already shows in what it (did not) answer.
        with suppress(BrokenPipeError), child.stdin as pipe:
            pickle.dump(request, pipe)
        return _follow(messages, run)
    finally:
        child.kill()
        child.wait()
        reader.join()
        assert child.stdout is not None
        child.stdout.close()


def _read(stream: Any, messages: Queue[Any]) -> None:
    while True:
        try:
            messages.put(pickle.load(stream))
        except (EOFError, pickle.UnpicklingError):
            messages.put(("gone", None))
            return


def _follow(messages: Queue[Any], run: Run) -> Verdict:
    from talos_opt.core.result import Status

    while True:
        try:
            kind, content = messages.get(timeout=_PATIENCE)
        except Empty:
            if run.cancel.is_set() or run.budget.is_over_by(_GRACE):
                return Verdict(Status.UNKNOWN, "no schedule was found within the time limit")
            continue
        if kind == "schedule":
            run.offer(content, "cpsat")
        elif kind == "bound":
            run.raise_bound(content, "cpsat")
        elif kind == "verdict":
            verdict: Verdict = content
            return verdict
        elif kind == "error":
            raise content if isinstance(content, TalosError) else SolverError(str(content))
        else:
            raise SolverError("the CP-SAT process ended unexpectedly")


def main() -> None:
    """Serve one request on standard input; the child's side of `solve`."""
    from talos_opt.solvers.cpsat.solver import CpsatSolver

    # Ctrl-C in a terminal reaches this process too; it is for the caller to stop it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # nothing else, compiled code included, may write between the messages
    problem, until, seed, workers, best, bound, options = pickle.load(sys.stdin.buffer)
    sent: list[Schedule | None] = [best]
    lock = threading.Lock()

    def send(kind: str, content: Any) -> None:
        with lock:
            pickle.dump((kind, content), out)
            out.flush()

    def forward(progress: Progress) -> None:
        if run.best is not sent[0]:
            sent[0] = run.best
            send("schedule", run.best)
        send("bound", progress.lower_bound)

    run = Run(problem, time_limit=until - time.time(), seed=seed, workers=workers)
    if best is not None:
        run.offer(best, "warm start")
    run.raise_bound(bound, "bounds")
    run.on_progress = forward
    try:
        verdict = CpsatSolver(options).solve(problem, run)
    except Exception as error:
        content = error if isinstance(error, TalosError) else SolverError(str(error))
        send("error", content)
        return
    if run.best is not None and run.best is not sent[0]:
        send("schedule", run.best)
    send("verdict", verdict)
