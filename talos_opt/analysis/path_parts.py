"""The critical path as a list of ops and transfers, and what their times add up to."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from talos_opt.analysis.causes import Cause, Causes, Step
from talos_opt.core.problem import Problem
from talos_opt.core.schedule import Schedule

#: Causes by which an activity queues for what another one held, and reads nothing of it.
QUEUES = frozenset({Cause.SLOT, Cause.LINK, Cause.MEMORY})


@dataclass(frozen=True, slots=True)
class Stretch:
    """One op or transfer of the path.

    Parameters
    ----------
    op : int
        The op, or the one whose tensor is sent.
    transfer : int
        Row of the transfer; -1: the op itself.
    gap : float
        Time between the end of what is before it on the path (for the first: the earliest
        release) and its start.
    length : float
    cause : Cause
        Why it started no sooner.
    """

    op: int
    transfer: int
    gap: float
    length: float
    cause: Cause


@dataclass(frozen=True)
class PathParts:
    """A critical path, summed; times in the graph's unit.

    Parameters
    ----------
    stretches : tuple of Stretch
        From the first to the last.
    compute, transfer : float
        Time of the ops and of the transfers on it.
    release : float
        From the earliest release to the one that the path begins with.
    gap : float
        In which nothing on the path runs: the order was chosen that way.
    queue : float
        Of compute and transfer: time of activities that the next on the path read nothing of, but
        waited for to get their slot, link or memory.
    by_device : dict of int to float
        Compute time per device.
    by_link : dict of (int, int) to float
        Transfer time per source and target.
    by_type : dict of str to float
        Compute time per op type; empty: ops without one.
    """

    stretches: tuple[Stretch, ...]
    compute: float
    transfer: float
    release: float
    gap: float
    queue: float
    by_device: dict[int, float]
    by_link: dict[tuple[int, int], float]
    by_type: dict[str, float]

    @property
    def end(self) -> float:
        """When its last op ends, counted from the earliest release: the sum of the four parts."""
        return self.compute + self.transfer + self.release + self.gap


def path_parts(
    problem: Problem, schedule: Schedule, causes: Causes, steps: Iterable[Step]
) -> PathParts:
    """Sum up a critical path.

    Parameters
    ----------
    problem : Problem
    schedule : Schedule
    causes : Causes
    steps : iterable of Step
        As `critical_path` returns them.
    """
    origin = float(problem.arrays.release.min())
    stretches = tuple(_stretches(schedule, causes, steps, origin))
    columns = problem.graph.columns
    moves = schedule.transfers
    sums = {"compute": 0.0, "transfer": 0.0, "release": 0.0, "gap": 0.0}
    by_device: dict[int, float] = defaultdict(float)
    by_link: dict[tuple[int, int], float] = defaultdict(float)
    by_type: dict[str, float] = defaultdict(float)
    for k, item in enumerate(stretches):
        released = k == 0 and item.cause is Cause.RELEASE
        sums["release" if released else "gap"] += item.gap
        if item.transfer < 0:
            sums["compute"] += item.length
            by_device[int(schedule.device[item.op])] += item.length
            by_type[columns.types[columns.type[item.op]]] += item.length
        else:
            sums["transfer"] += item.length
            row = item.transfer
            by_link[int(moves.source[row]), int(moves.target[row])] += item.length
    return PathParts(
        stretches, **sums, queue=_queued(stretches),
        by_device=dict(by_device), by_link=dict(by_link), by_type=dict(by_type),
    )  # fmt: skip


def _stretches(
    schedule: Schedule, causes: Causes, steps: Iterable[Step], origin: float
) -> Iterable[Stretch]:
    moves, at = schedule.transfers, origin
    for step in steps:
        for row in step.transfers:
            start, end = float(moves.start[row]), float(moves.end[row])
            cause = Cause(int(causes.hop_cause[row]))
            yield Stretch(int(moves.op[row]), row, start - at, end - start, cause)
            at = end
        start, end = float(schedule.start[step.op]), float(schedule.end[step.op])
        yield Stretch(step.op, -1, start - at, end - start, step.cause)
        at = end


def _queued(stretches: Sequence[Stretch]) -> float:
    found = (a.length for a, b in pairwise(stretches) if b.cause in QUEUES)
    return sum(found, 0.0)
