"""Solvers on problems of which a part has started: against brute force, and who refuses them."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from talos_opt import api
from talos_opt.core.errors import UnsupportedError
from talos_opt.core.feasibility import check
from talos_opt.core.problem import Problem
from talos_opt.core.replanning import Replanning, freeze
from talos_opt.core.result import Status
from talos_opt.core.schedule import Schedule
from talos_opt.solvers.engine import registry
from talos_opt.solvers.engine.base import Feature
from talos_opt.solvers.engine.run import Run
from tests.naive import brute_force
from tests.replanned import replannings
from tests.strategies import costly

RULES = ("single", "sequential", "aswm", "tsam", "heft", "etf", "talos")
CLOSE = 1e-6


def run_solver(name: str, problem: Problem, **options: object) -> tuple[Run, Status]:
    run = Run(problem, time_limit=60.0, workers=2)
    verdict = registry.create(name, options).solve(problem, run)
    return run, verdict.status


def require_whole(problem: Problem, schedule: Schedule) -> None:
    """What has started is as it was, and the whole is a schedule of the problem as it is."""
    frozen = problem.frozen
    assert frozen is not None
    whole = frozen.impose(schedule)
    assert check(dataclasses.replace(problem, frozen=None), whole) == ()
    assert np.array_equal(whole.start[frozen.started], frozen.start[frozen.started])
    assert (whole.start[~frozen.started] >= frozen.moment).all()


@costly
@given(replannings())
def test_cpsat_agrees_with_brute_force(left: Replanning) -> None:
    problem = left.problem
    assume(problem.frozen is not None)
    expected = brute_force(problem)
    run, status = run_solver("cpsat", problem)
    if expected is None:
        assert status is Status.INFEASIBLE
        assert run.best is None
    else:
        assert run.best is not None
        assert run.value == pytest.approx(expected[0], rel=CLOSE, abs=CLOSE)
        assert run.lower_bound == pytest.approx(expected[0], rel=CLOSE, abs=CLOSE)
        require_whole(problem, run.best)


@costly
@given(replannings())
def test_another_unit_and_origin_change_nothing(left: Replanning) -> None:
    """Digits that late times have lost must not keep what has started from being there."""
    assume(left.problem.frozen is not None and not left.lost)
    problem, running, moment = (moved(item) for item in (left.problem, left.running, left.moment))
    gone = np.flatnonzero(left.problem.frozen.left)
    without = [left.problem.device_ids[d] for d in gone]
    there = freeze(problem, running, moment, without=without).problem
    here = freeze(moved(left.problem, 1.0, 0.0), left.running, left.moment, without=without).problem
    assume(there.frozen is not None and np.array_equal(there.frozen.started, here.frozen.started))
    first, second = (api.solve(item, "cpsat", time_limit=30, workers=2) for item in (here, there))
    assert first.status is second.status
    if first.value is not None:
        assert second.value is not None
        weight = sum(m.weight for m in problem.graph.models) if here.objective == "toct" else 1.0
        assert second.value == pytest.approx(UNIT * first.value + ORIGIN * weight, rel=1e-7)
        assert second.lower_bound == pytest.approx(UNIT * first.lower_bound + ORIGIN * weight)


UNIT, ORIGIN = 3.3, 57.1


def moved(item: Any, unit: float = UNIT, origin: float = ORIGIN) -> Any:
    """Return a time, a schedule or a problem in another unit, from another time zero on."""
    if isinstance(item, Schedule):
        moves = item.transfers
        hops = dataclasses.replace(moves, start=moved(moves.start), end=moved(moves.end))
        return Schedule(item.device.copy(), moved(item.start), moved(item.end), hops)
    if not isinstance(item, Problem):
        return item * unit + origin
    models = tuple(
        dataclasses.replace(
            model,
            release=moved(model.release, unit, origin),
            ops=tuple(
                dataclasses.replace(op, time={key: time * unit for key, time in op.time.items()})
                for op in model.ops
            ),
        )
        for model in item.graph.models
    )
    links = item.cluster.links
    if links is not None:
        links = tuple(
            dataclasses.replace(link, latency=link.latency * unit, bandwidth=link.bandwidth / unit)
            for link in links
        )
    cluster = dataclasses.replace(item.cluster, links=links)
    graph = dataclasses.replace(item.graph, models=models)
    return dataclasses.replace(item, graph=graph, cluster=cluster, frozen=None)


@given(replannings(), st.sampled_from(RULES))
def test_rules_keep_what_has_started(left: Replanning, name: str) -> None:
    problem = left.problem
    assume(problem.frozen is not None)
    run, _ = run_solver(name, problem)
    assume(run.best is not None)
    expected = brute_force(problem)
    assert expected is not None
    assert run.value >= expected[0] - CLOSE
    require_whole(problem, run.best)


@costly
@given(replannings())
def test_local_search_keeps_what_has_started(left: Replanning) -> None:
    problem = left.problem
    assume(problem.frozen is not None)
    run, _ = run_solver("fast", problem, moves=100)
    assume(run.best is not None)
    expected = brute_force(problem)
    assert expected is not None
    assert run.value >= expected[0] - CLOSE
    require_whole(problem, run.best)


@pytest.fixture(scope="module")
def stopped() -> Replanning:
    problem = api.read("models/fig1.yaml")
    return freeze(problem, api.solve(problem, "talos").schedule, 2.0)


def test_all_others_refuse(stopped: Replanning) -> None:
    keep = {name for name in registry.names() if registry.create(name).covers(stopped.problem)}
    assert keep == {*RULES, "auto", "cpsat", "fast", "lns"}
    with pytest.raises(UnsupportedError, match=f"does not cover {Feature.FROZEN.value}"):
        api.solve(stopped.problem, "dp")


def test_auto_proves_what_is_left(stopped: Replanning) -> None:
    result = api.solve(stopped.problem, time_limit=10)
    assert (result.status, result.value) == (Status.OPTIMAL, 9)
    assert result.schedule is not None
    require_whole(stopped.problem, result.schedule)


def test_each_broken_promise_is_told(stopped: Replanning) -> None:
    problem, running = stopped.problem, stopped.running
    late = np.where(stopped.begun, running.start + 0.5, running.start)
    shifted = dataclasses.replace(running, start=late, end=late + (running.end - running.start))
    told = [str(item) for item in check(problem, shifted) if item.rule == "frozen"]
    assert len(told) == int(stopped.begun.sum())
    assert "has started at 0, here it starts at 0.5" in told[0]
    early = freeze(problem, running, 2.5).problem  # what starts then is planned for then at least
    soon = np.where(stopped.begun, running.start, running.start - 0.25)
    hurried = dataclasses.replace(running, start=soon, end=soon + (running.end - running.start))
    told = [str(item) for item in check(early, hurried) if item.rule == "frozen"]
    assert told
    assert all("before 2.5" in item for item in told)
