"""Label-setting over order ideals: extend the labels of one layer, keep the undominated ones.

A label is a row of floats: the state that a partial schedule leaves behind, arranged so that a
smaller entry is never worse, except for the last ones (groups), which must be equal.

    objective   so far: weighted sum, or maximum, over completed models
    now         start of the last op (0 where no op takes no time: the slots say enough)
    slots       free times of all slots, ascending within each device
    arrivals    for each frontier op and device: when its tensor could be read there
    sinks       for each open model with a finished sink: latest end of one
    memory      bytes held by each limited device, then the largest workspace of each
    groups      device of each open colocation group

Rows of different ideals differ in length; `Shape` says which ops, models and groups they list.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from talos_opt.kernels.compiling import kernel, part
from talos_opt.kernels.sorting import copy_range, sort_few, stable_order

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

INF = np.inf


class Facts(NamedTuple):
    """What stays the same in every layer; n ops, m devices, k models, g groups.

    Parameters
    ----------
    time : (n, m) float
        Infinite where not allowed.
    demand : (n,) int
    in_ptr, in_ops : (n + 1,), (e,) int
        Producers of op i are ``in_ops[in_ptr[i]:in_ptr[i + 1]]``.
    readers : (n,) int
        How many ops read each op; 0: a sink.
    model : (n,) int
    release, weight : (k,) float
    delay : (n, m, m) float
        Transfer time of each op's tensor, infinite without a route; (0, m, m) if nothing delays.
    slot_ptr : (m + 1,) int
        Slots of device d are entries ``slot_ptr[d]:slot_ptr[d + 1]`` of the slots.
    tail : (n,) float
        Least time from an op's end to the end of its model.
    group : (n,) int
    group_size, group_work : (g,) int
        Bytes that a group holds, and its largest workspace.
    limited : (m,) int
        Position of a device among those with a memory limit, -1 for the others.
    capacity : (l,) int
    shares : (m,) float
        Prices of device time that add up to 1 (see `talos_opt.solvers.bounds.load_shares`).
    instant : bool
        Whether some op takes no time: it needs no slot.
    summed : bool
        True: weighted sum of completion times; False: maximum.
    """

    time: Floats
    demand: Ints
    in_ptr: Ints
    in_ops: Ints
    readers: Ints
    model: Ints
    release: Floats
    weight: Floats
    delay: Floats
    slot_ptr: Ints
    tail: Floats
    group: Ints
    group_size: Ints
    group_work: Ints
    limited: Ints
    capacity: Ints
    shares: Floats
    instant: bool
    summed: bool


class Shape(NamedTuple):
    """What the rows of a layer's ideals list; those of ideal i stand at ``ptr[i]:ptr[i + 1]``.

    Parameters
    ----------
    front_ptr, front : int
        Scheduled ops with readers that are not.
    sink_ptr, sinks : int
        Open models with a finished sink.
    group_ptr, groups : int
        Colocation groups that are placed and have members left.
    """

    front_ptr: Ints
    front: Ints
    sink_ptr: Ints
    sinks: Ints
    group_ptr: Ints
    groups: Ints


class Steps(NamedTuple):
    """How a layer's ideals are reached from the layer before, and left again.

    Parameters
    ----------
    into_ptr, into_ideal, into_op : int
        Ideal i is reached from ideal ``into_ideal[k]`` by op ``into_op[k]``, for k in
        ``into_ptr[i]:into_ptr[i + 1]``.
    finishes : bool
        For each k, whether the op is the last of its model.
    next_ptr, next_ops : int
        Ops that may come next after each ideal.
    work : (i, k) float
        Priced work (least share times time) of each model that is still to be done.
    """

    into_ptr: Ints
    into_ideal: Ints
    into_op: Ints
    finishes: Bools
    next_ptr: Ints
    next_ops: Ints
    work: Floats


class Labels(NamedTuple):
    """Labels of one layer.

    Parameters
    ----------
    rows : (r, w) float
    row_ptr : (i + 1,) int
        Rows of ideal i are ``row_ptr[i]:row_ptr[i + 1]``; ``row_ptr[0]`` is -1 if there would
        have been more than the limit, or if the kernel was stopped.
    parent, device, op : (r,) int
        The row in the layer before that each came from, and the op that was placed, where.
    bound : float
        Least lower bound among the labels; infinite if there are none.
    """

    rows: Floats
    row_ptr: Ints
    parent: Ints
    device: Ints
    op: Ints
    bound: float


@part
def offsets(shape, i, facts):  # type: ignore[no-untyped-def]
    """Return where arrivals, sinks, memory and groups begin in a row of ideal i, and its end."""
    devices = facts.time.shape[1]
    each = 1 if len(facts.delay) == 0 else devices
    arrivals = 2 + facts.slot_ptr[devices]
    sinks = arrivals + (shape.front_ptr[i + 1] - shape.front_ptr[i]) * each
    memory = sinks + shape.sink_ptr[i + 1] - shape.sink_ptr[i]
    groups = memory + 2 * len(facts.capacity)
    return arrivals, sinks, memory, groups, groups + shape.group_ptr[i + 1] - shape.group_ptr[i]


@kernel
def undominated(rows, count, width, exact, stop):  # type: ignore[no-untyped-def]
    """Return the indices of rows that no other row dominates.

    Parameters
    ----------
    rows : (>= count, >= width) float
    count, width : int
        The part of `rows` that counts.
    exact : int
        How many of the last entries must be equal for one row to dominate another.
    stop : (1,) bool
        Set it, from another thread, to return early; rows not looked at yet are left out.

    Returns
    -------
    (k,) int
        By ascending sum; of equal rows the first is kept.
    """
    free = width - exact
    sums = np.empty(count)
    for i in range(count):
        sums[i] = 0.0
        for k in range(free):
            sums[i] += rows[i, k]
    keep = np.empty(count, dtype=np.int64)
    kept = 0
    # A row can only be dominated by one whose sum is not larger.
    for i in stable_order(sums):
        if stop[0]:
            break
        dominated = False
        for position in range(kept):
            j = keep[position]
            dominated = True
            for k in range(width):
                if rows[j, k] > rows[i, k] or (k >= free and rows[j, k] != rows[i, k]):
                    dominated = False
                    break
            if dominated:
                break
        if not dominated:
            keep[kept] = i
            kept += 1
    return keep[:kept]


@part
def _positions(wanted, wanted_from, wanted_to, listed, from_, to):  # type: ignore[no-untyped-def]
    """Where each wanted number stands in a list, -1 if it does not."""
    found = np.full(wanted_to - wanted_from, -1, dtype=np.int64)
    for k in range(wanted_from, wanted_to):
        for position in range(from_, to):
            if listed[position] == wanted[k]:
                found[k - wanted_from] = position - from_
    return found


@part
def _earliest(row, op, device, arrivals, inputs, facts):  # type: ignore[no-untyped-def]
    """Earliest start of an op behind the queue of a device, given where its inputs are listed."""
    start = max(facts.release[facts.model[op]], row[1])
    if facts.time[op, device] > 0:
        start = max(start, row[2 + facts.slot_ptr[device] + facts.demand[op] - 1])
    spread = len(facts.delay) > 0
    for position in inputs:
        at = arrivals + position
        if spread:
            at = arrivals + position * facts.time.shape[1] + device
        start = max(start, row[at])
    return start


@part
def _occupy(row, op, device, start, facts):  # type: ignore[no-untyped-def]
    """Give an op the earliest slots of a device, and let the clock move on to its start.

    Ops are taken in order of their starts, which reaches every semi-active schedule, so no slot
    is free before this one any more: labels that differ only in the past become equal.
    """
    devices = facts.time.shape[1]
    if facts.instant:
        row[1] = start
    for s in range(2, 2 + facts.slot_ptr[devices]):
        row[s] = max(row[s], start)
    if facts.time[op, device] > 0:
        first, last = 2 + facts.slot_ptr[device], 2 + facts.slot_ptr[device + 1]
        for s in range(first, first + facts.demand[op]):
            row[s] = start + facts.time[op, device]
        sort_few(row, first, last)


@part
def _arrive(new, old, op, device, end, into, out, sources, facts):  # type: ignore[no-untyped-def]
    """List when the tensors of the new frontier can be read; the op's own from its end on."""
    devices = facts.time.shape[1]
    if len(facts.delay) == 0:
        for f in range(len(sources)):
            new[out + f] = end if sources[f] < 0 else old[into + sources[f]]
        return
    for f in range(len(sources)):
        for t in range(devices):
            if sources[f] < 0:
                new[out + f * devices + t] = end + facts.delay[op, device, t]
            else:
                new[out + f * devices + t] = old[into + sources[f] * devices + t]


