"""The bounds that every run starts with: critical path, load, Smith's rule, path memory.

critical path   no model finishes before its release plus its longest path, every op (colocation
                group considered) at its best time.
path memory     the same, for paths whose bytes do not fit one device (see `path_memory`).
load            for any shares lambda_d >= 0 that sum to 1, device d can do at most lambda_d * T
                of the work that it is priced at by T, so T >= sum_i min_d lambda_d t_id / slots_d.
                The shares are improved by a few subgradient steps; every step is a valid bound.
memory          the objective memory has bounds of its own (see `least_memory`).

`quick_bound` is all but path memory: milliseconds, seconds for millions of ops. Path memory takes
longer (`path_bound`). Both are linear in models, ops and edges, look at `stopped` between steps,
and return what is proven by then.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from talos_opt.core.problem import Arrays, Floats, Objective, Problem
from talos_opt.core.rounding import sum_error
from talos_opt.solvers.bounds.knapsacks import knapsack_bound
from talos_opt.solvers.bounds.least_memory import memory_bound
from talos_opt.solvers.bounds.path_memory import PathMemory, never
from talos_opt.solvers.shared.paths import critical_paths

#: Subgradient steps for the device shares: the bound moves little after some dozens.
_STEPS = 60
#: The steps look at about so many groups: any shares prove a bound, and a sample finds them.
_SAMPLE = 20_000
#: Above this number of ops the path-memory bound is left to the solver `relax`.
_PATHS_UP_TO_OPS = 20_000


#: More roundings than one term of numpy's pairwise sum goes through: 16 in its block of 128, and
#: one for each doubling of the blocks.
_PAIRWISE = 64


def group_work(arrays: Arrays) -> Floats:
    """Share of a device's time that a colocation group takes there (g, m); inf: not allowed."""
    work = np.empty(arrays.allowed.shape)
    for d, slots in enumerate(arrays.slots.tolist()):
        time = arrays.time[:, d]
        per_op = np.where(np.isfinite(time), time, 0.0) * arrays.demand
        load = np.bincount(arrays.group, weights=per_op, minlength=len(work)) / slots
        work[:, d] = np.where(arrays.allowed[:, d], load, np.inf)
    return work


