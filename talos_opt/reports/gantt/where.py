"""Where the time of each device goes, as stacked bars under a Gantt picture."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from talos_opt.analysis.gaps import Part
from talos_opt.reports import style
from talos_opt.reports.parts import COLOURS, WORDS
from talos_opt.reports.view import View

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: Inches of a bar, and what the panel has beside its bars.
BAR, BESIDE = 0.17, 0.25

#: Devices that have a bar; of more, those that are busiest.
DEVICES = 16


def panel_height(view: View, width: float = 12.0) -> float:
    """Return the height of the panel, in inches, in a picture of a width; 0: nothing to show."""
    if view.breakdown is None or view.breakdown.span <= 0:
        return 0.0
    beside = BESIDE if width >= 9 else 3 * BESIDE  # a narrow picture has a legend of several lines
    return beside + BAR * min(len(view.devices), DEVICES)


def _look(part: Part, theme: style.Theme) -> dict[str, Any]:
    """Return how a part is filled: one without a colour is an empty box."""
    if part in COLOURS:
        return {"color": COLOURS[part]}
    return {"facecolor": theme.paper, "edgecolor": theme.muted, "linewidth": 0.8}


def draw_where(axes: Axes, view: View, theme: style.Theme = style.LIGHT) -> None:
    """Draw the parts of the time of each device, as shares of it."""
    figure = axes.get_figure(root=True)
    width = float(figure.get_figwidth()) if figure is not None else 12.0
    found = view.breakdown
    assert found is not None, "a panel that has a height"
    number = {name: d for d, name in enumerate(found.problem.device_ids)}
    items = [found.devices[number[name]] for name in view.devices]
    parts = 100 * np.array([item.parts for item in items]) / found.span
    busy = parts[:, Part.COMPUTE] + parts[:, Part.TRANSFER]
    shown = np.sort(np.argsort(-busy, kind="stable")[:DEVICES])
    parts = parts[shown]
    left = np.zeros(len(shown))
    for part in Part:
        widths = np.maximum(parts[:, part], 0.0)
        if widths.max(initial=0.0) > 1e-7:
            axes.barh(
                np.arange(len(shown)),
                widths,
                left=left,
                height=0.72,
                label=WORDS[part],
                **_look(part, theme),
            )
        left += widths
    style.tidy(axes, grid="", theme=theme)
    axes.spines["left"].set_visible(False)
    axes.tick_params(axis="y", length=0)
    names = [style.shortened(view.devices[d], 22) for d in shown.tolist()]
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(shown) - 0.5, -0.5)
    axes.set_xlim(0.0, 100.0)
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g} %")
    rest = len(view.devices) - len(shown)
    more = f"; {rest} less busy devices are left out" if rest else ""
    axes.set_xlabel(f"share of the makespan{more}", fontsize=style.LABEL)
    axes.legend(
        loc="lower left",
        bbox_to_anchor=(0.0, 1.0),
        ncols=max(1, min(5, int(width / 1.75))),
        frameon=False,
        labelcolor=theme.ink,
        fontsize=style.TICK - 1,
        handlelength=1.2,
        columnspacing=1.2,
        borderaxespad=0.2,
    )
