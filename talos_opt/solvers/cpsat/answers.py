"""A solution on the grid, as read from CP-SAT."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from talos_opt.core.problem import Ints
from talos_opt.solvers.cpsat.placement import PlacementFormulation
from talos_opt.solvers.cpsat.sequencing import SequencingFormulation


@dataclass(frozen=True)
class Answer:
    """A solution on the grid.

    Parameters
    ----------
    group_device : (g,) int
    start, end : list of int, empty without sequencing
        Ticks of every op.
    hops : dict of (tensor, source, target) to (start, end)
        Ticks of hops that are activities.
    """

    group_device: Ints
    start: list[int]
    end: list[int]
    hops: dict[tuple[int, int, int], tuple[int, int]]


def read_answer(formulation: PlacementFormulation, value: Callable[[Any], int]) -> Answer:
    """Copy a solution; `value` evaluates a variable."""
    group_device = np.array(
        [
            next(d for d, one in enumerate(row) if one is not None and value(one))
            for row in formulation.x
        ],
        dtype=np.int64,
    )
    start: list[int] = []
    end: list[int] = []
    hops: dict[tuple[int, int, int], tuple[int, int]] = {}
    if isinstance(formulation, SequencingFormulation):
        start = [int(value(one)) for one in formulation.start]
        end = [int(value(one)) for one in formulation.end]
        if formulation.hops_are_activities:
            hops = {
                key: (int(value(one)), int(value(formulation.hop_end[key])))
                for key, one in formulation.hop_start.items()
                if value(formulation.travels[key])
            }
    return Answer(group_device, start, end, hops)
