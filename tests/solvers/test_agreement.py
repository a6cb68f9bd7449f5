"""Exact solvers against brute force and each other; heuristics against the optimum."""

from __future__ import annotations

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from talos_opt.core.feasibility import check
from talos_opt.core.metrics import objective_value
from talos_opt.core.problem import Problem
from talos_opt.core.result import Status
from talos_opt.solvers import bounds
from talos_opt.solvers.cpsat import solver as cpsat
from talos_opt.solvers.engine import registry
from talos_opt.solvers.engine.run import Run
from talos_opt.solvers.shared.obstacles import find_obstacle
from talos_opt.testing.drawing import ALL_OBJECTIVES
from tests.naive import brute_force
from tests.strategies import costly, problems

HEURISTICS = ("single", "sequential", "aswm", "tsam", "heft", "etf", "talos")
CLOSE = 1e-6


def run_solver(name: str, problem: Problem, **options: object) -> tuple[Run, Status]:
    """Run one solver alone, without the root bounds."""
    run = Run(problem, time_limit=60.0, workers=2)
    verdict = registry.create(name, options).solve(problem, run)
    return run, verdict.status


@given(problems(max_ops=5, objectives=ALL_OBJECTIVES))
def test_cpsat_agrees_with_brute_force(problem: Problem) -> None:
    expected = brute_force(problem)
    run, status = run_solver("cpsat", problem)
    if expected is None:
        assert status is Status.INFEASIBLE
        assert run.best is None
    else:
        assert run.best is not None
        assert run.value == pytest.approx(expected[0], rel=CLOSE, abs=CLOSE)
        assert run.lower_bound <= expected[0] * (1 + CLOSE) + CLOSE
        assert run.lower_bound >= expected[0] * (1 - CLOSE) - CLOSE, "optimality was not proven"


@given(problems(max_ops=5))
def test_windows_from_joins_cut_off_no_optimum(problem: Problem) -> None:
    expected = brute_force(problem)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cpsat, "_FEW_OPS", 0)
        run, status = run_solver("cpsat", problem)
    if expected is None:
        assert status is Status.INFEASIBLE
    else:
        assert run.value == pytest.approx(expected[0], rel=CLOSE, abs=CLOSE)
        assert run.lower_bound == pytest.approx(expected[0], rel=CLOSE, abs=CLOSE)


@given(problems(max_ops=5, objectives=ALL_OBJECTIVES), st.sampled_from(HEURISTICS))
def test_heuristics_are_feasible_and_no_better_than_the_optimum(
    problem: Problem, name: str
) -> None:
    expected = brute_force(problem)
    run, _ = run_solver(name, problem)
    assume(run.best is not None)
    assert expected is not None, f"{name} found a schedule where there is none"
    assert check(problem, run.best) == ()
    assert objective_value(problem, run.best) >= expected[0] - CLOSE


@given(problems(max_ops=5, objectives=ALL_OBJECTIVES))
def test_root_bounds_never_exceed_the_optimum(problem: Problem) -> None:
    expected = brute_force(problem)
    assume(expected is not None)
    assert bounds.root_bound(problem) <= expected[0] * (1 + CLOSE) + CLOSE


@pytest.mark.reaches(0.02)
@costly
@given(problems(max_ops=5, objectives=ALL_OBJECTIVES))
def test_obstacles_are_only_seen_where_there_is_no_schedule(problem: Problem) -> None:
    assume(find_obstacle(problem))
    assert brute_force(problem) is None


@given(problems(max_ops=5, objectives=ALL_OBJECTIVES))
def test_a_warm_start_changes_no_optimum(problem: Problem) -> None:
    expected = brute_force(problem)
    run = Run(problem, time_limit=60.0, workers=2)
    for name in HEURISTICS:
        registry.create(name).solve(problem, run)
    verdict = registry.create("cpsat").solve(problem, run)
    if expected is None:
        assert run.best is None
        assert verdict.status is Status.INFEASIBLE
    else:
        assert run.value == pytest.approx(expected[0], rel=CLOSE, abs=CLOSE)
        assert run.lower_bound == pytest.approx(expected[0], rel=CLOSE, abs=CLOSE)


@given(
    problems(
        max_ops=5, peak=False, serial=False, no_copy_engine=False, edge_bytes=False,
        objectives=("toct", "makespan"),
    )
)  # fmt: skip
def test_dp_agrees_with_brute_force(problem: Problem) -> None:
    expected = brute_force(problem)
    run, status = run_solver("dp", problem)
    if expected is None:
        assert status is Status.INFEASIBLE
        assert run.best is None
    else:
        assert run.best is not None
        assert run.value == pytest.approx(expected[0], rel=CLOSE, abs=CLOSE)
        assert run.lower_bound == pytest.approx(expected[0], rel=CLOSE, abs=CLOSE)


@given(
    problems(
        max_ops=5, peak=False, serial=False, no_copy_engine=False, edge_bytes=False,
        objectives=("toct", "makespan"),
    )
)  # fmt: skip
def test_dp_proves_what_another_solver_found(problem: Problem) -> None:
    expected = brute_force(problem)
    run = Run(problem, time_limit=60.0, workers=2)
    for name in ("cpsat", "dp"):
        registry.create(name).solve(problem, run)
    assume(expected is not None)
    assert run.value == pytest.approx(expected[0], rel=CLOSE, abs=CLOSE)
    assert run.lower_bound == pytest.approx(expected[0], rel=CLOSE, abs=CLOSE)
