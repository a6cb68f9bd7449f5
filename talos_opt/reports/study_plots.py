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

#: An axis is logarithmic where its largest value is so many times the smallest.
_WIDE = 8

#: Width of a letter of a name, in pixels, generously.
_LETTER = 8

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
    lowest = min(point.value if point.bound is None else point.bound for point in item.points)
    highest = max(point.value for point in item.points)
    _span(axes, "y", lowest, highest, 0.08, 0.13)
    first, last = (pick(point.price for point in item.points) for pick in (min, max))
    _span(axes, "x", first, last, 0.06, 0.06)
    step = -(-len(item.front) // _NAMED)
    for k, point in enumerate(item.front):
        if k % step == 0 and point.label:
            _name(axes, point, item.points, style.INK)
    if len(item.points) <= _NAMED:
        for point in behind:
            _name(axes, point, item.points, style.MUTED)
    axes.set_xlabel("price")
    axes.set_ylabel(item.ylabel)
    axes.set_title(style.shortened(item.title, 50))
    style.tidy(axes, grid="both")


def _span(axes: Axes, which: str, low: float, high: float, below: float, above: float) -> None:
    """Set the limits of an axis, which is logarithmic where values differ by much.

    Parameters
    ----------
    axes : Axes
    which : str
        x or y.
    low, high : float
        What has to be seen.
    below, above : float
        Room to leave, as shares of what lies between.
    """
    from matplotlib.ticker import LogLocator, NullFormatter

    axis = axes.xaxis if which == "x" else axes.yaxis
    limits: Any = axes.set_xlim if which == "x" else axes.set_ylim
    if low > 0 and high > _WIDE * low:
        (axes.set_xscale if which == "x" else axes.set_yscale)("log")
        ratio = high / low
        limits(low / ratio**below, high * ratio**above)
        axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        axis.set_minor_formatter(NullFormatter())
    else:
        width = high - low or abs(high) or 1.0
        limits(max(0.0, low - below * width) if low >= 0 else low - below * width,
               high + above * width)  # fmt: skip
    axis.set_major_formatter(lambda value, _: significant(value, 4))


def _name(axes: Axes, point: Point, others: Sequence[Point], colour: str) -> None:
    """Write what a point is, above it: to the right, unless an edge or another point is there."""
    place = axes.transData.transform([(item.price, item.value) for item in (point, *others)])
    label = style.shortened(point.label, 34)
    edge = axes.transAxes.inverted().transform(place[0])[0] > 0.8
    across, up = (place[1:] - place[0]).T
    near = (across > 0) & (across < _LETTER * len(label)) & (abs(up) < style.TICK)
    left = edge or bool(near.any())
    from matplotlib.patheffects import withStroke

    axes.annotate(
        label, (point.price, point.value), xytext=(-4 if left else 5, 6 if left else 5),
        ha="right" if left else "left", textcoords="offset points", fontsize=style.TICK - 1,
        color=colour, path_effects=[withStroke(linewidth=2.5, foreground="white")],
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
