"""How fast tensors move between two devices: latency and bandwidth from two sizes."""

from __future__ import annotations

from collections.abc import Callable

#: Bytes of the copies that bandwidth and latency are found with.
LARGE, SMALL = 64 * 1024 * 1024, 4


def link_rates(copy_time: Callable[[int], float]) -> tuple[float, float]:
    """Return latency in seconds and bandwidth in bytes per second.

    Parameters
    ----------
    copy_time : callable
        Seconds that a copy of so many bytes takes.
    """
    latency = copy_time(SMALL)
    large = copy_time(LARGE)
    return latency, LARGE / max(large - latency, 1e-9)
