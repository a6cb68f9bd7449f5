"""CP-SAT at work: warm starts, stopping, determinism."""

from __future__ import annotations

import math
import threading

import pytest
from hypothesis import assume, given

import talos_opt
from talos_opt.core.problem import Problem
from talos_opt.core.result import Status
from talos_opt.core.schedule import Schedule
from talos_opt.core.simulator import simulate
from talos_opt.solvers.cpsat import backend
from talos_opt.solvers.cpsat.placement import BuildStoppedError, PlacementFormulation
from talos_opt.solvers.cpsat.search import hint
from talos_opt.solvers.cpsat.sequencing import SequencingFormulation
from talos_opt.solvers.engine import registry
from talos_opt.solvers.engine.base import is_placement_only
from talos_opt.solvers.engine.run import Progress, Run
from talos_opt.solvers.shared.grid import make_grid
from tests.builders import fig1, op, problem
from tests.clocks import Stopwatch
from tests.solvers.running import layered, run_solver
from tests.strategies import large_problems, problems

cp = backend.load()

pytestmark = pytest.mark.usefixtures("compiled")  # `auto` keeps its limit beside compiling


def build(drawn: Problem, upper: float = math.inf) -> PlacementFormulation:
    kind = PlacementFormulation if is_placement_only(drawn) else SequencingFormulation
    formulation = kind(cp, drawn, make_grid(drawn), upper, lambda: False)
    formulation.build()
    return formulation


def hint_is_a_solution(formulation: PlacementFormulation, schedule: Schedule) -> bool:
    hint(formulation, schedule)
    solver = backend.make_solver(cp)
    solver.parameters.fix_variables_to_their_hinted_value = True
    solver.parameters.num_workers = 1
    return solver.solve(formulation.model) in (cp.OPTIMAL, cp.FEASIBLE)


# ---- warm starts ---------------------------------------------------------------------------


def by_some_heuristic(drawn: Problem) -> Schedule | None:
    run = Run(drawn)
    for name in ("etf", "sequential", "single"):
        registry.create(name).solve(drawn, run)
    return run.best


@given(large_problems(min_ops=5, max_ops=20))
def test_any_schedule_is_a_solution_of_the_formulation(drawn: Problem) -> None:
    """No feasible schedule is cut off, nor is its hint refused."""
    schedule = by_some_heuristic(drawn)
    assume(schedule is not None)
    assert schedule is not None
    value = talos_opt.measure(drawn, schedule).value(drawn.objective)
    assert hint_is_a_solution(build(drawn, value), schedule)


def test_a_hint_may_use_identical_devices_in_another_order() -> None:
    trio = problem([op("a", 3), op("b", 2), op("c", 1)], "gpu0 gpu1 gpu2", [])
    schedule = simulate(trio, trio.arrays.group[[2, 0, 1]], [0, 1, 2])
    assert schedule.device.tolist() == [2, 0, 1]
    assert hint_is_a_solution(build(trio), schedule)


def test_a_hint_that_breaks_a_rule_is_no_solution() -> None:
    two = problem([op("a", 2), op("b", 2)], "cpu0")
    schedule = simulate(two, two.arrays.group * 0, [0, 1])
    formulation = build(two, upper=2.0)  # the schedule has 4
    assert not hint_is_a_solution(formulation, schedule)


def test_a_warm_start_is_kept_if_the_time_is_over_at_once() -> None:
    big = layered(200)
    warm = by_some_heuristic(big)
    assert warm is not None
    for limit in (1e-9, 0.05):
        run, verdict = run_solver("cpsat", big, warm=warm, time_limit=limit)
        assert run.best is warm
        assert verdict.status is Status.FEASIBLE


def test_a_warm_start_only_improves() -> None:
    big = layered(60)
    warm = by_some_heuristic(big)
    assert warm is not None
    value = talos_opt.measure(big, warm).toct
    run, _ = run_solver("cpsat", big, warm=warm, time_limit=1.5)
    assert run.value <= value
    assert run.history[0].value == value


# ---- stopping ------------------------------------------------------------------------------


@pytest.mark.timing
@pytest.mark.parametrize("solver", ["cpsat", "auto"])
def test_cancelling_from_another_thread_stops_within_a_second(solver: str) -> None:
    big, cancel = layered(150), threading.Event()
    warm = by_some_heuristic(big)
    watch = Stopwatch()

    def stop() -> None:
        watch.start()
        cancel.set()

    timer = threading.Timer(1.5, stop)
    timer.start()
    result = talos_opt.solve(big, solver, time_limit=60, warm_start=warm, cancel=cancel, workers=2)
    watch.check(1)
    timer.join()
    assert result.interrupted
    assert result.status is Status.FEASIBLE
    assert result.value is not None
    values = [event.value for event in result.history if event.value is not None]
    assert result.value == min(values)


