"""Devices of a kind as one lane: how many of their slots are busy, and with what."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from talos_opt.core.problem import Floats
from talos_opt.reports import style
from talos_opt.reports.folding import Folded, Group
from talos_opt.reports.gantt.bars import Bars, hold_bars, op_bars, transfer_bars
from talos_opt.reports.gantt.categories import Categories

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@dataclass(frozen=True)
class Cover:
    """What is drawn of a group of lanes: q parts of equal length, and k categories.

    Parameters
    ----------
    lane : int
        Of the folded view.
    edges : (q + 1,) float
        Times at which the parts begin, and the last one ends.
    share : (k, q) float
        Share of the slots, or of the links, that each category fills.
    last : float
        When the last op or transfer ends; 0: nothing happens.
    """

    lane: int
    edges: Floats
    share: Floats
    last: float

    @property
    def busy(self) -> float:
        """Share of slots and time that is busy."""
        return float(self.share.sum(axis=0).mean())


def covers(folded: Folded, categories: Categories, edges: Floats) -> tuple[Cover, ...]:
    """Return what is drawn of each group of a folded view, between the first and last edge."""
    source = folded.source
    slots = (op_bars(source, categories.of), hold_bars(source, categories.of))
    links = (transfer_bars(source, categories.of),)
    count = len(categories.names)
    return tuple(
        _cover(group, links if folded.view.lanes[group.lane].link else slots, edges, count)
        for group in folded.groups
    )


def _cover(group: Group, parts: tuple[Bars, ...], edges: Floats, count: int) -> Cover:
    share = np.zeros((count, len(edges) - 1))
    last = 0.0
    for bars in parts:
        there = np.isin(bars.lane, group.lanes)
        last = max(last, float(bars.end[there].max(initial=0.0)))
        for category in np.unique(bars.category[there]).tolist():
            here = there & (bars.category == category)
            weight = bars.lanes[here].astype(np.float64)
            share[category] += _busy(bars.start[here], bars.end[here], weight, edges)
    return Cover(group.lane, edges, share / group.whole, min(last, float(edges[-1])))


def _busy(start: Floats, end: Floats, weight: Floats, edges: Floats) -> Floats:
    """Mean number of slots that are busy between neighbouring edges."""
    times = np.concatenate([start, end])
    order = np.argsort(times, kind="stable")
    times = times[order]
    level = np.cumsum(np.concatenate([weight, -weight])[order])
    # Slot time that is spent until each time grows in straight lines between them.
    spent = np.concatenate([[0.0], np.cumsum(level[:-1] * np.diff(times))])
    return np.asarray(np.diff(np.interp(edges, times, spent)) / np.diff(edges))


def draw_cover(axes: Axes, cover: Cover, categories: Categories, top: float, bottom: float) -> None:
    """Draw a group between two heights, its categories on top of each other."""
    level = np.full(len(cover.edges), bottom)
    for category, share in enumerate(cover.share):
        if not share.any():
            continue
        upper = level - (bottom - top) * np.append(share, share[-1])
        drawn = axes.fill_between(
            cover.edges,
            level,
            upper,
            step="post",
            facecolor=categories.colours[category],
            hatch=categories.hatches[category],
            edgecolor=style.LIGHT.paper if categories.hatches[category] else "none",
            linewidth=0,
            zorder=2.0,
        )
        drawn.set_gid("cover")
        level = upper
