"""What leaves a solve: truth that does not hang on the origin, and faults that are not hidden."""

from __future__ import annotations

import threading
from collections.abc import Callable

import numpy as np
import pytest

import talos_opt
from talos_opt.core.errors import InfeasibleScheduleError, InternalError, RefutedProofError
from talos_opt.core.problem import Problem
from talos_opt.core.result import Status
from talos_opt.core.schedule import Schedule
from talos_opt.core.simulator import simulate
from talos_opt.solvers import session
from talos_opt.solvers.engine import registry
from talos_opt.solvers.engine.base import NoOptions, Solver, Verdict
from talos_opt.solvers.engine.run import Run
from tests.builders import device, link, op, problem, schedule
from tests.solvers.running import in_own_process, layered, press_ctrl_c

#: An hour in us; Unix time in s, ms and us.
pytestmark = pytest.mark.notes("subtract the earliest release")  # or times lose digits

ORIGINS = (0.0, 3.6e9, 1.76e9, 1.76e12, 1.76e15)
EXACT = ("auto", "cpsat", "ilp", "dp")


def released(at: float, objective: str = "toct") -> Problem:
    ops = [
        op("a", {"cpu": 700, "gpu": 70}),
        op("b", {"cpu": 900, "gpu": 90}),
        op("c", {"cpu": 100, "gpu": 10}, "a"),
    ]
    return problem(ops, "cpu0 gpu0", release={"m": at}, objective=objective)


@pytest.mark.parametrize("solver", EXACT)
@pytest.mark.parametrize("objective", ["toct", "makespan"])
@pytest.mark.parametrize("at", ORIGINS)
def test_the_optimum_does_not_hang_on_where_time_zero_is(
    at: float, objective: str, solver: str
) -> None:
    given = released(at, objective)
    result = talos_opt.solve(given, solver, time_limit=20, workers=1)
    assert result.status is Status.OPTIMAL
    assert result.value == at + 170
    assert result.gap is not None
    assert result.gap <= 1e-6
    if solver != "ilp":  # whose bound is lowered by what its backend may be off
        assert result.lower_bound == result.value
    assert talos_opt.check(given, result.schedule) == ()


@pytest.mark.parametrize("at", ORIGINS)
def test_a_bad_schedule_is_not_called_optimal_for_being_late(
    at: float, solve_by: Callable[..., talos_opt.Result]
) -> None:
    def act(given: Problem, run: Run) -> Verdict:
        on_cpu = np.zeros(3, dtype=np.int64)
        run.offer(simulate(given, on_cpu, range(3)), "mine")
        return Verdict(Status.FEASIBLE)

    result = solve_by(act, given=released(at))
    assert result.value == at + 1700
    assert result.status is Status.FEASIBLE
    assert result.gap is not None
    assert result.gap > 0.8


def test_what_ends_with_the_last_release_as_far_as_floats_tell_is_optimal() -> None:
    """Found by benchmarks/trust: the releases' difference is 2e-8 less than the op's time."""
    last, before = 1000003515.3549304, 1000000000.0
    models = {"a": [op("x", {"gpu": 0.0})], "b": [op("x", {"cpu": 8.5, "gpu": 3515.3549304244816})]}
    given = problem(models, "cpu0 gpu0", release={"a": last, "b": before}, objective="makespan")
    result = talos_opt.solve(given, "sequential")
    assert (result.value, result.lower_bound, result.gap) == (last, last, 0.0)
    assert result.status is Status.OPTIMAL


def test_digits_that_are_lost_are_noted() -> None:
    assert "subtract the earliest release" in " ".join(talos_opt.solve(released(1.76e18)).notes)
    assert talos_opt.solve(released(1.76e12)).notes == ()


@pytest.mark.parametrize("at", ORIGINS)
def test_a_warm_start_of_any_day_is_taken(at: float) -> None:
    given = released(at)
    best = talos_opt.solve(given, "cpsat", time_limit=20).schedule
    result = talos_opt.solve(given, "single", warm_start=best, time_limit=5)
    assert result.value == at + 170
    assert talos_opt.check(given, result.schedule) == ()


# ---- faults --------------------------------------------------------------------------------


def chain() -> Problem:
    return problem([op("a", 1), op("b", 1)], "cpu0", objective="makespan")


def of_length(given: Problem, value: float) -> Schedule:
    scale = given.arrays.time[0, 0]
    return schedule(given, {"a": ("cpu0", 0), "b": ("cpu0", (value - 1) * scale)})


