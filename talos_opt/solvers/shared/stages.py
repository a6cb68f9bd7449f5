"""What the rule for stages says of colocation groups: which of them follow each other."""

from __future__ import annotations

import numpy as np

from talos_opt.core.problem import Arrays, Ints, Problem, StageRule
from talos_opt.core.stages import stage_arcs


def stage_edges(arrays: Arrays) -> dict[int, list[tuple[int, int]]]:
    """Return, by model, the pairs of groups between which forward edges lead, each once."""
    source, target = arrays.edge_src, arrays.edge_dst
    group = arrays.group
    drawn = arrays.forward[source] & arrays.forward[target] & (group[source] != group[target])
    source, target = source[drawn], target[drawn]
    rows = np.unique(np.column_stack([arrays.model[source], group[source], group[target]]), axis=0)
    found: dict[int, list[tuple[int, int]]] = {}
    for model, a, b in rows.tolist():
        found.setdefault(model, []).append((a, b))
    return found


def stage_groups(arrays: Arrays) -> Ints:
    """Return the groups that have a forward op, in order."""
    return np.unique(arrays.group[arrays.forward])


def device_order(problem: Problem, device: Ints, model: int = 0) -> Ints:
    """Return the devices (m,) in an order that the arcs of a model follow.

    Devices that the placement does not use come last.

    Parameters
    ----------
    problem : Problem
    device : (n,) int
        A placement that keeps the rule.
    model : int
    """
    arrays = problem.arrays
    count = arrays.device_count
    if problem.stages.rule is StageRule.ORDERED:
        return np.arange(count)
    arcs = [(a, b) for j, a, b in stage_arcs(arrays, device).tolist() if j == model]
    used = set(device[arrays.forward & (arrays.model == model)].tolist())
    left = sorted(range(count), key=lambda d: (d not in used, d))
    order: list[int] = []
    while left:
        free = next(d for d in left if not any(b == d and a in left for a, b in arcs))
        order.append(free)
        left.remove(free)
    return np.array(order, dtype=np.int64)
