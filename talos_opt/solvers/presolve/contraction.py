"""The smaller problem that the rules leave, and the way between its schedules and the user's."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from talos_opt.core.columns import Outputs, Texts, pointers
from talos_opt.core.errors import GraphError
from talos_opt.core.graph import ColumnarModels, Graph
from talos_opt.core.occupancy import most_needed
from talos_opt.core.problem import UNLIMITED, Floats, Ints, MemoryRule, Objective, Problem
from talos_opt.core.schedule import Schedule
from talos_opt.core.sums import max_by, sum_by
from talos_opt.solvers.presolve.rules import Findings, apply_rules


@dataclass(frozen=True)
class Presolved:
    """A problem, what is left of it, and the way between them.

    n ops and t tensors, of which k ops are left; every tensor is.

    Parameters
    ----------
    original, problem : Problem
        Of the same ops if no rule applied.
    part_of : (n,) int
        Op of `problem` that each op is part of.
    first : (k,) int
        One op of each: the one that takes time, if any does.
    order : (n,) int
        Ops of `original`, those that became one together, in the order in which they run.
    tensor : (t,) int
        Number in `problem` of each tensor of `original`.
    counts : dict of str to int
        What was done, and how often; empty: schedules of one are those of the other.
    """

    original: Problem
    problem: Problem
    part_of: Ints
    first: Ints
    order: Ints
    tensor: Ints
    counts: dict[str, int]

    def restore(self, schedule: Schedule) -> Schedule:
        """Return a schedule of `problem` as one of `original`, op by op; it is worth the same."""
        if not self.counts:
            return schedule
        device = schedule.device[self.part_of]
        first, last = schedule.start[self.part_of], schedule.end[self.part_of]
        begin, end = self._offsets(device)
        longest = np.zeros(len(self.first))
        np.maximum.at(longest, self.part_of, end)
        length = longest[self.part_of]

        def after(offset: Floats) -> Floats:
            # Both ends of what became one op are its own, to the last digit.
            inside = np.where(offset == length, last, first + offset)
            return np.asarray(np.where(offset == 0, first, inside))

        moves, tensor = schedule.transfers, np.empty_like(self.tensor)
        tensor[self.tensor] = np.arange(len(self.tensor))
        moved = tensor[moves.tensor]
        op = self.original.arrays.tensor_op[moved]
        return Schedule(device, after(begin), after(end), replace(moves, op=op, tensor=moved))

    def adopt(self, schedule: Schedule) -> Schedule:
        """Return a schedule of `original` as one of `problem`, which may have to be mended."""
        if not self.counts:
            return schedule
        # One op starts with the first of its parts that takes time; if none does, with the last,
        # which has waited for what all of them read.
        times = self.original.arrays.time[np.arange(len(self.part_of)), schedule.device]
        start, last = np.full(len(self.first), np.inf), np.full(len(self.first), -np.inf)
        np.maximum.at(last, self.part_of, schedule.start)
        np.minimum.at(start, self.part_of[times > 0], schedule.start[times > 0])
        start = np.where(np.isfinite(start), start, last)
        moves, device = schedule.transfers, schedule.device[self.first]
        moved = self.tensor[moves.tensor]
        arrays = self.problem.arrays
        op = arrays.tensor_op[moved]
        return Schedule(
            device,
            start,
            start + arrays.time[np.arange(len(device)), device],
            replace(moves, op=op, tensor=moved),
        )

    def _offsets(self, device: Ints) -> tuple[Floats, Floats]:
        """When each op begins and ends after the start of the op that it is part of (n,)."""
        order = self.order
        time = self.original.arrays.time[np.arange(len(device)), device][order]
        owner = self.part_of[order]
        begin, end = np.zeros(len(order)), np.zeros(len(order))
        total, before = 0.0, -1
        for k, (op, length) in enumerate(zip(owner.tolist(), time.tolist(), strict=True)):
            if op != before:
                total, before = 0.0, op
            begin[k] = total
            total += length
            end[k] = total
        result = np.empty((2, len(order)))
        result[0, order], result[1, order] = begin, end
        return result[0], result[1]

    def describe(self) -> str:
        """Say what was done; empty if nothing was."""
        if not self.counts:
            return ""
        done = ", ".join(f"{count} {what}" for what, count in self.counts.items())
        before, after = self.original.arrays.op_count, self.problem.arrays.op_count
        return f"presolve: {done}; {after} of {before} ops left"


def presolve(problem: Problem) -> Presolved:
    """Apply the rules to a problem."""
    # What is in one block, and when it is alive, is not known to rules, nor what has started.
    if problem.is_pipelined or problem.frozen is not None:
        return _untouched(problem, problem)
    roomy = _without_idle_limits(problem)
    found = apply_rules(roomy)
    if found.counts:
        try:
            return replace(_contract(roomy, found), original=problem)
        except GraphError:
            pass  # ops that must share a device fit on none: the solvers say so, op by op
    return _untouched(problem, roomy)


def _untouched(problem: Problem, roomy: Problem) -> Presolved:
    ops, tensors = np.arange(problem.arrays.op_count), np.arange(problem.arrays.tensor_count)
    return Presolved(problem, roomy, ops, ops, ops, tensors, {})


def _without_idle_limits(problem: Problem) -> Problem:
    """Return the problem without the limits of devices that everything together fits on."""
    arrays, cluster = problem.arrays, problem.cluster
    idle = (arrays.capacity < UNLIMITED) & (arrays.capacity >= most_needed(arrays))
    if problem.objective is Objective.MEMORY or not idle.any():
        return problem
    devices = tuple(
        replace(device, memory=None) if free else device
        for device, free in zip(cluster.devices, idle.tolist(), strict=True)
    )
    lifted = replace(arrays, capacity=np.where(idle, UNLIMITED, arrays.capacity))
    return problem.replaced(problem.graph, replace(cluster, devices=devices), lifted)


def _contract(problem: Problem, found: Findings) -> Presolved:
    arrays, given = problem.arrays, problem.graph.columns
    root = found.owner.copy()
    while (root[root] != root).any():
        root = root[root]
    kept = np.flatnonzero(root == np.arange(len(root)))
    number = np.full(len(root), -1, dtype=np.int64)
    number[kept] = np.arange(len(kept))
    part_of = number[root]
    order = np.lexsort((arrays.rank, part_of))
    # Tensors stand op by op in the order in which the ops run that became one.
    place = np.empty(len(root), dtype=np.int64)
    place[order] = np.arange(len(root))
    by_op = np.argsort(place[arrays.tensor_op], kind="stable")
    tensor = np.empty(len(by_op), dtype=np.int64)
    tensor[by_op] = np.arange(len(by_op))
    columns = replace(
        given,
        model_ptr=pointers(np.bincount(arrays.model[kept], minlength=len(given.model_ids))),
        ids=Texts.join([given.ids[i] for i in kept.tolist()]),
        time=_times(problem, found, root)[kept],
        weights=sum_by(part_of, arrays.weights, len(kept)),
        output=sum_by(part_of, arrays.output, len(kept)),
        workspace=_workspaces(problem, found, part_of, kept),
        slots=given.slots[kept],
        type=given.type[kept],
        group=given.group[kept],
        attrs={},
        phase=None if given.phase is None else given.phase[kept],
        split=None,
        outputs=Outputs(
            pointers(np.bincount(part_of[arrays.tensor_op], minlength=len(kept))),
            arrays.tensor_size[by_op],
            Texts.join([str(number) for number in range(len(by_op))]),
        ),
        **_pins(problem, found, kept),
        **_inputs(problem, part_of, tensor, len(kept)),
    )
    graph = Graph(problem.graph.name, ColumnarModels(columns), problem.graph.time_unit)
    smaller = replace(problem, graph=graph)
    return Presolved(problem, smaller, part_of, kept, order, tensor, found.counts)


def _times(problem: Problem, found: Findings, root: Ints) -> Floats:
    """Times of the ops that stay, with those of the ops joined to them (n, q)."""
    arrays, time = problem.arrays, problem.graph.columns.time.copy()
    may = found.allowed[arrays.group]
    lasts = np.where(may, arrays.time, 0.0).max(axis=1) > 0
    for op in arrays.order[(lasts & (root != np.arange(len(root))))[arrays.order]].tolist():
        time[root[op]] += time[op]
    return time


def _workspaces(problem: Problem, found: Findings, part_of: Ints, kept: Ints) -> Ints:
    """Largest workspace of each op's parts; over time, those of no length hold none (k,)."""
    arrays = problem.arrays
    if problem.memory_rule is MemoryRule.PEAK:
        # Times on devices where an op may not go do not count.
        lasts = np.where(found.allowed[arrays.group], arrays.time, 0.0).max(axis=1) > 0
        held = np.where(lasts, arrays.workspace, 0)
        held[kept] = arrays.workspace[kept]
    else:
        held = arrays.workspace
    return max_by(part_of, held, len(kept))


