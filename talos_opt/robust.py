"""Robust plans in Python: a placement and an order that are good however long ops take."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from talos_opt import api
from talos_opt.core import units
from talos_opt.core.config import SolveConfig
from talos_opt.core.errors import ConfigError, Interrupted
from talos_opt.core.machine import available_cores
from talos_opt.core.problem import Objective, Problem, Stages
from talos_opt.core.result import OPTIMALITY_TOLERANCE, Result, Status, relative_gap
from talos_opt.core.robustness import Asked, Risk
from talos_opt.core.schedule import Schedule
from talos_opt.solvers.engine.base import Solver
from talos_opt.solvers.engine.run import Progress
from talos_opt.solvers.robust import plan_robustly
from talos_opt.solvers.session import Cancel

#: Share of the time limit that the nominal plan may take; what it leaves is added to the rest.
NOMINAL_SHARE = 0.5


def solve_robust(
    problem: Problem | str | os.PathLike[str],
    solver: str | Solver | None = None,
    *,
    samples: int = 20,
    noise: float = 0.2,
    transfer_noise: float = 0.0,
    risk: Risk | str = "mean",
    objective: Objective | str | None = None,
    time_limit: float | None = None,
    seed: int | None = None,
    workers: int | None = None,
    options: Mapping[str, Mapping[str, Any]] | None = None,
    config: SolveConfig | None = None,
    warm_start: Schedule | None = None,
    on_progress: Callable[[Progress], None] | None = None,
    cancel: threading.Event | None = None,
    started: float | None = None,
    catch_interrupt: bool = False,
    stages: Stages | str | Mapping[str, Any] | None = None,
) -> Result:
    """Place and schedule a problem whose op times vary (docs/robust.md).

    Parameters
    ----------
    problem : Problem or path
    samples : int
        Samples that the search minimises the risk of.
    noise, transfer_noise : float
        Standard deviations of the factors that op times, and the transfers of what an op makes,
        are multiplied by: log-normal, with mean 1.
    risk : Risk or str
        ``mean``, or ``cvar:0.9`` for the mean of the worst tenth.
    time_limit : float, optional
        Seconds for both plans, the nominal and the robust one; default 10.
    solver, objective, seed, workers, options, config, warm_start, on_progress, cancel, started, \
catch_interrupt, stages
        As for `talos_opt.solve`, which finds the nominal plan. `seed` draws the samples, too.

    Returns
    -------
    Result
        Its schedule is the robust plan, `robust` what is known of it beside the nominal one.
        `value`, `status` and `gap` are without noise; the bound holds for the mean under noise,
        too. `robust` is None where there is no schedule, or where the run was cancelled before
        there was time for a robust one.

    Raises
    ------
    UnsupportedError
        For the objectives step and memory, the memory rule pipeline, and bundled devices.
    InputError, DependencyError, SolverError, InternalError, Interrupted
        As for `talos_opt.solve`.
    """
    asked = Asked(samples, noise, transfer_noise, Risk.of(risk))
    if config is not None and not isinstance(config, SolveConfig):
        raise ConfigError(
            f"config is {units.describe(config)}, expected a SolveConfig: load_config reads one"
        )
    own = api.own_solver(solver)
    plan = (config or SolveConfig()).override(
        solver=solver if own is None else own.name, objective=objective, time_limit=time_limit,
        seed=seed, workers=workers, options=options,
    )  # fmt: skip
    if plan.worth:
        raise ConfigError("worth has no effect on robust plans, expected none", path="worth")
    if not isinstance(problem, Problem):
        problem = api.read(problem)
    if plan.objective is not None:
        problem = problem.with_objective(plan.objective)
    if stages is not None:
        problem = problem.with_stages(stages)
    asked.require(problem)
    began = time.monotonic() if started is None else started
    nominal = api.solve(
        problem,
        own,
        config=replace(plan, time_limit=NOMINAL_SHARE * plan.time_limit),
        warm_start=warm_start,
        on_progress=on_progress,
        cancel=cancel,
        started=began,
        catch_interrupt=catch_interrupt,
    )
    nominal = replace(nominal, config=plan)
    if nominal.schedule is None or nominal.interrupted:
        return nominal
    try:
        return _robust(nominal, asked, plan, cancel, on_progress)
    except KeyboardInterrupt:
        cut = replace(nominal, interrupted=True)
        if catch_interrupt:
            return cut
        interrupt = Interrupted("interrupted; the nominal answer is in .result")
        interrupt.result = cut
        raise interrupt from None


def _robust(
    nominal: Result,
    asked: Asked,
    plan: SolveConfig,
    cancel: threading.Event | None,
    on_progress: Callable[[Progress], None] | None,
) -> Result:
    """Return the robust plan as a result, in the time that the nominal one has left."""
    began = time.monotonic()
    schedule = nominal.schedule
    assert schedule is not None
    # Compiling, which is in the run time, is in nobody's time limit.
    spent = min(nominal.runtime_s, NOMINAL_SHARE * plan.time_limit)
    found = plan_robustly(
        nominal.problem,
        schedule,
        asked,
        lower_bound=nominal.lower_bound,
        time_limit=plan.time_limit - spent,
        seed=plan.seed,
        workers=plan.workers or available_cores(),
        cancel=Cancel(cancel),
        on_progress=on_progress,
    )
    value, forced = found.robustness.chosen.value, found.robustness.forced
    assert nominal.value is not None
    proven = relative_gap(value, nominal.lower_bound, forced) <= OPTIMALITY_TOLERANCE
    if value <= nominal.value:
        proven = proven or nominal.status is Status.OPTIMAL
    return replace(
        nominal,
        schedule=found.schedule,
        status=Status.OPTIMAL if proven else Status.FEASIBLE,
        runtime_s=nominal.runtime_s + time.monotonic() - began,
        interrupted=cancel is not None and cancel.is_set(),
        notes=(*nominal.notes, *found.notes),
        robust=found.robustness,
    )
