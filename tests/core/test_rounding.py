"""What times can be told apart: tolerances follow the spacing of floats, never a share of time."""

from __future__ import annotations

import math

import numpy as np
import pytest

from talos_opt.core import rounding
from talos_opt.core.feasibility import check
from talos_opt.core.problem import Problem
from talos_opt.core.schedule import Schedule
from tests.builders import device, op, problem, schedule

#: An hour in us, a day in us; Unix time in s, ms and us; and scales below and above one.
ORIGINS = (0.0, 3.6e9, 86400e6, 1.76e9, 1.76e12, 1.76e15)
SCALES = (1e-9, 1e-6, 1.0, 1e6, 1e9)


def three_ops(origin: float, scale: float) -> Problem:
    ops = [op("a", 700 * scale), op("b", 900 * scale), op("c", 100 * scale, "a")]
    return problem(ops, "cpu0", release={"m": origin})


def starts(given: Problem, a: float, b: float, c: float) -> Schedule:
    return schedule(given, {"a": ("cpu0", a), "b": ("cpu0", b), "c": ("cpu0", c)})


@pytest.mark.parametrize("origin", ORIGINS)
def test_three_ops_at_once_on_one_slot_are_seen_at_any_time_of_day(origin: float) -> None:
    given = three_ops(origin, 1.0)
    rules = {item.rule for item in check(given, starts(given, origin, origin, origin))}
    assert rules == {"slots", "precedence"}
    late = origin + 700
    assert check(given, starts(given, origin, late + 100, late)) == ()


@pytest.mark.parametrize("scale", SCALES)
def test_three_ops_at_once_on_one_slot_are_seen_at_any_scale(scale: float) -> None:
    given = three_ops(0.0, scale)
    rules = {item.rule for item in check(given, starts(given, 0.0, 0.0, 0.0))}
    assert rules == {"slots", "precedence"}
    a, c = 700 * scale, 700 * scale + 100 * scale
    assert check(given, starts(given, 0.0, c, a)) == ()


@pytest.mark.parametrize("day", [86400e6, 1e12])
def test_short_ops_beside_a_long_one_are_looked_at(day: float) -> None:
    short = [op(f"k{i}", {"gpu": 80.0}) for i in range(5)]
    given = problem([op("day", {"cpu": day}), *short], "cpu0 gpu0")
    together = {"day": ("cpu0", 0.0)} | {f"k{i}": ("gpu0", day - 80.0) for i in range(5)}
    assert [item.rule for item in check(given, schedule(given, together))] == ["slots"]
    in_turn = {"day": ("cpu0", 0.0)} | {f"k{i}": ("gpu0", day - 80.0 * i) for i in range(5)}
    assert check(given, schedule(given, in_turn)) == ()


def test_ops_of_nanoseconds_in_a_graph_in_seconds() -> None:
    given = problem([op(f"k{i}", 1e-9) for i in range(5)], "cpu0")
    together = schedule(given, {f"k{i}": ("cpu0", 0.0) for i in range(5)})
    assert [item.rule for item in check(given, together)] == ["slots"]


def test_memory_of_short_ops_counts_beside_long_ones() -> None:
    ops = [op("day", {"cpu": 86400e6}), *(op(f"k{i}", {"gpu": 80.0}, output=6) for i in range(2))]
    gpu = device("gpu0", 10, slots=2)
    given = problem(ops, [device("cpu0"), gpu], rule="peak")
    both = {"day": ("cpu0", 0.0), "k0": ("gpu0", 86400e6), "k1": ("gpu0", 86400e6)}
    assert [item.rule for item in check(given, schedule(given, both))] == ["memory"]
    both["k1"] = ("gpu0", 86400e6 + 80.0)
    assert check(given, schedule(given, both)) == ()


@pytest.mark.parametrize("time", [1e-9, 1.0, 1e15])
def test_a_few_spacings_are_no_difference_and_more_are(time: float) -> None:
    given = problem([op("a", time), op("b", time, "a")], "cpu0")
    near = schedule(given, {"a": ("cpu0", 0.0), "b": ("cpu0", time - 2 * math.ulp(time))})
    assert check(given, near) == ()
    far = schedule(given, {"a": ("cpu0", 0.0), "b": ("cpu0", time * (1 - 1e-12))})
    assert {item.rule for item in check(given, far)} == {"precedence", "slots"}


def test_no_tolerance_hides_an_activity() -> None:
    given = problem([op("a", 1.0), op("b", 1.0)], "cpu0")
    together = schedule(given, {"a": ("cpu0", 0.0), "b": ("cpu0", 0.0)})
    assert [item.rule for item in check(given, together, tolerance=5.0)] == ["slots"]
    near = schedule(given, {"a": ("cpu0", 0.0), "b": ("cpu0", 0.9)})
    assert check(given, near, tolerance=0.1) == ()
    assert [item.rule for item in check(given, near)] == ["slots"]


def test_an_error_of_sums_is_an_upper_bound() -> None:
    rng = np.random.default_rng(3)
    for count in (10, 1000, 100_000):
        terms = rng.random(count)
        exact = math.fsum(terms)
        summed = 0.0
        for term in terms.tolist():
            summed += term
        assert abs(summed - exact) <= rounding.sum_error(count) * exact


def test_digits_that_are_lost_are_told_with_a_way_out() -> None:
    arrays = three_ops(1.76e18, 1.0).arrays
    warning = rounding.lost_digits(arrays, 1.76e18 + 1700, "us")
    assert "256 us only" in warning
    assert "subtract the earliest release, 1.76e+18 us" in warning
    assert rounding.lost_digits(three_ops(1.76e12, 1.0).arrays, 1.76e12 + 1700, "ms") == ""
    wide = problem([op("long", 1e15), op("short", 1e-3)], "cpu0").arrays
    assert "cannot be checked" in rounding.lost_digits(wide, 1e15, "us")
    assert rounding.lost_digits(problem([op("a", 0.0)], "cpu0").arrays, 0.0, "us") == ""
