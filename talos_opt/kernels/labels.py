"""Label-setting over order ideals: extend the labels of one layer, keep the undominated ones.

A label is a row of floats: the state that a partial schedule leaves behind, arranged so that a
smaller entry is never worse, except for the last ones (groups), which must be equal.

    objective   so far: weighted sum, or maximum, over completed models
    now         start of the last op (0 where no op takes no time: the slots say enough)
    slots       free times of all slots, ascending within each device
    arrivals    for each frontier tensor and device: when its tensor could be read there
    sinks       for each open model with a finished sink: latest end of one
    memory      bytes held by each limited device, then the largest workspace of each
    groups      device of each open colocation group

Rows of different ideals differ in length; `Shape` says which ops, models and groups they list.
"""

from __future__ import annotations

import numpy as np

from talos_opt.kernels.compiling import kernel, part
from talos_opt.kernels.label_bounds import find_next_inputs, lower_bound
from talos_opt.kernels.label_state import INF, Labels, earliest, offsets, positions
from talos_opt.kernels.sorting import copy_range, sort_few, stable_order


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
        By ascending sum, those with infinite entries last; of equal rows the first is kept.
    """
    free = width - exact
    sums, endless = np.zeros(count), np.zeros(count)
    for i in range(count):
        for k in range(free):
            if rows[i, k] == INF:
                endless[i] += 1.0
            else:
                sums[i] += rows[i, k]
    # A row can only be dominated by one with no more infinite entries, and if it has as many,
    # with no larger a sum of the others.
    order = stable_order(sums)
    order = order[stable_order(endless[order])]
    keep = np.empty(count, dtype=np.int64)
    kept = 0
    for i in order:
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
def _arrive(new, old, front, device, end, into, out, sources, facts):  # type: ignore[no-untyped-def]
    """List when the tensors of the new frontier can be read; the op's own after its end."""
    devices = facts.time.shape[1]
    if len(facts.delay) == 0:
        for f in range(len(sources)):
            new[out + f] = end if sources[f] < 0 else old[into + sources[f]]
        return
    for f in range(len(sources)):
        for t in range(devices):
            if sources[f] < 0:
                new[out + f * devices + t] = end + facts.delay[front[f], device, t]
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
def _candidates(  # type: ignore[no-untyped-def]
    i, rows, row_ptr, steps, before, now, facts, upper, stop
):
    """Extend every label that leads to ideal i; drop what cannot end below `upper`."""
    devices, limits = facts.time.shape[1], len(facts.capacity)
    arrivals, sinks, memory, groups, width = offsets(now, i, facts)
    fronts = now.front_ptr[i + 1] - now.front_ptr[i]
    front = now.front[now.front_ptr[i] : now.front_ptr[i + 1]]
    next_inputs, next_from = find_next_inputs(i, now, steps, facts)
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
        inputs = positions(
            facts.in_tensors, facts.in_ptr[op], facts.in_ptr[op + 1],
            before.front, front_ptr[p], front_ptr[p + 1],
        )  # fmt: skip
        front_from = positions(
            now.front, now.front_ptr[i], now.front_ptr[i + 1],
            before.front, front_ptr[p], front_ptr[p + 1],
        )  # fmt: skip
        sink_from = positions(
            now.sinks, now.sink_ptr[i], now.sink_ptr[i + 1],
            before.sinks, sink_ptr[p], sink_ptr[p + 1],
        )  # fmt: skip
        group_from = positions(
            now.groups, now.group_ptr[i], now.group_ptr[i + 1],
            before.groups, group_ptr[p], group_ptr[p + 1],
        )  # fmt: skip
        mine = positions(facts.group, op, op + 1, before.groups, group_ptr[p], group_ptr[p + 1])[0]
        own_sink = positions(facts.model, op, op + 1, before.sinks, sink_ptr[p], sink_ptr[p + 1])[0]
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
                start = earliest(old, op, d, p_arrivals, inputs, facts)
                if start == INF:
                    continue
                end = start + facts.time[op, d]
                copy_range(new, 0, old, 0, arrivals)
                _occupy(new, op, d, start, facts)
                _arrive(new, old, front, d, end, p_arrivals, arrivals, front_from, facts)
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
                bound = lower_bound(new, i, now, steps, facts, next_inputs, next_from)
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
