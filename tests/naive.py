"""Slow, obvious references, written from docs/model.md alone.

They share nothing with the package but the domain objects (Graph, Cluster, Schedule): no array
view, no occupancy, no simulator.
"""

from __future__ import annotations

from talos_opt.testing.reference.brute import best_schedule, brute_force
from talos_opt.testing.reference.checker import naive_check, naive_metrics

__all__ = ["best_schedule", "brute_force", "naive_check", "naive_metrics"]
