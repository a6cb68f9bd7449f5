"""One case: from a request of plain data to a row of plain data."""

from __future__ import annotations

import json
import math
import threading
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from talos_opt import api
from talos_opt.core.bundling import bundled
from talos_opt.core.config import SolveConfig
from talos_opt.core.errors import DependencyError, InputError, InternalError, SolverError
from talos_opt.core.metrics import forced_value
from talos_opt.core.problem import Problem
from talos_opt.core.result import OPTIMALITY_TOLERANCE, Result, Status, relative_gap
from talos_opt.core.schedule import Schedule
from talos_opt.core.simulator import MemoryDeadlockError, simulate
from talos_opt.core.transfers import NoRouteError
from talos_opt.formats.schedule import finite
from talos_opt.formats.schedule_document import bound_schedule
from talos_opt.formats.schedule_header import read_header
from talos_opt.formats.source import Source
from talos_opt.formats.talos import read_problem
from talos_opt.solvers.engine.exchange import OTHERS, Exchange
from talos_opt.studies.portfolios.news import Mailbox
from talos_opt.studies.store import pack, unpack


def make_request(
    document: Mapping[str, Any],
    *,
    objective: str,
    solver: str,
    seed: int,
    time_limit: float,
    threads: int | None,
) -> dict[str, Any]:
    """Return what `solve_request` takes.

    Where `threads` is None, whoever receives it decides. Beside these, a request may have

    - ``neighbour``, the row of the case to start from, and ``relaxed``: that what is proven of the
      neighbour holds for this case too;
    - ``shared``: others solve the same problem meanwhile, and there is news;
    - ``options`` and ``worth``, those of `SolveConfig`.
    """
    return {
        "graph": json.dumps(document).encode(),
        "objective": objective,
        "solver": solver,
        "seed": seed,
        "time_limit": time_limit,
        "threads": threads,
    }


def solve_request(
    request: Mapping[str, Any], mailbox: Mailbox | None, cancel: threading.Event
) -> dict[str, Any]:
    """Solve a case; a failure is a row with its reason.

    Parameters
    ----------
    request : mapping
        See `make_request`.
    mailbox : Mailbox, optional
        For a case with ``shared``.
    cancel : threading.Event
    """
    began = time.perf_counter()
    try:
        row = _solve(request, mailbox if request.get("shared") else None, cancel)
    except InputError as error:  # the line would be that of a document that nobody sees
        text = f"{error.path}: {error.message}" if error.path else error.message
        row = {"status": "failed", "reason": f"{type(error).__name__}: {text}"}
    except (SolverError, DependencyError, InternalError) as error:
        row = {"status": "failed", "reason": f"{type(error).__name__}: {error}"}
    except MemoryError:
        row = {"status": "failed", "reason": "MemoryError: out of memory"}
    except Exception as error:  # a bug, of which the other cases need not know
        row = {"status": "failed", "reason": f"internal error: {type(error).__name__}: {error}"}
    return row | {
        "threads": request["threads"],
        "wall_s": time.perf_counter() - began,
        "peak_bytes": peak_bytes(),
    }


