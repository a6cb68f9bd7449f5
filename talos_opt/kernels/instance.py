"""A problem as the local-search kernels see it: plain arrays in a named tuple."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Shorts = npt.NDArray[np.int32]

#: Columns of `Instance.op`.
DEMAND, MODEL, GROUP, FORWARD = 0, 1, 2, 3
#: Columns of `Instance.memory`.
WEIGHTS, OUTPUT, WORKSPACE = 0, 1, 2
#: Columns of `Instance.tensor`.
MAKER, SIZE = 0, 1
#: Columns of `Instance.device`.
FIRST_SLOT, LAST_SLOT, ENGINE, CAPACITY = 0, 1, 2, 3
#: Layers of `Instance.route`.
VIA, CHANNEL = 0, 1
#: Entries of `Instance.rule`.
OBJECTIVE, UNIFORM, PEAK, PARTED, STAGED, FROZEN = 0, 1, 2, 3, 4, 5
#: Values of ``rule[OBJECTIVE]``.
TOCT, MAKESPAN, BOTTLENECK = 0, 1, 2
#: Bits of ``rule[STAGED]``.
ACYCLIC, ORDERED, USE_ALL = 1, 2, 4


class Instance(NamedTuple):
    """n ops, m devices, e edges, k models, g colocation groups, in array order.

    Parameters
    ----------
    time : (n, m) float
        Infinite where an op's group is not allowed.
    op : (n, 4) int
        Slots held, model, colocation group, whether it is a forward op.
    memory : (n, 3) int
        Bytes of weights, output, workspace.
    in_ptr, in_op, in_tensor, in_bytes : (n + 1,), (e,), (e,), (e,) int
        Producers of each op, which of their tensors it reads, and the bytes that it names.
    out_ptr, out_op, out_bytes : (n + 1,), (e,), (e,) int
        Readers of each op, tensor by tensor, and the bytes that they name.
    tensor_ptr, read_ptr : (n + 1,), (t + 1,) int
        Tensors that op i makes are ``tensor_ptr[i]:tensor_ptr[i + 1]``; readers of tensor r are
        ``out_op[read_ptr[r]:read_ptr[r + 1]]``.
    tensor : (t, 2) int
        Op that makes each tensor, bytes.
    model : (k, 2) float
        Release, weight.
    device : (m, 4) int
        First slot, one past the last, whether it has a copy engine, usable bytes.
    link : (2, m, m) float
        Latency, time per byte of a direct hop.
    route : (2, m, m) int
        Staging device (-1: direct, -2: no route), channel (-1: none).
    group : (g, 2) int
        Bytes held by a group (weights and outputs), its largest workspace.
    group_ptr, group_op : (g + 1,), (n,) int
        Members of each group.
    near_ptr, near : (g + 1,), int
        Groups that share an edge with each group.
    tail : (n,) float
        Least time from an op's end to the end of its model.
    rule : (6,) int
        Objective; whether all readers of a tensor name the same bytes; whether memory is live;
        whether some devices have no route between them; what is asked of stages; whether something
        has started, which only `list_schedule` and what values its passes know of.
    ready : (n,) float
        When each op may start at the earliest; of one that has started, when it does.
    fixed : (n,) bool
        Whether it has started.
    since : (1,) float
        When all else starts at the earliest, hops too.
    begun : (t, m) float
        When each tensor was sent to each device; -1: it was not. Empty if nothing has started.
    open_slot, open_channel : (s,), (c,) float
        From when on each slot and channel is free.
    price : (g, m) float
        What it costs to have a group on a device. Empty if nothing has started.
    """

    time: Floats
    op: Ints
    memory: Ints
    in_ptr: Ints
    in_op: Ints
    in_tensor: Ints
    in_bytes: Ints
    out_ptr: Ints
    out_op: Ints
    out_bytes: Ints
    tensor_ptr: Ints
    read_ptr: Ints
    tensor: Ints
    model: Floats
    device: Ints
    link: Floats
    route: Ints
    group: Ints
    group_ptr: Ints
    group_op: Ints
    near_ptr: Ints
    near: Ints
    tail: Floats
    rule: Ints
    ready: Floats
    fixed: npt.NDArray[np.bool_]
    since: Floats
    begun: Floats
    open_slot: Floats
    open_channel: Floats
    price: Floats


class Times(NamedTuple):
    """Where a schedule is written to; overwritten by every pass.

    Hops are numbered through all passes: those of the last one are `clock[0]` to `clock[1]`, and
    stand in the arrays from 0 on.

    Parameters
    ----------
    start, end : (n,) float
    sent : (t, m) int32
        Number of the last hop that brought a tensor to a device; 0: none.
    hop_tensor, hop_source, hop_target : (h,) int32
        What went from where to where; at most one hop for each tensor and device.
    hop_start, hop_end : (h,) float
        When it was sent, and from when on it can be read.
    slot : (s,) float
        When each slot of each device is free again.
    channel : (c,) float
    done : (k,) float
        Completion time of each model.
    clock : (2,) int
        Number of the first hop of the last pass, and one past its last.
    """

    start: Floats
    end: Floats
    sent: Shorts
    hop_tensor: Shorts
    hop_source: Shorts
    hop_target: Shorts
    hop_start: Floats
    hop_end: Floats
    slot: Floats
    channel: Floats
    done: Floats
    clock: Ints
