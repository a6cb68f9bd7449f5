"""From a schedule of packs back to a schedule of ops."""

from __future__ import annotations

import math

import numpy as np

from talos_opt.core.problem import Ints
from talos_opt.core.schedule import Schedule
from talos_opt.solvers.engine.run import Run
from talos_opt.solvers.large.passes import Candidate, Passes
from talos_opt.solvers.shared.offering import offer_placement
from talos_opt.solvers.shared.quotient import Packed

#: Above this size the simulator, which lets ops wait for memory, takes too long.
_SIMULATE_UP_TO_OPS = 20_000


def offer_unpacked(packed: Packed, schedule: Schedule, run: Run, name: str) -> bool:
    """Give every op the device of its pack, order them in two ways, and offer the better.

    Pack by pack as scheduled; and by the longest path that is left, which lets ops of other
    packs in between. What does not fit is dropped: packs know neither what is alive over time
    nor what waits for links.

    Parameters
    ----------
    packed : Packed
        Packs of the run's problem.
    schedule : Schedule
        Of the packs.
    run : Run
    name : str
        Who to report as.

    Returns
    -------
    bool
        Whether it became the incumbent.
    """
    from talos_opt.kernels.listing import upward_ranks

    problem = packed.original
    passes = Passes(problem, run.seed)
    device, listed = packed.unpack(schedule)
    order = np.array(listed, dtype=np.int64)
    base = problem.arrays.order
    rank = upward_ranks(passes.instance, device, base)
    orders = (order, base[np.argsort(-rank[base], kind="stable")])
    # A copy each: passes tell by the array whose times they hold.
    valued = [passes.value(Candidate(math.inf, device.copy(), item)) for item in orders]
    found = [item for item in valued if item is not None and math.isfinite(item.value)]
    if found:
        best = min(found, key=lambda item: item.value)
        return run.consider(passes.schedule(best), name)
    if passes.peak and problem.arrays.op_count <= _SIMULATE_UP_TO_OPS:
        return offer_placement(run, device, _positions(order), name)
    return False


def _positions(order: Ints) -> Ints:
    place = np.empty(len(order), dtype=np.int64)
    place[order] = np.arange(len(order))
    return place
