"""What a result gains over what one would do without a solver."""

from __future__ import annotations

from dataclasses import dataclass

from talos_opt.api import solve
from talos_opt.core.errors import UnsupportedError
from talos_opt.core.problem import Problem
from talos_opt.core.result import Result

#: Seconds that each of the two baselines may take; both are done in far less.
TIME_LIMIT = 10.0


@dataclass(frozen=True, slots=True)
class Gains:
    """A result's value beside those of two baselines, in the objective that it was solved for.

    Parameters
    ----------
    value : float
        Of the result.
    single : float or None
        Of everything on the best single device, by the solver `single`; None: no device can run
        and hold everything, or the rules for stages want several.
    device : str or None
        Which device that is.
    sequential : float or None
        Of filling the devices one after the other, as ``device_map="auto"`` does, by the solver
        `sequential`; None: it finds no schedule.
    """

    value: float
    single: float | None
    device: str | None
    sequential: float | None

    @property
    def over_single(self) -> float | None:
        """How many times as good as the best single device; None where that is undefined."""
        return _ratio(self.single, self.value)

    @property
    def over_sequential(self) -> float | None:
        """How many times as good as `sequential`; None where that is undefined."""
        return _ratio(self.sequential, self.value)


def gains(result: Result, *, time_limit: float = TIME_LIMIT) -> Gains | None:
    """Return what a result gains over the best single device and over `sequential`.

    Parameters
    ----------
    result : Result
        Where devices act as one in it, the baselines have every device on its own.
    time_limit : float
        Seconds for each baseline.

    Returns
    -------
    Gains or None
        None if the result has no schedule.
    """
    if result.schedule is None or result.value is None:
        return None
    problem = result.problem if result.problem.bundling is None else result.problem.bundling.base
    single, device = _baseline(problem, "single", time_limit)
    sequential, _ = _baseline(problem, "sequential", time_limit)
    return Gains(result.value, single, device, sequential)


def _baseline(problem: Problem, solver: str, time_limit: float) -> tuple[float | None, str | None]:
    """Return the value of a baseline, and the device of its first op."""
    try:
        found = solve(problem, solver, time_limit=time_limit, workers=1, explain=False, bundles={})
    except UnsupportedError:  # a pipeline of micro-batches, say
        return None, None
    if found.schedule is None:
        return None, None
    return found.value, problem.device_ids[int(found.schedule.device[0])]


def _ratio(other: float | None, value: float) -> float | None:
    return None if other is None or value <= 0 else other / value