@part
def _settle(row, arrivals, fronts, facts):  # type: ignore[no-untyped-def]
    """Raise arrivals to when a device is free at all: being there earlier makes no difference.

    States that differ only so become equal, and one of them is dropped.
    """
    if facts.instant:
        return
    devices = facts.time.shape[1]
    if len(facts.delay) == 0:
        first = row[2]
        for d in range(1, devices):
            first = min(first, row[2 + facts.slot_ptr[d]])
        for f in range(fronts):
            row[arrivals + f] = max(row[arrivals + f], first)
        return
    for f in range(fronts):
        for d in range(devices):
            at = arrivals + f * devices + d
            row[at] = max(row[at], row[2 + facts.slot_ptr[d]])


@part
def _lower_bound(row, i, now, steps, facts, next_inputs, next_from):  # type: ignore[no-untyped-def]
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
                start = _earliest(row, op, d, arrivals, inputs, facts)
                best = min(best, start + facts.time[op, d])
        owner = facts.model[op]
        least[owner] = max(least[owner], best + facts.tail[op])
    bound = row[0]
    for j in range(len(least)):
        bound = bound + facts.weight[j] * least[j] if facts.summed else max(bound, least[j])
    return max(bound, _load_bound(row, steps.work[i], facts))


@part
def _load_bound(row, work, facts):  # type: ignore[no-untyped-def]
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
        return max(row[0], _done_by(total, row, facts)) if count else row[0]
    if count == 0 or count > 3:
        return row[0]
    return row[0] + _best_order(order, count, work, row, facts)


