"""Merging packs of ops level by level so that no cycle arises, linear in the size of the graph."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from talos_opt.kernels.compiling import kernel, part

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

#: Packs with more producers in the level before than this stay apart from them.
MOST_PRODUCERS = 32


class Clusters(NamedTuple):
    """What has been merged so far: n packs, g colocation groups, c kinds, m devices.

    Parameters
    ----------
    time : (n, m) float
        Infinite where a pack may not go.
    kind : (n,) int
        Packs of the same kind go to the same devices, hold the same slots, are of one model.
    group : (n,) int
    root : (g,) int
        Parent of each group in the forest of merged groups.
    held, work, busy : (g,), (g,), (g,)
        Bytes, largest workspace and best time of a merged group, at its root.
    room, top : (c,) int
        Bytes that groups may reach by merging, and that the largest of the devices has.
    """

    time: Floats
    kind: Ints
    group: Ints
    root: Ints
    held: Ints
    work: Ints
    busy: Floats
    room: Ints
    top: Ints


@part
def _find(root, i):  # type: ignore[no-untyped-def]
    while root[i] != i:
        root[i] = root[root[i]]
        i = root[i]
    return i


@part
def _may_merge(few, count, best, x, limits):  # type: ignore[no-untyped-def]
    """Tell whether the first `count` packs of `few` may become one."""
    shortest, apart = np.inf, 0.0
    for d in range(x.time.shape[1]):
        total = 0.0
        for k in range(count):
            total += x.time[few[k], d]
        shortest = min(shortest, total)
    held, widest, busy, groups = 0, 0, 0.0, 0
    for k in range(count):
        if x.kind[few[k]] != x.kind[few[0]]:
            return False
        apart += best[few[k]]
        group, known = _find(x.root, x.group[few[k]]), False
        for other in range(k):
            known = known or _find(x.root, x.group[few[other]]) == group
        if not known:
            held += x.held[group]
            widest = max(widest, x.work[group])
            busy += x.busy[group]
            groups += 1
    if shortest > limits[0] or shortest > limits[2] * apart:
        return False
    if groups == 1:
        return held + widest <= x.top[x.kind[few[0]]]
    return limits[3] > 0 and held + widest <= x.room[x.kind[few[0]]] and busy <= limits[1]


@part
def _merge(few, count, best, owner, x):  # type: ignore[no-untyped-def]
    """Make the first `count` packs of `few` one, which is known by the first of them."""
    first = few[0]
    for k in range(1, count):
        other = few[k]
        owner[other] = first
        for d in range(x.time.shape[1]):
            x.time[first, d] += x.time[other, d]
        a, b = _find(x.root, x.group[first]), _find(x.root, x.group[other])
        if a != b:
            x.root[b] = a
            x.held[a] += x.held[b]
            x.work[a] = max(x.work[a], x.work[b])
            x.busy[a] += x.busy[b]
    best[first] = np.inf
    for d in range(x.time.shape[1]):
        best[first] = min(best[first], x.time[first, d])


@kernel
def gather(order, level, in_ptr, in_op, x, limits):  # type: ignore[no-untyped-def]
    """Let packs join all of their producers in the level before, or a sibling.

    What is merged lies in two levels, t and t + 1, and no pack of the second has a producer in
    level t outside. So every edge between what comes out leads from a smaller t to a larger one,
    and there is no cycle (cf. the acyclic clustering of Herrmann et al., SIAM J. Sci. Comput.
    2019). Packs of one level may merge in any case; those that read the same pack do.

    Parameters
    ----------
    order : (n,) int
        Topological, by level.
    level : (n,) int
        Longest path, in edges, from a source.
    in_ptr, in_op : (n + 1,), (e,) int
        Producers of each pack.
    x : Clusters
        Changed.
    limits : (4,) float
        Most time of a pack, and of a group that others are merged into; how many times the sum
        of their best times packs may take together; whether groups may be merged.

    Returns
    -------
    (n,) int
        The pack that each has become a part of.
    """
    count = len(order)
    owner = np.arange(count)
    best = np.empty(count)
    for i in range(count):
        best[i] = np.inf
        for d in range(x.time.shape[1]):
            best[i] = min(best[i], x.time[i, d])
    below = np.zeros(count, dtype=np.bool_)  # in the second of its pack's levels
    sibling = np.full(count, -1)
    few = np.empty(MOST_PRODUCERS + 1, dtype=np.int64)
    for i in order:
        size, able = 0, True
        for e in range(in_ptr[i], in_ptr[i + 1]):
            producer = in_op[e]
            if level[producer] != level[i] - 1:
                continue
            pack, known = _find(owner, producer), False
            for k in range(size):
                known = known or few[k] == pack
            if below[producer] or (not known and size == MOST_PRODUCERS):
                able = False
                break
            if not known:
                few[size] = pack
                size += 1
        if able and size > 0:
            few[size] = i
            if _may_merge(few, size + 1, best, x, limits):
                _merge(few, size + 1, best, owner, x)
                below[i] = True
                continue
        for e in range(in_ptr[i], in_ptr[i + 1]):
            other = sibling[in_op[e]]
            if other >= 0 and level[other] == level[i]:
                few[0], few[1] = _find(owner, other), i
                if _may_merge(few, 2, best, x, limits):
                    _merge(few, 2, best, owner, x)
                    break
        for e in range(in_ptr[i], in_ptr[i + 1]):
            sibling[in_op[e]] = i
    for i in range(count):
        owner[i] = _find(owner, i)
    return owner