def _pins(problem: Problem, found: Findings, kept: Ints) -> dict[str, Any]:
    """Pin the ops whose devices are fewer than the graph says."""
    arrays, given, ids = problem.arrays, problem.graph.columns, problem.device_ids
    allowed = found.allowed[arrays.group[kept]]
    fewer = (allowed != np.isfinite(arrays.time[kept])).any(axis=1)
    pins, pin = list(given.pins), given.pin[kept].copy()
    known: dict[bytes, int] = {}
    for k in np.flatnonzero(fewer).tolist():
        row = allowed[k]
        if row.tobytes() not in known:
            known[row.tobytes()] = len(pins)
            pins.append(tuple(ids[d] for d in np.flatnonzero(row).tolist()))
        pin[k] = known[row.tobytes()]
    return {"pins": tuple(pins), "pin": pin}


def _inputs(problem: Problem, part_of: Ints, tensor: Ints, count: int) -> dict[str, Any]:
    """Edges between the ops that are left; one for each tensor and reader, with the most bytes."""
    arrays = problem.arrays
    source, reader = part_of[arrays.edge_src], part_of[arrays.edge_dst]
    cross = source != reader
    source, reader = source[cross], reader[cross]
    read, size = tensor[arrays.edge_tensor[cross]], arrays.edge_bytes[cross]
    turn = np.lexsort((read, reader))
    source, reader, read, size = source[turn], reader[turn], read[turn], size[turn]
    each = np.flatnonzero((np.diff(reader, prepend=-1) != 0) | (np.diff(read, prepend=-1) != 0))
    if len(each):
        size = np.maximum.reduceat(size, each)
    source, reader, read = source[each], reader[each], read[each]
    first = np.zeros(count + 1, dtype=np.int64)
    np.cumsum(np.bincount(part_of[arrays.tensor_op], minlength=count), out=first[1:])
    return {
        "input_ptr": pointers(np.bincount(reader, minlength=count)),
        "input_op": source,
        "input_bytes": size,
        "input_output": read - first[source],
    }
