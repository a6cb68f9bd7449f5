"""Building a placement op by op: memory kept, colocation groups together, arrivals estimated.

Shared by the baselines and Talos. Estimates leave out competition for links and devices without
a copy engine; the schedule that is handed out comes from the simulator, which does not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from talos_opt.core.frozen import Frozen
from talos_opt.core.problem import NO_ROUTE, Bools, Ints, MemoryRule, Problem
from talos_opt.core.result import Status
from talos_opt.core.schedule import Schedule
from talos_opt.core.simulator import MemoryDeadlockError, SimulationStoppedError, simulate
from talos_opt.core.transfers import NoRouteError
from talos_opt.core.units import format_bytes
from talos_opt.solvers.engine.base import Verdict
from talos_opt.solvers.engine.run import Run


class DeadEndError(Exception):
    """An op fits on no device beside what has been placed; the message says why."""


class OutOfTimeError(Exception):
    """The time limit ended, or the run was cancelled, before every op was placed."""


class Mark(NamedTuple):
    """How much had been placed, bound and sent at some moment, and what devices held then."""

    placed: int
    bound: int
    sent: int
    held: list[int]
    widest: list[int]
    free: list[list[float]]


class Builder:
    """A placement under construction.

    Parameters
    ----------
    problem : Problem
    weights_only : bool
        Under the ``peak`` rule, reserve only the weights and leave the rest to the simulator;
        else outputs and workspaces are reserved as under the static rule.
    run : Run, optional
        `place` raises `OutOfTimeError` once it is overdue.
    """

    def __init__(
        self, problem: Problem, *, weights_only: bool = False, run: Run | None = None
    ) -> None:
        arrays = self.arrays = problem.arrays
        self.problem = problem
        self.run: Run | None = None  # what has started is placed, however late it is
        self.device = [-1] * arrays.op_count
        self.start = [0.0] * arrays.op_count
        self.end = [0.0] * arrays.op_count
        self.order: list[int] = []
        self.group = arrays.group.tolist()
        self.home = [-1] * arrays.group_count
        self._bound: list[int] = []
        self.time = arrays.time.tolist()
        self.allowed = _columns(arrays.allowed)
        self.demand = arrays.demand.tolist()
        self.release = problem.earliest.tolist()
        # When each slot of each device is free, in ascending order.
        self.free = [[0.0] * slots for slots in arrays.slots.tolist()]
        self._sent: dict[tuple[int, int], float] = {}
        self.blocked = bool((arrays.via == NO_ROUTE).any())
        self._reserve(weights_only)
        self._edges()
        self.started = np.zeros(arrays.op_count, dtype=bool)
        self.soonest = 0.0
        if problem.frozen is not None:
            self._place_started(problem.frozen)
        self.run = run

    def _place_started(self, frozen: Frozen) -> None:
        """Place what has started, in the order in which it did; nobody is asked to place it."""
        self.started, self.soonest = frozen.started, frozen.moment
        ops = np.flatnonzero(frozen.started)
        self._sent |= {key: row.end for key, row in frozen.hops.items()}
        for op in ops[np.lexsort((self.arrays.rank[ops], frozen.start[ops]))].tolist():
            device = int(np.argmax(frozen.allowed[op]))
            if not self.arrays.allowed[self.group[op], device]:
                raise DeadEndError(self._why(op))  # the rest of its group cannot follow it
            self.place(op, device, float(frozen.start[op]))
            if self.held[device] + self.widest[device] > self.capacity[device]:
                raise DeadEndError(self._why(op))  # there is no room for the rest of its group

    def has_started(self, op: int) -> bool:
        """Tell whether an op was there before anything was built."""
        return bool(self.started[op])

    def todo(self) -> list[int]:
        """Return the ops that are to be placed."""
        return [op for op, device in enumerate(self.device) if device < 0]

    def missing(self) -> list[int]:
        """Return how many inputs of each op are to be placed."""
        return [sum(self.device[op] < 0 for op, *_ in inputs) for inputs in self.inputs]

    def ready(self, op: int) -> float:
        """Return when an op may start: released, and all its inputs made."""
        return max([float(self.release[op]), *(self.end[i] for i, *_ in self.inputs[op])])

    def _reserve(self, weights_only: bool) -> None:
        arrays = self.arrays
        held = arrays.group_weights if weights_only else arrays.group_held
        self.size: list[int] = held.tolist()
        self.work: list[int] = (arrays.group_workspace * (not weights_only)).tolist()
        self.held = [0] * arrays.device_count
        self.widest = [0] * arrays.device_count
        self.capacity: list[int] = arrays.capacity.tolist()

    def _edges(self) -> None:
        arrays = self.arrays
        # Of each op: producer, tensor, bytes.
        self.inputs: list[list[tuple[int, int, int]]] = [[] for _ in self.device]
        self.readers: list[list[int]] = [[] for _ in self.device]
        least = np.full(arrays.tensor_count, np.iinfo(np.int64).max)
        most = np.full(arrays.tensor_count, -1)
        np.minimum.at(least, arrays.edge_tensor, arrays.edge_bytes)
        np.maximum.at(most, arrays.edge_tensor, arrays.edge_bytes)
        #: Whether all readers of a tensor name the same bytes.
        self.uniform: list[bool] = (least >= most).tolist()
        for op, reader, tensor, size in zip(
            arrays.edge_src.tolist(), arrays.edge_dst.tolist(), arrays.edge_tensor.tolist(),
            arrays.edge_bytes.tolist(), strict=True,
        ):  # fmt: skip
            self.inputs[reader].append((op, tensor, size))
            self.readers[op].append(reader)

    # ---- where an op may go ----------------------------------------------------------------

    def candidates(self, op: int) -> list[int]:
        """Return the devices that may take an op (and its colocation group) now.

        Raises
        ------
        DeadEndError
            If there is none.
        """
        group = self.group[op]
        if self.home[group] >= 0:
            return [self.home[group]]
        found = [d for d in self.allowed[group] if self.fits(group, d) and self._linked(group, d)]
        if not found:
            raise DeadEndError(self._why(op))
        return found

    def fits(self, group: int, device: int) -> bool:
        """Tell whether a group's memory fits beside what a device holds."""
        widest = max(self.widest[device], self.work[group])
        return self.held[device] + self.size[group] + widest <= self.capacity[device]

    def _linked(self, group: int, device: int) -> bool:
        """Tell whether tensors can travel between a device and all placed neighbours."""
        if not self.blocked:
            return True
        via = self.arrays.via
        for member in self.arrays.members[group].tolist():
            for op, *_ in self.inputs[member]:
                if self.device_of(op) >= 0 and via[self.device_of(op), device] == NO_ROUTE:
                    return False
            for reader in self.readers[member]:
                there = self.device_of(reader)
                if there >= 0 and via[device, there] == NO_ROUTE:
                    return False
        return True

    def device_of(self, op: int) -> int:
        """Return the device that an op is bound to, -1 if it is still free."""
        return int(self.home[self.group[op]])

    def _why(self, op: int) -> str:
        group = self.group[op]
        if not self.allowed[group]:
            return f"no device can run {self.problem.names[op]} and the ops colocated with it"
        need = self.size[group] + self.work[group]
        parts = []
        for d in self.allowed[group]:
            name = self.problem.device_ids[d]
            widest = max(self.widest[d], self.work[group])
            short = self.held[d] + self.size[group] + widest - self.capacity[d]
            if short > 0:
                parts.append(f"{name} is short by {short} bytes ({format_bytes(short)})")
            else:
                parts.append(f"{name} has no link to the devices of its neighbours")
        return (
            f"{self.problem.names[op]} (with its group {need} bytes) fits on no device beside "
            f"what was placed before it: {'; '.join(parts)}"
        )

    # ---- when it could run there -----------------------------------------------------------

    def arrival(self, op: int, device: int) -> float:
        """Return when the latest input of an op is on a device, all inputs being scheduled."""
        latest = float(self.release[op])
        for producer, tensor, size in self.inputs[op]:
            latest = max(latest, self._delivery(producer, tensor, device, size))
        return latest

    def _delivery(self, producer: int, tensor: int, device: int, size: int) -> float:
        source = self.device[producer]
        if source == device:
            return float(self.end[producer])
        known = self._sent.get((tensor, device))
        if known is not None:
            return known
        path = self.arrays.path(source, device)
        if path is None:
            return float("inf")
        begin = max(self.end[producer], self.soonest)
        return begin + sum(self.arrays.transfer_time(a, b, size) for a, b in path)

    def missing_route(self, op: int, device: int) -> NoRouteError:
        """Return the error that names an input of an op which cannot reach a device."""
        for producer, *_ in self.inputs[op]:
            source = self.device[producer]
            if self.arrays.path(source, device) is None:
                return NoRouteError(producer, source, device)
        raise AssertionError(f"all inputs of op {op} reach device {device}")

    def queue_end(self, device: int, demand: int = 1) -> float:
        """Return when enough slots of a device are free behind all that is queued there."""
        return float(self.free[device][demand - 1])

    def place(self, op: int, device: int, start: float) -> None:
        """Bind an op to a device at a time; reserves the memory of its whole group.

        Raises
        ------
        OutOfTimeError
        """
        if self.run is not None and self.run.overdue:
            raise OutOfTimeError
        self.bind(self.group[op], device)
        self.device[op] = device
        self.start[op] = start
        self.end[op] = start + self.time[op][device]
        self.order.append(op)
        for producer, tensor, size in self.inputs[op]:
            if self.device[producer] != device:
                key = (tensor, device)
                self._sent[key] = self._delivery(producer, tensor, device, size)
        slots, demand = self.free[device], self.demand[op]
        if self.time[op][device] > 0:
            slots[:demand] = [max(slots[demand - 1], self.end[op])] * demand
            slots.sort()

    def bind(self, group: int, device: int) -> None:
        """Reserve a group's memory on a device, if that has not happened yet."""
        if self.home[group] < 0:
            self.home[group] = device
            self._bound.append(group)
            self.held[device] += self.size[group]
            self.widest[device] = max(self.widest[device], self.work[group])

    def mark(self) -> Mark:
        """Return where the construction stands, for `undo`."""
        return Mark(
            len(self.order), len(self._bound), len(self._sent), list(self.held),
            list(self.widest), [list(slots) for slots in self.free],
        )  # fmt: skip

    def undo(self, mark: Mark) -> None:
        """Take back all that was placed and bound since a mark."""
        for op in self.order[mark.placed :]:
            self.device[op], self.start[op], self.end[op] = -1, 0.0, 0.0
        for group in self._bound[mark.bound :]:
            self.home[group] = -1
        del self.order[mark.placed :], self._bound[mark.bound :]
        while len(self._sent) > mark.sent:
            self._sent.popitem()  # the latest
        self.held, self.widest = list(mark.held), list(mark.widest)
        self.free = [list(slots) for slots in mark.free]

    def placement(self) -> Ints:
        """Return the device of every op (n,)."""
        return np.array([self.home[group] for group in self.group], dtype=np.int64)


