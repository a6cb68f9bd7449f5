"""Pictures of a study: price against value, and maps of a value over two parameters."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from talos_opt.analysis.fronts import Point
from talos_opt.core.problem import Floats
from talos_opt.reports import style
from talos_opt.reports.digits import significant

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: Points of a front that are named in the picture, at most.
_NAMED = 12

#: A map with more cells has no numbers in them.
_NUMBERED = 100


@dataclass(frozen=True)
class Scatter:
    """Points with a price, and which of them are the front.

    Parameters
    ----------
    title, ylabel : str
    points, front : tuple of Point
    """

    title: str
    ylabel: str
    points: tuple[Point, ...]
    front: tuple[Point, ...]


@dataclass(frozen=True)
class HeatMap:
    """A value over two parameters.

    Parameters
    ----------
    title, xlabel, ylabel : str
    columns, rows : tuple of str
        Values of the parameters along x and y.
    values : (rows, columns) float
        NaN: no schedule.
    proven : (rows, columns) bool
        Whether the value is optimal.
    """

    title: str
    xlabel: str
    ylabel: str
    columns: tuple[str, ...]
    rows: tuple[str, ...]
    values: Floats
    proven: Any


def draw_study(scatters: Sequence[Scatter], maps: Sequence[HeatMap]) -> Figure:
    """Draw fronts and maps beside each other, two in a row."""
    count = len(scatters) + len(maps)
    across = min(2, count)
    down = -(-count // across)
    widest = max((len(item.columns) for item in maps), default=0)
    tallest = max((len(item.rows) for item in maps), default=0)
    drawing = style.figure(
        min(16.0, max(6.4, 2.6 + 0.7 * widest) * across),
        min(24.0, max(4.4, 1.8 + 0.42 * tallest) * down),
    )
    parts = np.atleast_1d(drawing.subplots(down, across, squeeze=False)).ravel()
    for axes, scatter in zip(parts, scatters, strict=False):
        _draw_scatter(axes, scatter)
    for axes, item in zip(parts[len(scatters) :], maps, strict=False):
        _draw_map(axes, item)
    for axes in parts[count:]:
        axes.set_axis_off()
    if any(not item.proven[np.isfinite(item.values)].all() for item in maps):
        text = "italic: not proven optimal"
        drawing.supxlabel(text, fontsize=style.TICK, color=style.MUTED, x=0.99, ha="right")
    if scatters:
        drawing.legend(
            *parts[0].get_legend_handles_labels(), loc="outside lower center", ncols=3,
            frameon=False, fontsize=style.TICK,
        )  # fmt: skip
    return drawing


def _draw_scatter(axes: Axes, item: Scatter) -> None:
    """All points in grey, the front as a line of steps, and below each point its bound."""
    ahead = {point.case for point in item.front}
    behind = [point for point in item.points if point.case not in ahead]
    axes.scatter(
        [point.price for point in behind], [point.value for point in behind],
        s=22, color=style.MUTED, alpha=0.55, linewidths=0, label="other cases",
    )  # fmt: skip
    tint = style.colour(0)
    prices = [point.price for point in item.front]
    values = [point.value for point in item.front]
    axes.step(prices, values, where="post", color=tint, linewidth=1.6)
    axes.scatter(prices, values, s=40, color=tint, zorder=4, label="front")
    for group, shade, alpha, label in (
        (behind, style.MUTED, 0.35, None),
        (item.front, style.colour(1), 1.0, "lower bound"),
    ):
        bounds = [(p.price, p.bound, p.value) for p in group if p.bound is not None]
        if bounds:
            at, low, high = zip(*bounds, strict=True)
            axes.vlines(at, low, high, color=shade, linewidth=1.1, alpha=alpha)
            axes.scatter(at, low, marker="_", s=70, color=shade, alpha=alpha, zorder=3, label=label)
    step = -(-len(item.front) // _NAMED)
    for k, point in enumerate(item.front):
        if k % step == 0 and point.label:
            _name(axes, point, right=point.price > prices[0] + 0.6 * (prices[-1] - prices[0]))
    lowest = min(point.value if point.bound is None else point.bound for point in item.points)
    highest = max(point.value for point in item.points)
    room = 0.08 * (highest - lowest or abs(highest) or 1.0)
    axes.set_ylim(max(0.0, lowest - room) if lowest >= 0 else lowest - room, highest + 1.6 * room)
    first, last = (pick(point.price for point in item.points) for pick in (min, max))
    width = last - first or abs(last) or 1.0
    axes.set_xlim(first - 0.06 * width, last + 0.06 * width)
    axes.yaxis.set_major_formatter(lambda value, _: significant(value, 4))
    axes.set_xlabel("price")
    axes.set_ylabel(item.ylabel)
    axes.set_title(style.shortened(item.title, 50))
    style.tidy(axes, grid="both")


def _name(axes: Axes, point: Point, *, right: bool) -> None:
    """Write what a point is: above and beside it, or below the line where there is more room."""
    axes.annotate(
        style.shortened(point.label, 34), (point.price, point.value),
        xytext=(-6, -11) if right else (5, 5), ha="right" if right else "left",
        textcoords="offset points", fontsize=style.TICK - 1, color=style.INK,
    )  # fmt: skip


def _draw_map(axes: Axes, item: HeatMap) -> None:
    """Cells from light to dark, with their numbers; italics: not proven optimal."""
    from matplotlib.colors import LinearSegmentedColormap

    shades = LinearSegmentedColormap.from_list("talos", ["#f4f8fb", "#7fb6d9", "#0b3c5d"])
    image = axes.imshow(
        np.ma.masked_invalid(item.values), cmap=shades.with_extremes(bad="#e4e4e4"), aspect="auto"
    )
    for spine in axes.spines.values():
        spine.set_visible(False)
    finite = item.values[np.isfinite(item.values)]
    low, high = (float(finite.min()), float(finite.max())) if len(finite) else (0.0, 1.0)
    if item.values.size <= _NUMBERED:
        for (i, j), value in np.ndenumerate(item.values):
            text = significant(float(value), 4) if np.isfinite(value) else "none"
            dark = np.isfinite(value) and value > low + 0.55 * (high - low) and high > low
            axes.text(
                j, i, text, ha="center", va="center", fontsize=style.TICK,
                color="white" if dark else style.INK,
                style="normal" if item.proven[i, j] else "italic",
            )  # fmt: skip
    else:
        axes.figure.colorbar(image, ax=axes, shrink=0.8)
    columns = [style.shortened(name, 20) for name in item.columns]
    turned = max(map(len, columns), default=0) * len(columns) > 60
    axes.set_xticks(range(len(columns)), columns, rotation=90 if turned else 0)
    axes.set_yticks(range(len(item.rows)), [style.shortened(name, 24) for name in item.rows])
    axes.tick_params(labelsize=style.TICK, length=0)
    axes.set_xlabel(style.shortened(item.xlabel, 60), fontsize=style.LABEL, color=style.INK)
    axes.set_ylabel(style.shortened(item.ylabel, 40), fontsize=style.LABEL, color=style.INK)
    axes.set_title(style.shortened(item.title, 60), fontsize=style.LABEL, color=style.INK)
