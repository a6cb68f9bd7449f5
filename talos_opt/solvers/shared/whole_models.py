"""A first schedule of many models, in time linear in models, ops and devices.

For a run that has none when its time is over. Whole models go to the device that would be done
with them first, shortest work per weight first (Smith's rule); the ops of one device follow each
other. Nothing travels, so neither links nor engines matter; and as one op runs at a time, what
keeps to memory by the static rule keeps to it under liveness too.
"""

from __future__ import annotations

import numpy as np

from talos_opt.core.problem import Floats, Ints, Problem
from talos_opt.core.schedule import Schedule, Transfers
from talos_opt.solvers.shared.paths import best_times

#: From this number of models on, whole models in turn are worth trying first, and often the best.
MANY_MODELS = 32


def first_schedule(problem: Problem) -> Schedule | None:
    """Return a feasible schedule; None where some model fits no device as a whole.

    None too where steps of a pipeline count, or something has started: neither is known here.

    Parameters
    ----------
    problem : Problem
    """
    if problem.is_pipelined or problem.frozen is not None:
        return None
    arrays = problem.arrays
    models = _by_smith(problem)
    home = _place_models(problem, models)
    if home is None:
        return None
    device = home[arrays.model]
    group_home = np.empty(arrays.group_count, dtype=np.int64)
    group_home[arrays.group] = device
    if (group_home[arrays.group] != device).any():
        return None  # a colocation group ties models together that went apart
    if not problem.keeps_stages(device):
        return None  # a device is empty that has to be used
    start, end = _run_in_turn(problem, models, device)
    return Schedule(device=device, start=start, end=end, transfers=Transfers.from_rows([]))


def _by_smith(problem: Problem) -> Ints:
    """Return the models in order of release, then of best time over weight."""
    arrays = problem.arrays
    work = np.bincount(arrays.model, best_times(arrays), minlength=len(arrays.release))
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.where(arrays.model_weight > 0, work / arrays.model_weight, np.inf)
    return np.lexsort((ratio, arrays.release))


def _place_models(problem: Problem, models: Ints) -> Ints | None:
    """Return the device of each model (k,), or None."""
    arrays = problem.arrays
    count = len(arrays.release)
    # Where an op cannot run, its model cannot either: the sum is infinite.
    time = np.where(arrays.allowed[arrays.group], arrays.time, np.inf)
    work = np.column_stack([np.bincount(arrays.model, own, minlength=count) for own in time.T])
    size = np.zeros(count, dtype=np.int64)
    np.add.at(size, arrays.model, arrays.weights + arrays.output)
    workspace = np.zeros(count, dtype=np.int64)
    np.maximum.at(workspace, arrays.model, arrays.workspace)
    held, widest = [0] * arrays.device_count, [0] * arrays.device_count
    done = [0.0] * arrays.device_count
    capacity = arrays.capacity.tolist()
    release, rows = arrays.release.tolist(), work.tolist()
    sizes, workspaces = size.tolist(), workspace.tolist()
    home = np.empty(count, dtype=np.int64)
    for j in models.tolist():
        ends = [
            max(done[d], release[j]) + own
            if held[d] + sizes[j] + max(widest[d], workspaces[j]) <= capacity[d]
            else np.inf
            for d, own in enumerate(rows[j])
        ]
        d = ends.index(min(ends))
        if ends[d] == np.inf:
            return None
        home[j], done[d] = d, ends[d]
        held[d] += sizes[j]
        widest[d] = max(widest[d], workspaces[j])
    return home


def _run_in_turn(problem: Problem, models: Ints, device: Ints) -> tuple[Floats, Floats]:
    """Return start and end of every op (n,): model by model, in topological order."""
    arrays = problem.arrays
    turn = np.empty(len(models), dtype=np.int64)
    turn[models] = np.arange(len(models))
    order = arrays.order[np.argsort(turn[arrays.model[arrays.order]], kind="stable")]
    length = arrays.time[np.arange(arrays.op_count), device].tolist()
    release = arrays.release[arrays.model].tolist()
    where = device.tolist()
    free = [0.0] * arrays.device_count
    start, end = [0.0] * arrays.op_count, [0.0] * arrays.op_count
    for i in order.tolist():
        start[i] = max(free[where[i]], release[i])
        end[i] = free[where[i]] = start[i] + length[i]
    return np.array(start), np.array(end)
