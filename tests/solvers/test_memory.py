"""The objective memory: against brute force, and what is known of it."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import assume, given, reject
from hypothesis import strategies as st

from talos_opt.core.errors import GraphError
from talos_opt.core.problem import Problem
from talos_opt.core.result import Status
from talos_opt.solvers import bounds
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
