"""Picture of schedules under noise: how their values are distributed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from talos_opt.analysis.sensitivity import Outcome, Sensitivity
from talos_opt.core.problem import Floats
from talos_opt.core.shares import value_unit
from talos_opt.reports import style
from talos_opt.reports.digits import moment

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: Bars of the histogram of one schedule at most, and of all schedules in one panel.
_BARS, _ALL_BARS = 50, 200

#: Schedules further apart than this many times the widest of them have a panel each.
_APART = 8.0


def draw_sensitivity(found: Sensitivity) -> Figure:
    """Draw a histogram of the values, and below it the share of samples up to each value.

    A dashed line marks what each schedule announced. Schedules that are far apart have a histogram
    each, with an axis of its own.
    """
    outcomes = found.outcomes
    panels = (
        [[k] for k in range(len(outcomes))] if _far_apart(outcomes) else [[*range(len(outcomes))]]
    )
    heights = [1.2 if len(panels) > 1 else 2.2] * len(panels) + [2.2]
    drawing = style.figure(8.0, sum(heights) + 1.2 + 0.22 * len(outcomes) + 0.3 * len(panels))
    *above, below = drawing.subplots(len(heights), 1, gridspec_kw={"height_ratios": heights})
    for axes, members in zip(above, panels, strict=True):
        _histogram(axes, found, members)
    if len(panels) == 1:
        below.sharex(above[0])
        above[0].set_ylabel("samples per bar (%)")
        above[0].set_xlabel("")
        above[0].tick_params(axis="x", labelbottom=False)
    _shares(below, found)
    above[0].set_title(
        f"{style.shortened(found.problem.graph.name, 40)}: {found.problem.objective.value} with op "
        f"times varied by {100 * found.noise.ops:g} % ({found.samples} samples)",
        fontsize=style.TITLE,
        loc="left",
    )
    lines = [line for line in below.lines if line.get_label().startswith("schedule ")]
    drawing.legend(
        lines,
        [_told(found, outcome) for outcome in outcomes],
        title="dashed: announced",
        title_fontsize=style.TICK,
        alignment="left",
        loc="outside lower left",
        frameon=False,
        fontsize=style.TICK,
        ncols=1,
    )
    return drawing


def _range(outcome: Outcome) -> tuple[float, float]:
    """Least and largest of what is drawn of a schedule."""
    values = np.append(outcome.values, outcome.announced)
    return float(values.min()), float(values.max())


def _far_apart(outcomes: Sequence[Outcome]) -> bool:
    """Whether on one axis most schedules would be a line each."""
    if len(outcomes) < 2:
        return False
    ranges = np.array([_range(outcome) for outcome in outcomes])
    whole = ranges[:, 1].max() - ranges[:, 0].min()
    return bool(whole > _APART * (ranges[:, 1] - ranges[:, 0]).max() and whole > 0)


def _edges(values: Sequence[Floats]) -> list[float]:
    """Edges of bars that are narrow enough for the schedule that varies least."""
    every = np.concatenate(values)
    low, high = float(every.min()), float(every.max())
    if high - low <= 1e-9 * abs(high):  # all the same: a bar that can be seen
        width = 0.01 * max(abs(high), 1e-9)
        return [high - width, high + width]
    each = min(_BARS, max(10, round(len(values[0]) ** 0.5)))
    narrow = min(float(np.ptp(row)) or high - low for row in values)
    count = int(np.clip(each * (high - low) / narrow, each, max(each, _ALL_BARS)))
    return [float(edge) for edge in np.linspace(low, high, count + 1)]


def _width(k: int, count: int) -> float:
    """Width of a line: later ones are thinner, so that equal ones are all seen."""
    return 1.2 + 1.2 * (count - 1 - k) / (count - 1) if count > 1 else 1.6


def _histogram(axes: Axes, found: Sensitivity, members: Sequence[int]) -> None:
    outcomes = [found.outcomes[k] for k in members]
    edges = _edges([outcome.values for outcome in outcomes])
    shares = np.full(found.samples, 100 / found.samples)
    for k, outcome in zip(members, outcomes, strict=True):
        tint, width = style.colour(k), _width(k, len(found.outcomes))
        # Its own bars only: a line along zero would cross those of the others.
        first = max(0, int(np.searchsorted(edges, outcome.values.min(), side="right")) - 1)
        last = int(np.searchsorted(edges, outcome.values.max())) + 1
        own = edges[first : max(last, first + 2)]
        axes.hist(outcome.values, own, weights=shares, color=tint, alpha=0.25)
        axes.hist(outcome.values, own, weights=shares, histtype="step", color=tint, linewidth=width)
        axes.axvline(outcome.announced, color=tint, linestyle="--", linewidth=width)
    _value_axis(axes, found, max(abs(value) for o in outcomes for value in _range(o)))
    axes.set_ylabel("samples (%)")


def _shares(axes: Axes, found: Sensitivity) -> None:
    for k, outcome in enumerate(found.outcomes):
        tint, width = style.colour(k), _width(k, len(found.outcomes))
        ranked = np.sort(outcome.values)
        steps = 100 * np.arange(1, found.samples + 1) / found.samples
        axes.step(ranked, steps, where="post", color=tint, linewidth=width, label=f"schedule {k}")
        axes.axvline(outcome.announced, color=tint, linestyle="--", linewidth=width)
    axes.set_ylabel("samples up to the value (%)")
    axes.set_ylim(0, 102)
    _value_axis(axes, found, max(abs(value) for o in found.outcomes for value in _range(o)))


def _value_axis(axes: Axes, found: Sensitivity, largest: float) -> None:
    problem = found.problem
    style.time_axis(axes, "x", problem.objective.value, largest, value_unit(problem))
    axes.locator_params(axis="x", nbins=7)
    style.tidy(axes, grid="both")


def _told(found: Sensitivity, outcome: Outcome) -> str:
    unit = value_unit(found.problem)
    work = outcome.announced - outcome.forced
    mean, low, high = (
        moment(value, unit, work)
        for value in (outcome.mean, outcome.quantile(0.05), outcome.quantile(0.95))
    )
    return f"{style.shortened(outcome.name, 48)}: mean {mean}, 5 to 95 %: {low} to {high}"
