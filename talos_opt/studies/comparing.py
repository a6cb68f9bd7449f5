"""A comparison whose solves a crew does, each on its own."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Mapping, Sequence
from itertools import product
from typing import Any

from talos_opt import api
from talos_opt.core.config import SolveConfig
from talos_opt.core.errors import InfeasibleScheduleError, InputError
from talos_opt.core.problem import Problem
from talos_opt.core.result import (
    Comparison,
    Event,
    Result,
    Row,
    Status,
    compare_results,
    distinct_names,
)
from talos_opt.formats.graph_writer import document_of
from talos_opt.formats.schedule_document import bound_schedule
from talos_opt.studies.crews.crew import Crew
from talos_opt.studies.solving import make_request
from talos_opt.studies.store import FAILURES, unpack

#: Seconds between two looks at the cancel flag.
_TICK = 0.1


def compare_with(
    crew: Crew,
    problems: Sequence[Problem],
    solvers: Sequence[str],
    plan: SolveConfig,
    *,
    on_row: Callable[[Row], None] | None = None,
    cancel: threading.Event | None = None,
) -> Comparison:
    """Run several solvers on one or more problems.

    Parameters
    ----------
    crew : Crew
    problems : sequence of Problem
        Without bundles.
    solvers : sequence of str
    plan : SolveConfig
        Limits and options of each solve; its solver does not count.
    on_row : callable, optional
        Called with each row as it comes.
    cancel : threading.Event, optional
        Set it, from another thread, to stop; what is finished is returned.

    Returns
    -------
    Comparison
        In the order of problems and solvers. A solve that failed has a row with the reason.

    Raises
    ------
    InputError
        If a solver or option does not exist, or devices are bundled.
    SolverError
        If the crew cannot go on.
    """
    plans = [plan.override(solver=name) for name in solvers]
    for problem, chosen in product(problems, plans):
        if problem.cluster.bundles or problem.bundling is not None:
            raise InputError("devices are bundled, expected none where workers compare solvers")
        api.covers(problem, chosen)
    jobs = list(product(distinct_names(problems), plans))
    rows: dict[int, Row] = {}
    waiting = list(range(len(jobs)))
    cancel = cancel or threading.Event()
    while len(rows) < len(jobs) and not cancel.is_set():
        while waiting and crew.has_room():
            k = waiting.pop(0)
            (_, problem), chosen = jobs[k]
            crew.begin(str(k), _request(problem, chosen, crew.threads))
        event = crew.receive(_TICK)
        if event is None:
            continue
        k = int(event[0])
        (graph, problem), chosen = jobs[k]
        rows[k] = _row(graph, problem, chosen, event[1])
        if on_row is not None:
            on_row(rows[k])
    return compare_results([rows[k] for k in sorted(rows)])


def _request(problem: Problem, plan: SolveConfig, threads: int | None) -> dict[str, Any]:
    return make_request(
        document_of(problem), objective=problem.objective.value, solver=plan.solver,
        seed=plan.seed, time_limit=plan.time_limit, threads=plan.workers or threads,
    ) | {"options": plan.options, "worth": plan.worth}  # fmt: skip


def _row(graph: str, problem: Problem, plan: SolveConfig, found: Mapping[str, Any] | str) -> Row:
    if isinstance(found, str):
        return Row(graph, plan.solver, None, found)
    if found["status"] in FAILURES:
        return Row(graph, plan.solver, None, found["reason"].partition(": ")[2])
    return Row(graph, plan.solver, result_of(found, problem, plan))


def result_of(row: Mapping[str, Any], problem: Problem, plan: SolveConfig) -> Result:
    """Return the result in a row that is no failure; its schedule has passed `check` here.

    Raises
    ------
    InfeasibleScheduleError
        If it does not pass.
    """
    schedule, history = None, tuple[Event, ...]()
    if row["schedule"] is not None:
        document = unpack(row["schedule"])
        schedule = bound_schedule(document, problem)
        history = tuple(_event(item) for item in document["history"])
        violations = api.check(problem, schedule)
        if violations:
            raise InfeasibleScheduleError([str(item) for item in violations])
    bound = math.inf if row["status"] == Status.INFEASIBLE else row["lower_bound"]
    return Result(
        problem, Status(row["status"]), schedule, -math.inf if bound is None else bound,
        plan.solver, plan.seed, runtime_s=row["runtime_s"], history=history,
        reason=row["reason"] or "", config=plan,
    )  # fmt: skip


def _event(item: Mapping[str, Any]) -> Event:
    bound = item["lower_bound"]
    return Event(
        item["time_s"], item["value"], -math.inf if bound is None else bound, item["solver"]
    )
