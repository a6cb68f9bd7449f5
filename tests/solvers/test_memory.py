"""The objective memory: against brute force, and what is known of it."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import assume, given, reject, settings
from hypothesis import strategies as st

import talos_opt
from talos_opt.core.errors import GraphError
from talos_opt.core.problem import Problem
from talos_opt.core.result import Status
from talos_opt.solvers import bounds
from tests.builders import device, op
from tests.builders import problem as made
from tests.naive import brute_force
from tests.solvers.test_agreement import CLOSE, run_solver
from tests.strategies import problems

MEMORY = ("memory",)


@given(problems(max_ops=5, objectives=MEMORY))
def test_cpsat_agrees_with_brute_force(problem: Problem) -> None:
    expected = brute_force(problem)
    run, status = run_solver("cpsat", problem)
    if expected is None:
        assert status is Status.INFEASIBLE
        assert run.best is None
    else:
        assert run.value == pytest.approx(expected[0], rel=CLOSE)
        assert run.lower_bound == pytest.approx(expected[0], rel=CLOSE)


@pytest.mark.parametrize("solver", ["auto", "beam", "cpsat", "dp"])
def test_a_device_without_memory_runs_what_needs_none(solver: str) -> None:
    given = made([op("a", {"cpu": 1})], [device("cpu0", 0)], rule="peak", objective="memory")
    result = talos_opt.solve(given, solver, time_limit=5.0)
    assert (result.status, result.value) == (Status.OPTIMAL, 0.0)


def on_one_device(problem: Problem, device: int) -> Problem:
    """The problem with one of its devices, which runs all of its ops."""
    chosen = problem.cluster.devices[device % len(problem.cluster.devices)]
    models = [
        replace(
            model,
            ops=tuple(
                replace(op, time={chosen.kind: max(op.time.values())}, devices=None, slots=1)
                for op in model.ops
            ),
        )
        for model in problem.graph.models
    ]
    graph = replace(problem.graph, models=tuple(models))
    cluster = replace(
        problem.cluster, devices=(chosen,), links=None, reference=chosen.kind, contention="none"
    )
    try:
        return replace(problem, graph=graph, cluster=cluster)
    except GraphError:
        reject()
        raise AssertionError("unreachable") from None


@pytest.mark.parametrize("name", ["dp", "beam", "cpsat"])
@given(problems(max_ops=6, objectives=MEMORY), st.integers(0, 2))
def test_one_device_agrees_with_brute_force(name: str, problem: Problem, device: int) -> None:
    alone = on_one_device(problem, device)
    expected = brute_force(alone)
    run, status = run_solver(name, alone)
    if expected is None:
        assert run.best is None
        assert status is Status.INFEASIBLE or name == "beam"
    else:
        assert run.value == pytest.approx(expected[0], rel=CLOSE)
        if name != "beam":
            assert run.lower_bound == pytest.approx(expected[0], rel=CLOSE)


@given(problems(max_ops=5, objectives=MEMORY))
def test_root_bounds_never_exceed_the_optimum(problem: Problem) -> None:
    expected = brute_force(problem)
    assume(expected is not None)
    assert bounds.root_bound(problem) <= expected[0] * (1 + 1e-12)


@pytest.mark.parametrize("name", ["auto", "fast", "large", "beam", "relax", "heft", "talos"])
@settings(max_examples=15)
@given(problems(max_ops=4, objectives=MEMORY))
def test_no_answer_is_below_the_optimum_and_no_bound_above(name: str, problem: Problem) -> None:
    expected = brute_force(problem)
    result = talos_opt.solve(problem, name, time_limit=0.3, workers=1, explain=False)
    assume(expected is not None)
    assert result.lower_bound <= expected[0] * (1 + 1e-12)
    if result.value is not None:
        assert result.value >= expected[0] * (1 - 1e-12)
    if result.status == "optimal":
        assert result.value == pytest.approx(expected[0], rel=CLOSE)


def diamonds() -> Problem:
    """Two branches of outputs of 1 and 4 bytes: one after the other 6 bytes suffice."""
    ops = [
        op("in", 1, output=1),
        op("a", 1, "in", output=4),
        op("b", 1, "a", output=1),
        op("c", 1, "in", output=4),
        op("d", 1, "c", output=1),
        op("out", 1, "b d", output=1),
    ]
    return made(ops, [device("cpu0")], objective="memory", rule="peak")


@pytest.mark.parametrize("name", ["auto", "cpsat", "dp", "beam"])
def test_one_device_without_a_limit_counts_bytes(name: str) -> None:
    result = talos_opt.solve(diamonds(), name, time_limit=5)
    assert result.value == 6
    assert result.metrics is not None
    assert result.metrics.peak_memory == {"cpu0": 6}
    assert result.metrics.makespan == 6


def test_a_limit_makes_it_a_share() -> None:
    limited = replace(
        diamonds(), cluster=replace(diamonds().cluster, devices=(device("cpu0", memory=12),))
    )
    assert talos_opt.solve(limited, "dp").value == 0.5


def test_a_device_without_a_limit_counts_nothing_beside_others() -> None:
    ops = [op("a", {"cpu": 1, "gpu": 1}, weights=8), op("b", {"cpu": 5, "gpu": 1}, weights=2)]
    devices = [device("cpu0"), device("gpu0", memory=10)]
    result = talos_opt.solve(made(ops, devices, objective="memory"), "cpsat")
    assert (result.value, result.metrics.makespan) == (0, 6)


@pytest.mark.parametrize("name", ["auto", "cpsat"])
def test_shares_are_of_each_device(name: str) -> None:
    ops = [op(f"o{i}", 1, weights=3) for i in range(4)]
    devices = [device("cpu0", memory=20), device("cpu1", memory=10)]
    result = talos_opt.solve(made(ops, devices, objective="memory"), name, time_limit=5)
    assert result.value == pytest.approx(9 / 20)
    assert result.status == "optimal"


def test_the_makespan_breaks_ties() -> None:
    ops = [op(f"o{i}", 1 + i, output=1) for i in range(4)]
    devices = [device("cpu0", memory=9), device("cpu1", memory=9)]
    result = talos_opt.solve(made(ops, devices, objective="memory"), "cpsat", time_limit=5)
    assert result.value == pytest.approx(2 / 9)
    assert result.metrics.makespan == 5


@pytest.mark.parametrize("name", ["ilp", "lns", "coarse"])
def test_what_does_not_cover_it_says_so(name: str) -> None:
    static = replace(diamonds(), memory_rule="static")
    with pytest.raises(talos_opt.UnsupportedError, match="objective memory"):
        talos_opt.solve(static, name)


def test_dp_covers_one_device_only() -> None:
    two = replace(
        diamonds(), cluster=replace(diamonds().cluster, devices=(device("cpu0"), device("cpu1")))
    )
    with pytest.raises(talos_opt.UnsupportedError, match="on several devices"):
        talos_opt.solve(two, "dp")
