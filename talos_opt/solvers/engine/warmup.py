"""Getting compiled kernels ready, with the compiling outside the time limit."""

from __future__ import annotations

from contextlib import ExitStack

from talos_opt.core.cluster import Cluster, Device
from talos_opt.core.errors import DependencyError
from talos_opt.core.graph import Graph, Input, Model, Op
from talos_opt.core.problem import Problem
from talos_opt.core.result import Status
from talos_opt.solvers.engine.base import Verdict
from talos_opt.solvers.engine.compilation import MISSING, is_loaded
from talos_opt.solvers.engine.run import Progress, Run

#: Seconds between two looks at the clock and the cancel flag.
_PATIENCE = 0.05
#: What a result says where kernels were missing to the end.
TOO_LATE = "kernels were not compiled in time; `talos-opt warmup` compiles them once and for all"


def tiny_problem() -> Problem:
    """Return the smallest problem that makes every kernel do something."""
    ops = (Op("a", {"cpu": 1.0}), Op("b", {"cpu": 1.0}, inputs=(Input("a"),)))
    cluster = Cluster((Device("cpu0", "cpu"), Device("cpu1", "cpu")))
    return Problem(Graph("tiny", (Model("tiny", ops),)), cluster)


def get_ready(run: Run, *names: str, urgent: bool = True) -> bool:
    """Wait until kernels can be called; what compiling takes is in nobody's time.

    Parameters
    ----------
    run : Run
    *names : str
        See `compilation.KERNELS`.
    urgent : bool
        Whether to wait on in the run's own time where its clock cannot be held any longer.

    Returns
    -------
    bool
        False if they are not there: the run was cancelled, or the time was over.

    Raises
    ------
    DependencyError
        If numba cannot be imported.
    """
    if all(map(is_loaded, names)):
        return True
    kernels = run.kernels
    kernels.start(*names)
    with ExitStack() as stack:
        held = False
        while not kernels.are_done(*names):
            if run.cancel.is_set():
                return False
            if kernels.compiling and not held:
                if run.best is not None and run.spent:
                    return False
                held = True
                stack.enter_context(run.clock.hold())
                tell_compiling(run)
            if not held and run.best is not None and run.spent:
                return False
            if held and run.clock.exhausted and (run.spent or not urgent):
                run.note(TOO_LATE)
                return False
            kernels.wait(_PATIENCE, *names)
    try:
        kernels.raise_errors(*names)
    except ImportError as error:
        raise DependencyError(MISSING.format(error)) from error
    return True


def give_up(run: Run, name: str) -> Verdict:
    """Return the verdict of a solver whose kernels were not there in time."""
    if run.best is not None:
        return Verdict(Status.FEASIBLE)
    return Verdict(Status.UNKNOWN, f"{name}: the time was over before its kernels were compiled")


def tell_compiling(run: Run) -> None:
    """Tell the caller what is waited for."""
    if run.on_progress is not None:
        value = None if run.best is None else run.value
        stage = "compiling kernels (once, on first use)"
        run.on_progress(Progress(run.elapsed, value, run.lower_bound, stage))
