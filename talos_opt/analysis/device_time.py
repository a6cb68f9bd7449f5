"""How each device spends its time: what it computes, what it waits for, and how long."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from talos_opt.analysis.gaps import Gaps, Part
from talos_opt.core.occupancy import compute_intervals
from talos_opt.core.problem import Floats, Problem
from talos_opt.core.schedule import Schedule

#: Waits of a device that are named.
NAMED = 5


@dataclass(frozen=True)
class Wait:
    """What a device waited for, over all of its gaps.

    Parameters
    ----------
    part : Part
    time : float
        Slot time per slot, in the graph's unit.
    op : int
        That was waited for; -1: none.
    transfer : int
        Row of the transfer of its tensor that was waited for; -1: none.
    """

    part: Part
    time: float
    op: int
    transfer: int


@dataclass(frozen=True)
class DeviceTime:
    """The time of one device, in parts.

    Parameters
    ----------
    device : int
    parts : tuple of float
        Slot time per slot of each `Part`, in the graph's unit; they add up to the time
        from the earliest release to the makespan.
    waits : tuple of Wait
        The longest, at most `NAMED`.
    """

    device: int
    parts: tuple[float, ...]
    waits: tuple[Wait, ...]

    @property
    def busy(self) -> float:
        """Time in which slots are in use, per slot."""
        return self.parts[Part.COMPUTE] + self.parts[Part.TRANSFER]

    def shares(self, whole: float) -> tuple[float, ...]:
        """Return each part as a share of a time; 0 of no time."""
        return tuple(part / whole if whole > 0 else 0.0 for part in self.parts)


def device_times(problem: Problem, schedule: Schedule, gaps: Gaps) -> tuple[DeviceTime, ...]:
    """Split the time of every device.

    Parameters
    ----------
    problem : Problem
    schedule : Schedule
        A feasible one.
    gaps : Gaps
        Of this schedule.
    """
    parts = _parts(problem, schedule, gaps)
    waits = _waits(problem, gaps)
    return tuple(
        DeviceTime(d, tuple(row), waits.get(d, ())) for d, row in enumerate(parts.tolist())
    )


def _parts(problem: Problem, schedule: Schedule, gaps: Gaps) -> Floats:
    """Time of each part on each device, per slot (m, 9)."""
    count, kinds = problem.arrays.device_count, len(Part)
    held = compute_intervals(problem, schedule)
    # It lists the ops, then the transfers that hold slots.
    kind = np.full(len(held.start), Part.TRANSFER)
    kind[: problem.arrays.op_count] = Part.COMPUTE
    row = np.concatenate([held.resource * kinds + kind, gaps.device * kinds + gaps.part])
    spent = np.concatenate([(held.end - held.start) * held.amount, gaps.spent])
    total = np.bincount(row, weights=spent, minlength=count * kinds).reshape(count, kinds)
    # An overlap that rounding leaves is time that a device has twice.
    return np.asarray(total / problem.arrays.slots[:, None])


def _waits(problem: Problem, gaps: Gaps) -> dict[int, tuple[Wait, ...]]:
    """Return the longest waits of each device, longest first."""
    rows = np.flatnonzero((gaps.by >= 0) & (gaps.end > gaps.start))
    if not len(rows):
        return {}
    columns = [column[rows] for column in (gaps.device, gaps.part, gaps.by, gaps.transfer)]
    keys, of = np.unique(np.stack(columns), axis=1, return_inverse=True)
    time = np.bincount(of.reshape(-1), weights=gaps.spent[rows], minlength=keys.shape[1])
    time = time / problem.arrays.slots[keys[0]]
    found: dict[int, list[Wait]] = {}
    for k in np.argsort(-time, kind="stable").tolist():
        device, part, by, transfer = keys[:, k].tolist()
        listed = found.setdefault(device, [])
        if len(listed) < NAMED:
            listed.append(Wait(Part(part), float(time[k]), by, transfer))
    return {device: tuple(listed) for device, listed in found.items()}
