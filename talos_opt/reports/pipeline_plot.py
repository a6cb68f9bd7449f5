"""Picture of a pipeline's step: a row for each stage, a box for each block."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from talos_opt.core.columns import BACKWARD, FORWARD, UPDATE
from talos_opt.core.pipelining.records import Step
from talos_opt.core.problem import Problem
from talos_opt.reports import style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_PHASES = {
    FORWARD: ("forward", style.colour(0)),
    BACKWARD: ("backward", style.colour(1)),
    UPDATE: ("update", style.colour(6)),
}
#: A block that takes less than this share of the picture's width has no number.
_NUMBERED = 0.012
#: More blocks than these are drawn without edges: edges would be all that is seen.
_EDGED = 1500


def draw_pipeline(problem: Problem, step: Step) -> Figure:
    """Draw the blocks of a step over time, numbered by micro-batch.

    Parameters
    ----------
    problem : Problem
    step : Step
    """
    drawing = style.figure(9.0, 0.9 + step_height(step))
    axes = drawing.subplots()
    title = f"{style.shortened(problem.graph.name, 40)}: "
    add_step(axes, step, problem.device_ids, problem.graph.time_unit, title)
    return drawing


def step_height(step: Step) -> float:
    """Return the height of a picture of a step, in inches, without its title."""
    return 1.0 + 0.42 * len(step.stages)


def add_step(
    axes: Axes,
    step: Step,
    devices: Sequence[str],
    time_unit: str,
    title: str = "",
    theme: style.Theme = style.LIGHT,
) -> None:
    """Draw the blocks of a step into axes.

    Parameters
    ----------
    axes : Axes
    step : Step
    devices : sequence of str
        Names of all devices.
    time_unit : str
    title : str
        What the title begins with.
    theme : Theme
    """
    from matplotlib.patches import Patch

    used = step.stages
    row = {d: k for k, d in enumerate(used)}
    span = step.time or 1.0
    for phase in _PHASES:
        _add_blocks(axes, step, phase, row, theme)
    axes.set_xlim(0, span)
    axes.set_ylim(len(used) - 0.5, -0.5)
    axes.set_yticks(range(len(used)), [style.shortened(devices[d]) for d in used])
    style.time_axis(axes, "x", "time", span, time_unit)
    count = "1 micro-batch" if step.microbatches == 1 else f"{step.microbatches} micro-batches"
    axes.set_title(
        f"{title}{step.schedule} with {count}, {100 * step.bubble:.1f} % bubble",
        fontsize=style.TITLE,
        loc="left",
        color=theme.ink,
    )
    style.tidy(axes, grid="x", theme=theme)
    shown = {block.phase for block in step.blocks}
    handles = [
        Patch(color=colour, label=name)
        for phase, (name, colour) in _PHASES.items()
        if phase in shown
    ]
    axes.legend(
        handles=handles,
        loc="lower right",
        bbox_to_anchor=(1.0, 1.0),
        borderaxespad=0.0,
        frameon=False,
        fontsize=style.TICK,
        labelcolor=theme.ink,
        ncols=3,
    )


def _add_blocks(
    axes: Axes, step: Step, phase: int, row: dict[int, int], theme: style.Theme
) -> None:
    from matplotlib.collections import PatchCollection
    from matplotlib.patches import Rectangle

    colour, span = _PHASES[phase][1], step.time or 1.0
    blocks = [block for block in step.blocks if block.phase == phase]
    boxes = [
        Rectangle((block.start, row[block.device] - 0.4), block.end - block.start, 0.8)
        for block in blocks
    ]
    edge = theme.paper if len(step.blocks) <= _EDGED else "none"
    axes.add_collection(PatchCollection(boxes, facecolor=colour, edgecolor=edge, linewidth=0.6))
    for block in blocks:
        if block.microbatch >= 0 and block.end - block.start >= _NUMBERED * span:
            axes.text(
                0.5 * (block.start + block.end),
                row[block.device],
                str(block.microbatch + 1),
                ha="center",
                va="center",
                fontsize=style.TICK - 1,
                color=style.ink_on(colour),
                clip_on=True,
            )
