"""The number of intra-op threads with which a model's ops take the least time."""

from __future__ import annotations

import os
from collections.abc import Callable

#: A count is better only if it saves this share of the time; less is noise.
WORTHWHILE = 0.03


def core_count() -> int:
    """Return how many cores the process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not on macOS and Windows
        return os.cpu_count() or 1


def climb(cost: Callable[[int], float], start: int, limit: int) -> int:
    """Return the count that hill climbing ends at.

    From a count it goes to half or twice as many, or to one less or more, while that costs less
    by `WORTHWHILE`. Fewer threads are tried first.

    Parameters
    ----------
    cost : callable
        Thread count -> seconds for all ops; called once for each count.
    start, limit : int
        Counts are 1 ... `limit`.

    References
    ----------
    Talos, section III-A: stable speedups need the thread count that ops run fastest with.
    """
    known: dict[int, float] = {}

    def of(count: int) -> float:
        if count not in known:
            known[count] = cost(count)
        return known[count]

    here = max(1, min(start, limit))
    while True:
        around = dict.fromkeys((here // 2, here - 1, here + 1, here * 2))
        options = [count for count in around if 1 <= count <= limit]
        best = min(options, key=of, default=here)
        if best == here or of(best) >= of(here) * (1 - WORTHWHILE):
            return here
        here = best
