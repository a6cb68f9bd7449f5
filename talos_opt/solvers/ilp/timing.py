"""When everything runs, as far as it hangs on no other activity's device: starts, heads, transfers.

Times are scaled. What competes for a device is put in order by `sequencing`, on top of this.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import combinations

import numpy as np

from talos_opt.core.problem import Bools, Objective, Problem
from talos_opt.solvers.ilp.builder import Terms, Variable, scaled
from talos_opt.solvers.ilp.placement import PlacementFormulation
from talos_opt.solvers.ilp.tensors import Tensor
from talos_opt.solvers.ilp.windows import Windows

#: An op ``(op, OP)``, or the hop that brings its output to a device ``(op, target)``.
Key = tuple[int, int]
OP = -1

#: Windows must miss each other by this share of the horizon before anything is ruled out.
_CLEAR = 1e-7


@dataclass(frozen=True)
class Activity:
    """Something that runs for a time and may hold slots; times are scaled.

    Parameters
    ----------
    key : Key
    start : list of terms
        Expression of its start.
    length : list of terms
        Expression of its length.
    earliest, latest : float
        No earlier start and no later end.
    shortest : float
        Least length on a device where it holds slots.
    demand : int
        Slots that it holds.
    use : dict of int to list of terms
        For each device, an expression that is 1 where it holds slots there.
    eager : bool
        A hop that starts the moment its producer ends.
    """

    key: Key
    start: Terms
    length: Terms
    earliest: float
    latest: float
    shortest: float = 0.0
    demand: int = 1
    use: dict[int, Terms] = field(default_factory=dict)
    eager: bool = False

    @property
    def end(self) -> Terms:
        """Expression of its end."""
        return self.start + self.length


class TimingFormulation(PlacementFormulation):
    """Columns and rows of placement and starts, and the objectives toct and makespan.

    Parameters
    ----------
    problem : Problem
        With objective toct or makespan.
    possible : (g, m) bool
        Devices that each group may go to.
    scale : float
        Time units in one unit of the formulation.
    stopped : callable
        Whether to give up writing.
    windows : Windows
        In the graph's time unit.
    unit : float
        What one unit of the formulation's objective is worth in the problem's.
    """

    def __init__(
        self,
        problem: Problem,
        possible: Bools,
        scale: float,
        stopped: Callable[[], bool],
        windows: Windows,
        unit: float,
    ) -> None:
        super().__init__(problem, possible, scale, stopped, lambda _source, _target: True)
        self.unit = unit
        self.head, self.tail = windows.head / scale, windows.tail / scale
        self.deadline = windows.deadline / scale
        self.clear = _CLEAR * float(self.deadline.max())
        self.ops = [self._add_op(i) for i in range(self.arrays.op_count)]
        self.hops: dict[Key, Activity] = {}
        #: Later: 1 where the second of two models completes last.
        self.later: dict[tuple[int, int], Variable] = {}
        self._leave_late_devices()
        self._follow_edges()
        for tensor in self.tensors:
            self._carry(tensor)
        self._minimise()

    # ---- ops ------------------------------------------------------------------------------------

    def _add_op(self, i: int) -> Activity:
        """An op starts no earlier than its head, given its device."""
        group = int(self.arrays.group[i])
        homes = self.homes[group]
        time = {d: float(self.arrays.time[i, d]) / self.scale for d in homes}
        earliest = min(self.head[i, d] for d in homes)
        latest = float(self.deadline[self.arrays.model[i]]) - min(self.tail[i, d] for d in homes)
        start = self.write.continuous(f"s{i}", earliest, max(earliest, latest))
        heads = [
            (self.on[group, d], -self.head[i, d]) for d in homes if np.isfinite(self.head[i, d])
        ]
        self.write.at_least([(start, 1.0), *heads], 0.0)
        return Activity(
            (i, OP),
            [(start, 1.0)],
            [(self.on[group, d], time[d]) for d in homes if time[d] > 0],
            float(earliest),
            float(latest),
            min((length for length in time.values() if length > 0), default=0.0),
            int(self.arrays.demand[i]),
            {d: [(self.on[group, d], 1.0)] for d in homes if time[d] > 0},
        )

    def _leave_late_devices(self) -> None:
        """Close a device to an op that could not meet its model's deadline from there."""
        arrays = self.arrays
        for i in range(arrays.op_count):
            group, limit = int(arrays.group[i]), float(self.deadline[arrays.model[i]])
            for d in self.homes[group]:
                through = self.head[i, d] + arrays.time[i, d] / self.scale + self.tail[i, d]
                if through > limit + self.clear:
                    self.on[group, d].upBound = 0

    def _follow_edges(self) -> None:
        """An op starts after the ops that it reads have ended."""
        arrays = self.arrays
        for i, j in zip(arrays.edge_src.tolist(), arrays.edge_dst.tolist(), strict=True):
            self.write.at_least([*self.ops[j].start, *scaled(self.ops[i].end, -1.0)], 0.0)

    # ---- transfers ------------------------------------------------------------------------------

    def _carry(self, tensor: Tensor) -> None:
        """A reader starts after the tensor is on its device."""
        self.request_transfers(tensor)
        if not self.arrays.copy_engine.all():
            self.bound_requests(tensor)
        targets = [t for t in range(self.arrays.device_count) if self.hop_sources(tensor, t)]
        for t in targets:
            self.hops[tensor.number, t] = self._add_hop(tensor, t)
        for t in targets:
            self._leave_stage(tensor, t)
        for j in self.readers_of(tensor):
            for t in self.homes[int(self.arrays.group[j])]:
                self._await(tensor, j, t)

    def _add_hop(self, tensor: Tensor, target: int) -> Activity:
        """A hop starts after its producer has ended.

        Where it occupies neither end and starts from the producer's own device, it starts the
        moment the producer ends and needs no column of its own.
        """
        arrays, producer = self.arrays, self.ops[tensor.op]
        sources = self.hop_sources(tensor, target)
        length = [term for s in sources for term in self.hop_length(tensor, s, target)]
        earliest = min(
            float(self.head[tensor.op, d] + arrays.time[tensor.op, d] / self.scale)
            for d in self.homes[tensor.group]
        )
        use = self._hop_use(tensor, sources, target)
        key = (tensor.number, target)
        latest = self._hop_latest(tensor)
        if not use and not self.staged_at(tensor, target):
            return Activity(key, producer.end, length, earliest, latest, eager=True)
        start = self.write.continuous(f"t{key[0]}_{target}", earliest, max(earliest, latest))
        self.write.at_least([(start, 1.0), *scaled(producer.end, -1.0)], 0.0)
        return Activity(key, [(start, 1.0)], length, earliest, latest, use=use)

    def _hop_latest(self, tensor: Tensor) -> float:
        """Latest end of a hop: what reads the tensor, and all that follows, comes after it."""
        arrays = self.arrays
        rest = min(
            float(arrays.time[j, d]) / self.scale + self.tail[j, d]
            for j in self.readers_of(tensor)
            for d in self.homes[int(arrays.group[j])]
        )
        return float(self.deadline[arrays.model[tensor.op]] - rest)

    def _hop_use(self, tensor: Tensor, sources: list[int], target: int) -> dict[int, Terms]:
        """A hop that takes time holds a slot of each of its ends that has no copy engine."""
        use: dict[int, Terms] = {}
        for source in sources:
            layers = range(len(tensor.sizes))
            k = next((k for k in layers if self.hop_time(tensor, source, target, k) > 0), None)
            for d in (source, target):
                if k is not None and not self.arrays.copy_engine[d]:
                    use.setdefault(d, []).extend(self.hop(tensor, source, target, k))
        return use

    def _leave_stage(self, tensor: Tensor, target: int) -> None:
        """An onward hop starts after the tensor has arrived at its stage."""
        hop = self.hops[tensor.number, target]
        for stage, staged in self.staged_at(tensor, target).items():
            first = self.hops.get((tensor.number, stage))
            if first is None:  # the way there takes no time
                continue
            slack = self._longest(tensor, stage) if first.eager else first.latest - hop.earliest
            row = [*hop.start, *scaled(first.end, -1.0), *scaled(staged, -max(0.0, slack))]
            self.write.at_least(row, -max(0.0, slack))

    def _await(self, tensor: Tensor, reader: int, target: int) -> None:
        """If the reader is on the target, it starts after the hop there has ended."""
        hop = self.hops.get((tensor.number, target))
        here = self.on[int(self.arrays.group[reader]), target]
        start, produced = self.ops[reader].start, self.ops[tensor.op].end
        if hop is not None and hop.eager:
            slack = self._longest(tensor, target)
            self.write.at_least([*start, *scaled(hop.end, -1.0), (here, -slack)], -slack)
            return
        if hop is not None:
            slack = max(0.0, hop.latest - self.ops[reader].earliest)
            self.write.at_least([*start, *scaled(hop.end, -1.0), (here, -slack)], -slack)
        least = self.request_length(tensor, target)
        if least:
            # Seen from the producer's end the slack is but the longest way, far below any M.
            slack = max(self._way_length(tensor, s, target) for s in self.homes[tensor.group])
            since = scaled([*produced, *least], -1.0)
            self.write.at_least([*start, *since, (here, -slack)], -slack)

    def _longest(self, tensor: Tensor, target: int) -> float:
        """Longest time that a hop to a target may take."""
        last = len(tensor.sizes) - 1
        return max(self.hop_time(tensor, s, target, last) for s in self.hop_sources(tensor, target))

    def _way_length(self, tensor: Tensor, source: int, target: int) -> float:
        last = len(tensor.sizes) - 1
        hops = self.arrays.path(source, target) or ()
        return sum(self.hop_time(tensor, a, b, last) for a, b in hops)

    def readers_of(self, tensor: Tensor) -> list[int]:
        """Return the ops of other groups that read a tensor."""
        arrays, r = self.arrays, tensor.number
        readers = arrays.edge_dst[arrays.read_ptr[r] : arrays.read_ptr[r + 1]]
        return [j for j in readers.tolist() if arrays.group[j] != tensor.group]

    # ---- objective ------------------------------------------------------------------------------

    def _minimise(self) -> None:
        """Weighted completion times, or the latest completion."""
        arrays = self.arrays
        models = range(len(arrays.release))
        worth = self.scale / self.unit
        if self.problem.objective is Objective.MAKESPAN:
            top = self.write.continuous("makespan", 0.0, float(self.deadline.max()))
            finish = [top for _ in models]
            self.write.minimise([(top, worth)])
        else:
            finish = [self.write.continuous(f"c{j}", 0.0, float(self.deadline[j])) for j in models]
            weights = (worth * arrays.model_weight).tolist()
            self.write.minimise(list(zip(finish, weights, strict=True)))
        for i, op in enumerate(self.ops):
            group = int(arrays.group[i])
            rest = [
                (self.on[group, d], -self.tail[i, d])
                for d in self.homes[group]
                if 0 < self.tail[i, d] < np.inf
            ]
            self.write.at_least([(finish[arrays.model[i]], 1.0), *scaled(op.end, -1.0), *rest], 0.0)
        self._cover_loads(finish)
        if self.problem.objective is Objective.TOCT:
            self._cover_pairs(finish)

    def _cover_loads(self, finish: list[Variable]) -> None:
        """Redundant but strong: a device does all its work between first release and last end."""
        arrays = self.arrays
        makespan = self.problem.objective is Objective.MAKESPAN
        parts = (
            [np.arange(arrays.op_count)]
            if makespan
            else [np.flatnonzero(arrays.model == j) for j in range(len(arrays.release))]
        )
        for ops in parts:
            released = float(arrays.release[arrays.model[ops]].min()) / self.scale
            end = finish[int(arrays.model[ops[0]])]
            for d in range(arrays.device_count):
                load = self.work(d, ops)
                if load:
                    self.write.at_least([(end, 1.0), *scaled(load, -1.0)], released)

    def _cover_pairs(self, finish: list[Variable]) -> None:
        """Redundant but strong: of two models, the last to complete waits for the work of both.

        Which one that is gets a column to branch on; it says much about TOCT, which the orders of
        single ops say only together.
        """
        arrays = self.arrays
        for j, k in combinations(range(len(finish)), 2):
            ops = np.flatnonzero((arrays.model == j) | (arrays.model == k))
            released = float(arrays.release[[j, k]].min()) / self.scale
            later = self.write.binary(f"later{j}_{k}")
            self.later[j, k] = later
            for d in range(arrays.device_count):
                load = self.work(d, ops)
                if not load:
                    continue
                most = sum(factor for _, factor in load)
                # C_j >= released + load - slack * later, C_k >= ... - slack * (1 - later)
                slack = max(0.0, released + most)
                row = scaled(load, -1.0)
                self.write.at_least([(finish[j], 1.0), *row, (later, slack)], released)
                self.write.at_least([(finish[k], 1.0), *row, (later, -slack)], released - slack)
