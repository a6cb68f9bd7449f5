"""What an incumbent leaves open: when all must be over, and which devices are still of use.

All of it in the problem's own time; arguments are in docs/bounds.md.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from talos_opt.core.problem import DIRECT, Bools, Floats, Objective, Problem
from talos_opt.solvers.shared.paths import best_times, spread

#: Share by which limits are widened, so that float sums cut nothing off.
_WIDER = 1e-9


@dataclass(frozen=True, eq=False)
class Horizon:
    """What a schedule no worse than a value can look like.

    Parameters
    ----------
    first : (k,) float
        Earliest completion of each model, by its longest path.
    latest : (k,) float
        Latest completion of each model.
    end : float
        Some optimal schedule has ended by then, with all its transfers.
    allowed : (g, m) bool
        Devices that a colocation group may use.
    """

    first: Floats
    latest: Floats
    end: float
    allowed: Bools

    @property
    def spare(self) -> Floats:
        """Time between the earliest and the latest completion of each model (k,)."""
        return np.maximum(0.0, self.latest - self.first)


def look_ahead(problem: Problem, upper: float) -> Horizon:
    """Return what is left for schedules of at most a value.

    Parameters
    ----------
    problem : Problem
    upper : float
        Infinite: for any.
    """
    arrays = problem.arrays
    if problem.objective is Objective.BOTTLENECK:
        allowed = arrays.allowed & (_loads(problem) <= upper * (1 + _WIDER))
        nothing = np.zeros(len(arrays.release))
        end = _longest_times(problem, allowed).sum() + _moves(problem)
        return Horizon(nothing, np.full(len(nothing), end), end, allowed)
    best = best_times(arrays)
    before, after = spread(arrays, problem.earliest + best, best, best)
    before = np.maximum(before, problem.earliest)
    first = arrays.release.copy()
    np.maximum.at(first, arrays.model, before + best)
    latest = _latest(problem, first, upper)
    ends = before[:, None] + arrays.time + after[:, None]
    late = ends > latest[arrays.model][:, None] * (1 + _WIDER)
    allowed = arrays.allowed.copy()
    for d in range(arrays.device_count):
        allowed[arrays.group[late[:, d]], d] = False
    end = _end(problem, allowed, latest)
    return Horizon(first, np.minimum(latest, end), end, allowed)


def _latest(problem: Problem, first: Floats, upper: float) -> Floats:
    """Latest completion of each model (k,)."""
    if not np.isfinite(upper):
        return np.full(len(first), np.inf)
    upper *= 1 + _WIDER
    if problem.objective is Objective.MAKESPAN:
        return np.full(len(first), upper)
    weight = problem.arrays.model_weight
    spare = max(0.0, upper - float(weight @ first))
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        return np.where(weight > 0, first + spare / weight, np.inf)


def _end(problem: Problem, allowed: Bools, latest: Floats) -> float:
    """Time by which some optimal schedule has ended.

    Left-shifting keeps something running at every moment after the last release. What runs after
    the last completion that the value limits belongs to models that it does not.
    """
    arrays = problem.arrays
    free = np.isinf(latest)
    begun = max(float(arrays.release.max()), float(latest[~free].max(initial=0.0)))
    if problem.frozen is not None:  # what has started may wait for nothing, and so leave gaps
        begun = max(begun, float(problem.frozen.moments[-1]))
    if not free.any():
        return float(latest.max())
    longest = _longest_times(problem, allowed)[free[arrays.model]].sum()
    return begun + float(longest) + _moves(problem, free)


def _longest_times(problem: Problem, allowed: Bools) -> Floats:
    """Longest time of each op on a device that it may use (n,)."""
    arrays = problem.arrays
    usable = allowed[arrays.group] & np.isfinite(arrays.time)
    return np.asarray(np.where(usable, arrays.time, 0.0).max(axis=1))


def _moves(problem: Problem, models: Bools | None = None) -> float:
    """Longest that all transfers can take together: one per reader, two hops each."""
    arrays = problem.arrays
    size = arrays.edge_bytes
    if models is not None:
        size = size[models[arrays.model[arrays.edge_src]]]
    direct = arrays.via == DIRECT
    np.fill_diagonal(direct, False)
    if len(size) == 0 or not direct.any():
        return 0.0
    # A hop's time is linear in the bytes: its largest is that of one of few undominated links.
    latency, per_byte = arrays.latency[direct], arrays.per_byte[direct]
    longest = np.zeros(len(size))
    for pair in np.unique(np.column_stack([latency, per_byte]), axis=0):
        np.maximum(longest, pair[0] + pair[1] * size, out=longest)
    return float(2.0 * longest.sum())


def _loads(problem: Problem) -> Floats:
    """Load of each colocation group on each device (g, m)."""
    arrays = problem.arrays
    loads = np.zeros(arrays.allowed.shape)
    for d, slots in enumerate(arrays.slots.tolist()):
        time = np.where(np.isfinite(arrays.time[:, d]), arrays.time[:, d], 0.0)
        np.add.at(loads[:, d], arrays.group, time * arrays.demand / slots)
    return loads
