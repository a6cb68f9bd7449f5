"""The Python API: read, solve, compare, check. It wires the parts and hides nothing."""

from __future__ import annotations

import copy
import os
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from talos_opt import formats
from talos_opt.core import logs, units
from talos_opt.core.bundles import Bundles
from talos_opt.core.config import SolveConfig
from talos_opt.core.errors import (
    ConfigError,
    DependencyError,
    InputError,
    InternalError,
    Interrupted,
    SolverError,
    UnsupportedError,
)
from talos_opt.core.feasibility import Violation
from talos_opt.core.feasibility import check as check_schedule
from talos_opt.core.given import require_kinds
from talos_opt.core.problem import Objective, Problem, Stages
from talos_opt.core.result import (
    Comparison,
    Result,
    Row,
    Status,
    compare_results,
    distinct_names,
)
from talos_opt.core.schedule import Schedule
from talos_opt.solvers.bundling import solve_bundles
from talos_opt.solvers.engine import registry
from talos_opt.solvers.engine.base import Solver, Verdict
from talos_opt.solvers.engine.compilation import MISSING, compile_all
from talos_opt.solvers.engine.exchange import Exchange
from talos_opt.solvers.engine.registry import SolverInfo
from talos_opt.solvers.engine.run import Progress
from talos_opt.solvers.session import Session
from talos_opt.solvers.shared.obstacles import find_obstacle

#: What `compare` runs when it is not told.
DEFAULT_COMPARISON = (
    "single", "sequential", "aswm", "tsam", "heft", "etf", "talos", "auto",
)  # fmt: skip


def read(
    source: str | os.PathLike[str],
    *,
    cluster: str | os.PathLike[str] | None = None,
    objective: Objective | str | None = None,
    format: str | None = None,
    bundles: Bundles | str | Mapping[str, Any] | None = None,
) -> Problem:
    """Read a problem from a graph file.

    Parameters
    ----------
    source : path, or '-' for standard input
    cluster : path, optional
        Replaces the cluster that the graph file names.
    objective : str, optional
        toct (default), makespan or bottleneck.
    format : str, optional
        Default: from suffix and contents.
    bundles : Bundles, mapping or 'all', optional
        Which devices may act as one, in place of what the cluster says (docs/bundles.md).

    Raises
    ------
    InputError
        Naming the file, the place in it, what was found and what was expected.
    """
    problem = formats.read_problem(
        source, format=format, cluster=cluster, objective=objective, bundles=bundles
    )
    return problem if objective is None else problem.with_objective(objective)


def solve(
    problem: Problem | str | os.PathLike[str],
    solver: str | Solver | None = None,
    *,
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
    explain: bool = True,
    catch_interrupt: bool = False,
    worth: float | str | None = None,
    stages: Stages | str | Mapping[str, Any] | None = None,
    bundles: Bundles | str | Mapping[str, Any] | None = None,
    exchange: Exchange | None = None,
) -> Result:
    """Place and schedule a problem.

    Parameters
    ----------
    problem : Problem or path
    solver : str or Solver, optional
        One of `solvers()`, or a solver of your own (docs/plugins.md); default auto.
    objective : str, optional
        Overrides the problem's objective.
    time_limit : float, optional
        Seconds; default 10.
    seed : int, optional
        Default 0.
    workers : int, optional
        Threads; default: all cores.
    options : mapping of solver name to mapping, optional
        Options of single solvers.
    config : SolveConfig, optional
        Values for what is not given otherwise.
    warm_start : Schedule, optional
        A feasible schedule to start from.
    on_progress : callable, optional
        Called with a `Progress` on every improvement, from solver threads.
    cancel : threading.Event, optional
        Set it, from another thread, to stop; the best schedule so far is returned.
    started : float, optional
        `time.monotonic` value from which the time limit counts; default: now.
    explain : bool
        If the problem is infeasible, find out what would make it feasible, in what is left of the
        time limit, or two seconds if that is more.
    catch_interrupt : bool
        Return the best answer so far on Ctrl-C, instead of raising `Interrupted`.
    worth : float or str, optional
        Share of the value that fewer devices and transfers are worth: 0.005 or ``0.5%``; default 0.
    stages : Stages, str or mapping, optional
        Overrides the problem's rule for stages: ``acyclic``, or
        ``{"rule": "ordered", "use_all": True}``.
    bundles : Bundles, mapping or 'all', optional
        Overrides what the cluster says of bundles: ``{"gpu": {"sizes": [1, 2]}}``, or ``{}`` for
        none (docs/bundles.md).
    exchange : Exchange, optional
        With other solves of the same problem, which share incumbents and bounds; not where devices
        are bundled.

    Returns
    -------
    Result
        Its schedule, if there is one, has passed `check`. Where devices are bundled, its problem is
        the derived one, in which each bundle is a device.

    Raises
    ------
    InputError
        On bad input, unknown solvers or options, or features that the solver does not cover.
    DependencyError
        If a library that the solver needs is missing or known to break.
    SolverError
        If a backend failed and there is no schedule to return.
    InternalError
        If a solver broke a promise: a bug, here or in a backend. Its ``result`` is the best
        checked answer until then.
    Interrupted
        The KeyboardInterrupt of a Ctrl-C during the search. Its ``result`` is the best answer
        until then.
    """
    called = time.monotonic()
    if config is not None and not isinstance(config, SolveConfig):
        raise ConfigError(
            f"config is {units.describe(config)}, expected a SolveConfig: load_config reads one"
        )
    own = own_solver(solver)
    plan = (config or SolveConfig()).override(
        solver=solver if own is None else own.name, objective=objective, time_limit=time_limit,
        seed=seed, workers=workers, options=options, worth=worth,
    )  # fmt: skip
    if not isinstance(problem, Problem):
        problem = _read_path(problem, bundles)
        called = time.monotonic()  # the limit counts from when the file is read
    if plan.objective is not None:
        problem = problem.with_objective(plan.objective)
    if stages is not None:
        problem = problem.with_stages(stages)
    if bundles is not None:
        problem = problem.with_bundles(bundles)
    _create(plan, own)  # what is wrong with it is told before anything is logged
    given = problem
    begun = called if started is None else started

    def work(told: Callable[[Progress], None] | None) -> Result:
        try:
            return _search(given, plan, own, warm_start, told, cancel, begun, explain, exchange)
        except Interrupted as interrupt:
            if not catch_interrupt or interrupt.result is None:
                raise
            return interrupt.result

    return logs.solving(given, plan, on_progress, work)