def _columns(rows: Bools) -> list[list[int]]:
    """Return the positions of what is true in each row."""
    found = np.nonzero(rows)[1].tolist()
    cuts = np.concatenate([[0], np.cumsum(rows.sum(axis=1))]).tolist()
    return [found[a:b] for a, b in pairwise(cuts)]


def realise(
    problem: Problem,
    device: Ints,
    order: Iterable[int],
    *,
    insertion: bool = False,
    run: Run | None = None,
) -> Schedule:
    """Return the simulated schedule of a placement, ops taken in the given order.

    Under the ``peak`` rule an order that runs out of memory is tried again depth first, model by
    model, which keeps fewer tensors alive.

    With a `run`, `OutOfTimeError` is raised once it is overdue.

    Raises
    ------
    MemoryDeadlockError, NoRouteError, OutOfTimeError
    """
    stopped = None if run is None else lambda: run.overdue
    priority = np.zeros(problem.arrays.op_count)
    sequence = list(order)
    priority[sequence] = np.arange(len(sequence))
    try:
        try:
            return simulate(problem, device, priority, insertion=insertion, stopped=stopped)
        except MemoryDeadlockError:
            return simulate(problem, device, depth_first_rank(problem), stopped=stopped)
    except SimulationStoppedError:
        raise OutOfTimeError from None


