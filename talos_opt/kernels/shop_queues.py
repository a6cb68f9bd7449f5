"""The queues of a shop: their order, heads and tails, and how an op moves.

The graph of edges and queues gives heads (longest paths to the start of each op) and tails (from
its end). Holds where transfers wait for nothing: no serial links, every device with a copy engine;
and where ops hold one slot each.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from talos_opt.kernels.compiling import part
from talos_opt.kernels.instance import FIRST_SLOT, GROUP, LAST_SLOT, MODEL
from talos_opt.kernels.moves import refit

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

INF = np.inf
#: Entries of `Shop.counter`: steps since the start; the step that last found a better value.
STEP, BETTER = 0, 1
#: Entries of `Shop.value`: of the queues, and of the best ones since the start.
NOW, BEST = 0, 1
#: Columns of `Shop.place`.
DEVICE, SLOT, AT = 0, 1, 2
#: Columns of `Shop.point`.
HEAD, END, SPAN, READY = 0, 1, 2, 3
#: Entries of `Shop.style`: ops of the path that a step looks at; whether the shorter of the paths
#: through an op decides between moves of the same score; steps for which an op may not go back to a
#: device, or move on it, and as many that are drawn beside; whether it may not go anywhere.
SAMPLE, SHORTER, TENURE, STAYS = 0, 1, 2, 3


class Shop(NamedTuple):
    """A schedule as queues, and what the search knows of it; changed in place.

    n ops, m devices, s slots of all devices, l lanes: one for the makespan, else one per model.

    Parameters
    ----------
    lane : (n,) int
        Lane of each op.
    weight : (l,) float
        What a unit of each lane's completion costs.
    delay : (2, m, m) float
        Latency and time per byte from device to device, over all hops; infinite without route.
    rule : (2,) int
        Whether devices limit memory, and whether transfers take time.
    style : (4,) int
        See `SAMPLE`.
    choice_ptr, choice, choice_time : (n + 1,), (c,), (c,)
        Devices that each op may run on, the quickest first, and how long it takes there.
    row_ptr, row : (s + 1,), (r,) int
        Room for the queue of each slot, and the ops in it.
    length : (s,) int
        Ops in each queue.
    place : (n, 3) int
        Device, slot and position of each op. Slot -1: takes no time, and waits for nobody.
    point : (n, 4) float
        When each op starts and ends, how long it takes, when its inputs are there.
    after, reach : (n, l) float
        Longest path from an op's end to the end of each lane by its readers, and from its start by
        all; minus infinity if none.
    done : (l,) float
        Completion of each lane.
    order, rank : (n,) int
        A topological order of edges and queues, and its inverse.
    mark, moved : (n,) int
        Working space.
    home, held, widest : (g,), (m,), (m,) int
        Device of each group; bytes and largest workspace on each device.
    banned : (c,) int
        Step until which an op may not move to a device.
    pick : (n,) int
        A longest path.
    first_device, first_order : (n,) int
        Where to start.
    best_device, best_head : (n,)
        Devices and starts of the best point since then.
    counter, value : (2,)
        See `STEP` and `NOW`.
    random : (1,) uint64
    """

    lane: Ints
    weight: Floats
    delay: Floats
    rule: Ints
    style: Ints
    choice_ptr: Ints
    choice: Ints
    choice_time: Floats
    row_ptr: Ints
    row: Ints
    length: Ints
    place: Ints
    point: Floats
    after: Floats
    reach: Floats
    done: Floats
    order: Ints
    rank: Ints
    mark: Ints
    moved: Ints
    home: Ints
    held: Ints
    widest: Ints
    banned: Ints
    pick: Ints
    first_device: Ints
    first_order: Ints
    best_device: Ints
    best_head: Floats
    counter: Ints
    value: Floats
    random: npt.NDArray[np.uint64]


# Parts that are called often take the arrays that they need, and no tuple: to access a member of
# a named tuple, or to hand on dozens of arrays, takes longer than what is done with them.


@part
def _put(row_ptr, row, length, place, op, s, at):  # type: ignore[no-untyped-def]
    """Put an op into a queue; slot -1: into none."""
    place[op, SLOT], place[op, AT] = s, at
    if s < 0:
        return
    first = row_ptr[s]
    for k in range(length[s], at, -1):
        other = row[first + k - 1]
        row[first + k] = other
        place[other, AT] = k
    row[first + at] = op
    length[s] += 1


@part
def _take(row_ptr, row, length, place, op):  # type: ignore[no-untyped-def]
    """Take an op out of its queue."""
    s = place[op, SLOT]
    if s < 0:
        return
    first = row_ptr[s]
    length[s] -= 1
    for k in range(place[op, AT], length[s]):
        other = row[first + k + 1]
        row[first + k] = other
        place[other, AT] = k


@part
def arrival_at(in_ptr, in_op, in_bytes, point, place, delay, op, d, release):  # type: ignore[no-untyped-def]
    """When an op's inputs are on a device."""
    start = release
    for e in range(in_ptr[op], in_ptr[op + 1]):
        producer = in_op[e]
        p = place[producer, DEVICE]
        arrival = point[producer, END]
        if p != d:
            arrival += delay[0, p, d] + in_bytes[e] * delay[1, p, d]
        start = max(start, arrival)
    return start


