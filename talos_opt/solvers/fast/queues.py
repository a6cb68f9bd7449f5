"""What tabu search over queues needs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from talos_opt.core.problem import Objective, Problem
from talos_opt.solvers.shared.queues import route_delays

if TYPE_CHECKING:
    from talos_opt.kernels.queues import Queues


def make_queues(problem: Problem, seed: int) -> Queues:
    """Allocate queues and working space; the kernel fills them."""
    from talos_opt.kernels.queues import Queues

    arrays = problem.arrays
    several = problem.objective is Objective.TOCT
    lanes = len(arrays.release) if several else 1
    ops, devices = arrays.op_count, arrays.device_count

    def whole(count: int) -> np.ndarray:
        return np.zeros(count, dtype=np.int64)

    return Queues(
        lane=arrays.model.copy() if several else whole(ops),
        weight=arrays.model_weight.copy() if several else np.ones(1),
        delay=route_delays(arrays),
        home=whole(arrays.group_count),
        device=whole(ops),
        slot=whole(ops),
        before=whole(ops),
        after=whole(ops),
        first=whole(int(arrays.slots.sum())),
        last=whole(int(arrays.slots.sum())),
        order=whole(ops),
        place=whole(ops),
        head=np.zeros(ops),
        head_without=np.zeros(ops),
        tail=np.zeros((ops, lanes)),
        tail_without=np.zeros((ops, lanes)),
        done=np.zeros(lanes),
        held=whole(devices),
        widest=whole(devices),
        banned=whole(ops),
        mark=whole(ops),
        pick=whole(ops),
        counter=whole(4),
        value=np.full(3, np.inf),
        random=np.array([(seed + 1) % 2**63], dtype=np.uint64),
    )
