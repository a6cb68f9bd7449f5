"""What a result gains over what one would do without a solver."""

from __future__ import annotations

import time
from collections.abc import Iterable

from talos_opt.api import solve
from talos_opt.core import logs
from talos_opt.core.errors import InputError
from talos_opt.core.gains import Gains, Rules
from talos_opt.core.metrics import forced_value
from talos_opt.core.problem import Problem
from talos_opt.core.result import Result

#: Seconds that each of the two baselines may take; both are done in far less.
TIME_LIMIT = 10.0
#: The two of them.
BASELINES = ("single", "sequential")


def gains(result: Result, *, time_limit: float = TIME_LIMIT) -> Gains | None:
    """Return what a result gains over the best single device and over `sequential`.

    What the search ran of the two on its way, as `auto` does, is not run again.

    Parameters
    ----------
    result : Result
        Where devices act as one in it, the baselines have every device on its own.
    time_limit : float
        Seconds for each baseline; one that is not through by then counts as none. 0: none is run.

    Returns
    -------
    Gains or None
        None if the result has no schedule.
    """
    if result.schedule is None or result.value is None:
        return None
    problem = result.problem if result.problem.bundling is None else result.problem.bundling.base
    known = result.rules
    found = dict(known.found) if known is not None and known.problem is problem else {}
    missing = [name for name in BASELINES if name not in found]
    if time_limit > 0:
        found |= run_baselines(problem, time_limit=time_limit, names=missing).found
    single, device = found.get("single", (None, None))
    sequential, _ = found.get("sequential", (None, None))
    return Gains(result.value, single, device, sequential, forced_value(problem))


def run_baselines(
    problem: Problem, *, time_limit: float = TIME_LIMIT, names: Iterable[str] = BASELINES
) -> Rules:
    """Return what the baselines come to on a problem.

    Parameters
    ----------
    problem : Problem
    time_limit : float
        Seconds for each; what a baseline has not finished by then does not count.
    names : iterable of str
        Which of them.
    """
    found: dict[str, tuple[float, str]] = {}
    for name in names:
        began = time.monotonic()
        try:
            with logs.muted():
                result = solve(
                    problem, name, time_limit=time_limit, workers=1, explain=False, bundles={}
                )
        except InputError:  # it takes no such problem, or an op fits no device on its own
            continue
        cut_short = time.monotonic() - began >= time_limit
        if result.schedule is not None and result.value is not None and not cut_short:
            device = problem.device_ids[int(result.schedule.device[0])]
            found[name] = result.value, device
    return Rules(problem, found)
