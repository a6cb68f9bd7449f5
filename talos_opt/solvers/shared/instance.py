"""From a problem to the arrays of the local-search kernels, and back to a schedule."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from talos_opt.core.problem import (
    NO_ROUTE,
    UNLIMITED,
    Arrays,
    Floats,
    Ints,
    MemoryRule,
    Objective,
    Problem,
)
from talos_opt.core.schedule import Schedule, Transfers
from talos_opt.solvers.engine.compilation import is_loaded
from talos_opt.solvers.shared.paths import COMPILED_FROM_OPS, best_times, times_within_groups

if TYPE_CHECKING:
    from talos_opt.kernels.instance import Instance, Times

_OBJECTIVES = {Objective.TOCT: 0, Objective.MAKESPAN: 1, Objective.BOTTLENECK: 2}


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
    limited = bool((arrays.capacity < UNLIMITED).any())
    peak = problem.memory_rule is MemoryRule.PEAK and limited
    slots = np.concatenate([[0], np.cumsum(arrays.slots)])
    uniform = _uniform(arrays)
    size, work = _group_memory(arrays)
    near_ptr, neighbours = np.zeros(arrays.group_count + 1, dtype=np.int64), np.zeros(0, np.int64)
    if near:
        near_ptr, neighbours = _near_groups(arrays)
    by_group = np.argsort(arrays.group, kind="stable")
    ptr = np.searchsorted(arrays.group[by_group], np.arange(arrays.group_count + 1))
    return Instance(
        time=times_within_groups(arrays),
        op=np.column_stack([arrays.demand, arrays.model, arrays.group]),
        memory=np.column_stack([arrays.weights, arrays.output, arrays.workspace]),
        in_ptr=arrays.in_ptr.copy(),
        in_op=arrays.edge_src[arrays.in_edge],
        in_bytes=arrays.edge_bytes[arrays.in_edge],
        out_ptr=arrays.out_ptr.copy(),
        out_op=arrays.edge_dst.copy(),
        out_bytes=arrays.edge_bytes.copy(),
        model=np.column_stack([arrays.release, arrays.model_weight]),
        device=np.column_stack([slots[:-1], slots[1:], arrays.copy_engine, arrays.capacity]),
        link=np.stack([arrays.latency, arrays.per_byte]),
        route=np.stack([arrays.via, arrays.channel]),
        group=np.column_stack([size, work]),
        group_ptr=ptr.astype(np.int64),
        group_op=by_group.astype(np.int64),
        near_ptr=near_ptr,
        near=neighbours,
        tail=tails(arrays),
        rule=np.array(
            [_OBJECTIVES[problem.objective], uniform, peak, (arrays.via == NO_ROUTE).any()],
            dtype=np.int64,
        ),
    )


def make_times(problem: Problem) -> Times:
    """Allocate what a schedule is written to."""
    from talos_opt.kernels.instance import Times

    arrays = problem.arrays
    shape = (arrays.op_count, arrays.device_count)
    channels = int(arrays.channel.max(initial=-1)) + 1
    # A tensor comes to a device once, and a reader makes it take two hops at the most.
    hops = min(shape[0] * shape[1], 2 * len(arrays.edge_src))
    return Times(
        start=np.zeros(shape[0]),
        end=np.zeros(shape[0]),
        sent=np.zeros(shape, dtype=np.int32),
        hop_op=np.zeros(hops, dtype=np.int32),
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
    op, source, target = (
        column[:hops].astype(np.int64)
        for column in (times.hop_op, times.hop_source, times.hop_target)
    )
    start, end = times.hop_start[:hops], times.hop_end[:hops]
    size = _hop_bytes(arrays, device, op, target)
    # A transfer of no bytes that takes no time is no transfer.
    real = (size > 0) | (arrays.latency[source, target] > 0)
    chosen = np.flatnonzero(real)  # in the order of the ops that asked for them
    chosen = chosen[np.lexsort((end[chosen], start[chosen]))]
    return Schedule(
        device=device.copy(),
        start=times.start.copy(),
        end=times.end.copy(),
        transfers=Transfers(
            op=op[chosen],
            source=source[chosen],
            target=target[chosen],
            start=start[chosen],
            end=end[chosen],
            bytes=size[chosen],
        ),
    )


def _hop_bytes(arrays: Arrays, device: Ints, op: Ints, target: Ints) -> Ints:
    """Largest bytes that a reader served by each hop names."""
    if _uniform(arrays):
        return np.asarray(arrays.edge_bytes[arrays.out_ptr[op]])
    source, there = device[arrays.edge_src], device[arrays.edge_dst]
    remote = source != there
    via = arrays.via[source, there]
    staged = remote & (via >= 0)
    count = arrays.device_count
    keys = np.concatenate(
        [
            arrays.edge_src[remote] * count + there[remote],
            arrays.edge_src[staged] * count + via[staged],
        ]
    )
    sizes = np.concatenate([arrays.edge_bytes[remote], arrays.edge_bytes[staged]])
    wanted = op * count + target
    places, spot = np.unique(keys, return_inverse=True)
    largest = np.zeros(len(places), dtype=np.int64)
    np.maximum.at(largest, spot, sizes)
    return largest[np.searchsorted(places, wanted)] if len(places) else np.zeros(0, dtype=np.int64)


def tails(arrays: Arrays) -> Floats:
    """Least time from each op's end to its model's end (n,): the longest best-time path."""
    if arrays.op_count > COMPILED_FROM_OPS and is_loaded("paths"):
        from talos_opt.kernels.graphs import least_tails

        best = best_times(arrays)
        return np.asarray(least_tails(arrays.order, arrays.out_ptr, arrays.edge_dst, best))
    time = best_times(arrays).tolist()
    readers, out = arrays.edge_dst.tolist(), arrays.out_ptr.tolist()
    tail = [0.0] * arrays.op_count
    for i in arrays.order[::-1].tolist():
        for reader in readers[out[i] : out[i + 1]]:
            below = tail[reader] + time[reader]
            if below > tail[i]:
                tail[i] = below
    return np.array(tail)


def _uniform(arrays: Arrays) -> bool:
    first = np.zeros(arrays.op_count, dtype=np.int64)
    first[arrays.edge_src] = arrays.edge_bytes
    return bool(np.array_equal(first[arrays.edge_src], arrays.edge_bytes))


def _group_memory(arrays: Arrays) -> tuple[Ints, Ints]:
    size = np.zeros(arrays.group_count, dtype=np.int64)
    np.add.at(size, arrays.group, arrays.weights + arrays.output)
    work = np.zeros(arrays.group_count, dtype=np.int64)
    np.maximum.at(work, arrays.group, arrays.workspace)
    return size, work


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
