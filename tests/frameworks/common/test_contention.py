"""Devices that slow each other down: only where they compute at the same time, and no more."""

from __future__ import annotations

import dataclasses
import threading
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from talos_opt.core.schedule import Schedule, Transfers
from talos_opt.frameworks.common.contention import (
    Contention,
    apart,
    beside,
    contended_schedule,
    stretched,
    times_longer,
)
from talos_opt.frameworks.common.running import Execution, OpTimes, RunReport, Span

FACTORS = {"a": 1.5, "b": 1.2, "c": 2.0}

times = st.integers(0, 40)
spans = st.lists(st.tuples(st.sampled_from("abcd"), times, times), max_size=12).map(
    lambda rows: [(device, min(x, y), max(x, y)) for device, x, y in rows]
)
lengths = st.lists(st.floats(1e-3, 1), min_size=1, max_size=8)


def test_what_overlaps_is_stretched() -> None:
    pair = Contention({"a": 1.5, "b": 1.2})
    assert pair.end_s([]) == 0
    assert pair.end_s([("a", 0, 4), ("b", 4, 9)]) == 9  # one after the other
    assert pair.end_s([("a", 0, 4), ("b", 2, 9)]) == 9 + 2 * 0.5
    assert pair.end_s([("a", 0, 4), ("x", 0, 9)]) == 9  # x slows nobody down
    assert Contention().end_s([("a", 0, 4), ("b", 0, 4)]) == 4
    # Two of three devices: half of what all three cost each other.
    assert Contention(FACTORS).end_s([("a", 0, 4), ("b", 0, 4)]) == 4 + 4 * 0.25
    assert Contention(FACTORS).end_s([("a", 0, 4), ("b", 0, 4), ("c", 0, 4)]) == 8


def test_the_lock_takes_its_time_for_each_op_that_meets_another() -> None:
    alone = dict.fromkeys("ab", 1.0)
    ones = [("a", k, k + 1) for k in range(8)]
    assert Contention(alone, 0.5).end_s(ones) == 8
    assert Contention(alone, 0.5).end_s([*ones, *(("b", k, k + 1) for k in range(8))]) == 12
    # Eight short ops beside two long ones: each of the long ones meets a short one.
    assert Contention(alone, 0.5).end_s([*ones, ("b", 0, 4), ("b", 4, 8)]) == 9
    assert Contention({"a": 1.25, "b": 1.0}, 0.5).end_s([*ones, ("b", 0, 8)]) == 8 + 2 + 0.5


@given(spans)
def test_a_grid_of_moments_says_the_same(rows: list[tuple[str, float, float]]) -> None:
    last = max((end for _, _, end in rows), default=0)
    expected = float(last)
    for moment in range(40):
        running: dict[str, list[float]] = {}
        for device, start, end in rows:
            if device in FACTORS and start <= moment < end:
                running.setdefault(device, []).append(end - start)
        if len(running) > 1:
            expected += (max(FACTORS[d] for d in running) - 1) * (len(running) - 1) / 2
            expected += 0.25 / sorted(map(min, running.values()))[1]
    assert Contention(FACTORS, 0.25).end_s(rows) == pytest.approx(expected)
    assert Contention(dict.fromkeys(FACTORS, 1.0)).end_s(rows) == last


@given(lengths, lengths, st.floats(1, 4), st.floats(0, 2))
def test_what_the_lock_takes_is_told_from_the_rest(
    first: list[float], second: list[float], times: float, lock: float
) -> None:
    whole = {"a": times, "b": times}
    found = apart(whole, {"a": first, "b": second}, lock)
    assert found.whole == whole
    assert 0 <= found.lock_s <= lock
    # At a random moment of both, ops of the lengths x and y meet 1 / max(x, y) times a second.
    rate = sum(min(x, y) for x, y in product(first, second)) / sum(first) / sum(second)
    for factor in found.factors.values():
        assert factor == pytest.approx(max(1.0, times - found.lock_s * rate))
    if lock * rate > 0.1 and found.lock_s < lock:
        assert found.lock_s * rate == pytest.approx(times - 1, abs=1e-9)


def test_a_model_without_times_meets_nothing() -> None:
    found = apart({"a": 1.5, "b": 1.5}, {"a": [0.0], "b": [1.0]}, 1.0)
    assert (found.factors, found.lock_s) == ({"a": 1.5, "b": 1.5}, 1.0)


def test_of_a_schedule() -> None:
    start, end = np.array([0.0, 1.0]), np.array([3.0, 2.0])
    made = Schedule(np.array([0, 1]), start, end, Transfers.from_rows([]))
    slow = Contention({"a": 1.5, "b": 1.5}, 1e-6)
    assert contended_schedule(made, ("a", "b"), slow) == pytest.approx(3.5e-6 + 1e-6 / 3)
    assert contended_schedule(made, ("a", "b"), None) == pytest.approx(3e-6)
    assert contended_schedule(made, ("a", "b"), None, 1e-3) == pytest.approx(3e-3)


def test_ops_of_a_run_are_told_apart_by_who_else_computed() -> None:
    # a: the other device computes for 2 of its 3 s; b: for all of it; c and d: never.
    spans = (
        Span("a", "x", 0, 3), Span("b", "y", 1, 2), Span("e", "y", 2, 3),
        Span("c", "x", 3, 4), Span("d", "y", 5, 6),
    )  # fmt: skip
    ops = tuple(OpTimes(s.op, s.device, 1.0, s.end_s - s.start_s) for s in spans)
    report = RunReport(
        True, 0.0, 1.0, 6.0, 6.0, 0, 0, ops, [], Execution([], 6.0, spans, ()), {"x": "", "y": ""}
    )
    assert stretched(report) == (1.0, 5 / 3)
    none = dataclasses.replace(report, execution=Execution([], 0.0, (), ()), ops=())
    assert stretched(none) == (None, None)


def test_others_compute_while_a_step_is_timed() -> None:
    running = threading.Event()
    own = threading.get_ident()

    def other() -> None:
        if threading.get_ident() != own:
            running.set()

    def step() -> float:
        return 3.0 if running.is_set() else 2.0

    # No time is left for a second round, in which the thread would have run before.
    assert beside(step, [other], 0.0) == (2.0, 3.0)


def test_nobody_is_faster_beside_others() -> None:
    assert [times_longer(2.0, 3.0), times_longer(2.0, 1.0), times_longer(0.0, 1.0)] == [1.5, 1, 1]


def test_what_fails_beside_is_raised() -> None:
    own = threading.get_ident()

    def fail() -> None:
        if threading.get_ident() != own:
            raise MemoryError("no more")

    with pytest.raises(MemoryError, match="no more"):
        beside(lambda: 1.0, [fail], 60.0)
