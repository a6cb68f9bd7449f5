"""Talos' own method: operator placement by incremental minimum-cost flow.

"A Weighted Speedup-Aware Device Placement of Deep Learning Models" (ASAP 2021), with its unclear
parts settled as in docs/model.md, "Talos' own algorithm".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from talos_opt.core.errors import DependencyError
from talos_opt.core.problem import UNLIMITED, Floats, Problem
from talos_opt.core.result import Status
from talos_opt.core.simulator import MemoryDeadlockError
from talos_opt.core.transfers import NoRouteError
from talos_opt.importing import import_whole
from talos_opt.solvers.engine.base import RULE_FEATURES, Solver, Verdict
from talos_opt.solvers.engine.run import Run
from talos_opt.solvers.shared.constructive import Builder, construct, explain, realise
from talos_opt.solvers.shared.packing import pack

#: Costs enter the flow as integers: this many steps for the largest cost of a pricing.
_RESOLUTION = 10**9


@dataclass(frozen=True)
class TalosOptions:
    """Options of `TalosSolver`.

    Parameters
    ----------
    batch : int
        Augmentations that share one pricing of a topological step. 1: every op is priced again
        after each placement, as the method is settled.
    sv_low, sv_high : float
        Packing: adjacent ops merge while their speedup lies within these multiples of the first
        op's (the paper's sv0.5-2).
    tv : float
        Packing: total reference time of a pack, in the graph's unit; 0: no packing.
    """

    batch: int = 1
    sv_low: float = 0.5
    sv_high: float = 2.0
    tv: float = 0.0

    def __post_init__(self) -> None:
        if self.batch < 1:
            raise ValueError(f"batch is {self.batch}, expected at least 1")
        if not 0 < self.sv_low <= 1 <= self.sv_high:
            raise ValueError(
                f"sv_low, sv_high are {self.sv_low}, {self.sv_high}, expected 0 < low <= 1 <= high"
            )
        if self.tv < 0:
            raise ValueError(f"tv is {self.tv}, expected at least 0")


class TalosSolver(Solver):
    """Weighted speedup-aware placement over topological steps of all models."""

    name = "talos"
    summary = "Talos' incremental min-cost flow over topological steps (Eq. 4), sv/tv packing"
    features = RULE_FEATURES
    Options = TalosOptions

    def solve(self, problem: Problem, run: Run) -> Verdict:
        """Offer one schedule."""
        options: TalosOptions = self.options
        if options.tv <= 0 or problem.frozen is not None:  # what has started is in no pack
            return construct(problem, run, self.name, lambda builder: place(builder, options.batch))
        packed = pack(problem, options.sv_low, options.sv_high, options.tv)
        inner = Run(packed.problem, time_limit=run.remaining, inside=run)
        verdict = TalosSolver(TalosOptions(batch=options.batch)).solve(packed.problem, inner)
        if inner.best is None:
            return verdict
        device, order = packed.unpack(inner.best)
        try:
            run.offer(realise(problem, device, order), self.name)
        except (MemoryDeadlockError, NoRouteError) as error:
            return Verdict(Status.UNKNOWN, f"{self.name}: {explain(problem, error)}")
        return Verdict(Status.FEASIBLE)


class Arc(NamedTuple):
    """A device that an op may go to in the current step, and its price.

    Parameters
    ----------
    op, device : int
    wait, comm, exec, max_pt : float
        The parts of Eq. 4.
    start : float
        When the op would start.
    """

    op: int
    device: int
    wait: float
    comm: float
    exec: float
    max_pt: float
    start: float

    @property
    def turnaround(self) -> float:
        """Wait + comm + exec."""
        return self.wait + self.comm + self.exec

    @property
    def cost(self) -> float:
        """Eq. 4: wait + comm + exec - maxPt; an op off the longest path gets its slack."""
        return self.turnaround - self.max_pt


def place(builder: Builder, batch: int) -> None:
    """Place every op, step by step.

    Parameters
    ----------
    builder : Builder
        Of what has started alone.
    batch : int
        Augmentations per pricing.

    Raises
    ------
    DeadEndError
        If memory or colocation leave an op no device.
    NoRouteError
        If an op's group was bound to a device that one of its inputs cannot reach.
    OutOfTimeError
    """
    level, todo = builder.arrays.level, np.array(builder.todo())
    for number in np.unique(level[todo]).tolist() if len(todo) else ():
        step = Step(builder, todo[level[todo] == number].tolist())
        while step.left:
            units = min(batch, step.left)
            for arc in [step.cheapest()] if units == 1 else augment(builder, step.arcs(), units):
                group = builder.group[arc.op]
                if builder.home[group] < 0 and not builder.fits(group, arc.device):
                    continue  # filled up within this batch: priced again in the next
                step.place(arc)


class Step:
    """The ops of one topological step that are still to be placed, and what they cost where.

    Parameters
    ----------
    builder : Builder
        Holds all ops of the steps before.
    ops : list of int
        Ascending.
    """

    def __init__(self, builder: Builder, ops: list[int]) -> None:
        arrays = builder.arrays
        count, devices = len(ops), arrays.device_count
        self.builder = builder
        self.ops = np.array(ops)
        self.row = {op: k for k, op in enumerate(ops)}
        self.left = count
        self.model = arrays.model[self.ops]
        self.group = arrays.group[self.ops]
        self.size = np.array(builder.size)[self.group]
        self.work = np.array(builder.work)[self.group]
        self.exec = np.ascontiguousarray(arrays.time[self.ops].T)
        self.ready = np.array(
            [max([builder.release[i], *(builder.end[p] for p, *_ in builder.inputs[i])])
             for i in ops]
        )  # fmt: skip
        # By device, when the inputs could be there, and that less when they were produced; nan
        # where the op may not go, or has been placed.
        self.arrival = np.full((devices, count), np.nan)
        for op in ops:
            self._open(op)
        self.travel = self.arrival - self.ready
        self.longest = np.zeros(count)  # of each op's model
        demand = arrays.demand[self.ops]
        self.demands = sorted(set(demand.tolist()))
        self.which = np.searchsorted(self.demands, demand)
        self.cost = np.full((devices, count), np.nan)
        self.least = np.full(devices, np.inf)  # of each row of `cost`
        for d in range(devices):
            self._price(d)

    def _open(self, op: int) -> None:
        """Price an op's inputs on every device that may take it now."""
        k = self.row[op]
        self.arrival[:, k] = np.nan
        for d in self.builder.candidates(op):
            self.arrival[d, k] = self.builder.arrival(op, d)
            if self.arrival[d, k] == np.inf:  # its group was bound before its inputs had a place
                raise self.builder.missing_route(op, d)

    def _starts(self, device: int) -> Floats:
        """Earliest start of every op behind the queue of a device; nan where it may not go."""
        builder = self.builder
        most = len(builder.free[device])
        queue = np.array([builder.queue_end(device, min(k, most)) for k in self.demands])
        behind = queue[0] if len(queue) == 1 else queue[self.which]
        return np.asarray(np.maximum(self.arrival[device], behind))

    def _price(self, device: int) -> None:
        """Bring Eq. 4's cost of all ops on a device up to date, summed as `Arc.cost` sums it."""
        turnaround = self._starts(device) - self.arrival[device]
        turnaround += self.travel[device]
        turnaround += self.exec[device]
        np.subtract(turnaround, self.longest, out=self.cost[device])
        self.least[device] = np.fmin.reduce(self.cost[device])

    def _arc(self, row: int, device: int, start: float) -> Arc:
        arrival = float(self.arrival[device, row])
        return Arc(
            int(self.ops[row]),
            device,
            start - arrival,
            arrival - float(self.ready[row]),
            float(self.exec[device, row]),
            float(self.longest[row]),
            start,
        )

    def arcs(self) -> list[Arc]:
        """Return every arc of the ops that are left, op by op."""
        start = np.array([self._starts(d) for d in range(len(self.least))]).T
        return [
            self._arc(k, d, float(start[k, d])) for k, d in np.argwhere(np.isfinite(start)).tolist()
        ]

    def cheapest(self) -> Arc:
        """Return the arc of least cost; ties go to shorter exec, then lower op, then device.

        It is the shortest path that one augmentation would take.
        """
        best = np.fmin.reduce(self.least)
        ties = [
            (float(self.exec[d, k]), k, d)
            for d in np.flatnonzero(self.least == best).tolist()
            for k in np.flatnonzero(self.cost[d] == best).tolist()
        ]
        _, row, device = min(ties)
        queue = self.builder.queue_end(device, self.builder.demand[int(self.ops[row])])
        return self._arc(row, device, max(float(self.arrival[device, row]), queue))

    def place(self, arc: Arc) -> None:
        """Place an op and reprice what that changes for the others."""
        builder, op, device = self.builder, arc.op, arc.device
        group, row = builder.group[op], self.row[op]
        free_before = builder.home[group] < 0
        start = max(arc.start, builder.queue_end(device, builder.demand[op]))
        builder.place(op, device, start)
        was_least = np.flatnonzero(self.cost[:, row] <= self.least).tolist()
        self.arrival[:, row] = self.cost[:, row] = np.nan
        for d in was_least:
            self.least[d] = np.fmin.reduce(self.cost[d])
        self.left -= 1
        changed: list[int] = []
        if free_before:
            changed += self._bound_with(group)
            changed += self._without_room(device)
            for other in changed:
                self._open(other)
        changed += self._reprice_siblings(op, device)
        if changed:
            self.travel = self.arrival - self.ready
        everywhere = self._lengthen(row, arc.turnaround) or bool(changed)
        for d in range(len(self.least)) if everywhere else (device,):
            self._price(d)
        if self.left <= len(self.ops) // 2:
            self._compact()

    def _lengthen(self, row: int, turnaround: float) -> bool:
        """Take over a longer path of a model; tell whether other ops of it get cheaper."""
        if turnaround <= self.longest[row]:
            return False
        # Ops are numbered model by model.
        first, last = np.searchsorted(self.model, [self.model[row], self.model[row] + 1])
        self.longest[first:last] = turnaround
        return bool(last - first > 1)

    def _compact(self) -> None:
        """Forget the ops that have been placed."""
        kept = np.isfinite(self.arrival).any(axis=0)
        for name in ("ops", "model", "group", "size", "work", "ready", "longest", "which"):
            setattr(self, name, getattr(self, name)[kept])
        for name in ("exec", "arrival", "travel", "cost"):
            setattr(self, name, np.ascontiguousarray(getattr(self, name)[:, kept]))
        self.row = {op: k for k, op in enumerate(self.ops.tolist())}

    def _bound_with(self, group: int) -> list[int]:
        """Ops left whose possible devices change as a group is bound: its own, and neighbours."""
        builder = self.builder
        touched = {group} if len(builder.arrays.members[group]) > 1 else set()
        if builder.blocked:
            for member in builder.arrays.members[group].tolist():
                touched |= {builder.group[i] for i, *_ in builder.inputs[member]}
                touched |= {builder.group[i] for i in builder.readers[member]}
        if not touched:
            return []
        found = self.ops[np.isin(self.group, list(touched))].tolist()
        return [op for op in found if builder.device[op] < 0]

    def _without_room(self, device: int) -> list[int]:
        """Ops left that no longer fit beside what a device holds."""
        builder = self.builder
        if builder.capacity[device] >= UNLIMITED:
            return []
        widest = np.maximum(builder.widest[device], self.work)
        over = builder.held[device] + self.size + widest > builder.capacity[device]
        over &= np.isfinite(self.arrival[device])
        return [
            int(self.ops[k])
            for k in np.flatnonzero(over).tolist()
            if builder.home[int(self.group[k])] < 0
        ]

    def _reprice_siblings(self, op: int, device: int) -> list[int]:
        """A tensor is sent once: readers that name other bytes now find it there."""
        builder, changed = self.builder, []
        for producer, tensor, _ in builder.inputs[op]:
            if builder.uniform[tensor]:
                continue
            for reader in builder.readers[producer]:
                k = self.row.get(reader)
                if k is not None and np.isfinite(self.arrival[device, k]):
                    self.arrival[device, k] = builder.arrival(reader, device)
                    changed.append(reader)
        return changed


