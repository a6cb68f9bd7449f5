"""Talos' own method: operator placement by incremental minimum-cost flow.

"A Weighted Speedup-Aware Device Placement of Deep Learning Models" (ASAP 2021), with its unclear
parts settled as in docs/model.md, "Talos' own algorithm".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from talos_opt.core.errors import DependencyError
from talos_opt.core.problem import Problem
from talos_opt.core.result import Status
from talos_opt.core.simulator import MemoryDeadlockError
from talos_opt.core.transfers import NoRouteError
from talos_opt.solvers.base import Solver, Verdict
from talos_opt.solvers.constructive import Builder, construct, explain, realise
from talos_opt.solvers.packing import pack
from talos_opt.solvers.run import Run

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
    Options = TalosOptions

    def solve(self, problem: Problem, run: Run) -> Verdict:
        """Offer one schedule."""
        options: TalosOptions = self.options
        if options.tv <= 0:
            return construct(problem, run, self.name, lambda builder: place(builder, options.batch))
        packed = pack(problem, options.sv_low, options.sv_high, options.tv)
        inner = Run(packed.problem, time_limit=run.remaining, cancel=run.cancel)
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


def price(builder: Builder, op: int, max_pt: float) -> list[Arc]:
    """Return Eq. 4's arcs of an op whose inputs are all placed.

    Time counts from when the last input was produced. Comm is the latest arrival over all
    inputs; wait is what the queue of the device, whatever models its ops belong to, adds to it.

    Parameters
    ----------
    max_pt : float
        Longest wait + comm + exec among the ops of the same model and step placed so far.
    """
    ready = max([builder.release[op], *(builder.end[i] for i, _ in builder.inputs[op])])
    arcs = []
    for device in builder.candidates(op):
        arrival = builder.arrival(op, device)
        start = max(arrival, builder.queue_end(device, builder.demand[op]))
        arcs.append(
            Arc(
                op,
                device,
                start - arrival,
                arrival - ready,
                builder.time[op][device],
                max_pt,
                start,
            )
        )
    return arcs


def place(builder: Builder, batch: int) -> None:
    """Place every op, step by step.

    Parameters
    ----------
    builder : Builder
        Empty.
    batch : int
        Augmentations per pricing.

    Raises
    ------
    DeadEndError
        If memory, colocation or routes leave an op no device.
    """
    level, model = builder.arrays.level, builder.arrays.model.tolist()
    for step in range(int(level.max()) + 1):
        left = np.flatnonzero(level == step).tolist()
        longest: dict[int, float] = {}
        while left:
            arcs = [arc for op in left for arc in price(builder, op, longest.get(model[op], 0.0))]
            for arc in augment(builder, arcs, min(batch, len(left))):
                group = builder.group[arc.op]
                if builder.home[group] < 0 and not builder.fits(group, arc.device):
                    continue  # filled up within this batch: priced again in the next
                start = max(arc.start, builder.queue_end(arc.device, builder.demand[arc.op]))
                builder.place(arc.op, arc.device, start)
                left.remove(arc.op)
                owner = model[arc.op]
                longest[owner] = max(longest.get(owner, 0.0), arc.turnaround)


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
    wide = [arc for arc in ranked if builder.demand[arc.op] > 1]
    if wide and (units == 1 or ranked[0] is wide[0]):
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
        from ortools.graph.python import min_cost_flow
    except ImportError as error:
        raise DependencyError(
            f"OR-Tools cannot be imported ({error}); run: pip install 'ortools>=9.15,<9.16'"
        ) from error
    return min_cost_flow.SimpleMinCostFlow()
