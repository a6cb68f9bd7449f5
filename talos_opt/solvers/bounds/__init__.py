"""Lower bounds; the arguments are in docs/bounds.md.

paths        passes along the edges: critical paths, heads and tails, heavy paths
routes       least transfer times between classes of devices
path_memory  the path-memory bound: runs of a path that fit a device
root         what every run starts with, in milliseconds
"""

from talos_opt.solvers.bounds.paths import (
    best_times,
    critical_paths,
    earliest_ends,
    times_within_groups,
)
from talos_opt.solvers.bounds.root import (
    group_work,
    load_shares,
    path_bound,
    quick_bound,
    root_bound,
)

__all__ = [
    "best_times",
    "critical_paths",
    "earliest_ends",
    "group_work",
    "load_shares",
    "path_bound",
    "quick_bound",
    "root_bound",
    "times_within_groups",
]
