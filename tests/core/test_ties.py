"""Which of two schedules is better, at every scale and origin of time."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given

from talos_opt.core.metrics import forced_value, measure
from talos_opt.core.problem import Problem
from talos_opt.core.schedule import Schedule
from talos_opt.core.simulator import simulate
from talos_opt.core.ties import Standing, standing
from talos_opt.solvers.engine.run import Run
from tests.builders import device, op, problem
from tests.strategies import placed_problems


def at(given: Problem, *starts: float) -> Schedule:
    """Return a schedule of two ops on one device that start at these times."""
    made = simulate(given, np.zeros(2, dtype=np.int64), [0, 1])
    start = np.array(starts)
    return replace(made, start=start, end=start + given.arrays.time[:, 0])


def test_value_comes_first_then_idle_time_then_bytes() -> None:
    def rank(value: float, idle: float, moved: int) -> Standing:
        return Standing(value, idle, moved, value_slack=1e-9, idle_slack=1e-9)

    ordered = [rank(1, 5, 9), rank(2, 3, 9), rank(2, 4, 0), rank(2, 4, 1), rank(3, 0, 0)]
    for k, better in enumerate(ordered):
        for worse in ordered[k + 1 :]:
            assert better.beats(worse)
            assert not worse.beats(better)
        assert not better.beats(better)


def test_rounding_decides_nothing() -> None:
    exact = Standing(1.0, 0.3, 7, 1e-12, 1e-12)
    rounded = Standing(1.0 + 1e-15, 0.1 + 0.2 + 1e-16, 8, 1e-12, 1e-12)
    assert exact.beats(rounded)
    assert not rounded.beats(exact)


@pytest.mark.parametrize("scale", [1e-12, 1e-9, 1.0, 1e9])
def test_less_idle_time_wins_at_every_scale(scale: float) -> None:
    # Two slots: the ops may run side by side or not, at no cost under the bottleneck.
    small = problem(
        [op("a", scale), op("b", scale)],
        [device("cpu0", slots=2)],
        objective="bottleneck",
    )
    run = Run(small)
    assert run.offer(at(small, 0, scale), "late")
    assert run.offer(at(small, 0, 0.5 * scale), "earlier")
    assert run.offer(at(small, 0, 0), "together")
    assert not run.offer(at(small, 0, 0.5 * scale), "late again")
    assert run.best is not None
    assert measure(small, run.best).total_idle == 0


@given(placed_problems(peak=False, missing_routes=False))
def test_figures_are_those_of_the_metrics(drawn: tuple[Problem, list[int], list[int]]) -> None:
    given_problem, where, priority = drawn
    made = simulate(given_problem, np.array(where, dtype=np.int64), priority)
    rank, metrics = standing(given_problem, made), measure(given_problem, made)
    assert rank.value == metrics.value(given_problem.objective)
    assert rank.idle == pytest.approx(metrics.total_idle, abs=1e-12)
    assert rank.bytes == metrics.transferred_bytes
    assert 0 <= forced_value(given_problem) <= rank.value


@pytest.mark.parametrize("objective", ["toct", "makespan"])
def test_what_releases_force_gives_no_slack(objective: str) -> None:
    released = problem(
        [op("a", 1e-3), op("b", 1e-3)],
        [device("cpu0")],
        objective=objective,
        release={"m": 2.0**20},
    )
    rank = standing(released, at(released, 2.0**20, 2.0**20 + 1e-3))
    assert forced_value(released) == 2.0**20
    assert rank.value_slack < 1e-8  # some units in the last place; a share of the value were 1e-6
