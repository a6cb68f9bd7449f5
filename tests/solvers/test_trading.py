"""Solves of one problem that share incumbents and bounds while they run."""

from __future__ import annotations

import math
import threading
from pathlib import Path

import pytest

from talos_opt import api
from talos_opt.core.errors import RefutedProofError
from talos_opt.core.feasibility import check
from talos_opt.core.metrics import objective_value
from talos_opt.core.schedule import Schedule
from talos_opt.solvers.engine.exchange import Exchange
from tests.cli.process import FIG1, hard_graph


def test_what_others_find_ends_a_search() -> None:
    """`heft` cannot prove anything, and `fast` goes on until it is proven that it may end."""
    problem = api.read(FIG1)
    best = api.solve(problem, "dp").schedule
    exchange = Exchange(lambda schedule, bound: None)
    exchange.post(best, 9.0)
    for solver in ("fast", "heft"):
        result = api.solve(problem, solver, time_limit=100, exchange=exchange)
        assert (result.status, result.value, result.lower_bound) == ("optimal", 9.0, 9.0)
        exchange.post(best, 9.0)
        assert "others" in {event.solver for event in result.history}


def test_what_is_found_is_told_and_told_once(tmp_path: Path) -> None:
    problem = api.read(FIG1)
    told: list[tuple[Schedule | None, float]] = []
    result = api.solve(
        problem, "cpsat", exchange=Exchange(lambda schedule, bound: told.append((schedule, bound)))
    )
    schedules = [schedule for schedule, _ in told if schedule is not None]
    assert all(check(problem, schedule) == () for schedule in schedules)
    assert objective_value(problem, schedules[-1]) == result.value == 9.0
    assert told[-1][1] == pytest.approx(9.0)
    assert len({id(schedule) for schedule in schedules}) == len(schedules)


def test_a_wrong_bound_of_others_is_no_answer(tmp_path: Path) -> None:
    problem = api.read(FIG1)
    exchange = Exchange(lambda schedule, bound: None)
    exchange.post(None, 12.0)
    with pytest.raises(RefutedProofError):
        api.solve(problem, "cpsat", exchange=exchange)


def test_of_several_posts_the_best_bound_and_the_latest_schedule_count() -> None:
    exchange = Exchange(lambda schedule, bound: None)
    assert exchange.take() == (None, -math.inf)
    schedule = api.solve(FIG1, "heft").schedule
    exchange.post(schedule, 3.0)
    exchange.post(None, 2.0)
    assert exchange.take() == (schedule, 3.0)
    assert exchange.take() == (None, 3.0)


def test_cancelled_solves_stop_trading(tmp_path: Path) -> None:
    cancel = threading.Event()
    cancel.set()
    before = threading.active_count()
    api.solve(api.read(hard_graph(tmp_path)), cancel=cancel, exchange=Exchange(lambda *news: None))
    assert threading.active_count() <= before + 1
