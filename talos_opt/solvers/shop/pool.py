"""A small population of schedules, and what is made of two of them."""

from __future__ import annotations

import threading
from typing import NamedTuple

import numpy as np

from talos_opt.core.occupancy import static_memory
from talos_opt.core.problem import Floats, Ints, Problem

#: Points that are kept.
SIZE = 8
#: Points are alike if this share of the ops is on the same devices, and starts differ on average
#: by less than this share of the largest.
_ALIKE, _NEAR = 0.98, 0.005


class Point(NamedTuple):
    """A schedule: its value, and where (n,) and when (n,) each op starts."""

    value: float
    device: Ints
    start: Floats


class Pool:
    """The best points that are not alike. Safe to use from several threads."""

    def __init__(self) -> None:
        self._points: list[Point] = []
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._points)

    @property
    def full(self) -> bool:
        """Whether a further point takes another's place."""
        return len(self._points) == SIZE

    def add(self, point: Point) -> None:
        """Keep a point if it is better than one that is like it, or else than the worst."""
        with self._lock:
            for k, other in enumerate(self._points):
                if _alike(point, other):
                    if point.value < other.value:
                        self._points[k] = point
                    return
            self._points.append(point)
            if len(self._points) > SIZE:
                self._points.remove(max(self._points, key=lambda p: p.value))

    def draw(self, rng: np.random.Generator, count: int) -> list[Point]:
        """Return some different points at random; fewer if there are not so many."""
        with self._lock:
            count = min(count, len(self._points))
            return [self._points[k] for k in rng.permutation(len(self._points))[:count]]

    def best(self) -> Point:
        """Return the best point."""
        with self._lock:
            return min(self._points, key=lambda p: p.value)


def _alike(a: Point, b: Point) -> bool:
    if float(np.mean(a.device == b.device)) < _ALIKE:
        return False
    largest = max(float(a.start.max()), float(b.start.max()))
    return float(np.abs(a.start - b.start).mean()) <= _NEAR * largest


class Mixer:
    """Makes devices and orders out of points; what it makes keeps to memory and routes.

    Parameters
    ----------
    problem : Problem
    delay : (2, m, m) float
        See `Shop.delay`.
    """

    def __init__(self, problem: Problem, delay: Floats) -> None:
        self.problem, self.arrays = problem, problem.arrays
        self._reached = np.isfinite(delay[0])
        self._can = [np.flatnonzero(row) for row in self.arrays.allowed]

    def between(self, a: Point, b: Point, rng: np.random.Generator) -> tuple[Ints, Ints]:
        """Return a point between two: each group's device is that of one, starts are mixed.

        A mix of starts keeps producers before their readers, so that it orders the ops.
        """
        share = float(rng.uniform(0.3, 0.7))
        from_a = rng.random(self.arrays.group_count) < share
        device = np.where(from_a[self.arrays.group], a.device, b.device)
        start = share * a.start + (1 - share) * b.start
        return self._checked(device, a.device), self.order(start)

    def beside(self, a: Point, share: float, rng: np.random.Generator) -> tuple[Ints, Ints]:
        """Return a point with a share of the groups on other devices, at random."""
        arrays = self.arrays
        home = np.zeros(arrays.group_count, dtype=np.int64)
        home[arrays.group] = a.device
        for group in np.flatnonzero(rng.random(arrays.group_count) < share).tolist():
            home[group] = rng.choice(self._can[group])
        return self._checked(home[arrays.group], a.device), self.order(a.start)

    def order(self, start: Floats) -> Ints:
        """Ops by start; those that start together in topological order."""
        return np.lexsort((self.arrays.rank, start)).astype(np.int64)

    def _checked(self, device: Ints, other: Ints) -> Ints:
        """Return a placement, or else one that is known to do."""
        arrays = self.arrays
        if not self._reached[device[arrays.edge_src], device[arrays.edge_dst]].all():
            return other.copy()
        if (static_memory(self.problem, device) > arrays.capacity).any():
            return other.copy()
        return device.astype(np.int64)