def _solve(
    request: Mapping[str, Any], mailbox: Mailbox | None, cancel: threading.Event
) -> dict[str, Any]:
    source = Source("the case", Path("case.json"), request["graph"])
    problem = read_problem(source, objective=request["objective"])
    neighbour = request.get("neighbour") or {}
    relaxed = bool(request.get("relaxed"))
    began = time.perf_counter()
    problem, warm = _transplant(problem, neighbour)
    plan = SolveConfig(
        solver=request["solver"],
        seed=request["seed"],
        time_limit=request["time_limit"],
        workers=request["threads"],
        options=request.get("options", {}),
        worth=request.get("worth", 0.0),
    )
    result = _settled(problem, warm, neighbour, plan) if relaxed else None
    bound_from = None if result is None else neighbour["fingerprint"]
    if result is None:
        exchange = None if mailbox is None else mailbox.open()
        if relaxed and neighbour["lower_bound"] is not None:
            exchange = exchange or Exchange(lambda schedule, bound: None)
            exchange.post(None, neighbour["lower_bound"])  # the search ends where it meets this
        result = api.solve(
            problem, config=plan, warm_start=warm, cancel=cancel, explain=False, exchange=exchange
        )
        if relaxed:
            result, raised = _raised(result, neighbour)
            bound_from = neighbour["fingerprint"] if raised or _is_of_others(result) else None
    else:
        result = replace(result, runtime_s=time.perf_counter() - began)
    found = result.schedule is not None
    return {
        "status": result.status.value,
        "value": result.value,
        "lower_bound": None if result.status is Status.INFEASIBLE else finite(result.lower_bound),
        "gap": result.gap,
        "time_unit": problem.graph.time_unit,
        "runtime_s": result.runtime_s,
        "warm_start": None if warm is None else neighbour["fingerprint"],
        "bound_from": bound_from,
        "reason": result.reason,
        "metrics": json.dumps(finite(result.metrics.to_dict())) if result.metrics else None,
        "schedule": pack(finite(result.to_dict())) if found else None,
    }


def _transplant(problem: Problem, neighbour: Mapping[str, Any]) -> tuple[Problem, Schedule | None]:
    """Return a neighbour's schedule where it is feasible here, and the problem that it is of.

    As it is, or with its placement and order simulated again. Where the neighbour's devices are
    bundled, the problem is the one with the same bundles.
    """
    if not neighbour.get("schedule"):
        return problem, None
    try:
        document = unpack(neighbour["schedule"])
        bundles = read_header(document).bundles
        found = bundled(problem, bundles) if bundles else problem
        schedule = bound_schedule(document, found)
        if not api.check(found, schedule):
            return found, schedule
        arrays = found.arrays
        if not arrays.allowed[arrays.group, schedule.device].all():
            return problem, None
        schedule = simulate(found, schedule.device, schedule.start)
    except (InputError, NoRouteError, MemoryDeadlockError):  # a device is gone, a link, or room
        return problem, None
    return (problem, None) if api.check(found, schedule) else (found, schedule)


def _settled(
    problem: Problem, warm: Schedule | None, neighbour: Mapping[str, Any], plan: SolveConfig
) -> Result | None:
    """Return the answer where what is known of a relaxation leaves nothing to solve."""
    if neighbour["status"] == "infeasible":
        reason = "infeasible with at least as much memory too"
        return Result(
            problem, Status.INFEASIBLE, None, float("inf"), plan.solver, plan.seed, reason=reason
        )
    bound = neighbour["lower_bound"]
    if warm is None or bound is None:
        return None
    result = Result(
        problem, Status.OPTIMAL, warm, bound, plan.solver, plan.seed, config=plan,
        notes=("settled by the schedule and the bound of a case with at least as much memory",),
    )  # fmt: skip
    return result if result.gap is not None and result.gap <= OPTIMALITY_TOLERANCE else None


def _raised(result: Result, neighbour: Mapping[str, Any]) -> tuple[Result, bool]:
    """Return a result with a relaxation's bound where that is higher, and whether it is."""
    bound = neighbour["lower_bound"]
    if result.value is None or bound is None or bound <= result.lower_bound:
        return result, False
    bound = min(bound, result.value)
    gap = relative_gap(result.value, bound, forced_value(result.problem))
    status = Status.OPTIMAL if gap <= OPTIMALITY_TOLERANCE else result.status
    return replace(result, lower_bound=bound, status=status), True


def _is_of_others(result: Result) -> bool:
    """Tell whether a result's bound is not its solver's own."""
    highest = max((event.lower_bound for event in result.history), default=-math.inf)
    first = next((event for event in result.history if event.lower_bound == highest), None)
    return first is not None and first.solver == OTHERS


def peak_bytes() -> int | None:
    """Return the largest memory that this process has used, in bytes; None where unknown."""
    try:
        import resource
        import sys
    except ImportError:  # Windows
        return None
    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return used if sys.platform == "darwin" else used * 1024
