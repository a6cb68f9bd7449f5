"""The best chain of order ideals: which blocks each device of a pipeline takes (docs/bounds.md)."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from talos_opt.kernels.compiling import kernel, part
from talos_opt.kernels.moves import next_random

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Shorts = npt.NDArray[np.int32]


class Lattice(NamedTuple):
    """Order ideals of b blocks, smaller ones first, and what devices of k kinds pay for blocks.

    Parameters
    ----------
    up_ptr, up_ideal, up_block : (i + 1,), (u,), (u,) int
        From ideal p, adding block ``up_block[e]`` leads to ideal ``up_ideal[e]``.
    work : (b, k) float
        Load of each block on a device of each kind; infinite where it cannot run.
    held, wide : (b,) int
        Bytes that a block holds, and its largest workspace.
    room : (k,) int
    left : (i,) float
        Priced load of the blocks outside of each ideal, at the prices of `price`.
    touch_ptr, touch_tensor, touch_role : (b + 1,), (h,), (h,) int
        Tensors that each block makes or reads: 1 made, 2 read, 3 both.
    readers : (t,) int
        Blocks that read each tensor, its maker left out.
    out_time, in_time : (t, k) float
        Load of a tensor that is sent, and of one that is received.
    """

    up_ptr: Ints
    up_ideal: Ints
    up_block: Ints
    work: Floats
    held: Ints
    wide: Ints
    room: Ints
    left: Floats
    touch_ptr: Ints
    touch_tensor: Ints
    touch_role: Ints
    readers: Ints
    out_time: Floats
    in_time: Floats


class Plans(NamedTuple):
    """What is known of chains that use up certain devices.

    Parameters
    ----------
    following : (c, j) int
        What use becomes if one more device is taken, by choice; -1: there is none.
    kind : (j,) int
        Kind of device of each choice.
    price : (c,) float
        Priced load that the devices which are left do in one unit of time.
    value : (i, c) float
        Smallest largest load of a chain that ends in an ideal with a use of devices.
    before : (i, c) int32
        Ideal before it.
    choice : (i, c) int32
        Use of devices before it times j, plus the choice.
    """

    following: Ints
    kind: Ints
    price: Floats
    value: Floats
    before: Shorts
    choice: Shorts


@part
def _add_block(x, block, made, inside, load, moved):  # type: ignore[no-untyped-def]
    """Add a block to a stage, and what its tensors then cost to the loads (k,)."""
    kinds = len(load)
    for k in range(kinds):
        load[k] += x.work[block, k]
    for h in range(x.touch_ptr[block], x.touch_ptr[block + 1]):
        t, role = x.touch_tensor[h], x.touch_role[h]
        sends = made[t] and inside[t] < x.readers[t]
        takes = not made[t] and inside[t] > 0
        if role & 1:
            made[t] = True
        if role == 2:
            inside[t] += 1
        sent = made[t] and inside[t] < x.readers[t]
        taken = not made[t] and inside[t] > 0
        for k in range(kinds):
            if sends != sent:
                moved[k] += x.out_time[t, k] if sent else -x.out_time[t, k]
            if takes != taken:
                moved[k] += x.in_time[t, k] if taken else -x.in_time[t, k]


@part
def _take_block(x, block, made, inside):  # type: ignore[no-untyped-def]
    """Take a block back out of a stage; loads are kept elsewhere."""
    for h in range(x.touch_ptr[block], x.touch_ptr[block + 1]):
        t, role = x.touch_tensor[h], x.touch_role[h]
        if role & 1:
            made[t] = False
        if role == 2:
            inside[t] -= 1


@part
def _reach(x, plans, p, q, load, fits, limit, live, count):  # type: ignore[no-untyped-def]
    """Let a stage end in an ideal, for each use of devices that it may follow."""
    following, kind, value = plans.following, plans.kind, plans.value
    choices = len(kind)
    for spot in range(count):
        use = live[spot]
        base = value[p, use]
        for j in range(choices):
            after = following[use, j]
            if after < 0 or not fits[kind[j]]:
                continue
            worst = max(base, load[kind[j]])
            if (
                worst < value[q, after]
                and worst < limit
                and (x.left[q] <= plans.price[after] * limit)
            ):
                value[q, after] = worst
                plans.before[q, after] = p
                plans.choice[q, after] = use * choices + j


@kernel
def extend_chains(x, plans, first, limit, most):  # type: ignore[no-untyped-def]
    """Let chains go on from ideal after ideal, as long as no load reaches a limit.

    Parameters
    ----------
    x : Lattice
    plans : Plans
        Filled in; ideals from `first` on.
    first : int
    limit : float
    most : int
        Stages to look at before returning.

    Returns
    -------
    int
        The next ideal.
    """
    ideals, kinds, tensors = len(x.up_ptr) - 1, x.work.shape[1], len(x.readers)
    blocks = len(x.held)
    made = np.zeros(tensors, dtype=np.bool_)
    inside = np.zeros(tensors, dtype=np.int64)
    seen = np.full(ideals, -1, dtype=np.int64)
    load, moved = np.zeros((blocks + 1, kinds)), np.zeros((blocks + 1, kinds))
    whole = np.zeros(kinds)
    held, wide = np.zeros(blocks + 1, dtype=np.int64), np.zeros(blocks + 1, dtype=np.int64)
    edge, place = np.zeros(blocks + 1, dtype=np.int64), np.zeros(blocks + 1, dtype=np.int64)
    added = np.zeros(blocks + 1, dtype=np.int64)
    fits = np.zeros(kinds, dtype=np.bool_)
    live = np.zeros(plans.value.shape[1], dtype=np.int64)
    looked = 0
    for p in range(first, ideals - 1):
        count = 0
        for use in range(len(live)):
            if plans.value[p, use] < limit:
                live[count] = use
                count += 1
        if count == 0:
            continue
        if looked >= most:
            return p
        depth = 0
        load[0], moved[0], held[0], wide[0] = 0.0, 0.0, 0, 0
        place[0], edge[0] = p, x.up_ptr[p]
        while depth >= 0:
            here = place[depth]
            if edge[depth] == x.up_ptr[here + 1]:
                if depth > 0:
                    _take_block(x, added[depth], made, inside)
                depth -= 1
                continue
            e = edge[depth]
            edge[depth] += 1
            q, block = x.up_ideal[e], x.up_block[e]
            if seen[q] == p:
                continue
            seen[q] = p
            looked += 1
            depth += 1
            load[depth], moved[depth] = load[depth - 1], moved[depth - 1]
            held[depth] = held[depth - 1] + x.held[block]
            wide[depth] = max(wide[depth - 1], x.wide[block])
            _add_block(x, block, made, inside, load[depth], moved[depth])
            added[depth], place[depth], edge[depth] = block, q, x.up_ptr[q]
            some = False
            for k in range(kinds):
                fits[k] = load[depth, k] < limit and held[depth] + wide[depth] <= x.room[k]
                some = some or fits[k]
                whole[k] = load[depth, k] + moved[depth, k]
            if some:
                _reach(x, plans, p, q, whole, fits, limit, live, count)
            else:  # a larger stage is no better: it takes more time and more bytes
                edge[depth] = x.up_ptr[q + 1]
    return ideals


@kernel
def walk_cuts(work, ptr, near, ahead, stage, devices, limit, most, random):  # type: ignore[no-untyped-def]
    """Fill stage after stage by a random walk until what is left fits the others.

    A block joins the stage if all that it follows is in it or before it, and leaves it if nothing
    that follows it is.

    Parameters
    ----------
    work : (b,) float
    ptr, near, ahead : (b + 1,), (h,), (h,) int
        Neighbours of each block, and whether it follows them (1), or they follow it (0).
    stage : (b,) int
        Filled in.
    devices : int
        Stages.
    limit : float
        Largest load of a stage.
    most : int
        Blocks to look at, for each stage.
    random : (1,) uint64

    Returns
    -------
    bool
        Whether no stage is above the limit.
    """
    blocks, last = len(work), devices - 1
    stage[:] = last
    left = work.sum()
    for s in range(last):
        low = left - limit * (last - s)
        load = 0.0
        for _ in range(most):
            if low <= load <= limit:
                break
            grows = (load < low) != (next_random(random) < 0.1)
            b = int(next_random(random) * blocks)
            if stage[b] != (last if grows else s):
                continue
            free = True
            for h in range(ptr[b], ptr[b + 1]):
                if grows and ahead[h] == 1:
                    free = free and stage[near[h]] <= s
                elif not grows and ahead[h] == 0:
                    free = free and stage[near[h]] > s
            if free:
                stage[b] = s if grows else last
                load += work[b] if grows else -work[b]
        if not low <= load <= limit:
            return False
        left -= load
    return True
