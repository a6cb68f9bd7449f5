"""Constructive placements in one pass over the ops."""

from __future__ import annotations

import numpy as np

from talos_opt.kernels.compiling import kernel
from talos_opt.kernels.heaps import pop, push
from talos_opt.kernels.hops import hop_time
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
def place_earliest(x, hold, urgency, window, size, usable, reserve, price, device, order):  # type: ignore[no-untyped-def]
    """Place each op where it would end first, behind what is queued there.

    Of the ops whose inputs have been placed, the most urgent among the `window` that are ready
    first is next: a window of one takes ops as they become ready, one of all ops is HEFT. An op
    of a colocation group that has been placed follows it. Transfers wait for their channel; a
    device without copy engine counts them as work. Times are estimates: those of the placement
    are for `list_schedule` to find.

    Parameters
    ----------
    x : Instance
    hold : (k,) float
        A time before which each model is not looked at, so that others come first.
    urgency : (n,) float
        Smaller first.
    window : int
        At least 1.
    size : (g,) int
        Bytes that a group holds, its largest workspace aside.
    usable : (g, m) bool
        Devices that each group may go to.
    reserve : (m,) int
        Bytes of each device that are kept for groups that may not go everywhere.
    price : (m,) float
        What a unit of time on each device costs beside the time itself: the more, the more an op
        keeps to the devices that it is best on, though it starts later there.
    device, order : (n,) int
        Filled: where each op goes, and in which order they were placed.

    Returns
    -------
    float
        When the last op ends; infinite if some op found no room or route.
    """
    op_table, op_time, in_ptr, in_op, in_bytes = x.op, x.time, x.in_ptr, x.in_op, x.in_bytes
    out_ptr, out_op = x.out_ptr, x.out_op
    devices, link, route, model, work = x.device, x.link, x.route, x.model, x.group
    total, count = len(device), len(devices)
    home = np.full(len(size), -1, dtype=np.int64)
    held = np.zeros(count, dtype=np.int64)
    widest = np.zeros(count, dtype=np.int64)
    kept = reserve.copy()
    slot = np.zeros(devices[count - 1, LAST_SLOT])
    channels = np.zeros(route[CHANNEL].max() + 1)
    ready = np.empty(count)
    end = np.empty(total)
    # Ops whose inputs have been placed: those in the window by urgency, the others by when their
    # inputs are there.
    later, later_key, laters = np.empty(total, dtype=np.int64), np.empty(total), 0
    near, near_key, nears = np.empty(total, dtype=np.int64), np.empty(total), 0
    missing = np.empty(total, dtype=np.int64)
    for op in range(total):
        missing[op] = in_ptr[op + 1] - in_ptr[op]
        if missing[op] == 0:
            first_time = max(model[op_table[op, MODEL], 0], hold[op_table[op, MODEL]])
            push(later_key, later, laters, first_time, op)
            laters += 1
    last = 0.0
    for position in range(total):
        while laters > 0 and nears < window:
            op = pop(later_key, later, laters)
            laters -= 1
            push(near_key, near, nears, urgency[op], op)
            nears += 1
        op = pop(near_key, near, nears)
        nears -= 1
        group = op_table[op, GROUP]
        fixed = home[group]
        confined = False
        for d in range(count):
            confined |= not usable[group, d]
        for d in range(count):
            if fixed < 0:
                need = held[d] + size[group] + max(widest[d], work[group, 1])
                if not confined:
                    need += kept[d]
                open_ = usable[group, d] and need <= devices[d, CAPACITY]
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
                        arrival += hop_time(link, source, stage, in_bytes[e])
                        first = stage
                    channel = route[CHANNEL, first, d]
                    if channel >= 0:
                        arrival = max(arrival, channels[channel])
                    arrival += hop_time(link, first, d, in_bytes[e])
                ready[d] = max(ready[d], arrival)
        best, best_end, best_slot, best_score = -1, INF, 0, INF
        for d in range(count):
            if ready[d] == INF:
                continue
            free = devices[d, FIRST_SLOT]
            for s in range(free + 1, devices[d, LAST_SLOT]):
                if slot[s] < slot[free]:
                    free = s
            start = max(ready[d], slot[free])
            score = start + op_time[op, d] * (1.0 + price[d])
            if score < best_score:
                best, best_end, best_slot, best_score = d, start + op_time[op, d], free, score
        if best < 0:
            return INF
        for e in range(in_ptr[op], in_ptr[op + 1]):
            source = device[in_op[e]]
            if source == best:
                continue
            first = route[VIA, source, best]
            if first < 0:
                first = source
            length = hop_time(link, first, best, in_bytes[e])
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
            if confined:
                kept[best] = max(0, kept[best] - size[group])
            widest[best] = max(widest[best], work[group, 1])
        device[op], end[op], order[position] = best, best_end, op
        last = max(last, best_end)
        for e in range(out_ptr[op], out_ptr[op + 1]):
            reader = out_op[e]
            missing[reader] -= 1
            if missing[reader] == 0:
                moment = hold[op_table[reader, MODEL]]
                for k in range(in_ptr[reader], in_ptr[reader + 1]):
                    moment = max(moment, end[in_op[k]])
                push(later_key, later, laters, moment, reader)
                laters += 1
    return last


@kernel
def fill_in_order(x, order, size, usable, turn, target, device):  # type: ignore[no-untyped-def]
    """Fill one device after another along an order, each up to a load.

    What may not go to the device at hand goes where the load is least. Ops of a group follow its
    first one.

    Parameters
    ----------
    x : Instance
    order : (n,) int
        Any.
    size, usable, device
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
                    if (
                        held[d] + size[group] + max(widest[d], work[group, 1])
                        > devices[d, CAPACITY]
                    ):
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


@kernel
def spread_evenly(x, order, size, usable, price, scale, device):  # type: ignore[no-untyped-def]
    """Place each group where its work is cheapest; a device gets dearer with its load.

    Parameters
    ----------
    x : Instance
    order : (n,) int
        Any.
    size, usable, device
        See `place_earliest`.
    price : (m,) float
        Of a unit of work on each device.
    scale : float
        Load by which a device gets e times dearer.

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
    for op in order:
        group = op_table[op, GROUP]
        if home[group] < 0:
            best, best_extra, best_score = -1, 0.0, INF
            for d in range(count):
                if not usable[group, d]:
                    continue
                if held[d] + size[group] + max(widest[d], work[group, 1]) > devices[d, CAPACITY]:
                    continue
                extra = 0.0
                for member in range(group_ptr[group], group_ptr[group + 1]):
                    i = group_op[member]
                    extra += op_time[i, d] * op_table[i, DEMAND]
                extra /= devices[d, LAST_SLOT] - devices[d, FIRST_SLOT]
                # What takes no time at all still spreads by load.
                score = (extra + 1e-9 * scale) * price[d] * np.exp((load[d] - load[0]) / scale)
                if score < best_score:
                    best, best_extra, best_score = d, extra, score
            if best < 0:
                return INF
            home[group] = best
            held[best] += size[group]
            widest[best] = max(widest[best], work[group, 1])
            load[best] += best_extra
        device[op] = home[group]
    return load.max()
