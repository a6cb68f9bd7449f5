"""The problem that solvers see is the user's, from time zero on and at one scale."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, reject
from hypothesis import strategies as st

from talos_opt.core.feasibility import check
from talos_opt.core.metrics import measure, objective_value
from talos_opt.core.normalised import Normalised
from talos_opt.core.problem import Problem
from talos_opt.testing.reference.brute import best_schedule
from tests.builders import device, link, op, problem
from tests.strategies import problems


def shifted(given: Problem, by: float) -> Problem:
    models = tuple(replace(model, release=model.release + by) for model in given.graph.models)
    graph = replace(given.graph, models=models)
    return Problem(graph, given.cluster, given.objective, given.memory_rule)


@given(problems(max_ops=4), st.sampled_from([0.0, 64.0, 3.6e9, 1.76e12]))
def test_arrays_are_those_of_the_normalised_graph_and_cluster(drawn: Problem, by: float) -> None:
    shape = Normalised.of(shifted(drawn, by))
    made = shape.problem
    built = Problem(made.graph, made.cluster, made.objective, made.memory_rule)
    for name, value in vars(built.arrays).items():
        if isinstance(value, np.ndarray):
            assert np.array_equal(value, getattr(made.arrays, name)), name
    assert made.names == built.names
    assert made.arrays.release.min() == 0.0
    work = float(made.arrays.time.min(axis=1).sum())
    assert work == 0 or 2**29 <= work < 2**30
    weight = float(made.arrays.model_weight.max())
    assert weight == 0 or 0.5 < weight <= 1
    assert built.reference_times.tolist() == made.reference_times.tolist()


@given(problems(max_ops=4), st.sampled_from([0.0, 64.0, 3.6e9, 1.76e12]))
def test_schedules_and_values_go_there_and_back(drawn: Problem, by: float) -> None:
    far = shifted(drawn, by)
    shape = Normalised.of(far)
    best = best_schedule(shape.problem)
    if best is None:
        assert best_schedule(drawn) is None
        reject()
    there = shape.restore(best)
    assert check(far, there) == ()
    value = objective_value(shape.problem, best)
    assert shape.value(value) == pytest.approx(objective_value(far, there), rel=1e-15)
    bound = shape.bound(objective_value(far, there))
    assert bound <= value * (1 + 1e-15)  # never more than is proven
    assert shape.value(bound) == pytest.approx(objective_value(far, there), rel=1e-14)
    again = shape.adopt(there)
    assert check(shape.problem, again) == ()
    assert objective_value(shape.problem, again) == pytest.approx(value, rel=1e-9)


@pytest.mark.parametrize("exponent", [-60, -20, 7, 40])
def test_powers_of_two_make_no_difference_at_all(exponent: int) -> None:
    scale = math.ldexp(1.0, exponent)

    def made(scale: float) -> Problem:
        ops = [op("a", 0.7 * scale, output=3), op("b", 0.1 * scale, "a"), op("c", 0.3 * scale, "a")]
        return problem(
            {"m": ops, "n": [op("d", 1.1 * scale)]},
            "cpu0 gpu0",
            [link("cpu gpu", 0.01 * scale, 7 / scale)],
            weight={"m": 0.3, "n": 0.9},
            release={"m": 0.0, "n": 0.2 * scale},
        )

    plain, scaled = Normalised.of(made(1.0)).problem, Normalised.of(made(scale)).problem
    for name, value in vars(plain.arrays).items():
        if isinstance(value, np.ndarray):
            assert np.array_equal(value, getattr(scaled.arrays, name)), name


def test_a_problem_that_is_normal_is_left_alone() -> None:
    given = problem([op("a", 2.0**29)], "cpu0")
    assert Normalised.of(given).problem is given


def test_what_takes_no_time_and_weighs_nothing_has_no_scale() -> None:
    given = problem([op("a", 0.0)], "cpu0", weight={"m": 0.0}, release={"m": 5.0})
    shape = Normalised.of(given)
    assert shape.problem.arrays.release.tolist() == [0.0]
    best = best_schedule(shape.problem)
    assert best is not None
    assert measure(given, shape.restore(best)).makespan == 5.0


def test_no_number_leaves_the_range_of_input() -> None:
    """Work of 1e-150 beside a time of 4.9e149 was scaled until that was infinite."""
    ops = [op(name, {"cpu": 1e-150, "gpu": 4.9e149}, weights=8) for name in "ab"]
    given = problem(ops, [device("cpu0", 10), device("gpu0")])
    made = Normalised.of(given).problem.arrays
    assert np.isfinite(made.time).all()
    apart = problem([op("a", 1e-150)], "cpu0", release={"m": 0.0})
    late = replace(apart.graph.models[0], id="late", release=4.9e149)
    graph = replace(apart.graph, models=(*apart.graph.models, late))
    both = Problem(graph, apart.cluster, apart.objective, apart.memory_rule)
    assert np.isfinite(Normalised.of(both).problem.arrays.release).all()


@pytest.mark.parametrize(
    ("time", "latency", "bandwidth"),
    [(1e-150, 1e149, 1e-100), (1e100, 1e-100, 1e100), (1e-100, 1e-100, 1e-100)],
)
def test_links_of_any_size_are_normalised(time: float, latency: float, bandwidth: float) -> None:
    """The scaled latency was refused, in a message with a number that nobody wrote."""
    ops = [op("a", {"cpu": time}, output=1), op("b", {"gpu": time}, "a")]
    given = problem(ops, "cpu0 gpu0", [link("cpu gpu", latency, bandwidth)])
    best = best_schedule(Normalised.of(given).problem)
    assert best is not None
    assert check(given, Normalised.of(given).restore(best)) == ()
