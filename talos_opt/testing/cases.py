"""Random problems, and what one solver makes of one of them."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from talos_opt import api
from talos_opt.core.errors import UnsupportedError
from talos_opt.core.problem import Problem
from talos_opt.core.result import Result
from talos_opt.solvers.engine.base import Solver
from talos_opt.testing.awkward import awkward
from talos_opt.testing.drawing import ALL_OBJECTIVES, draw_problem
from talos_opt.testing.judging import (
    Find,
    Truth,
    judge,
    judge_refusal,
    name_of,
    uncovered,
)
from talos_opt.testing.reference.brute import TooHardError, exact_optimum

#: States after which the brute force gives up: a second or so.
MOST_STATES = 60_000
#: Ops of a problem; the larger ones are rare, as brute force takes long there.
SIZES = (1, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4, 4, 4, 4, 4, 4, 5, 5, 5, 6)
#: What is left out, so that solvers that cover less have their share.
TASTES: tuple[dict[str, Any], ...] = (
    {"objectives": ALL_OBJECTIVES},
    {"objectives": ALL_OBJECTIVES},
    {},
    {"objectives": ("memory",)},
    {
        "peak": False, "serial": False, "no_copy_engine": False, "edge_bytes": False,
        "objectives": ("toct", "makespan"),
    },
    {"peak": False, "serial": False},
    {"memory": False, "objectives": ("bottleneck",)},
    {"stages": True, "objectives": ALL_OBJECTIVES},
    {"stages": True, "objectives": ("bottleneck",)},
    {"pipelines": True},
)  # fmt: skip


@dataclass(frozen=True)
class Turn:
    """How often a solver is asked, and for how long.

    Parameters
    ----------
    every : int
        It gets one of so many problems.
    limit : float
        Seconds.
    """

    every: int = 1
    limit: float = 2.0


#: Local search goes on until its limit where nothing proves it optimal: a share of the problems,
#: or, for `auto`, which ends in one, less time.
TURNS = {
    "auto": Turn(1, 0.2),
    "cpsat": Turn(),
    "relax": Turn(2),
    "dp": Turn(),
    "ilp": Turn(2),
    "lns": Turn(8, 0.2),
    "fast": Turn(8, 0.1),
    "shop": Turn(8, 0.1),
    "pipeline": Turn(),
    "large": Turn(8, 0.1),
    "beam": Turn(8, 0.1),
    "coarse": Turn(8, 0.1),
}


@dataclass
class Case:
    """A problem, its number, and the seed that all solvers get."""

    number: int
    problem: Problem
    seed: int
    workers: int


@dataclass
class Outcome:
    """What a solver made of a case: a word for it, and all that is wrong."""

    solver: str
    status: str
    finds: list[Find] = field(default_factory=list)
    result: Result | None = None


def draw_case(seed: int, number: int) -> Case:
    """Draw a problem; the same seed and number give the same."""
    rng = random.Random(f"{seed}/{number}")
    plain = rng.random() < 0.1
    while True:
        problem = draw_problem(rng, rng.choice(SIZES), **rng.choice(TASTES))
        if problem is not None and not plain:
            problem = awkward(problem, rng)
        if problem is not None:
            return Case(number, problem, rng.randrange(1000), rng.choice((1, 1, 1, 2)))


def find_truth(case: Case) -> Truth | None:
    """Return the optimum, None where brute force takes too long."""
    try:
        return Truth(case.problem, exact_optimum(case.problem, most_states=MOST_STATES))
    except TooHardError:
        return None


def solvers_of(case: Case, names: Sequence[str]) -> Iterator[str]:
    """Yield the solvers whose turn it is; a solver comes again after some random problems."""
    for name in names:
        every = TURNS.get(name, Turn()).every
        if random.Random(f"{name}/{case.number}").randrange(every) == 0:
            yield name


def try_solver(
    case: Case, truth: Truth, solver: str | Solver, time_limit: float | None = None
) -> Outcome:
    """Let a solver solve a case, and judge what it says; whatever it raises is a find too.

    Parameters
    ----------
    case : Case
    truth : Truth
        Of its problem.
    solver : str or Solver
    time_limit : float, optional
        Seconds; default: as `TURNS` has it.
    """
    name = name_of(solver)
    if time_limit is None:
        time_limit = TURNS.get(name, Turn()).limit
    try:
        result = api.solve(
            case.problem, solver, time_limit=time_limit, seed=case.seed,
            workers=case.workers, explain=False,
        )  # fmt: skip
    except UnsupportedError as error:
        finds = judge_refusal(case.problem, solver, str(error))
        return Outcome(name, "refused", finds)
    except Exception as error:
        return Outcome(name, "raised", [Find(type(error).__name__, str(error))])
    finds = judge(truth, result)
    missing = uncovered(case.problem, solver)
    if missing and result.status != "infeasible":  # known before a solver is asked
        finds.append(Find("not refused", ", ".join(missing)))
    return Outcome(name, result.status.value, finds, result)
