"""The steps of a trace, and how long its device waited in them.

A device that is idle while the host is still inside an op, or launching, waits for the host: the
step is bound by launches, and faster kernels would not shorten it.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from talos_opt.formats.trace_events import Slice

if TYPE_CHECKING:
    from talos_opt.formats.trace_reader import TraceOp

Interval = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Idle:
    """How a device spent a span of time.

    Parameters
    ----------
    span_us : float
        Its length, microseconds.
    idle_us : float
        Of it, the time in which no kernel ran.
    launching_us : float
        Of that, the time in which the host was inside an op or launched, and did not wait.
    """

    span_us: float
    idle_us: float
    launching_us: float

    @property
    def idle_share(self) -> float:
        """Share of the span in which no kernel ran."""
        return self.idle_us / self.span_us if self.span_us > 0 else 0.0

    @property
    def launch_bound_share(self) -> float:
        """Share of the span in which no kernel ran while the host was launching."""
        return self.launching_us / self.span_us if self.span_us > 0 else 0.0


@dataclass(frozen=True, slots=True)
class TraceStep:
    """One step of a trace.

    Parameters
    ----------
    name : str
        ``ProfilerStep#3``.
    start_us, duration_us : float
        As the host marked it.
    ops : tuple of TraceOp
        That began in it, by start.
    idle : Idle, optional
        Of the device, from the step's start to its end or to that of its last kernel, but not
        into the next step. None without kernels.
    """

    name: str
    start_us: float
    duration_us: float
    ops: tuple[TraceOp, ...]
    idle: Idle | None = None


def split(marks: Sequence[Slice], ops: Sequence[TraceOp]) -> list[tuple[Slice, list[TraceOp]]]:
    """Return each mark with the ops that began in it; marks without any are left out.

    Parameters
    ----------
    marks : sequence of Slice
        By start; none overlaps another.
    ops : sequence of TraceOp
        By start.
    """
    starts = [mark.start for mark in marks]
    found: list[list[TraceOp]] = [[] for _ in marks]
    for op in ops:
        k = bisect_right(starts, op.start_us) - 1
        if k >= 0 and op.start_us <= marks[k].end:
            found[k].append(op)
    return [(mark, list_) for mark, list_ in zip(marks, found, strict=True) if list_]


class Waiting:
    """Measures how long a device waited within spans of a trace.

    Parameters
    ----------
    kernels : iterable of Slice
        All of them: whoever launched one, the device was busy.
    ops, launches : iterable of Slice
        What the host did.
    """

    def __init__(
        self, kernels: Iterable[Slice], ops: Iterable[Slice], launches: Iterable[Slice]
    ) -> None:
        calls = list(launches)
        waits = [item for item in calls if "synchronize" in item.name.lower()]
        work = [item for item in calls if "synchronize" not in item.name.lower()]
        self.busy = _union((item.start, item.end) for item in kernels)
        away = _union([*self.busy, *((item.start, item.end) for item in waits)])
        host = [(item.start, item.end) for item in (*ops, *work)]
        self.away = away
        self.any = _union([*away, *host])

    def within(self, start: float, end: float) -> Idle:
        """Return how the device spent a span, in microseconds."""
        span = max(0.0, end - start)
        idle = span - _length(self.busy, start, end)
        launching = _length(self.any, start, end) - _length(self.away, start, end)
        return Idle(span, max(0.0, idle), min(max(0.0, launching), max(0.0, idle)))

    def last_end(self, start: float, end: float) -> float:
        """Return the end of the last kernels that began in a span; `start` without any."""
        k = bisect_right(self.busy, (end, -math.inf)) - 1
        return self.busy[k][1] if k >= 0 and self.busy[k][1] > start else start


def _union(intervals: Iterable[Interval]) -> list[Interval]:
    """Return intervals that do not overlap, by start, and cover the same."""
    found: list[Interval] = []
    for start, end in sorted(intervals):
        if found and start <= found[-1][1]:
            found[-1] = (found[-1][0], max(end, found[-1][1]))
        else:
            found.append((start, end))
    return found


def _length(intervals: Sequence[Interval], start: float, end: float) -> float:
    """Length of what lies within a span, of intervals that do not overlap."""
    k = max(0, bisect_right(intervals, (start, math.inf)) - 1)
    total = 0.0
    while k < len(intervals) and intervals[k][0] < end:
        total += max(0.0, min(intervals[k][1], end) - max(intervals[k][0], start))
        k += 1
    return total
