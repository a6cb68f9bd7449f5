"""Means over steps: nothing is lost, and the order stays."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from talos_opt.analysis.steps import mean_step, typical, warm_up
from talos_opt.core.errors import InputError
from tests.analysis.test_speedups import run


def test_a_mean_by_hand() -> None:
    steps = [
        run(("make", 30), ("conv", 10), ("relu", 2)),
        run(("conv", 20), ("relu", 4)),
        run(("conv", 30), ("log", 3), ("relu", 6)),
        run(("conv", 40), ("relu", 8)),
    ]
    found = mean_step(steps)
    assert [(op.name, op.duration_us) for op in found] == [
        ("make", 7.5),
        ("conv", 25),
        ("log", 0.75),
        ("relu", 5),
    ]
    log = found[2]
    assert [event is not None for event in log.events] == [False, False, True, False]
    assert log.first is steps[2][1]


@given(
    st.lists(
        st.lists(st.tuples(st.sampled_from("abc"), st.floats(0.1, 100)), max_size=8),
        min_size=1,
        max_size=5,
    )
)
def test_times_sum_to_the_mean_and_each_step_keeps_its_order(
    steps: list[list[tuple[str, float]]],
) -> None:
    runs = [run(*step) for step in steps]
    found = mean_step(runs)
    total = sum(op.duration_us for step in runs for op in step)
    assert sum(op.duration_us for op in found) == pytest.approx(total / len(runs))
    for k, step in enumerate(runs):
        there = [op.events[k] for op in found if op.events[k] is not None]
        assert list(map(id, there)) == list(map(id, step))
    assert all(event is None or event.name == op.name for op in found for event in op.events)


def test_without_marks_all_counts() -> None:
    ops = run(("a", 1), ("b", 2))
    assert typical(ops, []) == (tuple(ops), ())
    assert typical(ops, [], skip=3) == (tuple(ops), ())
    assert [op.duration_us for op in typical(ops, [ops[:1], ops[1:]], skip=1)[1]] == [2]
    with pytest.raises(InputError, match="has 2 steps, of which 2 are to be left out"):
        typical(ops, [ops[:1], ops[1:]], skip=2)


def test_a_first_step_that_looks_like_warm_up() -> None:
    assert warm_up([30, 10, 12, 8]) == 3
    assert warm_up([11, 10, 12, 8]) is None
    assert warm_up([30]) is None
    assert warm_up([30, 0, 0]) is None
