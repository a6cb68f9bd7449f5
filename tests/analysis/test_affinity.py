"""How alike models are: worked out by hand, and the distance against a plain definition."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from talos_opt.analysis.affinity import affinities, type_speedups, wasserstein
from talos_opt.analysis.model_speedups import ModelSpeedups, speedups_of

samples = st.lists(st.integers(-20, 20).map(float), min_size=1, max_size=8)


def model(name: str, *ops: tuple[str, float, float]) -> ModelSpeedups:
    here = np.array([item[1] for item in ops])
    there = np.array([item[2] for item in ops])
    return ModelSpeedups(
        model=name,
        reference="cpu",
        other="gpu",
        ops=np.arange(len(ops)),
        names=tuple(f"op{i}" for i in range(len(ops))),
        types=tuple(item[0] for item in ops),
        reference_time=here,
        other_time=there,
        speedup=speedups_of(here, there),
    )


def test_by_hand() -> None:
    one = model("one", ("conv", 6, 1), ("conv", 2, 1), ("relu", 1, 1), ("pool", 1, 2))
    two = model("two", ("conv", 16, 1), ("relu", 1, 2))
    assert type_speedups(one) == {"conv": 4, "relu": 1, "pool": 0.5}
    (pair,) = affinities([one, two])
    assert (pair.first, pair.second, pair.common) == ("one", "two", ("conv", "relu"))
    assert pair.overlap == pytest.approx(2 / 3)
    # |log2(4/16)| = 2 and |log2(1/0.5)| = 1
    assert pair.difference == 1.5
    assert pair.affinity == pytest.approx(1.5 / (2 / 3))
    # log2: {log2 6, 1, 0, -1} against {4, -1}, each of which is half of the first
    assert pair.distance == pytest.approx((4 - math.log2(6) + 4 - 1 + 0 - -1 + 0) / 4)


def test_equations_2_and_3_by_hand() -> None:
    one = model("one", ("conv", 6, 1), ("conv", 2, 1), ("relu", 1, 1), ("pool", 1, 2))
    two = model("two", ("conv", 16, 1), ("relu", 1, 2))
    (pair,) = affinities([one, two])
    assert pair.talos_difference == (16 - 6) + (2 - 0.5)  # two's ops against one's first two
    assert pair.talos_affinity == 11.5 / (2 / 3)  # conv and relu, of conv, relu and pool
    (pair,) = affinities([two, model("three", ("relu", 1, 2), ("gelu", 4, 1), ("conv", 4, 1))])
    assert (pair.talos_difference, pair.talos_affinity) == (15.5 + 3.5, 19 / (2 / 3))
    (pair,) = affinities([one, model("other", ("gelu", 8, 1))])  # no type in common
    assert (pair.talos_difference, pair.talos_affinity) == (2, math.inf)


def test_equation_2_goes_by_position_and_leaves_out_what_has_no_speedup() -> None:
    one = model("one", ("a", 8, 1), ("a", 1, 0), ("a", 3, 1))
    two = model("two", ("a", 3, 1), ("a", 8, 1), ("a", 1, 1), ("a", 9, 1))
    (pair,) = affinities([one, two])
    assert (pair.talos_difference, pair.talos_affinity) == (5 + 2, 7)
    (pair,) = affinities([model("one", ("a", 1, 0)), model("two", ("a", 1, 1))])
    assert math.isnan(pair.talos_difference)
    assert math.isnan(pair.talos_affinity)


def test_alike_models_are_at_0() -> None:
    one = model("one", ("conv", 6, 1), ("relu", 1, 1))
    (pair,) = affinities([one, model("two", ("conv", 6, 1), ("relu", 1, 1))])
    assert (pair.overlap, pair.affinity, pair.distance) == (1, 0, 0)


def test_nothing_in_common_is_infinite_but_has_a_distance() -> None:
    (pair,) = affinities([model("one", ("a", 8, 1)), model("two", ("b", 1, 1))])
    assert (pair.common, pair.overlap, pair.affinity, pair.distance) == ((), 0, math.inf, 3)
    (pair,) = affinities([model("one", ("", 8, 1)), model("two", ("", 8, 1))])
    assert (pair.common, pair.affinity, pair.distance) == ((), math.inf, 0)


def test_types_without_a_speedup_are_not_compared() -> None:
    one = model("one", ("a", 0, 1), ("b", 8, 1), ("c", 1, 0), ("d", math.inf, 1))
    two = model("two", ("a", 1, 1), ("b", 2, 1), ("c", 1, 1), ("d", 1, 1))
    (pair,) = affinities([one, two])
    assert (len(pair.common), pair.overlap, pair.affinity) == (4, 1, 2)
    (pair,) = affinities([model("one", ("a", 0, 1)), model("two", ("a", 1, 1))])
    assert pair.affinity == math.inf
    assert math.isnan(pair.difference)
    assert math.isnan(pair.distance)


def test_all_pairs_in_order() -> None:
    found = affinities([model(name, ("a", 1, 1)) for name in "xyz"])
    assert [(pair.first, pair.second) for pair in found] == [("x", "y"), ("x", "z"), ("y", "z")]
    assert affinities([model("x", ("a", 1, 1))]) == ()


@given(samples, samples)
def test_distance_against_sorted_copies(first: list[float], second: list[float]) -> None:
    """Repeated to a common length, the best transport pairs the values in order."""
    common = math.lcm(len(first), len(second))
    a = np.repeat(sorted(first), common // len(first))
    b = np.repeat(sorted(second), common // len(second))
    found = wasserstein(np.array(first), np.array(second))
    assert found == pytest.approx(float(np.abs(a - b).mean()), abs=1e-12)
    assert found == pytest.approx(wasserstein(np.array(second), np.array(first)), abs=1e-12)
