"""A problem in the form that solvers see: from time zero on, and at one scale.

Releases may be times of day, and op times nanoseconds in a graph whose unit is the second. A
solver should do the same for either. So the earliest release becomes 0, and times and weights are
multiplied by powers of two, which loses no digit, until all work together is `_WORK` and the
largest weight is 1. What solvers find is put back in the user's terms.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from talos_opt.core import rounding, units
from talos_opt.core.arrays import Arrays
from talos_opt.core.cluster import Cluster
from talos_opt.core.frozen import Frozen
from talos_opt.core.graph import ColumnarModels, Graph
from talos_opt.core.problem import Floats, Objective, Problem
from talos_opt.core.schedule import Schedule
from talos_opt.core.simulator import Activity, retime

#: Exponent of two of the work of all ops, each at its best time: a nine-decade range of op times
#: then lies above 1.
_WORK = 30


@dataclass(frozen=True)
class Normalised:
    """A problem, the one that solvers see, and the way between them.

    Parameters
    ----------
    original, problem : Problem
    origin : float
        Earliest release; time zero of `problem`.
    time_exponent, weight_exponent : int
        Times and weights of `problem` are those of `original` times two to these.
    """

    original: Problem
    problem: Problem
    origin: float
    time_exponent: int
    weight_exponent: int

    @classmethod
    def of(cls, problem: Problem) -> Normalised:
        """Normalise a problem."""
        arrays = problem.arrays
        origin = float(arrays.release.min())
        times, weights = _time_exponent(problem), _weight_exponent(arrays)
        if origin == 0 and times == 0 and weights == 0:
            return cls(problem, problem, 0.0, 0, 0)
        return cls(problem, _rescaled(problem, origin, times, weights), origin, times, weights)

    def value(self, value: float) -> float:
        """Return a value or bound of `problem` as one of `original`."""
        exponent, forced = self._scale()
        return math.ldexp(value, -exponent) + forced

    def bound(self, value: float) -> float:
        """Return a bound of `original` as one of `problem`, lower by what rounding may add."""
        exponent, forced = self._scale()
        if forced:
            value -= 2 * math.ulp(value)
        return math.ldexp(value - forced, exponent)

    def _scale(self) -> tuple[int, float]:
        """Return the exponent of two and what is added that make a value of one of the other."""
        objective = self.original.objective
        if objective is Objective.MEMORY:  # neither a time nor weighted
            return 0, 0.0
        if objective is Objective.TOCT:
            forced = self.origin * float(self.original.arrays.model_weight.sum())
            return self.time_exponent + self.weight_exponent, forced
        return self.time_exponent, self.origin if objective is Objective.MAKESPAN else 0.0

    def restore(self, schedule: Schedule) -> Schedule:
        """Return a schedule of `problem` as one of `original`.

        Times are rounded where they are added to the origin. Rounding keeps the order of times,
        so nothing overlaps or comes too early that did not; lengths may be off by a spacing.
        """
        if self.problem is self.original:
            return schedule

        def moved(times: Floats) -> Floats:
            return np.asarray(np.ldexp(times, -self.time_exponent) + self.origin)

        return _with_times(schedule, moved)

    def adopt(self, schedule: Schedule) -> Schedule:
        """Return a feasible schedule of `original` as one of `problem`.

        Its order is kept. Where time zero moves, times are worked out anew: the digits that they
        were written with may be too few for what they are now.
        """
        if self.problem is self.original:
            return schedule

        def moved(times: Floats) -> Floats:
            return np.asarray(np.ldexp(times - self.origin, self.time_exponent))

        found = _with_times(schedule, moved)
        if self.origin == 0:
            return found
        spans = zip(found.start.tolist(), found.end.tolist(), strict=True)
        ops = [Activity(*span) for span in spans]
        rows = found.transfers.rows()
        hops = {(row.tensor, row.target): Activity(row.start, row.end) for row in rows}
        return retime(self.problem, found.device, ops, hops)


def _with_times(schedule: Schedule, moved: Callable[[Floats], Floats]) -> Schedule:
    moves = schedule.transfers
    return Schedule(
        schedule.device,
        moved(schedule.start),
        moved(schedule.end),
        replace(moves, start=moved(moves.start), end=moved(moves.end)),
    )


def _time_exponent(problem: Problem) -> int:
    """Exponent that brings the work of all ops, or else the longest hop, to `_WORK` bits.

    As near to it as leaves every number within the limits of input (model.md, "Numbers").
    """
    arrays = problem.arrays
    total = float(arrays.time.min(axis=1).sum()) or float(
        (arrays.latency + arrays.per_byte * arrays.edge_bytes.max(initial=0)).max()
    )
    if not 0 < total < math.inf:
        return 0
    least, most = _exponent_range(problem)
    return min(max(_WORK - math.frexp(total)[1], least), most)


def _exponent_range(problem: Problem) -> tuple[int, int]:
    """Exponents that times can be multiplied by: at most 0, and at least 0."""
    arrays, columns, links = problem.arrays, problem.graph.columns, problem.cluster.links or ()
    hops = arrays.latency.max() * len(arrays.edge_bytes)
    hops += arrays.per_byte.max() * float(arrays.edge_bytes.sum())
    latest = float(arrays.release.max())
    if problem.frozen is not None:
        latest = max(latest, float(problem.frozen.moments[-1]))
    all_ = float(latest + np.nanmax(columns.time, axis=1) @ columns.slots + 2 * hops)
    # What is multiplied, and what is divided.
    large = [all_, *(link.latency for link in links)]
    small = [link.latency for link in links if link.latency > 0]
    speeds = [link.bandwidth for link in links if math.isfinite(link.bandwidth)]
    largest = max([*large, *(1 / speed for speed in speeds)])
    smallest = min([*small, *(1 / speed for speed in speeds)], default=1.0)
    least = math.ceil(math.log2(units.SMALLEST / smallest)) + 1
    most = math.floor(math.log2(units.LARGEST / largest)) - 1
    return min(least, 0), max(most, 0)


def _weight_exponent(arrays: Arrays) -> int:
    """Exponent that brings the largest weight of a model into (0.5, 1]."""
    mantissa, exponent = math.frexp(float(arrays.model_weight.max()))
    return 0 if mantissa == 0 else -exponent + (mantissa == 0.5)


def _rescaled(problem: Problem, origin: float, times: int, weights: int) -> Problem:
    """Return a problem whose graph, cluster and arrays are all shifted and scaled."""
    graph, arrays = problem.graph, problem.arrays
    release = np.ldexp(arrays.release - origin, times)
    weight = np.ldexp(arrays.model_weight, weights)
    columns = replace(
        graph.columns,
        release=release,
        model_weight=weight,
        time=np.ldexp(graph.columns.time, times),
    )
    vars(columns)["topology"] = graph.columns.topology  # the edges are the same
    scaled = problem.replaced(
        Graph(graph.name, ColumnarModels(columns), graph.time_unit),
        _scaled_cluster(problem.cluster, times),
        replace(
            arrays,
            time=np.ldexp(arrays.time, times),
            release=release,
            model_weight=weight,
            latency=np.ldexp(arrays.latency, times),
            per_byte=np.ldexp(arrays.per_byte, times),
        ),
    )
    if problem.frozen is not None:
        values = times + (weights if problem.objective is Objective.TOCT else 0)
        frozen = problem.frozen.rescaled(origin, times, values)
        if origin != 0:
            frozen = _settled(scaled, problem.frozen, frozen)
        object.__setattr__(scaled, "frozen", frozen)
    return scaled


def _settled(problem: Problem, given: Frozen, moved: Frozen) -> Frozen:
    """Work out the times of what has started again, in the order that it had.

    The digits that they were written with may be too few for what they are where time zero moves.

    Parameters
    ----------
    problem : Problem
        Where time zero has moved.
    given, moved : Frozen
        As it was, and with times that are only as good as those it was given.
    """
    arrays = problem.arrays
    ops, rows = np.flatnonzero(given.started).tolist(), list(given.transfers.rows())
    lengths = [float(arrays.time[i, int(np.argmax(given.allowed[i]))]) for i in ops]
    lengths += [arrays.transfer_time(row.source, row.target, row.bytes) for row in rows]
    old = [(float(given.start[i]), float(given.end[i])) for i in ops]
    old += [(row.start, row.end) for row in rows]
    release = arrays.release[arrays.model]
    first = [max(float(moved.start[i]), float(release[i])) for i in ops]
    first += moved.transfers.start.tolist()
    rank = [float(arrays.rank[i]) for i in ops] + [arrays.rank[row.op] + 0.5 for row in rows]
    start, end = np.zeros(len(old)), np.zeros(len(old))
    ended: list[tuple[float, float]] = []  # (as it was, now) of what has been started
    free = 0.0
    for k in sorted(range(len(old)), key=lambda k: (*old[k], rank[k])):
        allowed = rounding.slack(np.array([old[k][0]]))[0]
        if lengths[k] > 0:
            allowed = min(allowed, rounding.SHARE * (old[k][1] - old[k][0]))
        while ended and ended[0][0] <= old[k][0] + allowed:
            free = max(free, heapq.heappop(ended)[1])
        start[k] = max(free, first[k])
        end[k] = start[k] + lengths[k]
        heapq.heappush(ended, (old[k][1], float(end[k])))
    by_then = given.moment + rounding.slack(np.array([given.moment]))[0]
    over = [end[k] for k in range(len(old)) if old[k][1] <= by_then]
    begins, ends = moved.start.copy(), moved.end.copy()
    begins[ops], ends[ops] = start[: len(ops)], end[: len(ops)]
    hops = replace(moved.transfers, start=start[len(ops) :], end=end[len(ops) :])
    moment = max([moved.moment, *over])
    return replace(moved, moment=float(moment), start=begins, end=ends, transfers=hops)


def _scaled_cluster(cluster: Cluster, times: int) -> Cluster:
    if cluster.links is None:
        return cluster
    links = tuple(
        replace(
            link,
            latency=math.ldexp(link.latency, times),
            bandwidth=math.ldexp(link.bandwidth, -times),
        )
        for link in cluster.links
    )
    return replace(cluster, links=links)
