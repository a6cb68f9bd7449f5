"""Memory of a device over time, as a panel under a Gantt picture."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from talos_opt.core.memory_curves import MemoryCurve
from talos_opt.core.units import format_bytes
from talos_opt.reports import style
from talos_opt.reports.facts import percent
from talos_opt.reports.gantt.blocks import envelope
from talos_opt.reports.view import View

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: Height of all panels together, about; and of one.
ALL, LEAST, LARGEST = 4.0, 0.3, 0.75

#: A limit this many times the peak, or more, lies beyond the panel.
FAR = 3.0


def panels(view: View) -> list[tuple[MemoryCurve, float]]:
    """Return the curves to draw and the height of each, in inches; none where no memory counts."""
    shown = [curve for curve in view.memory if _peak(curve) > 0]
    height = min(LARGEST, max(LEAST, ALL / max(1, len(shown))))
    return [(curve, height) for curve in shown]


def limit_shown(curve: MemoryCurve) -> bool:
    """Whether the limit of a device is in sight: there is one, and not far above the curve."""
    return curve.limit is not None and curve.limit < FAR * _peak(curve)


def draw_memory(
    axes: Axes,
    curve: MemoryCurve,
    window: tuple[float, float],
    dot: float,
    theme: style.Theme = style.LIGHT,
) -> None:
    """Draw the memory of one device.

    Parameters
    ----------
    axes : Axes
        Those of its panel, whose time axis is set.
    curve : MemoryCurve
    window : (float, float)
        Stretch of time that is drawn.
    dot : float
        Time that one dot of the picture stands for.
    theme : Theme
    """
    peak = _peak(curve)
    scale, name = _unit(peak)
    style.tidy(axes, grid="", theme=theme)
    start, end = window
    first = max(0, int(np.searchsorted(curve.times, start, side="right")) - 1)
    last = max(first + 1, int(np.searchsorted(curve.times, end, side="right")))
    steps = np.maximum(curve.times[first:last] - start, 0.0)
    steps, held = envelope(steps, curve.bytes[first:last], end - start, int((end - start) / dot))
    times, values = np.append(start + steps, end), np.append(held, held[-1]) / scale
    axes.fill_between(times, values, step="post", color=theme.fill, linewidth=0)
    axes.step(times, values, where="post", color=theme.line, linewidth=0.9)
    top = 1.15 * peak / scale
    if curve.limit is not None and limit_shown(curve):
        top = max(top, 1.1 * curve.limit / scale)
        axes.axhline(curve.limit / scale, color=theme.limit, linewidth=1.1, linestyle="--")
    if curve.static is not None:
        axes.axhline(curve.static / scale, color=theme.line, linewidth=0.9, linestyle=":")
    axes.set_ylim(0.0, top)
    axes.locator_params(axis="y", nbins=2)
    axes.set_ylabel(
        f"{style.shortened(curve.device, 16)}\n{name}",
        rotation=0,
        ha="right",
        va="center",
        fontsize=7.5,
    )
    axes.tick_params(axis="y", labelsize=7)
    axes.text(
        1.008,
        0.5,
        _told(curve),
        transform=axes.transAxes,
        fontsize=6.5,
        color=theme.muted,
        va="center",
    )


def _unit(largest: int) -> tuple[float, str]:
    """Return bytes in a unit, and its name, for amounts up to the largest."""
    for power, name in ((4, "TiB"), (3, "GiB"), (2, "MiB"), (1, "KiB")):
        if largest >= 1024**power:
            return float(1024**power), name
    return 1.0, "B"


def _peak(curve: MemoryCurve) -> int:
    return max(int(curve.bytes.max(initial=0)), curve.static or 0)


def _told(curve: MemoryCurve) -> str:
    """Say how high the curve gets, and what the limit is held against."""
    lines = [f"peak {format_bytes(int(curve.bytes.max(initial=0)))}"]
    counted = int(curve.bytes.max(initial=0))
    if curve.static is not None:
        lines.append(f"static {format_bytes(curve.static)}")
        counted = curve.static
    if curve.limit is None:
        lines.append("no limit")
    else:
        share = f" ({percent(counted / curve.limit)})" if curve.limit else ""
        lines.append(f"of {format_bytes(curve.limit)}{share}")
    return "\n".join(lines)
