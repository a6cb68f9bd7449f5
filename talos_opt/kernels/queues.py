"""A schedule as a queue of ops for each slot: heads, tails, and the order that they make.

Holds where transfers wait for nothing: no serial links, every device with a copy engine.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from talos_opt.kernels.compiling import part
from talos_opt.kernels.instance import FIRST_SLOT, GROUP, LAST_SLOT, MODEL
from talos_opt.kernels.listing import list_schedule
from talos_opt.kernels.sorting import stable_order

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

INF = np.inf
#: Entries of `Queues.counter`: steps made, the step that last found a better value, the last stamp,
#: random moves that are still to come.
STEP, BETTER, STAMP, WILD = 0, 1, 2, 3
#: Entries of `Queues.value`: of the queues, of the best ones, what the last move was to be worth.
NOW, BEST, EXPECTED = 0, 1, 2
#: Ends that differ by less than this share of the value are the same.
EPS = 1e-9


class Queues(NamedTuple):
    """A schedule as queues, and what the search knows of it; changed in place.

    n ops, s slots of all devices, l lanes: one for the makespan, else one per model.

    Parameters
    ----------
    lane : (n,) int
        Lane of each op.
    weight : (l,) float
        What a unit of each lane's completion costs.
    delay : (2, m, m) float
        Latency and time per byte from device to device, over all hops; infinite without route.
    home : (g,) int
    device, slot : (n,) int
        Slot -1: takes no time, and waits for nobody.
    before, after : (n,) int
        Neighbours in the queue, -1 at its ends.
    first, last : (s,) int
        Ends of each queue, -1 if empty.
    order, place : (n,) int
        A topological order of edges and queues, and its inverse.
    head, head_without : (n,) float
        Earliest start; the same without the op that is taken out.
    tail, tail_without : (n, l) float
        Longest path from an op's end to the end of each lane; minus infinity if none.
    done : (l,) float
        Completion of each lane, without the op taken out.
    held, widest : (m,) int
        Bytes of the groups on each device, and the largest workspace.
    banned : (n,) int
        Step until which an op may not move.
    mark : (n,) int
        Inputs and readers of the op taken out carry its stamp.
    pick : (n,) int
        Critical ops.
    counter : (4,) int
        See `STEP`, `BETTER`, `STAMP`, `WILD`.
    value : (3,) float
        See `NOW`, `BEST`, `EXPECTED`.
    random : (1,) uint64
    """

    lane: Ints
    weight: Floats
    delay: Floats
    home: Ints
    device: Ints
    slot: Ints
    before: Ints
    after: Ints
    first: Ints
    last: Ints
    order: Ints
    place: Ints
    head: Floats
    head_without: Floats
    tail: Floats
    tail_without: Floats
    done: Floats
    held: Ints
    widest: Ints
    banned: Ints
    mark: Ints
    pick: Ints
    counter: Ints
    value: Floats
    random: npt.NDArray[np.uint64]


@part
def unlink(q, op):  # type: ignore[no-untyped-def]
    """Take an op out of its queue."""
    s = q.slot[op]
    if s < 0:
        return
    a, b = q.before[op], q.after[op]
    if a >= 0:
        q.after[a] = b
    else:
        q.first[s] = b
    if b >= 0:
        q.before[b] = a
    else:
        q.last[s] = a


@part
def link(q, op, s, a):  # type: ignore[no-untyped-def]
    """Put an op into a queue behind `a`, or in front of all (-1); slot -1: into none."""
    q.slot[op] = s
    if s < 0:
        q.before[op] = q.after[op] = -1
        return
    b = q.after[a] if a >= 0 else q.first[s]
    q.before[op], q.after[op] = a, b
    if a >= 0:
        q.after[a] = op
    else:
        q.first[s] = op
    if b >= 0:
        q.before[b] = op
    else:
        q.last[s] = op


@part
def sort_topologically(x, q, missing):  # type: ignore[no-untyped-def]
    """Order all ops along edges and queues; return whether there is no cycle."""
    in_ptr, out_ptr, out_op = x.in_ptr, x.out_ptr, x.out_op
    before, after, order, place = q.before, q.after, q.order, q.place
    count = len(order)
    found = 0
    for op in range(count):
        missing[op] = in_ptr[op + 1] - in_ptr[op] + (1 if before[op] >= 0 else 0)
        if missing[op] == 0:
            order[found] = op
            found += 1
    scan = 0
    while scan < found:
        op = order[scan]
        place[op] = scan
        scan += 1
        for e in range(out_ptr[op], out_ptr[op + 1]):
            reader = out_op[e]
            missing[reader] -= 1
            if missing[reader] == 0:
                order[found] = reader
                found += 1
        reader = after[op]
        if reader >= 0:
            missing[reader] -= 1
            if missing[reader] == 0:
                order[found] = reader
                found += 1
    return found == count


@part
def find_heads(x, q, head, begin, out):  # type: ignore[no-untyped-def]
    """Earliest starts from a position of the order on; the op `out` counts for nobody."""
    in_ptr, in_op, in_bytes, time, model = x.in_ptr, x.in_op, x.in_bytes, x.time, x.model
    table, order, device, before, delay = x.op, q.order, q.device, q.before, q.delay
    for position in range(begin, len(order)):
        op = order[position]
        if op == out:
            continue
        d = device[op]
        start = model[table[op, MODEL], 0]
        for e in range(in_ptr[op], in_ptr[op + 1]):
            producer = in_op[e]
            if producer == out:
                continue
            p = device[producer]
            arrival = head[producer] + time[producer, p]
            if p != d:
                arrival += delay[0, p, d] + in_bytes[e] * delay[1, p, d]
            start = max(start, arrival)
        a = before[op]
        if a >= 0:
            start = max(start, head[a] + time[a, d])
        head[op] = start


@part
def find_tails(x, q, tail, begin, out):  # type: ignore[no-untyped-def]
    """Longest paths from ends, from a position of the order back; `out` counts for nobody."""
    out_ptr, out_op, out_bytes, time = x.out_ptr, x.out_op, x.out_bytes, x.time
    order, device, after, delay, lane = q.order, q.device, q.after, q.delay, q.lane
    lanes = tail.shape[1]
    for position in range(begin, -1, -1):
        op = order[position]
        if op == out:
            continue
        d = device[op]
        for k in range(lanes):
            tail[op, k] = -INF
        tail[op, lane[op]] = 0.0
        for e in range(out_ptr[op], out_ptr[op + 1]):
            reader = out_op[e]
            if reader == out:
                continue
            r = device[reader]
            step = time[reader, r]
            if r != d:
                step += delay[0, d, r] + out_bytes[e] * delay[1, d, r]
            for k in range(lanes):
                tail[op, k] = max(tail[op, k], step + tail[reader, k])
        b = after[op]
        if b >= 0:
            step = time[b, d]
            for k in range(lanes):
                tail[op, k] = max(tail[op, k], step + tail[b, k])


@part
def find_done(x, q, head, out):  # type: ignore[no-untyped-def]
    """Completion of each lane, into `done`; return their weighted sum."""
    done, lane, device, time, weight = q.done, q.lane, q.device, x.time, q.weight
    for k in range(len(done)):
        done[k] = 0.0
    for op in range(len(lane)):
        if op != out:
            done[lane[op]] = max(done[lane[op]], head[op] + time[op, device[op]])
    value = 0.0
    for k in range(len(done)):
        value += weight[k] * done[k]
    return value


@part
def refresh(x, q):  # type: ignore[no-untyped-def]
    """Compute heads, tails and the value of the current queues."""
    find_heads(x, q, q.head, 0, -1)
    find_tails(x, q, q.tail, len(q.order) - 1, -1)
    q.value[NOW] = find_done(x, q, q.head, -1)


@part
def _first_free(x, times, q, d):  # type: ignore[no-untyped-def]
    """Slot of a device whose queue ends first."""
    best, free = -1, INF
    for s in range(x.device[d, FIRST_SLOT], x.device[d, LAST_SLOT]):
        end = times.end[q.last[s]] if q.last[s] >= 0 else -INF
        if end < free:
            best, free = s, end
    return best


@part
def load_queues(x, times, q, state, missing, keys):  # type: ignore[no-untyped-def]
    """Make the queues those of the best point's schedule."""
    count, order = len(q.order), state.best_order
    for op in range(count):
        q.device[op] = state.best_home[x.op[op, GROUP]]
        q.banned[op] = 0
    list_schedule(x, times, q.device, order, INF)
    for position in range(count):
        keys[position] = times.start[order[position]]
    ranked = stable_order(keys)
    for s in range(len(q.first)):
        q.first[s] = q.last[s] = -1
    for position in range(count):
        op = order[ranked[position]]
        d = q.device[op]
        s = _first_free(x, times, q, d) if x.time[op, d] > 0 else -1
        link(q, op, s, q.last[s] if s >= 0 else -1)
    for d in range(len(q.held)):
        q.held[d] = q.widest[d] = 0
    for group in range(len(q.home)):
        d = state.best_home[group]
        q.home[group] = d
        q.held[d] += x.group[group, 0]
        q.widest[d] = max(q.widest[d], x.group[group, 1])
    sort_topologically(x, q, missing)
    refresh(x, q)
