"""What runs elsewhere than planned, and why."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import Any

import numpy as np

from talos_opt.analysis.moves import companions, try_move
from talos_opt.core import rounding
from talos_opt.core.metrics import objective_value
from talos_opt.core.replanning import Replanning
from talos_opt.core.schedule import Schedule

#: Seconds that asking what staying would cost may take.
_MOST_S = 2.0


@dataclass(frozen=True)
class Moved:
    """An op that had not started, or runs again, and runs elsewhere than planned.

    Parameters
    ----------
    op : str
        ``MODEL/OP``.
    source, target : str
        Devices: planned, and now.
    planned_start, start : float
    why : str
    gain : float or None
        By how much the objective would be larger if it stayed, with what is colocated with it, in
        the order of the new schedule; None where it cannot stay, or that was not looked at.
    """

    op: str
    source: str
    target: str
    planned_start: float
    start: float
    why: str
    gain: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return it in plain types."""
        found: dict[str, Any] = {
            "op": self.op,
            "from": self.source,
            "to": self.target,
            "planned_start": self.planned_start,
            "start": self.start,
            "why": self.why,
        }
        return found if self.gain is None else found | {"gain": self.gain}


def list_moves(left: Replanning, schedule: Schedule) -> tuple[Moved, ...]:
    """Return what moves in a schedule of what is left, in the order of the new starts.

    Parameters
    ----------
    left : Replanning
    schedule : Schedule
    """
    running, problem = left.running, left.problem
    ids, names = problem.device_ids, problem.names
    old = len(running.device)
    ops = np.flatnonzero(running.device != schedule.device[:old])
    ops = ops[np.argsort(schedule.start[ops], kind="stable")]
    reasons = _Reasons(left, schedule)
    found = []
    for op in ops.tolist():
        why, gain = reasons.of(op)
        found.append(
            Moved(
                names[op],
                ids[int(running.device[op])],
                ids[int(schedule.device[op])],
                float(running.start[op]),
                float(schedule.start[op]),
                why,
                gain,
            )
        )
    return tuple(found)


class _Reasons:
    def __init__(self, left: Replanning, schedule: Schedule) -> None:
        self.left, self.schedule = left, schedule
        self.until = time.monotonic() + _MOST_S
        self.lost = set(left.lost)
        self.value = objective_value(left.problem, schedule)
        self.known: dict[int, tuple[str, float | None]] = {}

    def of(self, op: int) -> tuple[str, float | None]:
        """Return why an op does not run where it was planned, and what that gains."""
        problem = self.left.problem
        source, frozen = int(self.left.running.device[op]), problem.frozen
        name = problem.device_ids[source]
        if frozen is not None and frozen.left[source]:
            return f"{name} left" + (", it runs again" if op in self.lost else ""), None
        group = int(problem.arrays.group[op])
        if group not in self.known:
            self.known[group] = self._look(op, source, name)
        return self.known[group]

    def _look(self, op: int, source: int, name: str) -> tuple[str, float | None]:
        problem = self.left.problem
        if time.monotonic() > self.until:
            return "not looked at", None
        together = len(companions(problem, op)) > 1
        move = try_move(problem, self.schedule, op, source)
        if move.value is None:
            return f"it cannot stay on {name}: {move.reason}", None
        gain = move.value - self.value
        who = "its group" if together else "it"
        if gain <= rounding.ULPS * math.ulp(self.value) + 1e-9 * abs(self.value):
            return f"as good as on {name}", 0.0
        return f"{who} would add {gain:.6g} {problem.graph.time_unit} on {name}", gain
