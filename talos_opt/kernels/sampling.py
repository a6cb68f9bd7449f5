"""A placement and an order under sampled op times: the values of all samples in one pass.

Column 0 of every table is the problem without noise. It alone decides which slot an op takes and
in which order tensors queue, and all samples keep to that: an order is fixed before times are
known. The samples are the inner loop, over rows that lie in one piece.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from numba import njit

from talos_opt.kernels.anneal import (
    UNREACHED,
    Scratch,
    keep_best,
    move_bundle,
    move_op,
    place_groups,
    shift_order,
)
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
    PARTED,
    PEAK,
    STAGED,
    UNIFORM,
    VIA,
)
from talos_opt.kernels.listing import INF, list_schedule, next_pass
from talos_opt.kernels.liveness import peak_overflow
from talos_opt.kernels.loads import add_tensor_load, unreachable
from talos_opt.kernels.moves import LARGEST, next_random, overflow, refit, restore_bundle
from talos_opt.kernels.sorting import copy_range, stable_order
from talos_opt.kernels.stages import keeps_stages

Floats = npt.NDArray[np.float64]


class Samples(NamedTuple):
    """Sampled factors, and where a pass writes to; c columns, of which the first has no noise.

    Parameters
    ----------
    op, tensor : (n, c) float
        Factors of the time of each op, and of all transfers of what it makes; 1 in column 0.
    end : (n, c) float
        When ops end.
    hop : (h, c) float
        When hops end.
    slot : (s, c) float
    channel : (q, c) float
        When each slot and each channel is free again; under the bottleneck, loads of channels.
    done : (k, c) float
        Completion times of models.
    load : (m, c) float
        Loads of devices, under the bottleneck.
    ready, arrival : (c,) float
        Scratch.
    value : (c,) float
        Value in every column.
    tail : (1,) float
        Share of the samples, the worst, whose mean is the risk; 1: the mean of all.
    """

    op: Floats
    tensor: Floats
    end: Floats
    hop: Floats
    slot: Floats
    channel: Floats
    done: Floats
    load: Floats
    ready: Floats
    arrival: Floats
    value: Floats
    tail: Floats


@njit(inline="always")
def _first_free(slot, first, last):  # type: ignore[no-untyped-def]
    """Return the slot that is free first without noise."""
    best = first
    for k in range(first + 1, last):
        if slot[k, 0] < slot[best, 0]:
            best = k
    return best


@njit(inline="always")
def _wait_for_slots(slot, first, last, demand, ready):  # type: ignore[no-untyped-def]
    """Move the slots that are free first, without noise, to the front; wait for them in `ready`."""
    for k in range(first, first + demand):
        best = _first_free(slot, k, last)
        for s in range(len(ready)):
            free = slot[best, s]
            slot[best, s] = slot[k, s]
            slot[k, s] = free
            ready[s] = max(ready[s], free)


@njit(inline="always")
def _wait_for(line, k, arrival):  # type: ignore[no-untyped-def]
    for s in range(len(arrival)):
        arrival[s] = max(arrival[s], line[k, s])


@njit(inline="always")
def _copy_row(target, to, source):  # type: ignore[no-untyped-def]
    for s in range(len(source)):
        target[to, s] = source[s]


@kernel
def sample_schedule(x, times, samples, device, order):  # type: ignore[no-untyped-def]
    """Run a placement in a given order under all sampled times, as `list_schedule` does under one.

    Parameters
    ----------
    x : Instance
    times : Times
        Only its numbers of hops are used.
    samples : Samples
        Overwritten, but for the factors.
    device : (n,) int
        One that each op is allowed on.
    order : (n,) int
        All ops, producers before their readers.

    Returns
    -------
    bool
        Whether there was a route for everything; then `samples.value` is filled.
    """
    # Bound to local names, and no function is called, for the reason given in `list_schedule`.
    op_table, op_time, in_ptr, in_op = x.op, x.time, x.in_ptr, x.in_op
    in_tensor, read_ptr, out_op, out_bytes = x.in_tensor, x.read_ptr, x.out_op, x.out_bytes
    devices, link, route, model = x.device, x.link, x.route, x.model
    op_factor, hop_factor, op_end, hop_end = samples.op, samples.tensor, samples.end, samples.hop
    slot, channels, done, sent = samples.slot, samples.channel, samples.done, times.sent
    ready, arrival, value = samples.ready, samples.arrival, samples.value
    uniform, width = x.rule[UNIFORM] == 1, len(ready)
    now, hops = next_pass(times), 0
    for table in (slot, channels, done):
        for k in range(len(table)):
            for s in range(width):
                table[k, s] = 0.0
    for op in order:
        d, owner = device[op], op_table[op, MODEL]
        for s in range(width):
            ready[s] = model[owner, 0]
        for e in range(in_ptr[op], in_ptr[op + 1]):
            producer = in_op[e]
            home = device[producer]
            if home == d:
                _wait_for(op_end, producer, ready)
                continue
            tensor = in_tensor[e]
            if sent[tensor, d] >= now:
                _wait_for(hop_end, sent[tensor, d] - now, ready)
                continue
            stage = route[VIA, home, d]
            if stage == -2:
                times.clock[1] = now + hops
                return False
            source = home
            for s in range(width):
                arrival[s] = op_end[producer, s]
            for leg in range(1 if stage < 0 else 2):
                target = stage if leg == 0 and stage >= 0 else d
                if sent[tensor, target] >= now:
                    row = sent[tensor, target] - now
                    for s in range(width):
                        arrival[s] = hop_end[row, s]
                    source = target
                    continue
                size = out_bytes[read_ptr[tensor]]
                if not uniform:
                    size = hop_bytes(
                        tensor, home, target, device, route, read_ptr, out_op, out_bytes
                    )
                length = hop_time(link, source, target, size)
                if length > 0:
                    channel = route[CHANNEL, source, target]
                    out = into = -1
                    if channel >= 0:
                        _wait_for(channels, channel, arrival)
                    if devices[source, ENGINE] == 0:
                        out = _first_free(
                            slot, devices[source, FIRST_SLOT], devices[source, LAST_SLOT]
                        )
                        _wait_for(slot, out, arrival)
                    if devices[target, ENGINE] == 0:
                        into = _first_free(
                            slot, devices[target, FIRST_SLOT], devices[target, LAST_SLOT]
                        )
                        _wait_for(slot, into, arrival)
                    for s in range(width):
                        arrival[s] += length * hop_factor[producer, s]
                    if channel >= 0:
                        _copy_row(channels, channel, arrival)
                    if out >= 0:
                        _copy_row(slot, out, arrival)
                    if into >= 0:
                        _copy_row(slot, into, arrival)
                sent[tensor, target] = now + hops
                _copy_row(hop_end, hops, arrival)
                hops += 1
                source = target
            for s in range(width):
                ready[s] = max(ready[s], arrival[s])
        length = op_time[op, d]
        if length > 0:
            first, demand = devices[d, FIRST_SLOT], op_table[op, DEMAND]
            _wait_for_slots(slot, first, devices[d, LAST_SLOT], demand, ready)
            for s in range(width):
                ready[s] += length * op_factor[op, s]
            for k in range(first, first + demand):
                _copy_row(slot, k, ready)
        _copy_row(op_end, op, ready)
        for s in range(width):
            done[owner, s] = max(done[owner, s], ready[s])
    times.clock[1] = now + hops
    makespan = x.rule[OBJECTIVE] == MAKESPAN
    for s in range(width):
        total = 0.0
        for j in range(len(done)):
            total = max(total, done[j, s]) if makespan else total + model[j, 1] * done[j, s]
        value[s] = total
    return True


@kernel
def sample_loads(x, samples, device):  # type: ignore[no-untyped-def]
    """Fill the loads of a placement in all samples, and the largest in `samples.value`."""
    load, channel, value = samples.load, samples.channel, samples.value
    devices, channels, width = len(load), len(channel), len(value)
    size = np.zeros(devices, dtype=np.int64)
    sends, lines = np.zeros(devices), np.zeros(channels)
    for table in (load, channel):
        for k in range(len(table)):
            for s in range(width):
                table[k, s] = 0.0
    for op in range(len(device)):
        d = device[op]
        slots = x.device[d, LAST_SLOT] - x.device[d, FIRST_SLOT]
        length = x.time[op, d] * x.op[op, DEMAND] / slots
        for s in range(width):
            load[d, s] += length * samples.op[op, s]
        for k in range(devices):
            sends[k] = 0.0
        for k in range(channels):
            lines[k] = 0.0
        add_tensor_load(x, op, device, size, sends, lines, 1.0)
        for k in range(devices):
            if sends[k] > 0:
                for s in range(width):
                    load[k, s] += sends[k] * samples.tensor[op, s]
        for k in range(channels):
            if lines[k] > 0:
                for s in range(width):
                    channel[k, s] += lines[k] * samples.tensor[op, s]
    for s in range(width):
        value[s] = 0.0
    for table in (load, channel):
        for k in range(len(table)):
            for s in range(width):
                value[s] = max(value[s], table[k, s])


@part
def _risk(value, tail):  # type: ignore[no-untyped-def]
    """Mean of the worst `tail` of the samples, which are all columns but the first."""
    count = len(value) - 1
    if tail >= 1.0:
        total = 0.0
        for s in range(1, count + 1):
            total += value[s]
        return total / count
    left = max(1.0, tail * count)
    amount, total = left, 0.0
    by = stable_order(-value[1:])
    for k in range(count):
        share = min(1.0, left)
        total += share * value[1 + by[k]]
        left -= share
        if left <= 0:
            break
    return total / amount


@kernel
def sampled_value(x, times, samples, state):  # type: ignore[no-untyped-def]
    """Risk of the state over the samples, and its memory overflow under the peak rule."""
    device, order = state.device, state.order
    if x.rule[OBJECTIVE] == BOTTLENECK:
        sample_loads(x, samples, device)
    elif not sample_schedule(x, times, samples, device, order):
        return INF, 0.0
    over = 0.0
    if x.rule[PEAK] == 1 and list_schedule(x, times, device, order, INF) < INF:
        over = float(peak_overflow(x, times, device))
    return _risk(samples.value, samples.tail[0]), over


@kernel
def anneal_samples(x, times, samples, state, allowed, moves, hot, cold, order_share):  # type: ignore[no-untyped-def]
    """Value the point over all samples, then try a number of moves, cooling down geometrically.

    Parameters
    ----------
    x : Instance
    times : Times
    samples : Samples
    state : State
        Its value need not be set; loads are not used.
    allowed : (g, m) bool
    moves : int
        With 0 the point is valued only.
    hot, cold : float
        First and last temperature, in units of the value; above 0.
    order_share : float
        Share of the moves that change the order, where it counts.
    """
    groups, ops = len(state.home), len(state.device)
    ordered = x.rule[OBJECTIVE] != BOTTLENECK or x.rule[PEAK] == 1
    scratch = Scratch(
        np.empty(LARGEST, dtype=np.int64),
        np.empty(LARGEST, dtype=np.int64),
        np.zeros(groups, dtype=np.int64),
        np.zeros(ops, dtype=np.int64),
        np.empty(ops, dtype=np.int64),
        np.zeros(len(x.device), dtype=np.int64),
        state.load.copy(),
        state.channel.copy(),
        state.widest.copy(),
    )
    cooling = (cold / hot) ** (1.0 / max(1, moves))
    temperature, kept = hot, 0
    for stamp in range(moves + 1):
        op, here, moved = -1, 0, 0
        threshold = INF
        if stamp > 0:
            temperature *= cooling
            threshold = state.value[0] - temperature * np.log(1.0 - next_random(state.random))
            if ordered and next_random(state.random) < order_share:
                op, here = move_op(x, state)
            else:
                moved = move_bundle(x, state, allowed, scratch, stamp)
            if op < 0 and moved == 0:
                continue
        value, over = INF, 0.0
        fits = moved == 0 or x.rule[STAGED] == 0 or keeps_stages(x, state.home)
        if fits and x.rule[PEAK] == 0:
            over = float(overflow(x, state.held, state.widest))
            fits = stamp == 0 or over <= state.value[1]
        if fits:
            place_groups(x, state, scratch.bundle, moved)
            value, live = sampled_value(x, times, samples, state)
            over += live
            if x.rule[PARTED]:
                over += UNREACHED * unreachable(x, state.device)
            # What breaks a limit by less is worth any value; by more, none.
            fits = over < state.value[1] or (over == state.value[1] and value <= threshold)
        if stamp > 0 and not fits:
            if op >= 0:
                shift_order(x, state, op, here)
                continue
            restore_bundle(x, state.home, state.held, scratch.bundle, scratch.old, moved)
            place_groups(x, state, scratch.bundle, moved)
            copy_range(state.widest, 0, scratch.widest, 0, len(state.widest))
            continue
        kept += 1
        if over < state.value[3] or (over == state.value[3] and value < state.value[2]):
            keep_best(state, value, over)
        state.value[0], state.value[1] = value, over
        if kept % 64 == 0:
            for d in range(len(state.widest)):
                refit(x, state.home, state.widest, d)
