"""Blocks, spans and envelopes: what is left of many narrow bars and steps."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from talos_opt.reports.gantt.blocks import Blocks, covered, envelope, gather_blocks, spans


def blocks_of(*bars: tuple[int, float, float, int], length: float = 1.0, count: int = 4) -> Blocks:
    """Blocks of bars given as lane, start, end, group."""
    lane, start, end, group = (np.array(column) for column in zip(*bars, strict=True))
    return gather_blocks(lane, start.astype(float), end.astype(float), group, length, count)


def test_a_bar_fills_its_share_of_the_blocks_it_touches() -> None:
    found = blocks_of((0, 0.5, 2.25, 3))
    assert found.position.tolist() == [0, 1, 2]
    assert found.share.tolist() == [0.5, 1.0, 0.25]
    assert found.group.tolist() == [3, 3, 3]


def test_the_group_that_fills_most_of_a_block_wins() -> None:
    found = blocks_of((0, 0.0, 0.2, 1), (0, 0.2, 0.5, 0), (0, 0.5, 0.7, 1), (1, 0.0, 0.1, 0))
    assert found.lane.tolist() == [0, 1]
    assert found.share.tolist() == pytest.approx([0.7, 0.1])
    assert found.group.tolist() == [1, 0]


def test_what_takes_no_time_is_seen_all_the_same() -> None:
    found = blocks_of((0, 2.0, 2.0, 0))
    assert (found.position.tolist(), found.share.tolist()) == ([2], [0.0])


def test_the_end_of_the_time_is_in_the_last_block() -> None:
    assert blocks_of((0, 4.0, 4.0, 0)).position.tolist() == [3]


def test_no_bars_are_no_blocks() -> None:
    none, times = np.zeros(0, dtype=np.int64), np.zeros(0)
    assert len(gather_blocks(none, times, times, none, 1.0, 4).lane) == 0


bars = st.lists(
    st.tuples(st.integers(0, 2), st.integers(0, 39), st.integers(0, 8), st.integers(0, 2)),
    min_size=1,
    max_size=20,
)


@given(bars)
def test_blocks_hold_the_time_of_their_bars(given_: list[tuple[int, int, int, int]]) -> None:
    made = [(lane, s / 10, (s + d) / 10, group) for lane, s, d, group in given_]
    found = blocks_of(*made, length=0.25, count=20)
    for lane, position, share, group in zip(
        found.lane, found.position, found.share, found.group, strict=True
    ):
        a, b = position * 0.25, (position + 1) * 0.25
        inside = [
            max(0.0, min(e, b) - max(s, a)) / 0.25 if of == k and on == lane else 0.0
            for k in range(3)
            for on, s, e, of in made
        ]
        sums = np.array(inside).reshape(3, -1).sum(axis=1)
        assert share == pytest.approx(min(1.0, sums.sum()))
        assert sums[group] == pytest.approx(sums.max())
    filled = {(int(k), int(p)) for k, p in zip(found.lane, found.position, strict=True)}
    for lane, s, e, _ in made:
        assert any((lane, p) in filled for p in range(int(s / 0.25), int(e / 0.25) + 1))


def test_time_that_is_covered_counts_once() -> None:
    assert covered(np.array([0.0, 1.0, 5.0]), np.array([3.0, 2.0, 6.0])) == 4.0
    assert covered(np.zeros(0), np.zeros(0)) == 0.0


def test_spans_join_what_is_near() -> None:
    start, end = spans(np.array([4.0, 0.0, 1.0]), np.array([5.0, 3.0, 2.0]), 0.5)
    assert (start.tolist(), end.tolist()) == ([0.0, 4.0], [3.0, 5.0])
    start, end = spans(np.array([4.0, 0.0, 1.0]), np.array([5.0, 3.0, 2.0]), 1.0)
    assert (start.tolist(), end.tolist()) == ([0.0], [5.0])


def test_an_envelope_keeps_the_peaks() -> None:
    times = np.arange(1000) / 1000
    values = np.zeros(1000, dtype=np.int64)
    values[505], values[506:] = 7, 2
    moments, largest = envelope(times, values, 1.0, 10)
    assert moments.tolist() == pytest.approx([k / 10 for k in range(10)])
    assert largest.tolist() == [0, 0, 0, 0, 0, 7, 2, 2, 2, 2]


def test_an_envelope_knows_what_holds_from_before() -> None:
    times = np.concatenate([[0.0], 0.55 + np.arange(100) / 1000])
    values = np.concatenate([[9], np.zeros(100, dtype=np.int64)])
    _, largest = envelope(times, values, 1.0, 4)
    assert largest.tolist() == [9, 9, 9, 0]


def test_few_steps_stay_as_they_are() -> None:
    times, values = np.array([0.0, 0.1]), np.array([1, 2])
    assert envelope(times, values, 1.0, 4) == (times, values)
