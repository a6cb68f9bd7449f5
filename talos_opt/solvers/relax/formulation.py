"""The placement relaxation: who sits where and when, without anyone waiting for a device.

Kept of the full formulation: one device per colocation group, pins, missing routes, resident
memory, precedence with the delay of each transfer. Given up: order on devices, links and copy
engines, and how memory rises and falls. In their place every device has *load knapsacks*: ops
that cannot start before h, and that are followed by at least q until the end, take at most
slots * (end - h - q) of its time together.
"""

from __future__ import annotations

from typing import Any

from talos_opt.core.problem import UNLIMITED
from talos_opt.solvers.cpsat.bounded import BoundedFormulation


class RelaxedFormulation(BoundedFormulation):
    """`BoundedFormulation` without sequencing."""

    relaxed = True

    def build(self) -> None:
        """Add every variable and constraint."""
        self.assign_groups()
        self.break_symmetry()
        self.keep_stages()
        self.forbid_missing_routes()
        self.limit_resident_memory()
        self.time_ops()
        self.time_arrivals()
        self.minimise_completion()
        self.add_known_bounds()

    @property
    def hops_are_activities(self) -> bool:
        """Transfers do not compete: each arrives its delay after it was produced."""
        return False

    def limit_resident_memory(self) -> None:
        """What stays from beginning to end fits (all of it under static, weights under peak)."""
        arrays = self.arrays
        if not self.memory_is_live:
            self.limit_static_memory()
            return
        held = arrays.group_weights
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
