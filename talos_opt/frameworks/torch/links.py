"""How fast tensors move between devices that are there: measured by moving them."""

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
from talos_opt.frameworks.torch.handover import handover_time
from talos_opt.frameworks.torch.peers import process_link
from talos_opt.frameworks.torch.timing import synchronise

_REPEATS = 11


def measure_links(
    devices: Mapping[str, torch.device], *, processes: bool = False
) -> tuple[LinkProfile, ...]:
    """Return a link for each pair of devices.

    Latency is what handing a tensor over takes in a run, or what a copy takes if that is longer.
    Two ids of one torch device share its memory: bytes then take no time, and only a thread has
    to learn from another that the tensor is there.

    Parameters
    ----------
    devices : mapping of str to torch.device
        By id.
    processes : bool
        Whether CPU devices are processes, as in `pipeline_run`: tensors then go through a socket.
    """
    known: dict[frozenset[torch.device], tuple[float, float]] = {}
    found: list[LinkProfile] = []
    for (a, first), (b, second) in combinations(devices.items(), 2):
        pair = frozenset((first, second))
        if pair not in known and processes and {first.type, second.type} == {"cpu"}:
            known[pair] = process_link()
        elif pair not in known:
            latency, bandwidth = 0.0, math.inf
            if first != second:
                latency, bandwidth = slower_way(first, second, _copy_time)
            known[pair] = max(latency, handover_time(first, second)), bandwidth
        found.append(LinkProfile(a, b, *known[pair]))
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
