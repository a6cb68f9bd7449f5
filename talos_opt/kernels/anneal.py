"""Simulated annealing over placement and order.

State: a device per colocation group, and an order of the ops. A move carries a connected bundle
of groups to the device of a neighbour, or an op to another place in the order. Its value is that
of a full pass (`list_schedule`), or of the loads that it changes (bottleneck). Memory is hard: a
move may not add to what exceeds it, so a start that does not fit is repaired first.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from talos_opt.kernels.compiling import kernel, part
from talos_opt.kernels.instance import (
    BOTTLENECK,
    FROZEN,
    GROUP,
    OBJECTIVE,
    PARTED,
    PEAK,
    STAGED,
)
from talos_opt.kernels.listing import list_schedule
from talos_opt.kernels.liveness import peak_overflow
from talos_opt.kernels.loads import (
    add_op_load,
    add_tensor_load,
    largest,
    placement_loads,
    smoothed,
    unreachable,
)
from talos_opt.kernels.moves import (
    LARGEST,
    below,
    grow_bundle,
    next_random,
    overflow,
    pick_target,
    refit,
    restore_bundle,
    shift_bundle,
)
from talos_opt.kernels.sorting import copy_range, stable_order
from talos_opt.kernels.stages import keeps_stages

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

INF = np.inf
#: Weight of an edge without a route among the bytes of memory overflow: above all of them.
UNREACHED = 1e18
#: Share of the bundle moves that bring another bundle back in exchange.
EXCHANGES = 0.3


class State(NamedTuple):
    """A point of the search, and the best one seen; changed in place.

    Parameters
    ----------
    home, best_home : (g,) int
        Device of each group.
    device : (n,) int
        Device of each op.
    order, best_order : (n,) int
        Order of the ops, producers first.
    place : (n,) int
        Position of each op in `order`.
    held, widest : (m,) int
        Bytes of the groups on each device, and the largest workspace.
    load : (m,) float
    channel : (c,) float
        Loads, for the bottleneck.
    value : (4,) float
        Value and excess (bytes over memory, edges without a route) of the point; then those of
        the best one.
    random : (1,) uint64
    """

    home: Ints
    best_home: Ints
    device: Ints
    order: Ints
    best_order: Ints
    place: Ints
    held: Ints
    widest: Ints
    load: Floats
    channel: Floats
    value: Floats
    random: npt.NDArray[np.uint64]


class Scratch(NamedTuple):
    """Working space of one annealing run.

    Parameters
    ----------
    bundle, old : (LARGEST,) int
        Groups that move, and the devices that they leave.
    mark : (g,) int
        Move that last touched a group; negative for those that moved in it.
    op_mark, tensors : (n,) int
        Move that last touched an op; ops whose tensors change their hops.
    size : (m,) int
        See `add_tensor_load`.
    load, channel : float
        Loads before the move.
    widest : (m,) int
        Largest workspaces before the move.
    """

    bundle: Ints
    old: Ints
    mark: Ints
    op_mark: Ints
    tensors: Ints
    size: Ints
    load: Floats
    channel: Floats
    widest: Ints


@part
def evaluate(x, times, state, threshold):  # type: ignore[no-untyped-def]
    """Value of the state from scratch, and its memory overflow under the peak rule."""
    if x.rule[OBJECTIVE] == BOTTLENECK and x.rule[PEAK] == 0:
        size = np.zeros(len(x.device), dtype=np.int64)
        placement_loads(x, state.device, size, state.load, state.channel)
        return largest(state.load, state.channel), 0.0
    value = list_schedule(x, times, state.device, state.order, threshold)
    over = 0.0
    if x.rule[PEAK] == 1 and value < INF:
        over = float(peak_overflow(x, times, state.device))
    if x.rule[OBJECTIVE] == BOTTLENECK and value < INF:
        size = np.zeros(len(x.device), dtype=np.int64)
        placement_loads(x, state.device, size, state.load, state.channel)
        value = largest(state.load, state.channel)
    if x.rule[FROZEN] == 1:
        price = x.price
        for group in range(len(state.home)):
            value += price[group, state.home[group]]
    return value, over


@part
def _touched(x, bundle, moved, mark, stamp, tensors):  # type: ignore[no-untyped-def]
    """Collect the ops whose tensors change their hops when a bundle moves; return how many."""
    group_ptr, group_op, in_ptr, in_op = x.group_ptr, x.group_op, x.in_ptr, x.in_op
    count = 0
    for k in range(moved):
        group = bundle[k]
        for member in range(group_ptr[group], group_ptr[group + 1]):
            op = group_op[member]
            if mark[op] != stamp:
                mark[op] = stamp
                tensors[count] = op
                count += 1
            for e in range(in_ptr[op], in_ptr[op + 1]):
                producer = in_op[e]
                if mark[producer] != stamp:
                    mark[producer] = stamp
                    tensors[count] = producer
                    count += 1
    return count


@part
def place_groups(x, state, bundle, moved):  # type: ignore[no-untyped-def]
    """Let the ops of moved groups follow them."""
    group_ptr, group_op, home, device = x.group_ptr, x.group_op, state.home, state.device
    for k in range(moved):
        group = bundle[k]
        for member in range(group_ptr[group], group_ptr[group + 1]):
            device[group_op[member]] = home[group]


@part
def _shift_loads(x, state, scratch, count, sign, stamp):  # type: ignore[no-untyped-def]
    """Add or take back what the touched tensors, and the ops of the moved groups, load."""
    tensors, mark, table, size = scratch.tensors, scratch.mark, x.op, scratch.size
    home, load, channel = state.device, state.load, state.channel
    for k in range(count):
        op = tensors[k]
        add_tensor_load(x, op, home, size, load, channel, sign)
        if mark[table[op, GROUP]] == -stamp:
            add_op_load(x, op, home[op], load, sign)


@part
def shift_order(x, state, op, target):  # type: ignore[no-untyped-def]
    """Move an op to another position in the order, shifting those in between."""
    order, place = state.order, state.place
    position = place[op]
    step = 1 if target > position else -1
    while position != target:
        other = order[position + step]
        order[position] = other
        place[other] = position
        position += step
    order[target] = op
    place[op] = target


@part
def _window(x, state, op, reach):  # type: ignore[no-untyped-def]
    """Positions that an op may take in the order: behind its inputs, before its readers."""
    low, high = 0, len(state.order) - 1
    for e in range(x.in_ptr[op], x.in_ptr[op + 1]):
        low = max(low, state.place[x.in_op[e]] + 1)
    for e in range(x.out_ptr[op], x.out_ptr[op + 1]):
        high = min(high, state.place[x.out_op[e]] - 1)
    return max(low, state.place[op] - reach), min(high, state.place[op] + reach)


@part
def _set_order(state, order):  # type: ignore[no-untyped-def]
    for position in range(len(order)):
        state.order[position] = order[position]
        state.place[order[position]] = position


@part
def sort_by_start(x, times, state, value, over):  # type: ignore[no-untyped-def]
    """Put the ops in the order in which they started, unless that makes the schedule worse.

    It can where tensors queue: they are sent when the first op in the order asks for them.

    Returns
    -------
    (float, float)
        Value and bytes over memory (peak rule) of the order that stays; given as those before.
    """
    order, start = state.order, times.start
    starts = np.empty(len(order))
    for position in range(len(order)):
        starts[position] = start[order[position]]
    before = order.copy()
    ranked = stable_order(starts)
    _set_order(state, before[ranked])
    sorted_value, sorted_over = evaluate(x, times, state, INF)
    if sorted_over > over or sorted_value > value:
        _set_order(state, before)
        return value, over
    return sorted_value, sorted_over


@part
def keep_best(state, value, over):  # type: ignore[no-untyped-def]
    """Take the point, of this value and excess, for the best one seen."""
    state.value[2], state.value[3] = value, over
    copy_range(state.best_home, 0, state.home, 0, len(state.home))
    copy_range(state.best_order, 0, state.order, 0, len(state.order))


@part
def _bundle_size(random):  # type: ignore[no-untyped-def]
    """Draw how many groups move together: mostly few, sometimes up to `LARGEST`."""
    limit = 1
    while limit < LARGEST and next_random(random) < 0.6:
        limit *= 2
    return min(LARGEST, 1 + below(random, limit))


@part
def move_op(x, state):  # type: ignore[no-untyped-def]
    """Move a random op to a random position that its edges allow; return op and old position.

    The op is -1 if nothing changed.
    """
    op = below(state.random, len(state.order))
    low, high = _window(x, state, op, len(state.order))
    here = state.place[op]
    target = low + below(state.random, high - low + 1) if high > low else here
    if target == here:
        return -1, here
    shift_order(x, state, op, target)
    return op, here


@part
def move_bundle(x, state, allowed, scratch, stamp):  # type: ignore[no-untyped-def]
    """Move a connected bundle of groups to another device; return how many groups moved.

    Sometimes another bundle comes back in exchange, for where memory is tight. Groups and their
    memory are up to date then; the ops follow later.
    """
    bundle = scratch.bundle
    seed = below(state.random, len(state.home))
    same = next_random(state.random) < 0.8
    wanted = min(LARGEST - 1, _bundle_size(state.random))
    count = grow_bundle(
        x, state.random, state.home, seed, wanted, same, scratch.mark, stamp, bundle
    )
    target = pick_target(x, state.random, state.home, bundle, count, allowed)
    if target < 0:
        return 0
    source = state.home[seed]
    copy_range(scratch.widest, 0, state.widest, 0, len(state.widest))
    moved = shift_bundle(
        x, state.home, state.held, state.widest, bundle, 0, count, target, allowed, scratch.old
    )
    if moved == 0 or next_random(state.random) > EXCHANGES:
        return moved
    other = below(state.random, len(state.home))
    if state.home[other] != target or scratch.mark[other] == stamp:
        return moved
    wanted = min(wanted, LARGEST - moved)
    back = bundle[moved:]
    count = grow_bundle(x, state.random, state.home, other, wanted, True, scratch.mark, stamp, back)
    return shift_bundle(
        x, state.home, state.held, state.widest, bundle, moved, moved + count, source, allowed,
        scratch.old,
    )  # fmt: skip


@part
def _copy_loads(target, source):  # type: ignore[no-untyped-def]
    copy_range(target.load, 0, source.load, 0, len(source.load))
    copy_range(target.channel, 0, source.channel, 0, len(source.channel))


@part
def _move_loads(x, state, scratch, moved, stamp):  # type: ignore[no-untyped-def]
    """Keep the loads up to date with groups that move, whose ops follow; return the largest.

    The loads before are kept in `scratch`.
    """
    _copy_loads(scratch, state)
    touched = _touched(x, scratch.bundle, moved, scratch.op_mark, stamp, scratch.tensors)
    for k in range(moved):
        scratch.mark[scratch.bundle[k]] = -stamp
    _shift_loads(x, state, scratch, touched, -1.0, stamp)
    place_groups(x, state, scratch.bundle, moved)
    _shift_loads(x, state, scratch, touched, 1.0, stamp)
    return largest(state.load, state.channel)


@kernel
def anneal(x, times, state, allowed, moves, hot, cold, order_share, smooth):  # type: ignore[no-untyped-def]
    """Value the point, then try a number of moves, cooling down geometrically.

    Parameters
    ----------
    x : Instance
    times : Times
    state : State
        Its value and loads need not be set.
    allowed : (g, m) bool
    moves : int
    hot, cold : float
        First and last temperature, in units of the value; above 0.
    order_share : float
        Share of the moves that change the order.
    smooth : bool
        Whether moves are judged by the 8-norm of the loads, where loads are all that counts: it
        leads across plateaus of the largest one.

    Returns
    -------
    int
        Moves that were kept.
    """
    groups, ops = len(state.home), len(state.device)
    loads = x.rule[OBJECTIVE] == BOTTLENECK and x.rule[PEAK] == 0
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
    temperature = hot
    kept = 0
    smooth = smooth and loads
    guide = next_guide = INF
    for stamp in range(moves + 1):
        op, here, moved = -1, 0, 0
        value, over, live, threshold = INF, 0.0, 0.0, INF
        if stamp > 0:
            temperature *= cooling
            threshold = guide - temperature * np.log(1.0 - next_random(state.random))
            if not loads and next_random(state.random) < order_share:
                op, here = move_op(x, state)
            else:
                moved = move_bundle(x, state, allowed, scratch, stamp)
            if op < 0 and moved == 0:
                continue
        if stamp > 0 and moved > 0 and x.rule[STAGED] != 0 and not keeps_stages(x, state.home):
            restore_bundle(x, state.home, state.held, scratch.bundle, scratch.old, moved)
            copy_range(state.widest, 0, scratch.widest, 0, len(state.widest))
            continue
        if x.rule[PEAK] == 0:
            over = float(overflow(x, state.held, state.widest))
        valued = stamp == 0 or over <= state.value[1]
        if valued:
            if stamp > 0 and loads:
                value = _move_loads(x, state, scratch, moved, stamp)
            else:
                place_groups(x, state, scratch.bundle, moved)
                # Where less is broken the value must be known, however bad.
                limit = INF if state.value[1] > 0 else threshold
                value, live = evaluate(x, times, state, limit)
                over += live
            if x.rule[PARTED]:
                over += UNREACHED * unreachable(x, state.device)
        next_guide = smoothed(state.load, state.channel, value) if smooth and valued else value
        # What breaks a limit by less is worth any value; by more, none.
        fits = over < state.value[1] or (over == state.value[1] and next_guide <= threshold)
        if stamp > 0 and not fits:
            if op >= 0:
                shift_order(x, state, op, here)
                continue
            restore_bundle(x, state.home, state.held, scratch.bundle, scratch.old, moved)
            place_groups(x, state, scratch.bundle, moved)
            copy_range(state.widest, 0, scratch.widest, 0, len(state.widest))
            if loads and valued:
                _copy_loads(state, scratch)
            continue
        kept += 1
        if over < state.value[3] or (over == state.value[3] and value < state.value[2]):
            if not loads and value < INF:
                value, sorted_live = sort_by_start(x, times, state, value, live)
                over += sorted_live - live
            keep_best(state, value, over)
        state.value[0], state.value[1] = value, over
        guide = next_guide if smooth else value
        if kept % 64 == 0:
            for d in range(len(state.widest)):
                refit(x, state.home, state.widest, d)
    return kept
