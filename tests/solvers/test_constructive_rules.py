"""What the baselines promise: order of models, filling, memory, pins, textbook values."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from talos_opt.core.cluster import Cluster, Device, Link
from talos_opt.core.feasibility import check
from talos_opt.core.graph import Graph, Input, Model, Op
from talos_opt.core.problem import Problem
from talos_opt.core.result import Status
from talos_opt.solvers import registry
from talos_opt.solvers.auto import BASELINES
from talos_opt.solvers.base import Verdict
from talos_opt.solvers.baselines.heft import _place_by_rank
from talos_opt.solvers.baselines.orders import average_speedups, shortest_first, upward_ranks
from talos_opt.solvers.constructive import Builder
from talos_opt.solvers.run import Run
from tests.builders import device, fig1, op, problem
from tests.strategies import large_problems, problems


def outcome(solver: str, given: Problem) -> tuple[Run, Verdict]:
    run = Run(given, time_limit=30.0, workers=2)
    return run, registry.create(solver).solve(given, run)


def topcuoglu() -> Problem:
    """The ten-task example of Topcuoglu, Hariri, Wu (2002), Fig. 2 and Table I.

    Communication costs of 1..27 on every pair of the three processors: one byte takes one unit.
    """
    times = [
        (14, 16, 9), (13, 19, 18), (11, 13, 19), (13, 8, 17), (12, 13, 10),
        (13, 16, 9), (7, 15, 11), (5, 11, 14), (18, 12, 20), (21, 7, 16),
    ]  # fmt: skip
    edges = {
        (1, 2): 18, (1, 3): 12, (1, 4): 9, (1, 5): 11, (1, 6): 14, (2, 8): 19, (2, 9): 16,
        (3, 7): 23, (4, 8): 27, (4, 9): 23, (5, 9): 13, (6, 8): 15, (7, 10): 17, (8, 10): 11,
        (9, 10): 13,
    }  # fmt: skip
    ops = tuple(
        Op(
            f"n{i}",
            {"p1": float(a), "p2": float(b), "p3": float(c)},
            inputs=tuple(Input(f"n{s}", size) for (s, t), size in edges.items() if t == i),
        )
        for i, (a, b, c) in enumerate(times, start=1)
    )
    devices = tuple(Device(f"p{k}", f"p{k}") for k in (1, 2, 3))
    links = tuple(Link(f"p{a}", f"p{b}", 0.0, 1.0) for a, b in ((1, 2), (1, 3), (2, 3)))
    graph = Graph("topcuoglu", (Model("m", ops),), time_unit="s")
    return Problem(graph, Cluster(devices, links), "makespan")


def test_upward_ranks_of_the_heft_paper() -> None:
    published = [108.000, 77.000, 80.000, 80.000, 69.000, 63.333, 42.667, 35.667, 44.333, 14.667]
    assert upward_ranks(topcuoglu()).tolist() == pytest.approx(published, abs=5e-4)


def test_heft_places_as_in_its_paper() -> None:
    given = topcuoglu()
    builder = Builder(given)
    _place_by_rank(builder)
    order = [given.ops[i].id for i in builder.order]
    assert order == ["n1", "n3", "n4", "n2", "n5", "n6", "n9", "n7", "n8", "n10"]
    assert max(builder.end) == pytest.approx(80.0)
    # In this model a tensor is sent once per device, with the bytes of its largest reader there:
    # n6 delays what n4 waits for, and the same placement takes 85.
    assert outcome("heft", given)[0].value == pytest.approx(85.0)


def test_average_speedups_are_total_over_total() -> None:
    assert average_speedups(fig1()) == pytest.approx([9 / 6, 6.5 / 6.5])


def test_single_runs_the_shortest_model_first() -> None:
    long = Model("long", (Op("a", {"cpu": 9.0}),))
    short = Model("short", (Op("a", {"cpu": 1.0}),))
    given = Problem(Graph("g", (long, short)), Cluster((Device("cpu0", "cpu"),)))
    assert shortest_first(given, 0) == [1, 0]
    assert outcome("single", given)[0].value == 1 + 10


def test_weights_count_in_the_order() -> None:
    heavy = Model("heavy", (Op("a", {"cpu": 9.0}),), weight=100.0)
    light = Model("light", (Op("a", {"cpu": 1.0}),))
    given = Problem(Graph("g", (light, heavy)), Cluster((Device("cpu0", "cpu"),)))
    assert shortest_first(given, 0) == [1, 0]


def test_sequential_fills_accelerators_then_the_host() -> None:
    ops = [op(f"o{i}", 1, f"o{i - 1}" if i else "", weights=4) for i in range(5)]
    devices = [device("cpu0"), device("gpu0", memory=8), device("gpu1", memory=8)]
    run, _ = outcome("sequential", problem(ops, devices))
    assert run.best is not None
    assert run.best.device.tolist() == [1, 1, 2, 2, 0]


@pytest.mark.parametrize("solver", BASELINES)
def test_no_room_is_said_with_op_device_and_bytes(solver: str) -> None:
    ops = [op(f"o{i}", 1, weights=6) for i in range(2)]
    run, verdict = outcome(solver, problem(ops, [device("cpu0", memory=10)]))
    assert run.best is None
    assert verdict.status is Status.UNKNOWN
    assert "cpu0" in verdict.reason
    assert "bytes" in verdict.reason


@given(st.one_of(problems(max_ops=8), large_problems()), st.sampled_from(BASELINES))
def test_every_baseline_keeps_the_model_or_says_why(given: Problem, solver: str) -> None:
    run, verdict = outcome(solver, given)
    if run.best is None:
        assert verdict.reason
    else:
        assert check(given, run.best) == ()


@given(problems(max_ops=7))
def test_auto_is_no_worse_than_any_baseline(given: Problem) -> None:
    auto, _ = outcome("auto", given)
    for solver in BASELINES:
        run, _ = outcome(solver, given)
        assert auto.value <= run.value * (1 + 1e-9)