def augment(builder: Builder, arcs: list[Arc], units: int) -> list[Arc]:
    """Send up to `units` ops through the cheapest paths: source - op - device - sink.

    A device passes as many ops as it has slots. Ops that hold several slots must not be split,
    so they go alone: if the cheapest arc is one of theirs, it is the whole augmentation.

    Returns
    -------
    list of Arc
        Arcs with flow, cheapest first; at least one.
    """
    ranked = sorted(arcs, key=lambda arc: (arc.cost, arc.exec, arc.op, arc.device))
    if builder.demand[ranked[0].op] > 1:
        return ranked[:1]
    return _min_cost_flow(builder, [arc for arc in ranked if builder.demand[arc.op] == 1], units)


def _min_cost_flow(builder: Builder, arcs: list[Arc], units: int) -> list[Arc]:
    flow = _flow_solver()
    count = builder.arrays.op_count
    source, sink = 0, 1 + count + builder.arrays.device_count
    ops = sorted({arc.op for arc in arcs})
    devices = sorted({arc.device for arc in arcs})
    slots = builder.arrays.slots.tolist()
    units = min(units, len(ops), sum(slots[d] for d in devices))
    cost = _whole_costs(arcs)
    ids = flow.add_arcs_with_capacity_and_unit_cost(
        np.array([1 + arc.op for arc in arcs]),
        np.array([1 + count + arc.device for arc in arcs]),
        np.ones(len(arcs), dtype=np.int64),
        np.array(cost),
    )
    for op in ops:
        flow.add_arc_with_capacity_and_unit_cost(source, 1 + op, 1, 0)
    for device in devices:
        flow.add_arc_with_capacity_and_unit_cost(1 + count + device, sink, slots[device], 0)
    flow.set_node_supply(source, units)
    flow.set_node_supply(sink, -units)
    status = flow.solve_max_flow_with_min_cost()
    assert status == flow.OPTIMAL, status
    used = [arc for arc, sent in zip(arcs, flow.flows(ids).tolist(), strict=True) if sent]
    return sorted(used, key=lambda arc: (arc.cost, arc.exec, arc.op))


def _whole_costs(arcs: list[Arc]) -> list[int]:
    """Integer costs that keep the order of `arcs`, which are sorted: ties stay broken.

    Costs are scaled so that their differences stay proportional to `_RESOLUTION` steps; the
    position in the order is added below them.
    """
    top = max(max(abs(arc.cost) for arc in arcs), 1e-300)
    return [round(arc.cost / top * _RESOLUTION) * (len(arcs) + 1) + k for k, arc in enumerate(arcs)]


def _flow_solver() -> Any:
    try:
        import_whole("ortools.graph.python.min_cost_flow")
        from ortools.graph.python import min_cost_flow
    except ImportError as error:
        raise DependencyError(
            f"OR-Tools cannot be imported ({error}); run: pip install 'ortools>=9.15,<9.16'"
        ) from error
    return min_cost_flow.SimpleMinCostFlow()
