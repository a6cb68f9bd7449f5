"""From decisions to times: list scheduling of a placement, and exact times for a given order."""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from talos_opt.core.frozen import Frozen
from talos_opt.core.problem import UNLIMITED, Floats, Ints, MemoryRule, Problem
from talos_opt.core.schedule import Schedule, TransferRow, Transfers
from talos_opt.core.timeline import Timeline
from talos_opt.core.transfers import Hop, plan_transfers


class MemoryDeadlockError(Exception):
    """No ready op fits into the memory that is left: this order cannot be finished.

    Parameters
    ----------
    op, device : int
        The first op that found no room, and where.
    """

    def __init__(self, op: int, device: int) -> None:
        super().__init__(op, device)
        self.op, self.device = op, device


class SimulationStoppedError(Exception):
    """The caller asked to stop before every op was scheduled."""


def simulate(
    problem: Problem,
    device: Ints,
    priority: Floats | Ints | Sequence[float],
    *,
    insertion: bool = True,
    stopped: Callable[[], bool] | None = None,
) -> Schedule:
    """Schedule a placement: ready ops in order of priority, each as early as it fits.

    A serial schedule generation scheme with insertion (Kolisch, 1996): the ready op with the
    smallest priority value is taken next; its missing inputs are sent when they are first
    needed, then it starts at the earliest time at which its device, the links and, under the
    ``peak`` rule, memory have room. The static rule depends on the placement alone and is not
    looked at here.

    Parameters
    ----------
    problem : Problem
    device : (n,) int
        Device of every op, one that can run it.
    priority : (n,) float
        Smaller first; need not respect the edges. Ties go to the lower op number.
    insertion : bool
        False: devices serve their ops as queues; no op starts before one taken earlier.
    stopped : callable, optional
        Asked before each op, whether to give up.

    Returns
    -------
    Schedule

    Raises
    ------
    NoRouteError
        If a tensor cannot reach its reader.
    MemoryDeadlockError
        If the memory left under the ``peak`` rule fits no ready op.
    SimulationStoppedError
    """
    simulation = _Simulation(problem, device, insertion)
    return simulation.run(np.asarray(priority, dtype=np.float64), stopped)