def _search(
    problem: Problem,
    plan: SolveConfig,
    own: Solver | None,
    warm_start: Schedule | None,
    on_progress: Callable[[Progress], None] | None,
    cancel: threading.Event | None,
    started: float,
    explain: bool,
    exchange: Exchange | None,
) -> Result:
    """Solve as `solve` has been asked to, with what devices may act as one."""
    chosen = _create(plan, own)
    if problem.bundling is not None or problem.cluster.bundles:
        if warm_start is not None:
            _check_warm_start(problem, warm_start)
        return solve_bundles(
            problem,
            plan,
            lambda: _create(plan, own),
            warm_start=warm_start,
            on_progress=on_progress,
            cancel=cancel,
            started=started,
        )
    session = Session(
        problem,
        plan,
        on_progress=on_progress,
        cancel=cancel,
        started=started,
        exchange=exchange,
    )
    obstacle = find_obstacle(problem)
    if not obstacle:
        chosen.require(problem)
        if warm_start is not None:
            _check_warm_start(problem, warm_start)
            session.start_from(warm_start)
    verdict = Verdict(Status.INFEASIBLE, obstacle) if obstacle else session.solve(chosen)
    return session.conclude(verdict, explain=explain)


def compare(
    problems: Iterable[Problem] | Problem,
    solvers: Sequence[str | Solver] | None = None,
    *,
    objective: Objective | str | None = None,
    time_limit: float = 10.0,
    seed: int = 0,
    workers: int | None = None,
    options: Mapping[str, Mapping[str, Any]] | None = None,
    on_progress: Callable[[Progress], None] | None = None,
    on_row: Callable[[Row], None] | None = None,
    cancel: threading.Event | None = None,
    worth: float | str = 0.0,
) -> Comparison:
    """Run several solvers on one or more problems.

    Parameters
    ----------
    problems : Problem or iterable of Problem
    solvers : sequence of str or Solver, optional
        By name, or solvers of your own (docs/plugins.md); default: the baselines, talos and auto.
    on_row : callable, optional
        Called with each finished `Row`.
    worth : float or str
        As for `solve`.

    Returns
    -------
    Comparison
        A solver that does not cover a problem has a row with the reason instead of a result.
    """
    if isinstance(solvers, str):
        raise ConfigError(f"solvers is {solvers!r}, expected a list of names: [{solvers!r}]")
    chosen = tuple(solvers) if solvers is not None else DEFAULT_COMPARISON
    for solver in chosen:
        if own_solver(solver) is None:
            registry.create(str(solver), (options or {}).get(str(solver)))
    rows: list[Row] = []
    given = [problems] if isinstance(problems, Problem) else list(problems)
    for problem in given:
        if not isinstance(problem, Problem):
            raise InputError(f"problem is {units.describe(problem)}, expected a Problem")
    for graph, problem in distinct_names(given):
        for solver in chosen:
            name = solver.name if isinstance(solver, Solver) else solver
            if cancel is not None and cancel.is_set():
                break
            row = Row(graph, name, None)
            try:
                result = solve(
                    problem, solver, objective=objective, time_limit=time_limit, seed=seed,
                    workers=workers, options=options, on_progress=on_progress, cancel=cancel,
                    explain=False, worth=worth,
                )  # fmt: skip
                row = Row(graph, name, result)
            except (UnsupportedError, SolverError) as error:
                row = Row(graph, name, None, str(error))
            except (InternalError, Interrupted) as error:
                error.comparison = compare_results(rows)  # what is finished is not lost
                raise
            rows.append(row)
            if on_row is not None:
                on_row(row)
    return compare_results(rows)


