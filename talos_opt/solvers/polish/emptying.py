"""Placements that do without one of the devices in use."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from talos_opt.core.problem import Ints, Problem


def placements_without(problem: Problem, device: Ints, empty: int) -> Iterator[Ints]:
    """Yield placements without one of the devices in use, on no other than those in use."""
    arrays = problem.arrays
    home = np.zeros(arrays.group_count, dtype=np.int64)
    home[arrays.group] = device
    moving = np.flatnonzero(home == empty)
    others = [d for d in np.unique(device).tolist() if d != empty]
    if not others or not len(moving) or not arrays.allowed[np.ix_(moving, others)].any(1).all():
        return
    for d in others:
        if arrays.allowed[:, d].all():  # all on one device, while we are at it
            yield np.full(len(device), d, dtype=np.int64)
    for d in others:
        if arrays.allowed[moving, d].all():
            there = home.copy()
            there[moving] = d
            yield there[arrays.group]
    yield _to_neighbours(problem, home, moving, others)[arrays.group]
    yield _to_least_loaded(problem, home, moving, others)[arrays.group]


def _to_neighbours(problem: Problem, home: Ints, moving: Ints, others: list[int]) -> Ints:
    """Let each group follow most of its producers and readers, in topological order."""
    arrays = problem.arrays
    there, left = home.copy(), set(moving.tolist())
    pulls = np.zeros((arrays.group_count, arrays.device_count), dtype=np.int64)
    group, source, target = arrays.group, arrays.edge_src, arrays.edge_dst
    np.add.at(pulls, (group[source], home[group[target]]), 1)
    np.add.at(pulls, (group[target], home[group[source]]), 1)
    for op in arrays.order.tolist():
        g = int(group[op])
        if g not in left:
            continue
        left.remove(g)
        choices = [d for d in others if arrays.allowed[g, d]]
        work = arrays.time[arrays.members[g]].sum(axis=0)
        there[g] = max(choices, key=lambda d: (int(pulls[g, d]), -float(work[d])))
        for member in arrays.members[g].tolist():
            for edge in range(arrays.out_ptr[member], arrays.out_ptr[member + 1]):
                pulls[group[target[edge]], there[g]] += 1
    return there


def _to_least_loaded(problem: Problem, home: Ints, moving: Ints, others: list[int]) -> Ints:
    """Let each group go where most time is left, those that take longest first."""
    arrays = problem.arrays
    work = np.zeros((arrays.group_count, arrays.device_count))
    np.add.at(work, arrays.group, arrays.time * arrays.demand[:, None] / arrays.slots)
    load = np.bincount(home, work[np.arange(len(home)), home], minlength=arrays.device_count)
    there = home.copy()
    shortest = work[moving][:, others].min(axis=1)
    for g in moving[np.argsort(-shortest, kind="stable")].tolist():
        choices = [d for d in others if arrays.allowed[g, d]]
        there[g] = min(choices, key=lambda d: float(load[d] + work[g, d]))
        load[there[g]] += work[g, there[g]]
    return there
