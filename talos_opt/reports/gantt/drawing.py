"""The picture of a schedule.

Bars that are too narrow to tell apart are gathered into blocks, so that a picture of 100,000 ops
takes hardly longer to draw, and to read, than one of a thousand.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from talos_opt.core.pipelining.records import Step
from talos_opt.reports import style
from talos_opt.reports.digits import DIGITS
from talos_opt.reports.facts import headline, proof
from talos_opt.reports.fonts import choose_fonts, text_width
from talos_opt.reports.gantt.lanes import NAME_LENGTH, Lanes
from talos_opt.reports.gantt.legend import add_legend
from talos_opt.reports.gantt.memory import draw_memory, panels
from talos_opt.reports.gantt.options import Options
from talos_opt.reports.gantt.where import draw_where, panel_height
from talos_opt.reports.pipeline_plot import add_step, step_height
from talos_opt.reports.view import View

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: Inches at the right of the lanes, in which shares and peaks stand, and at the left, beside names.
RIGHT, LEFT = 0.85, 0.2

#: Inches of the time axis for each of its labels, about.
TICK_SPACE = 1.1


def write_gantt(
    view: View,
    target: str | os.PathLike[str],
    options: Options | None = None,
    *,
    dpi: float = style.DPI,
    step: Step | None = None,
) -> None:
    """Draw a schedule into a file: PNG, SVG or PDF by its suffix.

    Parameters
    ----------
    view : View
    target : str or path
    options : Options, optional
    dpi : float
        Dots per inch.
    step : Step, optional
        A step of the schedule as a pipeline, to be drawn under it.

    Raises
    ------
    DependencyError
        If matplotlib is missing.
    FormatError
        If the suffix is unknown or the file cannot be written.
    InputError
        If the options name what is not there.
    """
    style.save(draw_gantt(view, options, step=step), target, dpi=dpi)


def draw_gantt(view: View, options: Options | None = None, *, step: Step | None = None) -> Figure:
    """Draw a schedule; see `write_gantt`."""
    return _Drawing(view, options or Options(), step).draw()


class _Drawing:
    """One picture."""

    def __init__(self, view: View, options: Options, step: Step | None) -> None:
        self.view, self.options, self.step = view, options, step
        self.theme = options.theme
        drawn = options.folded(view)
        names = [style.shortened(lane.label, NAME_LENGTH) for lane in drawn.view.lanes]
        names += [f"{style.shortened(name, 22)}" for name in view.devices]
        widest = max((text_width(name, style.TICK) for name in names), default=0.0) / 72
        self.lanes = Lanes(view, options, options.width - widest - LEFT - RIGHT)

    def draw(self) -> Figure:
        lanes, options = self.lanes, self.options
        curves = panels(lanes.view) if options.memory else []
        heights = [lanes.stack.height + 0.1, *(height for _, height in curves)]
        where = panel_height(self.view, options.width)
        heights += [where] if where else []
        heights += [step_height(self.step)] if self.step else []
        figure = style.figure(options.width, sum(heights) + 0.12 * len(curves) + 1.75, self.theme)
        grid = figure.add_gridspec(len(heights), 1, height_ratios=heights)
        axes = figure.add_subplot(grid[0])
        lanes.draw(axes)
        lowest = axes
        for k, (curve, _) in enumerate(curves, start=1):
            lowest.tick_params(axis="x", labelbottom=False)
            lowest = figure.add_subplot(grid[k], sharex=axes)
            draw_memory(lowest, curve, (lanes.left, lanes.right), lanes.dot, self.theme)
        figure.align_ylabels(figure.axes[1:])
        if where:
            draw_where(figure.add_subplot(grid[len(curves) + 1]), self.view, self.theme)
        if self.step:
            below = figure.add_subplot(grid[len(heights) - 1])
            unit = self.view.time_unit
            add_step(below, self.step, self.view.devices, unit, theme=self.theme)
        label_time(lowest, self.view, self.lanes, options.width)
        self._title(axes)
        figure.set_label(headline(self.view))
        shown = [curve for curve, _ in curves]
        add_legend(figure, self.view, shown, blocks=lanes.many, options=options)
        choose_fonts(figure)
        return figure

    def _title(self, axes: Axes) -> None:
        # Letters of a title, and of the line under it, are so many inches wide, about.
        text = style.shortened(headline(self.view), max(20, int(self.options.width / 0.11)))
        second = proof(self.view)
        most = int((self.options.width - 1.2) / 0.066)
        if len(second) > most:
            parts = second.split("  ·  ")
            half = (len(parts) + 1) // 2
            second = "  ·  ".join(parts[:half]) + "\n" + "  ·  ".join(parts[half:])
        pad = 24 + 14 * second.count("\n")
        axes.set_title(
            text, loc="left", fontsize=style.TITLE, fontweight="bold", pad=pad, color=self.theme.ink
        )
        axes.annotate(
            second,
            (0.0, 1.0),
            xytext=(0, 10),
            xycoords="axes fraction",
            textcoords="offset points",
            fontsize=style.TICK,
            color=self.theme.wrong if self.view.facts.get("broken_rules") else self.theme.muted,
            va="bottom",
        )


def label_time(axes: Axes, view: View, lanes: Lanes, width: float) -> None:
    """Label the time axis of lanes: at least three times, and none that run together."""
    largest = max(abs(lanes.left), lanes.horizon)
    style.time_axis(axes, "x", "time", largest, view.time_unit)
    digits = style.digits_apart(largest, lanes.left, lanes.right)
    axes.locator_params(axis="x", nbins=max(4, int(width / TICK_SPACE * DIGITS / digits)))
    axes.xaxis.label.set_fontsize(style.LABEL)
