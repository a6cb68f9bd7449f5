"""`talos_opt.explain`: where the time goes, or all about an op or a module."""

from __future__ import annotations

from collections.abc import Callable

from talos_opt.analysis import explanation
from talos_opt.analysis.breakdown import Breakdown, break_down
from talos_opt.analysis.explanation import Explanation
from talos_opt.analysis.module_stay import ModuleStay, explain_module
from talos_opt.core.feasibility import require_feasible
from talos_opt.core.given import require_schedule
from talos_opt.core.problem import Problem
from talos_opt.core.schedule import Schedule


def explain(
    problem: Problem,
    schedule: Schedule,
    what: str | None = None,
    *,
    on_progress: Callable[[float, str], None] | None = None,
) -> Breakdown | Explanation | ModuleStay:
    """Explain a schedule, one of its ops or a module: ``talos-opt explain``.

    Parameters
    ----------
    problem : Problem
    schedule : Schedule
        A feasible one.
    what : str, optional
        An op: ``MODEL/OP``, or ``OP`` alone if no other op has that id. Or a module of the user's
        code, where ops name theirs: its path, ``transformer.h.0.mlp``, or a pattern of paths,
        ``transformer.h.*.mlp``. Default: the whole schedule.
    on_progress : callable, optional
        Called with the share that is done (0 to 1), and what is being done.

    Returns
    -------
    Breakdown
        Of a whole schedule: what each device does and waits for, the critical path, when models
        are done, and what weighs most; times in the graph's unit.
    Explanation
        Of an op: why it starts no sooner, what other devices would cost, what a move changes, and
        what depends on it.
    ModuleStay
        Of a module: what it has on which device and when, what is moved for it, and its slack.

    Raises
    ------
    InputError
        If there is no such op or module.
    InfeasibleScheduleError
        If the schedule breaks a rule.
    """
    require_schedule(problem, schedule)
    require_feasible(problem, schedule)
    if what is None:
        return break_down(problem, schedule)
    if is_op(problem, what):
        return explanation.explain(problem, schedule, problem.find_op(what), report=on_progress)
    return explain_module(problem, schedule, what)


def is_op(problem: Problem, what: str) -> bool:
    """Whether a name is that of an op, if of several; else it may be one of modules."""
    ids = problem.graph.columns.ids
    return what in problem.index or what in ids.slice(0, len(ids))
