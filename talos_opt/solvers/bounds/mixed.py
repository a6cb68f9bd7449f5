"""Load and precedence together: prices for the time of devices, and for that of paths.

A placement that balances devices puts ops where they are slow, and the longest path then grows; one
that keeps the paths short fills the fast devices. See docs/bounds.md, "Loads and paths".
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from talos_opt.core.problem import Floats, Objective, Problem
from talos_opt.core.rounding import sum_error
from talos_opt.solvers.bounds.path_memory import never
from talos_opt.solvers.bounds.root import group_work
from talos_opt.solvers.shared.paths import heaviest_paths, times_within_groups

#: Paths that get a price, one after the other, and steps on the prices for each.
_PATHS, _STEPS = 40, 150
#: Paths in a row that need not gain this share.
_MOST_FUTILE, _GAIN = 6, 1e-4
#: Groups times devices beyond which there is no such bound.
_MOST_CELLS = 50_000
#: Share of all prices that a new path begins with.
_FIRST_PRICE = 0.05


def mixed_bound(problem: Problem, stopped: Callable[[], bool] = never) -> float:
    """Return a lower bound from loads and paths: for makespan, and toct of one model.

    Parameters
    ----------
    problem : Problem
    stopped : callable
        Asked between two steps, whether to leave it at that.

    Returns
    -------
    float
        0 where it does not apply.
    """
    arrays = problem.arrays
    alone = problem.objective is Objective.TOCT and len(arrays.release) == 1
    if not (alone or problem.objective is Objective.MAKESPAN):
        return 0.0
    if arrays.allowed.size > _MOST_CELLS or not arrays.allowed.any(axis=1).all():
        return 0.0
    first = float(arrays.release.min())
    value = _Prices(problem, stopped).best()
    terms = arrays.op_count + arrays.device_count + _PATHS
    ends = first + value * (1.0 - sum_error(2 * terms))
    return float(arrays.model_weight[0]) * ends if alone else ends


class _Prices:
    """Prices of devices and paths, and what they prove.

    Let each device d have a price, and each path P; all prices are at least 0 and sum to 1. If
    neither a load nor the time of a path exceeds T, then T is at least the priced sum of all,
    and this at least the sum over groups of the cheapest device's priced share in it.
    """

    def __init__(self, problem: Problem, stopped: Callable[[], bool]) -> None:
        arrays = self.arrays = problem.arrays
        self.stopped = stopped
        work = group_work(arrays)
        self.possible = np.isfinite(work)
        self.work = np.where(self.possible, work, 0.0)
        time = times_within_groups(arrays)
        self.time = np.where(np.isfinite(time), time, 0.0)
        self.paths = np.zeros((0, *work.shape))  # time of each group on each path
        self.offsets = np.zeros(0)  # release of the path's model, after the first
        self.price = np.full(work.shape[1], 1.0 / work.shape[1])
        self.groups = np.arange(len(work))

    def best(self) -> float:
        """Return the best bound of all prices that were tried, beyond the first release."""
        best, futile = 0.0, 0
        for _ in range(_PATHS):
            found, share = self._improve()
            futile = 0 if found > best * (1.0 + _GAIN) else futile + 1
            best = max(best, found)
            if futile == _MOST_FUTILE or self.stopped():
                break
            self._add_paths(share)
        return best

    def _improve(self) -> tuple[float, Floats]:
        """Take steps on the prices; return the best bound, and how often groups chose devices."""
        count = self.work.shape[1]
        best, best_price = -1.0, self.price
        chosen, turns = np.zeros(self.work.shape), 0
        for step in range(_STEPS):
            priced = self.work * self.price[:count]
            priced += np.tensordot(self.price[count:], self.paths, 1)
            priced[~self.possible] = np.inf
            choice = priced.argmin(axis=1)
            taken = (self.groups, choice)
            bound = float(priced[taken].sum() + self.price[count:] @ self.offsets)
            if bound > best:
                best, best_price = bound, self.price
            loads = np.bincount(choice, weights=self.work[taken], minlength=count)
            lengths = self.paths[:, self.groups, choice].sum(axis=1) + self.offsets
            use = np.concatenate([loads, lengths])
            top = float(use.max())
            if step >= _STEPS // 3:
                chosen[taken] += 1.0
                turns += 1
            if top <= 0 or self.stopped():
                break
            # Multiplicative weights: what would take longest gets dearer.
            self.price = self.price * np.exp(2.0 / (2.0 + 0.5 * step) * (use - use.mean()) / top)
            self.price = self.price / self.price.sum()
        self.price = best_price
        return best, chosen / max(1, turns)

    def _add_paths(self, share: Floats) -> None:
        """Give a price to the path that is longest where ops are split as groups chose."""
        arrays = self.arrays
        mean = (share[arrays.group] * self.time).sum(axis=1)
        late = arrays.release - arrays.release.min()
        paths = heaviest_paths(arrays, mean)
        lengths = [float(mean[path].sum()) + wait for path, wait in zip(paths, late, strict=True)]
        model = int(np.argmax(lengths))
        table = np.zeros(self.work.shape)
        np.add.at(table, arrays.group[paths[model]], self.time[paths[model]])
        self.paths = np.concatenate([self.paths, table[None]])
        self.offsets = np.append(self.offsets, late[model])
        self.price = np.append(self.price * (1.0 - _FIRST_PRICE), _FIRST_PRICE)
