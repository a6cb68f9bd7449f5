"""Getting compiled kernels ready, outside the time limit."""

from __future__ import annotations

import time
from collections.abc import Callable

from talos_opt.core.cluster import Cluster, Device
from talos_opt.core.errors import DependencyError
from talos_opt.core.graph import Graph, Input, Model, Op
from talos_opt.core.problem import Problem
from talos_opt.solvers.engine.run import Progress, Run

#: Loading kernels from disk takes a fraction of a second, compiling them several seconds.
_COMPILED = 2.5


def tiny_problem() -> Problem:
    """Return the smallest problem that makes every kernel do something."""
    ops = (Op("a", {"cpu": 1.0}), Op("b", {"cpu": 1.0}, inputs=(Input("a"),)))
    cluster = Cluster((Device("cpu0", "cpu"), Device("cpu1", "cpu")))
    return Problem(Graph("tiny", (Model("tiny", ops),)), cluster)


def warm(run: Run, use: Callable[[], object]) -> None:
    """Call a kernel once on something tiny, and give the run back the time that it took.

    The first time ever on a machine this compiles, which is said; later it loads from disk.

    Parameters
    ----------
    run : Run
        Its deadline is moved by what compiling took.
    use : callable
        Imports and calls the kernels.

    Raises
    ------
    DependencyError
        If numba cannot be imported.
    """
    started = time.monotonic()
    if run.on_progress is not None:
        value = None if run.best is None else run.value
        stage = "preparing kernels (compiled once, on first use)"
        run.on_progress(Progress(run.elapsed, value, run.lower_bound, stage))
    try:
        use()
    except ImportError as error:
        raise DependencyError(
            f"compiled kernels need numba, which cannot be imported ({error}); "
            "run: pip install 'numba>=0.61'"
        ) from error
    spent = time.monotonic() - started
    if spent > _COMPILED:
        run.deadline += spent
        run.note(f"kernels were compiled for this machine, once: {spent:.1f} s beside the limit")
