"""The full formulation of CP-SAT, with heads, tails and loads that other bounds have proven."""

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations
from typing import Any

import numpy as np

from talos_opt.core.problem import Bools, Floats, Ints, Objective, Problem
from talos_opt.solvers.bounds.path_memory import PathMemory
from talos_opt.solvers.cpsat.sequencing import SequencingFormulation
from talos_opt.solvers.shared.grid import Grid

#: Different values of head and of tail that load knapsacks are made for.
_LEVELS = 4
#: Up to this number of models, every pair of them gets knapsacks too.
_PAIRS_UP_TO = 6


class BoundedFormulation(SequencingFormulation):
    """`SequencingFormulation`, told what is known of each op; for makespan and toct.

    Parameters
    ----------
    cp : module
    problem : Problem
    grid : Grid
    upper : float
        At least what the heads and tails were proven for.
    stopped : callable
    memory : PathMemory
        Heads and tails per class of devices.
    """

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
        self.class_of = memory.class_of

    def build(self) -> None:
        """Add every variable and constraint."""
        super().build()
        self.add_known_bounds()

    def add_known_bounds(self) -> None:
        """Add what follows from heads, tails and loads."""
        self.forbid_late_classes()
        self.follow_path_bounds()
        self.limit_loads()

    def forbid_late_classes(self) -> None:
        """No op sits where it would end too late, or leave too much to come, for the limit."""
        for i, c in np.argwhere(np.isinf(self.memory.head + self.memory.tail)).tolist():
            row = self.x[int(self.arrays.group[i])]
            for d in self.memory.classes.members[c].tolist():
                if row[d] is not None:
                    self.model.add(row[d] == 0)

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
        """Last tick that is not after a time summed up in floating point, to be safe."""
        ticks = time * self.grid.per_unit
        # Heads and tails are sums of durations: whole numbers of ticks on an exact grid. Elsewhere
        # losing a few costs nothing.
        if self.grid.exact and abs(ticks - round(ticks)) < 1e-3:
            return round(ticks)
        return int(ticks * (1 - 1e-9))

    def follow_path_bounds(self) -> None:
        """Redundant: an op starts no earlier, and leaves no less to come, than paths prove."""
        for j, done in enumerate(self.memory.completions().tolist()):
            self.model.add(self.done[j] >= self._below(done))
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
            # A class that several were merged into may go where one of its devices may not.
            possible &= np.isfinite(self.arrays.time[:, d])
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
            terms = [(ticks, self.x[g][d], 1) for g, ticks in work.items()]
            self.limit_load(terms, d, end - unused, self.grid.horizon)


def _levels(values: Floats) -> list[float]:
    """Some thresholds among values, the least of them first."""
    if len(values) == 0:
        return []
    some = np.quantile(values, np.linspace(0, 0.9, _LEVELS), method="lower")
    return [float(value) for value in np.unique(some)]
