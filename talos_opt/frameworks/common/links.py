"""How fast tensors move between two devices: latency and bandwidth from two sizes."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TypeVar

Device = TypeVar("Device")

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


def slower_way(
    first: Device, second: Device, copy_time: Callable[[Device, Device, int], float]
) -> tuple[float, float]:
    """Return one latency and bandwidth for both directions: the slower one's.

    Parameters
    ----------
    first, second
        Two devices, as the framework has them.
    copy_time : callable
        Seconds that a copy from one to the other of so many bytes takes.
    """
    ways = [link_rates(partial(copy_time, a, b)) for a, b in ((first, second), (second, first))]
    return max(latency for latency, _ in ways), min(bandwidth for _, bandwidth in ways)
