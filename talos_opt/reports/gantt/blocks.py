"""Many narrow bars as blocks: how busy a lane is around each moment, and mostly with what."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from talos_opt.core.problem import Floats, Ints


@dataclass(frozen=True)
class Blocks:
    """Blocks of equal length, of which q hold something; from time 0 on.

    Parameters
    ----------
    length : float
        Of a block, in the unit of the bars.
    lane, position : (q,) int
        Lane of a block, and which of that lane's it is.
    share : (q,) float
        Share of the block that bars fill, at most 1.
    group : (q,) int
        Group whose bars fill most of it.
    """

    length: float
    lane: Ints
    position: Ints
    share: Floats
    group: Ints


def gather_blocks(
    lane: Ints, start: Floats, end: Floats, group: Ints, length: float, count: int
) -> Blocks:
    """Gather bars into blocks.

    Parameters
    ----------
    lane, start, end, group : (n,) arrays
        Bars; their time goes by their ends, and each should be no longer than a few blocks.
    length : float
        Of a block, above 0.
    count : int
        Blocks of a lane; what lies beyond them goes into the last.
    """
    first = np.clip((start / length).astype(np.int64), 0, count - 1)
    last = np.clip((end / length).astype(np.int64), first, count - 1)
    # Every bar once for each block that it touches.
    touched = last - first + 1
    bar = np.repeat(np.arange(len(lane)), touched)
    position = first[bar] + np.arange(len(bar)) - np.repeat(np.cumsum(touched) - touched, touched)
    inside = np.minimum(end[bar], (position + 1) * length) - np.maximum(
        start[bar], position * length
    )
    share = np.maximum(inside, 0.0) / length
    cell = lane[bar] * count + position
    groups = int(group.max(initial=0)) + 1
    keys, spot = np.unique(cell * groups + group[bar], return_inverse=True)
    sums = np.bincount(spot, weights=share, minlength=len(keys))
    # In each cell the group with the largest sum comes last.
    by_sum = np.lexsort((sums, keys // groups))
    keys, sums = keys[by_sum], sums[by_sum]
    cells = keys // groups
    begins = np.flatnonzero(np.diff(cells, prepend=-1))
    ends = np.append(begins, len(cells))[1:] - 1
    total = np.add.reduceat(sums, begins) if len(begins) else sums
    lanes, positions = np.divmod(cells[begins], count)
    return Blocks(length, lanes, positions, np.minimum(total, 1.0), keys[ends] % groups)


def covered(start: Floats, end: Floats) -> float:
    """Time during which at least one of the intervals lasts."""
    if not len(start):
        return 0.0
    by_start = np.argsort(start, kind="stable")
    start, end = start[by_start], end[by_start]
    reached = np.maximum.accumulate(end)
    before = np.concatenate([[-np.inf], reached[:-1]])
    return float(np.maximum(0.0, reached - np.maximum(start, before)).sum())


def spans(start: Floats, end: Floats, gap: float) -> tuple[Floats, Floats]:
    """Join intervals that overlap or are at most `gap` apart; return starts and ends."""
    if not len(start):
        return start, end
    by_start = np.argsort(start, kind="stable")
    start, end = start[by_start], end[by_start]
    reached = np.maximum.accumulate(end)
    first = np.flatnonzero(np.concatenate([[True], start[1:] > reached[:-1] + gap]))
    return start[first], reached[np.append(first[1:], len(start)) - 1]


def envelope(times: Floats, values: Ints, horizon: float, count: int) -> tuple[Floats, Ints]:
    """Thin out a step function: the largest value in each of `count` equal parts of the time.

    Returned as it came where it has no more steps than that.
    """
    if len(times) <= 2 * count or horizon <= 0:
        return times, values
    edges = np.linspace(0.0, horizon, count + 1)[:-1]
    # What holds when a part begins counts in it too.
    holds = np.maximum(np.searchsorted(times, edges, side="right") - 1, 0)
    part = np.clip((times / horizon * count).astype(np.int64), 0, count - 1)
    largest = values[holds].copy()
    np.maximum.at(largest, part, values)
    return edges, largest
