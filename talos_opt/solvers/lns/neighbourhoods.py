"""Which colocation groups a repair may move; all others keep their device and order."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from talos_opt.core.problem import Ints, Problem
from talos_opt.core.schedule import Schedule

#: Chooses up to so many groups to free.
Neighbourhood = Callable[[Problem, Schedule, int, np.random.Generator], Ints]


def _group_times(problem: Problem, schedule: Schedule) -> tuple[np.ndarray, np.ndarray]:
    """First start and last end of each group (g,)."""
    arrays = problem.arrays
    start = np.full(arrays.group_count, np.inf)
    np.minimum.at(start, arrays.group, schedule.start)
    end = np.zeros(arrays.group_count)
    np.maximum.at(end, arrays.group, schedule.end)
    return start, end


def time_window(problem: Problem, schedule: Schedule, count: int, rng: np.random.Generator) -> Ints:
    """Free the groups that run closest to a random moment."""
    start, end = _group_times(problem, schedule)
    moment = rng.uniform(0.0, max(schedule.makespan, 1e-300))
    distance = np.maximum(0.0, np.maximum(start - moment, moment - end))
    # Ties (many groups overlap the moment) are broken at random.
    return np.lexsort((rng.random(len(start)), distance))[:count]


def device_pair(problem: Problem, schedule: Schedule, count: int, rng: np.random.Generator) -> Ints:
    """Free groups of two devices that exchange tensors, nearest to a random moment."""
    arrays = problem.arrays
    home = np.zeros(arrays.group_count, dtype=np.int64)
    home[arrays.group] = schedule.device
    used = np.unique(home)
    if len(schedule.transfers):
        k = int(rng.integers(len(schedule.transfers)))
        pair = {int(schedule.transfers.source[k]), int(schedule.transfers.target[k])}
    else:
        pair = set(rng.choice(used, size=min(2, len(used)), replace=False).tolist())
    there = np.flatnonzero(np.isin(home, list(pair)))
    start, _ = _group_times(problem, schedule)
    moment = rng.uniform(0.0, max(schedule.makespan, 1e-300))
    return there[np.argsort(np.abs(start[there] - moment), kind="stable")][:count]


def critical_path(
    problem: Problem, schedule: Schedule, count: int, rng: np.random.Generator
) -> Ints:
    """Free groups of the ops that fix the latest completion, and their neighbours."""
    arrays = problem.arrays
    weight = arrays.model_weight + 1e-9
    model = int(rng.choice(len(weight), p=weight / weight.sum()))
    ops = np.flatnonzero(arrays.model == model)
    here = int(ops[schedule.end[ops].argmax()])
    path = [here]
    while True:
        before = _blocker(problem, schedule, here)
        if before is None:
            break
        path.append(before)
        here = before
    first = int(rng.integers(len(path)))
    ordered = path[first:] + path[:first][::-1]
    groups = list(dict.fromkeys(int(arrays.group[i]) for i in ordered))
    return np.array(groups[:count], dtype=np.int64)


def _blocker(problem: Problem, schedule: Schedule, op: int) -> int | None:
    """Return the op that made an op wait: its latest input, or the one before it on its device."""
    arrays = problem.arrays
    inputs = arrays.edge_src[arrays.in_edge[arrays.in_ptr[op] : arrays.in_ptr[op + 1]]]
    same = np.flatnonzero(schedule.device == schedule.device[op])
    same = same[(schedule.end[same] <= schedule.start[op]) & (same != op)]
    candidates = np.concatenate([inputs, same])
    candidates = candidates[schedule.end[candidates] > 0]
    candidates = candidates[schedule.start[candidates] < schedule.start[op]]
    return int(candidates[schedule.end[candidates].argmax()]) if len(candidates) else None


def cut(problem: Problem, schedule: Schedule, count: int, rng: np.random.Generator) -> Ints:
    """Free a connected set of groups around an edge that crosses devices."""
    arrays = problem.arrays
    device = schedule.device
    crossing = np.flatnonzero(device[arrays.edge_src] != device[arrays.edge_dst])
    if len(crossing) == 0:
        return time_window(problem, schedule, count, rng)
    edge = int(rng.choice(crossing))
    ends = (int(arrays.edge_src[edge]), int(arrays.edge_dst[edge]))
    chosen = dict.fromkeys(int(arrays.group[i]) for i in ends)
    queue = list(chosen)
    for group in queue:  # grows while it is walked
        for op in arrays.members[group].tolist():
            near = arrays.edge_dst[arrays.out_ptr[op] : arrays.out_ptr[op + 1]].tolist()
            near += arrays.edge_src[
                arrays.in_edge[arrays.in_ptr[op] : arrays.in_ptr[op + 1]]
            ].tolist()
            for other in near:
                if len(chosen) >= count:
                    return np.array(list(chosen), dtype=np.int64)
                if int(arrays.group[other]) not in chosen:
                    chosen[int(arrays.group[other])] = None
                    queue.append(int(arrays.group[other]))
    return np.array(list(chosen), dtype=np.int64)


NEIGHBOURHOODS: dict[str, Neighbourhood] = {
    "time_window": time_window,
    "device_pair": device_pair,
    "critical_path": critical_path,
    "cut": cut,
}
