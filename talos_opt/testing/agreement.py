"""A solver against brute force, on random problems."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from talos_opt.core import units
from talos_opt.core.errors import ConfigError
from talos_opt.solvers.engine import registry
from talos_opt.solvers.engine.base import Solver
from talos_opt.testing.cases import Outcome, draw_case, find_truth, try_solver
from talos_opt.testing.judging import Find, Truth, name_of

#: Finds that an error quotes.
_MOST_QUOTED = 5


@dataclass(frozen=True)
class Agreement:
    """What became of random problems.

    Parameters
    ----------
    solver : str
    problems : int
        That were given to the solver: those of which brute force knows the optimum in time.
    statuses : mapping of str to int
        Answers by status, ``refused`` for problems with a feature that it does not declare, and
        ``raised``.
    proven : int
        Problems that it proved optimal or infeasible.
    excess : float
        By how much its values are above the optima: mean share of what can still change; 0.02 is
        2 %.
    finds : tuple of (int, Find)
        What was wrong, with the number of the problem.
    """

    solver: str
    problems: int
    statuses: Mapping[str, int]
    proven: int
    excess: float
    finds: tuple[tuple[int, Find], ...] = ()


def check_solver(
    solver: str | Solver,
    *,
    problems: int = 100,
    seed: int = 0,
    time_limit: float = 1.0,
    require: bool = True,
    on_progress: Callable[[float], None] | None = None,
) -> Agreement:
    """Hold a solver's answers against the optima of random problems.

    They have up to six ops and three devices, every feature of the model, and many of them odd
    scales. Looked at are schedules (by a checker of its own), values, bounds, gaps, statuses,
    reasons and notes, and refusals, which must name a feature that the solver does not declare.

    Parameters
    ----------
    solver : str or Solver
    problems : int
        How many, above 0.
    seed : int
        The same one draws the same problems.
    time_limit : float
        Seconds that the solver has for each.
    require : bool
        Raise if anything is wrong.
    on_progress : callable, optional
        Called with the share that is done.

    Raises
    ------
    ConfigError
        If there is no such solver, or a number is none.
    AssertionError
        Quoting the first finds; or if the solver had no schedule for any problem.
    """
    _require_arguments(solver, problems, time_limit)
    tally: Counter[str] = Counter()
    finds: list[tuple[int, Find]] = []
    excess: list[float] = []
    for number in range(problems):
        if on_progress is not None:
            on_progress(number / problems)
        case = draw_case(seed, number)
        truth = find_truth(case)
        if truth is None:
            continue
        outcome = try_solver(case, truth, solver, time_limit)
        tally[outcome.status] += 1
        finds += [(number, find) for find in outcome.finds]
        above = _excess(truth, outcome)
        if above is not None:
            excess.append(above)
    agreement = Agreement(
        name_of(solver),
        sum(tally.values()),
        dict(tally),
        tally["optimal"] + tally["infeasible"],
        statistics.fmean(excess) if excess else 0.0,
        tuple(finds),
    )
    if require:
        _require(agreement, answered=bool(excess), seed=seed)
    return agreement


def _require_arguments(solver: object, problems: object, time_limit: object) -> None:
    if isinstance(solver, Solver):
        registry.require_solver(type(solver), f"solver {type(solver).__name__}")
    elif isinstance(solver, str):
        registry.create(solver)
    else:
        made = f"{solver.__name__}()" if isinstance(solver, type) else "a name or a Solver"
        raise ConfigError(f"solver is {units.describe(solver)}, expected {made}")
    if isinstance(problems, bool) or not isinstance(problems, int) or problems < 1:
        raise ConfigError(f"problems is {problems!r}, expected a whole number above 0")
    if (
        isinstance(time_limit, bool)
        or not isinstance(time_limit, int | float)
        or not time_limit > 0
    ):
        raise ConfigError(f"time_limit is {time_limit!r}, expected seconds above 0")


def _excess(truth: Truth, outcome: Outcome) -> float | None:
    """Return by which share of what can change a value is above the optimum."""
    if outcome.result is None or outcome.result.value is None or truth.optimum is None:
        return None
    open_part = float(truth.optimum - truth.forced)
    above = max(0.0, outcome.result.value - float(truth.optimum))
    return above / open_part if open_part > 0 else 0.0


def _require(agreement: Agreement, *, answered: bool, seed: int) -> None:
    name = agreement.solver
    if agreement.finds:
        quoted = [
            f"  {find.kind}: {find.text}\n    talos_opt.testing.draw_case({seed}, {number}).problem"
            for number, find in agreement.finds[:_MOST_QUOTED]
        ]
        count = len(agreement.finds)
        raise AssertionError(
            f"{count} finds in {agreement.problems} answers of {name!r}:\n" + "\n".join(quoted)
        )
    if not answered:
        said = ", ".join(f"{n} {status}" for status, n in agreement.statuses.items()) or "nothing"
        raise AssertionError(f"{name!r} has no schedule for any problem: {said}")