class _Simulation:
    """State of one run: timelines of devices, channels and memory, and what is on them."""

    def __init__(self, problem: Problem, device: Ints, insertion: bool) -> None:
        arrays = self.arrays = problem.arrays
        self.where: list[int] = device.tolist()
        # Without insertion: the latest start on each device, before which no other may start.
        self.tail = None if insertion else [0.0] * arrays.device_count
        self.plan = plan_transfers(problem, device)
        self.duration = arrays.time[np.arange(arrays.op_count), device].tolist()
        self.demand = arrays.demand.tolist()
        self.device = [Timeline(slots) for slots in arrays.slots.tolist()]
        channels = int(arrays.channel.max(initial=-1)) + 1
        self.channel = [Timeline(1) for _ in range(channels)]
        self.start = [math.nan] * len(self.where)
        self.end = [math.nan] * len(self.where)
        self.maker: list[int] = arrays.tensor_op.tolist()
        self.arrived: list[dict[int, float]] = [{} for _ in self.maker]
        self.rows: list[TransferRow] = []
        self.memory: _Memory | None = None
        if problem.memory_rule is MemoryRule.PEAK:
            self.memory = _Memory(problem, device, self.plan)
        self.frozen = problem.frozen
        self.earliest: list[float] = problem.earliest.tolist()
        self.soonest = 0.0 if self.frozen is None else self.frozen.moment

    def run(self, priority: Floats, stopped: Callable[[], bool] | None) -> Schedule:
        arrays = self.arrays
        readers, out = arrays.edge_dst.tolist(), arrays.out_ptr.tolist()
        missing = np.diff(arrays.in_ptr).tolist()
        rank = priority.tolist()
        todo = list(range(arrays.op_count))
        if self.frozen is not None:
            self._replay(self.frozen)
            todo = np.flatnonzero(~self.frozen.started).tolist()
            made = self.frozen.started[arrays.edge_src]
            for reader in arrays.edge_dst[made].tolist():
                missing[reader] -= 1
        ready = [(rank[i], i) for i in todo if missing[i] == 0]
        heapq.heapify(ready)
        while ready:
            if stopped is not None and stopped():
                raise SimulationStoppedError
            op = self._next(ready)
            for reader in readers[out[op] : out[op + 1]]:
                missing[reader] -= 1
                if missing[reader] == 0:
                    heapq.heappush(ready, (rank[reader], reader))
        return Schedule(
            device=np.array(self.where, dtype=np.int64),
            start=np.array(self.start),
            end=np.array(self.end),
            transfers=Transfers.from_rows(self.rows),
        )

    def _replay(self, frozen: Frozen) -> None:
        """Put what has started where it is, in the order in which it did.

        Raises
        ------
        MemoryDeadlockError
            If there is no room for it beside the weights of what is still to come.
        """
        rank = self.arrays.rank.tolist()
        begun: list[tuple[float, float, int, int]] = [
            (float(frozen.start[op]), rank[op], op, -1)
            for op in np.flatnonzero(frozen.started).tolist()
        ]
        begun += [
            (row.start, rank[row.op] + 0.5, tensor, target)
            for (tensor, target), row in frozen.hops.items()
            if target in self.plan[tensor]
        ]
        for start, _, number, target in sorted(begun):
            if target < 0:
                self._run_op(number, start, float(frozen.end[number]))
                continue
            hop = self.plan[number][target]
            self._occupy(hop, start, +1)
            self.arrived[number][target] = start + hop.duration
            if self.memory is not None:
                self.memory.start_hop(hop, start, +1)
            self._finish(number, hop, start)
        if self.memory is not None:
            self.memory.require_room()

    def _run_op(self, op: int, start: float, end: float) -> None:
        """Let an op run, and be done with what it reads."""
        here = self.where[op]
        self.start[op], self.end[op] = start, end
        if self.tail is not None and end > start:
            self.tail[here] = start
        self.device[here].add(start, end, self.demand[op])
        if self.memory is not None:
            self.memory.run_op(op, start, end)
            self.memory.finish_op(op, end)

    def _next(self, ready: list[tuple[float, int]]) -> int:
        """Schedule the first ready op that memory has room for, and return it."""
        passed: list[tuple[float, int]] = []
        while ready:
            item = heapq.heappop(ready)
            if self._place(item[1]):
                for other in passed:
                    heapq.heappush(ready, other)
                return item[1]
            passed.append(item)
        op = passed[0][1]
        raise MemoryDeadlockError(op, self.where[op])

    def _place(self, op: int) -> bool:
        """Send what the op still misses and start it; undone and False if memory is short."""
        arrays, here = self.arrays, self.where[op]
        ready = self.earliest[op]
        sent: list[tuple[int, Hop, float]] = []
        for edge in arrays.in_edge[arrays.in_ptr[op] : arrays.in_ptr[op + 1]].tolist():
            arrival = self._arrival(int(arrays.edge_tensor[edge]), here, sent)
            if arrival == math.inf:
                self._undo(sent)
                return False
            ready = max(ready, arrival)
        start = self._room(op, ready)
        if start == math.inf:
            self._undo(sent)
            return False
        end = start + self.duration[op]
        self.start[op], self.end[op] = start, end
        if self.tail is not None and end > start:
            self.tail[here] = start
        self.device[here].add(start, end, self.demand[op])
        if self.memory is not None:
            self.memory.run_op(op, start, end)
        for tensor, hop, begin in sent:
            self._finish(tensor, hop, begin)
        if self.memory is not None:
            self.memory.finish_op(op, end)
        return True

    def _finish(self, tensor: int, hop: Hop, begin: float) -> None:
        """List a hop, and count it as a use of what it sends."""
        maker, ended = self.maker[tensor], begin + hop.duration
        self.rows.append(
            TransferRow(maker, hop.source, hop.target, begin, ended, hop.bytes, tensor)
        )
        if self.memory is not None:
            self.memory.finish_hop(tensor, hop, ended)

    def _arrival(self, tensor: int, target: int, sent: list[tuple[int, Hop, float]]) -> float:
        """When a tensor is on a device, sending it there (and to its stage) if need be."""
        source = self.where[self.maker[tensor]]
        if target == source:
            return self.end[self.maker[tensor]]
        known = self.arrived[tensor].get(target)
        if known is not None:
            return known
        hop = self.plan[tensor].get(target)
        stage = int(self.arrays.via[source, target])
        origin = stage if stage >= 0 else source
        ready = self._arrival(tensor, origin, sent)
        if ready == math.inf or hop is None:
            return ready
        begin = self._hop_room(hop, max(ready, self.soonest))
        if begin == math.inf:
            return math.inf
        self._occupy(hop, begin, +1)
        if self.memory is not None:
            self.memory.start_hop(hop, begin, +1)
        sent.append((tensor, hop, begin))
        self.arrived[tensor][target] = begin + hop.duration
        return begin + hop.duration

    def _room(self, op: int, ready: float) -> float:
        device, duration = self.device[self.where[op]], self.duration[op]
        if self.tail is not None and duration > 0:  # what takes no time queues for nothing
            ready = max(ready, self.tail[self.where[op]])
        while True:
            start = device.earliest(ready, duration, self.demand[op])
            if self.memory is not None:
                start = self.memory.room_for_op(op, start, duration)
            if start == ready or start == math.inf:
                return start
            ready = start

    def _hop_room(self, hop: Hop, ready: float) -> float:
        lines = self._lines(hop)
        while True:
            start = ready
            for line in lines:
                start = line.earliest(start, hop.duration, 1)
            if self.memory is not None:
                start = self.memory.room_for_hop(hop, start)
            if start == ready or start == math.inf:
                return start
            ready = start

    def _lines(self, hop: Hop) -> list[Timeline]:
        """Timelines that a hop occupies: its channel, and devices without a copy engine."""
        lines = [self.device[d] for d in (hop.source, hop.target) if not self.arrays.copy_engine[d]]
        channel = int(self.arrays.channel[hop.source, hop.target])
        if channel >= 0:
            lines.append(self.channel[channel])
        return lines

    def _occupy(self, hop: Hop, begin: float, sign: int) -> None:
        for line in self._lines(hop):
            line.add(begin, begin + hop.duration, sign)

    def _undo(self, sent: list[tuple[int, Hop, float]]) -> None:
        for tensor, hop, begin in sent:
            self._occupy(hop, begin, -1)
            if self.memory is not None:
                self.memory.start_hop(hop, begin, -1)
            del self.arrived[tensor][hop.target]


