"""Dispatching: a device that is free takes the most urgent op that is ready there."""

from __future__ import annotations

import numpy as np

from talos_opt.kernels.compiling import kernel, part
from talos_opt.kernels.instance import DEMAND, FIRST_SLOT, LAST_SLOT, MODEL, VIA
from talos_opt.kernels.sorting import sort_few

INF = np.inf


@part
def push(keys, ops, base, count, key, op):  # type: ignore[no-untyped-def]
    """Put an op on the binary heap ``ops[base:base + count]``, smallest key first."""
    at = count
    while at > 0:
        above = (at - 1) >> 1
        if keys[base + above] <= key:
            break
        keys[base + at], ops[base + at] = keys[base + above], ops[base + above]
        at = above
    keys[base + at], ops[base + at] = key, op


@part
def pop(keys, ops, base, count):  # type: ignore[no-untyped-def]
    """Take the op with the smallest key off a heap, and return it."""
    top = ops[base]
    count -= 1
    key, op = keys[base + count], ops[base + count]
    at = 0
    while True:
        child = 2 * at + 1
        if child >= count:
            break
        if child + 1 < count and keys[base + child + 1] < keys[base + child]:
            child += 1
        if key <= keys[base + child]:
            break
        keys[base + at], ops[base + at] = keys[base + child], ops[base + child]
        at = child
    keys[base + at], ops[base + at] = key, op
    return top


@kernel
def dispatch(x, device, urgency):  # type: ignore[no-untyped-def]
    """Return the ops by start, if no device idles while an op is ready there (n,).

    Links are taken as free at any time; the order is one for `list_schedule`.

    Parameters
    ----------
    x : Instance
    device : (n,) int
        Placement, with a route for every tensor.
    urgency : (n,) float
        Smaller first.
    """
    op_table, op_time, in_ptr = x.op, x.time, x.in_ptr
    out_ptr, out_op, out_bytes = x.out_ptr, x.out_op, x.out_bytes
    devices, link, route, model = x.device, x.link, x.route, x.model
    count, lines = len(device), len(devices)
    base = np.zeros(lines + 1, dtype=np.int64)
    for op in range(count):
        base[device[op] + 1] += 1
    for d in range(lines):
        base[d + 1] += base[d]
    # Per device: ops that will be ready, by when; and ops that are ready, by urgency.
    coming, coming_key = np.empty(count, dtype=np.int64), np.empty(count)
    waiting, waiting_key = np.empty(count, dtype=np.int64), np.empty(count)
    come, wait = np.zeros(lines, dtype=np.int64), np.zeros(lines, dtype=np.int64)
    slot = np.zeros(devices[lines - 1, LAST_SLOT])
    free = np.zeros(lines)
    missing = np.empty(count, dtype=np.int64)
    ready = np.empty(count)
    for op in range(count):
        missing[op] = in_ptr[op + 1] - in_ptr[op]
        ready[op] = model[op_table[op, MODEL], 0]
        if missing[op] == 0:
            d = device[op]
            push(coming_key, coming, base[d], come[d], ready[op], op)
            come[d] += 1
    order = np.empty(count, dtype=np.int64)
    for position in range(count):
        here, now = -1, INF
        for d in range(lines):
            if wait[d] > 0:
                moment = free[d]
            elif come[d] > 0:
                moment = max(free[d], coming_key[base[d]])
            else:
                continue
            if moment < now:
                here, now = d, moment
        while come[here] > 0 and coming_key[base[here]] <= now:
            op = pop(coming_key, coming, base[here], come[here])
            come[here] -= 1
            push(waiting_key, waiting, base[here], wait[here], urgency[op], op)
            wait[here] += 1
        op = pop(waiting_key, waiting, base[here], wait[here])
        wait[here] -= 1
        order[position] = op
        first, last, demand = devices[here, FIRST_SLOT], devices[here, LAST_SLOT], op_table[op, DEMAND]
        end = now + op_time[op, here]
        if end > now:
            sort_few(slot, first, last)
            end = max(now, slot[first + demand - 1]) + op_time[op, here]
            for s in range(first, first + demand):
                slot[s] = end
            sort_few(slot, first, last)
            free[here] = slot[first]
        for e in range(out_ptr[op], out_ptr[op + 1]):
            reader = out_op[e]
            there = device[reader]
            arrival = end
            if there != here:
                origin = route[VIA, here, there]
                if origin < 0:
                    origin = here
                else:
                    arrival += link[0, here, origin] + out_bytes[e] * link[1, here, origin]
                arrival += link[0, origin, there] + out_bytes[e] * link[1, origin, there]
            ready[reader] = max(ready[reader], arrival)
            missing[reader] -= 1
            if missing[reader] == 0:
                push(coming_key, coming, base[there], come[there], ready[reader], reader)
                come[there] += 1
    return order
