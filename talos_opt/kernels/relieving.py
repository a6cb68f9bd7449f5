"""Single moves that even out the loads of a placement (bottleneck)."""

from __future__ import annotations

import numpy as np

from talos_opt.kernels.compiling import kernel, part
from talos_opt.kernels.instance import CAPACITY, GROUP, VIA
from talos_opt.kernels.loads import add_op_load, add_tensor_load
from talos_opt.kernels.moves import below


@part
def pressure(load, channel, top):  # type: ignore[no-untyped-def]
    """Sum of the 64th powers of all loads over `top`: the largest ones are what counts."""
    total = 0.0
    for line in (load, channel):
        for k in range(len(line)):
            power = line[k] / top
            for _ in range(6):
                power *= power
            total += power
    return total


@part
def touch(x, group, device, size, load, channel, seen, stamp, sign):  # type: ignore[no-untyped-def]
    """Add (or take back) the loads of a group's ops, of what they send and of what they read."""
    in_ptr, in_op, group_ptr, group_op = x.in_ptr, x.in_op, x.group_ptr, x.group_op
    for member in range(group_ptr[group], group_ptr[group + 1]):
        op = group_op[member]
        add_op_load(x, op, device[op], load, sign)
        for e in range(in_ptr[op] - 1, in_ptr[op + 1]):
            sender = op if e < in_ptr[op] else in_op[e]
            if seen[sender] != stamp:
                seen[sender] = stamp
                add_tensor_load(x, sender, device, size, load, channel, sign)


@part
def reachable(x, group, device, target):  # type: ignore[no-untyped-def]
    """Tell whether a group on `target` can exchange its tensors."""
    in_ptr, in_op, out_ptr, out_op = x.in_ptr, x.in_op, x.out_ptr, x.out_op
    op_table, route = x.op, x.route
    for member in range(x.group_ptr[group], x.group_ptr[group + 1]):
        op = x.group_op[member]
        for e in range(in_ptr[op], in_ptr[op + 1]):
            other = in_op[e]
            apart = op_table[other, GROUP] != group and device[other] != target
            if apart and route[VIA, device[other], target] == -2:
                return False
        for e in range(out_ptr[op], out_ptr[op + 1]):
            other = out_op[e]
            apart = op_table[other, GROUP] != group and device[other] != target
            if apart and route[VIA, target, device[other]] == -2:
                return False
    return True


@kernel
def relieve(x, device, held, load, channel, usable, seen, random, tries):  # type: ignore[no-untyped-def]
    """Move random groups to random devices where that lowers the pressure of the loads.

    Parameters
    ----------
    x : Instance
    device : (n,) int
        A placement within memory (static rule, each workspace counted as the largest); changed.
    held : (m,) int
        Bytes that are held on each device, its largest workspace aside; kept up to date.
    load, channel : (m,) float, (c,) float
        Of the placement (see `placement_loads`); kept up to date.
    usable : (g, m) bool
    seen : (n + 1,) int
        Scratch; its last entry counts on between calls.
    random : (1,) uint64
    tries : int

    Returns
    -------
    int
        Moves that were kept.
    """
    op_table, work, devices = x.op, x.group, x.device
    group_ptr, group_op = x.group_ptr, x.group_op
    count = len(load)
    size = np.zeros(count, dtype=np.int64)
    widest = np.zeros(count, dtype=np.int64)
    for op in range(len(device)):
        widest[device[op]] = max(widest[device[op]], work[op_table[op, GROUP], 1])
    kept = 0
    for _ in range(tries):
        group = op_table[below(random, len(device)), GROUP]
        old, target = device[group_op[group_ptr[group]]], below(random, count)
        top = 0.0
        for d in range(count):
            top = max(top, load[d])
        for c in range(len(channel)):
            top = max(top, channel[c])
        if top <= 0 or target == old or not usable[group, target]:
            continue
        need = held[target] + work[group, 0] + max(widest[target], work[group, 1])
        if need > devices[target, CAPACITY] or not reachable(x, group, device, target):
            continue
        before = pressure(load, channel, top)
        stamp = seen[len(device)] = seen[len(device)] + 2
        touch(x, group, device, size, load, channel, seen, stamp - 1, -1.0)
        for member in range(group_ptr[group], group_ptr[group + 1]):
            device[group_op[member]] = target
        touch(x, group, device, size, load, channel, seen, stamp, 1.0)
        if pressure(load, channel, top) < before:
            held[old] -= work[group, 0]
            held[target] += work[group, 0]
            widest[target] = max(widest[target], work[group, 1])
            kept += 1
            continue
        seen[len(device)] += 2
        stamp += 2
        touch(x, group, device, size, load, channel, seen, stamp - 1, -1.0)
        for member in range(group_ptr[group], group_ptr[group + 1]):
            device[group_op[member]] = old
        touch(x, group, device, size, load, channel, seen, stamp, 1.0)
    return kept
