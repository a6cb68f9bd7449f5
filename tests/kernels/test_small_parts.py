"""Heaps and the sorting of a few numbers, as they are written: parts have no entry from Python."""

from __future__ import annotations

import heapq

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from talos_opt.kernels.heaps import pop, push
from talos_opt.kernels.sorting import copy_range, sort_few
from tests.kernels.drawing import interpreted

keys = st.integers(0, 9).map(float)


@given(st.lists(st.none() | keys, max_size=60))
def test_heaps_hand_out_the_smallest_key(steps: list[float | None]) -> None:
    """None takes one off."""
    put, take = interpreted(push), interpreted(pop)
    heap_keys, heap_ops = np.empty(len(steps)), np.empty(len(steps), dtype=np.int64)
    key_of: dict[int, float] = {}
    inside: list[float] = []
    out: set[int] = set()
    for op, key in enumerate(steps):
        if key is not None:
            put(heap_keys, heap_ops, len(inside), key, op)
            heapq.heappush(inside, key)
            key_of[op] = key
        elif inside:
            taken = int(take(heap_keys, heap_ops, len(inside)))
            assert key_of[taken] == heapq.heappop(inside)
            assert taken not in out
            out.add(taken)
    assert sorted(heap_ops[: len(inside)].tolist()) == sorted(set(key_of) - out)


@given(st.lists(keys, max_size=12), st.integers(0, 12), st.integers(0, 12))
def test_a_range_is_sorted_and_the_rest_is_left(values: list[float], a: int, b: int) -> None:
    first, last = sorted((min(a, len(values)), min(b, len(values))))
    found = np.array(values)
    interpreted(sort_few)(found, first, last)
    assert found.tolist() == values[:first] + sorted(values[first:last]) + values[last:]


@given(st.lists(keys, max_size=12), st.integers(0, 12), st.integers(0, 12), st.integers(0, 5))
def test_a_range_is_copied_and_the_rest_is_left(
    values: list[float], a: int, b: int, to: int
) -> None:
    first, last = sorted((min(a, len(values)), min(b, len(values))))
    found = np.full(20, -1.0)
    interpreted(copy_range)(found, to, np.array(values), first, last)
    part = values[first:last]
    assert found.tolist() == [-1.0] * to + part + [-1.0] * (20 - to - len(part))
