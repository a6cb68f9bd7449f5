"""List scheduling with insertion: what `talos_opt.core.simulator` does, but for memory over time.

Ops are taken in a given order, and each starts as early as its device has room, also before ops
that were taken earlier. What a resource holds over time is a step function: a row of moments and
what is in use from each of them on.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from talos_opt.kernels.compiling import kernel, part
from talos_opt.kernels.hops import hop_bytes, hop_time
from talos_opt.kernels.instance import (
    BOTTLENECK,
    CHANNEL,
    DEMAND,
    ENGINE,
    FIRST_SLOT,
    LAST_SLOT,
    MAKESPAN,
    MODEL,
    OBJECTIVE,
    VIA,
)

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

INF = np.inf
#: Entries of what `insert_all` fills in.
VALUE, IDLE, BYTES, TRANSFERS, END = 0, 1, 2, 3, 4
#: Share of the limit by which a bound on the value must exceed it: more than rounding.
_MARGIN = 1e-9


class Rows(NamedTuple):
    """Working space; overwritten by every pass. n ops, m devices, c channels.

    Parameters
    ----------
    start, end : (n,) float
    arrived : (t, m) float
        When a tensor is on a device; negative: not sent.
    moment, used : (m + c, w) float, (m + c, w) int
        Step functions of devices, then of channels.
    length : (m + c,) int
        Moments of each.
    room : (m + c,) int
        Slots of a device, 1 for a channel.
    busy, last : (m + c,) float
        Slot time in use, divided by the slots; latest end of what was in use.
    load : (m + c,) float
        As under the bottleneck: transfers are not divided by slots.
    done, least : (k,) float
        Completion of each model; a bound on what it becomes.
    """

    start: Floats
    end: Floats
    arrived: Floats
    moment: Floats
    used: Ints
    length: Ints
    room: Ints
    busy: Floats
    last: Floats
    load: Floats
    done: Floats
    least: Floats


@part
def find_step(moment, length, time):  # type: ignore[no-untyped-def]
    """Position of the last moment that is not after a time."""
    low, high = 0, length
    if time >= moment[length - 1]:
        return length - 1
    while high - low > 1:
        middle = (low + high) // 2
        if moment[middle] <= time:
            low = middle
        else:
            high = middle
    return low


@part
def find_room(moment, used, length, room, ready, duration):  # type: ignore[no-untyped-def]
    """First time from `ready` on from which at most `room` is in use for a duration."""
    if duration <= 0.0:
        return ready
    k = find_step(moment, length, ready)
    start = ready
    while k < length:
        if used[k] > room:
            k += 1
            start = moment[k] if k < length else INF
            continue
        k += 1
        if k == length or moment[k] >= start + duration:
            return start
    return INF


@part
def cut_step(moment, used, length, time):  # type: ignore[no-untyped-def]
    """Make a moment where there is none; return its position and the new length."""
    k = find_step(moment, length, time)
    if moment[k] == time:
        return k, length
    for i in range(length, k + 1, -1):
        moment[i] = moment[i - 1]
        used[i] = used[i - 1]
    moment[k + 1] = time
    used[k + 1] = used[k]
    return k + 1, length + 1


@part
def drop_step(moment, used, length, k):  # type: ignore[no-untyped-def]
    """Drop a moment at which nothing changes; return the new length."""
    if k == 0 or used[k - 1] != used[k]:
        return length
    for i in range(k, length - 1):
        moment[i] = moment[i + 1]
        used[i] = used[i + 1]
    return length - 1


@part
def occupy(moment, used, length, start, end, amount):  # type: ignore[no-untyped-def]
    """Use an amount from start to end; return the new length."""
    if end <= start:
        return length
    first, length = cut_step(moment, used, length, start)
    last, length = cut_step(moment, used, length, end)
    for k in range(first, last):
        used[k] += amount
    # Few moments are few to look at, and to shift: what follows one another becomes one.
    length = drop_step(moment, used, length, last)
    return drop_step(moment, used, length, first)


@part
def _clear(rows, model):  # type: ignore[no-untyped-def]
    rows.arrived[:] = -1.0
    for line in range(len(rows.length)):
        rows.moment[line, 0] = 0.0
        rows.used[line, 0] = 0
        rows.length[line] = 1
        rows.busy[line] = rows.last[line] = rows.load[line] = 0.0
    for j in range(len(rows.done)):
        rows.done[j] = 0.0
        rows.least[j] = model[j, 0]


@part
def _sum_up(x, rows, found):  # type: ignore[no-untyped-def]
    """Work out value and idle time from what a pass has left."""
    count, objective = len(x.device), x.rule[OBJECTIVE]
    value = idle = end = 0.0
    for j in range(len(rows.done)):
        end = max(end, rows.done[j])
        if objective == MAKESPAN:
            value = max(value, rows.done[j])
        elif objective != BOTTLENECK:
            value += x.model[j, 1] * rows.done[j]
    for line in range(len(rows.load)):
        if line < count:
            idle += max(0.0, rows.last[line] - rows.busy[line] / rows.room[line])
        if objective == BOTTLENECK:
            value = max(value, rows.load[line])
    found[VALUE], found[IDLE], found[END] = value, idle, end


@kernel
def insert_all(x, rows, device, order, limit, found):  # type: ignore[no-untyped-def]
    """Schedule ops in a given order, each as early as it fits.

    Parameters
    ----------
    x : Instance
    rows : Rows
    device : (n,) int
    order : (n,) int
        All ops, producers before their readers.
    limit : float
        Give up with an infinite value as soon as it must exceed this.
    found : (5,) float, filled
        Value, total idle time, bytes moved, transfers, latest end.
    """
    op_table, op_time, in_ptr, in_op = x.op, x.time, x.in_ptr, x.in_op
    in_tensor, read_ptr, out_op, out_bytes = x.in_tensor, x.read_ptr, x.out_op, x.out_bytes
    devices, link, route, model, tail = x.device, x.link, x.route, x.model, x.tail
    starts, ends, arrived = rows.start, rows.end, rows.arrived
    moment, used = rows.moment, rows.used
    length, room, busy, last, load = rows.length, rows.room, rows.busy, rows.last, rows.load
    done, least = rows.done, rows.least
    count, objective = len(devices), x.rule[OBJECTIVE]
    lines = np.empty(3, dtype=np.int64)
    moved = transfers = 0
    found[VALUE] = INF
    _clear(rows, model)
    bound = 0.0
    if objective != MAKESPAN and objective != BOTTLENECK:
        for j in range(len(least)):
            bound += model[j, 1] * least[j]
    for op in order:
        d = device[op]
        owner = op_table[op, MODEL]
        ready = model[owner, 0]
        for e in range(in_ptr[op], in_ptr[op + 1]):
            producer = in_op[e]
            home = device[producer]
            if home == d:
                ready = max(ready, ends[producer])
                continue
            tensor = in_tensor[e]
            if arrived[tensor, d] >= 0.0:
                ready = max(ready, arrived[tensor, d])
                continue
            stage = route[VIA, home, d]
            if stage == -2:
                return
            source, arrival = home, ends[producer]
            for leg in range(1 if stage < 0 else 2):
                target = stage if leg == 0 and stage >= 0 else d
                if arrived[tensor, target] >= 0.0:
                    source, arrival = target, arrived[tensor, target]
                    continue
                size = hop_bytes(tensor, home, target, device, route, read_ptr, out_op, out_bytes)
                span = hop_time(link, source, target, size)
                if size > 0 or span > 0.0:
                    held = 0
                    for end in (source, target):
                        if devices[end, ENGINE] == 0:
                            lines[held] = end
                            held += 1
                    if route[CHANNEL, source, target] >= 0:
                        lines[held] = count + route[CHANNEL, source, target]
                        held += 1
                    while True:
                        start = arrival
                        for h in range(held):
                            i = lines[h]
                            start = find_room(
                                moment[i], used[i], length[i], room[i] - 1, start, span
                            )
                        if start == arrival:
                            break
                        arrival = start
                    finish = arrival + span
                    for h in range(held):
                        i = lines[h]
                        length[i] = occupy(moment[i], used[i], length[i], arrival, finish, 1)
                        busy[i] += span
                        load[i] += span
                        last[i] = max(last[i], finish)
                    moved += size
                    transfers += 1
                    arrival = finish
                arrived[tensor, target] = arrival
                source = target
            ready = max(ready, arrival)
        span, demand = op_time[op, d], op_table[op, DEMAND]
        start = find_room(moment[d], used[d], length[d], room[d] - demand, ready, span)
        finish = start + span
        if not finish < INF:
            return
        starts[op], ends[op] = start, finish
        length[d] = occupy(moment[d], used[d], length[d], start, finish, demand)
        busy[d] += span * demand
        load[d] += span * demand / (devices[d, LAST_SLOT] - devices[d, FIRST_SLOT])
        last[d] = max(last[d], finish)
        done[owner] = max(done[owner], finish)
        if objective == BOTTLENECK:
            bound = max(bound, load[d])
        elif objective == MAKESPAN:
            bound = max(bound, finish + tail[op])
        elif finish + tail[op] > least[owner]:
            bound += model[owner, 1] * (finish + tail[op] - least[owner])
            least[owner] = finish + tail[op]
        if bound > limit * (1.0 + _MARGIN):
            return
    found[BYTES], found[TRANSFERS] = moved, transfers
    _sum_up(x, rows, found)
