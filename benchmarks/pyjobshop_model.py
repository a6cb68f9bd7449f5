"""A problem as PyJobShop's model, as far as that can say it: a peer for `benchmarks.sets`.

PyJobShop (Lan and Berkhout; `pip install pyjobshop`) solves shops by CP-SAT. It knows machines,
modes and precedence, no tensors that travel and no memory: other problems have no such peer.
"""

from __future__ import annotations

import math
from importlib.util import find_spec
from typing import Any

import numpy as np

from talos_opt import Problem
from talos_opt.core.problem import Objective

#: Parts that a unit of time is cut into where times are not whole.
_PARTS = 1000


def covers(problem: Problem) -> bool:
    """Whether PyJobShop is installed and can say all of the problem."""
    arrays = problem.arrays
    crossing = len(arrays.edge_src) and (
        (arrays.via != -1).any() or (arrays.latency > 0).any() or (arrays.per_byte > 0).any()
    )
    return (
        find_spec("pyjobshop") is not None
        and problem.objective is Objective.MAKESPAN
        and not crossing
        and not arrays.memory_limited
        and arrays.group_count == arrays.op_count
    )


def solve(problem: Problem, time_limit: float, workers: int) -> float | None:
    """Return the makespan that PyJobShop finds with its defaults, None if it finds none."""
    from pyjobshop import Model

    arrays = problem.arrays
    scale = 1 if _whole(arrays.time) and _whole(arrays.release) else _PARTS
    model: Any = Model()
    resources = [
        model.add_machine() if slots == 1 else model.add_renewable(capacity=slots)
        for slots in arrays.slots.tolist()
    ]
    tasks = [
        model.add_task(earliest_start=math.ceil(scale * float(arrays.release[j])))
        for j in arrays.model.tolist()
    ]
    for i, d in np.argwhere(np.isfinite(arrays.time)).tolist():
        length = math.ceil(scale * float(arrays.time[i, d]))
        if arrays.slots[d] == 1:
            model.add_mode(tasks[i], resources[d], length)
        else:
            model.add_mode(tasks[i], resources[d], length, demands=int(arrays.demand[i]))
    for a, b in zip(arrays.edge_src.tolist(), arrays.edge_dst.tolist(), strict=True):
        model.add_end_before_start(tasks[a], tasks[b])
    model.set_objective(weight_makespan=1)
    found = model.solve(time_limit=time_limit, display=False, num_workers=workers)
    value = float(found.objective)
    return value / scale if math.isfinite(value) else None


def _whole(times: Any) -> bool:
    known = times[np.isfinite(times)]
    return bool((known == np.round(known)).all())
