"""Lower bounds on the time of a step (docs/bounds.md, "Steps of a pipeline").

rounds   a device runs its blocks one after another, so no step is shorter than the largest load if
         every forward and backward op counts once for each micro-batch: an ordinary bottleneck.
path     the longest path of one micro-batch, and behind it all other micro-batches on whichever
         device has most of the path.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from talos_opt.core.columns import BACKWARD, FORWARD
from talos_opt.core.graph import ColumnarModels, Graph
from talos_opt.core.pipelining.settings import PipelineSchedule, Pipelining
from talos_opt.core.problem import Floats, Ints, MemoryRule, Objective, Problem
from talos_opt.core.rounding import sum_error
from talos_opt.solvers.bounds.root import load_shares
from talos_opt.solvers.pipelines.facts import op_loads


def rounds_problem(problem: Problem) -> Problem:
    """Return the bottleneck problem of which every pipeline of this one is a placement.

    Forward and backward ops take their time once for each micro-batch. Transfers load nothing,
    and of what a step holds only the weights count.
    """
    asked, given, cluster = problem.require_pipeline(), problem.graph.columns, problem.cluster
    often = 1 if problem.objective is Objective.BOTTLENECK else asked.microbatches
    phase = problem.graph.columns.phases
    times = np.where((phase == FORWARD) | (phase == BACKWARD), often, 1)
    columns = replace(given, time=given.time * times[:, None])
    if problem.arrays.division is not None:  # what a member of a bundle holds is less than this
        columns = replace(columns, weights=np.zeros_like(given.weights))
    if problem.memory_rule is not MemoryRule.STATIC or problem.arrays.division is not None:
        nothing = np.zeros_like(given.output)
        outputs = given.outputs
        if outputs is not None:
            outputs = replace(outputs, size=np.zeros_like(outputs.size))
        columns = replace(columns, output=nothing, workspace=nothing, outputs=outputs)
    devices = tuple(replace(device, copy_engine=True) for device in cluster.devices)
    return Problem(
        Graph(problem.graph.name, ColumnarModels(columns), problem.graph.time_unit),
        replace(cluster, devices=devices, contention="none"),
        Objective.BOTTLENECK,
        stages=problem.stages,
    )


def path_bound(problem: Problem) -> float:
    """Return the bound of the longest path through one micro-batch, 0 for other objectives."""
    if problem.objective is not Objective.STEP:
        return 0.0
    arrays, asked = problem.arrays, problem.require_pipeline()
    if not arrays.allowed.any(axis=1).all():
        return 0.0
    load = op_loads(problem)
    length, chain = _longest_path(problem, load.min(axis=1))
    phase = problem.graph.columns.phases[chain]
    worth = np.zeros(3)
    worth[[FORWARD, BACKWARD]] = _rounds_left(problem, asked)
    finite = np.isfinite(load[chain])
    work = np.where(finite, np.where(finite, load[chain], 0.0) * worth[phase][:, None], np.inf)
    _, label = np.unique(arrays.group[chain], return_inverse=True)
    together = np.zeros((int(label.max()) + 1, arrays.device_count))
    np.add.at(together, label, work)
    more = max(load_shares(together)[0], float(together.min(axis=1).max()))
    return (length + more) * (1 - 2 * sum_error(arrays.op_count))


def _rounds_left(problem: Problem, asked: Pipelining) -> tuple[int, int]:
    """Forward and backward blocks that some device runs beside those of the longest path."""
    others = asked.microbatches - 1
    trains = bool((problem.graph.columns.phases == BACKWARD).any())
    if asked.schedule is PipelineSchedule.GPIPE or not trains:
        return others, others
    # Forward blocks that come before the first backward block may fill the time for which a device
    # waits for it.
    ahead = problem.arrays.device_count - 1
    return max(0, others - ahead), others


def _longest_path(problem: Problem, time: Floats) -> tuple[float, Ints]:
    """Return the length of the longest path, and its ops in order."""
    arrays = problem.arrays
    own = time.tolist()
    until, before = list(own), [-1] * len(own)
    readers, ptr = arrays.edge_dst.tolist(), arrays.out_ptr.tolist()
    for i in arrays.order.tolist():
        for r in readers[ptr[i] : ptr[i + 1]]:
            if until[i] + own[r] > until[r]:
                until[r], before[r] = until[i] + own[r], i
    last = max(range(len(own)), key=until.__getitem__)
    length, chain = until[last], []
    while last >= 0:
        chain.append(last)
        last = before[last]
    return length, np.array(chain[::-1], dtype=np.int64)
