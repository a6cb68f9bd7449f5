"""Lanes: what overlaps lies side by side, on as few lanes as that takes."""

from __future__ import annotations

from collections import defaultdict
from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from talos_opt.formats.lanes import Lanes, assign_lanes

Interval = tuple[int, int, int]


def lanes_of(*intervals: Interval, **options: float) -> Lanes:
    """Assign lanes to intervals of start, end and width."""
    start, end, width = (np.array(column, dtype=float) for column in zip(*intervals, strict=True))
    return assign_lanes(start, end, width.astype(np.int64), **options)  # type: ignore[arg-type]


def held(found: Lanes) -> list[set[int]]:
    """All lanes of each interval."""
    result = [
        set(range(first, first + width))
        for first, width in zip(found.first.tolist(), found.width.tolist(), strict=True)
    ]
    more = zip(
        found.more_of.tolist(), found.more_first.tolist(), found.more_width.tolist(), strict=True
    )
    for i, first, width in more:
        assert result[i].isdisjoint(range(first, first + width))
        result[i] |= set(range(first, first + width))
    return result


def test_what_follows_shares_a_lane() -> None:
    found = lanes_of((2, 3, 1), (0, 2, 1))
    assert found.count == 1
    assert found.first.tolist() == [0, 0]


def test_what_overlaps_does_not() -> None:
    found = lanes_of((0, 3, 1), (1, 2, 1), (2, 4, 1))
    assert found.first.tolist() == [0, 1, 1]
    assert found.count == 2


def test_there_are_at_least_the_lanes_asked_for() -> None:
    assert lanes_of((0, 1, 1), lanes=3).count == 3
    none = np.zeros(0)
    assert assign_lanes(none, none, lanes=2).count == 2
    assert assign_lanes(none, none).count == 0


def test_neighbouring_lanes_are_preferred() -> None:
    # Lanes 0 and 2, 3 are free when the wide one comes: 0 and 2 would do, 2 and 3 are neighbours.
    found = lanes_of((0, 1, 1), (0, 9, 1), (2, 3, 2), lanes=4)
    assert found.first.tolist() == [0, 1, 2]
    assert found.width.tolist() == [1, 1, 2]
    assert len(found.more_of) == 0


def test_lanes_that_are_no_neighbours_are_listed() -> None:
    found = lanes_of((0, 2, 1), (0, 9, 1), (1, 2, 1), (2, 3, 2))
    assert found.count == 3
    assert held(found)[3] == {0, 2}
    assert (found.more_of.tolist(), found.more_first.tolist()) == ([3], [2])


def test_rounding_is_no_overlap() -> None:
    start, end = np.array([0.0, 0.3]), np.array([0.1 + 0.2, 1.0])
    assert assign_lanes(start, end).count == 2
    found = assign_lanes(start, end, tolerance=1e-9)
    assert found.count == 1
    assert found.start[1] == found.end[0]
    wide = assign_lanes(start, end, np.array([2, 2]), tolerance=1e-9)
    assert wide.count == 2
    assert wide.start[1] == wide.end[0]


def test_at_the_limit_lanes_are_shared() -> None:
    found = lanes_of((0, 9, 1), (1, 3, 1), (2, 5, 1), (4, 6, 1), limit=2)
    assert found.count == 2
    # The third shares the lane that is free first; it is free again only when both are over.
    assert found.first.tolist() == [0, 1, 1, 1]


def intervals() -> st.SearchStrategy[list[Interval]]:
    one = st.tuples(st.integers(0, 12), st.integers(1, 5), st.integers(1, 3))
    return st.lists(one.map(lambda t: (t[0], t[0] + t[1], t[2])), min_size=1, max_size=14)


@given(intervals())
def test_as_many_lanes_as_overlap_and_none_held_twice(given_: list[Interval]) -> None:
    found = lanes_of(*given_)
    load = [sum(w for s, e, w in given_ if s <= t < e) for t in range(20)]
    assert found.count == max(load)
    by_lane = defaultdict(list)
    for (start, end, width), lanes in zip(given_, held(found), strict=True):
        assert len(lanes) == width
        assert lanes <= set(range(found.count))
        for lane in lanes:
            by_lane[lane].append((start, end))
    for there in by_lane.values():
        assert all(end <= start for (_, end), (start, _) in pairwise(sorted(there)))


@given(intervals(), st.integers(1, 3))
def test_never_more_lanes_than_the_limit(given_: list[Interval], limit: int) -> None:
    found = lanes_of(*((s, e, 1) for s, e, _ in given_), limit=limit)
    load = [sum(1 for s, e, _ in given_ if s <= t < e) for t in range(20)]
    assert found.count == min(limit, max(load))
    assert set(found.first.tolist()) <= set(range(found.count))
