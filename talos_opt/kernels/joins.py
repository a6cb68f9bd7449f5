"""Kernel of the join bound: earliest starts where inputs come late from any other device.

The argument is in docs/bounds.md, "Joins".
"""

from __future__ import annotations

import numpy as np

from talos_opt.kernels.compiling import kernel, part
from talos_opt.kernels.heaps import pop, push

INF = np.inf
#: Share of two times within which they count as equal.
CLOSE = 1e-9
#: Times that one threshold is raised at most, and ops that are looked at for it: all of them
#: prove what they prove.
MOST_ROUNDS, MOST_OPS = 30, 1000
#: Inputs that are looked at for one threshold before the last round.
MOST_VISITS = 20_000


@kernel
def raise_starts(ops, place, edges, bytes_of, link, time, load, held, capacity, start, arrive):  # type: ignore[no-untyped-def]
    """Raise earliest starts of some ops, which come in topological order.

    Parameters
    ----------
    ops : (k,) int
        Ops to look at, of all n; those before them have been.
    place : (n,) int
        Position of each op in the order.
    edges : tuple of int arrays
        For readers: pointers (n + 1,), producers (e,), numbers (e,); for producers: pointers
        (n + 1,), readers (e,), numbers (e,).
    bytes_of : (e,) int
        By number of the edge.
    link : (2, m, m) float
        Latency of a route, and its time per byte; infinite where there is none.
    time, load : (n, m) float
        Time of each op, infinite where it may not go; and its share of the device in that time.
    held : tuple of (n,) int and (g,) int
        Group of each op, and the bytes that each group holds.
    capacity : (m,) int
    start : (n, m) float
        Known earliest starts; raised.
    arrive : (e, m) float
        Earliest time at which each edge's tensor reaches a device from another one; written.
    """
    in_ptr, in_op, in_edge, out_ptr, out_op, out_edge = edges
    group, group_bytes = held
    count, devices = time.shape
    stamp = np.full(count, -1, dtype=np.int64)
    group_stamp = np.full(len(group_bytes), -1, dtype=np.int64)
    due = np.zeros(count)
    found = np.empty(count, dtype=np.int64)
    left = np.empty(count)
    keys, heap = np.empty(count), np.empty(count, dtype=np.int64)
    turn = 0
    for v in ops:
        for d in range(devices):
            at = start[v, d]
            if time[v, d] == INF or at == INF:
                start[v, d] = INF
                continue
            late = 0
            for k in range(in_ptr[v], in_ptr[v + 1]):
                u = in_op[k]
                here = start[u, d] + time[u, d]
                there = arrive[in_edge[k], d]
                at = max(at, min(here, there))
                if there > at:
                    late += 1
            rounds = visits = 0
            while late > 0 and at < INF and rounds < MOST_ROUNDS and visits < MOST_VISITS:
                rounds += 1
                turn += 1
                size, delta, total = 0, INF, 0
                waiting = 0
                # v itself, then all that has to run here, readers before producers.
                reader, limit = v, at
                while True:
                    visits += in_ptr[reader + 1] - in_ptr[reader]
                    for k in range(in_ptr[reader], in_ptr[reader + 1]):
                        u = in_op[k]
                        gap = arrive[in_edge[k], d] - limit
                        if gap <= CLOSE * (abs(limit) + abs(at)):
                            continue
                        delta = min(delta, gap)
                        if stamp[u] != turn:
                            if size + waiting >= MOST_OPS or visits > 2 * MOST_VISITS:
                                continue
                            stamp[u] = turn
                            due[u] = limit
                            push(keys, heap, waiting, -place[u], u)
                            waiting += 1
                        due[u] = min(due[u], limit)
                    if waiting == 0:
                        break
                    reader = pop(keys, heap, waiting)
                    waiting -= 1
                    found[size] = reader
                    size += 1
                    limit = due[reader] - time[reader, d]
                    if group_stamp[group[reader]] != turn:
                        group_stamp[group[reader]] = turn
                        total += group_bytes[group[reader]]
                if size == 0:
                    break
                if group_stamp[group[v]] != turn:
                    total += group_bytes[group[v]]
                if total > capacity[d]:
                    at += delta
                    continue
                over = lateness(
                    found, size, start[:, d], time[:, d], load[:, d], due, keys, heap, left
                )
                if over <= CLOSE * abs(at):
                    break
                at += min(over, delta)
            start[v, d] = at
        last = -1
        for k in range(out_ptr[v], out_ptr[v + 1]):
            e = out_edge[k]
            if group[out_op[k]] == group[v]:
                for d in range(devices):
                    arrive[e, d] = INF  # they are on one device
                continue
            if last >= 0 and bytes_of[e] == bytes_of[last]:
                for d in range(devices):
                    arrive[e, d] = arrive[last, d]
            else:
                send(start[v], time[v], link, bytes_of[e], arrive[e])
            last = e


@part
def send(start, time, link, size, arrive):  # type: ignore[no-untyped-def]
    """Write when a tensor reaches each device from another one at the earliest."""
    devices = len(time)
    for d in range(devices):
        arrive[d] = INF
    for a in range(devices):
        end = start[a] + time[a]
        if end == INF:
            continue
        for d in range(devices):
            if d != a:
                arrive[d] = min(arrive[d], end + link[0, a, d] + size * link[1, a, d])


@part
def lateness(found, size, start, time, load, due, keys, heap, left):  # type: ignore[no-untyped-def]
    """Return by how much one machine misses the worst due date, if ops may be interrupted.

    Jackson's rule: whatever is there and due first; no schedule is less late.
    """
    over = -INF
    # The heap first puts `found` in the order of earliest starts, then serves what is there.
    for k in range(size):
        push(keys, heap, k, start[found[k]], found[k])
        over = max(over, start[found[k]] + time[found[k]] - due[found[k]])
    for k in range(size):
        found[k] = pop(keys, heap, size - k)
    now, waiting, k = 0.0, 0, 0
    while k < size or waiting > 0:
        if waiting == 0:
            now = max(now, start[found[k]])
        while k < size and start[found[k]] <= now:
            left[found[k]] = load[found[k]]
            push(keys, heap, waiting, due[found[k]], found[k])
            waiting += 1
            k += 1
        op = heap[0]
        until = now + left[op]
        if k < size and start[found[k]] < until:
            left[op] -= start[found[k]] - now
            now = start[found[k]]
            continue
        now = until
        over = max(over, now - due[op])
        pop(keys, heap, waiting)
        waiting -= 1
    return over
