"""A picture of policies on a trace: what they come to, and how long each model takes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from talos_opt.reports import style
from talos_opt.reports.digits import significant

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: More models than these are not named one by one.
_MOST_MODELS = 40


@dataclass(frozen=True)
class Bar:
    """A policy, or who knew all beforehand.

    Parameters
    ----------
    name : str
    value : float
    completion : mapping of str to float
        When each model is done.
    """

    name: str
    value: float
    completion: Mapping[str, float]


def draw_online(
    title: str, bars: Sequence[Bar], bound: float, arrival: Mapping[str, float], unit: str
) -> Figure:
    """Draw policies beside each other.

    Parameters
    ----------
    title : str
    bars : sequence of Bar
        The one that knew all beforehand last.
    bound : float
        Proven: nobody is below it.
    arrival : mapping of str to float
        When each model arrives.
    unit : str
        Of times.
    """
    models = list(arrival)[:_MOST_MODELS]
    height = max(3.4, 1.6 + 0.26 * len(models))
    drawing = style.figure(11.0, height)
    left, right = drawing.subplots(1, 2, width_ratios=(1, 1.5))
    _draw_values(left, bars, bound, unit)
    _draw_stays(right, bars, models, arrival, unit)
    drawing.suptitle(style.shortened(title, 80), fontsize=style.TITLE, color=style.INK)
    drawing.legend(
        *right.get_legend_handles_labels(), loc="outside lower center", ncols=len(bars) + 1,
        frameon=False, fontsize=style.TICK,
    )  # fmt: skip
    return drawing


def _draw_values(axes: Axes, bars: Sequence[Bar], bound: float, unit: str) -> None:
    """What each comes to, over the clairvoyant value."""
    best = bars[-1].value
    places = range(len(bars))
    for k, bar in enumerate(bars):
        axes.barh(k, bar.value, height=0.62, color=style.colour(k), zorder=2)
        above = f" (+{100 * (bar.value / best - 1):.1f} %)" if best > 0 and bar.value > best else ""
        axes.text(
            bar.value, k, f" {significant(bar.value, 4)}{above}", va="center", fontsize=style.TICK,
            color=style.INK,
        )  # fmt: skip
    axes.axvline(bound, color=style.INK, linewidth=1.0, linestyle=(0, (3, 2)), zorder=3)
    axes.set_yticks(places, [style.shortened(bar.name, 20) for bar in bars])
    axes.invert_yaxis()
    axes.set_xlim(0, 1.45 * max(bar.value for bar in bars) or 1.0)
    axes.set_xlabel(f"objective ({unit}); dashed: lower bound")
    axes.xaxis.set_major_formatter(lambda value, _: significant(value, 4))
    axes.locator_params(axis="x", nbins=5)
    style.tidy(axes, grid="x")


def _draw_stays(
    axes: Axes, bars: Sequence[Bar], models: Sequence[str], arrival: Mapping[str, float], unit: str
) -> None:
    """From arrival to completion, a line for each model and policy."""
    step = 0.8 / len(bars)
    for k, bar in enumerate(bars):
        rows = [j - 0.4 + (k + 0.5) * step for j in range(len(models))]
        begin = [arrival[name] for name in models]
        length = [bar.completion[name] - arrival[name] for name in models]
        axes.barh(
            rows, length, left=begin, height=0.86 * step, color=style.colour(k), label=bar.name,
            zorder=2,
        )  # fmt: skip
    axes.set_yticks(range(len(models)), [style.shortened(name, 24) for name in models])
    axes.invert_yaxis()
    axes.set_xlabel(f"from arrival to completion ({unit})")
    axes.xaxis.set_major_formatter(lambda value, _: significant(value, 4))
    axes.locator_params(axis="x", nbins=7)
    style.tidy(axes, grid="x")
