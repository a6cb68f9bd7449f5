"""Fewer devices and transfers within a share of the best value."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import talos_opt
from talos_opt.core.errors import ConfigError, InfeasibleScheduleError
from talos_opt.core.feasibility import check
from talos_opt.core.metrics import forced_value
from talos_opt.core.problem import Problem
from talos_opt.core.schedule import Schedule
from talos_opt.core.simulator import simulate
from talos_opt.core.ties import standing
from talos_opt.solvers.engine.run import Run
from talos_opt.solvers.polish import Consolidation, consolidate, consolidation, setup
from talos_opt.solvers.polish.trials import judge
from tests.builders import device, link, op, problem
from tests.solvers.polish.test_ties import run_from, started
from tests.strategies import large_problems

MODELS = Path(__file__).resolve().parents[3] / "models"

pytestmark = pytest.mark.notes(r"consolidated: ", r"worth has no effect on graphs of more than")


def chain(cpu: float, *, release: float = 0.0) -> Problem:
    """Return three ops that take 1 on a GPU; the middle one takes `cpu` on the CPU."""
    return problem(
        [
            op("a", {"gpu": 1}, output=8),
            op("b", {"cpu": cpu, "gpu": 1}, "a", output=8),
            op("c", {"gpu": 1}, "b"),
        ],
        [device("gpu0"), device("cpu0")],
        [link("gpu cpu")],
        release={"m": release},
    )


def on_both(given_problem: Problem) -> Schedule:
    return simulate(given_problem, np.array([0, 1, 0]), [0, 1, 2])


# ---- what it does --------------------------------------------------------------------------


@pytest.mark.parametrize(("worth", "devices"), [(0.1, 2), (0.19, 2), (0.2, 1), (1.0, 1)])
def test_a_device_is_emptied_for_what_it_is_worth(worth: float, devices: int) -> None:
    given_problem = chain(0.5)  # 2.5 on both, 3 on the GPU alone
    run = run_from(given_problem, on_both(given_problem))
    run.raise_bound(2.5, "test")
    found = consolidate(given_problem, run, worth)
    assert run.best is not None
    assert len(set(run.best.device.tolist())) == devices
    assert run.lower_bound == pytest.approx(2.5)  # bounds are rounded down
    if devices == 2:
        assert found is None
        assert run.value == 2.5
        assert run.proven
    else:
        assert found is not None
        assert (found.best, found.value, found.excess) == (2.5, 3.0, pytest.approx(0.2))
        assert (found.devices, found.transfers) == ((2, 1), (2, 0))
        assert run.value == 3.0
        assert not run.proven


def test_the_share_is_of_what_can_change() -> None:
    given_problem = chain(0.5, release=1024.0)
    run = run_from(given_problem, on_both(given_problem))
    assert consolidate(given_problem, run, 0.19) is None
    assert run.value == 1026.5
    assert consolidate(given_problem, run, 0.21) is not None
    assert run.value == 1027.0


@given(started(), st.sampled_from([0.0, 0.01, 0.3, 2.0]))
def test_the_value_stays_within_what_it_is_worth(
    drawn: tuple[Problem, Schedule], worth: float
) -> None:
    keeps_its_word(*drawn, worth)


@given(started(large_problems(max_ops=30, peak=False)), st.sampled_from([0.01, 0.3]))
def test_the_same_with_compiled_trials(drawn: tuple[Problem, Schedule], worth: float) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(setup, "_LOADING_S", -1.0)
        keeps_its_word(*drawn, worth)


def keeps_its_word(given_problem: Problem, start: Schedule, worth: float) -> None:
    before, forced = judge(given_problem, start), forced_value(given_problem)
    run = run_from(given_problem, start)
    found = consolidate(given_problem, run, worth)
    assert run.best is not None
    after = judge(given_problem, run.best)
    assert check(given_problem, run.best) == ()
    best = before.standing.value
    assert after.standing.value <= best + worth * (best - forced) + 2 * before.standing.value_slack
    assert (after.devices, after.transfers) <= (before.devices, before.transfers)
    if found is None:
        assert (after.devices, after.transfers) == (before.devices, before.transfers)
        assert not before.standing.beats(after.standing)
    else:
        assert run.value == found.value == after.standing.value
        assert found.devices == (before.devices, after.devices)
        assert found.transfers == (before.transfers, after.transfers)


@pytest.mark.parametrize(("worth", "devices"), [(0.0, 3), (0.4, 3), (0.5, 2), (1.9, 2), (2.0, 1)])
def test_it_empties_as_many_devices_as_it_may(worth: float, devices: int) -> None:
    # Two of the six ops are of one group: 2 on three devices, 3 on two, 6 on one.
    ops = [op(f"op{i}", 1, colocate="pair" if i < 2 else None) for i in range(6)]
    given_problem = problem(ops, "gpu0 gpu1 gpu2", objective="makespan")
    run = run_from(given_problem, simulate(given_problem, np.arange(6) // 2, range(6)))
    consolidate(given_problem, run, worth)
    assert run.best is not None
    assert len(set(run.best.device.tolist())) == devices


# ---- the way there -------------------------------------------------------------------------


def test_solve_tells_what_was_exchanged_for_what() -> None:
    given_problem = chain(0.5)
    plain = talos_opt.solve(given_problem, workers=1)
    assert (plain.status, plain.value, plain.notes) == ("optimal", 2.5, ())
    for worth in (0.25, "25%"):
        result = talos_opt.solve(given_problem, workers=1, worth=worth)
        assert (result.status, result.value) == ("feasible", 3.0)
        assert result.lower_bound == pytest.approx(2.5)
        assert result.notes == (
            "consolidated: 20.00 % above the best found (2.5 s), "
            "1 device instead of 2, 0 transfers instead of 2",
        )
        assert min(event.value for event in result.history if event.value is not None) == 2.5


def test_consolidating_for_nothing_leaves_an_optimum_optimal() -> None:
    result = talos_opt.solve(chain(1.0), "heft", worth=0.5, warm_start=on_both(chain(1.0)))
    assert (result.status, result.value) == ("optimal", 3.0)
    assert result.schedule is not None
    assert len(set(result.schedule.device.tolist())) == 1


def test_a_better_warm_start_does_not_come_back() -> None:
    given_problem = chain(0.5)
    start = on_both(given_problem)
    result = talos_opt.solve(given_problem, "heft", worth=0.25, warm_start=start, workers=1)
    assert result.value == 3.0
    assert talos_opt.solve(given_problem, "heft", warm_start=start, workers=1).value == 2.5


def test_any_solver_may_be_asked_for_it_and_compare_too() -> None:
    comparison = talos_opt.compare(chain(0.5), ["heft", "cpsat"], worth=0.25, workers=1)
    assert [row.result.value for row in comparison.rows if row.result] == [3.0, 3.0]


def test_without_time_nothing_is_exchanged() -> None:
    given_problem = chain(0.5)
    start = on_both(given_problem)
    run = run_from(given_problem, start)
    run.cancel.set()
    assert consolidate(given_problem, run, 1.0) is None
    assert run.best is start
    run = run_from(given_problem, start, seconds=-1.0)
    assert consolidate(given_problem, run, 1.0) is None
    assert run.best is start


def test_what_takes_the_place_of_the_incumbent_is_checked() -> None:
    given_problem = chain(0.5)
    run = run_from(given_problem, on_both(given_problem))
    start = run.best
    assert start is not None
    early = replace(start, start=start.start - 1, end=start.end - 1)
    with pytest.raises(InfeasibleScheduleError):
        run.settle(early)
    assert run.best is start


def test_graphs_that_are_too_large_get_a_note(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(consolidation, "MOST_OPS", 2)
    result = talos_opt.solve(chain(0.5), workers=1, worth=0.5)
    assert result.value == 2.5
    assert result.notes == ("worth has no effect on graphs of more than 2 ops",)


def test_resnet50_does_without_the_cpu() -> None:
    given_problem = talos_opt.read(MODELS / "resnet50.yaml")
    start = talos_opt.solve(given_problem, "heft").schedule
    assert start is not None
    run = Run(given_problem, time_limit=60)
    run.offer(start, "start")
    consolidate(given_problem, run, 0.005)
    assert run.best is not None
    assert judge(given_problem, run.best).devices == 1
    assert run.value <= 1.005 * standing(given_problem, start).value


@pytest.mark.parametrize("worth", [-0.1, "-1%", "much", float("nan"), float("inf"), True])
def test_what_is_no_share_is_refused(worth: float | str) -> None:
    with pytest.raises(ConfigError, match="worth"):
        talos_opt.solve(chain(0.5), worth=worth)


@pytest.mark.parametrize(
    ("found", "text"),
    [
        (
            Consolidation(1.0, 1.0031, 0.0031, (3, 2), (117, 1)),
            "consolidated: 0.31 % above the best found (1 us), 2 devices instead of 3, "
            "1 transfer instead of 117",
        ),
        (
            Consolidation(1.0, 1.0, 0.0, (2, 2), (5, 3)),
            "consolidated: as good as the best found (1 us), 2 devices as before, "
            "3 transfers instead of 5",
        ),
    ],
)
def test_it_is_told_in_words(found: Consolidation, text: str) -> None:
    assert found.describe("1 us") == text
