"""The placement relaxation: who sits where and when, without anyone waiting for a device.

Kept of the full formulation: one device per colocation group, pins, missing routes, resident
memory, precedence with the delay of each transfer. Given up: order on devices, links and copy
engines, and how memory rises and falls. In their place every device has *load knapsacks*: ops
that cannot start before h, and that are followed by at least q until the end, take at most
slots * (end - h - q) of its time together.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations
from typing import Any

import numpy as np

from talos_opt.core.problem import UNLIMITED, Bools, Floats, Ints, Objective, Problem
from talos_opt.solvers.bounds.path_memory import PathMemory
from talos_opt.solvers.bounds.routes import resident_bytes
from talos_opt.solvers.cpsat.grid import Grid
from talos_opt.solvers.cpsat.sequencing import SequencingFormulation

#: Different values of head and of tail that load knapsacks are made for.
_LEVELS = 4
#: Up to this number of models, every pair of them gets knapsacks too.
_PAIRS_UP_TO = 6


class RelaxedFormulation(SequencingFormulation):
    """`SequencingFormulation` without sequencing; for the objectives makespan and toct.

    Parameters
    ----------
    cp : module
    problem : Problem
    grid : Grid
    upper : float
    stopped : callable
    memory : PathMemory
        Heads and tails per class of devices.
    """

    relaxed = True

    def __init__(
        self,
        cp: Any,
        problem: Problem,
        grid: Grid,
        upper: float,
        stopped: Callable[[], bool],
        memory: PathMemory,
    ) -> None:
        super().__init__(cp, problem, grid, upper, stopped)
        self.memory = memory
        self.class_of = np.zeros(self.arrays.device_count, dtype=np.int64)
        for c, members in enumerate(memory.classes.members):
            self.class_of[members] = c

    def build(self) -> None:
        """Add every variable and constraint."""
        self.assign_groups()
        self.break_symmetry()
        self.forbid_missing_routes()
        self.forbid_late_classes()
        self.limit_resident_memory()
        self.time_ops()
        self.time_arrivals()
        self.minimise_completion()
        self.follow_path_bounds()
        self.limit_loads()

    @property
    def hops_are_activities(self) -> bool:
        """Transfers do not compete: each arrives its delay after it was produced."""
        return False

    def forbid_late_classes(self) -> None:
        """No op sits where it would end too late, or leave too much to come, for the limit."""
        for i, c in np.argwhere(np.isinf(self.memory.head + self.memory.tail)).tolist():
            row = self.x[int(self.arrays.group[i])]
            for d in self.memory.classes.members[c].tolist():
                if row[d] is not None:
                    self.model.add(row[d] == 0)

    def limit_resident_memory(self) -> None:
        """What stays from beginning to end fits (all of it under static, weights under peak)."""
        arrays = self.arrays
        if not self.memory_is_live:
            self.limit_static_memory()
            return
        held = np.zeros(arrays.group_count, dtype=np.int64)
        np.add.at(held, arrays.group, resident_bytes(arrays, self.problem.memory_rule))
        for d, limit in enumerate(arrays.capacity.tolist()):
            if limit < UNLIMITED and int(held.sum()) > limit:
                terms = [
                    int(size) * self.x[g][d]
                    for g, size in enumerate(held.tolist())
                    if size and self.x[g][d] is not None
                ]
                self.model.add(sum(terms) <= limit)

    def _run(self, i: int, start: Any, end: Any, ticks: dict[int, int]) -> None:
        """An op lasts as long as it does on its device."""
        row = self.x[int(self.arrays.group[i])]
        self.model.add(end - start == sum(length * row[d] for d, length in ticks.items()))

    def _windows(self) -> tuple[list[int], list[int], list[int]]:
        """Heads and tails from the path-memory bound, in ticks."""
        arrays, best = self.arrays, self.memory.best.tolist()
        first = self._starts().min(axis=1).tolist()
        heads = [
            self._below(start) + self.grid.ticks(time)
            for start, time in zip(first, best, strict=True)
        ]
        tails = [self._below(tail) for tail in self.memory.tail.min(axis=1).tolist()]
        assert len(heads) == arrays.op_count
        return heads, tails, self._latest(heads)

    def _starts(self) -> Floats:
        """Earliest start of every op on each class of devices (n, c); infinite: not allowed."""
        return self.memory.starts()

    def _below(self, time: float) -> int:
        """Last tick before a time that was summed up in floating point, safely."""
        return int(time * (1 - 1e-9) * self.grid.per_unit)

    def follow_path_bounds(self) -> None:
        """Redundant: an op starts no earlier, and leaves no less to come, than paths prove."""
        starts, tail = self._starts(), self.memory.tail
        possible = np.isfinite(starts) & np.isfinite(tail)
        for i in range(self.arrays.op_count):
            self.look_up()
            there = [
                (literal, int(self.class_of[d]))
                for d, literal in enumerate(self.x[int(self.arrays.group[i])])
                if literal is not None and possible[i, self.class_of[d]]
            ]
            if len({c for _, c in there}) == 1:
                continue  # the variables' ranges say as much
            first = sum(self._below(float(starts[i, c])) * one for one, c in there)
            left = sum(self._below(float(tail[i, c])) * one for one, c in there)
            self.model.add(self.start[i] >= first)
            self.model.add(self.done[int(self.arrays.model[i])] >= self.end[i] + left)

    def limit_loads(self) -> None:
        """Load knapsacks of every device, for the whole schedule and for sets of models."""
        model = self.arrays.model
        count = len(self.done)
        everything = np.ones(self.arrays.op_count, dtype=bool)
        if self.problem.objective is Objective.MAKESPAN or count == 1:
            end = self.done[0] if count == 1 else self.makespan
            self._knapsacks(everything, end, tails=True)
            return
        for j in range(count):
            self._knapsacks(model == j, self.done[j], tails=True)
        pairs = combinations(range(count), 2) if count <= _PAIRS_UP_TO else []
        for chosen in [*pairs, tuple(range(count))]:
            last = self.model.new_int_var(0, self.grid.horizon, "")
            self.model.add_max_equality(last, [self.done[j] for j in chosen])
            self._knapsacks(np.isin(model, chosen), last, tails=False)

    def _knapsacks(self, chosen: Bools, end: Any, *, tails: bool) -> None:
        """Load knapsacks of some ops, all of whose models are complete at `end`."""
        starts = self._starts()
        models = np.unique(self.arrays.model[chosen])
        least = self._below(float(self.memory.completions()[models].max()))
        for d in range(self.arrays.device_count):
            self.look_up()
            c = int(self.class_of[d])
            possible = np.isfinite(starts[:, c]) & np.isfinite(self.memory.tail[:, c])
            ops = np.flatnonzero(chosen & possible)
            before = starts[ops, c]
            after = self.memory.tail[ops, c] if tails else np.zeros(len(ops))
            seen: set[bytes] = set()
            for first in _levels(before):
                for last in _levels(after):
                    part = ops[(before >= first) & (after >= last)]
                    if part.tobytes() not in seen:
                        seen.add(part.tobytes())
                        unused = self._below(first) + self._below(last)
                        # With none of them on the device this must hold too.
                        self._knapsack(part, d, end, min(unused, least))

    def _knapsack(self, ops: Ints, d: int, end: Any, unused: int) -> None:
        arrays = self.arrays
        work: dict[int, int] = {}
        for i in ops.tolist():
            ticks = self.grid.ticks(float(arrays.time[i, d])) * int(arrays.demand[i])
            group = int(arrays.group[i])
            if ticks and self.x[group][d] is not None:
                work[group] = work.get(group, 0) + ticks
        if len(work) > 1:
            busy = sum(ticks * self.x[g][d] for g, ticks in work.items())
            self.model.add(busy <= int(arrays.slots[d]) * (end - unused))


def _levels(values: Floats) -> list[float]:
    """Some thresholds among values, the least of them first."""
    if len(values) == 0:
        return []
    some = np.quantile(values, np.linspace(0, 0.9, _LEVELS), method="lower")
    return [float(value) for value in np.unique(some)]
