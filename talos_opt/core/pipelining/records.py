"""What a step consists of: blocks, and what they come to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from talos_opt.core.arrays import Floats, Ints
from talos_opt.core.columns import PHASES
from talos_opt.core.pipelining.settings import PipelineSchedule


class Block(NamedTuple):
    """What a stage runs in one go: the ops of a phase for one micro-batch.

    Parameters
    ----------
    device : int
    phase : int
        `FORWARD`, `BACKWARD` or `UPDATE` of `core.columns`.
    microbatch : int
        From 0; -1 for the update.
    start, end : float
        In the graph's unit.
    """

    device: int
    phase: int
    microbatch: int
    start: float
    end: float


@dataclass(frozen=True)
class Step:
    """One step: all micro-batches through all stages.

    Parameters
    ----------
    schedule : PipelineSchedule
    microbatches : int
    time : float
        From the first start to the last end.
    blocks : tuple of Block
        In the order of their ends.
    memory : (m,) int
        Bytes that each device needs.
    capacity : (m,) int
    busy : (m,) float
        Time for which each device runs blocks.
    """

    schedule: PipelineSchedule
    microbatches: int
    time: float
    blocks: tuple[Block, ...]
    memory: Ints
    capacity: Ints
    busy: Floats

    @property
    def stages(self) -> list[int]:
        """Devices that run something, in the order of their first starts."""
        first: dict[int, float] = {}
        for block in sorted(self.blocks, key=lambda block: block.start):
            first.setdefault(block.device, block.start)
        return list(first)

    @property
    def bubble(self) -> float:
        """Share of the stages' time in the step in which they run nothing."""
        used = self.stages
        return 1.0 - float(self.busy[used].sum()) / (self.time * len(used)) if self.time else 0.0

    @property
    def short(self) -> Ints:
        """Bytes that each device is short of (m,)."""
        return np.asarray(np.maximum(0, self.memory - self.capacity))

    @property
    def fits(self) -> bool:
        """Whether no device is short of memory."""
        return not self.short.any()

    def to_dict(self, ids: Sequence[str]) -> dict[str, Any]:
        """Return the step in plain types; times in the graph's unit.

        Parameters
        ----------
        ids : sequence of str
            Of the devices.
        """
        used = self.stages
        return {
            "schedule": self.schedule.value,
            "microbatches": self.microbatches,
            "step": self.time,
            "bubble": self.bubble,
            "fits": self.fits,
            "stages": [
                {
                    "device": ids[d],
                    "busy": float(self.busy[d]),
                    "memory": int(self.memory[d]),
                    "short": int(self.short[d]),
                    "blocks": [
                        {
                            "phase": PHASES[block.phase],
                            "microbatch": block.microbatch if block.microbatch >= 0 else None,
                            "start": block.start,
                            "end": block.end,
                        }
                        for block in self.blocks
                        if block.device == d
                    ],
                }
                for d in used
            ],
        }
