"""Significant digits, as they are printed."""

from __future__ import annotations

import pytest

from talos_opt.reports.digits import significant


@pytest.mark.parametrize(
    ("value", "digits", "thousands", "text"),
    [
        (0.0, 4, False, "0"),
        (1234.5678, 6, False, "1234.57"),
        (1234567.0, 4, True, "1,234,567"),
        (1.5, 4, True, "1.5"),
        (0.000123456, 3, False, "0.000123"),
        (0.0000123456, 3, False, "1.23e-05"),
        (2e15, 3, False, "2e+15"),
        (-12.0, 3, False, "-12"),
        (float("inf"), 3, False, "inf"),
    ],
)
def test_numbers(value: float, digits: int, thousands: bool, text: str) -> None:
    assert significant(value, digits, thousands=thousands) == text
