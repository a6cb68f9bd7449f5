"""`auto`: never worse than a baseline, always with a bound, and honest about the rest."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given, settings

import talos_opt
from talos_opt.core.feasibility import check
from talos_opt.core.metrics import forced_value
from talos_opt.core.problem import Problem
from talos_opt.core.result import Status
from talos_opt.solvers.auto.solver import BASELINES, AutoSolver, Stage
from talos_opt.solvers.engine import registry
from talos_opt.solvers.engine.base import Solver
from talos_opt.solvers.engine.run import Progress, Run
from tests.builders import device, fig1, op, problem
from tests.clocks import Looks, Stopwatch
from tests.naive import brute_force
from tests.solvers.running import layered, run_solver
from tests.strategies import large_problems, problems

ROOT = Path(__file__).resolve().parents[2]

pytestmark = pytest.mark.usefixtures("compiled")


@given(problems(max_ops=7))
def test_it_is_no_worse_than_any_baseline(drawn: Problem) -> None:
    auto, _ = run_solver("auto", drawn)
    for name in BASELINES:
        assert auto.value <= run_solver(name, drawn)[0].value * (1 + 1e-9)


@settings(max_examples=8)
@given(large_problems(min_ops=30, max_ops=60, memory=False, colocation=False, pins=False))
def test_it_is_no_worse_on_larger_problems_in_little_time(drawn: Problem) -> None:
    result = talos_opt.solve(drawn, "auto", time_limit=0.5, workers=2)
    value = float("inf") if result.value is None else result.value
    for name in BASELINES:
        assert value <= run_solver(name, drawn)[0].value * (1 + 1e-9)


@given(problems(max_ops=5))
def test_status_bound_and_gap_agree_with_the_optimum(drawn: Problem) -> None:
    expected = brute_force(drawn)
    result = talos_opt.solve(drawn, "auto", time_limit=60, workers=2)
    if expected is None:
        assert result.status is Status.INFEASIBLE
        assert result.schedule is None
        assert result.value is result.gap is result.metrics is None
        assert result.lower_bound == float("inf")
        assert result.reason
    else:
        assert result.status is Status.OPTIMAL
        assert result.schedule is not None
        assert check(drawn, result.schedule) == ()
        assert result.value == pytest.approx(expected[0])
        assert result.lower_bound <= expected[0] * (1 + 1e-9)
        assert result.gap is not None
        assert 0 <= result.gap <= 1e-6
        assert result.reason == ""
        assert not result.interrupted


def test_options_given_for_other_solvers_reach_its_stages(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    created: dict[str, dict[str, object]] = {}
    create = registry.create

    def creating(name: str, options: Mapping[str, object] | None = None) -> Solver:
        created[name] = dict(options or {})
        return create(name, options)

    monkeypatch.setattr(registry, "create", creating)
    given = {"dp": {"most_ideals": 50}, "talos": {"batch": 1}}
    talos_opt.solve(fig1(), "auto", time_limit=60, workers=1, options=given)
    assert created["talos"] == {"batch": 1}
    assert created["heft"] == {}
    auto = AutoSolver()
    auto.others = given
    assert auto._create(Stage("dp", 0.4, {"most_ideals": 3000})).options.most_ideals == 50


@settings(max_examples=8)
@given(large_problems(min_ops=30, max_ops=60))
def test_a_short_run_is_honest(drawn: Problem) -> None:
    result = talos_opt.solve(drawn, "auto", time_limit=0.5, workers=2)
    if result.status in (Status.OPTIMAL, Status.FEASIBLE):
        assert result.value is not None
        assert result.schedule is not None
        assert check(drawn, result.schedule) == ()
        assert 0 <= result.lower_bound <= result.value
        above = result.value - forced_value(drawn)  # what releases leave open
        assert result.gap == pytest.approx(
            0 if above == 0 else (result.value - result.lower_bound) / above
        )
        assert (result.gap <= 1e-6) == (result.status is Status.OPTIMAL)
    else:
        assert result.schedule is None
        assert result.reason


def test_it_stops_as_soon_as_the_answer_is_proven() -> None:
    clock = Looks(before=2000)
    run = Run(fig1(), time_limit=600, clock=clock)
    assert registry.create("auto").solve(run.problem, run).status is Status.FEASIBLE
    assert run.proven
    assert clock.late == 0


def test_a_chain_is_proven_without_a_search() -> None:
    """The critical path meets what the first baseline finds."""
    line = problem([op(f"op{i}", 1, f"op{i - 1}" if i else "") for i in range(300)])
    result = talos_opt.solve(line, "auto", time_limit=600)
    assert result.status is Status.OPTIMAL
    assert {event.solver for event in result.history} <= {"bounds", "single", "sequential"}


def test_infeasible_by_size_says_which_device_is_short() -> None:
    ops = [op(name, 1, weights=5) for name in "abc"]
    result = talos_opt.solve(problem(ops, [device("cpu0", 6), device("gpu0", 7)]), "auto")
    assert result.status is Status.INFEASIBLE
    assert "short by 2 bytes" in result.reason
    assert "cpu0, gpu0" in result.reason


def test_infeasible_by_packing_is_proven_too_and_ends_the_run(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Fifteen bytes into two times eight, in portions of five."""

    def forbid(*_: object) -> None:
        raise AssertionError("the search goes on after a proof")

    monkeypatch.setattr(AutoSolver, "go_on", forbid)
    ops = [op(name, 1, weights=5) for name in "abc"]
    result = talos_opt.solve(problem(ops, [device("cpu0", 8), device("gpu0", 8)]), "auto")
    assert result.status is Status.INFEASIBLE
    assert "memory" in result.reason


def test_unknown_says_what_stood_in_the_way() -> None:
    """No rule finds the one packing that fits, and there is no time to search for it."""
    sizes = [6, 6, 5, 5, 5, 3, 3, 2, 2, 2, 1] * 4
    ops = [op(f"op{i}", 1, weights=size * 1000 + i) for i, size in enumerate(sizes)]
    tight = sum(item.memory.weights for item in ops) // 2 + 1
    packed = problem(ops, [device("cpu0", tight), device("gpu0", tight)])
    result = talos_opt.solve(packed, "auto", time_limit=1e-6)
    assert result.status is Status.UNKNOWN
    assert "no schedule was found within the time limit" in result.reason
    assert "is short by" in result.reason


@pytest.mark.timing
def test_cancelled_it_returns_what_it_has() -> None:
    cancel, watch = threading.Event(), Stopwatch()

    def stop(progress: Progress) -> None:
        if progress.value is not None and not cancel.is_set():
            watch.start()
            cancel.set()

    result = talos_opt.solve(
        layered(400), "auto", time_limit=60, cancel=cancel, workers=2, on_progress=stop
    )
    watch.check(1)
    assert result.interrupted
    assert result.status is Status.FEASIBLE


def test_without_numba_the_others_go_on() -> None:
    code = (
        "import sys; sys.modules['numba'] = None\n"
        "import talos_opt\n"
        "from tests.solvers.running import layered\n"
        "result = talos_opt.solve(layered(40), 'auto', time_limit=2, workers=2)\n"
        "assert result.status == 'feasible', result.status\n"
        "print(*result.notes)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "numba" in done.stdout


def test_no_time_is_left_where_nothing_is_proven() -> None:
    """Neither by the stages nor by what was kept for polishing."""
    for count in (20, 60, 200):
        result = talos_opt.solve(layered(count), "auto", time_limit=2.0, workers=1)
        assert result.status is Status.OPTIMAL or result.runtime_s > 1.8