@part
def _best_order(order, count, work, row, facts):  # type: ignore[no-untyped-def]
    """Least weighted sum over all orders of up to three jobs."""
    best = INF
    for a in range(count):
        one = work[order[a]]
        sum_a = facts.weight[order[a]] * _done_by(one, row, facts)
        if count == 1:
            best = min(best, sum_a)
        for b in range(count):
            if b == a:
                continue
            two = one + work[order[b]]
            sum_b = sum_a + facts.weight[order[b]] * _done_by(two, row, facts)
            if count == 2:
                best = min(best, sum_b)
            for c in range(count):
                if c not in (a, b):
                    three = two + work[order[c]]
                    sum_c = sum_b + facts.weight[order[c]] * _done_by(three, row, facts)
                    best = min(best, sum_c)
    return best


@part
def _done_by(work, row, facts):  # type: ignore[no-untyped-def]
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
def _next_inputs(i, now, steps, facts):  # type: ignore[no-untyped-def]
    """Where the inputs of the ops that may come next stand in ideal i's frontier."""
    first, last = steps.next_ptr[i], steps.next_ptr[i + 1]
    ends = np.zeros(last - first + 1, dtype=np.int64)
    for k in range(first, last):
        op = steps.next_ops[k]
        ends[k - first + 1] = ends[k - first] + facts.in_ptr[op + 1] - facts.in_ptr[op]
    found = np.empty(ends[-1], dtype=np.int64)
    for k in range(first, last):
        op = steps.next_ops[k]
        at = _positions(
            facts.in_ops, facts.in_ptr[op], facts.in_ptr[op + 1],
            now.front, now.front_ptr[i], now.front_ptr[i + 1],
        )  # fmt: skip
        copy_range(found, ends[k - first], at, 0, len(at))
    return found, ends


