"""The timeline against a table of small steps."""

from __future__ import annotations

import itertools
import math

from hypothesis import given
from hypothesis import strategies as st

from talos_opt.core.timeline import Timeline

HORIZON = 12
CAPACITY = 4
spans = st.tuples(
    st.integers(0, HORIZON - 1), st.one_of(st.integers(0, HORIZON), st.just(math.inf))
)
uses = st.lists(st.tuples(spans, st.integers(0, 3)), max_size=8)


def filled(given_uses: list[tuple[tuple[int, float], int]]) -> tuple[Timeline, list[int]]:
    """A timeline and the same in steps of one; the last step stands for all time after it."""
    line, steps = Timeline(CAPACITY), [0] * (HORIZON + 1)
    for (start, end), amount in given_uses:
        line.add(start, end, amount)
        for t in range(start, HORIZON + 1):
            if t < end:
                steps[t] += amount
    return line, steps


def naive_earliest(steps: list[int], ready: int, duration: float, amount: int) -> float:
    if duration == 0 or amount == 0:
        return ready
    for start in range(ready, HORIZON + 1):
        held = [used for t, used in enumerate(steps) if start <= t < start + duration]
        if max(held) + amount <= CAPACITY:
            return start
    return math.inf


@given(
    uses,
    st.integers(0, HORIZON),
    st.one_of(st.integers(0, 6), st.just(math.inf)),
    st.integers(0, CAPACITY + 1),
)
def test_earliest_room(
    given_uses: list[tuple[tuple[int, float], int]], ready: int, duration: float, amount: int
) -> None:
    line, steps = filled(given_uses)
    assert line.earliest(ready, duration, amount) == naive_earliest(steps, ready, duration, amount)


@given(uses, uses)
def test_a_use_can_be_taken_back(
    kept: list[tuple[tuple[int, float], int]], undone: list[tuple[tuple[int, float], int]]
) -> None:
    line, steps = filled(kept)
    for sign in (1, -1):
        for (start, end), amount in undone:
            line.add(start, end, sign * amount)
    for ready in range(HORIZON + 1):
        for amount in range(1, CAPACITY + 1):
            assert line.earliest(ready, 2, amount) == naive_earliest(steps, ready, 2, amount)


def test_what_ends_makes_room_for_what_starts() -> None:
    line = Timeline(1)
    line.add(1, 3, 1)
    assert line.earliest(0, 1, 1) == 0
    assert line.earliest(0, 1.5, 1) == 3
    assert line.earliest(2, 0, 1) == 2
    assert line.earliest(0, 1, 2) == math.inf


@given(uses)
def test_it_holds_no_breakpoint_at_which_nothing_changes(
    given_uses: list[tuple[tuple[int, float], int]],
) -> None:
    line, steps = filled(given_uses)
    changes = sum(a != b for a, b in itertools.pairwise(steps))
    assert len(line._times) == 1 + changes


def test_what_is_busy_without_a_break_is_one_step() -> None:
    line = Timeline(1)
    for start in range(1000):
        line.add(start, start + 1, 1)
    assert len(line._times) == 2
    assert line.earliest(0, 1, 1) == 1000
