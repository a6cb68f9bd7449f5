"""What decides about a step, as the kernel takes it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from talos_opt.core.columns import BACKWARD, FORWARD
from talos_opt.core.pipelining.settings import PipelineSchedule
from talos_opt.core.problem import Floats, Ints, MemoryRule, Objective, Problem, StageRule

if TYPE_CHECKING:
    from talos_opt.kernels.pipelines import Steps


def op_loads(problem: Problem) -> Floats:
    """Part of a block that an op takes on each device (n, m); infinite where its group cannot be.

    Time over the slots that it holds, as in a load.
    """
    arrays = problem.arrays
    time = np.where(arrays.allowed[arrays.group], arrays.time, np.inf)
    return np.asarray(time * arrays.demand[:, None] / arrays.slots)


def route_times(problem: Problem) -> tuple[Floats, Floats]:
    """Latency and time per byte of whole routes (m, m); 0 to itself, infinite without a route."""
    arrays, count = problem.arrays, problem.arrays.device_count
    latency, per_byte = np.zeros((count, count)), np.zeros((count, count))
    for a in range(count):
        for b in range(count):
            hops = arrays.path(a, b)
            if hops is None:
                latency[a, b] = np.inf
                continue
            # Where a device has no copy engine there is no pipeline that goes through it.
            if not all(arrays.copy_engine[d] for hop in hops for d in hop):
                latency[a, b] = np.inf
                continue
            latency[a, b] = sum(arrays.latency[hop] for hop in hops)
            per_byte[a, b] = sum(arrays.per_byte[hop] for hop in hops)
    return latency, per_byte


def held_bytes(problem: Problem) -> tuple[Ints, Ints]:
    """Bytes that ops need at least on each device, in all and for each micro-batch (n, m)."""
    arrays = problem.arrays
    held = np.zeros((arrays.op_count, arrays.device_count), dtype=np.int64)
    stash = np.zeros_like(held)
    phase = problem.graph.columns.phases
    kept = (phase[arrays.edge_src] == FORWARD) & (phase[arrays.edge_dst] == BACKWARD)
    stashed = np.unique(arrays.edge_tensor[kept])
    for d in range(arrays.device_count):
        here = np.full(arrays.op_count, d)
        held[:, d] = arrays.weights_at(here)
        if problem.memory_rule is MemoryRule.STATIC:
            held[:, d] += arrays.outputs_at(here)
        elif problem.memory_rule is MemoryRule.PIPELINE:
            size = arrays.bytes_at(arrays.tensor_size[stashed], np.full(len(stashed), d))
            np.add.at(stash[:, d], arrays.tensor_op[stashed], size)
    return held, stash


def make_steps(problem: Problem) -> Steps:
    """Return what decides about the value of a placement."""
    from talos_opt.kernels.pipelines import Steps

    arrays, asked = problem.arrays, problem.require_pipeline()
    held, stash = held_bytes(problem)
    latency, per_byte = route_times(problem)
    loads = problem.objective is Objective.BOTTLENECK
    rule = [
        asked.microbatches,
        asked.schedule is PipelineSchedule.ONE_F_ONE_B,
        problem.stages.rule is StageRule.ORDERED,
        problem.stages.use_all,
        loads,
    ]
    return Steps(
        group=arrays.group.copy(),
        phase=problem.graph.columns.phases.copy(),
        load=op_loads(problem),
        held=held,
        stash=stash,
        src=arrays.edge_src.copy(),
        dst=arrays.edge_dst.copy(),
        size=arrays.edge_bytes.astype(np.float64),
        latency=latency,
        per_byte=per_byte,
        capacity=arrays.capacity.copy(),
        rule=np.array(rule, dtype=np.int64),
    )