@part
def load(x, q):  # type: ignore[no-untyped-def]
    """Make the queues those of a list schedule in the order to start with."""
    place, point, row, row_ptr, length = q.place, q.point, q.row, q.row_ptr, q.length
    in_ptr, in_op, in_bytes, table, time = x.in_ptr, x.in_op, x.in_bytes, x.op, x.time
    model, devices, size, delay, home = x.model, x.device, x.group, q.delay, q.home
    held, widest = q.held, q.widest
    for s in range(len(length)):
        length[s] = 0
    for op in q.first_order:
        d = q.first_device[op]
        place[op, DEVICE] = home[table[op, GROUP]] = d
        span = time[op, d]
        start = arrival_at(
            in_ptr, in_op, in_bytes, point, place, delay, op, d, model[table[op, MODEL], 0]
        )
        best, chosen = INF, -1
        if span > 0:
            for s in range(devices[d, FIRST_SLOT], devices[d, LAST_SLOT]):
                free = 0.0
                if length[s] > 0:
                    free = point[row[row_ptr[s] + length[s] - 1], END]
                if free < best:
                    best, chosen = free, s
            start = max(start, best)
        point[op, HEAD], point[op, END], point[op, SPAN] = start, start + span, span
        _put(row_ptr, row, length, place, op, chosen, length[chosen] if chosen >= 0 else 0)
    for d in range(len(held)):
        held[d] = widest[d] = 0
    for group in range(len(home)):
        d = home[group]
        held[d] += size[group, 0]
        widest[d] = max(widest[d], size[group, 1])
    for k in range(len(q.banned)):
        q.banned[k] = 0


@part
def sort(x, q):  # type: ignore[no-untyped-def]
    """Order all ops along edges and queues."""
    in_ptr, out_ptr, out_op = x.in_ptr, x.out_ptr, x.out_op
    order, rank, mark, place, row, row_ptr = q.order, q.rank, q.mark, q.place, q.row, q.row_ptr
    length = q.length
    found = 0
    for op in range(len(order)):
        mark[op] = in_ptr[op + 1] - in_ptr[op]
        if place[op, AT] > 0:
            mark[op] += 1
        if mark[op] == 0:
            order[found] = op
            found += 1
    scan = 0
    while scan < found:
        op = order[scan]
        rank[op] = scan
        scan += 1
        s, at = place[op, SLOT], place[op, AT]
        if s >= 0 and at + 1 < length[s]:
            b = row[row_ptr[s] + at + 1]
            mark[b] -= 1
            if mark[b] == 0:
                order[found] = b
                found += 1
        for e in range(out_ptr[op], out_ptr[op + 1]):
            reader = out_op[e]
            mark[reader] -= 1
            if mark[reader] == 0:
                order[found] = reader
                found += 1


@part
def neighbour(q, op, step):  # type: ignore[no-untyped-def]
    """Return who is beside an op in its queue; -1: nobody."""
    s, at = q.place[op, SLOT], q.place[op, AT] + step
    if s < 0 or at < 0 or at >= q.length[s]:
        return -1
    return q.row[q.row_ptr[s] + at]


@part
def _shift(  # type: ignore[no-untyped-def]
    ptr, beyond, order, rank, mark, spare, place, row, row_ptr, length, op, goal, step, stamp
):
    """Put an op beyond another in the order, with all that is bound to it; False if that one is.

    Parameters
    ----------
    ptr, beyond : int
        Whom ops are bound to: with step 1 those that they read, with -1 their readers.
    goal : int
        The op to pass.
    step : int
        1 to put the op behind it, -1 in front.
    """
    first, last = rank[op], rank[goal]
    mark[op] = stamp
    for k in range(first + step, last + step, step):
        other = order[k]
        s, at = place[other, SLOT], place[other, AT] - step
        bound = False
        if s >= 0 and at >= 0 and at < length[s]:
            bound = mark[row[row_ptr[s] + at]] == stamp
        for e in range(ptr[other], ptr[other + 1]):
            bound = bound or mark[beyond[e]] == stamp
        if bound:
            if other == goal:
                return False
            mark[other] = stamp
    kept, moved = first, 0
    for k in range(first, last + step, step):
        other = order[k]
        if mark[other] == stamp:
            spare[moved] = other
            moved += 1
        else:
            order[kept], rank[other] = other, kept
            kept += step
    for k in range(moved):
        at = kept + step * k
        order[at], rank[spare[k]] = spare[k], at
    return True


