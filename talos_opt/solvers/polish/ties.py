"""Of schedules of equal value, one that idles less and moves fewer bytes."""

from __future__ import annotations

from talos_opt.core.problem import Objective, Problem
from talos_opt.core.ties import standing
from talos_opt.solvers.engine.run import Run
from talos_opt.solvers.polish.search import descend
from talos_opt.solvers.polish.setup import MOST_OPS, MOST_S, make_trials
from talos_opt.solvers.polish.trials import Figures
from talos_opt.solvers.shared.squeezing import SqueezedRun, squeeze


def polish(problem: Problem, run: Run) -> None:
    """Offer a schedule that is as good as the incumbent, idles less, and then moves fewer bytes.

    Afterwards, unless the time did not suffice, no move of a single op (with its colocation group)
    to another device makes the incumbent better, by value, idle time or bytes, when the placement
    is simulated in the order of its starts: what `talos_opt.analysis.explain` reports.

    Parameters
    ----------
    problem : Problem
    run : Run
        May be proven. Its time limit holds, and `MOST_S`.
    """
    if run.best is None or run.spent or problem.arrays.op_count > MOST_OPS:
        return
    if problem.objective is Objective.MEMORY:
        _polish_makespan(problem, run)
        return
    first = standing(problem, run.best)
    limit = first.value + first.value_slack

    def better(a: Figures, b: Figures) -> bool:
        # Steps that are each within rounding must not add up to more than that.
        return a.standing.value <= limit and a.standing.beats(b.standing)

    trials = make_trials(problem, run.best, better, run)
    budget = run.budget.within(MOST_S)
    descend(problem, trials, limit, budget)
    run.offer(trials.schedule(), run.best_solver)


def _polish_makespan(problem: Problem, run: Run) -> None:
    """Polish within the memory that the incumbent needs, where the makespan is the value."""
    least = squeeze(problem, run.value).problem
    if least is None or run.best is None:
        return
    inner = SqueezedRun(run, least)
    inner.offer(run.best, run.best_solver)
    polish(least, inner)
