"""A thousandth of `benchmarks.trust`, and whether what judges there can tell right from wrong."""

from __future__ import annotations

import json
import math
import random
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

import talos_opt
from talos_opt import Objective, Problem, Result, Status, UnsupportedError
from talos_opt.testing.awkward import awkward, has_enough_digits
from talos_opt.testing.cases import TURNS, draw_case, find_truth, solvers_of, try_solver
from talos_opt.testing.drawing import draw_problem
from talos_opt.testing.judging import Find, Truth, judge, judge_refusal, uncovered
from talos_opt.testing.reference.brute import TooHardError, best_schedule, exact_optimum
from talos_opt.testing.reference.checker import exact_value, naive_check
from tests.builders import fig1, op, problem
from tests.reference.orders import best_by_orders, longest_plan
from tests.trust.tally import Tally, write_find

SOLVERS = [info.name for info in talos_opt.list_solvers()]
BATCHES = 10


@pytest.mark.notes(r"^times near .* can be written to", r"from the rounded grid was dropped")
@pytest.mark.parametrize("batch", range(BATCHES))
def test_no_answer_to_a_random_problem_is_wrong(batch: int) -> None:
    """A hundred problems; their commands, if one fails: ``python -m benchmarks.trust --seed 1``."""
    wrong = []
    for number in range(10 * batch, 10 * batch + 10):
        case = draw_case(1, number)
        truth = find_truth(case)
        for solver in solvers_of(case, SOLVERS) if truth is not None else ():
            assert truth is not None
            outcome = try_solver(case, truth, solver)
            wrong += [(number, solver, find.kind, find.text) for find in outcome.finds]
    assert wrong == []


def test_the_cases_are_awkward() -> None:
    cases = [draw_case(1, number).problem for number in range(200)]
    times = [[t for o in p.ops for t in o.time.values() if t > 0] for p in cases]
    assert sum(max(t) > 1e6 * min(t) for t in times if t) >= 15
    assert sum(any(m.release >= 1e9 for m in p.graph.models) for p in cases) > 40
    assert {p.graph.time_unit for p in cases} == {"us", "ms", "s"}
    assert {p.objective for p in cases} == set(Objective)
    assert sum(has_enough_digits(p) for p in cases) > 150
    weights = [m.weight for p in cases for m in p.graph.models]
    assert min(w for w in weights if w > 0) < 1e-9
    assert max(weights) > 1e5
    assert 0.0 in weights
    asked = {name for n in range(200) for name in solvers_of(draw_case(1, n), list(TURNS))}
    assert asked == set(TURNS)


# ---- the brute force -----------------------------------------------------------------------


@pytest.mark.parametrize("batch", range(5))
def test_every_order_of_starting_gives_no_better_value(batch: int) -> None:
    compared = 0
    for seed in range(40 * batch, 40 * batch + 40):
        rng = random.Random(seed)
        drawn = draw_problem(rng, rng.choice((2, 3, 4)), peak=False)
        given = None if drawn is None else awkward(drawn, rng)
        if given is None or longest_plan(given) > 6:
            continue
        optimum, other = exact_optimum(given), best_by_orders(given)
        assert (optimum is None) == (other is None)
        if optimum is not None and other is not None:
            compared += 1
            assert math.isclose(optimum, other, rel_tol=1e-15)
            best = best_schedule(given)
            assert best is not None
            assert naive_check(given, best, ulps=2) == []
            assert math.isclose(optimum, exact_value(given, best), rel_tol=1e-15)
    assert compared > 10


def test_the_optimum_is_exact() -> None:
    third = problem([op("a", 1 / 3), op("b", 0.1, "a")])
    assert exact_optimum(third) == Fraction(1 / 3) + Fraction(0.1)
    late = problem({"m": [op("a", 1e-9)]}, release={"m": 1.7e15})
    assert exact_optimum(late) == Fraction(1.7e15) + Fraction(1e-9)


def test_a_search_that_takes_too_long_is_given_up() -> None:
    with pytest.raises(TooHardError):
        exact_optimum(fig1(), most_states=10)


