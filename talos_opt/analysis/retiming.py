"""A schedule's order as a precedence graph, and its times when ops take longer or shorter.

What a schedule decides is kept: the placement, the order on every device and link, and who
handed slots and bytes to whom. All else follows: everything starts as soon as what it waits for
has ended. The graph is built once; times for many samples are computed in one pass over it.

Slots and bytes pass from one activity to the next as in a resource flow (Artigues, Michelon and
Reusser, 2003): what starts takes what its own inputs have freed, then what has been free for
longest, and from then on waits for those who freed it. Each unit so has one holder after another,
whatever the times: no limit can be exceeded. Longer op times never make anything earlier.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np

from talos_opt.analysis.deliveries import arrivals, departures
from talos_opt.core.occupancy import resident_weights
from talos_opt.core.problem import UNLIMITED, Floats, Ints, MemoryRule, Problem
from talos_opt.core.schedule import Schedule, Transfers


@dataclass(frozen=True)
class FixedOrder:
    """The precedence graph of a schedule: n ops, t transfers, and p nodes.

    A node is an op, a transfer, the moment at which the last of several activities has ended, or
    several activities that take no time and have to stay at one moment. Nodes are numbered so
    that each comes after those it waits for.

    Parameters
    ----------
    problem : Problem
    schedule : Schedule
        Whose order it is.
    spot : (n + t,) int
        Node of every op, then of every transfer.
    activity : (p,) int
        Op (or n + transfer) of a node; -1 for one that takes no time itself.
    earliest : (p,) float
        No node starts before this: releases.
    before_ptr, before : (p + 1,), (a,) int
        Nodes that node k waits for are ``before[before_ptr[k]:before_ptr[k + 1]]``.
    """

    problem: Problem
    schedule: Schedule
    spot: Ints
    activity: Ints
    earliest: Floats
    before_ptr: Ints
    before: Ints

    @property
    def op_times(self) -> Floats:
        """Time of every op where it is placed (n,)."""
        arrays = self.problem.arrays
        return np.asarray(arrays.time[np.arange(arrays.op_count), self.schedule.device])

    @property
    def transfer_times(self) -> Floats:
        """Time of every transfer (t,)."""
        return _transfer_times(self.problem, self.schedule.transfers)

    def starts(self, op_times: Floats, transfer_times: Floats) -> tuple[Floats, Floats]:
        """Compute when everything starts, for s samples at once.

        Parameters
        ----------
        op_times, transfer_times : (n, s), (t, s) float
            A time of 0 must stay 0: what takes no time holds nothing.

        Returns
        -------
        tuple of (n, s) and (t, s) float
            Starts of ops and of transfers.
        """
        times = np.concatenate([op_times, transfer_times])
        start = np.empty((len(self.activity), times.shape[1]))
        end = np.empty_like(start)
        cuts, before = self.before_ptr.tolist(), self.before.tolist()
        earliest, activity = self.earliest.tolist(), self.activity.tolist()
        for k, own in enumerate(activity):
            begin = start[k]
            begin.fill(earliest[k])
            for other in before[cuts[k] : cuts[k + 1]]:
                np.maximum(begin, end[other], out=begin)
            if own < 0:
                end[k] = begin
            else:
                np.add(begin, times[own], out=end[k])
        begins = start[self.spot]
        return begins[: len(op_times)], begins[len(op_times) :]

    def retime(
        self, op_times: Floats | None = None, transfer_times: Floats | None = None
    ) -> Schedule:
        """Return the schedule of this order under other times: as early as the order allows.

        Parameters
        ----------
        op_times, transfer_times : (n,), (t,) float, optional
            Default: those of the problem, which gives a schedule no later than the one that the
            order is of.
        """
        ops = self.op_times if op_times is None else op_times
        hops = self.transfer_times if transfer_times is None else transfer_times
        op_start, hop_start = self.starts(ops[:, None], hops[:, None])
        moves = self.schedule.transfers
        return Schedule(
            device=self.schedule.device.copy(),
            start=op_start[:, 0],
            end=op_start[:, 0] + ops,
            transfers=Transfers(
                op=moves.op.copy(),
                source=moves.source.copy(),
                target=moves.target.copy(),
                start=hop_start[:, 0],
                end=hop_start[:, 0] + hops,
                bytes=moves.bytes.copy(),
                tensor=moves.tensor.copy(),
            ),
        )


def fix_order(problem: Problem, schedule: Schedule) -> FixedOrder:
    """Return the order of a schedule as a precedence graph.

    Parameters
    ----------
    problem : Problem
    schedule : Schedule
        A feasible one.
    """
    return _Builder(problem, schedule).build()


def _transfer_times(problem: Problem, moves: Transfers) -> Floats:
    arrays = problem.arrays
    return np.asarray(
        arrays.latency[moves.source, moves.target]
        + moves.bytes * arrays.per_byte[moves.source, moves.target]
    )


class _Pool:
    """Units of one resource that nobody holds, in pieces, each with the nodes that had it last."""

    def __init__(self, amount: int) -> None:
        self.pieces: dict[int, tuple[int, tuple[int, ...]]] = {}  # number: amount, last holders
        self.oldest: list[tuple[float, int]] = []  # (free since, piece); gone pieces stay in it
        self.freed_by: dict[int, list[int]] = {}  # pieces that one node alone freed
        self.count = 0
        self.put(-1.0, amount, ())

    def put(self, end: float, amount: int, holders: tuple[int, ...]) -> None:
        self.pieces[self.count] = amount, holders
        heapq.heappush(self.oldest, (end, self.count))
        if len(holders) == 1:
            self.freed_by.setdefault(holders[0], []).append(self.count)
        self.count += 1

    def take(self, amount: int, known: set[int]) -> list[tuple[int, ...]]:
        """Remove units and return who had them.

        Units of nodes that are waited for anyway go first, then those that have been free for
        longest. Less than was asked for is taken where times that are equal but for rounding
        come in the wrong order: the checker's tolerance covers that.
        """
        taken: list[tuple[int, ...]] = []
        for node in known & self.freed_by.keys():
            for piece in list(self.freed_by[node]):
                amount -= self._use(piece, amount, taken)
        while amount > 0 and self.oldest:
            amount -= self._use(self.oldest[0][1], amount, taken)
        return taken

    def _use(self, piece: int, amount: int, taken: list[tuple[int, ...]]) -> int:
        there, holders = self.pieces.get(piece, (0, ()))
        used = min(amount, there)
        if used > 0:
            taken.append(holders)
        if there > used:
            self.pieces[piece] = there - used, holders
            return used
        self.pieces.pop(piece, None)
        if len(holders) == 1:
            self.freed_by[holders[0]].remove(piece)
        while self.oldest and self.oldest[0][1] not in self.pieces:
            heapq.heappop(self.oldest)
        return used


@dataclass
class _Tensor:
    """A tensor on one device, from its producer or hop to its last use there."""

    device: int
    bytes: int
    users: list[int] = field(default_factory=list)  # activities; the first brings it to life
    left: int = 0


class _Builder:
    """Builds the graph of one schedule; activities are ops, then transfers."""

    def __init__(self, problem: Problem, schedule: Schedule) -> None:
        arrays, moves = problem.arrays, schedule.transfers
        self.problem, self.schedule, self.arrays = problem, schedule, arrays
        self.ops = arrays.op_count
        self.count = self.ops + len(moves)
        self.home: list[int] = schedule.device.tolist()
        self.source: list[int] = moves.source.tolist()
        self.target: list[int] = moves.target.tolist()
        self.moved: list[int] = moves.tensor.tolist()
        times = arrays.time[np.arange(self.ops), schedule.device]
        self.lasts: list[bool] = (
            np.concatenate([times, _transfer_times(problem, moves)]) > 0
        ).tolist()
        self.start: list[float] = np.concatenate([schedule.start, moves.start]).tolist()
        self.end: list[float] = np.concatenate([schedule.end, moves.end]).tolist()
        self.inputs = self._inputs()
        self.tensors: list[list[_Tensor]] = [[] for _ in range(self.count)]  # by user
        self.node = list(range(self.count))
        self.memory: dict[int, _Pool] = {}
        if problem.memory_rule is MemoryRule.PEAK:
            self._find_tensors()
        self.slots = [_Pool(slots) for slots in arrays.slots.tolist()]
        self.channels: dict[int, _Pool] = {}

    def build(self) -> FixedOrder:
        order = self._order(self._moments() if self.memory else self.node)
        # Rounded times may part what has to stay at one moment; then it does not.
        groups = order or self._order(self.node)
        for members in groups:
            for activity in members:
                self.node[activity] = members[0]
        self.before: list[set[int]] = [set() for _ in range(self.count)]
        self.sequence: list[int] = []
        for members in groups:
            self._add(members)
        return self._graph(groups)

    # ---- what the data asks for --------------------------------------------------------

    def _inputs(self) -> list[list[int]]:
        """Activities whose end each activity needs: producers, and the hops of their tensors."""
        inputs: list[list[int]] = [[] for _ in range(self.count)]
        reads = arrivals(self.problem, self.schedule).activity(self.ops)
        for carrier, reader in zip(reads.tolist(), self.arrays.edge_dst.tolist(), strict=True):
            inputs[reader].append(carrier)
        sent = departures(self.problem, self.schedule).activity(self.ops)
        for row, carrier in enumerate(sent.tolist()):
            inputs[self.ops + row].append(carrier)
        return inputs

    def _find_tensors(self) -> None:
        """Fill the pools of the devices that have a limit, and find what holds their bytes."""
        arrays, moves = self.arrays, self.schedule.transfers
        weights = resident_weights(self.problem, self.schedule.device).tolist()
        for device, limit in enumerate(arrays.capacity.tolist()):
            if limit < UNLIMITED:
                self.memory[device] = _Pool(limit - weights[device])
        found: dict[tuple[int, int], _Tensor] = {}
        home = self.schedule.device[arrays.tensor_op]
        sizes = arrays.bytes_at(arrays.tensor_size, home).tolist()
        copies = arrays.bytes_at(moves.bytes, moves.target).tolist()
        for number, (op, size) in enumerate(zip(arrays.tensor_op.tolist(), sizes, strict=True)):
            found[number, self.home[op]] = _Tensor(self.home[op], size, [op])
        for row, (number, size) in enumerate(zip(self.moved, copies, strict=True)):
            target = self.target[row]
            found[number, target] = _Tensor(target, size, [self.ops + row])
        for row, (number, source) in enumerate(zip(self.moved, self.source, strict=True)):
            if (number, source) in found:
                found[number, source].users.append(self.ops + row)
        readers = arrays.edge_dst.tolist()
        for number, reader in zip(arrays.edge_tensor.tolist(), readers, strict=True):
            tensor = found.get((number, self.home[reader]))
            if tensor is not None:
                tensor.users.append(reader)
        for tensor in found.values():
            if tensor.bytes > 0 and tensor.device in self.memory:
                tensor.left = len(tensor.users)
                for user in tensor.users:
                    self.tensors[user].append(tensor)

    def _moments(self) -> list[int]:
        """Put activities of no length that share a moment into one node: its first activity.

        A tensor made and read in no time holds no bytes; were its reader to come later, it would.
        """
        node, first = list(range(self.count)), dict[float, int]()
        for activity, lasts in enumerate(self.lasts):
            if not lasts:
                node[activity] = first.setdefault(self.start[activity], activity)
        return node

    def _order(self, node: list[int]) -> list[list[int]]:
        """Nodes, as lists of activities, by start, then end, as the data allows; none: a cycle."""
        members: dict[int, list[int]] = {}
        for activity, head in enumerate(node):
            members.setdefault(head, []).append(activity)
        missing = dict.fromkeys(members, 0)
        readers: dict[int, list[int]] = {head: [] for head in members}
        for activity, head in enumerate(node):
            for other in self.inputs[activity]:
                if node[other] != head:
                    missing[head] += 1
                    readers[node[other]].append(head)
        ready = [(self.start[h], self.end[h], h) for h, count in missing.items() if count == 0]
        heapq.heapify(ready)
        order = []
        while ready:
            head = heapq.heappop(ready)[2]
            order.append(members[head])
            for reader in readers[head]:
                missing[reader] -= 1
                if missing[reader] == 0:
                    heapq.heappush(ready, (self.start[reader], self.end[reader], reader))
        return order if len(order) == len(members) else []

    # ---- what slots, links and memory ask for ------------------------------------------

    def _add(self, members: list[int]) -> None:
        """Append a node: it waits for its inputs, and for those whose slots and bytes it takes."""
        head = members[0]
        for activity in members:
            self.before[head].update(self.node[other] for other in self.inputs[activity])
        lasts = self.lasts[head]
        if not lasts:  # it takes what ends with it: both happen at one moment
            self._finish(members)
        for activity in members:
            self._take_bytes(activity, head)
        if lasts:
            self._take_lines(head)
            self._finish(members)
        self.before[head].discard(head)
        self.sequence.append(head)

    def _take_lines(self, activity: int) -> None:
        """Take the slots and the link that an activity holds while it runs, and pass them on."""
        pools: list[tuple[_Pool, int]] = []
        if activity < self.ops:
            pools.append((self.slots[self.home[activity]], int(self.arrays.demand[activity])))
        else:
            source, target = self.source[activity - self.ops], self.target[activity - self.ops]
            engine = self.arrays.copy_engine
            pools += [(self.slots[d], 1) for d in (source, target) if not engine[d]]
            channel = int(self.arrays.channel[source, target])
            if channel >= 0:
                pools.append((self.channels.setdefault(channel, _Pool(1)), 1))
        for pool, amount in pools:
            for holders in pool.take(amount, self.before[activity]):
                self.before[activity].update(holders)
            pool.put(self.end[activity], amount, (activity,))

    def _take_bytes(self, activity: int, head: int) -> None:
        """Take the bytes of the tensors that an activity brings to life, and its workspace."""
        for tensor in self.tensors[activity]:
            if tensor.users[0] == activity and not self._momentary(tensor):
                self._wait(self.memory[tensor.device], tensor.bytes, head)
        if activity < self.ops and self.lasts[activity]:
            pool, size = self.memory.get(self.home[activity]), int(self.arrays.workspace[activity])
            if pool is not None and size > 0:
                self._wait(pool, size, head)
                pool.put(self.end[activity], size, (head,))

    def _wait(self, pool: _Pool, amount: int, head: int) -> None:
        for holders in pool.take(amount, self.before[head] | {head}):
            if len(holders) > 2 and head not in holders:
                holders = (self._meet(holders),)  # lest many tensors wait for many readers
            self.before[head].update(holders)

    def _meet(self, holders: tuple[int, ...]) -> int:
        """Return a new node, which is over when all of some nodes are."""
        self.before.append(set(holders))
        self.sequence.append(len(self.before) - 1)
        return len(self.before) - 1

    def _finish(self, members: list[int]) -> None:
        """Free the tensors of which these activities were the last users."""
        for activity in members:
            for tensor in self.tensors[activity]:
                tensor.left -= 1
                if tensor.left == 0 and not self._momentary(tensor):
                    # Whoever reads a tensor ends after its producer.
                    last = tensor.users[1:] or tensor.users
                    self.memory[tensor.device].put(
                        max(self.end[user] for user in last),
                        tensor.bytes,
                        tuple({self.node[user] for user in last}),
                    )

    def _momentary(self, tensor: _Tensor) -> bool:
        """Whether a tensor comes and goes within a node of no length, and so holds nothing."""
        nodes = {self.node[user] for user in tensor.users}
        return len(nodes) == 1 and not self.lasts[tensor.users[0]]

    # ---- as arrays ---------------------------------------------------------------------

    def _graph(self, groups: Iterable[list[int]]) -> FixedOrder:
        position = {node: k for k, node in enumerate(self.sequence)}
        activity = np.full(len(self.sequence), -1, dtype=np.int64)
        earliest = np.zeros(len(self.sequence))
        release = self.arrays.release[self.arrays.model].tolist()
        for members in groups:
            k = position[members[0]]
            activity[k] = members[0] if self.lasts[members[0]] else -1
            earliest[k] = max([release[i] for i in members if i < self.ops], default=0.0)
        waits = [sorted(position[other] for other in self.before[node]) for node in self.sequence]
        lengths = np.array([len(wait) for wait in waits], dtype=np.int64)
        return FixedOrder(
            problem=self.problem,
            schedule=self.schedule,
            spot=np.array([position[node] for node in self.node], dtype=np.int64),
            activity=activity,
            earliest=earliest,
            before_ptr=np.concatenate([[0], np.cumsum(lengths)]),
            before=np.array([other for wait in waits for other in wait], dtype=np.int64),
        )
