"""The schedule that takes no search: feasible on all problems, and there where time is over."""

from __future__ import annotations

import threading

import pytest
from hypothesis import given

import talos_opt
from talos_opt.core.feasibility import check
from talos_opt.core.metrics import objective_value
from talos_opt.core.problem import Problem
from talos_opt.core.result import Status
from talos_opt.solvers.engine import registry
from talos_opt.solvers.shared.whole_models import first_schedule
from tests.builders import device, op
from tests.builders import problem as make
from tests.naive import naive_check
from tests.strategies import large_problems, problems


def assert_feasible(problem: Problem) -> None:
    schedule = first_schedule(problem)
    if schedule is not None:
        assert not check(problem, schedule)
        assert not naive_check(problem, schedule)


@given(problems())
def test_it_is_feasible(problem: Problem) -> None:
    assert_feasible(problem)


@given(large_problems(max_models=6, colocation=False))
def test_it_is_feasible_on_larger_graphs(problem: Problem) -> None:
    assert_feasible(problem)


def test_models_go_where_they_end_first_shortest_first() -> None:
    models = {"a": [op("x", 6)], "b": [op("x", 2)], "c": [op("x", 3), op("y", 1, "x")]}
    problem = make(models)
    schedule = first_schedule(problem)
    assert schedule is not None
    assert schedule.end.tolist() == [8, 2, 3, 4]  # b and c at once, a behind b
    assert objective_value(problem, schedule) == 8 + 2 + 4


def test_releases_come_first() -> None:
    models = {"a": [op("x", 6)], "b": [op("x", 2)]}
    schedule = first_schedule(make(models, "cpu0", release={"b": 10.0}))
    assert schedule is not None
    assert schedule.start.tolist() == [0, 10]


def test_a_model_that_fits_no_device_as_a_whole_gives_none() -> None:
    ops = [op("a", weights=3), op("b", weights=3)]
    assert first_schedule(make(ops, [device("cpu0", 4), device("cpu1", 4)])) is None
    assert first_schedule(make(ops, [device("cpu0", 4), device("cpu1", 6)])) is not None


def test_a_group_that_would_be_parted_gives_none() -> None:
    models = {name: [op("x", 1, colocate="g")] for name in "ab"}
    assert first_schedule(make(models)) is None


@pytest.mark.parametrize("name", [name for name in registry.names() if name != "pipeline"])
def test_every_solver_that_is_cancelled_at_once_has_a_schedule(name: str) -> None:
    models = {f"m{j}": [op("a", 2), op("b", 1, "a")] for j in range(30)}
    cancel = threading.Event()
    cancel.set()
    result = talos_opt.solve(make(models), name, cancel=cancel)
    assert result.status in (Status.FEASIBLE, Status.OPTIMAL)
    assert result.interrupted