# ---- the judge -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def right() -> Result:
    """The optimum of Fig. 1: 9."""
    return talos_opt.solve(fig1(), "cpsat", workers=1)


def kinds(result: Result, optimum: Fraction | None = Fraction(9)) -> set[str]:
    return {find.kind for find in judge(Truth(result.problem, optimum), result)}


def test_a_right_answer_passes(right: Result) -> None:
    assert right.value == 9
    assert kinds(right) == set()


def test_wrong_answers_do_not(right: Result) -> None:
    feasible = replace(right, status=Status.FEASIBLE)
    assert kinds(replace(feasible, lower_bound=8.0)) == set()
    assert kinds(replace(right, lower_bound=9.0), Fraction(8)) == {"wrong optimal", "wrong bound"}
    assert kinds(replace(feasible, lower_bound=8.5), Fraction(8)) == {"wrong bound"}
    assert "below the optimum" in kinds(right, Fraction(10))
    assert kinds(replace(right, lower_bound=8.0)) == {"status"}
    assert kinds(feasible) == {"status"}
    assert "bound above value" in kinds(replace(right, lower_bound=math.nextafter(9, 10)))
    assert kinds(replace(right, notes=("AssertionError ended the search early",))) == {"note"}
    gone = replace(right, schedule=None, status=Status.INFEASIBLE, reason="so it is")
    assert kinds(gone) == {"false infeasible"}
    assert kinds(gone, None) == set()
    assert kinds(replace(gone, reason=""), None) == {"status"}
    assert kinds(replace(gone, status=Status.OPTIMAL)) >= {"status"}
    worse = replace(right.history[-1], value=99.0)
    assert kinds(replace(right, history=(*right.history, worse))) == {"history"}


def test_a_schedule_that_the_check_lets_through_is_seen(
    right: Result, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert right.schedule is not None
    early = right.schedule.start - 0.25
    broken = replace(right.schedule, start=early, end=early + 0.0)
    monkeypatch.setattr("talos_opt.testing.judging.check", lambda problem, schedule: ())
    assert "check accepts" in kinds(replace(right, schedule=broken))
    monkeypatch.setattr("talos_opt.testing.judging.check", lambda problem, schedule: ("no",))
    assert "check rejects" in kinds(right)


def test_the_gap_counts_from_what_releases_force() -> None:
    given = problem({"m": [op("a", 1.0)]}, "cpu0", release={"m": 9.0}, objective="makespan")
    assert Truth(given, Fraction(10)).forced == 9
    assert Truth(given.with_objective("toct"), Fraction(10)).forced == 9
    assert Truth(given.with_objective("bottleneck"), Fraction(1)).forced == 0


def test_refusals_name_what_is_not_covered() -> None:
    peak = problem(
        [op("a", 1.0)], [talos_opt.Device("cpu0", "cpu", 9)], rule="peak", objective="bottleneck"
    )
    assert uncovered(peak, "dp") == ["memory_rule peak", "objective bottleneck"]
    with pytest.raises(UnsupportedError) as refusal:
        talos_opt.solve(peak, "dp")
    assert judge_refusal(peak, "dp", str(refusal.value)) == []
    assert judge_refusal(peak, "dp", "no") != []
    assert judge_refusal(peak, "cpsat", str(refusal.value)) != []


def test_a_find_becomes_a_graph_file_with_its_command(tmp_path: Path) -> None:
    tally = Tally(tmp_path, seed=1)
    case = draw_case(1, 3)
    path = write_find(tmp_path, case, "heft", Find("wrong bound", "9; 8 is possible"))
    told = json.loads(path.read_text())["description"]
    assert told.startswith("wrong bound: 9; 8 is possible\ntalos-opt solve ")
    assert f"{path.name} --solver heft --objective {case.problem.objective.value}" in told
    again = talos_opt.read(path, objective=case.problem.objective)
    assert np.array_equal(again.arrays.time, case.problem.arrays.time)
    assert same_optimum(again, case.problem)
    assert tally.finds == 0


def same_optimum(first: Problem, second: Problem) -> bool:
    return exact_optimum(first) == exact_optimum(second)
