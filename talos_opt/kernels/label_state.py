"""What the label kernels compute with: facts, the shape of rows, and where things stand in them."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from talos_opt.kernels.compiling import part

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
    in_ptr, in_tensors : (n + 1,), (e,) int
        Op i reads ``in_tensors[in_ptr[i]:in_ptr[i + 1]]``.
    readers : (n,) int
        How many ops read each op; 0: a sink.
    model : (n,) int
    release, weight : (k,) float
    delay : (t, m, m) float
        Transfer time of each tensor, infinite without a route; (0, m, m) if nothing delays.
    slot_ptr : (m + 1,) int
        Slots of device d are entries ``slot_ptr[d]:slot_ptr[d + 1]`` of the slots.
    head, tail : (n, m) float
        Earliest start of an op on a device, and least time from its end there to the end of its
        model, in schedules below the cut-off; infinite where there is none.
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
    in_tensors: Ints
    readers: Ints
    model: Ints
    release: Floats
    weight: Floats
    delay: Floats
    slot_ptr: Ints
    head: Floats
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
        Tensors of scheduled ops with readers that are not.
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


@part
def positions(wanted, wanted_from, wanted_to, listed, from_, to):  # type: ignore[no-untyped-def]
    """Where each wanted number stands in a list, -1 if it does not."""
    found = np.full(wanted_to - wanted_from, -1, dtype=np.int64)
    for k in range(wanted_from, wanted_to):
        for position in range(from_, to):
            if listed[position] == wanted[k]:
                found[k - wanted_from] = position - from_
    return found


@part
def earliest(row, op, device, arrivals, inputs, facts):  # type: ignore[no-untyped-def]
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
