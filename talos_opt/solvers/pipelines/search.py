"""A local search over placements of pipelines, by annealing."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator

import numpy as np

from talos_opt.core.problem import Bools, Ints, Problem

#: Share of the value by which a move may be worse at first, and moves until that is a tenth.
_HEAT, _COOLING = 0.02, 3_000
#: Moves without a better value after which a search ends.
_ENOUGH = 9_000


class StepSearch:
    """Moves groups over the borders of stages, and stages to other devices.

    Parameters
    ----------
    problem : Problem
    evaluate : callable
        Returns the value of a placement of groups (g,), infinite where it is none.
    seed : int
    """

    def __init__(self, problem: Problem, evaluate: Callable[[Ints], float], seed: int) -> None:
        self.arrays = problem.arrays
        self.evaluate = evaluate
        self.random = random.Random(seed)
        source = self.arrays.group[self.arrays.edge_src]
        target = self.arrays.group[self.arrays.edge_dst]
        pairs = np.column_stack([source, target])[source != target]
        #: Pairs of groups between which a tensor goes (p, 2).
        self.pairs: Ints = np.unique(pairs, axis=0).astype(np.int64)
        self.allowed: Bools = self.arrays.allowed

    def run(self, start: Ints, stopped: Callable[[], bool]) -> Iterator[tuple[float, Ints]]:
        """Yield value and placement whenever one is better than all before.

        Parameters
        ----------
        start : (g,) int
            A placement that has a value.
        stopped : callable
        """
        here = start.copy()
        value = best = self.evaluate(here)
        tried = last = 0
        while tried - last < _ENOUGH and not stopped():
            tried += 1
            moved = self._move(here)
            if moved is None:
                continue
            after = self.evaluate(moved)
            heat = _HEAT * value * 0.1 ** (tried / _COOLING)
            if after <= value or (
                math.isfinite(after)
                and heat > 0
                and self.random.random() < math.exp((value - after) / heat)
            ):
                here, value = moved, after
            if value < best:
                best, last = value, tried
                yield value, here.copy()

    def _move(self, home: Ints) -> Ints | None:
        kind = self.random.random()
        if kind < 0.6 and len(self.pairs):
            return self._over_border(home)
        if kind < 0.8:
            return self._part(home)
        return self._swap(home)

    def _over_border(self, home: Ints) -> Ints | None:
        """Move a group to the device of a neighbour on another one."""
        crossing = np.flatnonzero(home[self.pairs[:, 0]] != home[self.pairs[:, 1]])
        if not len(crossing):
            return self._part(home)
        a, b = self.pairs[crossing[self.random.randrange(len(crossing))]].tolist()
        if self.random.random() < 0.5:
            a, b = b, a
        moved = home.copy()
        moved[a] = home[b]
        if self.random.random() < 0.3:  # and what is tied to it by edges on its side
            beside = self.pairs[(self.pairs == a).any(axis=1)].ravel()
            moved[beside[home[beside] == home[a]]] = home[b]
        return moved

    def _part(self, home: Ints) -> Ints | None:
        """Move a part of a device's groups, the first or the last ones, to any device."""
        source = int(home[self.random.randrange(len(home))])
        target = self.random.randrange(self.arrays.device_count)
        if source == target:
            return None
        rank = np.full(self.arrays.group_count, self.arrays.op_count, dtype=np.int64)
        np.minimum.at(rank, self.arrays.group, self.arrays.rank)
        inside = np.flatnonzero(home == source)
        inside = inside[np.argsort(rank[inside], kind="stable")]
        some = self.random.randint(1, len(inside))
        moved = home.copy()
        moved[inside[:some] if self.random.random() < 0.5 else inside[-some:]] = target
        return moved

    def _swap(self, home: Ints) -> Ints | None:
        """Exchange all that two devices have."""
        if self.arrays.device_count < 2:
            return None
        a, b = self.random.sample(range(self.arrays.device_count), 2)
        moved = home.copy()
        moved[home == a], moved[home == b] = b, a
        return moved
