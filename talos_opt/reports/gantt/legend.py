"""What the colours and lines of a Gantt picture mean."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from talos_opt.core.memory_curves import MemoryCurve
from talos_opt.reports import style
from talos_opt.reports.gantt.memory import LIMIT, LINE, limit_shown
from talos_opt.reports.gantt.path import COLOUR as CRITICAL
from talos_opt.reports.view import View

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: Models that are named at most, and colours that tell them apart.
MODELS, COLOURS = 12, 24

#: Colours of what is no model; and how pale a block is in which hardly anything runs.
IDLE, IDLE_LINES, HELD = "#f4f4f4", "#d2d2d2", "#9a9a9a"
PALEST = 0.7

#: Inches that an entry takes beside its text, and that a letter takes.
_ENTRY, _LETTER = 0.55, 0.075


def add_legend(figure: Figure, view: View, curves: Sequence[MemoryCurve], *, blocks: bool) -> None:
    """Add the legend under a picture.

    Parameters
    ----------
    figure : Figure
    view : View
    curves : sequence of MemoryCurve
        Those that are drawn.
    blocks : bool
        Whether narrow bars are drawn as blocks.
    """
    entries = [*_models(view), *_marks(view, blocks=blocks), *_memory(curves)]
    widest = max(len(entry.get_label()) for entry in entries)
    room = int(figure.get_figwidth() / (_ENTRY + _LETTER * widest))
    figure.legend(
        handles=entries,
        loc="outside lower center",
        ncols=max(1, min(len(entries), room)),
        frameon=False,
        fontsize=style.TICK,
        handlelength=1.6,
        columnspacing=1.4,
    )


def model_colour(model: int) -> str:
    """Return the colour of a model, by its number."""
    return style.colour(model % COLOURS)


def _models(view: View) -> list[Any]:
    from matplotlib.patches import Patch

    entries = [
        Patch(facecolor=model_colour(j), label=style.shortened(name, 24))
        for j, name in enumerate(view.models[:MODELS])
    ]
    hidden = len(view.models) - MODELS
    if hidden > 0:
        repeated = "; colours repeat" if len(view.models) > COLOURS else ""
        entries.append(Patch(facecolor="none", label=f"and {hidden} more models{repeated}"))
    return entries


def _marks(view: View, *, blocks: bool) -> list[Any]:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    entries: list[Any] = []
    if len(view.transfer_op):
        line = Line2D([], [], color=model_colour(0), linewidth=2.5, label="transfer (thin)")
        entries.append(line)
    if len(view.hold_transfer):
        label = "slot held by a transfer"
        entries.append(Patch(facecolor="#ffffff", edgecolor=HELD, hatch="xxxx", label=label))
    entries.append(Patch(facecolor=IDLE, edgecolor=IDLE_LINES, hatch="////", lw=0, label="idle"))
    if blocks:
        pale = style.mixed(model_colour(0), "#ffffff", PALEST)
        entries.append(Patch(facecolor=pale, label="paler: less busy, bars too narrow"))
    if len(view.critical_ops):
        entries.append(
            Patch(facecolor="none", edgecolor=CRITICAL, linewidth=1.3, label="critical path")
        )
    return entries


def _memory(curves: Sequence[MemoryCurve]) -> list[Any]:
    from matplotlib.lines import Line2D

    entries = []
    if any(limit_shown(curve) for curve in curves):
        entries.append(Line2D([], [], color=LIMIT, linestyle="--", label="memory limit"))
    if any(curve.static is not None for curve in curves):
        label = "memory by the static rule"
        entries.append(Line2D([], [], color=LINE, linestyle=":", label=label))
    return entries
