"""The alignment against the obvious dynamic program, and where it is cut short."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from talos_opt.analysis import alignment
from talos_opt.analysis.alignment import align, match
from talos_opt.core.errors import InputError

runs = st.lists(st.tuples(st.sampled_from("abcd"), st.integers(0, 9)), max_size=9)


def best_weight(first: list[tuple[str, int]], second: list[tuple[str, int]]) -> int:
    table = [[0] * (len(second) + 1) for _ in range(len(first) + 1)]
    for i, (a, u) in enumerate(first, 1):
        for j, (b, v) in enumerate(second, 1):
            both = table[i - 1][j - 1] + u + v if a == b else 0
            table[i][j] = max(table[i - 1][j], table[i][j - 1], both)
    return table[-1][-1]


@given(runs, runs)
def test_no_alignment_weighs_more(
    first: list[tuple[str, int]], second: list[tuple[str, int]]
) -> None:
    names = [name for name, _ in first], [name for name, _ in second]
    weights = [float(w) for _, w in first], [float(w) for _, w in second]
    pairs = align(*names, *weights)
    assert all(names[0][i] == names[1][j] for i, j in pairs)
    for (i, j), (k, m) in pairwise(pairs):
        assert i < k
        assert j < m
    assert sum(weights[0][i] + weights[1][j] for i, j in pairs) == best_weight(first, second)


def test_the_longer_of_two_candidates_is_taken() -> None:
    assert align(["conv"], ["conv", "conv"], [9.0], [0.1, 8.0]) == [(0, 1)]


def test_too_long_sequences_lose_their_common_ends_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(alignment, "MAX_CELLS", 10)
    first, second = list("aaaaxbbbb"), list("aaaayzbbbb")
    pairs = align(first, second, [1.0] * 9, [1.0] * 10)
    assert pairs == [(i, i) for i in range(4)] + [(i, i + 1) for i in range(5, 9)]
    with pytest.raises(InputError, match="too long to align"):
        align(list("abcd"), list("efgh"), [1.0] * 4, [1.0] * 4)
    repeated = align(list("aaaaaaa"), list("aaaaa"), [1.0] * 7, [1.0] * 5)
    assert len(repeated) == 5


def test_unique_names_are_paired_wherever_they_stand() -> None:
    first, second = ["a", "x", "b", "x"], ["b", "x", "x", "a", "c"]
    assert match(first, second, [1.0] * 4, [1.0] * 5) == [(0, 3), (1, 1), (2, 0), (3, 2)]


@given(runs, runs)
def test_unique_names_first_never_weigh_less(
    first: list[tuple[str, int]], second: list[tuple[str, int]]
) -> None:
    names = [name for name, _ in first], [name for name, _ in second]
    weights = [float(w) for _, w in first], [float(w) for _, w in second]
    pairs = match(*names, *weights)
    assert all(names[0][i] == names[1][j] for i, j in pairs)
    assert len({i for i, _ in pairs}) == len({j for _, j in pairs}) == len(pairs)
    assert pairs == sorted(pairs)
    weight = sum(weights[0][i] + weights[1][j] for i, j in pairs)
    assert weight >= best_weight(first, second)
