"""Where a real schedule lies on the grid."""

from __future__ import annotations

from typing import NamedTuple

from talos_opt.core.schedule import Schedule
from talos_opt.solvers.cpsat.sequencing import SequencingFormulation

#: Share of the latest end within which one time counts as no later than another.
_TOGETHER = 1e-12

Span = tuple[int, int]


class Image(NamedTuple):
    """Start and end, in ticks, of every op and of every transfer in the schedule's order."""

    ops: list[Span]
    hops: list[Span]


def image_of(formulation: SequencingFormulation, schedule: Schedule) -> Image:
    """Return a schedule's image: every start rounded down, every duration as the grid has it."""
    arrays, grid = formulation.arrays, formulation.grid
    rows = list(schedule.transfers.rows())
    ticks = [grid.ticks(float(arrays.time[i, d])) for i, d in enumerate(schedule.device.tolist())]
    moves = [formulation.hop_ticks((row.source, row.target), row.bytes) for row in rows]
    starts = schedule.start.tolist()
    begun = [row.start for row in rows]
    if grid.order:
        ends = [*schedule.end.tolist(), *(row.end for row in rows)]
        spans = _in_order([*starts, *begun], ends, [*ticks, *moves])
        return Image(spans[: len(ticks)], spans[len(ticks) :])
    floors = [grid.floor(start) for start in starts]
    hops = [grid.floor(start) for start in begun]
    return Image(
        [(first, first + length) for first, length in zip(floors, ticks, strict=True)],
        [(first, first + length) for first, length in zip(hops, moves, strict=True)],
    )


def _in_order(starts: list[float], ends: list[float], ticks: list[int]) -> list[Span]:
    """Start each activity when all have ended that had ended when it started."""
    slack = _TOGETHER * max(ends, default=0.0)
    by_start = sorted(range(len(starts)), key=lambda k: (starts[k], ends[k]))
    by_end = sorted(range(len(starts)), key=lambda k: (ends[k], starts[k]))
    spans: dict[int, Span] = {}
    now = over = 0
    for k in by_start:
        while over < len(by_end) and ends[by_end[over]] <= starts[k] + slack:
            if by_end[over] not in spans:
                break
            now = max(now, spans[by_end[over]][1])
            over += 1
        spans[k] = (now, now + ticks[k])
    return [spans[k] for k in range(len(starts))]
