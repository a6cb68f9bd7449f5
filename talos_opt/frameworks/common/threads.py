"""The number of intra-op threads with which a model's ops take the least time."""

from __future__ import annotations

import math
from collections.abc import Callable

from talos_opt.core.errors import InputError
from talos_opt.core.machine import available_cores
from talos_opt.frameworks.common.measuring import Budget

#: A count is better only if it saves this share of the time; less is noise.
WORTHWHILE = 0.03
#: More than any machine has cores; OpenMP ends the process where it cannot start them.
MOST = 4096
#: Share of a device's time that the search for a thread count may take.
SEARCH_SHARE = 0.25


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


def require_threads(threads: int | str | None) -> None:
    """Refuse what is no number of threads.

    Raises
    ------
    InputError
        If it is neither a whole number from 1 to `MOST`, nor 'auto', nor None.
    """
    if isinstance(threads, str) and threads != "auto":
        raise InputError(f"threads is {threads!r}, expected a whole number or auto")
    if isinstance(threads, int) and threads < 1:
        raise InputError(f"threads is {threads}, expected at least 1")
    if isinstance(threads, int) and threads > MOST:
        raise InputError(f"threads is {threads}, expected at most {MOST}")


def fastest(cost: Callable[[int], float], budget: Budget, start: int) -> int:
    """Return the count that `climb` ends at, within a share of the time for a device.

    Parameters
    ----------
    cost : callable
        Thread count -> seconds for all ops.
    budget : Budget
    start : int
    """

    def while_there_is_time(count: int) -> float:
        return math.inf if budget.used > SEARCH_SHARE * budget.seconds else cost(count)

    return climb(while_there_is_time, start, available_cores())