def load_shares(work: Floats, stopped: Callable[[], bool] = never) -> tuple[float, Floats]:
    """Best lower bound on the largest load that subgradient steps on the shares find.

    Parameters
    ----------
    work : (g, m) float
        Load of each group on each device, infinite where it is not allowed.
    stopped : callable
        Asked between two steps, whether to leave it at that.

    Returns
    -------
    float
        The bound, rounded down.
    (m,) float
        The shares lambda that prove it; at least 0, summing to 1.
    """
    if work.shape[1] == 1:
        return _below(float(work.sum()), _PAIRWISE), np.ones(1)
    sample = work[:: max(1, len(work) // _SAMPLE)]
    bound, shares = _descend(sample, stopped)
    if len(sample) < len(work):
        bound = float(cheapest(work, shares).sum())
    return _below(bound, _PAIRWISE), shares


def _below(value: float, terms: int) -> float:
    """Return a sum of so many terms less what rounding may have added to it."""
    return value * (1.0 - sum_error(terms))


def cheapest(work: Floats, shares: Floats) -> Floats:
    """Least priced work of each group (g,)."""
    least = np.full(len(work), np.inf)
    for d, share in enumerate(shares.tolist()):
        own = work[:, d]
        with np.errstate(invalid="ignore"):  # an infinite time at a price of 0
            np.minimum(least, np.where(np.isfinite(own), own * share, np.inf), out=least)
    return least


def _descend(work: Floats, stopped: Callable[[], bool]) -> tuple[float, Floats]:
    """Improve the shares by steps along a subgradient; see `load_shares`."""
    count = work.shape[1]
    finite = np.where(np.isfinite(work), work, 0.0)
    shares = best_shares = np.full(count, 1.0 / count)
    best = -1.0
    for step in range(_STEPS):
        with np.errstate(invalid="ignore"):
            priced = np.where(np.isfinite(work), work * shares, np.inf)
        choice = priced.argmin(axis=1)
        bound = float(priced[np.arange(len(work)), choice].sum())
        if bound > best:
            best, best_shares = bound, shares
        loads = np.bincount(choice, weights=finite[np.arange(len(work)), choice], minlength=count)
        top = loads.max()
        if top <= 0 or stopped():
            break
        # Multiplicative weights: the devices that would be overloaded get dearer.
        shares = shares * np.exp((2.0 / (2 + step)) * (loads / top - loads.mean() / top))
        shares = shares / shares.sum()
    return best, best_shares


def root_bound(problem: Problem, stopped: Callable[[], bool] = never) -> float:
    """Return the best cheap lower bound on the problem's objective.

    Parameters
    ----------
    problem : Problem
    stopped : callable
        Asked between two steps, whether to leave it at that. Whatever the moment, the bound that
        is returned holds.
    """
    return max(quick_bound(problem, stopped), path_bound(problem, stopped))


def quick_bound(problem: Problem, stopped: Callable[[], bool] = never) -> float:
    """Return the larger of critical paths and loads; see `root_bound`."""
    arrays = problem.arrays
    if stopped() or not arrays.allowed.any(axis=1).all():
        return 0.0
    if problem.objective is Objective.MEMORY:
        return memory_bound(problem)
    if problem.objective is Objective.STEP:
        return 0.0  # the solver `pipeline` has bounds of its own
    work = group_work(arrays)
    load, shares = load_shares(work, stopped)
    if problem.objective is Objective.BOTTLENECK:
        return max(load, float(work.min(axis=1).max()))
    paths = critical_paths(problem)
    if problem.objective is Objective.MAKESPAN:
        # All work lies between the first release and the makespan.
        return max(float(paths.max()), float(arrays.release.min()) + load)
    return max(float(arrays.model_weight @ paths), _smith_bound(problem, work, shares))


def path_bound(problem: Problem, stopped: Callable[[], bool] = never) -> float:
    """Return the bounds from the bytes of paths, 0 where they do not apply; see `root_bound`."""
    arrays = problem.arrays
    applies = problem.objective.is_timed
    if not applies or arrays.op_count > _PATHS_UP_TO_OPS or stopped():
        return 0.0
    if not arrays.allowed.any(axis=1).all():
        return 0.0
    memory = PathMemory(problem)
    memory.improve(stopped)
    return max(memory.bound(), knapsack_bound(problem, stopped))


def _smith_bound(problem: Problem, work: Floats, shares: Floats) -> float:
    """TOCT bound: under fixed shares the cluster is one machine and each model one job.

    At most T of share-priced work fits before T, so the completion times of any schedule satisfy
    the single-machine inequalities, and Smith's rule (shortest weighted processing time first)
    minimises their weighted sum. Work of a group that spans models counts for none of them.
    """
    arrays = problem.arrays
    priced = cheapest(work, shares)
    owner = np.full(arrays.group_count, -1)
    owner[arrays.group] = arrays.model
    lowest = np.full(arrays.group_count, len(arrays.release))
    np.minimum.at(lowest, arrays.group, arrays.model)
    highest = np.full(arrays.group_count, -1)
    np.maximum.at(highest, arrays.group, arrays.model)
    own = lowest == highest
    jobs = np.bincount(owner[own], weights=priced[own], minlength=len(arrays.release))
    weight = arrays.model_weight
    with np.errstate(divide="ignore", invalid="ignore"):
        order = np.argsort(np.where(weight > 0, jobs / weight, np.inf), kind="stable")
    finish = np.cumsum(jobs[order])
    most = int(np.bincount(owner[own], minlength=1).max())
    return _below(float(weight[order] @ finish), most + 2 * len(jobs))
