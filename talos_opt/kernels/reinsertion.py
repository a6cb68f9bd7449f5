"""Tabu search that takes critical ops out of their queues and puts them back where it helps most.

The neighbourhood of Mastrolilli and Gambardella (Effective neighbourhood functions for the
flexible job shop problem, Journal of Scheduling, 2000), here with transfer delays, slots, memory
and several weighted models. A schedule is a queue of ops per slot. With an op taken out, heads
(longest paths to an op's start) and tails (from its end) of all others give the exact value of
every place where it may be put back, each in constant time.

It holds where transfers wait for nothing: no serial links, every device with a copy engine.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from talos_opt.kernels.compiling import kernel, part
from talos_opt.kernels.instance import CAPACITY, FIRST_SLOT, GROUP, LAST_SLOT, MODEL
from talos_opt.kernels.listing import list_schedule
from talos_opt.kernels.moves import below, next_random, refit
from talos_opt.kernels.sorting import copy_range, stable_order

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
def _unlink(q, op):  # type: ignore[no-untyped-def]
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
def _link(q, op, s, a):  # type: ignore[no-untyped-def]
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
def _sort_topologically(x, q, missing):  # type: ignore[no-untyped-def]
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
def _find_heads(x, q, head, begin, out):  # type: ignore[no-untyped-def]
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
def _find_tails(x, q, tail, begin, out):  # type: ignore[no-untyped-def]
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
def _find_done(x, q, head, out):  # type: ignore[no-untyped-def]
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
def _refresh(x, q):  # type: ignore[no-untyped-def]
    """Compute heads, tails and the value of the current queues."""
    _find_heads(x, q, q.head, 0, -1)
    _find_tails(x, q, q.tail, len(q.order) - 1, -1)
    q.value[NOW] = _find_done(x, q, q.head, -1)


@part
def _critical_ops(x, q):  # type: ignore[no-untyped-def]
    """Collect the ops that the completion of a lane hangs on; return how many.

    Of several lanes one is drawn, dear ones more often. Completions are up to date.
    """
    done, weight, head, tail, device, time = q.done, q.weight, q.head, q.tail, q.device, x.time
    chosen = 0
    draw = next_random(q.random) * q.value[NOW]
    for k in range(len(done)):
        draw -= weight[k] * done[k]
        if draw < 0:
            chosen = k
            break
    limit = done[chosen] * (1 - EPS)
    count = 0
    for op in range(len(device)):
        length = time[op, device[op]]
        if length > 0 and head[op] + length + tail[op, chosen] >= limit:
            q.pick[count] = op
            count += 1
    return count


@part
def _take_out(x, q, op):  # type: ignore[no-untyped-def]
    """Find heads, tails and completions without an op that has left its queue."""
    head, head_without, tail, tail_without = q.head, q.head_without, q.tail, q.tail_without
    for other in range(len(head)):
        head_without[other] = head[other]
        for k in range(tail.shape[1]):
            tail_without[other, k] = tail[other, k]
    _find_heads(x, q, head_without, q.place[op] + 1, op)
    _find_tails(x, q, tail_without, q.place[op] - 1, op)
    _find_done(x, q, head_without, op)


@part
def _mark_neighbours(x, q, op):  # type: ignore[no-untyped-def]
    """Mark inputs (stamp) and readers (stamp + 1) of an op that has been taken out.

    Returns
    -------
    (int, float, float)
        The stamp. What must come before the op ends no later than the second: the latest start
        of an input; what must come after it starts no earlier than the third: the earliest end
        of a reader.
    """
    in_ptr, in_op, out_ptr, out_op = x.in_ptr, x.in_op, x.out_ptr, x.out_op
    head, device, time, mark = q.head_without, q.device, x.time, q.mark
    q.counter[STAMP] += 2
    stamp = q.counter[STAMP]
    latest, earliest = -INF, INF
    for e in range(in_ptr[op], in_ptr[op + 1]):
        mark[in_op[e]] = stamp
        latest = max(latest, head[in_op[e]])
    for e in range(out_ptr[op], out_ptr[op + 1]):
        reader = out_op[e]
        mark[reader] = stamp + 1
        earliest = min(earliest, head[reader] + time[reader, device[reader]])
    return stamp, latest, earliest


@part
def _find_ways(x, q, op, allowed, ready, way):  # type: ignore[no-untyped-def]
    """Find when an op could start on each device for its inputs, and what would follow its end.

    Parameters
    ----------
    ready : (m,) float, filled
        Infinite where it may not go, or where there is no room for it.
    way : (m, l) float, filled
    """
    # Arrays are bound to names outside all loops: to access a member of a named tuple takes
    # longer than what is done with it.
    in_ptr, in_op, in_bytes, time, devices = x.in_ptr, x.in_op, x.in_bytes, x.time, x.device
    out_ptr, out_op, out_bytes = x.out_ptr, x.out_op, x.out_bytes
    delay, device, head, tail = q.delay, q.device, q.head_without, q.tail_without
    held, widest = q.held, q.widest
    group, release, own = x.op[op, GROUP], x.model[x.op[op, MODEL], 0], q.lane[op]
    size, workspace = x.group[group, 0], x.group[group, 1]
    alone = x.group_ptr[group + 1] - x.group_ptr[group] == 1
    for d in range(len(devices)):
        ready[d] = INF
        if d != device[op]:
            room = devices[d, CAPACITY] - held[d] - size
            if not alone or not allowed[group, d] or max(widest[d], workspace) > room:
                continue
        start = release
        for e in range(in_ptr[op], in_ptr[op + 1]):
            producer = in_op[e]
            p = device[producer]
            arrival = head[producer] + time[producer, p]
            if p != d:
                arrival += delay[0, p, d] + in_bytes[e] * delay[1, p, d]
            start = max(start, arrival)
        ready[d] = start
        for k in range(way.shape[1]):
            way[d, k] = -INF
        way[d, own] = 0.0
        for e in range(out_ptr[op], out_ptr[op + 1]):
            reader = out_op[e]
            r = device[reader]
            step = time[reader, r]
            if r != d:
                step += delay[0, d, r] + out_bytes[e] * delay[1, d, r]
            for k in range(way.shape[1]):
                way[d, k] = max(way[d, k], step + tail[reader, k])


@part
def _best_place(x, q, op, allowed, ready, way, found, wild):  # type: ignore[no-untyped-def]
    """Find the best place for an op that has been taken out.

    Parameters
    ----------
    ready, way : (m,), (m, l) float
        Working space.
    found : (6,) float
        The best place so far: value, length of the longest path through the op, op, device, slot,
        op in front. Replaced by any that is better.
    wild : bool
        Whether any place will do: a random one is as good as the best.
    """
    time, devices, head, tail, mark = x.time, x.device, q.head_without, q.tail_without, q.mark
    weight, done, first, after, random = q.weight, q.done, q.first, q.after, q.random
    own_slot, own_before = q.slot[op], q.before[op]
    stamp, latest, earliest = _mark_neighbours(x, q, op)
    _find_ways(x, q, op, allowed, ready, way)
    for d in range(len(devices)):
        if ready[d] == INF:
            continue
        length = time[op, d]
        begin, end = devices[d, FIRST_SLOT], devices[d, LAST_SLOT]
        for s in range(begin, end if length > 0 else begin + 1):
            a, b = -1, first[s] if length > 0 else -1
            while True:
                # Here the op would stand behind a and in front of b.
                if a >= 0 and mark[a] != stamp and (mark[a] == stamp + 1 or head[a] >= earliest):
                    break  # a may have to wait for it, and so may all that follow
                behind = b >= 0 and (mark[b] == stamp or head[b] + time[b, d] <= latest)
                if not behind and (s != own_slot or a != own_before):
                    start = ready[d] if a < 0 else max(ready[d], head[a] + time[a, d])
                    value, through = 0.0, 0.0
                    for k in range(len(weight)):
                        path = way[d, k] if b < 0 else max(way[d, k], time[b, d] + tail[b, k])
                        if path > -INF:
                            path += start + length
                            through += weight[k] * path
                        value += weight[k] * max(done[k], path)
                    rank = -next_random(random) if wild else value
                    if rank < found[0] or (rank == found[0] and through < found[1]):
                        found[0], found[1] = rank, through
                        found[2], found[3], found[4], found[5] = op, d, s, a
                        q.value[EXPECTED] = value
                        if length == 0.0:
                            found[4] = -1
                if b < 0:
                    break
                a, b = b, after[b]


@part
def _apply(x, q, found, missing):  # type: ignore[no-untyped-def]
    """Move an op to the place that was found."""
    op, d, s, a = int(found[2]), int(found[3]), int(found[4]), int(found[5])
    old, old_slot, old_before = q.device[op], q.slot[op], q.before[op]
    _unlink(q, op)
    q.device[op] = d
    _link(q, op, s, a)
    if not _sort_topologically(x, q, missing):  # only where rounding hides what must come first
        _unlink(q, op)
        q.device[op] = d = old
        _link(q, op, old_slot, old_before)
        _sort_topologically(x, q, missing)
    if d != old:
        group = x.op[op, GROUP]
        q.home[group] = d
        q.held[old] -= x.group[group, 0]
        q.held[d] += x.group[group, 0]
        q.widest[d] = max(q.widest[d], x.group[group, 1])
        refit(x, q.home, q.widest, old)


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
def _load(x, times, q, state, missing, keys):  # type: ignore[no-untyped-def]
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
        _link(q, op, s, q.last[s] if s >= 0 else -1)
    for d in range(len(q.held)):
        q.held[d] = q.widest[d] = 0
    for group in range(len(q.home)):
        d = state.best_home[group]
        q.home[group] = d
        q.held[d] += x.group[group, 0]
        q.widest[d] = max(q.widest[d], x.group[group, 1])
    _sort_topologically(x, q, missing)
    _refresh(x, q)


@part
def _keep(x, times, q, state, keys):  # type: ignore[no-untyped-def]
    """Value the queues by a pass, and keep them in `state` if they are the best."""
    count = len(q.order)
    for k in range(count):
        keys[k] = q.head[q.order[k]]
    ranked = stable_order(keys)
    for k in range(count):
        state.order[k] = q.order[ranked[k]]
    value = list_schedule(x, times, q.device, state.order, INF)
    if value < state.value[2]:
        state.value[2] = value
        copy_range(state.best_home, 0, q.home, 0, len(q.home))
        copy_range(state.best_order, 0, state.order, 0, count)


@part
def _choose(x, q, allowed, sample, wild, ready, way, found):  # type: ignore[no-untyped-def]
    """Look at some critical ops and find the best move of one that may move; return how many.

    An op that moved lately may move only if that gives the best value of all.
    """
    critical = _critical_ops(x, q)
    found[0] = found[1] = INF
    found[2] = -1
    best = np.empty(len(found))
    for k in range(min(sample, critical)):
        other = k + below(q.random, critical - k)
        op = q.pick[other]
        q.pick[other] = q.pick[k]
        expected = q.value[EXPECTED]
        copy_range(best, 0, found, 0, len(found))
        s, a = q.slot[op], q.before[op]
        _unlink(q, op)
        _take_out(x, q, op)
        _best_place(x, q, op, allowed, ready, way, found, wild)
        _link(q, op, s, a)
        banned = q.banned[op] > q.counter[STEP]
        if found[2] == op and banned and not found[0] < q.value[BEST] * (1 - EPS):
            q.value[EXPECTED] = expected
            copy_range(found, 0, best, 0, len(found))
    return critical


@kernel
def reinsert(x, times, q, state, allowed, steps, sample, patience, kick, fresh):  # type: ignore[no-untyped-def]
    """Make a number of steps of tabu search.

    Parameters
    ----------
    x : Instance
    times : Times
    q : Queues
    state : State
        Its best point, which must keep to memory and routes, is where the search starts and what
        it improves. Its order is overwritten.
    allowed : (g, m) bool
    steps : int
    sample : int
        Critical ops that a step looks at.
    patience : int
        Steps without a better value after which the search goes back to the best point.
    kick : int
        Random moves that follow.
    fresh : bool
        Whether to start from the best point, else from the queues as they are.

    Returns
    -------
    int
        Steps made; fewer if nothing can be moved.
    """
    count = len(q.order)
    missing = np.empty(count, dtype=np.int64)
    keys, found = np.empty(count), np.empty(6)
    ready, way = np.empty(len(q.held)), np.empty((len(q.held), len(q.weight)))
    for step in range(steps):
        if fresh or q.counter[STEP] - q.counter[BETTER] > patience:
            _load(x, times, q, state, missing, keys)
            q.counter[WILD] = 0 if fresh else kick
            q.counter[STEP] = q.counter[BETTER] = 0
            q.value[BEST] = q.value[NOW]
            fresh = False
        q.counter[STEP] += 1
        now = q.counter[STEP]
        wild = q.counter[WILD] > 0
        critical = _choose(x, q, allowed, sample, wild, ready, way, found)
        if critical == 0:
            return step
        if found[2] < 0:
            continue
        op = int(found[2])
        q.counter[WILD] -= 1 if wild else 0
        q.banned[op] = now + 4 + below(q.random, 4 + min(critical, 40))
        _apply(x, q, found, missing)
        _refresh(x, q)
        if q.value[NOW] < q.value[BEST] * (1 - EPS):
            q.value[BEST] = q.value[NOW]
            q.counter[BETTER] = now
            _keep(x, times, q, state, keys)
    return steps
