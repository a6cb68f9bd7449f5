"""Picture of schedules under noise: how their values are distributed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from talos_opt.analysis.sensitivity import Sensitivity
from talos_opt.core.shares import value_unit
from talos_opt.reports import style

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: Bars of the histogram at most.
_BARS = 50


def draw_sensitivity(found: Sensitivity) -> Figure:
    """Draw a histogram of the values, and below it the share of samples up to each value.

    A dashed line marks what each schedule announced.
    """
    count = len(found.outcomes)
    drawing = style.figure(8.0, 5.6 + 0.22 * count)
    above, below = drawing.subplots(2, 1, sharex=True, gridspec_kw={"height_ratios": (1, 1)})
    every = np.concatenate([outcome.values for outcome in found.outcomes])
    bars = int(min(_BARS, max(10, round(found.samples**0.5))))
    if every.max() - every.min() > 1e-9 * abs(every.max()):
        edges = np.linspace(every.min(), every.max(), bars + 1)
    else:  # all the same: a bar that can be seen
        width = 0.01 * max(abs(float(every[0])), 1e-9)
        edges = np.array([every[0] - width, every[0] + width])
    lines = []
    for k, outcome in enumerate(found.outcomes):
        tint = style.colour(k)
        shares = np.full(found.samples, 100 / found.samples)
        above.hist(outcome.values, edges, weights=shares, color=tint, alpha=0.25)
        above.hist(
            outcome.values, edges, weights=shares, histtype="step", color=tint, linewidth=1.4
        )
        ranked = np.sort(outcome.values)
        steps = 100 * np.arange(1, found.samples + 1) / found.samples
        (line,) = below.step(ranked, steps, where="post", color=tint, linewidth=1.6)
        lines.append(line)
        for axes in (above, below):
            axes.axvline(outcome.announced, color=tint, linestyle="--", linewidth=1.1)
    above.set_ylabel("samples per bar (%)")
    below.set_ylabel("samples up to the value (%)")
    below.set_ylim(0, 102)
    problem = found.problem
    largest = float(np.abs(edges).max())
    style.time_axis(below, "x", problem.objective.value, largest, value_unit(problem))
    above.set_title(
        f"{style.shortened(problem.graph.name, 40)}: {problem.objective.value} with op times "
        f"varied by {100 * found.noise.ops:g} % ({found.samples} samples)",
        fontsize=style.TITLE,
        loc="left",
    )
    for axes in (above, below):
        style.tidy(axes, grid="both")
    labels = [
        f"{style.shortened(outcome.name, 60)} (dashed: announced)" for outcome in found.outcomes
    ]
    drawing.legend(
        lines, labels, loc="outside lower left", frameon=False, fontsize=style.TICK, ncols=1
    )
    return drawing
