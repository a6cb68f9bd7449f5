"""The picture of a schedule.

Bars that are too narrow to tell apart are gathered into blocks, so that a picture of 100,000 ops
takes hardly longer to draw, and to read, than one of a thousand.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import numpy as np

from talos_opt.core.graph import SEPARATOR
from talos_opt.core.problem import Bools, Floats
from talos_opt.reports import style
from talos_opt.reports.facts import headline, percent, proof
from talos_opt.reports.gantt.bands import Band, Stack, stack
from talos_opt.reports.gantt.bars import (
    Bars,
    add_lines,
    add_polygons,
    hold_bars,
    op_bars,
    shapes,
    transfer_bars,
)
from talos_opt.reports.gantt.blocks import Blocks, covered, gather_blocks
from talos_opt.reports.gantt.legend import (
    HELD,
    IDLE,
    IDLE_LINES,
    PALEST,
    add_legend,
    model_colour,
)
from talos_opt.reports.gantt.memory import draw_memory, panels
from talos_opt.reports.gantt.path import draw_path
from talos_opt.reports.gantt.where import draw_where, panel_height
from talos_opt.reports.view import View

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: Width of the picture in inches, and what of it the lanes get, about.
WIDTH, LANES_SHARE = 12.0, 0.8

#: So many bars are each drawn, however narrow.
BARS = 1500

#: Of more, those narrower than this become blocks of that length; dots.
NARROW, BLOCK = 3.0, 2.0

#: Dots of a bar that is parted from the one before it by a white line; where there are blocks,
#: a white line would be taken for a gap beside any but a long bar.
PARTED, PARTED_FROM_BLOCKS = 5.0, 30.0

#: Size of the text in bars, in points, and the width of a letter as a share of it.
BAR_TEXT, LETTER = 7.5, 0.6

#: Share of a bar's height that such text may take.
TEXT_SHARE = 0.85

#: Colour of what is wrong.
WRONG = "#b00020"


def write_gantt(view: View, target: str | os.PathLike[str], *, width: float = WIDTH) -> None:
    """Draw a schedule into a file: PNG, SVG or PDF by its suffix.

    Raises
    ------
    DependencyError
        If matplotlib is missing.
    FormatError
        If the suffix is unknown or the file cannot be written.
    """
    style.save(draw_gantt(view, width=width), target)


def draw_gantt(view: View, *, width: float = WIDTH) -> Figure:
    """Draw a schedule.

    Parameters
    ----------
    view : View
    width : float
        Inches; the height follows from what there is to show.

    Raises
    ------
    DependencyError
        If matplotlib is missing.
    """
    return _Drawing(view, width).draw()


class _Drawing:
    """One picture."""

    def __init__(self, view: View, width: float) -> None:
        self.view = view
        self.width = width
        self.horizon = view.horizon or 1.0
        self.right = 1.004 * self.horizon
        self.dot = self.right / (width * LANES_SHARE * style.DPI)
        self.ops, self.moves, self.holds = op_bars(view), transfer_bars(view), hold_bars(view)
        self.stack: Stack = stack(view.lanes, self._used())
        many = len(self.ops.item) + len(self.moves.item) > BARS
        self.least = NARROW * self.dot if many else -np.inf
        self.colours = [model_colour(j) for j in range(len(view.models))]

    def _used(self) -> set[str]:
        """Devices that do something."""
        lanes = np.unique(np.concatenate([self.ops.lane, self.holds.lane]))
        return {self.view.lanes[k].device for k in lanes.tolist()}

    def draw(self) -> Figure:
        curves = panels(self.view)
        heights = [self.stack.height + 0.1, *(height for _, height in curves)]
        where = panel_height(self.view)
        heights += [where] if where else []
        figure = style.figure(self.width, sum(heights) + 0.12 * len(curves) + 1.75)
        grid = figure.add_gridspec(len(heights), 1, height_ratios=heights)
        axes = figure.add_subplot(grid[0])
        self._lanes(axes)
        lowest = axes
        for k, (curve, _) in enumerate(curves, start=1):
            lowest.tick_params(axis="x", labelbottom=False)
            lowest = figure.add_subplot(grid[k], sharex=axes)
            draw_memory(lowest, curve, self.view, self.dot)
        figure.align_ylabels(figure.axes[1:])
        if where:
            draw_where(figure.add_subplot(grid[len(heights) - 1]), self.view)
        style.time_axis(lowest, "x", "time", self.horizon, self.view.time_unit)
        lowest.xaxis.label.set_fontsize(style.LABEL)
        self._title(axes)
        add_legend(figure, self.view, [curve for curve, _ in curves], blocks=self.least > 0)
        return figure

    def _lanes(self, axes: Axes) -> None:
        self._prepare(axes)
        self._idle(axes)
        for bars, name in ((self.ops, "ops"), (self.moves, "transfers")):
            wide = bars.length >= self.least
            self._blocks(axes, bars, ~wide)
            self._bars(axes, bars, wide, name)
        held = shapes(self.holds, self.stack)
        add_polygons(
            axes, held, "#ffffff", edge=HELD, width=0.5, hatch="xxxx", layer=1.8, name="held"
        )
        if len(self.view.critical_ops):
            draw_path(axes, self.view, self.ops, self.moves, self.stack, self.dot)
        self._labels(axes)
        # Images change the limits.
        axes.set_xlim(0.0, self.right)
        axes.set_ylim(self.stack.height + 0.05, -0.05)

    def _prepare(self, axes: Axes) -> None:
        """Name the devices and links, and part them."""
        style.tidy(axes, grid="x")
        axes.spines["left"].set_visible(False)
        axes.tick_params(axis="y", length=0)
        bands = self.stack.bands
        axes.set_yticks(
            [self.stack.middle(band) for band in bands],
            [style.shortened(band.name, 26) for band in bands],
        )
        for text, band in zip(axes.get_yticklabels(), bands, strict=True):
            text.set_fontsize(7.0 if band.link or len(bands) > 12 else style.TICK)
            text.set_color(style.MUTED if band.link else style.INK)
        for band in bands[1:]:
            if not band.link:
                axes.axhline(self.stack.top[band.first] - 0.07, color=style.GRID, linewidth=0.6)

    # ---- what is idle ----------------------------------------------------------------------

    def _idle(self, axes: Axes) -> None:
        """Shade each slot until its device's last activity; say how much of all time it is busy."""
        small = self.stack.slot < 0.14
        self._tell_beside(axes, -0.08, "busy", va="bottom")
        corners: list[Any] = []
        for band in self.stack.bands:
            if band.link:
                continue
            last, shares = self._use(band)
            middle = self.stack.middle(band)
            if last <= 0:
                self._tell_beside(axes, middle, "unused")
                continue
            for k, share in zip(range(band.first, band.last + 1), shares, strict=True):
                top, bottom = float(self.stack.top[k]), float(self.stack.bottom[k])
                corners.append([(0.0, top), (last, top), (last, bottom), (0.0, bottom)])
                if not small:
                    self._tell_beside(axes, (top + bottom) / 2, percent(share))
            if small:
                self._tell_beside(axes, middle, percent(float(np.mean(shares))))
        add_polygons(axes, corners, IDLE, edge=IDLE_LINES, hatch="////", layer=0.5, name="idle")

    def _tell_beside(self, axes: Axes, y: float, text: str, va: Any = "center") -> None:
        side = axes.get_yaxis_transform()
        axes.text(1.008, y, text, transform=side, fontsize=7, color=style.MUTED, va=va)

    def _use(self, band: Band) -> tuple[float, list[float]]:
        """Last activity of a device, and the share of all time that each of its lanes is busy."""
        busy = [self._busy(k) for k in range(band.first, band.last + 1)]
        last = max(float(end.max(initial=0.0)) for _, end in busy)
        if last <= 0:
            return 0.0, []
        shares = [covered(start, end) / self.horizon for start, end in busy]
        return last, [1.0 if share > 1 - 1e-9 else share for share in shares]

    def _busy(self, lane: int) -> tuple[Floats, Floats]:
        parts = []
        for bars in (self.ops, self.holds):
            there = (bars.lane <= lane) & (lane < bars.lane + bars.lanes)
            parts.append((bars.start[there], bars.end[there]))
        starts, ends = zip(*parts, strict=True)
        return np.concatenate(starts), np.concatenate(ends)

    # ---- bars ------------------------------------------------------------------------------

    def _bars(self, axes: Axes, bars: Bars, chosen: Bools, name: str) -> None:
        corners = shapes(bars, self.stack, chosen)
        # However short, a bar is a line.
        corners[:, 1:3, 0] = np.maximum(corners[:, 1:3, 0], corners[:, :1, 0] + self.dot)
        faces = np.array(self.colours)[bars.model[chosen]]
        add_polygons(axes, corners, faces, name=name)
        least = PARTED_FROM_BLOCKS if self.least > 0 else PARTED
        parted = chosen & (bars.length >= least * self.dot)
        starts = shapes(bars, self.stack, parted)[:, [0, 3], :]
        add_lines(axes, starts, "#ffffff", width=0.6, layer=2.1, name="parted")

    def _blocks(self, axes: Axes, bars: Bars, chosen: Bools) -> None:
        """Draw bars as blocks: an image for each lane."""
        if not chosen.any():
            return
        # An op that fills several lanes fills the same blocks of each.
        lanes = bars.lanes[chosen]
        bar = np.repeat(np.flatnonzero(chosen), lanes)
        offset = np.arange(len(bar)) - np.repeat(np.cumsum(lanes) - lanes, lanes)
        length = BLOCK * self.dot
        count = int(np.ceil(self.horizon / length))
        blocks = gather_blocks(
            bars.lane[bar] + offset, bars.start[bar], bars.end[bar], bars.model[bar], length, count
        )
        for lane in np.unique(blocks.lane).tolist():
            top, bottom = float(self.stack.top[lane]), float(self.stack.bottom[lane])
            axes.imshow(
                self._pixels(blocks, lane, count),
                extent=(0.0, count * length, bottom, top),
                aspect="auto",
                interpolation="nearest",
                zorder=1.5,
            )

    def _pixels(self, blocks: Blocks, lane: int, count: int) -> Floats:
        from matplotlib.colors import to_rgb

        here = blocks.lane == lane
        colours = np.array([to_rgb(colour) for colour in self.colours])[blocks.group[here]]
        white = PALEST * (1.0 - blocks.share[here])[:, None]
        image = np.zeros((1, count, 4))
        image[0, blocks.position[here], :3] = colours * (1 - white) + white
        image[0, blocks.position[here], 3] = 1.0
        return image

    def _labels(self, axes: Axes) -> None:
        """Names of ops, in the bars that are large enough."""
        bars = self.ops
        top, bottom = self.stack.top[bars.lane], self.stack.bottom[bars.lane + bars.lanes - 1]
        points = self.width * LANES_SHARE * 72 / self.right
        room = (bars.length * points - 4) / (LETTER * BAR_TEXT)
        fits = (room >= 1) & (72 * TEXT_SHARE * (bottom - top) >= BAR_TEXT)
        for k in np.flatnonzero(fits).tolist():
            name = self.view.op_names[int(bars.item[k])].split(SEPARATOR, 1)[-1]
            if len(name) > room[k]:
                continue
            axes.text(
                float(bars.start[k] + bars.end[k]) / 2,
                float(top[k] + bottom[k]) / 2,
                style.shortened(name, len(name)),
                fontsize=BAR_TEXT,
                color=_ink_on(self.colours[int(bars.model[k])]),
                ha="center",
                va="center_baseline",
                clip_on=True,
                zorder=4,
            )

    def _title(self, axes: Axes) -> None:
        text = style.shortened(headline(self.view), 110)
        axes.set_title(text, loc="left", fontsize=style.TITLE, fontweight="bold", pad=24)
        axes.annotate(
            proof(self.view),
            (0.0, 1.0),
            xytext=(0, 10),
            xycoords="axes fraction",
            textcoords="offset points",
            fontsize=style.TICK,
            color=WRONG if self.view.facts.get("broken_rules") else style.MUTED,
            va="bottom",
        )


def _ink_on(colour: str) -> str:
    """Colour of text that can be read on another colour."""
    red, green, blue = (int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5))
    return style.INK if 0.299 * red + 0.587 * green + 0.114 * blue > 0.55 else "#ffffff"
