"""Sums that agree with the whole, and ratios per type that a few bad ops cannot spoil."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from talos_opt.core.errors import InputError
from talos_opt.frameworks.common.calibration import (
    MAX_RATIO,
    calibrated,
    launch_time,
    type_ratios,
    whole_factor,
)
from talos_opt.frameworks.common.profile import OpProfile, Timing


def ops(*seconds: float, device: str = "cpu") -> list[OpProfile]:
    return [
        OpProfile(f"op{i}", "x", timings={device: Timing(value, value, repeats=5)})
        for i, value in enumerate(seconds)
    ]


def test_the_sum_becomes_the_whole_and_raw_times_stay() -> None:
    found = calibrated(ops(1.0, 2.0, 3.0), "cpu", 4.0)
    assert [op.timings["cpu"].time_s for op in found] == pytest.approx([2 / 3, 4 / 3, 2])
    assert [op.timings["cpu"].raw_s for op in found] == [1.0, 2.0, 3.0]
    assert all(op.timings["cpu"].repeats == 5 for op in found)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=10), st.floats(1e-6, 10))
def test_the_sum_is_the_whole_wherever_there_is_a_sum(seconds: list[float], whole: float) -> None:
    found = calibrated(ops(*seconds), "cpu", whole)
    total = sum(op.timings["cpu"].time_s for op in found)
    if sum(seconds) > 1e-12:
        assert total == pytest.approx(whole)
    else:
        assert total == pytest.approx(sum(seconds))


@given(st.lists(st.floats(1e-3, 1), min_size=1, max_size=10), st.floats(0, 1), st.floats(0, 0.9))
def test_what_starting_takes_is_added_where_nothing_computes_meanwhile(
    seconds: list[float], whole: float, share: float
) -> None:
    assume(whole > 0)
    launch = share * whole / len(seconds)
    found = calibrated(ops(*seconds), "cpu", whole, launch, ahead=False)
    times = [op.timings["cpu"].time_s for op in found]
    assert sum(times) == pytest.approx(whole)
    assert min(times) >= launch
    factor = whole_factor(ops(*seconds), "cpu", whole, launch)
    assert times == pytest.approx([s * factor + launch for s in seconds])


def test_starting_that_takes_all_of_the_whole_leaves_nothing_to_scale() -> None:
    assert whole_factor(ops(1.0, 2.0), "cpu", 4.0, 2.0) == 1


def test_without_a_sum_or_a_whole_nothing_changes() -> None:
    assert whole_factor(ops(0.0, 0.0), "cpu", 1.0) == 1
    assert whole_factor(ops(1.0), "cpu", None) == 1
    assert whole_factor(ops(1.0), "gpu", 5.0) == 1
    assert calibrated(ops(1.0), "gpu", 5.0) == tuple(ops(1.0))


@given(st.lists(st.floats(0, 1), min_size=1, max_size=10), st.floats(0, 20))
def test_starting_ops_fills_what_kernels_leave_of_the_whole(
    seconds: list[float], whole: float
) -> None:
    known = [replace(op, output=1) for op in ops(*seconds, device="gpu")]
    known.append(OpProfile("view", "x", timings={"gpu": Timing(0.0, 0.0, repeats=5)}))
    launch = launch_time(known, "gpu", whole)
    assert launch >= 0
    found = calibrated(known, "gpu", whole, launch)
    if whole > sum(seconds):
        assert sum(op.timings["gpu"].time_s for op in found) == pytest.approx(whole)
        assert launch > min(seconds)
        for op, raw in zip(found, seconds, strict=False):
            assert op.timings["gpu"].time_s == max(raw, launch)
    else:
        assert launch == 0


def test_views_start_nothing() -> None:
    views = ops(1.0, 2.0, device="gpu")
    assert launch_time(views, "gpu", 10.0) == 0
    assert launch_time(views, "gpu", None) == 0


@pytest.mark.parametrize("whole", [-1.0, float("nan"), float("inf")])
def test_a_whole_that_is_no_time_is_refused(whole: float) -> None:
    with pytest.raises(InputError, match="whole model's time on cpu"):
        whole_factor(ops(1.0), "cpu", whole)


def test_ratios_are_medians_per_type_and_over_all_types() -> None:
    found = type_ratios([("a", 2, 1), ("a", 2, 1), ("a", 900, 1), ("b", 1, 2), ("c", 4, 1)])
    assert found.of("a") == pytest.approx(2)
    assert found.of("b") == pytest.approx(0.5)
    assert found.of("new") == pytest.approx(2)  # the median of 0.5, 2 and 4
    assert found.counts == {"a": 3, "b": 1, "c": 1}
    assert found.clamped == ()


def test_twice_and_half_cancel() -> None:
    assert type_ratios([("a", 2, 1), ("a", 1, 2)]).of("a") == pytest.approx(1)


def test_absurd_ratios_are_clamped_and_named() -> None:
    found = type_ratios([("a", 1e6, 1), ("b", 1, 1e6), ("c", 1, 1)])
    assert found.of("a") == pytest.approx(MAX_RATIO)
    assert found.of("b") == pytest.approx(1 / MAX_RATIO)
    assert set(found.clamped) == {"a", "b"}


def test_zeros_say_nothing() -> None:
    assert type_ratios([("a", 0, 1), ("b", 1, 0)]).by_type == {}
    assert type_ratios([]).of("a") == 1


def test_a_shape_drops_how_fast_a_device_is_as_a_whole() -> None:
    rows = [("a", 8.0, 1.0), ("b", 2.0, 1.0), ("c", 4.0, 1.0)]
    slow = [(name, 2 * measured, estimated) for name, measured, estimated in rows]
    for found in (type_ratios(rows).shape(), type_ratios(slow).shape()):
        assert [found.of(name) for name in "abcd"] == pytest.approx([2, 0.5, 1, 1])
    assert type_ratios(rows).shape(0.5).of("a") == pytest.approx(2**0.5)
