"""The path-memory bound: how fast a path can be whose bytes must sit somewhere.

Ops of a path run one after the other, each on a device with room for all that sits there. So a
path splits into *runs* of consecutive ops on one device; the resident bytes of a run, with all
members of its colocation groups, fit that device; between two runs a tensor travels. The best
split is a shortest path, found by one sweep. What is learnt about the ops of one path (earliest
ends, least tails) holds for all paths that meet it. Argument and limits are in docs/bounds.md.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from talos_opt.core import rounding
from talos_opt.core.problem import Bools, Floats, Ints, Objective, Problem
from talos_opt.solvers.bounds.routes import (
    classify,
    least_delays,
    resident_bytes,
)
from talos_opt.solvers.shared.paths import (
    best_times,
    edge_numbers,
    heaviest_paths,
    spread,
)

#: Sets of paths are swept twice while ops times sets stay below half of it, then once, then fewer.
_EFFORT = 50_000
#: Sets of paths, each with at most one path of every model.
_MOST_SETS = 8
#: Cells (path ops times the longest run) of one sweep; beyond, a path is left out.
_MOST_CELLS = 20_000_000


def never() -> bool:
    """Go on to the end."""
    return False


@dataclass(frozen=True)
class PathProblem:
    """What a sweep along a path of L ops needs to know, for c classes of devices.

    Parameters
    ----------
    time : (L, c) float
    delay : (L - 1, c, c) float
        Least time between the end of an op and the start of the next on *another* device.
    first : (L, c) int
        First op of the longest run of each class that ends at an op and fits; if the op alone
        does not fit, the op after it.
    unlimited : (c,) bool
        The whole path fits, so runs need not be told apart.
    """

    time: Floats
    delay: Floats
    first: Ints
    unlimited: Bools

    def reversed(self) -> PathProblem:
        """Return the same path walked backwards."""
        length = len(self.time)
        # `first` never falls: the longest run from j on ends before the first op whose longest
        # run begins after j, or before j itself if that op alone does not fit.
        place = np.arange(length)
        last = np.column_stack([np.searchsorted(c, place, side="right") - 1 for c in self.first.T])
        return PathProblem(
            self.time[::-1],
            self.delay[::-1].transpose(0, 2, 1),
            (length - 1 - last)[::-1],
            self.unlimited,
        )


class PathMemory:
    """Earliest ends and least tails of all ops, per class of devices, from sweeps along paths.

    Parameters
    ----------
    problem : Problem

    Attributes
    ----------
    classes : DeviceClasses
    head, tail : (n, c) float
        Earliest end of an op, and least time from its end to the completion of its model, if it
        sits on a device of the class; infinite where it may not go.
    proven : (k,) float
        Earliest completion of every model from other arguments.
    paths : list of list of (path, PathProblem)
        Sets of paths to sweep along, at most one path of each model in a set.
    upper : float
        All of this is claimed for schedules of at most this value only.
    roomy : (c,) bool
        Classes on one device of which everything fits.
    """

    def __init__(self, problem: Problem) -> None:
        arrays = self.arrays = problem.arrays
        self.problem = problem
        self.classes = classify(arrays)
        self.best = best_times(arrays)
        self.held = resident_bytes(arrays, problem.memory_rule)
        self.group_bytes = np.zeros(arrays.group_count)
        np.add.at(self.group_bytes, arrays.group, self.held)
        self.paths: list[list[tuple[Ints, PathProblem]]] = []
        self.roomy = self.held.sum() <= self.classes.capacity
        self.proven = arrays.release.copy()
        self.upper = np.inf
        time = self.classes.time
        self.head = arrays.release[arrays.model][:, None] + time
        self.tail = np.where(np.isfinite(time), 0.0, np.inf)
        self._spread()

    @cached_property
    def delays(self) -> Floats:
        """Least time that each edge takes between different devices of two classes (e, c, c)."""
        return least_delays(self.arrays, self.classes, self.arrays.edge_bytes)

    @property
    def pointless(self) -> bool:
        """Whether everything fits on each device, or some op can run nowhere."""
        fits = bool(self.held.sum() <= self.classes.capacity.min())
        return not np.isfinite(self.best).all() or (fits and len(self.classes.members) == 1)

    def completions(self) -> Floats:
        """Earliest completion of every model (k,)."""
        arrays = self.arrays
        result = self.proven.copy()
        whole = (self.head + self.tail).min(axis=1)
        np.maximum.at(result, arrays.model, np.where(np.isfinite(whole), whole, 0.0))
        return result

    @property
    def stranded(self) -> Ints:
        """Ops that no class of devices is left for: no schedule is within `upper`."""
        return np.flatnonzero(np.isinf(self.head + self.tail).all(axis=1))

    def starts(self) -> Floats:
        """Earliest start of every op on each class (n, c); infinite where it may not go."""
        runs = np.isfinite(self.classes.time)
        return np.where(runs, self.head - np.where(runs, self.classes.time, 0.0), np.inf)

    @cached_property
    def class_of(self) -> Ints:
        """Class of each device (m,)."""
        found = np.zeros(self.arrays.device_count, dtype=np.int64)
        for c, members in enumerate(self.classes.members):
            found[members] = c
        return found

    def by_device(self) -> tuple[Floats, Floats]:
        """Earliest start of every op on each device, and least time from its end on (n, m)."""
        of = self.class_of
        return np.ascontiguousarray(self.starts()[:, of]), np.ascontiguousarray(self.tail[:, of])

    def bound(self) -> float:
        """Lower bound on makespan, or on the weighted sum of completion times."""
        done = self.completions()
        whole = done.max() if self.makespan else self.arrays.model_weight @ done
        return float(min(whole, self.upper))

    @property
    def makespan(self) -> bool:
        """Whether the objective is the makespan."""
        return self.problem.objective is Objective.MAKESPAN

    def limits(self, upper: float) -> Floats:
        """Latest completion of every model in schedules of at most a value (k,)."""
        weight, done = self.arrays.model_weight, self.completions()
        if self.makespan or not np.isfinite(upper):
            return np.full(len(done), upper)
        with np.errstate(divide="ignore", invalid="ignore"):
            # What is left of two large numbers has the rounding of both.
            spare = max(0.0, upper - float(weight @ done)) + rounding.sum_error(len(done)) * upper
            return np.where(weight > 0, done + spare / weight, np.inf)

    def learn(self, *, heads: Floats | None = None, tails: Floats | None = None) -> None:
        """Take over stronger heads and tails (n, c), NaN where nothing is said, and spread them."""
        if heads is not None:
            self.head = np.fmax(self.head, heads)
        if tails is not None:
            self.tail = np.fmax(self.tail, tails)
        self._spread_by_class()

    def improve(self, stopped: Callable[[], bool] = never) -> None:
        """Choose paths and sweep along them, twice where that is cheap.

        Parameters
        ----------
        stopped : callable
            Asked between two steps, whether to leave it at that: what has been learnt is valid.
        """
        if self.pointless:
            return
        tight = self._tight_models()
        for paths in self._choose_paths(tight, stopped):
            parts: list[tuple[Ints, PathProblem]] = []
            for path in paths:
                if stopped():
                    return
                part = self._restrict(path)
                if part is not None:
                    parts.append((path, part))
            self.paths.append(parts)
        count = int(np.diff(self.arrays.model_ptr)[tight].sum())
        rounds = 2 if count and count * len(self.paths) <= _EFFORT // 2 else 1
        for _ in range(rounds):
            for parts in self.paths:
                for path, part in parts:
                    if stopped():
                        return
                    self._sweep_both_ways(path, part)
                # Paths of different models share no op and no edge, so one pass serves them all.
                self._spread()
            self._spread_by_class(stopped)

    def _tight_models(self) -> Bools:
        """Models that some class of devices may not hold as a whole (k,).

        A path that fits wherever it goes splits at no cost, and all that a sweep finds along it
        is found by `_spread_by_class`. So paths of the other models need not be swept.
        """
        arrays = self.arrays
        pairs = np.unique(arrays.model * arrays.group_count + arrays.group)  # a group counts once
        model, group = np.divmod(pairs, arrays.group_count)
        total = np.bincount(model, self.group_bytes[group], minlength=len(arrays.release))
        return np.asarray(total > self.classes.capacity.min())

    def _sweep_both_ways(self, path: Ints, part: PathProblem) -> None:
        runs = np.isfinite(part.time)
        time = np.where(runs, part.time, 0.0)
        ends = sweep(part, np.where(runs, self.head[path], 0.0) - time)
        if not np.isfinite(ends.min(axis=1)).all():
            return  # no placement fits; that is for others to prove and to explain
        self.head[path] = np.maximum(self.head[path], ends)
        back = sweep(part.reversed(), np.where(runs, self.tail[path], 0.0)[::-1])[::-1]
        self.tail[path] = np.maximum(self.tail[path], back - time)

    def _spread(self) -> None:
        time = self.classes.time
        rest = (self.tail + time).min(axis=1)
        start, after = spread(self.arrays, self.head.min(axis=1), rest, self.best)
        # An op is done no earlier than its *start* allows on each class: the least end over all
        # classes less the best time would be no valid start.
        self.head = np.maximum(self.head, start[:, None] + time)
        self.tail = np.maximum(self.tail, after[:, None])

    def _spread_by_class(self, stopped: Callable[[], bool] = never) -> None:
        """Carry heads and tails along the edges, each with the transfer that it takes.

        An op that starts on class c has each producer on some class; one on another class, or
        on another device of the same, has sent its tensor first.
        """
        arrays, time = self.arrays, self.classes.time
        head, tail = self.head, self.tail
        delay = self.delays.copy()
        same = np.arange(time.shape[1])
        delay[:, same, same] = 0.0
        for edges in _by_level(arrays.level[arrays.edge_dst]):
            if stopped():
                return
            sent = (head[arrays.edge_src[edges]][:, :, None] + delay[edges]).min(axis=1)
            reader = arrays.edge_dst[edges]
            np.maximum.at(head, reader, sent + time[reader])
        for edges in reversed(_by_level(arrays.level[arrays.edge_src])):
            if stopped():
                return
            reader = arrays.edge_dst[edges]
            left = tail[reader] + time[reader]
            left = (delay[edges] + left[:, None, :]).min(axis=2)
            np.maximum.at(tail, arrays.edge_src[edges], left)

    def _restrict(self, path: Ints) -> PathProblem | None:
        arrays, capacity = self.arrays, self.classes.capacity
        distinct, group = np.unique(arrays.group[path], return_inverse=True)
        held = self.group_bytes[distinct]
        unlimited = np.asarray(held.sum() <= capacity)
        first = np.column_stack([first_of_runs(group, held, float(limit)) for limit in capacity])
        cells = (np.arange(len(path))[:, None] - first)[:, ~unlimited].clip(min=0).sum()
        if cells > _MOST_CELLS:
            return None
        delay = self.delays[edge_numbers(arrays, path)]
        return PathProblem(self.classes.time[path], delay, first, unlimited)

    def _choose_paths(self, tight: Bools, stopped: Callable[[], bool]) -> list[list[Ints]]:
        """Choose paths heavy in bytes, in time, in both, and those through ops not yet met.

        Parameters
        ----------
        tight : (k,) bool
            Models to choose paths of.
        stopped : callable

        Returns
        -------
        list of list of (length,) int
            Each with at most one path of a model; all differ.
        """
        arrays, held, best = self.arrays, self.held, self.best
        count = int(np.diff(arrays.model_ptr)[tight].sum())
        if count == 0:
            return []
        total_bytes, total_time = max(1.0, float(held.sum())), max(1e-300, float(best.sum()))
        mixed = held / total_bytes + best / total_time
        sizes = arrays.edge_bytes / max(1, int(arrays.edge_bytes.sum()))
        candidates = [(held.astype(np.float64), None), (mixed, None), (best, None), (mixed, sizes)]
        most = max(1, min(_MOST_SETS, _EFFORT // count))
        found: list[list[Ints]] = []
        seen: set[bytes] = set()
        met = ~tight[arrays.model]

        def keep(paths: list[Ints]) -> bool:
            fresh = [path for path in paths if path.tobytes() not in seen]
            for path in fresh:
                seen.add(path.tobytes())
                met[path] = True
            found.append(fresh)
            return bool(fresh)

        for weight, edge_weight in candidates[:most]:
            if stopped():
                return found
            keep(heaviest_paths(arrays, weight, edge_weight, tight))
        for _ in range(most - len(candidates)):
            if stopped() or met.all():
                break
            if not keep(heaviest_paths(arrays, np.where(met, 0.01, 1.0) * mixed, chosen=tight)):
                break
        return found


def _by_level(level: Ints) -> list[Ints]:
    """Return positions by ascending level, those of one level together."""
    by_level = np.argsort(level, kind="stable")
    cuts = np.flatnonzero(np.diff(level[by_level])) + 1
    return [part for part in np.split(by_level, cuts) if len(part)]


def sweep(part: PathProblem, release: Floats) -> Floats:
    """Return the earliest end of every op of a path, over all splits into runs that fit.

    Parameters
    ----------
    part : PathProblem
    release : (L, c) float
        Earliest start of each op on each class of devices, from other arguments.

    Returns
    -------
    (L, c) float
        Infinite if there is no split.
    """
    length, count = part.time.shape
    # value[c, j]: end of the current op if it belongs to a run of class c that began at op j.
    value = np.full((count, length), np.inf)
    ends = np.full(count, np.inf)
    result = np.empty((length, count))
    for i in range(length):
        entry = release[i].copy()
        if i > 0:
            np.maximum(entry, (ends[:, None] + part.delay[i - 1]).min(axis=0), out=entry)
        for c in range(count):
            if part.unlimited[c]:
                began = entry[c] if i == 0 else min(entry[c], max(ends[c], release[i, c]))
                ends[c] = began + part.time[i, c]
                continue
            low = int(part.first[i, c])
            if low > i:  # the runs so far end here, and none can begin
                ends[c] = np.inf
                continue
            runs = value[c, low : i + 1]
            runs[-1] = entry[c]
            np.maximum(runs, release[i, c], out=runs)
            runs += part.time[i, c]
            ends[c] = runs.min()
        result[i] = ends
    return result


def first_of_runs(group: Ints, group_bytes: Floats, capacity: float) -> Ints:
    """First op of the longest run that ends at each op and fits; a group counts once a run."""
    first = np.empty(len(group), dtype=np.int64)
    inside: dict[int, int] = {}
    low, held = 0, 0.0
    groups, size = group.tolist(), group_bytes.tolist()
    for i, g in enumerate(groups):
        inside[g] = inside.get(g, 0) + 1
        if inside[g] == 1:
            held += size[g]
        while held > capacity:
            old = groups[low]
            inside[old] -= 1
            if inside[old] == 0:
                held -= size[old]
            low += 1
        first[i] = low
    return first
