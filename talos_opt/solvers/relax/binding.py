"""Ops that no placement within a limit on the bottleneck can part, since their tensor is too dear.

Devices without a copy engine pay for every tensor that crosses between them. All their loads
together are at most their number times the limit; the ops that must sit there take most of that,
and what is left is the *slack*. A tensor that costs more than the slack never crosses.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from talos_opt.core.problem import Arrays, Bools, Ints, Problem
from talos_opt.solvers.bounds.root import group_work
from talos_opt.solvers.bounds.routes import route_legs
from talos_opt.solvers.shared.tensors import tensors


@dataclass(frozen=True)
class Bindings:
    """What follows from the limit for pairs of colocation groups.

    Parameters
    ----------
    together : set of (int, int)
        On one device.
    near : set of (int, int)
        On one device, unless one of them is on a device that does not pay for transfers.
    paying : (m,) bool
        Devices without a copy engine.
    """

    together: set[tuple[int, int]]
    near: set[tuple[int, int]]
    paying: Bools


def bindings(problem: Problem, upper: float) -> Bindings:
    """Find pairs that a limit binds.

    Parameters
    ----------
    problem : Problem
        Objective bottleneck.
    upper : float
        Only placements of at most this bottleneck matter.
    """
    arrays = problem.arrays
    paying = ~arrays.copy_engine
    found = Bindings(set(), set(), paying)
    if not paying.any():
        return found
    # Sums of thousands of times are off by far less than this.
    slack = upper * int(paying.sum()) * (1 + 1e-9) - least_paying_work(arrays, paying, upper)
    leaving, arriving = route_legs(arrays, paying, within=True)
    lone = int((~paying).sum()) <= 1  # else a tensor may cross without anybody paying
    for tensor in tensors(problem):
        for reader, size in tensor.readers.items():
            out, into = leaving.time(size), arriving.time(size)
            pair = (tensor.group, int(arrays.group[reader]))
            if lone and min(out, into) > slack:
                found.together.add(pair)
            elif out + into > slack:
                found.near.add(pair)
    return found


def least_paying_work(arrays: Arrays, paying: Bools, upper: float) -> float:
    """Least total load of ops on the paying devices, while each other one has at most `upper`.

    Each group sits on the paying device where it costs least, or is moved away: the others take
    groups, or shares of them, in the order of what they save for the time they take.
    """
    work = group_work(arrays)
    here = work[:, paying].min(axis=1)
    away = work[:, ~paying].min(axis=1, initial=np.inf)
    room = upper * (1 + 1e-9) * int((~paying).sum())
    total = float(here[np.isfinite(here)].sum())
    total -= float(here[np.isfinite(here) & (away == 0)].sum())
    both = np.isfinite(here) & np.isfinite(away) & (away > 0)
    room -= float(away[np.isinf(here) & np.isfinite(away)].sum())
    order = np.flatnonzero(both)[np.argsort(-here[both] / away[both], kind="stable")]
    taken = np.cumsum(away[order])
    whole = taken <= room
    total -= float(here[order][whole].sum())
    if not whole.all():
        first = order[int(whole.argmin())]
        left = max(0.0, room - float(away[order][whole].sum()))
        total -= float(here[first]) * left / float(away[first])
    return total


def union(count: int, pairs: set[tuple[int, int]]) -> Ints:
    """Return a number for each of some items, the same for those that pairs connect (count,)."""
    root = list(range(count))

    def find(item: int) -> int:
        while root[item] != item:
            root[item] = root[root[item]]
            item = root[item]
        return item

    for a, b in pairs:
        root[find(a)] = find(b)
    return np.unique([find(item) for item in range(count)], return_inverse=True)[1].reshape(-1)
