"""Tabu search that takes critical ops out of their queues and puts them back where it helps most.

The neighbourhood of Mastrolilli and Gambardella (Effective neighbourhood functions for the
flexible job shop problem, Journal of Scheduling, 2000), here with transfer delays, slots, memory
and several weighted models. A schedule is a queue of ops per slot. With an op taken out, heads
(longest paths to an op's start) and tails (from its end) of all others give the exact value of
every place where it may be put back, each in constant time.

It holds where transfers wait for nothing: no serial links, every device with a copy engine.
"""

from __future__ import annotations

import numpy as np

from talos_opt.kernels.compiling import kernel, part
from talos_opt.kernels.instance import CAPACITY, FIRST_SLOT, GROUP, LAST_SLOT, MODEL
from talos_opt.kernels.listing import list_schedule
from talos_opt.kernels.moves import below, next_random, refit
from talos_opt.kernels.queues import (
    BEST,
    BETTER,
    EPS,
    EXPECTED,
    NOW,
    STAMP,
    STEP,
    WILD,
    find_done,
    find_heads,
    find_tails,
    link,
    load_queues,
    refresh,
    sort_topologically,
    unlink,
)
from talos_opt.kernels.sorting import copy_range, stable_order

INF = np.inf


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
    find_heads(x, q, head_without, q.place[op] + 1, op)
    find_tails(x, q, tail_without, q.place[op] - 1, op)
    find_done(x, q, head_without, op)


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
                    if not through < INF:  # a reader that its tensor cannot reach
                        rank = INF
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
    unlink(q, op)
    q.device[op] = d
    link(q, op, s, a)
    if not sort_topologically(x, q, missing):  # only where rounding hides what must come first
        unlink(q, op)
        q.device[op] = d = old
        link(q, op, old_slot, old_before)
        sort_topologically(x, q, missing)
    if d != old:
        group = x.op[op, GROUP]
        q.home[group] = d
        q.held[old] -= x.group[group, 0]
        q.held[d] += x.group[group, 0]
        q.widest[d] = max(q.widest[d], x.group[group, 1])
        refit(x, q.home, q.widest, old)


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
        unlink(q, op)
        _take_out(x, q, op)
        _best_place(x, q, op, allowed, ready, way, found, wild)
        link(q, op, s, a)
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
            load_queues(x, times, q, state, missing, keys)
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
        refresh(x, q)
        if q.value[NOW] < q.value[BEST] * (1 - EPS):
            q.value[BEST] = q.value[NOW]
            q.counter[BETTER] = now
            _keep(x, times, q, state, keys)
    return steps
