"""How fast tensors move between devices that are there: measured by copying."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Mapping
from itertools import combinations

import torch

from talos_opt.frameworks.common.links import slower_way
from talos_opt.frameworks.common.profile import LinkProfile
from talos_opt.frameworks.torch.copying import staged
from talos_opt.frameworks.torch.timing import synchronise

_REPEATS = 11


def measure_links(devices: Mapping[str, torch.device]) -> tuple[LinkProfile, ...]:
    """Return a link for each pair of devices.

    Parameters
    ----------
    devices : mapping of str to torch.device
        By id. Two ids of one torch device share its memory: nothing moves, in no time.
    """
    found: list[LinkProfile] = []
    for (a, first), (b, second) in combinations(devices.items(), 2):
        if first == second:
            found.append(LinkProfile(a, b, 0.0, math.inf))
            continue
        found.append(LinkProfile(a, b, *slower_way(first, second, _copy_time)))
    return tuple(found)


def _copy_time(source: torch.device, target: torch.device, size: int) -> float:
    tensor = torch.zeros(size, dtype=torch.uint8, device=source)
    times: list[float] = []
    for _ in range(_REPEATS + 1):
        synchronise(source)
        synchronise(target)
        start = time.perf_counter_ns()
        staged(tensor, target)
        synchronise(source)
        synchronise(target)
        times.append((time.perf_counter_ns() - start) / 1e9)
    return statistics.median(times[1:])  # the first one warms up