def depth_first_rank(problem: Problem) -> Ints:
    """Position of each op in a depth-first topological order, model by model (n,)."""
    arrays = problem.arrays
    missing = np.diff(arrays.in_ptr).tolist()
    out, readers = arrays.out_ptr.tolist(), arrays.edge_dst.tolist()
    rank = np.zeros(arrays.op_count, dtype=np.int64)
    stack = [i for i in reversed(range(arrays.op_count)) if missing[i] == 0]
    position = 0
    while stack:
        i = stack.pop()
        rank[i] = position
        position += 1
        for reader in reversed(readers[out[i] : out[i + 1]]):
            missing[reader] -= 1
            if missing[reader] == 0:
                stack.append(reader)
    return rank


def construct(
    problem: Problem,
    run: Run,
    name: str,
    build: Callable[[Builder], None],
    *,
    insertion: bool = False,
) -> Verdict:
    """Run a constructive rule, realise what it built, and offer it.

    Under the ``peak`` rule the rule is run twice: with outputs reserved as under the static
    rule, and, if that leads nowhere, with weights alone.

    Parameters
    ----------
    build : callable
        Fills a `Builder`; may raise `DeadEndError`.
    insertion : bool
        Whether the rule fills gaps that earlier ops left on a device.
    """
    peak = problem.memory_rule is MemoryRule.PEAK and problem.arrays.memory_limited
    reasons: list[str] = []
    for weights_only in (False, True) if peak else (False,):
        try:
            builder = Builder(problem, weights_only=weights_only, run=run)
            build(builder)
            schedule = realise(
                problem, builder.placement(), builder.order, insertion=insertion, run=run
            )
            run.offer(schedule, name)
            return Verdict(Status.FEASIBLE)
        except OutOfTimeError:
            return Verdict(Status.UNKNOWN, f"{name}: time ran out before all ops were placed")
        except (DeadEndError, MemoryDeadlockError, NoRouteError) as error:
            reasons.append(explain(problem, error))
    return Verdict(Status.UNKNOWN, f"{name}: {reasons[-1]}")


def explain(problem: Problem, error: Exception) -> str:
    """Put the end of a constructive rule into words."""
    names, ids = problem.names, problem.device_ids
    if isinstance(error, MemoryDeadlockError):
        return f"{names[error.op]} finds no room in the memory of {ids[error.device]} at any time"
    if isinstance(error, NoRouteError):
        return (
            f"{names[error.producer]} on {ids[error.source]} has a reader on "
            f"{ids[error.target]}, and there is no route between them"
        )
    return str(error)