def check(problem: Problem, schedule: Schedule) -> tuple[Violation, ...]:
    """Return every rule of the model that a schedule breaks: ``talos-opt check``.

    Parameters
    ----------
    problem : Problem
    schedule : Schedule
        From whatever source.

    Returns
    -------
    tuple of Violation
        Empty if it is feasible.

    Raises
    ------
    InputError
        If the two are something else.
    """
    require_kinds(problem, schedule)
    return check_schedule(problem, schedule)


def solvers() -> tuple[SolverInfo, ...]:
    """Return what is known about every solver; loads no backend."""
    return registry.describe()


def covers(problem: Problem, plan: SolveConfig) -> bool:
    """Tell whether the solver of a plan takes a problem.

    Raises
    ------
    ConfigError
        If there is no such solver or option.
    """
    return _create(plan).covers(problem)


def compile_kernels(
    on_progress: Callable[[float, str], None] | None = None,
    cancel: threading.Event | None = None,
) -> Path | None:
    """Compile all kernels into numba's cache, so that no later solve on this machine has to.

    Parameters
    ----------
    on_progress : callable, optional
        Called now and then with the share that is done, and what is not.
    cancel : threading.Event, optional
        Set it, from another thread, to stop.

    Returns
    -------
    Path or None
        The folder of the cache; None if cancelled.

    Raises
    ------
    InputError
        If no folder for it can be written to.
    DependencyError
        If numba cannot be imported.
    """
    try:
        return compile_all(on_progress or (lambda share, left: None), cancel or threading.Event())
    except ImportError as error:
        raise DependencyError(MISSING.format(error)) from error


def own_solver(solver: object) -> Solver | None:
    """Return a solver that is given as such, None for a name."""
    if solver is None or isinstance(solver, str):
        return None
    if isinstance(solver, type) and issubclass(solver, Solver):
        raise ConfigError(f"solver is the class {solver.__name__}, expected {solver.__name__}()")
    if not isinstance(solver, Solver):
        raise ConfigError(
            f"solver is {units.describe(solver)}, expected a name or a talos_opt.plugins.Solver"
        )
    registry.require_solver(type(solver), f"solver {type(solver).__name__}")
    return solver


def _create(plan: SolveConfig, own: Solver | None = None) -> Solver:
    """Return the solver of a plan, with what it asks of others, which `auto` runs too."""
    for name in plan.options:
        if own is not None and name == own.name:
            raise ConfigError(
                f"solver {name!r} is given with the options that it has", path=f"options.{name}"
            )
        if name not in registry.names():
            raise ConfigError(
                f"options name the unknown solver {name!r}, expected one of: "
                f"{', '.join(registry.names())}",
                path=f"options.{name}",
            )
        registry.create(name, plan.options[name])  # also where another solver is asked for
    if own is None:
        chosen = registry.create(plan.solver, plan.options.get(plan.solver, {}))
    else:
        chosen = copy.copy(own)  # it may be solving something else
    chosen.others = plan.options
    return chosen


def _read_path(source: object, bundles: Bundles | str | Mapping[str, Any] | None) -> Problem:
    if not isinstance(source, str | os.PathLike):
        raise InputError(
            f"problem is {units.describe(source)}, expected a Problem or the path of a graph file"
        )
    return read(source, bundles=bundles)


def _check_warm_start(problem: Problem, schedule: Schedule) -> None:
    if not isinstance(schedule, Schedule):
        raise InputError(f"warm_start is {units.describe(schedule)}, expected a Schedule")
    violations = check_schedule(problem, schedule)
    if violations:
        raise InputError(f"the warm start is not a feasible schedule: {violations[0]}")
