"""Export ``hosts``: each op and its device on a line."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from talos_opt import Problem, Schedule

summary = "each op and its device, as text"
suffixes = (".hosts",)


def write(
    problem: Problem, schedule: Schedule, target: str, names: Mapping[str, str]
) -> dict[str, int]:
    """Write a placement; returns what there is to count."""
    placement = schedule.placement(problem)
    rows = (f"{op} {names.get(device, device)}\n" for op, device in placement.items())
    Path(target).write_text("".join(rows))
    return {"ops": len(placement)}