class Faulty(Solver):
    """A solver that does what a test says."""

    name = "single"
    summary = "for tests"
    Options = NoOptions
    act: Callable[[Problem, Run], Verdict]

    def solve(self, problem: Problem, run: Run) -> Verdict:
        return type(self).act(problem, run)


@pytest.fixture
def solve_by(monkeypatch: pytest.MonkeyPatch) -> Callable[..., talos_opt.Result]:
    def solve(
        act: Callable[[Problem, Run], Verdict], given: Problem | None = None
    ) -> talos_opt.Result:
        kind = type("Act", (Faulty,), {"act": staticmethod(act)})
        monkeypatch.setattr(registry, "create", lambda name, options=None: kind())
        return talos_opt.solve(given or chain(), "single")

    return solve


def test_a_refuted_bound_ends_the_solve_and_the_better_schedule_stays(
    solve_by: Callable[..., talos_opt.Result],
) -> None:
    def act(given: Problem, run: Run) -> Verdict:
        run.offer(of_length(given, 20), "mine")
        run.raise_bound(15 * given.arrays.time[0, 0], "mine")
        run.offer(of_length(given, 2), "mine")
        return Verdict(Status.FEASIBLE)

    with pytest.raises(RefutedProofError, match="below the bound") as caught:
        solve_by(act)
    result = caught.value.result
    assert result is not None
    assert result.value == 2
    assert result.lower_bound <= 2
    assert talos_opt.check(chain(), result.schedule) == ()


def test_a_bound_above_a_known_value_ends_the_solve(
    solve_by: Callable[..., talos_opt.Result],
) -> None:
    def act(given: Problem, run: Run) -> Verdict:
        run.offer(of_length(given, 20), "mine")
        run.raise_bound(21 * given.arrays.time[0, 0], "mine")
        return Verdict(Status.FEASIBLE)

    with pytest.raises(RefutedProofError, match="above the known value") as caught:
        solve_by(act)
    assert caught.value.result is not None
    assert caught.value.result.value == 20
    assert caught.value.result.lower_bound == pytest.approx(2)
    assert caught.value.result.status is Status.FEASIBLE


def test_an_infeasible_offer_ends_the_solve(solve_by: Callable[..., talos_opt.Result]) -> None:
    def act(given: Problem, run: Run) -> Verdict:
        run.offer(of_length(given, 3), "mine")
        run.offer(of_length(given, 1.5), "mine")
        return Verdict(Status.FEASIBLE)

    with pytest.raises(InfeasibleScheduleError, match="slots") as caught:
        solve_by(act)
    assert caught.value.result is not None
    assert caught.value.result.value == 3


def test_a_programming_error_ends_the_solve(solve_by: Callable[..., talos_opt.Result]) -> None:
    def act(given: Problem, run: Run) -> Verdict:
        run.offer(of_length(given, 3), "mine")
        return [Verdict(Status.FEASIBLE)][1]

    with pytest.raises(InternalError, match="IndexError in solver 'single'") as caught:
        solve_by(act)
    assert isinstance(caught.value.__cause__, IndexError)
    assert caught.value.result is not None
    assert caught.value.result.value == 3


@pytest.mark.notes("single ended early")
def test_limits_of_a_backend_are_notes(solve_by: Callable[..., talos_opt.Result]) -> None:
    for error, said in ((MemoryError(), "out of memory"), (talos_opt.SolverError("cut"), "cut")):

        def act(given: Problem, run: Run, error: Exception = error) -> Verdict:
            run.offer(of_length(given, 3), "mine")
            raise error

        result = solve_by(act)
        assert result.value == 3
        assert said in result.notes[0]

    def fail(given: Problem, run: Run) -> Verdict:
        raise talos_opt.SolverError("nothing")

    with pytest.raises(talos_opt.SolverError, match="nothing"):
        solve_by(fail)


def test_a_comparison_that_a_fault_ends_keeps_its_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    create = registry.create

    def faulty(name: str, options: object = None) -> Solver:
        def act(given: Problem, run: Run) -> Verdict:
            raise IndexError("no")

        if name != "heft":
            return create(name, options)  # type: ignore[arg-type]
        return type("Act", (Faulty,), {"act": staticmethod(act)})()

    monkeypatch.setattr(registry, "create", faulty)
    with pytest.raises(InternalError) as caught:
        talos_opt.compare(chain(), ["single", "heft", "etf"])
    assert caught.value.comparison is not None
    assert [row.solver for row in caught.value.comparison.rows] == ["single"]


