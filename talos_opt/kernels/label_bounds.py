"""Lower bounds on what a label can still become."""

from __future__ import annotations

import numpy as np

from talos_opt.kernels.compiling import part
from talos_opt.kernels.label_state import INF, earliest, offsets, positions
from talos_opt.kernels.sorting import copy_range


@part
def lower_bound(row, i, now, steps, facts, next_inputs, next_from):  # type: ignore[no-untyped-def]
    """Objective so far, and for each open model the longest path that is still ahead."""
    arrivals, sinks, _, _, _ = offsets(now, i, facts)
    least = np.zeros(len(facts.release))
    for s in range(now.sink_ptr[i], now.sink_ptr[i + 1]):
        least[now.sinks[s]] = row[sinks + s - now.sink_ptr[i]]
    for k in range(steps.next_ptr[i], steps.next_ptr[i + 1]):
        op = steps.next_ops[k]
        inputs = next_inputs[
            next_from[k - steps.next_ptr[i]] : next_from[k - steps.next_ptr[i] + 1]
        ]
        best = INF
        for d in range(facts.time.shape[1]):
            if facts.time[op, d] < INF:
                start = max(facts.head[op, d], earliest(row, op, d, arrivals, inputs, facts))
                best = min(best, start + facts.time[op, d] + facts.tail[op, d])
        owner = facts.model[op]
        least[owner] = max(least[owner], best)
    bound = row[0]
    for j in range(len(least)):
        bound = bound + facts.weight[j] * least[j] if facts.summed else max(bound, least[j])
    return max(bound, load_bound(row, steps.work[i], facts))


@part
def load_bound(row, work, facts):  # type: ignore[no-untyped-def]
    """Objective so far plus what the devices' capacity leaves the open models.

    With device d free from f_d on, at most sum_d share_d * max(0, T - f_d) of priced work is
    done by T. The open models are jobs on that one machine.
    """
    order = np.empty(3, dtype=np.int64)
    count = 0
    total = 0.0
    for j in range(len(work)):
        if work[j] > 0:
            total += work[j]
            if count < 3:
                order[count] = j
            count += 1
    if not facts.summed:
        return max(row[0], done_by(total, row, facts)) if count else row[0]
    if count == 0 or count > 3:
        return row[0]
    return row[0] + best_order(order, count, work, row, facts)


@part
def best_order(order, count, work, row, facts):  # type: ignore[no-untyped-def]
    """Least weighted sum over all orders of up to three jobs."""
    best = INF
    for a in range(count):
        one = work[order[a]]
        sum_a = facts.weight[order[a]] * done_by(one, row, facts)
        if count == 1:
            best = min(best, sum_a)
        for b in range(count):
            if b == a:
                continue
            two = one + work[order[b]]
            sum_b = sum_a + facts.weight[order[b]] * done_by(two, row, facts)
            if count == 2:
                best = min(best, sum_b)
            for c in range(count):
                if c not in (a, b):
                    three = two + work[order[c]]
                    sum_c = sum_b + facts.weight[order[c]] * done_by(three, row, facts)
                    best = min(best, sum_c)
    return best


@part
def done_by(work, row, facts):  # type: ignore[no-untyped-def]
    """Earliest time by which the devices can have done an amount of priced work."""
    devices = facts.time.shape[1]
    start = INF
    for d in range(devices):
        start = min(start, row[2 + facts.slot_ptr[d]])
    # The capacity is convex in time: from each candidate set of free devices take the latest.
    time = start
    for _ in range(devices):
        rate = base = 0.0
        for d in range(devices):
            free = row[2 + facts.slot_ptr[d]]
            if free <= time:
                rate += facts.shares[d]
                base += facts.shares[d] * free
        if rate <= 0:
            upcoming = INF
            for d in range(devices):
                free = row[2 + facts.slot_ptr[d]]
                if free > time:
                    upcoming = min(upcoming, free)
            time = upcoming
            continue
        finish = (work + base) / rate
        upcoming = INF
        for d in range(devices):
            free = row[2 + facts.slot_ptr[d]]
            if free > time:
                upcoming = min(upcoming, free)
        if finish <= upcoming:
            return max(time, finish)
        time = upcoming
    return time


@part
def find_next_inputs(i, now, steps, facts):  # type: ignore[no-untyped-def]
    """Where the inputs of the ops that may come next stand in ideal i's frontier."""
    first, last = steps.next_ptr[i], steps.next_ptr[i + 1]
    ends = np.zeros(last - first + 1, dtype=np.int64)
    for k in range(first, last):
        op = steps.next_ops[k]
        ends[k - first + 1] = ends[k - first] + facts.in_ptr[op + 1] - facts.in_ptr[op]
    found = np.empty(ends[-1], dtype=np.int64)
    for k in range(first, last):
        op = steps.next_ops[k]
        at = positions(
            facts.in_tensors, facts.in_ptr[op], facts.in_ptr[op + 1],
            now.front, now.front_ptr[i], now.front_ptr[i + 1],
        )  # fmt: skip
        copy_range(found, ends[k - first], at, 0, len(at))
    return found, ends
