"""Intervals that overlap, side by side: which lane of a drawing each of them gets."""

from __future__ import annotations

import heapq
from bisect import insort
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from talos_opt.core.arrays import Floats, Ints


@dataclass(frozen=True)
class Lanes:
    """Lanes of n intervals; the first lane is 0.

    Parameters
    ----------
    count : int
        How many lanes there are.
    first : (n,) int
        First lane of each interval.
    width : (n,) int
        How many neighbouring lanes it holds from there on.
    start, end : (n,) float
        Its times, without what overlapped by less than the tolerance.
    more_of, more_first, more_width : (r,) int
        Further lanes of intervals for which no neighbouring ones were free: the interval, the
        first of the lanes, how many.
    """

    count: int
    first: Ints
    width: Ints
    start: Floats
    end: Floats
    more_of: Ints
    more_first: Ints
    more_width: Ints


def assign_lanes(
    start: Floats,
    end: Floats,
    width: Ints | None = None,
    *,
    lanes: int = 0,
    tolerance: float = 0.0,
    limit: int | None = None,
) -> Lanes:
    """Give each interval the first lanes that are free, in order of start.

    As many lanes come out as intervals overlap, by their widths: what never exceeds the slots of
    a device needs no more lanes than it has slots.

    Parameters
    ----------
    start, end : (n,) float
        In any order.
    width : (n,) int, optional
        Lanes that an interval holds, at least 1; left out, 1.
    lanes : int
        Lanes that there are at least.
    tolerance : float
        An interval may start this much before its lane is free, as rounding has it.
    limit : int, optional
        Lanes that there are at most, at least 1: an interval that finds none free shares the one
        that is free first. Only for intervals of width 1.
    """
    n = len(start)
    starts, ends = start.astype(np.float64), end.astype(np.float64)
    widths = np.ones(n, dtype=np.int64) if width is None else width.astype(np.int64)
    order = np.lexsort((ends, starts))
    if _in_a_row(starts[order], ends[order], widths, tolerance):
        first = np.zeros(n, dtype=np.int64)
        starts[order[1:]] = np.maximum(starts[order[1:]], np.maximum.accumulate(ends[order])[:-1])
        ends = np.maximum(starts, ends)
        none = np.zeros(0, dtype=np.int64)
        return Lanes(max(lanes, min(n, 1)), first, widths, starts, ends, none, none, none)
    sweep = _Sweep(tolerance, lanes, limit)
    first = np.zeros(n, dtype=np.int64)
    for i in order.tolist():
        wanted = int(widths[i])
        taken, starts[i], ends[i] = sweep.take(float(starts[i]), float(ends[i]), wanted)
        first[i], widths[i] = sweep.keep(i, taken)
    more = np.array(sweep.more, dtype=np.int64).reshape(-1, 3)
    return Lanes(sweep.count, first, widths, starts, ends, more[:, 0], more[:, 1], more[:, 2])


def _in_a_row(start: Floats, end: Floats, width: Ints, tolerance: float) -> bool:
    """Whether intervals, sorted by start, follow each other on a single lane."""
    alone = bool((start[1:] + tolerance >= np.maximum.accumulate(end)[:-1]).all())
    return alone and bool((width == 1).all())


@dataclass
class _Sweep:
    """Lanes as a sweep over the starts finds them: free ones, sorted, and when others will be."""

    tolerance: float
    count: int
    limit: int | None
    more: list[tuple[int, int, int]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.free = list(range(self.count))
        self.busy: list[tuple[float, int]] = []
        self.until = [-np.inf] * self.count

    def take(self, start: float, end: float, width: int) -> tuple[list[int], float, float]:
        """Occupy lanes; return them, sorted, and the times without noise of overlap."""
        while self.busy and self.busy[0][0] <= start + self.tolerance:
            insort(self.free, heapq.heappop(self.busy)[1])
        if self.limit is not None and not self.free and self.count >= self.limit:
            until, lane = heapq.heappop(self.busy)
            heapq.heappush(self.busy, (max(until, end), lane))
            return [lane], start, end
        while len(self.free) < width:
            self.free.append(self.count)
            self.until.append(-np.inf)
            self.count += 1
        at = _first_run(self.free, width)
        taken = self.free[at : at + width]
        del self.free[at : at + width]
        start = max(start, *(self.until[lane] for lane in taken))
        end = max(start, end)
        for lane in taken:
            self.until[lane] = end
            heapq.heappush(self.busy, (end, lane))
        return taken, start, end

    def keep(self, i: int, taken: Sequence[int]) -> tuple[int, int]:
        """Note the lanes of interval i; return the first neighbouring ones."""
        runs: list[list[int]] = []
        for lane in taken:
            if runs and runs[-1][0] + runs[-1][1] == lane:
                runs[-1][1] += 1
            else:
                runs.append([lane, 1])
        self.more += [(i, lane, width) for lane, width in runs[1:]]
        return runs[0][0], runs[0][1]


def _first_run(free: Sequence[int], width: int) -> int:
    """Position of the first neighbouring lanes among the free ones; 0 where there are none."""
    if width == 1:
        return 0
    for at in range(len(free) - width + 1):
        if free[at + width - 1] - free[at] == width - 1:
            return at
    return 0