@part
def _candidates(  # type: ignore[no-untyped-def]
    i, rows, row_ptr, steps, before, now, facts, upper, stop
):
    """Extend every label that leads to ideal i; drop what cannot end below `upper`."""
    devices, limits = facts.time.shape[1], len(facts.capacity)
    arrivals, sinks, memory, groups, width = offsets(now, i, facts)
    fronts = now.front_ptr[i + 1] - now.front_ptr[i]
    next_inputs, next_from = _next_inputs(i, now, steps, facts)
    most = 0
    for k in range(steps.into_ptr[i], steps.into_ptr[i + 1]):
        p = steps.into_ideal[k]
        most += (row_ptr[p + 1] - row_ptr[p]) * devices
    found = np.empty((most, width))
    origin = np.empty((most, 3), dtype=np.int64)
    bounds = np.empty(most)
    count = 0
    for k in range(steps.into_ptr[i], steps.into_ptr[i + 1]):
        p, op = steps.into_ideal[k], steps.into_op[k]
        p_arrivals, p_sinks, p_memory, p_groups, _ = offsets(before, p, facts)
        owner = facts.model[op]
        front_ptr, sink_ptr, group_ptr = before.front_ptr, before.sink_ptr, before.group_ptr
        inputs = _positions(
            facts.in_ops, facts.in_ptr[op], facts.in_ptr[op + 1],
            before.front, front_ptr[p], front_ptr[p + 1],
        )  # fmt: skip
        front_from = _positions(
            now.front, now.front_ptr[i], now.front_ptr[i + 1],
            before.front, front_ptr[p], front_ptr[p + 1],
        )  # fmt: skip
        sink_from = _positions(
            now.sinks, now.sink_ptr[i], now.sink_ptr[i + 1],
            before.sinks, sink_ptr[p], sink_ptr[p + 1],
        )  # fmt: skip
        group_from = _positions(
            now.groups, now.group_ptr[i], now.group_ptr[i + 1],
            before.groups, group_ptr[p], group_ptr[p + 1],
        )  # fmt: skip
        mine = _positions(facts.group, op, op + 1, before.groups, group_ptr[p], group_ptr[p + 1])[0]
        own_sink = _positions(facts.model, op, op + 1, before.sinks, sink_ptr[p], sink_ptr[p + 1])[
            0
        ]
        for r in range(row_ptr[p], row_ptr[p + 1]):
            if stop[0]:
                break
            old = rows[r]
            for d in range(devices):
                if facts.time[op, d] == INF or (mine >= 0 and old[p_groups + mine] != d):
                    continue
                new = found[count]
                copy_range(new, memory, old, p_memory, p_groups)
                slot = facts.limited[d]
                if slot >= 0 and mine < 0:
                    own = facts.group[op]
                    new[memory + slot] += facts.group_size[own]
                    widest = max(new[memory + limits + slot], facts.group_work[own])
                    new[memory + limits + slot] = widest
                    if new[memory + slot] + widest > facts.capacity[slot]:
                        continue
                start = _earliest(old, op, d, p_arrivals, inputs, facts)
                if start == INF:
                    continue
                end = start + facts.time[op, d]
                copy_range(new, 0, old, 0, arrivals)
                _occupy(new, op, d, start, facts)
                _arrive(new, old, op, d, end, p_arrivals, arrivals, front_from, facts)
                latest = end if own_sink < 0 else max(end, old[p_sinks + own_sink])
                if steps.finishes[k]:
                    if facts.summed:
                        new[0] += facts.weight[owner] * latest
                    else:
                        new[0] = max(new[0], latest)
                for s in range(len(sink_from)):
                    new[sinks + s] = 0.0 if sink_from[s] < 0 else old[p_sinks + sink_from[s]]
                    if now.sinks[now.sink_ptr[i] + s] == owner and facts.readers[op] == 0:
                        new[sinks + s] = latest
                for g in range(len(group_from)):
                    new[groups + g] = d if group_from[g] < 0 else old[p_groups + group_from[g]]
                bound = _lower_bound(new, i, now, steps, facts, next_inputs, next_from)
                if bound >= upper:
                    continue
                _settle(new, arrivals, fronts, facts)
                origin[count, 0], origin[count, 1], origin[count, 2] = r, d, op
                bounds[count] = bound
                count += 1
    return found[:count], origin[:count], bounds[:count]


@kernel
def extend_layer(  # type: ignore[no-untyped-def]
    rows, row_ptr, steps, before, now, facts, upper, limit, stop
):
    """Extend all labels of a layer by one op and drop the dominated ones.

    Parameters
    ----------
    rows, row_ptr
        Labels of the layer before (see `Labels`).
    steps : Steps
    before, now : Shape
    facts : Facts
    upper : float
        Labels that cannot end below it are dropped.
    limit : int
        Most labels that the layer may have.
    stop : (1,) bool
        Set it, from another thread, to give up.

    Returns
    -------
    Labels
    """
    count = len(steps.into_ptr) - 1
    widest = 1
    for i in range(count):
        widest = max(widest, offsets(now, i, facts)[4])
    room, filled, least = 1024, 0, INF
    out = np.zeros((room, widest))
    origin = np.empty((room, 3), dtype=np.int64)
    ptr = np.zeros(count + 1, dtype=np.int64)
    for i in range(count):
        found, where, bounds = _candidates(i, rows, row_ptr, steps, before, now, facts, upper, stop)
        width = found.shape[1]
        exact = now.group_ptr[i + 1] - now.group_ptr[i]
        keep = undominated(found, len(found), width, exact, stop)
        if stop[0] or filled + len(keep) > limit:
            ptr[0] = -1
            break
        while filled + len(keep) > room:
            room *= 2
            more = np.zeros((room, widest))
            for r in range(filled):
                copy_range(more[r], 0, out[r], 0, widest)
            out = more
            longer = np.empty((room, 3), dtype=np.int64)
            for r in range(filled):
                copy_range(longer[r], 0, origin[r], 0, 3)
            origin = longer
        for c in keep:
            copy_range(out[filled], 0, found[c], 0, width)
            copy_range(origin[filled], 0, where[c], 0, 3)
            least = min(least, bounds[c])
            filled += 1
        ptr[i + 1] = filled
    kept = origin[:filled]
    return Labels(
        out[:filled].copy(), ptr, kept[:, 0].copy(), kept[:, 1].copy(), kept[:, 2].copy(), least
    )
