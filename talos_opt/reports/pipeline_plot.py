"""Picture of a pipeline's step: a row for each stage, a box for each block."""

from __future__ import annotations

from typing import TYPE_CHECKING

from talos_opt.core.columns import BACKWARD, FORWARD, UPDATE
from talos_opt.core.pipelining.records import Step
from talos_opt.core.problem import Problem
from talos_opt.reports import style

if TYPE_CHECKING:
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
    from matplotlib.collections import PatchCollection
    from matplotlib.patches import Patch, Rectangle

    used = step.stages
    row = {d: k for k, d in enumerate(used)}
    drawing = style.figure(9.0, 1.9 + 0.42 * len(used))
    axes = drawing.subplots()
    span = step.time or 1.0
    for phase, (_, colour) in _PHASES.items():
        blocks = [block for block in step.blocks if block.phase == phase]
        boxes = [
            Rectangle((block.start, row[block.device] - 0.4), block.end - block.start, 0.8)
            for block in blocks
        ]
        edge = "white" if len(step.blocks) <= _EDGED else "none"
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
                    color="white",
                    clip_on=True,
                )
    axes.set_xlim(0, span)
    axes.set_ylim(len(used) - 0.5, -0.5)
    axes.set_yticks(range(len(used)), [style.shortened(problem.device_ids[d]) for d in used])
    style.time_axis(axes, "x", "time", span, problem.graph.time_unit)
    axes.set_title(
        f"{style.shortened(problem.graph.name, 40)}: {step.schedule} with {step.microbatches} "
        f"micro-batches, {100 * step.bubble:.1f} % bubble",
        fontsize=style.TITLE,
        loc="left",
    )
    style.tidy(axes, grid="x")
    shown = {block.phase for block in step.blocks}
    handles = [
        Patch(color=colour, label=name)
        for phase, (name, colour) in _PHASES.items()
        if phase in shown
    ]
    drawing.legend(
        handles=handles,
        loc="outside lower left",
        frameon=False,
        fontsize=style.TICK,
        ncols=3,
    )
    return drawing
