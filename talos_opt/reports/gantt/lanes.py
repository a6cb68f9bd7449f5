"""Lanes of a Gantt picture: bars, what is idle, the critical path, names."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from talos_opt.core.graph import SEPARATOR
from talos_opt.core.problem import Bools, Floats
from talos_opt.reports import style
from talos_opt.reports.facts import percent
from talos_opt.reports.folding import Folded
from talos_opt.reports.fonts import text_width
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
from talos_opt.reports.gantt.categories import categories_of
from talos_opt.reports.gantt.coverage import Cover, covers, draw_cover
from talos_opt.reports.gantt.legend import PALEST
from talos_opt.reports.gantt.options import Options
from talos_opt.reports.gantt.path import draw_path
from talos_opt.reports.view import View

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: So many bars are each drawn, however narrow.
BARS = 1500

#: Of more, those narrower than this become blocks of that length; dots.
NARROW, BLOCK = 3.0, 2.0

#: Dots of a bar that is parted from the one before it by a white line; where there are blocks,
#: a white line would be taken for a gap beside any but a long bar.
PARTED, PARTED_FROM_BLOCKS = 5.0, 30.0

#: Size of the text in bars, in points.
BAR_TEXT = 7.5

#: Share of a bar's height that such text may take.
TEXT_SHARE = 0.85

#: Points of a bar that stay free beside its text.
TEXT_SPACE = 4.0

#: Characters of the name of a device or link.
NAME_LENGTH = 26


class Lanes:
    """The lanes of one picture.

    Parameters
    ----------
    view : View
    options : Options
    width : float
        Of the axes, in inches.
    height : float, optional
        Of the axes, in inches; default: as high as the lanes are.

    Raises
    ------
    InputError
        If nothing of the schedule is in the time that is to be drawn.
    """

    def __init__(
        self, view: View, options: Options, width: float, height: float | None = None
    ) -> None:
        folded = options.folded(view)
        self.view, self.theme = folded.view, options.theme
        self.left, self.right = options.window(view)
        self.horizon = view.horizon or 1.0
        #: The part of the time that is drawn in which something can be busy.
        self.until = min(self.right, self.horizon)
        self.since = max(self.left, 0.0)
        self.points = width * 72 / (self.right - self.left)
        self.dot = (self.right - self.left) / (width * style.DPI)
        self.categories = categories_of(self.view, options)
        everything: tuple[Bars, ...] = tuple(
            bars_of(self.view, self.categories.of)
            for bars_of in (op_bars, transfer_bars, hold_bars)
        )
        if options.start is not None or options.end is not None:
            everything = tuple(bars.within(self.left, self.right) for bars in everything)
        self.ops, self.moves, self.holds = (bars.on_lanes() for bars in everything)
        groups = [group.lane for group in folded.groups]
        self.stack: Stack = stack(self.view.lanes, self._used(), groups)
        self.covers = self._cover(folded)
        self.ops, self.moves, self.holds = (
            bars.apart_from(np.array(groups, dtype=np.int64))
            for bars in (self.ops, self.moves, self.holds)
        )
        #: Inches of the picture for an inch of the stack.
        self.stretch = 1.0 if height is None else height / (self.stack.height + 0.1)
        self.many = len(self.ops.item) + len(self.moves.item) > BARS
        self.least = NARROW * self.dot if self.many else -np.inf
        self.colours, self.hatches = self.categories.colours, self.categories.hatches

    def _cover(self, folded: Folded) -> dict[int, Cover]:
        """What is drawn of lanes that stand for several, by lane."""
        count = max(1, int(np.ceil((self.until - self.since) / (BLOCK * self.dot))))
        edges = np.linspace(self.since, self.until, count + 1)
        return {cover.lane: cover for cover in covers(folded, self.categories, edges)}

    def _used(self) -> set[str]:
        """Devices that do something."""
        lanes = np.unique(np.concatenate([self.ops.lane, self.holds.lane]))
        return {self.view.lanes[k].device for k in lanes.tolist()}

    def draw(self, axes: Axes) -> None:
        """Draw them into axes, whose limits become those of the lanes."""
        self._prepare(axes)
        self._idle(axes)
        for bars, name in ((self.ops, "ops"), (self.moves, "transfers")):
            wide = bars.length >= self.least
            self._blocks(axes, bars, ~wide)
            self._bars(axes, bars, wide, name)
        for lane, cover in self.covers.items():
            top, bottom = float(self.stack.top[lane]), float(self.stack.bottom[lane])
            draw_cover(axes, cover, self.categories, top, bottom)
        held = shapes(self.holds, self.stack)
        add_polygons(
            axes,
            held,
            self.theme.paper,
            edge=self.theme.held,
            width=0.5,
            hatch="xxxx",
            layer=1.8,
            name="held",
        )
        if len(self.view.critical_ops):
            colour = self.theme.critical
            draw_path(axes, self.view, self.ops, self.moves, self.stack, self.dot, colour)
        self._labels(axes)
        # Images change the limits.
        axes.set_xlim(self.left, self.right)
        axes.set_ylim(self.stack.height + 0.05, -0.05)

    def _prepare(self, axes: Axes) -> None:
        """Name the devices and links, and part them."""
        style.tidy(axes, grid="x", theme=self.theme)
        axes.spines["left"].set_visible(False)
        axes.tick_params(axis="y", length=0)
        bands = self.stack.bands
        axes.set_yticks(
            [self.stack.middle(band) for band in bands],
            [style.shortened(band.name, NAME_LENGTH) for band in bands],
        )
        for text, band in zip(axes.get_yticklabels(), bands, strict=True):
            text.set_fontsize(7.0 if band.link or len(bands) > 12 else style.TICK)
            text.set_color(self.theme.muted if band.link else self.theme.ink)
        for band in bands[1:]:
            if not band.link:
                axes.axhline(
                    self.stack.top[band.first] - 0.07, color=self.theme.grid, linewidth=0.6
                )

    # ---- what is idle ----------------------------------------------------------------------

    def _idle(self, axes: Axes) -> None:
        """Shade each slot until its device's last activity; say how much of the time it is busy."""
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
                since = self.since
                corners.append([(since, top), (last, top), (last, bottom), (since, bottom)])
                if not small:
                    self._tell_beside(axes, (top + bottom) / 2, percent(share))
            if small:
                self._tell_beside(axes, middle, percent(float(np.mean(shares))))
        face, lines = self.theme.idle, self.theme.idle_lines
        add_polygons(axes, corners, face, edge=lines, hatch="////", layer=0.5, name="idle")

    def _tell_beside(self, axes: Axes, y: float, text: str, va: Any = "center") -> None:
        side = axes.get_yaxis_transform()
        axes.text(1.008, y, text, transform=side, fontsize=7, color=self.theme.muted, va=va)

    def _use(self, band: Band) -> tuple[float, list[float]]:
        """Last activity of a device, and the share of the time that each of its lanes is busy."""
        if band.first in self.covers:
            cover = self.covers[band.first]
            return cover.last, [cover.busy]
        busy = [self._busy(k) for k in range(band.first, band.last + 1)]
        last = max(float(end.max(initial=self.since)) for _, end in busy)
        if last <= self.since:
            return 0.0, []
        shares = [covered(start, end) / (self.until - self.since) for start, end in busy]
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
        category = bars.category[chosen]
        faces = np.array(self.colours)[category]
        hatches = np.array([hatch or "" for hatch in self.hatches])[category]
        for hatch in dict.fromkeys(hatches.tolist()):
            same = hatches == hatch
            edge = self.theme.paper if hatch else "none"
            add_polygons(axes, corners[same], faces[same], edge=edge, hatch=hatch, name=name)
        least = PARTED_FROM_BLOCKS if self.least > 0 else PARTED
        parted = chosen & (bars.length >= least * self.dot)
        starts = shapes(bars, self.stack, parted)[:, [0, 3], :]
        add_lines(axes, starts, self.theme.paper, width=0.6, layer=2.1, name="parted")

    def _blocks(self, axes: Axes, bars: Bars, chosen: Bools) -> None:
        """Draw bars as blocks: an image for each lane."""
        if not chosen.any():
            return
        # An op that fills several lanes fills the same blocks of each.
        lanes = bars.lanes[chosen]
        bar = np.repeat(np.flatnonzero(chosen), lanes)
        offset = np.arange(len(bar)) - np.repeat(np.cumsum(lanes) - lanes, lanes)
        length = BLOCK * self.dot
        count = int(np.ceil((self.until - self.since) / length))
        blocks = gather_blocks(
            bars.lane[bar] + offset,
            bars.start[bar] - self.since,
            bars.end[bar] - self.since,
            bars.category[bar],
            length,
            count,
        )
        for lane in np.unique(blocks.lane).tolist():
            top, bottom = float(self.stack.top[lane]), float(self.stack.bottom[lane])
            axes.imshow(
                self._pixels(blocks, lane, count),
                extent=(self.since, self.since + count * length, bottom, top),
                aspect="auto",
                interpolation="nearest",
                zorder=1.5,
            )

    def _pixels(self, blocks: Blocks, lane: int, count: int) -> Floats:
        from matplotlib.colors import to_rgb

        here = blocks.lane == lane
        colours = np.array([to_rgb(colour) for colour in self.colours])[blocks.group[here]]
        pale = PALEST * (1.0 - blocks.share[here])[:, None]
        image = np.zeros((1, count, 4))
        paper = np.array(to_rgb(self.theme.paper))
        image[0, blocks.position[here], :3] = colours * (1 - pale) + pale * paper
        image[0, blocks.position[here], 3] = 1.0
        return image

    def _labels(self, axes: Axes) -> None:
        """Names of ops, in the bars that are large enough."""
        bars = self.ops
        top, bottom = self.stack.top[bars.lane], self.stack.bottom[bars.lane + bars.lanes - 1]
        room = bars.length * self.points - TEXT_SPACE
        high = 72 * TEXT_SHARE * self.stretch * (bottom - top)
        fits = (room >= BAR_TEXT / 2) & (high >= BAR_TEXT)
        for k in np.flatnonzero(fits).tolist():
            text = self._name(int(bars.item[k]), float(room[k]))
            if not text:
                continue
            axes.text(
                float(bars.start[k] + bars.end[k]) / 2,
                float(top[k] + bottom[k]) / 2,
                text,
                fontsize=BAR_TEXT,
                color=style.ink_on(self.colours[int(bars.category[k])]),
                ha="center",
                va="center_baseline",
                clip_on=True,
                zorder=4,
                bbox=self._behind(int(bars.category[k])),
            )

    def _name(self, item: int, room: float) -> str:
        """Return an op's name, with its module if there is room for both; empty: for neither."""
        name = self.view.op_names[item].split(SEPARATOR, 1)[-1]
        origin = self.view.op_origins[item] if self.view.op_origins else ""
        module = origin.partition(", ")[0]  # less the line of code
        for text in ([f"{name} ({module})"] if module else []) + [name]:
            shown = style.shortened(text, max(1, len(text)))
            if text_width(shown.replace(r"\$", "$"), BAR_TEXT) <= room:
                return shown
        return ""

    def _behind(self, category: int) -> dict[str, Any] | None:
        """What is drawn behind a name, so that it can be read on a hatch."""
        if not self.hatches[category]:
            return None
        return {"facecolor": self.colours[category], "edgecolor": "none", "pad": 1.0}
