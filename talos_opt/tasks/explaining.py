"""`talos_opt.explain`: where the time goes, or all about an op."""

from __future__ import annotations

from collections.abc import Callable

from talos_opt.analysis import explanation
from talos_opt.analysis.breakdown import Breakdown, break_down
from talos_opt.analysis.explanation import Explanation
from talos_opt.core.feasibility import require_feasible
from talos_opt.core.problem import Problem
from talos_opt.core.schedule import Schedule


def explain(
    problem: Problem,
    schedule: Schedule,
    what: str | None = None,
    *,
    on_progress: Callable[[float, str], None] | None = None,
) -> Breakdown | Explanation:
    """Explain a schedule, or one of its ops: ``talos-opt explain``.

    Parameters
    ----------
    problem : Problem
    schedule : Schedule
        A feasible one.
    what : str, optional
        An op: ``MODEL/OP``, or ``OP`` alone if no other op has that id. Default: the whole
        schedule.
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

    Raises
    ------
    InputError
        If there is no such op.
    InfeasibleScheduleError
        If the schedule breaks a rule.
    """
    require_feasible(problem, schedule)
    if what is None:
        return break_down(problem, schedule)
    return explanation.explain(problem, schedule, problem.find_op(what), report=on_progress)
