"""A step function over time of how much of one resource is in use, with a search for room."""

from __future__ import annotations

import math
from bisect import bisect_right


class Timeline:
    """Use of one resource (slots, a link, bytes) over [0, inf).

    Parameters
    ----------
    capacity : int
        Most that may be in use at once.
    """

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self._times = [0.0]  # _used[k] holds on [_times[k], _times[k + 1])
        self._used = [0]

    @property
    def overfull(self) -> bool:
        """Whether more is in use at some time than there is."""
        return max(self._used) > self.capacity

    def add(self, start: float, end: float, amount: int) -> None:
        """Use `amount` on [start, end); a negative amount takes an earlier use back."""
        if amount == 0 or end <= start:
            return
        first = self._cut(start)
        last = len(self._times) if end == math.inf else self._cut(end)
        for k in range(first, last):
            self._used[k] += amount
        if last < len(self._times):
            self._join(last)
        self._join(first)

    def earliest(self, ready: float, duration: float, amount: int) -> float:
        """Return the first time from `ready` on at which `amount` fits for `duration`.

        Infinite if there is none. What takes no time, or nothing, fits anywhere.
        """
        if duration <= 0 or amount == 0:
            return ready
        room = self.capacity - amount
        times, used = self._times, self._used
        k = bisect_right(times, ready) - 1
        start = ready
        while k < len(times):
            if used[k] > room:
                k += 1
                start = times[k] if k < len(times) else math.inf
                continue
            k += 1
            if k == len(times) or times[k] >= start + duration:
                return start
        return math.inf

    def _join(self, k: int) -> None:
        """Drop a breakpoint at which nothing changes: a search passes what is busy in one step."""
        if k > 0 and self._used[k] == self._used[k - 1]:
            del self._times[k], self._used[k]

    def _cut(self, time: float) -> int:
        """Return the position of the breakpoint at `time`, made if it is not there."""
        k = bisect_right(self._times, time) - 1
        if self._times[k] == time:
            return k
        self._times.insert(k + 1, time)
        self._used.insert(k + 1, self._used[k])
        return k + 1
