"""What the colours and lines of a Gantt picture mean."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from talos_opt.core.memory_curves import MemoryCurve
from talos_opt.reports import style
from talos_opt.reports.folding import folded_kinds
from talos_opt.reports.gantt.categories import (
    COLOURS,
    Categories,
    categories_of,
)
from talos_opt.reports.gantt.memory import limit_shown
from talos_opt.reports.gantt.options import Options
from talos_opt.reports.view import View

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: Categories that are named at most.
NAMED = 24

#: How pale a block is in which hardly anything runs.
PALEST = 0.7

#: Inches that an entry takes beside its text, and that a letter takes.
_ENTRY, _LETTER = 0.55, 0.075


def add_legend(
    figure: Figure,
    view: View,
    curves: Sequence[MemoryCurve],
    *,
    blocks: bool,
    options: Options | None = None,
) -> None:
    """Add the legend under a picture.

    Parameters
    ----------
    figure : Figure
    view : View
    curves : sequence of MemoryCurve
        Those that are drawn.
    blocks : bool
        Whether narrow bars are drawn as blocks.
    options : Options, optional
    """
    options = options or Options()
    entries = legend_entries(view, curves, blocks=blocks, options=options)
    widest = max(len(entry.get_label()) for entry in entries)
    room = int(figure.get_figwidth() / (_ENTRY + _LETTER * widest))
    figure.legend(
        handles=entries,
        loc="outside lower center",
        ncols=max(1, min(len(entries), room)),
        frameon=False,
        fontsize=style.TICK,
        labelcolor=options.theme.ink,
        handlelength=1.6,
        columnspacing=1.4,
    )


def legend_entries(
    view: View, curves: Sequence[MemoryCurve], *, blocks: bool, options: Options
) -> list[Any]:
    """Return the entries of a legend; the arguments are those of `add_legend`."""
    theme, found = options.theme, categories_of(view, options)
    marks = _marks(view, found, blocks=blocks, theme=theme)
    if options.fold and folded_kinds(view.kinds):
        from matplotlib.patches import Patch

        marks.append(Patch(facecolor="none", label="height: share busy"))
    return [*_categories(found, theme), *marks, *_memory(curves, theme)]


def _categories(found: Categories, theme: style.Theme) -> list[Any]:
    from matplotlib.patches import Patch

    named = found.named
    entries = [
        Patch(
            facecolor=found.colours[k],
            hatch=found.hatches[k],
            edgecolor=theme.paper,
            linewidth=0,
            label=style.shortened(found.names[k], 26),
        )
        for k in named[:NAMED]
    ]
    hidden = len(named) - NAMED
    if hidden > 0:
        repeated = "; colours repeat" if len(found.names) > COLOURS else ""
        label = f"and {hidden} more {found.what}{repeated}"
        entries.append(Patch(facecolor="none", label=label))
    return entries


def _marks(view: View, found: Categories, *, blocks: bool, theme: style.Theme) -> list[Any]:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    entries: list[Any] = []
    if len(view.transfer_op):
        line = Line2D([], [], color=found.colours[0], linewidth=2.5, label="transfer (thin)")
        entries.append(line)
    if len(view.hold_transfer):
        label = "slot held by a transfer"
        entries.append(
            Patch(facecolor=theme.paper, edgecolor=theme.held, hatch="xxxx", label=label)
        )
    if not (view.idle <= 0).all():  # there is some, or it is not known
        look: dict[str, Any] = {
            "facecolor": theme.idle,
            "edgecolor": theme.idle_lines,
            "hatch": "////",
        }
        entries.append(Patch(**look, lw=0, label="idle"))
    if blocks:
        pale = style.mixed(found.colours[0], theme.paper, PALEST)
        entries.append(Patch(facecolor=pale, label="paler: less busy, bars too narrow"))
    if len(view.critical_ops):
        entries.append(
            Patch(facecolor="none", edgecolor=theme.critical, linewidth=1.3, label="critical path")
        )
    return entries


def _memory(curves: Sequence[MemoryCurve], theme: style.Theme) -> list[Any]:
    from matplotlib.lines import Line2D

    entries = []
    if any(limit_shown(curve) for curve in curves):
        entries.append(Line2D([], [], color=theme.limit, linestyle="--", label="memory limit"))
    if any(curve.static is not None for curve in curves):
        label = "memory by the static rule"
        entries.append(Line2D([], [], color=theme.line, linestyle=":", label=label))
    return entries
