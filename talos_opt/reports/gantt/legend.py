"""What the colours and lines of a Gantt picture mean."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from talos_opt.core.memory_curves import MemoryCurve
from talos_opt.reports import style
from talos_opt.reports.gantt.memory import limit_shown
from talos_opt.reports.gantt.options import Options
from talos_opt.reports.view import View

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: Models that are named at most, and colours that tell them apart.
MODELS, COLOURS = 24, 32

#: Of models that share a colour, eight apart.
HATCHES = (None, "////", "\\\\\\\\", "xxxx")

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
    theme = options.theme
    marks = _marks(view, blocks=blocks, theme=theme)
    return [*_models(view, options), *marks, *_memory(curves, theme)]


def model_colour(model: int) -> str:
    """Return the colour of a model, by its number; from the ninth on it has a hatch too."""
    return style.PALETTE[model % len(style.PALETTE)]


def model_hatch(model: int) -> str | None:
    """Return the hatch of a model, by its number; pages draw the same."""
    return HATCHES[model % COLOURS // len(style.PALETTE)]


def _models(view: View, options: Options) -> list[Any]:
    from matplotlib.patches import Patch

    named = [(j, view.models[j]) for j in options.coloured(view)]
    entries = [
        Patch(
            facecolor=model_colour(j),
            hatch=model_hatch(j),
            edgecolor=options.theme.paper,
            linewidth=0,
            label=style.shortened(name, 24),
        )
        for j, name in named[:MODELS]
    ]
    hidden = len(named) - MODELS
    if hidden > 0:
        repeated = "; colours repeat" if len(view.models) > COLOURS else ""
        entries.append(Patch(facecolor="none", label=f"and {hidden} more models{repeated}"))
    if len(named) < len(view.models):
        entries.append(Patch(facecolor=options.theme.other, label="other models"))
    return entries


def _marks(view: View, *, blocks: bool, theme: style.Theme) -> list[Any]:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    entries: list[Any] = []
    if len(view.transfer_op):
        line = Line2D([], [], color=model_colour(0), linewidth=2.5, label="transfer (thin)")
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
        pale = style.mixed(model_colour(0), theme.paper, PALEST)
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
