"""What the kernel of the search over queues needs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from talos_opt.core.problem import Arrays, Floats, Ints, Objective, Problem
from talos_opt.solvers.shared.queues import route_delays

if TYPE_CHECKING:
    from talos_opt.kernels.instance import Instance
    from talos_opt.kernels.shop_queues import Shop


def make_shop(problem: Problem, instance: Instance, seed: int) -> Shop:
    """Allocate queues and working space; the kernel fills them."""
    from talos_opt.kernels.shop_queues import Shop

    arrays = problem.arrays
    several = problem.objective is Objective.TOCT
    lanes = len(arrays.release) if several else 1
    ops, devices = arrays.op_count, arrays.device_count
    choice_ptr, choice, choice_time = find_choices(instance)
    delay = route_delays(arrays)
    room = rows(problem, choice)

    def whole(count: int) -> Ints:
        return np.zeros(count, dtype=np.int64)

    return Shop(
        lane=arrays.model.astype(np.int64) if several else whole(ops),
        weight=arrays.model_weight.copy() if several else np.ones(1),
        delay=delay,
        rule=np.array([arrays.memory_limited, (delay > 0).any()], dtype=np.int64),
        style=np.array([8, 0, 8, 0], dtype=np.int64),
        choice_ptr=choice_ptr,
        choice=choice,
        choice_time=choice_time,
        row_ptr=room,
        row=whole(int(room[-1])),
        length=whole(len(room) - 1),
        place=np.zeros((ops, 3), dtype=np.int64),
        point=np.zeros((ops, 4)),
        after=np.zeros((ops, lanes)),
        reach=np.zeros((ops, lanes)),
        done=np.zeros(lanes),
        order=whole(ops),
        rank=whole(ops),
        mark=whole(ops),
        moved=whole(ops),
        home=whole(arrays.group_count),
        held=whole(devices),
        widest=whole(devices),
        banned=whole(len(choice)),
        pick=whole(ops),
        first_device=whole(ops),
        first_order=whole(ops),
        best_device=whole(ops),
        best_head=np.zeros(ops),
        counter=whole(2),
        value=np.full(2, np.inf),
        random=np.array([seed % 2**63], dtype=np.uint64),
    )


def with_largest_bytes(arrays: Arrays, instance: Instance) -> Instance:
    """Return an instance in which all readers of a tensor name the most bytes that one does.

    A hop carries the most that any reader behind it names, which a delay for each edge cannot tell;
    so schedules are no later than the search takes them to be.
    """
    if arrays.tensor_bytes is not None:
        return instance
    largest = arrays.sent_bytes
    return instance._replace(
        in_bytes=largest[instance.in_tensor], out_bytes=largest[arrays.edge_tensor].astype(np.int64)
    )


def find_choices(instance: Instance) -> tuple[Ints, Ints, Floats]:
    """Devices that each op may run on (CSR), the quickest first, and how long it takes there."""
    can = np.isfinite(instance.time)
    by_time = np.argsort(instance.time, axis=1, kind="stable")
    time = np.take_along_axis(instance.time, by_time, axis=1)
    kept = np.take_along_axis(can, by_time, axis=1)
    ptr = np.concatenate([[0], np.cumsum(can.sum(axis=1))]).astype(np.int64)
    return ptr, by_time[kept].astype(np.int64), time[kept]


def rows(problem: Problem, choice: Ints) -> Ints:
    """Where the room for each slot's queue begins: each can take all ops that may run there."""
    arrays = problem.arrays
    room = np.repeat(np.bincount(choice, minlength=arrays.device_count), arrays.slots)
    return np.concatenate([[0], np.cumsum(room)]).astype(np.int64)
