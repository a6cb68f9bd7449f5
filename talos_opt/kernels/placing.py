"""Constructive placements in one pass over the ops."""

from __future__ import annotations

import numpy as np

from talos_opt.kernels.compiling import kernel
from talos_opt.kernels.instance import (
    CAPACITY,
    CHANNEL,
    DEMAND,
    ENGINE,
    FIRST_SLOT,
    GROUP,
    LAST_SLOT,
    MODEL,
    VIA,
)

INF = np.inf


@kernel
def place_earliest(x, order, size, usable, device):  # type: ignore[no-untyped-def]
    """Place each op where it would end first, behind what is queued there (HEFT's rule).

    An op of a colocation group that has been placed follows it. Transfers wait for their
    channel; a device without copy engine counts them as work. Times are estimates: those of the
    placement are for `list_schedule` to find.

    Parameters
    ----------
    x : Instance
    order : (n,) int
        Topological.
    size : (g,) int
        Bytes that a group holds, its largest workspace aside.
    usable : (g, m) bool
        Devices that each group may go to.
    device : (n,) int
        Filled.

    Returns
    -------
    float
        When the last op ends; infinite if some op found no room or route.
    """
    op_table, op_time, in_ptr, in_op, in_bytes = x.op, x.time, x.in_ptr, x.in_op, x.in_bytes
    devices, link, route, model, work = x.device, x.link, x.route, x.model, x.group
    count = len(devices)
    home = np.full(len(size), -1, dtype=np.int64)
    held = np.zeros(count, dtype=np.int64)
    widest = np.zeros(count, dtype=np.int64)
    slot = np.zeros(devices[count - 1, LAST_SLOT])
    channels = np.zeros(route[CHANNEL].max() + 1)
    ready = np.empty(count)
    end = np.empty(len(order))
    last = 0.0
    for op in order:
        group = op_table[op, GROUP]
        fixed = home[group]
        for d in range(count):
            if fixed < 0:
                room = held[d] + size[group] + max(widest[d], work[group, 1])
                open_ = usable[group, d] and room <= devices[d, CAPACITY]
            else:
                open_ = fixed == d
            ready[d] = model[op_table[op, MODEL], 0] if open_ else INF
        for e in range(in_ptr[op], in_ptr[op + 1]):
            producer = in_op[e]
            source = device[producer]
            for d in range(count):
                if ready[d] == INF:
                    continue
                arrival = end[producer]
                if d != source:
                    stage = route[VIA, source, d]
                    if stage == -2:
                        ready[d] = INF
                        continue
                    first = source
                    if stage >= 0:
                        arrival += link[0, source, stage] + in_bytes[e] * link[1, source, stage]
                        first = stage
                    channel = route[CHANNEL, first, d]
                    if channel >= 0:
                        arrival = max(arrival, channels[channel])
                    arrival += link[0, first, d] + in_bytes[e] * link[1, first, d]
                ready[d] = max(ready[d], arrival)
        best, best_end, best_slot, best_start = -1, INF, 0, 0.0
        for d in range(count):
            if ready[d] == INF:
                continue
            first, after = devices[d, FIRST_SLOT], devices[d, LAST_SLOT]
            free = first
            for s in range(first + 1, after):
                if slot[s] < slot[free]:
                    free = s
            start = max(ready[d], slot[free])
            if start + op_time[op, d] < best_end:
                best, best_end, best_slot, best_start = d, start + op_time[op, d], free, start
        if best < 0:
            return INF
        for e in range(in_ptr[op], in_ptr[op + 1]):
            source = device[in_op[e]]
            if source == best:
                continue
            first = route[VIA, source, best]
            if first < 0:
                first = source
            length = link[0, first, best] + in_bytes[e] * link[1, first, best]
            channel = route[CHANNEL, first, best]
            if channel >= 0:
                channels[channel] = max(channels[channel], end[in_op[e]]) + length
            if devices[best, ENGINE] == 0:
                best_end += length
            if devices[source, ENGINE] == 0:
                slot[devices[source, FIRST_SLOT]] += length
        if op_time[op, best] > 0:
            # A wide op fills several slots; the others are taken as free at the same time.
            wanted = op_table[op, DEMAND]
            slot[best_slot] = best_end
            for s in range(devices[best, FIRST_SLOT], devices[best, LAST_SLOT]):
                if wanted > 1 and s != best_slot:
                    slot[s] = max(slot[s], best_end)
                    wanted -= 1
        if fixed < 0:
            home[group] = best
            held[best] += size[group]
            widest[best] = max(widest[best], work[group, 1])
        device[op] = best
        end[op] = best_end
        last = max(last, best_end)
    return last


@kernel
def fill_in_order(x, order, size, usable, turn, target, device):  # type: ignore[no-untyped-def]
    """Fill one device after another along an order, each up to a load.

    What may not go to the device at hand goes where the load is least. Ops of a group follow its
    first one.

    Parameters
    ----------
    x : Instance
    order, size, usable, device
        See `place_earliest`.
    turn : (m,) int
        Devices in the order in which they are filled.
    target : float
        Load at which the next device is turned to.

    Returns
    -------
    float
        Largest load, transfers aside; infinite if some group found no room.
    """
    op_table, op_time, devices, work = x.op, x.time, x.device, x.group
    group_ptr, group_op = x.group_ptr, x.group_op
    count = len(devices)
    home = np.full(len(size), -1, dtype=np.int64)
    held = np.zeros(count, dtype=np.int64)
    widest = np.zeros(count, dtype=np.int64)
    load = np.zeros(count)
    at = 0
    for op in order:
        group = op_table[op, GROUP]
        if home[group] < 0:
            best, best_load = -1, INF
            while True:
                here = turn[at]
                for k in range(count):
                    d = here if k == 0 else k - 1 if k <= here else k
                    if not usable[group, d]:
                        continue
                    if held[d] + size[group] + max(widest[d], work[group, 1]) > devices[d, CAPACITY]:
                        continue
                    total = load[d]
                    slots = devices[d, LAST_SLOT] - devices[d, FIRST_SLOT]
                    for member in range(group_ptr[group], group_ptr[group + 1]):
                        i = group_op[member]
                        total += op_time[i, d] * op_table[i, DEMAND] / slots
                    if d == here and total <= target:
                        best, best_load = d, total
                        break
                    if total < best_load:
                        best, best_load = d, total
                # A device that could take the group but is full has had its share.
                if best == here or at == count - 1 or not usable[group, here]:
                    break
                at += 1
                best, best_load = -1, INF
            if best < 0:
                return INF
            home[group] = best
            held[best] += size[group]
            widest[best] = max(widest[best], work[group, 1])
            load[best] = best_load
        device[op] = home[group]
    return load.max()
