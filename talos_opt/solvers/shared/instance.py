"""From a problem to the arrays of the local-search kernels, and back to a schedule."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from talos_opt.core.problem import (
    NO_ROUTE,
    Arrays,
    Ints,
    MemoryRule,
    Objective,
    Problem,
    StageRule,
)
from talos_opt.core.schedule import Schedule, Transfers
from talos_opt.solvers.shared.paths import best_times, tails, times_within_groups

if TYPE_CHECKING:
    from talos_opt.kernels.instance import Instance, Times

_OBJECTIVES = {Objective.TOCT: 0, Objective.MAKESPAN: 1, Objective.BOTTLENECK: 2}
_RULES = {StageRule.ANY: 0, StageRule.ACYCLIC: 1, StageRule.ORDERED: 2}


def make_instance(problem: Problem, *, near: bool = True) -> Instance:
    """Gather a problem's arrays for the kernels.

    Parameters
    ----------
    problem : Problem
    near : bool
        Whether to find the neighbours of each group; else there are none.
    """
    from talos_opt.kernels.instance import Instance

    arrays = problem.arrays
    peak = problem.memory_rule is MemoryRule.PEAK and arrays.memory_limited
    slots = np.concatenate([[0], np.cumsum(arrays.slots)])
    uniform = arrays.tensor_bytes is not None
    near_ptr, neighbours = np.zeros(arrays.group_count + 1, dtype=np.int64), np.zeros(0, np.int64)
    if near:
        near_ptr, neighbours = _near_groups(arrays)
    by_group = np.argsort(arrays.group, kind="stable")
    ptr = np.searchsorted(arrays.group[by_group], np.arange(arrays.group_count + 1))
    return Instance(
        time=times_within_groups(arrays),
        op=np.column_stack([arrays.demand, arrays.model, arrays.group, arrays.forward]),
        memory=np.column_stack([arrays.weights, arrays.output, arrays.workspace]),
        in_ptr=arrays.in_ptr.copy(),
        in_op=arrays.edge_src[arrays.in_edge],
        in_tensor=arrays.edge_tensor[arrays.in_edge],
        in_bytes=arrays.edge_bytes[arrays.in_edge],
        out_ptr=arrays.out_ptr.copy(),
        out_op=arrays.edge_dst.copy(),
        out_bytes=arrays.edge_bytes.copy(),
        tensor_ptr=arrays.tensor_ptr.copy(),
        read_ptr=arrays.read_ptr.copy(),
        tensor=np.column_stack([arrays.tensor_op, arrays.tensor_size]),
        model=np.column_stack([arrays.release, arrays.model_weight]),
        device=np.column_stack([slots[:-1], slots[1:], arrays.copy_engine, arrays.capacity]),
        link=np.stack([arrays.latency, arrays.per_byte]),
        route=np.stack([arrays.via, arrays.channel]),
        group=np.column_stack([arrays.group_held, arrays.group_workspace]),
        group_ptr=ptr.astype(np.int64),
        group_op=by_group.astype(np.int64),
        near_ptr=near_ptr,
        near=neighbours,
        tail=tails(arrays, best_times(arrays)),
        rule=np.array(
            [
                _OBJECTIVES[problem.objective],
                uniform,
                peak,
                (arrays.via == NO_ROUTE).any(),
                _RULES[problem.stages.rule] + 4 * problem.stages.use_all,
                problem.frozen is not None,
            ],
            dtype=np.int64,
        ),
        ready=problem.earliest.copy(),
        **_started(problem),
    )


def _started(problem: Problem) -> dict[str, Any]:
    """What the kernels know of what has started."""
    arrays, frozen = problem.arrays, problem.frozen
    channels = int(arrays.channel.max(initial=-1)) + 1
    slot, line = np.zeros(int(arrays.slots.sum())), np.zeros(channels)
    if frozen is None:
        nothing = np.zeros((0, 0))
        fixed = np.zeros(arrays.op_count, dtype=bool)
        return {
            "fixed": fixed, "since": np.zeros(1), "begun": nothing, "open_slot": slot,
            "open_channel": line, "price": nothing,
        }  # fmt: skip
    busy: list[list[float]] = [[] for _ in range(arrays.device_count)]  # until when
    begun = np.full((arrays.tensor_count, arrays.device_count), -1.0)
    running = np.flatnonzero(frozen.started & (frozen.end > frozen.moment))
    for op in running.tolist():
        d = int(np.argmax(frozen.allowed[op]))
        busy[d] += [float(frozen.end[op])] * int(arrays.demand[op])
    for row in frozen.transfers.rows():
        begun[row.tensor, row.target] = row.start
        if row.end <= frozen.moment:
            continue
        for d in (row.source, row.target):
            if not arrays.copy_engine[d]:
                busy[d].append(row.end)
        channel = int(arrays.channel[row.source, row.target])
        if channel >= 0:
            line[channel] = max(line[channel], row.end)
    first = 0
    for ends, count in zip(busy, arrays.slots.tolist(), strict=True):
        if len(ends) > count:  # some of it is planned for later: gaps are not used
            ends = [max(ends)] * count
        slot[first : first + len(ends)] = ends
        first += count
    return {
        "fixed": frozen.started.copy(), "since": np.array([frozen.moment]), "begun": begun,
        "open_slot": slot, "open_channel": line, "price": frozen.prices(arrays),
    }  # fmt: skip


def make_times(problem: Problem) -> Times:
    """Allocate what a schedule is written to."""
    from talos_opt.kernels.instance import Times

    arrays = problem.arrays
    ops, shape = arrays.op_count, (arrays.tensor_count, arrays.device_count)
    channels = int(arrays.channel.max(initial=-1)) + 1
    # A tensor comes to a device once, and a reader makes it take two hops at the most.
    hops = min(shape[0] * shape[1], 2 * len(arrays.edge_src))
    return Times(
        start=np.zeros(ops),
        end=np.zeros(ops),
        sent=np.zeros(shape, dtype=np.int32),
        hop_tensor=np.zeros(hops, dtype=np.int32),
        hop_source=np.zeros(hops, dtype=np.int32),
        hop_target=np.zeros(hops, dtype=np.int32),
        hop_start=np.zeros(hops),
        hop_end=np.zeros(hops),
        slot=np.zeros(int(arrays.slots.sum())),
        channel=np.zeros(channels),
        done=np.zeros(len(arrays.release)),
        clock=np.ones(2, dtype=np.int64),
    )


def read_times(problem: Problem, times: Times, device: Ints) -> Schedule:
    """Return the schedule that the last pass wrote."""
    arrays = problem.arrays
    hops = int(times.clock[1] - times.clock[0])
    tensor, source, target = (
        column[:hops].astype(np.int64)
        for column in (times.hop_tensor, times.hop_source, times.hop_target)
    )
    start, end = times.hop_start[:hops], times.hop_end[:hops]
    size = _hop_bytes(arrays, device, tensor, target)
    # A transfer of no bytes that takes no time is no transfer.
    real = (size > 0) | (arrays.latency[source, target] > 0)
    chosen = np.flatnonzero(real)  # in the order of the ops that asked for them
    chosen = chosen[np.lexsort((end[chosen], start[chosen]))]
    return Schedule(
        device=device.copy(),
        start=times.start.copy(),
        end=times.end.copy(),
        transfers=Transfers(
            op=arrays.tensor_op[tensor[chosen]],
            source=source[chosen],
            target=target[chosen],
            start=start[chosen],
            end=end[chosen],
            bytes=size[chosen],
            tensor=tensor[chosen],
        ),
    )


def _hop_bytes(arrays: Arrays, device: Ints, tensor: Ints, target: Ints) -> Ints:
    """Largest bytes that a reader served by each hop names."""
    if arrays.tensor_bytes is not None:
        return np.asarray(arrays.tensor_bytes[tensor])
    source, there = device[arrays.edge_src], device[arrays.edge_dst]
    remote = source != there
    via = arrays.via[source, there]
    staged = remote & (via >= 0)
    count = arrays.device_count
    keys = np.concatenate(
        [
            arrays.edge_tensor[remote] * count + there[remote],
            arrays.edge_tensor[staged] * count + via[staged],
        ]
    )
    sizes = np.concatenate([arrays.edge_bytes[remote], arrays.edge_bytes[staged]])
    wanted = tensor * count + target
    places, spot = np.unique(keys, return_inverse=True)
    largest = np.zeros(len(places), dtype=np.int64)
    np.maximum.at(largest, spot, sizes)
    return largest[np.searchsorted(places, wanted)] if len(places) else np.zeros(0, dtype=np.int64)


def _near_groups(arrays: Arrays) -> tuple[Ints, Ints]:
    """Groups that share an edge with each group (CSR)."""
    a, b = arrays.group[arrays.edge_src], arrays.group[arrays.edge_dst]
    apart = a != b
    keys = np.concatenate([a[apart], b[apart]]) * arrays.group_count
    keys += np.concatenate([b[apart], a[apart]])
    keys.sort()  # np.unique hashes, which takes seconds for millions of distinct numbers
    keys = keys[np.flatnonzero(np.diff(keys, prepend=-1))]
    owner = keys // arrays.group_count
    ptr = np.searchsorted(owner, np.arange(arrays.group_count + 1)).astype(np.int64)
    return ptr, (keys % arrays.group_count).astype(np.int64)
