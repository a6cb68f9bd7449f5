"""Bars of ops and transfers, and how shapes get onto a picture."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from talos_opt.core.problem import Bools, Floats, Ints
from talos_opt.reports.gantt.bands import Stack
from talos_opt.reports.view import View

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@dataclass(frozen=True)
class Bars:
    """Bars of ops or of transfers.

    Parameters
    ----------
    item : (n,) int
        Number of the op, or row of the transfer.
    lane, lanes : (n,) int
        First lane, and how many neighbouring ones.
    start, end : (n,) float
    category : (n,) int
        What each is coloured as; of a transfer, what the op is whose output moves.
    """

    item: Ints
    lane: Ints
    lanes: Ints
    start: Floats
    end: Floats
    category: Ints

    @property
    def length(self) -> Floats:
        """Duration of each (n,)."""
        return np.asarray(self.end - self.start)

    def within(self, start: float, end: float) -> Bars:
        """Return the bars of a stretch of time, cut off where they reach beyond it."""
        # What takes no time is there if it is at the stretch's ends.
        there = (self.end >= start) & (self.start <= end)
        there &= (self.end > start) | (self.start == self.end)
        there &= (self.start < end) | (self.start == self.end)
        found = self._chosen(there)
        cut = {name: np.clip(getattr(found, name), start, end) for name in ("start", "end")}
        return replace(found, **cut)

    def on_lanes(self) -> Bars:
        """Return the bars that have a lane."""
        return self._chosen(self.lane >= 0)

    def apart_from(self, lanes: Ints) -> Bars:
        """Return the bars that are not on some lanes."""
        return self._chosen(~np.isin(self.lane, lanes))

    def _chosen(self, rows: Bools) -> Bars:
        return Bars(**{name: column[rows] for name, column in vars(self).items()})


def op_bars(view: View, category: Ints) -> Bars:
    """Return the bars of ops: one each, more for those on lanes that are no neighbours.

    Parameters
    ----------
    view : View
    category : (n,) int
        Of the ops.
    """
    item = np.concatenate([np.arange(len(view.op_names)), view.more_op])
    return Bars(
        item,
        np.concatenate([view.op_lane, view.more_lane]),
        np.concatenate([view.op_lanes, view.more_lanes]),
        view.op_start[item],
        view.op_end[item],
        category[item],
    )


def transfer_bars(view: View, category: Ints) -> Bars:
    """Return the bars of transfers; `category` is that of the ops."""
    return _bars_of_transfers(view, np.arange(len(view.transfer_op)), view.transfer_lane, category)


def hold_bars(view: View, category: Ints) -> Bars:
    """Return the bars of transfers on the slots that they hold."""
    return _bars_of_transfers(view, view.hold_transfer, view.hold_lane, category)


def _bars_of_transfers(view: View, item: Ints, lane: Ints, category: Ints) -> Bars:
    return Bars(
        item,
        lane,
        np.ones(len(item), dtype=np.int64),
        view.transfer_start[item],
        view.transfer_end[item],
        category[view.transfer_op[item]],
    )


def shapes(bars: Bars, stack: Stack, chosen: Bools | slice = slice(None)) -> Floats:
    """Corners of bars, clockwise from the top left (q, 4, 2)."""
    first = bars.lane[chosen]
    top, bottom = stack.top[first], stack.bottom[first + bars.lanes[chosen] - 1]
    start, end = bars.start[chosen], bars.end[chosen]
    x = np.stack([start, end, end, start], axis=1)
    y = np.stack([top, top, bottom, bottom], axis=1)
    return np.stack([x, y], axis=2)


def add_polygons(
    axes: Axes,
    corners: Any,
    face: Any,
    *,
    edge: Any = "none",
    width: float = 0.0,
    hatch: str | None = None,
    layer: float = 2.0,
    name: str = "",
) -> None:
    """Put polygons onto a picture, all in one collection; no limits change.

    Parameters
    ----------
    axes : Axes
    corners : (q, 4, 2) array or list
    face, edge : colour or array of them
    width : float
        Of the edge, in points.
    hatch : str, optional
    layer : float
        Higher ones cover lower ones.
    name : str
        By which the collection can be found.
    """
    from matplotlib.collections import PolyCollection

    if not len(corners):
        return
    made = PolyCollection(
        corners, facecolors=face, edgecolors=edge, linewidths=width, hatch=hatch, zorder=layer
    )
    made.set_gid(name)
    axes.add_collection(made, autolim=False)


def add_lines(
    axes: Axes, lines: Any, colour: str, *, width: float, layer: float, name: str
) -> None:
    """Put lines onto a picture, all in one collection; no limits change."""
    from matplotlib.collections import LineCollection

    if not len(lines):
        return
    made = LineCollection(list(lines), colors=colour, linewidths=width, zorder=layer)
    made.set_gid(name)
    axes.add_collection(made, autolim=False)