def test_cancelled_beforehand_it_does_not_start(monkeypatch: pytest.MonkeyPatch) -> None:
    cancel = threading.Event()
    cancel.set()
    monkeypatch.setattr("talos_opt.solvers.cpsat.search.make_solver", None)  # not to be called
    result = talos_opt.solve(layered(150), "cpsat", time_limit=60, cancel=cancel)
    assert result.interrupted
    assert [event.solver for event in result.history if event.value] == ["whole models"]


def test_building_looks_at_the_clock() -> None:
    """Every constraint family gives up, however late the stop comes."""
    calls, big = 0, layered(40, rule="peak", contention="serial", copy_engine=False)
    seen = count_looks(big)
    assert seen > 150
    for last in range(0, seen, 31):
        calls = 0

        def stopped(last: int = last) -> bool:
            nonlocal calls
            calls += 1
            return calls > last

        formulation = SequencingFormulation(cp, big, make_grid(big), math.inf, stopped)
        with pytest.raises(BuildStoppedError):
            formulation.build()
        assert calls == last + 1


def count_looks(drawn: Problem) -> int:
    looks = 0

    def stopped() -> bool:
        nonlocal looks
        looks += 1
        return False

    SequencingFormulation(cp, drawn, make_grid(drawn), math.inf, stopped).build()
    return looks


FAMILIES = {
    "plain": {},
    "everything": {"rule": "peak", "contention": "serial", "copy_engine": False},
}


@pytest.mark.timing
@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("solver", ["cpsat", "auto"])
def test_the_time_limit_holds_on_two_thousand_ops(solver: str, family: str) -> None:
    big = layered(2000, **FAMILIES[family])  # type: ignore[arg-type]
    limit = 2.0
    watch = Stopwatch()
    result = talos_opt.solve(big, solver, time_limit=limit, workers=2)
    watch.check(limit * 1.05 + 1)
    assert result.lower_bound > 0
    if solver == "auto":
        assert result.status is Status.FEASIBLE


@pytest.mark.timing
@pytest.mark.parametrize("limit", [1e-6, 0.05])
def test_a_tiny_limit_still_gives_an_answer(limit: float) -> None:
    drawn, watch = layered(300), Stopwatch()
    result = talos_opt.solve(drawn, "auto", time_limit=limit)
    watch.check(limit * 1.05 + 1)
    assert result.status is Status.FEASIBLE


@pytest.mark.timing
def test_one_wide_step_keeps_the_limit() -> None:
    """Two thousand ops that are all ready at once: the worst case of rules that price them all."""
    wide = problem([op(f"op{i}", 1 + i % 7 / 3) for i in range(2000)], "cpu0 gpu0 gpu1 gpu2")
    watch = Stopwatch()
    result = talos_opt.solve(wide, "auto", time_limit=1.0, workers=2)
    watch.check(2.05)
    assert result.status is not Status.UNKNOWN


# ---- determinism ---------------------------------------------------------------------------


def test_deterministic_means_same_seed_same_answer() -> None:
    medium = layered(24, models=3, width=4)
    warm = by_some_heuristic(medium)

    def answer(seed: int) -> tuple[list[float | None], Schedule]:
        run, _ = run_solver(
            "cpsat", medium, seed=seed, warm=warm, deterministic=True, deterministic_time=0.1
        )
        assert run.best is not None
        # Bounds are told as often as this thread comes to it, values every time.
        return list(dict.fromkeys(event.value for event in run.history)), run.best

    (values, schedule), (values_again, schedule_again) = answer(3), answer(3)
    assert len(values) > 2, "found nothing beyond the warm start"
    assert values == values_again
    assert schedule.device.tolist() == schedule_again.device.tolist()
    assert schedule.start.tolist() == schedule_again.start.tolist()
    assert answer(4)[0] != values


def test_a_deterministic_time_of_nothing_is_no_limit() -> None:
    run, _ = run_solver("cpsat", fig1(), deterministic=True)
    assert run.proven
    assert run.value == 9


@pytest.mark.parametrize("value", [-1.0, math.nan, math.inf])
def test_a_bad_deterministic_time_is_named(value: float) -> None:
    with pytest.raises(talos_opt.ConfigError, match="deterministic_time"):
        talos_opt.solve(fig1(), "cpsat", options={"cpsat": {"deterministic_time": value}})


# ---- what is told --------------------------------------------------------------------------


@given(problems(max_ops=4))
def test_history_only_gets_better(drawn: Problem) -> None:
    told: list[Progress] = []
    result = talos_opt.solve(drawn, "cpsat", on_progress=told.append, workers=1)
    assert [(one.value, one.lower_bound, one.solver) for one in told] == [
        (event.value, event.lower_bound, event.solver) for event in result.history
    ]
    values = [event.value for event in result.history if event.value is not None]
    bounds = [event.lower_bound for event in result.history]
    assert values == sorted(values, reverse=True)
    assert bounds == sorted(bounds)
    if result.value is not None:
        assert values[-1] == pytest.approx(result.value)
