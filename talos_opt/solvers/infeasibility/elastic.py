"""Placement with limits that can be relaxed one by one: memory, colocation, pins, missing routes.

Under the static rule this is all that feasibility asks for. Under the peak rule it is necessary
but not sufficient: every op must fit beside all weights of its device and its own inputs.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from talos_opt.core.arrays import times_on
from talos_opt.core.columns import NONE
from talos_opt.core.problem import NO_ROUTE, UNLIMITED, Bools, Floats, Ints, MemoryRule, Problem
from talos_opt.core.relaxations import Relaxation, RelaxationKind

#: More variables and clauses than this are not built: it would take longer than it is worth.
MOST_TERMS = 400_000


@dataclass
class Limit:
    """A limit and the literal that is true where it is relaxed."""

    relaxation: Relaxation
    literal: Any
    over: Any = None  # bytes too many, in the formulation's unit, where it is memory


class StoppedError(Exception):
    """The time ran out, or the run was cancelled, while the formulation was being built."""


class ElasticPlacement:
    """Variables ``x[i][d]`` (op i sits on device d) and a literal for every limit.

    Parameters
    ----------
    cp : module
        OR-Tools' cp_model.
    problem : Problem
    stopped : callable
        Looked at while building.
    """

    def __init__(self, cp: Any, problem: Problem, stopped: Callable[[], bool]) -> None:
        self.problem, self.arrays, self.stopped = problem, problem.arrays, stopped
        self.model = cp.CpModel()
        self.limits: list[Limit] = []
        self.times = _times(problem)
        #: Bytes per unit of memory in the formulation.
        self.unit = self.arrays.byte_unit()
        self.x: list[list[Any]] = []
        self._place()
        self._pin()
        self._colocate()
        self._route()
        self._fit()

    def look_up(self) -> None:
        """Raise `StoppedError` if the time is over."""
        if self.stopped():
            raise StoppedError

    def read(self, value: Callable[[Any], int]) -> Ints:
        """Return the device of every op in a solution (n,)."""
        return np.array(
            [
                next(d for d, literal in enumerate(row) if literal is not None and value(literal))
                for row in self.x
            ],
            dtype=np.int64,
        )

    def excess(self, limit: Limit, value: Callable[[Any], int]) -> int:
        """Return the bytes by which a solution outgrows a device."""
        device = self.problem.device_ids.index(limit.relaxation.name)
        return self.bytes_over(device, int(value(limit.over)))

    def bytes_over(self, device: int, over: int) -> int:
        """Return how many bytes so many units too many are beyond a device's memory."""
        capacity = int(self.arrays.capacity[device])
        return self.unit * (capacity // self.unit + over) - capacity if over > 0 else 0

    def hint(self, device: Ints) -> None:
        """Let the search begin at a placement."""
        for row, home in zip(self.x, device.tolist(), strict=True):
            for d, literal in enumerate(row):
                if literal is not None:
                    self.model.add_hint(literal, int(d == home))

    # ---- constraints -------------------------------------------------------------------

    def _limit(self, kind: RelaxationKind, name: str, target: str = "") -> Limit:
        found = Limit(Relaxation(kind, name, target), self.model.new_bool_var(""))
        self.limits.append(found)
        return found

    def _place(self) -> None:
        """Every op sits on one device that has a time and slots for it."""
        for row in np.isfinite(self.times).tolist():
            self.look_up()
            literals = [self.model.new_bool_var("") if able else None for able in row]
            self.model.add_exactly_one(literal for literal in literals if literal is not None)
            self.x.append(literals)

    def _pin(self) -> None:
        """An op sits where it is pinned."""
        for op, pinned in _pins(self.problem).items():
            self.look_up()
            outside = [
                literal
                for d, literal in enumerate(self.x[op])
                if literal is not None and d not in pinned
            ]
            if outside:
                limit = self._limit(RelaxationKind.PIN, self.problem.names[op])
                for literal in outside:
                    self.model.add_implication(literal, limit.literal)

    def _colocate(self) -> None:
        """Ops of one group share a device."""
        for members in self.arrays.members:
            if len(members) < 2:
                continue
            self.look_up()
            columns = self.problem.graph.columns
            name = columns.groups[int(columns.group[int(members[0])])]
            limit = self._limit(RelaxationKind.COLOCATION, name)
            first = self.x[int(members[0])]
            for other in members[1:].tolist():
                for a, b in zip(first, self.x[other], strict=True):
                    for here, there in ((a, b), (b, a)):
                        if here is not None:
                            rest = [] if there is None else [there]
                            self.model.add_bool_or([here.negated(), *rest, limit.literal])

    def _route(self) -> None:
        """Devices without a route between them do not hold both ends of an edge."""
        arrays, ids = self.arrays, self.problem.device_ids
        blocked = np.argwhere(arrays.via == NO_ROUTE).tolist()
        edges = list(zip(arrays.edge_src.tolist(), arrays.edge_dst.tolist(), strict=True))
        for source, target in blocked:
            self.look_up()
            parted = [
                (self.x[a][source], self.x[b][target])
                for a, b in edges
                if self.x[a][source] is not None and self.x[b][target] is not None
            ]
            if parted:
                limit = self._limit(RelaxationKind.ROUTE, ids[source], ids[target])
                for here, there in parted:
                    self.model.add_bool_or([here.negated(), there.negated(), limit.literal])

    def _fit(self) -> None:
        """What a device holds fits into its memory."""
        static = self.problem.memory_rule is MemoryRule.STATIC
        for device, capacity in enumerate(self.arrays.capacity.tolist()):
            if capacity >= UNLIMITED:
                continue
            self.look_up()
            held, most, largest, top = self._static(device) if static else self._alive(device)
            room = capacity // self.unit
            if most + top <= room:
                continue
            limit = self._limit(RelaxationKind.MEMORY, self.problem.device_ids[device])
            limit.over = self.model.new_int_var(0, most + top - room, "")
            self.model.add(sum(held) + largest <= room + limit.over)
            self.model.add(limit.over == 0).only_enforce_if(limit.literal.negated())

    def _static(self, device: int) -> tuple[list[Any], int, Any, int]:
        """Terms of weights and outputs, their sum, the largest workspace, and its bound."""
        arrays, unit = self.arrays, self.unit
        size = ((arrays.weights + arrays.output) // unit).tolist()
        work = (arrays.workspace // unit).tolist()
        here = [(i, row[device]) for i, row in enumerate(self.x) if row[device] is not None]
        held = [size[i] * literal for i, literal in here if size[i]]
        most = sum(size[i] for i, _ in here)
        top = max((work[i] for i, _ in here), default=0)
        largest = self.model.new_int_var(0, top, "")
        for i, literal in here:
            if work[i]:
                self.model.add(largest >= work[i]).only_enforce_if(literal)
        return held, most, largest, top

    def _alive(self, device: int) -> tuple[list[Any], int, Any, int]:
        """Terms of weights, their sum, and the most that one op needs beside them."""
        arrays, unit = self.arrays, self.unit
        weights = (arrays.weights // unit).tolist()
        here = [(i, row[device]) for i, row in enumerate(self.x) if row[device] is not None]
        held = [weights[i] * literal for i, literal in here if weights[i]]
        needs, top = [], 0
        for i, literal in here:
            if not self.times[i, device] > 0:  # nothing is alive while no time passes
                continue
            own = int(arrays.output[i] + arrays.workspace[i]) // unit
            terms, most = [], own
            for edge in arrays.in_edge[arrays.in_ptr[i] : arrays.in_ptr[i + 1]].tolist():
                producer = int(arrays.edge_src[edge])
                local = int(arrays.tensor_size[arrays.edge_tensor[edge]]) // unit
                copy = int(arrays.edge_bytes[edge]) // unit
                there = self.x[producer][device]
                own += copy
                if there is not None and local != copy:
                    terms.append((local - copy) * there)
                most += max(local, copy)
            needs.append((literal, own, terms))
            top = max(top, most)
        largest = self.model.new_int_var(0, top, "")
        for literal, own, terms in needs:
            self.model.add(largest >= own + sum(terms)).only_enforce_if(literal)
        return held, sum(weights[i] for i, _ in here), largest, top


def _times(problem: Problem) -> Floats:
    """Times of ops on devices, whatever their pins and the memory; infinite: none (n, m)."""
    columns, devices = problem.graph.columns, problem.cluster.devices
    table = np.column_stack([times_on(columns, device.id, device.kind) for device in devices])
    return np.where(columns.slots[:, None] <= problem.arrays.slots, table, np.inf)


def _pins(problem: Problem) -> dict[int, set[int]]:
    """Devices that each pinned op may sit on."""
    columns, cluster = problem.graph.columns, problem.cluster
    sets = [
        {cluster.index[device.id] for name in names for device in cluster.members(name)}
        for names in columns.pins
    ]
    return {i: sets[int(columns.pin[i])] for i in np.flatnonzero(columns.pin != NONE).tolist()}


def first_fit(form: ElasticPlacement, spare: str) -> Ints:
    """Place colocation groups, largest first, where least room is left; the rest on one device.

    A start for the search, by pins and groups but not by routes (n,).

    Parameters
    ----------
    form : ElasticPlacement
    spare : str
        Device that takes what fits nowhere else.
    """
    problem, arrays = form.problem, form.problem.arrays
    last = problem.device_ids.index(spare)
    able = np.isfinite(form.times)
    for op, pinned in _pins(problem).items():
        able[op, [d for d in range(able.shape[1]) if d not in pinned]] = False
    size = arrays.weights + arrays.output
    room, work = arrays.capacity.copy(), np.zeros(arrays.device_count, dtype=np.int64)
    device = np.full(arrays.op_count, last)
    for members in sorted(arrays.members, key=lambda ops: -int(size[ops].sum())):
        need, largest = int(size[members].sum()), int(arrays.workspace[members].max())
        allowed: Bools = np.logical_and.reduce(able[members], axis=0)
        left = room - need - np.maximum(work, largest)
        fits = np.flatnonzero(allowed & (left >= 0) & (np.arange(len(left)) != last))
        if len(fits):
            home = int(fits[np.argmin(left[fits])])
        else:
            home = last if allowed[last] or not allowed.any() else int(np.argmax(allowed))
        device[members] = home
        room[home] -= need
        work[home] = max(int(work[home]), largest)
    return device


def size_of(problem: Problem) -> int:
    """Estimate how many variables and clauses the formulation has."""
    arrays = problem.arrays
    blocked = int((arrays.via == NO_ROUTE).sum())
    limited = int((arrays.capacity < UNLIMITED).sum())
    edges = len(arrays.edge_src)
    peak = edges * limited if problem.memory_rule is MemoryRule.PEAK else 0
    return math.prod(arrays.time.shape) * 2 + edges * blocked + peak
