"""CP-SAT's integer grid: exact where it can be, and a relaxation where it rounds."""

from __future__ import annotations

import math
import random
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import assume, given, reject
from hypothesis import strategies as st

from talos_opt.core.feasibility import check
from talos_opt.core.problem import Problem
from talos_opt.core.result import Status
from talos_opt.solvers.cpsat import backend
from talos_opt.solvers.cpsat.placement import PlacementFormulation
from talos_opt.solvers.cpsat.sequencing import SequencingFormulation
from talos_opt.solvers.engine.base import is_placement_only
from talos_opt.solvers.shared.grid import make_grid, whole_weights
from talos_opt.solvers.shared.obstacles import find_obstacle
from talos_opt.solvers.shared.ticks import ticks_per_unit
from tests.builders import device, link, op, problem
from tests.naive import brute_force
from tests.solvers.running import layered, run_solver
from tests.strategies import large_problems, problems


@pytest.mark.parametrize("unit", [1e-12, 1e-6, 1.0, 3.7, 1e9])
@pytest.mark.parametrize(
    ("times", "ticks"),
    [
        ((1, 2), [1, 2]),
        ((0.5, 3), [1, 6]),
        ((1.25, 2.5), [1, 2]),
        ((0.2, 0.125), [8, 5]),
        ((0.001, 7.25), [1, 7250]),
        ((0.3, 0.7, 1.1), [3, 7, 11]),
    ],
)
def test_times_with_a_common_tick_are_exact_in_any_unit(
    times: tuple[float, ...], ticks: list[int], unit: float
) -> None:
    scaled = [time * unit for time in times]
    grid = make_grid(problem([op(f"op{i}", time) for i, time in enumerate(scaled)]))
    assert grid.exact
    assert [grid.ticks(time) for time in scaled] == ticks
    assert [grid.time(grid.ticks(time)) for time in scaled] == pytest.approx(scaled, rel=1e-12)


@given(st.lists(st.integers(1, 10**5), min_size=1, max_size=8), st.floats(1e-9, 1e9))
def test_multiples_of_any_unit_have_a_tick(multiples: list[int], unit: float) -> None:
    values = np.array([number * unit for number in multiples])
    per_unit = ticks_per_unit(values, 2.0**31)
    shared = math.gcd(*multiples)
    found = np.round(values * per_unit).astype(int).tolist()
    assert found == [number // shared for number in multiples]


def test_values_without_a_tick_have_none() -> None:
    assert ticks_per_unit(np.array([1.0, math.pi, math.e]), 2.0**20) == 0
    assert ticks_per_unit(np.array([1e-9, 1.0]), 1e6) == 0  # there is one, but it is too short


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
        assert 0 <= time - grid.time(grid.ticks(time)) < 1.01 / grid.per_unit


@given(problems(max_ops=5))
def test_the_horizon_holds_an_optimal_schedule(drawn: Problem) -> None:
    asked = drawn.with_objective("makespan")
    expected = brute_force(asked)
    if expected is not None:
        for upper in (math.inf, expected[0]):
            grid = make_grid(asked, upper)
            assert expected[0] <= grid.time(grid.horizon)
            assert expected[0] <= grid.open.latest.max() * (1 + 1e-12)


@given(large_problems(min_ops=3, max_ops=14), st.integers(0, 2**32 - 1))
def test_nothing_passes_the_limit(drawn: Problem, seed: int) -> None:
    """No domain, and no sum of a constraint's terms, whatever the times and weights are."""
    odd = stretched(drawn, seed)
    assume(not find_obstacle(odd))
    run, _ = run_solver("heft", odd)
    for upper in (math.inf, run.value):
        kind = PlacementFormulation if is_placement_only(odd) else SequencingFormulation
        formulation = kind(backend.load(), odd, make_grid(odd, upper), upper, lambda: False)
        formulation.build()
        proto = formulation.model.proto
        reach = [max(abs(end) for end in variable.domain) for variable in proto.variables]
        assert max(reach) <= 2**31 - 1
        rows = [row.linear for row in proto.constraints if row.has_linear()]
        for row in rows:
            terms = zip(row.coeffs, row.vars, strict=True)
            assert sum(abs(factor) * reach[v] for factor, v in terms) <= 2**31 - 1
        objective = proto.objective
        terms = zip(objective.coeffs, objective.vars, strict=True)
        assert sum(abs(factor) * reach[v] for factor, v in terms) <= 2**31 - 1


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
    for unit in (1.0, 1e-12, 1e7):
        found = whole_weights(np.array(weights) * unit)
        assert found == (whole, pytest.approx(scale / unit))


@pytest.mark.parametrize("fine", [False, True])
def test_other_weights_are_rounded_down(fine: bool) -> None:
    weights = [math.pi, 1 / 7 + 1e-9, math.e]
    models = {f"m{j}": [op(f"op{j}", 1.0)] for j in range(3)}
    three = problem(models, weight={f"m{j}": w for j, w in enumerate(weights)})
    grid = make_grid(three, fine=fine)
    assert not grid.weights_exact
    for given_, found in zip(weights, grid.weights, strict=True):
        assert 0 <= given_ - found / grid.weight_scale < 1.01 / grid.weight_scale


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
        reject()
    assert run.best is not None
    assert check(odd, run.best) == ()
    assert run.value == pytest.approx(expected[0], rel=1e-6)
    assert run.lower_bound <= expected[0] * (1 + 1e-9)
    assert run.lower_bound >= expected[0] * (1 - 1e-6)


@pytest.mark.notes(r"from the rounded grid was dropped")
def test_an_op_shorter_than_a_tick_is_scheduled_all_the_same() -> None:
    """A million units beside a millionth: no grid below 2^31 tells the short ones apart."""
    blink = 1e-6 / 3
    ops = [op("long", 1e6 / 3), *(op(f"short{i}", blink) for i in range(4))]
    tiny = problem(ops, "cpu0")
    assert make_grid(tiny).ticks(blink) == 0
    run, _ = run_solver("cpsat", tiny)
    assert run.best is not None
    assert check(tiny, run.best) == ()
    assert run.value == pytest.approx(1e6 / 3 + 4 * blink, rel=1e-12)
    assert run.value * (1 - 1e-6) <= run.lower_bound <= run.value


def test_times_that_cannot_be_used_are_dropped() -> None:
    """People write 1e9 for "forbidden": it must not lengthen the horizon once there is a value."""
    for objective in ("toct", "makespan", "bottleneck"):
        two = problem(
            [op("a", {"cpu": 1.1, "gpu": 0.7}), op("b", {"cpu": 1e9, "gpu": 0.3}, "a")],
            "cpu0 gpu0", objective=objective,
        )  # fmt: skip
        grid = make_grid(two, 3.0)
        assert grid.open.allowed.tolist() == [[True, True], [False, True]]
        assert grid.open.end < 10


def test_an_incumbent_is_never_cut_off() -> None:
    """At its own value every device that it uses is still allowed."""
    for seed in range(30):
        drawn = stretched(layered(12, seed), seed)
        for objective in ("toct", "makespan", "bottleneck"):
            asked = drawn.with_objective(objective)
            run, _ = run_solver("heft", asked)
            assert run.best is not None
            allowed = make_grid(asked, run.value).open.allowed
            assert allowed[asked.arrays.group, run.best.device].all()
