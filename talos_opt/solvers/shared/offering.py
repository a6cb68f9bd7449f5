"""Handing in a placement that a relaxation has found."""

from __future__ import annotations

from talos_opt.core.occupancy import static_memory
from talos_opt.core.problem import Floats, Ints, MemoryRule
from talos_opt.core.simulator import MemoryDeadlockError, simulate
from talos_opt.core.transfers import NoRouteError
from talos_opt.solvers.engine.run import Run


def offer_placement(run: Run, device: Ints, priority: Floats | Ints, name: str) -> bool:
    """List-schedule a placement and offer it; a relaxed one need not fit, which is no error.

    Parameters
    ----------
    run : Run
    device : (n,) int
    priority : (n,) float
        Smaller first.
    name : str
        Who to report as.

    Returns
    -------
    bool
        Whether it became the incumbent.
    """
    problem = run.problem
    static = problem.memory_rule is MemoryRule.STATIC
    if not problem.keeps_stages(device):
        return False
    if static and (static_memory(problem, device) > problem.arrays.capacity).any():
        return False
    try:
        return run.offer(simulate(problem, device, priority), name)
    except (NoRouteError, MemoryDeadlockError):
        return False  # a missing route, or memory over time, which the relaxation does not know
