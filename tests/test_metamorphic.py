"""What changes nothing but the numbers' names changes no answer: every solver, every change.

An answer to the changed problem is judged by the changed problem's own optimum, by brute force;
that optimum must follow from the first one; and the two answers must belong together.
"""

from __future__ import annotations

import functools
import math
import random
from fractions import Fraction

import pytest

import talos_opt
from talos_opt import Problem, Result
from talos_opt.testing.drawing import draw_problem
from talos_opt.testing.judging import Truth, judge, uncovered
from talos_opt.testing.reference.brute import exact_optimum
from tests.reference.changes import CHANGES, Change, with_twin

#: `pipeline` covers none of these.
SOLVERS = [info.name for info in talos_opt.list_solvers() if info.name != "pipeline"]
EXACT = ("auto", "cpsat", "dp", "ilp")
#: Go on until their limit unless the bound is met, and so never do quite the same twice.
LOCAL = ("fast", "lns", "large", "coarse", "shop")
DECIDED = ("talos", "heft", "etf", "tsam", "aswm", "sequential", "single")
LIMIT_S = dict.fromkeys(LOCAL, 0.05)
#: Problems for each solver and change.
COUNT = dict.fromkeys(LOCAL, 1) | dict.fromkeys(DECIDED, 6)


@pytest.fixture(scope="module", autouse=True)
def _warm() -> None:
    """Compile the kernels first: no answer may hang on who comes first."""
    tiny = draw_problem(random.Random(1), 3, peak=False, serial=False, no_copy_engine=False,
                        edge_bytes=False, objectives=("toct",))  # fmt: skip
    assert tiny is not None
    for name in ("dp", "fast"):
        talos_opt.solve(tiny, name, time_limit=300.0 if name == "dp" else 1.0)


@functools.cache
def problems() -> tuple[tuple[Problem, Fraction | None], ...]:
    """Fixed problems with what is true of them; every third is one that `dp` covers."""
    narrow = {"peak": False, "serial": False, "no_copy_engine": False, "edge_bytes": False}
    found = []
    for seed in range(60):
        taste = narrow | {"objectives": ("toct", "makespan")} if seed % 3 == 0 else {}
        problem = draw_problem(random.Random(seed), 3 + seed % 2, **taste)
        if problem is not None:
            found.append((problem, exact_optimum(problem)))
    return tuple(found)


def chosen(solver: str, count: int) -> list[int]:
    """Numbers of problems that a solver covers, a quarter of them infeasible."""
    covered = [k for k, (p, _) in enumerate(problems()) if not uncovered(p, solver)]
    feasible = [k for k in covered if problems()[k][1] is not None]
    without = [k for k in covered if problems()[k][1] is None]
    fewer = count // 4
    return feasible[: count - fewer] + without[:fewer]


@functools.cache
def answer(solver: str, number: int, change: Change | None) -> Result:
    problem = problems()[number][0]
    if change is not None:
        problem = change.problem(problem)
    limit = LIMIT_S.get(solver, 20.0)
    return talos_opt.solve(problem, solver, time_limit=limit, workers=1, explain=False)


@pytest.mark.parametrize("change", CHANGES, ids=str)
def test_the_optimum_follows(change: Change) -> None:
    for problem, optimum in problems():
        expected = None if optimum is None else change.optimum(problem, optimum)
        found = exact_optimum(change.problem(problem))
        if expected is None or change.exact:
            assert found == expected
        else:
            assert found is not None
            assert math.isclose(found, expected, rel_tol=1e-14)


@pytest.mark.parametrize("change", CHANGES, ids=str)
@pytest.mark.parametrize("solver", SOLVERS)
def test_answers_follow(solver: str, change: Change) -> None:
    numbers = chosen(solver, COUNT.get(solver, 4))
    assert numbers
    for number in numbers:
        given, optimum = problems()[number]
        truth = Truth(given, optimum)
        first, second = answer(solver, number, None), answer(solver, number, change)
        assert judge(truth, first) == []
        changed = change.problem(given)
        there = Truth(changed, exact_optimum(changed))
        assert judge(there, second) == []
        if solver in EXACT:
            assert first.status == ("infeasible" if optimum is None else "optimal")
            assert second.status == first.status
            assert_same_value(change, first, second)
        elif solver in DECIDED and change.order:
            assert second.status == first.status
            assert_same_value(change, first, second)
            assert_same_placement(first, second)
            if first.gap is not None:
                assert second.gap == pytest.approx(first.gap, rel=1e-9, abs=1e-12)


def assert_same_placement(first: Result, second: Result) -> None:
    if first.schedule is None or second.schedule is None:
        assert first.schedule is second.schedule
        return
    assert second.schedule.device.tolist() == first.schedule.device.tolist()


def assert_same_value(change: Change, first: Result, second: Result) -> None:
    if first.value is None:
        assert second.value is None
        return
    assert second.value is not None
    expected = change.optimum(first.problem, Fraction(first.value))
    if change.exact:
        assert Fraction(second.value) == expected
    else:
        rounding = Truth(second.problem, expected).rounding(second.schedule)
        assert abs(Fraction(second.value) - expected) <= rounding + expected / 10**12


@pytest.mark.parametrize("solver", SOLVERS)
def test_one_more_device_makes_no_optimum_worse(solver: str) -> None:
    for number in chosen(solver, COUNT.get(solver, 4)):
        given, optimum = problems()[number]
        changed = with_twin(given, number % len(given.cluster.devices))
        there = exact_optimum(changed)
        if optimum is not None:
            assert there is not None
            assert there <= optimum
        second = talos_opt.solve(
            changed, solver, time_limit=LIMIT_S.get(solver, 20.0), workers=1, explain=False
        )
        assert judge(Truth(changed, there), second) == []
        if solver in EXACT:
            assert second.status == ("infeasible" if there is None else "optimal")
