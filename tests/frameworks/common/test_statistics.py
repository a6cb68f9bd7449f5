"""Medians and spreads by hand, and how little outliers move them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from talos_opt.core.errors import InputError
from talos_opt.frameworks.common.statistics import summarise, timing

times = st.floats(1e-7, 10, allow_nan=False)


def test_median_and_spread_by_hand() -> None:
    found = summarise([1, 2, 3, 4, 5])
    assert found.median == 3
    assert found.spread == pytest.approx((4 - 2) / 2 / 3)  # quartiles 2 and 4
    assert found.repeats == 5


def test_one_measurement_has_no_spread() -> None:
    assert summarise([0.25]).spread == 0
    assert summarise([0.0, 0.0]).spread == 0


def test_one_wild_measurement_in_nine_changes_next_to_nothing() -> None:
    calm = summarise([10, 10, 10, 11, 11, 11, 12, 12, 12])
    wild = summarise([10, 10, 10, 11, 11, 11, 12, 12, 12e6])
    assert wild == calm


@given(st.lists(times, min_size=1, max_size=12), st.floats(0.1, 10))
def test_a_change_of_unit_scales_the_median_only(samples: list[float], scale: float) -> None:
    before, after = summarise(samples), summarise([value * scale for value in samples])
    assert after.median == pytest.approx(before.median * scale)
    assert after.spread == pytest.approx(before.spread, rel=1e-6, abs=1e-9)
    assert min(samples) <= before.median <= max(samples)


def test_a_timing_is_measured_and_not_yet_calibrated() -> None:
    found = timing([3e-3, 1e-3, 2e-3])
    assert (found.raw_s, found.time_s, found.repeats) == (2e-3, 2e-3, 3)
    assert not found.estimated


@pytest.mark.parametrize("samples", [[], [-1.0], [float("nan")], [1.0, float("inf")]])
def test_what_is_no_measurement_is_refused(samples: list[float]) -> None:
    with pytest.raises(InputError, match="measurement"):
        summarise(samples)
