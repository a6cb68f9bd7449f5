"""A derived problem as solvers can take it: the memory of an op is the same on all devices.

On bundles it is not (`core.division`). So the memory of device d is counted in units of 1 / k(d)
byte: it has k(d) M(d) of them, and an op needs k(d) times what it holds there. Where that comes
out the same on all devices, the problem is the same. Where it does not, the least need gives a
relaxation, which proves bounds, and the largest one a restriction, whose schedules are feasible.
docs/bounds.md, "Bundles", has the argument.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from talos_opt.core.arrays import UNLIMITED, Bools, Floats, Ints
from talos_opt.core.errors import GraphError
from talos_opt.core.graph import ColumnarModels
from talos_opt.core.occupancy import most_needed
from talos_opt.core.problem import MemoryRule, Objective, Problem

#: Objectives under which a limit that nothing reaches can be left out: bytes are not their value,
#: and no device needs more than one copy of everything.
_SIMPLE = (Objective.TOCT, Objective.MAKESPAN, Objective.BOTTLENECK)
#: Units of a byte where needs are made the same on one sort of devices.
_FINE = 64


@dataclass(frozen=True)
class View:
    """A problem that stands for a derived one.

    Parameters
    ----------
    problem : Problem
        The same ops, devices and times; other bytes.
    bounds : bool
        Whether all schedules of the derived problem are schedules of it, so that its bounds hold.
    schedules : bool
        Whether all its schedules are feasible in the derived problem.
    """

    problem: Problem
    bounds: bool
    schedules: bool


def views(problem: Problem) -> tuple[View, ...]:
    """Return what to solve in place of a derived problem: one view that is exact, or several.

    The first one proves bounds; all prove or find something.

    Raises
    ------
    GraphError
        If the objective is memory, no device has a limit and ops need other bytes on bundles.
    """
    division = problem.arrays.division
    if division is None or problem.is_pipelined:  # the solver `pipeline` knows what members hold
        return (View(problem, bounds=True, schedules=True),)
    if problem.objective in _SIMPLE and _never_full(problem):
        ops = problem.arrays.op_count
        free = _Needs(np.zeros(ops, dtype=np.int64), problem.arrays.workspace)
        return (View(_with_needs(problem, free, None), bounds=True, schedules=True),)
    ones = np.ones(len(division.weights), dtype=np.int64)
    pooled = _Units(problem, np.maximum(division.weights, division.tensors))
    if problem.objective is Objective.MEMORY and not problem.arrays.memory_limited:
        pooled = _Units(problem, ones)
        if not pooled.exact:
            raise GraphError(
                "the objective memory compares bytes where no device has a limit, and ops need "
                "other bytes on bundles: expected devices with a memory"
            )
    single = _Units(problem, ones)
    for units in (single, pooled):
        if units.exact:
            return (View(units.with_least(), bounds=True, schedules=True),)
    focused = [units for units in _focused(problem) if units.static and units.relaxes]
    first, *others = focused or [pooled]
    found = [View(first.with_least(), bounds=True, schedules=False)]
    for units in (pooled, single):
        try:
            if units.restricts:
                found.append(View(units.with_largest(), bounds=False, schedules=True))
        except GraphError:  # an op is too large for what is left of every device
            continue
    found += [View(units.with_least(), bounds=True, schedules=False) for units in others]
    return tuple(found)


def _focused(problem: Problem) -> list[_Units]:
    """Return units in which the least need is the true one on one sort of devices, for each sort.

    There k is `_FINE`, and elsewhere just so large that no op needs less: the larger k is, the
    more room is left. Sorts are those of the division, the least divided one first.
    """
    arrays, division = problem.arrays, problem.arrays.division
    assert division is not None
    sorts = np.column_stack([division.weights, division.tensors])[arrays.capacity < UNLIMITED]
    rows = sorted({tuple(row) for row in sorts.tolist()}, key=lambda row: row[0] * row[1])
    found = []
    ones = _Units(problem, np.ones(arrays.device_count, dtype=np.int64))
    for weights, tensors in rows:
        own = (division.weights == weights) & (division.tensors == tensors)
        d = int(np.flatnonzero(own & (arrays.capacity < UNLIMITED))[0])
        ratio = [max(_ratio(part, d, e) for part in ones.needs) for e in range(arrays.device_count)]
        k = np.ceil(_FINE * np.array(ratio)).astype(np.int64)
        found.append(_Units(problem, np.where(own, _FINE, k)))
    return found


def _ratio(needs: Ints, d: int, e: int) -> float:
    """Return how many times more ops need on device d than on e, at the most."""
    some = needs[:, e] > 0
    return float((needs[some, d] / needs[some, e]).max(initial=1 / _FINE))


@dataclass(frozen=True)
class _Needs:
    """Bytes of ops that are the same on all devices.

    Parameters
    ----------
    weights, workspace : (n,) int
    """

    weights: Ints
    workspace: Ints


class _Units:
    """Needs on every device, in units of 1 / k bytes.

    Parameters
    ----------
    problem : Problem
        Derived.
    k : (m,) int
    """

    def __init__(self, problem: Problem, k: Ints) -> None:
        arrays = problem.arrays
        self.problem, self.k = problem, k
        self.static = problem.memory_rule is MemoryRule.STATIC
        limited = arrays.capacity < UNLIMITED
        self.counted = limited if limited.any() else np.ones(len(k), dtype=bool)
        held, work = zip(*(self._needs(d) for d in range(len(k))), strict=True)
        #: Units that ops hold all the time and while they run, on every device: both (n, m).
        self.needs = np.column_stack(held), np.column_stack(work)
        runs = np.isfinite(arrays.time) & self.counted
        self.held, self.work = (_Range.of(part, runs) for part in self.needs)

    def _needs(self, d: int) -> tuple[Ints, Ints]:
        """Units that ops hold all the time on a device, and while they run (n,)."""
        arrays = self.problem.arrays
        here = np.full(arrays.op_count, d)
        held = arrays.weights_at(here)
        if self.static:
            held = held + arrays.outputs_at(here)
        return held * self.k[d], arrays.bytes_at(arrays.workspace, here) * self.k[d]

    @property
    def _same(self) -> bool:
        return self.held.same and self.work.same

    @property
    def exact(self) -> bool:
        """Whether the problem is the same, with the least needs as with the largest."""
        return self._same and self.relaxes and self.restricts

    @property
    def relaxes(self) -> bool:
        """Whether tensors, which keep their bytes, take no more units than they should."""
        if self.static:  # outputs are part of what is held
            return bool((self.held.least >= self.problem.arrays.output).all())
        division = self.problem.arrays.division
        assert division is not None
        return bool((self.k >= division.tensors)[self.counted].all())

    @property
    def restricts(self) -> bool:
        """Whether tensors take no fewer units than they should."""
        if self.static:
            return True
        arrays = self.problem.arrays
        assert arrays.division is not None
        sizes = np.concatenate([arrays.tensor_size, arrays.edge_bytes])
        for k, parts in zip(
            self.k[self.counted], arrays.division.tensors[self.counted], strict=True
        ):
            if (k * -(-sizes // parts) > sizes).any():
                return False
        return True

    def with_least(self) -> Problem:
        """Return the problem in which ops need the least that they do on any device."""
        return self._with(self.held.least, self.work.least)

    def with_largest(self) -> Problem:
        """Return the problem in which ops need the most that they do on any device."""
        return self._with(self.held.most, self.work.most)

    def _with(self, held: Ints, work: Ints) -> Problem:
        if self.static:
            held = np.maximum(held - self.problem.arrays.output, 0)
        return _with_needs(self.problem, _Needs(held, work), self.k)


@dataclass(frozen=True)
class _Range:
    """The least and the largest need of each op over the devices where it runs (n,)."""

    least: Ints
    most: Ints

    @classmethod
    def of(cls, needs: Ints, runs: Bools) -> _Range:
        """Take them of needs (n, m); of all devices for an op that runs on none of those."""
        runs = runs | ~runs.any(axis=1, keepdims=True)
        least = np.where(runs, needs, np.iinfo(np.int64).max).min(axis=1)
        return cls(least, np.where(runs, needs, -1).max(axis=1))

    @property
    def same(self) -> bool:
        return bool((self.least == self.most).all())


def _never_full(problem: Problem) -> bool:
    """Whether everything, undivided, fits on every device with a limit."""
    arrays = problem.arrays
    return bool((arrays.capacity >= min(most_needed(arrays), UNLIMITED)).all())


def _with_needs(problem: Problem, needs: _Needs, k: Ints | None) -> Problem:
    """Return an ordinary problem whose ops need these bytes; without `k` no device has a limit."""
    columns, arrays = problem.graph.columns, problem.arrays
    given = replace(
        columns,
        weights=needs.weights,
        workspace=needs.workspace,
        time=_times(problem),
        split=None,
    )
    vars(given)["topology"] = columns.topology  # the edges are the same
    devices = tuple(
        replace(
            device,
            memory=None if k is None or size >= UNLIMITED else size * factor,
            memory_fraction=1.0,
        )
        for device, size, factor in zip(
            problem.cluster.devices,
            arrays.capacity.tolist(),
            (np.ones(arrays.device_count) if k is None else k).tolist(),
            strict=True,
        )
    )
    return replace(
        problem,
        graph=replace(problem.graph, models=ColumnarModels(given)),
        cluster=replace(problem.cluster, devices=devices),
        bundling=None,
    )


def _times(problem: Problem) -> Floats:
    """Times by key, without those on kinds none of whose devices an op fits."""
    columns, arrays = problem.graph.columns, problem.arrays
    time = columns.time.copy()
    for q, devices in _by_kind(problem):
        fits = np.isfinite(arrays.time[:, devices]).any(axis=1)
        given = np.isfinite(time).sum(axis=1) > 1  # one time has to stay
        time[~fits & given, q] = np.nan
    return time


def _by_kind(problem: Problem) -> Iterator[tuple[int, list[int]]]:
    """Yield the column of each key that is a kind, and the devices of that kind."""
    for q, key in enumerate(problem.graph.columns.time_keys):
        own = [d for d, device in enumerate(problem.cluster.devices) if device.kind == key]
        if own:
            yield q, own