# ---- interruption --------------------------------------------------------------------------


@in_own_process
def test_ctrl_c_reaches_the_caller_and_spares_his_event() -> None:
    talos_opt.solve(chain(), "auto", time_limit=60)  # libraries are loaded
    big, mine = layered(300), threading.Event()
    press_ctrl_c(1.0)
    with pytest.raises(KeyboardInterrupt) as caught:
        talos_opt.solve(big, "auto", time_limit=60, cancel=mine)
    result = caught.value.result
    assert isinstance(caught.value, talos_opt.Interrupted)
    assert result.interrupted
    assert talos_opt.check(big, result.schedule) == ()
    assert not mine.is_set()


@in_own_process
@pytest.mark.parametrize("after", [0.1, 0.3])
def test_ctrl_c_while_libraries_load_spoils_no_later_solve(after: float) -> None:
    """Half of numba stayed loaded, and every solve from then on was an internal error."""
    given = layered(300)
    press_ctrl_c(after)
    with pytest.raises(KeyboardInterrupt):
        talos_opt.solve(given, "fast", time_limit=20)
    assert talos_opt.solve(layered(40), "fast", time_limit=1).schedule is not None
    assert talos_opt.solve(chain(), "auto", time_limit=10).status is Status.OPTIMAL


def test_ctrl_c_while_infeasibility_is_explained_keeps_the_verdict(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def interrupted(*_args: object, **_more: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(session, "explain_infeasibility", interrupted)
    ops = [op(name, {"cpu": 1}, weights=6) for name in "ab"]
    given = problem(ops, [device("cpu0", 10)])
    with pytest.raises(talos_opt.Interrupted) as caught:
        talos_opt.solve(given, "cpsat")
    assert caught.value.result is not None
    assert caught.value.result.status is Status.INFEASIBLE
    result = talos_opt.solve(given, "cpsat", catch_interrupt=True)
    assert (result.status, result.interrupted) == (Status.INFEASIBLE, True)
    assert "12 bytes" in result.reason


def test_the_callers_event_still_cancels() -> None:
    mine = threading.Event()
    mine.set()
    result = talos_opt.solve(layered(300), "fast", time_limit=60, cancel=mine)
    assert result.interrupted


@pytest.mark.parametrize("solver", ["single", "auto", "cpsat"])
def test_what_a_callback_raises_is_the_callers(solver: str) -> None:
    mine = ValueError("mine")

    def raise_mine(event: object) -> None:
        raise mine

    with pytest.raises(ValueError, match="mine") as caught:
        talos_opt.solve(released(0.0), solver, time_limit=5, on_progress=raise_mine)
    assert caught.value is mine


def test_a_cancelled_run_says_so() -> None:
    mine = threading.Event()
    mine.set()
    result = talos_opt.solve(layered(40), "cpsat", time_limit=60, cancel=mine)
    assert [note.partition(":")[0] for note in result.notes] == [
        "the run was cancelled before there was a schedule"
    ]


@pytest.mark.notes("can be written to")
def test_what_digits_cannot_tell_is_no_bug() -> None:
    """Found by benchmarks/trust: ops of 1e-6 at 1.8e15 hold no memory as far as floats can tell."""
    models = {
        "a": [
            op("x", {"gpu": 5.2e-06}, weights=8192, output=16384),
            op("y", {"gpu": 6e-06}, "x", weights=8192, output=4096),
        ],
        "b": [
            op("x", {"gpu": 3.8e-06, "gpu0": 6e-06}, output=16384, workspace=4096),
            op("y", {"gpu": 1.2e-06}, "x:12288", weights=8192, output=4096, devices="gpu1"),
        ],
    }
    given = problem(
        models,
        [device("gpu0", 36864, copy_engine=False), device("gpu1", 32768)],
        [link("gpu0 > gpu1", 0, 3351272727272.727, duplex="half")],
        rule="peak",
        contention="serial",
        objective="bottleneck",
        release={"a": 1764153000000.0, "b": 1764153000000000.0},
    )
    for seed in range(4):
        result = talos_opt.solve(given, time_limit=0.5, seed=seed, workers=1)
        assert result.status in (Status.FEASIBLE, Status.OPTIMAL)
