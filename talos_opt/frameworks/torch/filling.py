"""Contiguous placements of a chain of ops: each device holds one run of neighbours.

A start for solvers, and the answer where contiguity is asked for.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence

import numpy as np

from talos_opt.core.problem import Ints, Problem

#: Up to so many devices every order of them is tried.
_ALL_ORDERS = 4


def contiguous_fills(problem: Problem, last: Sequence[int] = ()) -> Iterator[Ints]:
    """Yield placements in which the ops of each device stand in a row.

    For each order of the devices that is tried, the cuts are those of the least sum of op times
    and of the transfers over the cuts (dynamic programming over prefixes), such that weights and
    the largest workspace of every run fit its device. Colocation groups that a cut parts are
    joined on the device of their first op; whether that fits is for the caller to check.

    Parameters
    ----------
    problem : Problem
        One model whose ops are listed in the order of their execution.
    last : sequence of int
        Devices that come last in every order: those that ops are offloaded to.

    Yields
    ------
    (n,) int
        Device of every op.
    """
    first = [d for d in range(len(problem.device_ids)) if d not in last]
    orders = (
        itertools.permutations(first)
        if len(first) <= _ALL_ORDERS
        else (first, sorted(first, key=lambda d: float(problem.arrays.time[:, d].sum())))
    )
    seen: set[bytes] = set()
    for order in orders:
        cuts = _cut(problem, [*order, *last])
        if cuts is None:
            continue
        device = _join_groups(problem, cuts)
        if device.tobytes() not in seen:
            seen.add(device.tobytes())
            yield device


def _cut(problem: Problem, order: Sequence[int]) -> Ints | None:
    """Return the best contiguous placement for one order of the devices; None: none fits."""
    arrays = problem.arrays
    count = arrays.op_count
    crossing = _crossing(problem)
    # best[j]: least time of the first j ops on the devices so far, and the last device used.
    best: list[tuple[float, int]] = [(0.0, -1)] + [(math.inf, -1)] * count
    choice: list[dict[int, int]] = []
    for d in order:
        times, limit = arrays.time[:, d].tolist(), int(arrays.capacity[d])
        after, chosen = list(best), {}
        for i in range(count):
            before, source = best[i]
            if not math.isfinite(before):
                continue
            if source >= 0:
                before += arrays.transfer_time(source, d, crossing[i])
            held = room = 0
            for j in range(i, count):
                held += int(arrays.weights[j]) + int(arrays.output[j])
                room = max(room, int(arrays.workspace[j]))
                before += times[j]
                if held + room > limit or not math.isfinite(before):
                    break
                if before < after[j + 1][0]:
                    after[j + 1] = (before, d)
                    chosen[j + 1] = i
        best = after
        choice.append(chosen)
    if not math.isfinite(best[count][0]):
        return None
    device, j = np.zeros(count, dtype=np.int64), count
    for d, chosen in zip(reversed(order), reversed(choice), strict=True):
        if j in chosen:
            device[chosen[j] : j] = d
            j = chosen[j]
    return device


def _crossing(problem: Problem) -> list[int]:
    """Bytes that edges carry over each cut: before op 0, before op 1, ..."""
    arrays = problem.arrays
    change = np.zeros(arrays.op_count + 1, dtype=np.int64)
    np.add.at(change, arrays.edge_src + 1, arrays.edge_bytes)
    np.subtract.at(change, arrays.edge_dst + 1, arrays.edge_bytes)
    return [int(size) for size in np.cumsum(change)]


def _join_groups(problem: Problem, device: Ints) -> Ints:
    joined = device.copy()
    first: dict[int, int] = {}
    for i, group in enumerate(problem.arrays.group.tolist()):
        joined[i] = joined[first.setdefault(group, i)]
    return joined