class _Memory:
    """Liveness under the ``peak`` rule while a schedule is being built.

    A tensor whose last use is not scheduled yet is taken to live for ever; when the last use is
    known, the rest is given back.
    """

    def __init__(self, problem: Problem, device: Ints, plan: list[dict[int, Hop]]) -> None:
        arrays = self.arrays = problem.arrays
        self.where = device.tolist()
        weights = np.zeros(arrays.device_count, dtype=np.int64)
        np.add.at(weights, device, arrays.weights_at(device))
        overfull = np.flatnonzero(weights > arrays.capacity).tolist()
        if overfull:  # ops that need nothing beside their weights would never ask for room
            raise MemoryDeadlockError(self.where.index(overfull[0]), overfull[0])
        self.line = [
            Timeline(UNLIMITED if limit >= UNLIMITED else limit - held)
            for limit, held in zip(arrays.capacity.tolist(), weights.tolist(), strict=True)
        ]
        self.output: list[int] = arrays.outputs_at(device).tolist()
        self.workspace: list[int] = arrays.bytes_at(arrays.workspace, device).tolist()
        home = device[arrays.tensor_op]
        self.tensor: list[int] = arrays.bytes_at(arrays.tensor_size, home).tolist()
        first, last = arrays.tensor_ptr[:-1].tolist(), arrays.tensor_ptr[1:].tolist()
        self.made = [range(a, b) for a, b in zip(first, last, strict=True)]
        # Uses (local readers and onward hops) of each tensor on each device not yet scheduled.
        self.uses: dict[tuple[int, int], int] = {}
        self.last: dict[tuple[int, int], float] = {}
        self.size: dict[tuple[int, int], int] = {}
        for tensor, hops in enumerate(plan):
            for hop in hops.values():
                self._count(tensor, hop.source)
                self.size[tensor, hop.target] = self._copy(hop)
        readers = arrays.edge_dst.tolist()
        for tensor, reader in zip(arrays.edge_tensor.tolist(), readers, strict=True):
            self._count(tensor, self.where[reader])
        for op, here in enumerate(self.where):
            for tensor in self.made[op]:
                self.size[tensor, here] = self.tensor[tensor]

    def require_room(self) -> None:
        """Raise `MemoryDeadlockError` if more is alive on some device than fits."""
        for d, line in enumerate(self.line):
            if line.overfull:
                there = (op for op, device in enumerate(self.where) if device == d)
                raise MemoryDeadlockError(next(there, 0), d)

    def _count(self, tensor: int, device: int) -> None:
        self.uses[tensor, device] = self.uses.get((tensor, device), 0) + 1

    def _copy(self, hop: Hop) -> int:
        """Bytes that a received copy holds."""
        division = self.arrays.division
        parts = 1 if division is None else int(division.tensors[hop.target])
        return -(-hop.bytes // parts)

    def _stays(self, op: int) -> int:
        """Bytes of what an op makes that is still needed when it has ended."""
        here = self.where[op]
        return sum(self.tensor[r] for r in self.made[op] if self.uses.get((r, here), 0))

    def room_for_op(self, op: int, ready: float, duration: float) -> float:
        line, output, work = self.line[self.where[op]], self.output[op], self.workspace[op]
        stays = self._stays(op)
        while ready < math.inf:
            start = line.earliest(ready, duration, output + work)
            start = line.earliest(start, math.inf, stays)
            if start == ready:
                break
            ready = start
        return ready

    def room_for_hop(self, hop: Hop, ready: float) -> float:
        return self.line[hop.target].earliest(ready, math.inf, self._copy(hop))

    def start_hop(self, hop: Hop, begin: float, sign: int) -> None:
        self.line[hop.target].add(begin, math.inf, sign * self._copy(hop))

    def finish_hop(self, tensor: int, hop: Hop, end: float) -> None:
        self.last[tensor, hop.target] = max(end, self.last.get((tensor, hop.target), 0.0))
        self._use(tensor, hop.source, end)

    def run_op(self, op: int, start: float, end: float) -> None:
        here = self.where[op]
        line = self.line[here]
        stays = self._stays(op)
        line.add(start, end, self.workspace[op] + self.output[op] - stays)
        line.add(start, math.inf, stays)
        for tensor in self.made[op]:
            self.last[tensor, here] = end

    def finish_op(self, op: int, end: float) -> None:
        arrays, here = self.arrays, self.where[op]
        for edge in arrays.in_edge[arrays.in_ptr[op] : arrays.in_ptr[op + 1]].tolist():
            self._use(int(arrays.edge_tensor[edge]), here, end)

    def _use(self, tensor: int, device: int, end: float) -> None:
        """Count one use as scheduled; after the last one the tensor's memory is free again."""
        key = (tensor, device)
        self.uses[key] -= 1
        self.last[key] = max(end, self.last.get(key, 0.0))
        if self.uses[key] == 0:
            # A tensor of no bytes that moves in no time was never sent and has no size.
            self.line[device].add(self.last[key], math.inf, -self.size.get(key, 0))


class Activity(NamedTuple):
    """An op or a hop with its place in an order: times on any grid, only their order counts."""

    start: float
    end: float


def retime(
    problem: Problem,
    device: Ints,
    ops: Sequence[Activity],
    hops: dict[tuple[int, int], Activity],
) -> Schedule:
    """Give exact times to a schedule known on a rounded grid, keeping its interval order.

    Whatever ended before an activity started on the grid has ended before it starts here, so
    no two activities overlap that did not overlap before: by Helly's theorem on intervals,
    slots, links and memory (under either rule) stay within what the grid schedule used. An
    activity may have no length on the grid only if it takes no time.

    Parameters
    ----------
    problem : Problem
    device : (n,) int
    ops : sequence of Activity
        Grid times of every op.
    hops : mapping of (tensor, target device) to Activity
        Grid times of every hop that the placement needs.

    Raises
    ------
    NoRouteError
        If a tensor cannot reach its reader.
    """
    arrays = problem.arrays
    rank = arrays.rank
    plan = plan_transfers(problem, device)
    durations = arrays.time[np.arange(arrays.op_count), device].tolist()
    release, frozen = problem.earliest.tolist(), problem.frozen
    maker = arrays.tensor_op.tolist()
    fixed: dict[tuple[int, int], float] = {}  # by op and -1, or tensor and target
    soonest = 0.0
    if frozen is not None:
        fixed = {key: row.start for key, row in frozen.hops.items()}
        fixed |= {(i, -1): release[i] for i in np.flatnonzero(frozen.started).tolist()}
        soonest = frozen.moment
    # (grid start, grid end, rank, op or tensor, target or -1, duration, earliest): zero-length
    # activities that coincide go in topological order, a tensor's stage before its onward hop.
    queue: list[tuple[float, float, float, int, int, float, float]] = []
    for i, activity in enumerate(ops):
        queue.append((*activity, float(rank[i]), i, -1, durations[i], release[i]))
    for tensor, targets in enumerate(plan):
        op = maker[tensor]
        for target, hop in targets.items():
            step = 0.25 if hop.source == int(device[op]) else 0.5
            grid = hops[tensor, target]
            queue.append((*grid, float(rank[op]) + step, tensor, target, hop.duration, soonest))
    queue.sort()
    # Under the peak rule what takes no time at one moment must stay at one moment, or a tensor
    # born and read there would come to life for a while.
    moments: dict[float, float] = {}
    if problem.memory_rule is MemoryRule.PEAK:
        for grid_start, grid_end, *_, earliest in queue:
            if grid_start == grid_end:
                moments[grid_start] = max(earliest, moments.get(grid_start, 0.0))
    start, end = [0.0] * len(ops), [0.0] * len(ops)
    rows: list[TransferRow] = []
    ended: list[tuple[float, float]] = []  # (grid end, exact end) of what has been started
    free = 0.0  # latest exact end among all that ended on the grid before the activity at hand
    for grid_start, grid_end, _, number, target, duration, earliest in queue:
        while ended and ended[0][0] <= grid_start:
            free = max(free, heapq.heappop(ended)[1])
        if grid_start == grid_end:
            earliest = max(earliest, moments.get(grid_start, 0.0))
        begin = max(free, earliest)
        begin = fixed.get((number, target), begin)
        heapq.heappush(ended, (grid_end, begin + duration))
        if target < 0:
            start[number], end[number] = begin, begin + duration
        else:
            hop, op = plan[number][target], maker[number]
            rows.append(
                TransferRow(op, hop.source, target, begin, begin + duration, hop.bytes, number)
            )
    return Schedule(
        device=np.asarray(device, dtype=np.int64).copy(),
        start=np.array(start),
        end=np.array(end),
        transfers=Transfers.from_rows(rows),
    )
