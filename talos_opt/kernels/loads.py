"""Loads of devices and serial links in steady state, kept up to date move by move."""

from __future__ import annotations

import numpy as np

from talos_opt.kernels.compiling import kernel, part
from talos_opt.kernels.hops import hop_time
from talos_opt.kernels.instance import CHANNEL, DEMAND, ENGINE, FIRST_SLOT, LAST_SLOT, VIA


@part
def add_op_load(x, op, d, load, sign):  # type: ignore[no-untyped-def]
    """Add (or take back) an op's time on a device, divided over the device's slots."""
    slots = x.device[d, LAST_SLOT] - x.device[d, FIRST_SLOT]
    load[d] += sign * x.time[op, d] * x.op[op, DEMAND] / slots


@part
def add_tensor_load(x, op, home, size, load, channel, sign):  # type: ignore[no-untyped-def]
    """Add (or take back) the hops by which what an op makes reaches all its readers.

    Parameters
    ----------
    home : (n,) int
        Device of each op.
    size : (m,) int, zero on entry and on return
        Scratch: bytes + 1 of the hop into each device, 0 where there is none.
    """
    # Bound once: each access to a member of a named tuple counts references.
    out_op, out_bytes, link, route, device = x.out_op, x.out_bytes, x.link, x.route, x.device
    source, read_ptr = home[op], x.read_ptr
    for r in range(x.tensor_ptr[op], x.tensor_ptr[op + 1]):
        remote = False
        for e in range(read_ptr[r], read_ptr[r + 1]):
            target = home[out_op[e]]
            if target == source:
                continue
            stage = route[VIA, source, target]
            if stage == -2:
                continue  # counted by `unreachable`
            remote = True
            size[target] = max(size[target], out_bytes[e] + 1)
            if stage >= 0:
                size[stage] = max(size[stage], out_bytes[e] + 1)
        if not remote:
            continue
        for target in range(len(size)):
            if size[target] == 0:
                continue
            origin = route[VIA, source, target]
            if origin < 0:
                origin = source
            amount = size[target] - 1
            size[target] = 0
            length = sign * hop_time(link, origin, target, amount)
            if device[origin, ENGINE] == 0:
                load[origin] += length
            if device[target, ENGINE] == 0:
                load[target] += length
            if route[CHANNEL, origin, target] >= 0:
                channel[route[CHANNEL, origin, target]] += length


@kernel
def placement_loads(x, device, size, load, channel):  # type: ignore[no-untyped-def]
    """Fill the loads of a placement."""
    for line in (load, channel):
        for k in range(len(line)):
            line[k] = 0.0
    for op in range(len(device)):
        add_op_load(x, op, device[op], load, 1.0)
        add_tensor_load(x, op, device, size, load, channel, 1.0)


@part
def unreachable(x, home):  # type: ignore[no-untyped-def]
    """Count the edges whose reader sits where its tensor cannot be sent."""
    out_ptr, out_op, route = x.out_ptr, x.out_op, x.route
    count = 0
    for op in range(len(home)):
        for e in range(out_ptr[op], out_ptr[op + 1]):
            target = home[out_op[e]]
            if target != home[op] and route[VIA, home[op], target] == -2:
                count += 1
    return count


@part
def largest(load, channel):  # type: ignore[no-untyped-def]
    """Return the bottleneck: the largest load of a device or a channel."""
    top = load[0]
    for d in range(1, len(load)):
        top = max(top, load[d])
    for c in range(len(channel)):
        top = max(top, channel[c])
    return top


@part
def smoothed(load, channel, top):  # type: ignore[no-untyped-def]
    """Return the 8-norm of loads, the largest of which is `top`: any that falls lowers it."""
    if top <= 0:
        return top
    total = 0.0
    for line in (load, channel):
        for k in range(len(line)):
            share = line[k] / top
            share *= share
            share *= share
            total += share * share
    return top * np.sqrt(np.sqrt(np.sqrt(total)))
