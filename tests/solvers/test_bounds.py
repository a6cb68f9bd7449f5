"""Root bounds on cases worked out by hand, and below the optimum on random ones."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from talos_opt.core.problem import Problem
from talos_opt.solvers.bounds import group_work, load_shares, root_bound
from talos_opt.solvers.shared.paths import best_times, critical_paths, earliest_ends
from tests.builders import device, fig1, op, problem
from tests.naive import brute_force
from tests.strategies import problems


def test_critical_paths_take_every_op_at_its_best() -> None:
    assert critical_paths(fig1()).tolist() == [1 + 1 + 2, 1.5 + 2]
    arrays = fig1().arrays
    ends = earliest_ends(arrays, best_times(arrays), arrays.release[arrays.model])
    assert ends.tolist() == [1, 2, 4, 1.5, 1, 3.5]


def test_critical_paths_start_at_the_release() -> None:
    late = problem({"m": [op("a", 2)], "n": [op("b", 3)]}, release={"n": 4.0})
    assert critical_paths(late).tolist() == [2, 7]


def test_a_group_counts_only_devices_that_all_its_ops_may_use() -> None:
    ops = [op("a", {"cpu": 9, "gpu": 1}, colocate="g"), op("b", {"cpu": 1}, colocate="g")]
    assert best_times(problem(ops).arrays).tolist() == [9, 1]


def test_loads_count_slots() -> None:
    ops = [op("a", 6, slots=2, colocate="g"), op("b", 1, colocate="g"), op("c", {"gpu": 4})]
    work = group_work(problem(ops, [device("cpu0", slots=4), device("gpu0", slots=2)]).arrays)
    assert work.tolist() == [[(12 + 1) / 4, (12 + 1) / 2], [np.inf, 2]]


def test_the_load_bound_of_equal_devices_is_the_mean() -> None:
    bound, shares = load_shares(np.full((6, 3), 2.0))
    assert bound == pytest.approx(4)
    assert shares == pytest.approx([1 / 3] * 3)


def test_the_load_bound_prices_the_faster_device_higher() -> None:
    """Ten ops of 1 on one device or 4 on the other: the LP splits them 8 to 2."""
    bound, shares = load_shares(np.tile([1.0, 4.0], (10, 1)))
    assert bound == pytest.approx(8, rel=1e-2)
    assert shares.sum() == pytest.approx(1)
    assert shares[0] > shares[1]


@given(
    st.lists(
        st.lists(st.sampled_from([0.0, 1.0, 2.0, 5.0, np.inf]), min_size=3, max_size=3),
        min_size=1,
        max_size=5,
    )
)
def test_no_assignment_beats_the_load_bound(rows: list[list[float]]) -> None:
    work = np.array([row if min(row) < np.inf else [1.0, 1.0, 1.0] for row in rows])
    bound, shares = load_shares(work)
    assert (shares >= 0).all()
    best = np.inf
    for choice in np.ndindex(*(3,) * len(work)):
        picked = work[np.arange(len(work)), choice]
        best = min(best, np.bincount(choice, weights=picked, minlength=3).max())
    assert bound <= best + 1e-9


def test_toct_of_models_that_share_one_device_is_smiths() -> None:
    """Alone they would end at 1, 2, 3; one after the other at 1, 3, 6."""
    three = problem(
        {name: [op("a", time)] for name, time in (("m", 3), ("n", 1), ("o", 2))}, "cpu0"
    )
    assert root_bound(three) == pytest.approx(1 + 3 + 6)
    weighted = problem({"m": [op("a", 3)], "n": [op("b", 1)]}, "cpu0", weight={"m": 6.0, "n": 1.0})
    assert root_bound(weighted) == pytest.approx(6 * 3 + 4)


def test_makespan_counts_load_from_the_first_release() -> None:
    ops = {"m": [op("a", 3)], "n": [op("b", 5)]}
    late = problem(ops, "cpu0", objective="makespan", release={"m": 2.0, "n": 4.0})
    assert root_bound(late) == pytest.approx(2 + 8)


def test_bottleneck_is_at_least_the_largest_op() -> None:
    one = problem([op("a", 8), op("b", 1)], objective="bottleneck")
    assert root_bound(one) == pytest.approx(8)


def test_fig1_has_a_bound() -> None:
    assert 7.5 <= root_bound(fig1()) <= 9
    assert 4 <= root_bound(fig1("makespan")) <= 4.5


def test_where_nothing_can_run_it_claims_nothing() -> None:
    ops = [op("a", {"cpu": 1}, colocate="g"), op("b", {"gpu": 1}, colocate="g")]
    assert root_bound(problem(ops)) == 0


@given(problems(max_ops=5))
def test_no_bound_exceeds_the_optimum(drawn: Problem) -> None:
    expected = brute_force(drawn)
    assume(expected is not None)
    assert root_bound(drawn) <= expected[0] * (1 + 1e-9) + 1e-9
    makespan = brute_force(drawn.with_objective("makespan"))
    assert makespan is not None
    assert critical_paths(drawn).max() <= makespan[0] + 1e-9
    bottleneck = brute_force(drawn.with_objective("bottleneck"))
    assert bottleneck is not None
    assert load_shares(group_work(drawn.arrays))[0] <= bottleneck[0] + 1e-9
