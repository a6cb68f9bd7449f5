"""CP-SAT's integer grid: exact where it can be, and a relaxation where it rounds."""

from __future__ import annotations

import math
import random
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from talos_opt.core.feasibility import check
from talos_opt.core.problem import Problem
from talos_opt.core.result import Status
from talos_opt.solvers.cpsat.grid import make_grid, whole_weights
from tests.builders import device, link, op, problem
from tests.naive import brute_force
from tests.solvers.running import run_solver
from tests.strategies import problems


@pytest.mark.parametrize(
    ("times", "per_unit"),
    [((1, 2), 1), ((0.5, 3), 2), ((1.25, 2.5), 4), ((0.2, 0.125), 40), ((0.001, 7.25), 1000)],
)
def test_times_with_a_common_tick_are_exact(times: tuple[float, ...], per_unit: int) -> None:
    grid = make_grid(problem([op(f"op{i}", time) for i, time in enumerate(times)]))
    assert grid.exact
    assert grid.per_unit == per_unit
    assert [grid.time(grid.ticks(time)) for time in times] == list(times)


def test_hops_and_releases_count_too() -> None:
    hop = problem([op("a", 1, output=1), op("b", 1, "a")], links=[link("cpu gpu", 0.0, 8.0)])
    assert make_grid(hop).per_unit == 8
    late = problem([op("a", 1)], release={"m": 0.1})
    assert make_grid(late).per_unit == 10


def test_under_bottleneck_ticks_are_divisible_by_the_slots() -> None:
    ops = [op("a", 1), op("b", 1)]
    devices = [device("cpu0", slots=2), device("gpu0", slots=3)]
    assert make_grid(problem(ops, devices)).per_unit == 1
    assert make_grid(problem(ops, devices, objective="bottleneck")).per_unit == 6


def test_times_without_a_common_tick_are_rounded_down() -> None:
    times = (1 / 3, math.pi, 1e-3 * math.e)
    grid = make_grid(problem([op(f"op{i}", time) for i, time in enumerate(times)]))
    assert not grid.exact
    for time in times:
        assert 0 <= time - grid.time(grid.ticks(time)) < 1 / grid.per_unit


@given(problems(max_ops=5))
def test_the_horizon_holds_an_optimal_schedule(drawn: Problem) -> None:
    grid = make_grid(drawn)
    expected = brute_force(drawn.with_objective("makespan"))
    if expected is not None:
        assert expected[0] <= grid.time(grid.horizon)


@pytest.mark.parametrize(
    ("weights", "whole", "scale"),
    [
        ((1.0, 2.0), [1, 2], 1.0),
        ((0.5, 1.25), [2, 5], 4.0),
        ((0.1, 3.0), [1, 30], 10.0),
        ((0.0, 1.0), [0, 1], 1.0),
    ],
)
def test_weights_become_whole(weights: tuple[float, ...], whole: list[int], scale: float) -> None:
    import numpy as np

    assert whole_weights(np.array(weights)) == (whole, scale)


def test_other_weights_are_rounded_down() -> None:
    import numpy as np

    weights = np.array([math.pi, 1 / 7 + 1e-9])
    whole, scale = whole_weights(weights)
    for given_, found in zip(weights.tolist(), whole, strict=True):
        assert 0 <= given_ - found / scale < 1 / scale


def stretched(drawn: Problem, seed: int) -> Problem:
    """The same problem with times that no grid holds."""
    draw = random.Random(seed)

    def stretch(time: float) -> float:
        return time * draw.uniform(1.0, math.sqrt(2))

    models = tuple(
        replace(
            model,
            release=stretch(model.release),
            weight=stretch(model.weight),
            ops=tuple(
                replace(item, time={name: stretch(time) for name, time in item.time.items()})
                for item in model.ops
            ),
        )
        for model in drawn.graph.models
    )
    links = drawn.cluster.links
    if links is not None:
        links = tuple(replace(item, latency=stretch(item.latency)) for item in links)
    return replace(
        drawn,
        graph=replace(drawn.graph, models=models),
        cluster=replace(drawn.cluster, links=links),
    )


@given(problems(max_ops=4), st.integers(0, 2**32 - 1))
def test_bounds_hold_and_schedules_are_exact_on_a_rounded_grid(drawn: Problem, seed: int) -> None:
    odd = stretched(drawn, seed)
    expected = brute_force(odd)
    run, verdict = run_solver("cpsat", odd)
    if expected is None:
        assert verdict.status is Status.INFEASIBLE
        return
    assert run.best is not None
    assert check(odd, run.best) == ()
    assert run.value == pytest.approx(expected[0], rel=1e-6)
    assert run.lower_bound <= expected[0] * (1 + 1e-9)
    assert run.lower_bound >= expected[0] * (1 - 1e-6)


def test_an_op_shorter_than_a_tick_costs_a_note_at_worst() -> None:
    """A million units beside a millionth: no grid of 2^33 ticks tells the short ones apart."""
    blink = 1e-6 / 3
    ops = [op("long", 1e6 / 3), *(op(f"short{i}", blink) for i in range(4))]
    tiny = problem(ops, "cpu0")
    assert make_grid(tiny).ticks(blink) == 0
    run, _ = run_solver("cpsat", tiny)
    assert run.lower_bound <= 1e6 / 3 + 4 * blink
    if run.best is None:
        assert any("rounded grid" in note for note in run.notes)
    else:
        assert check(tiny, run.best) == ()
