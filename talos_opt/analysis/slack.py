"""How much later each op may start before the objective grows, and what it would hold up.

The placement is kept, and so is the order on every device and link: what began after another had
ended there still begins after its end. The objective is the problem's own; the bottleneck does not
depend on times, and the makespan stands in for it.

Keeping that order keeps slots, links and memory within what the schedule used: intervals that did
not overlap in pairs never do, and by Helly's theorem no more of them meet at once.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from dataclasses import dataclass

import numpy as np

from talos_opt.analysis.causes import Cause, Causes, Step
from talos_opt.analysis.deliveries import arrivals, departures
from talos_opt.core import rounding
from talos_opt.core.metrics import completion_times
from talos_opt.core.problem import UNLIMITED, Floats, Ints, MemoryRule, Objective, Problem
from talos_opt.core.schedule import Schedule


@dataclass(frozen=True)
class Slacks:
    """Slack of n ops and t transfers; activities 0 to n - 1 are the ops, n to n + t - 1 the rest.

    Parameters
    ----------
    op : (n,) float
        How much later each op may start, in the graph's time unit; infinite where nothing that
        counts depends on it.
    transfer : (t,) float
        The same of each transfer.
    ahead : (n + t,) int
        Activity that would be held up first, or of several the one that limits the slack; -1:
        the op itself is what the objective waits for.
    """

    op: Floats
    transfer: Floats
    ahead: Ints

    def __post_init__(self) -> None:
        for column in vars(self).values():
            column.setflags(write=False)


def find_slacks(problem: Problem, schedule: Schedule) -> Slacks:
    """Compute the slack of every op and transfer of a feasible schedule."""
    return _Backwards(problem, schedule).run()


def path_ahead(slacks: Slacks, causes: Causes, op: int) -> tuple[Step, ...]:
    """Return the ops that an op would hold up, one after the other, up to the one that counts.

    Parameters
    ----------
    slacks : Slacks
    causes : Causes
    op : int
        Not part of the answer.
    """
    count = len(slacks.op)
    steps: list[Step] = []
    hops: list[int] = []
    at = int(slacks.ahead[op])
    while at >= 0:
        if at >= count:
            hops.append(at - count)
        else:
            last = hops[-1] if hops else -1
            steps.append(Step(at, last, Cause(int(causes.cause[at])), tuple(hops)))
            hops = []
        at = int(slacks.ahead[at])
    return tuple(steps)


class _Line:
    """Latest starts of what uses one resource, entered from the last to begin to the first."""

    def __init__(self) -> None:
        self._begun: list[int] = []  # negated ranks of starts, so that they ascend
        self._least: list[tuple[float, int]] = []  # latest start and activity, least so far

    def enter(self, rank: int, latest: float, activity: int) -> None:
        self._begun.append(-rank)
        item = (latest, activity)
        self._least.append(min(item, self._least[-1]) if self._least else item)

    def first_from(self, rank: int) -> tuple[float, int]:
        """Return the least latest start of all that begins at this rank or later."""
        k = bisect_right(self._begun, -rank) - 1
        return self._least[k] if k >= 0 else (math.inf, -1)


class _Backwards:
    """From the last activity to the first: by when it must have ended, and for whose sake."""

    def __init__(self, problem: Problem, schedule: Schedule) -> None:
        self.problem, self.schedule = problem, schedule
        self.arrays, self.moves = problem.arrays, schedule.transfers
        self.count = self.arrays.op_count
        self.start = np.concatenate([schedule.start, self.moves.start])
        end = np.concatenate([schedule.end, self.moves.end])
        self.length = (end - self.start).tolist()
        self.noise = rounding.noise(schedule.start, schedule.end)
        ranks = _ranks(np.concatenate([self.start, end]), self.noise)
        self.begun, self.ended = ranks[: len(end)].tolist(), ranks[len(end) :].tolist()
        self.readers = self._readers()
        self.limited = (
            (self.arrays.capacity < UNLIMITED).tolist()
            if problem.memory_rule is MemoryRule.PEAK
            else [False] * self.arrays.device_count
        )
        self.lines: dict[tuple[str, int], _Line] = {}
        self.latest = self._bounds()  # of ends
        self.ahead = [-1] * len(end)

    def run(self) -> Slacks:
        together = any(self.limited)
        batch: list[int] = []
        for a in self._order()[::-1]:
            if batch and not (
                together and self._at_once(a) and self.begun[a] == self.begun[batch[0]]
            ):
                self._settle(batch)
                batch = []
            self._look_ahead(a)
            batch.append(a)
            if not (together and self._at_once(a)):
                self._settle(batch)
                batch = []
        self._settle(batch)
        slack = np.array(self.latest) - np.array(self.length) - self.start
        slack[slack <= self.noise] = 0.0
        return Slacks(
            slack[: self.count], slack[self.count :], np.array(self.ahead, dtype=np.int64)
        )

    def _at_once(self, a: int) -> bool:
        return bool(self.begun[a] == self.ended[a])

    def _order(self) -> list[int]:
        """Activities by start, then end; what takes no time in topological order."""
        depth = self.arrays.rank
        first = self.moves.source == self.schedule.device[self.moves.op]
        step = depth[self.moves.op] + np.where(first, 0.25, 0.5)
        by_time = np.lexsort((np.concatenate([depth, step]), self.ended, self.begun))
        return [int(a) for a in by_time]

    def _bounds(self) -> list[float]:
        """By when each activity must have ended for the objective's own sake."""
        arrays, end = self.arrays, self.schedule.end
        if self.problem.objective is Objective.TOCT:
            counts = arrays.model_weight > 0
            done = np.where(counts, completion_times(self.problem, self.schedule), np.inf)
            bounds = done[arrays.model]
        else:
            bounds = np.full(self.count, end.max())
        return [*bounds.tolist(), *[math.inf] * len(self.moves)]

    def _readers(self) -> list[list[int]]:
        """What waits for the tensor of each op, or for that which each transfer brings."""
        arrays, moves = self.arrays, self.moves
        found: list[list[int]] = [[] for _ in self.start]
        reads, sent = arrivals(self.problem, self.schedule), departures(self.problem, self.schedule)
        rows = self.count + np.arange(len(moves))
        for waits, activity in ((reads, arrays.edge_dst), (sent, rows)):
            for a, b in zip(waits.activity(self.count).tolist(), activity.tolist(), strict=True):
                found[a].append(b)
        return found

    def _resources(self, a: int) -> tuple[list[tuple[str, int]], list[tuple[str, int]]]:
        """What an activity takes at its start, and what it may give back at its end."""
        takes: list[tuple[str, int]] = []
        gives: list[tuple[str, int]] = []
        if a < self.count:
            here = int(self.schedule.device[a])
            sides, held = [here], [("slot", here)]
            into = here
        else:
            source, into = (int(c[a - self.count]) for c in (self.moves.source, self.moves.target))
            sides = [source, into]
            held = [("slot", d) for d in sides if not self.arrays.copy_engine[d]]
            channel = int(self.arrays.channel[source, into])
            held += [("link", channel)] if channel >= 0 else []
        if not self._at_once(a):
            takes += held
            gives += held
        takes += [("memory", into)] if self.limited[into] else []
        gives += [("memory", d) for d in sides if self.limited[d]]
        return takes, gives

    def _look_ahead(self, a: int) -> None:
        """Find what must not be held up among all that begins after an activity."""
        found = [(self.latest[b] - self.length[b], b) for b in self.readers[a]]
        for resource in self._resources(a)[1]:
            if resource in self.lines:
                found.append(self.lines[resource].first_from(self.ended[a]))
        latest, b = min(found, default=(math.inf, -1))
        if latest < self.latest[a]:
            self.latest[a], self.ahead[a] = latest, b

    def _settle(self, batch: list[int]) -> None:
        """Enter activities that begin together.

        Under the peak rule all that takes no time at one moment stays at one moment: a tensor
        born and read there would else come to life for a while.
        """
        least = min((self.latest[a] for a in batch), default=math.inf)
        lead = [a for a in batch if self.latest[a] == least and self.ahead[a] not in batch]
        for a in batch:
            if self.latest[a] > least:
                self.latest[a], self.ahead[a] = least, lead[0]
            for resource in self._resources(a)[0]:
                line = self.lines.setdefault(resource, _Line())
                line.enter(self.begun[a], self.latest[a] - self.length[a], a)


def _ranks(times: Floats, tolerance: float) -> Ints:
    """Number times in order; those closer than the tolerance to their neighbour share a number."""
    by_time = np.argsort(times, kind="stable")
    ranks = np.empty(len(times), dtype=np.int64)
    ranks[by_time] = np.cumsum(np.diff(times[by_time], prepend=times[by_time[:1]]) > tolerance)
    return ranks
