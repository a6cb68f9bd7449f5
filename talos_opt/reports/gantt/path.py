"""The critical path over the bars of a picture."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from talos_opt.reports.gantt.bands import Stack
from talos_opt.reports.gantt.bars import Bars, add_lines, add_polygons
from talos_opt.reports.gantt.blocks import spans
from talos_opt.reports.style import LIGHT
from talos_opt.reports.view import View

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: Dots of a part of the path that is framed; a shorter one is underlined.
FRAMED = 6.0

#: Ops on a path whose steps are connected by lines, at most.
CONNECTED = 300


def draw_path(
    axes: Axes,
    view: View,
    ops: Bars,
    transfers: Bars,
    stack: Stack,
    dot: float,
    colour: str = LIGHT.critical,
) -> None:
    """Frame what is on the critical path; underline what is too narrow for a frame.

    Parameters
    ----------
    axes : Axes
    view : View
    ops, transfers : Bars
    stack : Stack
    dot : float
        Time that one dot of the picture stands for.
    colour : str
    """
    frames: list[Any] = []
    lines: list[Any] = []
    for bars, items in ((ops, view.critical_ops), (transfers, view.critical_transfers)):
        on_path = np.isin(bars.item, items)
        rows = np.stack([bars.lane, bars.lanes], axis=1)[on_path]
        for lane, lanes in np.unique(rows, axis=0).tolist():
            here = on_path & (bars.lane == lane) & (bars.lanes == lanes)
            top, low = float(stack.top[lane]), float(stack.bottom[lane + lanes - 1])
            # Steps in a row on one lane are framed as one.
            joined = spans(bars.start[here], bars.end[here], dot)
            for start, end in zip(*joined, strict=True):
                wide = end - start >= FRAMED * dot
                high = top if wide else low - 0.16 * (low - top)
                corners = [(start, high), (end, high), (end, low), (start, low)]
                (frames if wide else lines).append(corners)
    add_polygons(axes, frames, "none", edge=colour, width=1.3, layer=3.0, name="critical")
    add_polygons(axes, lines, colour, edge=colour, width=0.4, layer=3.0, name="critical")
    if len(view.critical_ops) <= CONNECTED:
        connections = _connections(view, stack)
        add_lines(axes, connections, colour, width=0.9, layer=1.9, name="connections")


def _connections(view: View, stack: Stack) -> list[list[tuple[float, float]]]:
    """Lines from each step of the path to the next one where that is on another lane."""
    middles = (stack.top + stack.bottom) / 2
    steps = [
        (float(view.op_start[i]), float(view.op_end[i]), float(middles[view.op_lane[i]]))
        for i in view.critical_ops.tolist()
    ] + [
        (
            float(view.transfer_start[k]),
            float(view.transfer_end[k]),
            float(middles[view.transfer_lane[k]]),
        )
        for k in view.critical_transfers.tolist()
    ]
    steps.sort()
    return [
        [(end, y), (start, other)]
        for (_, end, y), (start, _, other) in pairwise(steps)
        if y != other
    ]