@part
def reorder(x, q, op):  # type: ignore[no-untyped-def]
    """Make the order that of the queues, after an op has moved; False if they have a cycle."""
    rank, stamp = q.rank, q.counter[STEP]
    a, b = neighbour(q, op, -1), neighbour(q, op, 1)
    if a >= 0 and rank[a] > rank[op]:
        return _shift(
            x.in_ptr, x.in_op, q.order, rank, q.mark, q.moved, q.place, q.row, q.row_ptr,
            q.length, op, a, 1, stamp,
        )  # fmt: skip
    if b >= 0 and rank[b] < rank[op]:
        return _shift(
            x.out_ptr, x.out_op, q.order, rank, q.mark, q.moved, q.place, q.row, q.row_ptr,
            q.length, op, b, -1, stamp,
        )  # fmt: skip
    return True


@part
def find_heads(x, q, begin):  # type: ignore[no-untyped-def]
    """Find heads from a position of the order on, and all completions; return the value."""
    in_ptr, in_op, in_bytes = x.in_ptr, x.in_op, x.in_bytes
    order, place, row, row_ptr = q.order, q.place, q.row, q.row_ptr
    point, delay, table, model = q.point, q.delay, x.op, x.model
    lane, done, weight, moving = q.lane, q.done, q.weight, q.rule[1] > 0
    for position in range(begin, len(order)):
        op = order[position]
        start = model[table[op, MODEL], 0]
        if moving:
            start = arrival_at(
                in_ptr, in_op, in_bytes, point, place, delay, op, place[op, DEVICE], start
            )
        else:
            for e in range(in_ptr[op], in_ptr[op + 1]):
                start = max(start, point[in_op[e], END])
        point[op, READY] = start
        at = place[op, AT]
        if at > 0:
            start = max(start, point[row[row_ptr[place[op, SLOT]] + at - 1], END])
        point[op, HEAD], point[op, END] = start, start + point[op, SPAN]
    for k in range(len(done)):
        done[k] = 0.0
    for op in range(len(lane)):
        done[lane[op]] = max(done[lane[op]], point[op, END])
    value = 0.0
    for k in range(len(done)):
        value += weight[k] * done[k]
    return value


@part
def find_after(out_ptr, out_op, out_bytes, place, reach, delay, op, d, own, after, to):  # type: ignore[no-untyped-def]
    """Find the longest paths from an op's end by its readers, if it is on a device."""
    lanes = after.shape[1]
    for k in range(lanes):
        after[to, k] = -INF
    after[to, own] = 0.0
    for e in range(out_ptr[op], out_ptr[op + 1]):
        reader = out_op[e]
        r, step = place[reader, DEVICE], 0.0
        if r != d:
            step = delay[0, d, r] + out_bytes[e] * delay[1, d, r]
        for k in range(lanes):
            after[to, k] = max(after[to, k], step + reach[reader, k])


@part
def find_tails(x, q, begin):  # type: ignore[no-untyped-def]
    """Find longest paths to the ends, from a position of the order back."""
    out_ptr, out_op, out_bytes = x.out_ptr, x.out_op, x.out_bytes
    order, place, row, row_ptr, length = q.order, q.place, q.row, q.row_ptr, q.length
    after, reach, point, delay, lane = q.after, q.reach, q.point, q.delay, q.lane
    lanes, simple = after.shape[1], after.shape[1] == 1 and q.rule[1] == 0
    for position in range(begin, -1, -1):
        op = order[position]
        s, at, b = place[op, SLOT], place[op, AT], -1
        if s >= 0 and at + 1 < length[s]:
            b = row[row_ptr[s] + at + 1]
        if simple:  # as below, in half the time
            tail = 0.0
            for e in range(out_ptr[op], out_ptr[op + 1]):
                tail = max(tail, reach[out_op[e], 0])
            after[op, 0] = tail
            if b >= 0:
                tail = max(tail, reach[b, 0])
            reach[op, 0] = point[op, SPAN] + tail
            continue
        find_after(
            out_ptr, out_op, out_bytes, place, reach, delay, op, place[op, DEVICE], lane[op],
            after, op,
        )  # fmt: skip
        for k in range(lanes):
            tail = after[op, k]
            if b >= 0:
                tail = max(tail, reach[b, k])
            reach[op, k] = point[op, SPAN] + tail


@part
def move(x, q, op, d, s, at):  # type: ignore[no-untyped-def]
    """Put an op elsewhere."""
    old = q.place[op, DEVICE]
    _take(q.row_ptr, q.row, q.length, q.place, op)
    q.place[op, DEVICE] = d
    q.point[op, SPAN] = x.time[op, d]
    _put(q.row_ptr, q.row, q.length, q.place, op, s, at)
    if d != old:
        group = x.op[op, GROUP]
        q.home[group] = d
        if q.rule[0]:
            q.held[old] -= x.group[group, 0]
            q.held[d] += x.group[group, 0]
            q.widest[d] = max(q.widest[d], x.group[group, 1])
            refit(x, q.home, q.widest, old)
