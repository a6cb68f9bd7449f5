"""How long polishing may take, and which of the two ways to simulate moves suits a problem."""

from __future__ import annotations

from contextlib import suppress

import numpy as np

from talos_opt.core.errors import DependencyError
from talos_opt.core.problem import Problem
from talos_opt.core.schedule import Schedule
from talos_opt.core.simulator import simulate
from talos_opt.solvers.engine.run import Run
from talos_opt.solvers.engine.warmup import get_ready, tiny_problem
from talos_opt.solvers.polish.trials import Better, CompiledTrials, Trials, covers

#: Most seconds of polishing.
MOST_S = 1.5
#: Most of the time limit that is kept for it.
_SHARE = 0.1
#: Above this size not even a few moves can be tried in that time.
MOST_OPS = 20_000
#: Seconds that a simulation takes for each op; the same, compiled.
_PER_OP_S, _COMPILED_S = 6e-6, 3e-7
#: Passes over all moves that a descent comes to.
_PASSES = 3
#: Loading compiled code takes about as long.
_LOADING_S = 0.5


def reserve(problem: Problem, seconds: float) -> float:
    """Return how many of the seconds that are left a solver should leave to what follows it."""
    if problem.arrays.op_count > MOST_OPS:
        return 0.0
    cost = min(_cost(problem, _PER_OP_S), _LOADING_S + _cost(problem, _COMPILED_S))
    return min(MOST_S, _SHARE * seconds, cost)


def make_trials(problem: Problem, begin: Schedule, better: Better, run: Run) -> Trials:
    """Return what tries moves: compiled, where that pays and numba is there."""
    pays = _cost(problem, _PER_OP_S) > _LOADING_S and run.remaining > _LOADING_S
    if covers(problem, begin) and pays:
        with suppress(DependencyError):  # slower without numba, but as good
            if get_ready(run, "inserting"):
                return CompiledTrials(problem, begin, better)
    return Trials(problem, begin, better)


def _cost(problem: Problem, per_op_s: float) -> float:
    arrays = problem.arrays
    moves = arrays.group_count * (arrays.device_count - 1)
    return _PASSES * moves * per_op_s * arrays.op_count


def use_inserting() -> None:
    """Call the kernel on something tiny."""
    problem = tiny_problem()
    begin = simulate(problem, np.zeros(2, dtype=np.int64), problem.arrays.order)
    CompiledTrials(problem, begin, lambda a, b: False).attempt(begin.device.copy(), np.inf)
