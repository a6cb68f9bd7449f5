"""Devices that slow each other down: only where they compute at the same time, and no more."""

from __future__ import annotations

import dataclasses
import threading

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from talos_opt.core.schedule import Schedule, Transfers
from talos_opt.frameworks.common.contention import (
    contended,
    contended_schedule,
    slowdown,
    stretched,
)
from talos_opt.frameworks.common.running import Execution, OpTimes, RunReport, Span

FACTORS = {"a": 1.5, "b": 1.2, "c": 2.0}

times = st.integers(0, 40)
spans = st.lists(st.tuples(st.sampled_from("abcd"), times, times), max_size=12).map(
    lambda rows: [(device, min(x, y), max(x, y)) for device, x, y in rows]
)


def test_what_overlaps_is_stretched() -> None:
    pair = {"a": 1.5, "b": 1.2}
    assert contended([], pair) == 0
    assert contended([("a", 0, 4), ("b", 4, 9)], pair) == 9  # one after the other
    assert contended([("a", 0, 4), ("b", 2, 9)], pair) == 9 + 2 * 0.5
    assert contended([("a", 0, 4), ("x", 0, 9)], pair) == 9  # x slows nobody down
    assert contended([("a", 0, 4), ("b", 0, 4)], {}) == 4
    # Two of three devices: half of what all three cost each other.
    assert contended([("a", 0, 4), ("b", 0, 4)], FACTORS) == 4 + 4 * 0.25
    assert contended([("a", 0, 4), ("b", 0, 4), ("c", 0, 4)], FACTORS) == 8


@given(spans)
def test_a_grid_of_moments_says_the_same(rows: list[tuple[str, float, float]]) -> None:
    expected = float(max((end for _, _, end in rows), default=0))
    for moment in range(40):
        busy = {d for d, start, end in rows if start <= moment < end and d in FACTORS}
        if len(busy) > 1:
            expected += (max(FACTORS[d] for d in busy) - 1) * (len(busy) - 1) / 2
    assert contended(rows, FACTORS) == pytest.approx(expected)
    assert contended(rows, dict.fromkeys(FACTORS, 1.0)) == max((e for _, _, e in rows), default=0)


def test_of_a_schedule() -> None:
    start, end = np.array([0.0, 1.0]), np.array([3.0, 2.0])
    made = Schedule(np.array([0, 1]), start, end, Transfers.from_rows([]))
    assert contended_schedule(made, ("a", "b"), {"a": 1.5, "b": 1.5}) == 3.5
    assert contended_schedule(made, ("a", "b"), {}) == 3


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

    # The first steps alone are before any thread runs, and the quietest count.
    assert slowdown(step, [other], 60.0) == 1.5


def test_what_fails_beside_is_raised() -> None:
    own = threading.get_ident()

    def fail() -> None:
        if threading.get_ident() != own:
            raise MemoryError("no more")

    with pytest.raises(MemoryError, match="no more"):
        slowdown(lambda: 1.0, [fail], 60.0)
