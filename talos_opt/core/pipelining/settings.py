"""How a graph is run as a pipeline: micro-batches and the order of blocks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from talos_opt.core import units
from talos_opt.core.errors import GraphError
from talos_opt.core.plain import Keys, is_mapping

PIPELINE_KEYS = Keys("microbatches schedule", "")

#: More micro-batches than anybody runs; every device has two blocks for each.
MOST_MICROBATCHES = 2**16
#: More blocks than this take seconds for each placement that is looked at.
MOST_BLOCKS = 2**18


class PipelineSchedule(StrEnum):
    """In which order a stage runs its blocks."""

    GPIPE = "gpipe"
    ONE_F_ONE_B = "1f1b"


@dataclass(frozen=True)
class Pipelining:
    """How a step is run.

    Parameters
    ----------
    microbatches : int
        At least 1. The op times of a graph are those of one.
    schedule : PipelineSchedule or str
        ``gpipe`` or ``1f1b``.

    Raises
    ------
    GraphError
        On another number or schedule.
    """

    microbatches: int
    schedule: PipelineSchedule

    def __post_init__(self) -> None:
        count = self.microbatches
        if not isinstance(count, int) or isinstance(count, bool) or count < 1:
            raise GraphError(
                f"microbatches is {units.describe(count)}, expected a whole number of 1 or more",
                path="microbatches",
            )
        if count > MOST_MICROBATCHES:
            raise GraphError(
                f"microbatches is {count}, expected at most {MOST_MICROBATCHES}",
                path="microbatches",
            )
        try:
            object.__setattr__(self, "schedule", PipelineSchedule(self.schedule))
        except ValueError:
            expected = ", ".join(PipelineSchedule)
            raise GraphError(
                f"schedule is {units.describe(self.schedule)}, expected one of {expected}",
                path="schedule",
            ) from None

    def __str__(self) -> str:
        return f"{self.schedule.value} of {self.microbatches} micro-batches"

    @classmethod
    def of(cls, value: Pipelining | Mapping[str, Any], path: str = "pipeline") -> Pipelining:
        """Read what a caller or a file gives: a mapping of both, or itself.

        Raises
        ------
        GraphError
            With the path of the value.
        """
        if isinstance(value, Pipelining):
            return value
        if not is_mapping(value):
            raise GraphError(
                f"pipeline is {units.describe(value)}, expected microbatches and schedule",
                path=path,
            )
        try:
            return cls(**PIPELINE_KEYS.check(value, "pipeline", ""))
        except GraphError as error:
            where = f"{path}.{error.path}" if error.path else path
            raise GraphError(error.message, path=where) from None

    def require_few_blocks(self, devices: int) -> None:
        """Refuse more blocks than can be simulated for one placement after another.

        Parameters
        ----------
        devices : int
            How many may be stages.

        Raises
        ------
        GraphError
        """
        most = max(1, MOST_BLOCKS // (2 * devices))
        if self.microbatches > most:
            raise GraphError(
                f"microbatches is {self.microbatches}, expected at most {most} on {devices} "
                f"device(s): a step may have {MOST_BLOCKS} blocks",
                path="pipeline.microbatches",
            )

    def to_plain(self) -> dict[str, Any]:
        """Return the form that `of` reads back."""
        return {"microbatches": self.microbatches, "schedule": self.schedule.value}
