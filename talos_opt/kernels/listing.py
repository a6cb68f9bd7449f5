"""List scheduling of a placement in a given order, with all of the model but memory over time."""

from __future__ import annotations

import numpy as np
from numba import njit

from talos_opt.kernels.compiling import kernel, part
from talos_opt.kernels.hops import hop_bytes, hop_time, route_time
from talos_opt.kernels.instance import (
    CHANNEL,
    DEMAND,
    ENGINE,
    FIRST_SLOT,
    FROZEN,
    LAST_SLOT,
    MAKESPAN,
    MODEL,
    OBJECTIVE,
    UNIFORM,
    VIA,
)
from talos_opt.kernels.sorting import sort_few

INF = np.inf
#: Hop numbers stay below this.
LAST_HOP = 2**31 - 1


@njit(inline="always")
def _first_free(slot, devices, d):  # type: ignore[no-untyped-def]
    best = devices[d, FIRST_SLOT]
    for s in range(best + 1, devices[d, LAST_SLOT]):
        if slot[s] < slot[best]:
            best = s
    return best


@part
def next_pass(times):  # type: ignore[no-untyped-def]
    """Return the number of the first hop of a new pass; no older hop has it or a larger one."""
    clock, sent = times.clock, times.sent
    if clock[1] + len(times.hop_tensor) >= LAST_HOP:  # begin anew
        for tensor in range(len(sent)):
            for d in range(sent.shape[1]):
                sent[tensor, d] = 0
        clock[1] = 1
    clock[0] = clock[1]
    return clock[0]


@kernel
def list_schedule(x, times, device, order, threshold):  # type: ignore[no-untyped-def]
    """Schedule ops in a given order, each behind what is queued on its device.

    A tensor is sent to a device when the first op in the order needs it there: over one hop, or
    over a stage and on, each as soon as the tensor, the channel and a slot of every device
    without a copy engine are free.

    Parameters
    ----------
    x : Instance
    times : Times
        Overwritten.
    device : (n,) int
        One that each op is allowed on.
    order : (n,) int
        All ops, producers before their readers.
    threshold : float
        Give up with infinity as soon as the makespan must exceed it.

    Returns
    -------
    float
        Makespan or weighted sum of completion times; infinite if given up, or without a route.
    """
    # Everything is bound to local names, and nothing is called with `x`, since each access to a
    # member of a named tuple counts references: that made a pass ten times slower.
    op_table, op_time, in_ptr, in_op = x.op, x.time, x.in_ptr, x.in_op
    in_tensor, read_ptr, out_op, out_bytes = x.in_tensor, x.read_ptr, x.out_op, x.out_bytes
    devices, link, route, model, tail = x.device, x.link, x.route, x.model, x.tail
    op_start, op_end, sent, hop_start = times.start, times.end, times.sent, times.hop_start
    hop_end, slot, channels, done = times.hop_end, times.slot, times.channel, times.done
    hop_tensor, hop_source, hop_target = times.hop_tensor, times.hop_source, times.hop_target
    uniform, makespan = x.rule[UNIFORM] == 1, x.rule[OBJECTIVE] == MAKESPAN
    frozen, first_time, fixed, begun = x.rule[FROZEN] == 1, x.ready, x.fixed, x.begun
    since, open_slot, open_channel = x.since[0], x.open_slot, x.open_channel
    now = next_pass(times)
    hops = 0
    for k in range(len(slot)):
        slot[k] = open_slot[k]
    for k in range(len(channels)):
        channels[k] = open_channel[k]
    for k in range(len(done)):
        done[k] = 0.0
    for op in order:
        d = device[op]
        owner = op_table[op, MODEL]
        ready = first_time[op]
        for e in range(in_ptr[op], in_ptr[op + 1]):
            producer = in_op[e]
            home = device[producer]
            if home == d:
                ready = max(ready, op_end[producer])
                continue
            tensor = in_tensor[e]
            if sent[tensor, d] >= now:
                ready = max(ready, hop_end[sent[tensor, d] - now])
                continue
            stage = route[VIA, home, d]
            if stage == -2:
                times.clock[1] = now + hops
                return INF
            source, arrival = home, max(op_end[producer], since)
            for leg in range(1 if stage < 0 else 2):
                target = stage if leg == 0 and stage >= 0 else d
                if sent[tensor, target] >= now:
                    source = target
                    arrival = max(hop_end[sent[tensor, target] - now], since)
                    continue
                size = out_bytes[read_ptr[tensor]]
                if not uniform:
                    size = hop_bytes(
                        tensor, home, target, device, route, read_ptr, out_op, out_bytes
                    )
                length = hop_time(link, source, target, size)
                if frozen and begun[tensor, target] >= 0:
                    arrival = begun[tensor, target]  # what it holds is not free at first
                elif length > 0:
                    channel = route[CHANNEL, source, target]
                    out = into = -1
                    if channel >= 0:
                        arrival = max(arrival, channels[channel])
                    if devices[source, ENGINE] == 0:
                        out = _first_free(slot, devices, source)
                        arrival = max(arrival, slot[out])
                    if devices[target, ENGINE] == 0:
                        into = _first_free(slot, devices, target)
                        arrival = max(arrival, slot[into])
                    if channel >= 0:
                        channels[channel] = arrival + length
                    if out >= 0:
                        slot[out] = arrival + length
                    if into >= 0:
                        slot[into] = arrival + length
                sent[tensor, target] = now + hops
                hop_tensor[hops], hop_source[hops], hop_target[hops] = tensor, source, target
                hop_start[hops], hop_end[hops] = arrival, arrival + length
                hops += 1
                source, arrival = target, arrival + length
                if leg == 0 and stage >= 0:
                    arrival = max(arrival, since)
            ready = max(ready, arrival)
        length = op_time[op, d]
        start = ready
        if frozen and fixed[op]:
            start = first_time[op]  # its slots are not free at first
        elif length > 0:
            demand = op_table[op, DEMAND]
            if demand == 1:
                k = _first_free(slot, devices, d)
                start = max(start, slot[k])
                slot[k] = start + length
            else:
                first, last = devices[d, FIRST_SLOT], devices[d, LAST_SLOT]
                sort_few(slot, first, last)
                start = max(start, slot[first + demand - 1])
                for k in range(first, first + demand):
                    slot[k] = start + length
        end = start + length
        op_start[op] = start
        op_end[op] = end
        done[owner] = max(done[owner], end)
        if (makespan and end + tail[op] > threshold) or end == INF:
            times.clock[1] = now + hops
            return INF
    times.clock[1] = now + hops
    value = 0.0
    for j in range(len(done)):
        value = max(value, done[j]) if makespan else value + model[j, 1] * done[j]
    return value


@kernel
def upward_ranks(x, device, topological):  # type: ignore[no-untyped-def]
    """Longest path from each op's start to a sink under a placement, transfers included (n,)."""
    rank = np.zeros(len(device))
    for position in range(len(topological) - 1, -1, -1):
        op = topological[position]
        d = device[op]
        below = 0.0
        for e in range(x.out_ptr[op], x.out_ptr[op + 1]):
            reader = x.out_op[e]
            t = device[reader]
            move = 0.0
            if t != d and x.route[VIA, d, t] != -2:
                move = route_time(x.link, x.route, d, t, x.out_bytes[e])
            below = max(below, move + rank[reader])
        rank[op] = below + x.time[op, d]
    return rank
