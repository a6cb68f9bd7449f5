"""The full formulation: placement, times, and what ops and transfers compete for."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from talos_opt.core.problem import Bools, Objective
from talos_opt.core.schedule import Schedule
from talos_opt.solvers.cpsat.liveness import LiveMemory
from talos_opt.solvers.cpsat.timing import TimingFormulation
from talos_opt.solvers.shared.grid import BLUR, LIMIT


class SequencingFormulation(TimingFormulation):
    """`TimingFormulation` with slots, links, memory over time, and an objective."""

    def build(self) -> None:
        """Add every variable and constraint."""
        self.assign_groups()
        self.break_symmetry()
        self.keep_stages()
        self.forbid_missing_routes()
        self.limit_static_memory()
        self.time_ops()
        if self.hops_are_activities:
            self.time_hops()
        else:
            self.time_arrivals()
        self.limit_slots()
        self.limit_links()
        if self.memory_is_live:
            self.limit_live_memory()
        if self.feasibility:
            return
        if self.problem.objective is Objective.BOTTLENECK:
            self.minimise_bottleneck()
        else:
            self.minimise_completion()

    def fix(self, schedule: Schedule, movable: Bools) -> None:
        """Fix devices, and the order on devices with a single slot, of what may not move."""
        super().fix(schedule, movable)
        arrays = self.arrays
        fixed = np.flatnonzero(~movable[arrays.group])
        by_start = fixed[np.lexsort((schedule.end[fixed], schedule.start[fixed]))]
        last: dict[int, int] = {}
        for op in by_start.tolist():
            device = int(schedule.device[op])
            if arrays.slots[device] > 1 or arrays.time[op, device] <= 0:
                continue
            if device in last:
                self.model.add(self.start[op] >= self.end[last[device]])
            last[device] = op

    # ---- resources -------------------------------------------------------------------------

    def limit_slots(self) -> None:
        """Slots of a device are never exceeded."""
        for d, held in self.on_device.items():
            self._limit(held, int(self.arrays.slots[d]))

    def limit_links(self) -> None:
        """Under contention serial a link carries one tensor at a time."""
        if self.hops_are_activities:
            for held in self.on_channel.values():
                self._limit(held, 1)

    def _limit(self, held: list[tuple[Any, int]], limit: int) -> None:
        if sum(amount for _, amount in held) <= limit:
            return
        intervals = [interval for interval, _ in held]
        if limit == 1:
            self.model.add_no_overlap(intervals)
        else:
            self.model.add_cumulative(intervals, [amount for _, amount in held], limit)

    def limit_live_memory(self) -> None:
        """Weights stay; outputs, received copies and workspaces count while alive (peak rule)."""
        LiveMemory(self).limit()

    # ---- objectives ------------------------------------------------------------------------

    def minimise_completion(self) -> None:
        """Weighted sum, or the largest, of the models' completion times."""
        arrays, horizon = self.arrays, self.grid.horizon
        #: Time from each model's earliest completion to its completion.
        self.late = [
            self.model.new_int_var(0, max(0, last - first), f"l{j}")
            for j, (first, last) in enumerate(zip(self.first, self.latest, strict=True))
        ]
        self.done = [late + first for late, first in zip(self.late, self.first, strict=True)]
        for i in np.flatnonzero(np.diff(arrays.out_ptr) == 0).tolist():
            self.model.add(self.done[int(arrays.model[i])] >= self.end[i])
        if self.problem.objective is Objective.MAKESPAN:
            self.makespan = self.model.new_int_var(max(self.first), horizon, "makespan")
            self.model.add_max_equality(self.makespan, self.done)
            self._bound_by_load()
            self.set_objective(self.makespan + self._moving())
            return
        self._minimise_sum()

    def _minimise_sum(self) -> None:
        """Minimise the weighted sum beyond what the models' earliest completions force.

        Weights that are rounded down then lose their part of that only: docs/bounds.md.
        """
        grid, weight = self.grid, self.arrays.model_weight.tolist()
        self.objective_scale = grid.per_unit * grid.weight_scale
        self.objective_base = sum(
            w * grid.time(first) for w, first in zip(weight, self.first, strict=True)
        )
        terms = [
            (whole, late, last - first)
            for whole, late, first, last in zip(
                grid.weights, self.late, self.first, self.latest, strict=True
            )
            if whole and last > first
        ]
        terms += self.prices()
        total = sum(whole * late for whole, late, _ in terms)
        reach = top = sum(whole * largest for whole, _, largest in terms)
        if math.isfinite(self.upper):
            spare = self.upper * (1 + 1e-12) - self.objective_base
            blur = BLUR * (1 + sum(grid.weights))
            top = min(reach, max(0, math.floor(spare * self.objective_scale + blur)))
        if reach + top > LIMIT and not grid.wide:  # many models: in parts
            total = self.model.new_int_var(0, top, "total")
            self.limit_sum(terms, total, top)
        elif top < reach:
            self.model.add(total <= top)
        self.set_objective(total)

    def prices(self) -> list[tuple[int, Any, int]]:
        """What moves, at its price in units of the objective, rounded down: see `limit_sum`."""
        frozen = self.problem.frozen
        if frozen is None:
            return []
        grid = self.load_grid
        most = LIMIT
        if math.isfinite(self.upper):
            most = grid.price_units(self.upper) + 1  # dearer than that is out of the question
        found = [
            (min(most, grid.price_units(price)), self.x[g][d], 1)
            for g, row in enumerate(frozen.prices(self.arrays).tolist())
            for d, price in enumerate(row)
            if self.x[g][d] is not None
        ]
        return [term for term in found if term[0]]

    def _moving(self) -> Any:
        """What all that moves costs, beside the makespan."""
        terms = self.prices()
        if not terms:
            return 0
        top = sum(price for price, *_ in terms)
        if math.isfinite(self.upper):
            top = min(top, self.grid.horizon)
        total = self.model.new_int_var(0, top, "moving")
        self.limit_sum(terms, total, top)
        return total

    def _bound_by_load(self) -> None:
        """Redundant: no device can be busy for longer than from the first release to the end."""
        first = min(self.grid.floor(float(release)) for release in self.arrays.release)
        for d, terms in enumerate(self.op_loads(self.grid)):
            self.limit_load(terms, d, self.makespan - first, self.grid.horizon)
