"""A placement to begin with, where no schedule is known yet."""

from __future__ import annotations

import numpy as np

from talos_opt.core.problem import NO_ROUTE, Bools, Ints, Problem
from talos_opt.solvers.bounds import group_work


def balance_greedily(problem: Problem, possible: Bools) -> Ints | None:
    """Place the largest groups first, each where the load is then least; None in a dead end.

    Longest processing time first (Graham, 1969, "Bounds on multiprocessing timing anomalies"),
    kept within memory and routes.

    Parameters
    ----------
    problem : Problem
    possible : (g, m) bool
        Devices that each group may go to.

    Returns
    -------
    (n,) int or None
        Device of every op.
    """
    arrays = problem.arrays
    work = np.where(possible, group_work(arrays), np.inf)
    resident = problem.arrays.group_held.tolist()
    workspace = problem.arrays.group_workspace.tolist()
    neighbours = _neighbours(problem)
    blocked = arrays.via == NO_ROUTE
    room = arrays.capacity.tolist()
    load = np.zeros(arrays.device_count)
    widest = [0] * arrays.device_count
    home = np.full(arrays.group_count, -1, dtype=np.int64)
    for g in np.argsort(-work.min(axis=1), kind="stable").tolist():
        barred = np.zeros(arrays.device_count, dtype=bool)
        for other, reads in neighbours[g]:
            if home[other] >= 0:
                barred |= blocked[home[other]] if reads else blocked[:, home[other]]
        after = load + work[g]
        for d in np.argsort(after, kind="stable").tolist():
            need = resident[g] + max(widest[d], workspace[g])
            if np.isfinite(after[d]) and not barred[d] and need <= room[d]:
                break
        else:
            return None
        home[g] = d
        load[d] = after[d]
        room[d] -= resident[g]
        widest[d] = max(widest[d], workspace[g])
    return np.asarray(home[arrays.group])


def _neighbours(problem: Problem) -> list[list[tuple[int, bool]]]:
    """For every group, the others that it exchanges tensors with, and whether it reads them."""
    arrays = problem.arrays
    found: list[set[tuple[int, bool]]] = [set() for _ in range(arrays.group_count)]
    sources, readers = arrays.group[arrays.edge_src], arrays.group[arrays.edge_dst]
    for a, b in zip(sources.tolist(), readers.tolist(), strict=True):
        if a != b:
            found[a].add((b, False))
            found[b].add((a, True))
    return [sorted(others) for others in found]
