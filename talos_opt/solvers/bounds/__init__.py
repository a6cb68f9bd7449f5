"""What is proven without a search; the arguments are in docs/bounds.md.

root         what every run starts with, in milliseconds
routes       shortest transfer times between classes of devices
path_memory  the path-memory bound: runs of a path that fit a device
diagram      the cut diagram: path memory and load together, joined by labels
"""

from talos_opt.solvers.bounds.root import (
    group_work,
    load_shares,
    path_bound,
    quick_bound,
    root_bound,
)

__all__ = ["group_work", "load_shares", "path_bound", "quick_bound", "root_bound"]
