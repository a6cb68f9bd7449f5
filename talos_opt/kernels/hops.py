"""A hop, one tensor over one link: its time and its bytes (docs/model.md, "Feasible schedule").

Inlined where they are called, as nothing there may be called with a named tuple of arrays.
"""

from __future__ import annotations

from numba import njit

from talos_opt.kernels.instance import VIA


@njit(inline="always")
def hop_time(link, source, target, size):  # type: ignore[no-untyped-def]
    """Return the time of a hop of `size` bytes: latency, and bytes times time per byte.

    `link` is (2, m, m): latencies, and times per byte.
    """
    return link[0, source, target] + size * link[1, source, target]


@njit(inline="always")
def route_time(link, route, source, target, size):  # type: ignore[no-untyped-def]
    """Return the time of all hops between two devices that have a route; nothing waits."""
    stage = route[VIA, source, target]
    if stage < 0:
        return hop_time(link, source, target, size)
    return hop_time(link, source, stage, size) + hop_time(link, stage, target, size)


@njit(inline="always")
def hop_bytes(tensor, home, target, device, route, read_ptr, out_op, out_bytes):  # type: ignore[no-untyped-def]
    """Return the bytes of a tensor's hop to `target`: the most that a reader it serves names.

    It serves readers on `target`, and those that a route over `target` leads to.
    """
    size = 0
    for k in range(read_ptr[tensor], read_ptr[tensor + 1]):
        there = device[out_op[k]]
        if there != home and (there == target or route[VIA, home, there] == target):
            size = max(size, out_bytes[k])
    return size
