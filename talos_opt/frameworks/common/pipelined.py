"""What running a model as a pipeline shows, beside what was predicted of it."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from talos_opt.core import units
from talos_opt.core.cluster import Cluster, Device
from talos_opt.core.columns import BACKWARD, FORWARD, PHASES, UPDATE
from talos_opt.core.graph import Graph, Input, Model, Op
from talos_opt.core.pipelining.records import Block, Step
from talos_opt.core.pipelining.step import Pipeline
from talos_opt.core.problem import Objective, Problem
from talos_opt.core.schedule import Schedule, Transfers

_US = 1e6


@dataclass(frozen=True)
class Times:
    """A length as predicted and as measured, in seconds."""

    predicted_s: float
    measured_s: float

    def to_dict(self) -> dict[str, float]:
        """Return both."""
        return {"predicted_s": self.predicted_s, "measured_s": self.measured_s}


@dataclass(frozen=True)
class StageTimes:
    """A stage.

    Parameters
    ----------
    device : str
        Of the schedule.
    where : str
        The framework's name for it.
    forward, backward, update : Times
        Of a block; measured: the median over micro-batches and steps.
    handover : Times
        From the end of a forward block until the next stage has what it made, both being idle;
        measured: the shortest of several.
    """

    device: str
    where: str
    forward: Times
    backward: Times
    update: Times
    handover: Times


@dataclass(frozen=True)
class PipelineReport:
    """What running a schedule as a pipeline showed.

    Parameters
    ----------
    outputs_equal : bool
        Whether the outputs of all micro-batches agree with the plain model's.
    max_abs_error : float
        Over all outputs.
    gradients_equal : bool, optional
        Whether loss and gradients agree; None in inference.
    max_gradient_error : float, optional
    predicted : Step
        In the graph's unit.
    predicted_s, measured_s : float
        Of a step; measured: the median of the repeats, from the first block's start on.
    spread : float
        Half the interquartile range of the measured steps over their median.
    single_process_s : float
        Of the plain model with the same micro-batches, one after the other, in one process.
    stages : tuple of StageTimes
        In the order in which they run.
    blocks : tuple of Block
        Of the median step, in seconds since it began; their devices are positions in `stages`.
    threads : int
        Of each process.
    computed_s : float, optional
        For how long the processes had a core during the median step's blocks, all together: on a
        busy machine less than the blocks took. None on GPUs.
    others : float, optional
        Share of all cores that other processes took meanwhile; None: unknown.
    notes : tuple of str
    """

    outputs_equal: bool
    max_abs_error: float
    gradients_equal: bool | None
    max_gradient_error: float | None
    predicted: Step
    predicted_s: float
    measured_s: float
    spread: float
    single_process_s: float
    stages: tuple[StageTimes, ...]
    blocks: tuple[Block, ...]
    threads: int = 1
    computed_s: float | None = None
    others: float | None = None
    notes: tuple[str, ...] = ()

    @property
    def equal(self) -> bool:
        """Whether everything that was compared agrees."""
        return self.outputs_equal and self.gradients_equal is not False

    def to_dict(self) -> dict[str, Any]:
        """Return the numbers that scripts read."""
        return {
            "schedule": self.predicted.schedule.value,
            "microbatches": self.predicted.microbatches,
            "outputs_equal": self.outputs_equal,
            "max_abs_error": _finite(self.max_abs_error),
            "gradients_equal": self.gradients_equal,
            "max_gradient_error": _finite(self.max_gradient_error),
            "predicted_s": self.predicted_s,
            "measured_s": self.measured_s,
            "spread": self.spread,
            "single_process_s": self.single_process_s,
            "threads": self.threads,
            "computed_s": self.computed_s,
            "others": self.others,
            "stages": [
                {
                    "device": stage.device,
                    "where": stage.where,
                    "forward": stage.forward.to_dict(),
                    "backward": stage.backward.to_dict(),
                    "update": stage.update.to_dict(),
                    "handover": stage.handover.to_dict(),
                }
                for stage in self.stages
            ],
            "blocks": [
                {
                    "stage": block.device,
                    "phase": PHASES[block.phase],
                    "microbatch": block.microbatch if block.microbatch >= 0 else None,
                    "start_s": block.start,
                    "end_s": block.end,
                }
                for block in self.blocks
            ],
        }


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def stage_times(
    pipeline: Pipeline,
    names: Sequence[str],
    where: Mapping[str, str],
    steps: Sequence[Sequence[Block]],
    handovers_s: Sequence[float],
) -> tuple[StageTimes, ...]:
    """Return the stages' times as predicted and as measured.

    Parameters
    ----------
    pipeline : Pipeline
    names : sequence of str
        Devices of the stages, in order.
    where : mapping of str to str
        The framework's name for each device.
    steps : sequence of sequence of Block
        Blocks of each measured step, in seconds; their devices are positions in `names`.
    handovers_s : sequence of float
        Measured, of each stage.
    """
    unit = 1 / units.PER_SECOND[pipeline.stages.problem.graph.time_unit]
    lengths: dict[tuple[int, int], list[float]] = {}
    for blocks in steps:
        for block in blocks:
            lengths.setdefault((block.device, block.phase), []).append(block.end - block.start)
    found = []
    for k, name in enumerate(names):
        d = pipeline.stages.problem.device_ids.index(name)
        forward, backward, update = (
            Times(float(pipeline.stages.length[d, phase]) * unit, _median(lengths.get((k, phase))))
            for phase in (FORWARD, BACKWARD, UPDATE)
        )
        sent = Times(_handover(pipeline, d) * unit, handovers_s[k])
        found.append(StageTimes(name, where[name], forward, backward, update, sent))
    return tuple(found)


def _median(values: Sequence[float] | None) -> float:
    return statistics.median(values) if values else 0.0


def _handover(pipeline: Pipeline, d: int) -> float:
    """Time until all that a forward block has made is where it is read, nothing else moving."""
    together, in_turn = 0.0, 0.0
    for send in pipeline.stages.sends.get((d, FORWARD), ()):
        took = sum(time for time, _ in send.hops)
        if any(channel >= 0 for _, channel in send.hops):
            in_turn += took
        else:
            together = max(together, took)
    return max(together, in_turn)


def measured_blocks(report: PipelineReport, name: str) -> tuple[Problem, Schedule]:
    """Return the blocks of the median step as a schedule, in microseconds: for traces.

    Parameters
    ----------
    report : PipelineReport
    name : str
        Of the graph.
    """
    ids = [stage.device for stage in report.stages]
    blocks = sorted(report.blocks, key=lambda block: block.start)
    known = {(block.device, block.phase, block.microbatch) for block in blocks}
    ops = tuple(
        Op(
            id=_block_id(ids, block.device, block.phase, block.microbatch),
            time={ids[block.device]: (block.end - block.start) * _US},
            inputs=tuple(
                Input(_block_id(ids, *key)) for key in _before(block, len(ids)) if key in known
            ),
            type=PHASES[block.phase],
            phase=PHASES[block.phase],
        )
        for block in blocks
    )
    cluster = Cluster(
        tuple(Device(stage.device, f"stage {k}") for k, stage in enumerate(report.stages))
    )
    graph = Graph(name, (Model(name.replace("/", "-"), ops),), "us")
    problem = Problem(graph, cluster, Objective.MAKESPAN)
    return problem, Schedule(
        np.array([block.device for block in blocks], dtype=np.int64),
        np.array([block.start * _US for block in blocks]),
        np.array([block.end * _US for block in blocks]),
        Transfers.from_rows(()),
    )


def _block_id(ids: Sequence[str], stage: int, phase: int, microbatch: int) -> str:
    number = f" {microbatch}" if microbatch >= 0 else ""
    return f"{PHASES[phase]}{number} ({ids[stage]})"


def _before(block: Block, count: int) -> list[tuple[int, int, int]]:
    """Return the blocks whose tensors a block waits for."""
    s, k = block.device, block.microbatch
    if block.phase == FORWARD:
        return [(s - 1, FORWARD, k)] if s else []
    if block.phase == BACKWARD:
        return [(s + 1, BACKWARD, k)] if s + 1 < count else [(s, FORWARD, k)]
    return []
