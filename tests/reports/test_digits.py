"""Numbers, times and bytes, as they are printed and as pages show them."""

from __future__ import annotations

import pytest

from talos_opt.core.units import format_bytes
from talos_opt.reports.digits import duration, moment, significant, time_unit

#: Value, digits, and its text; ties go away from zero.
NUMBERS = [
    (0.0, 4, "0"),
    (-0.0, 4, "0"),
    (1234.5678, 6, "1234.57"),
    (1234567.0, 4, "1234567"),
    (1203084.57, 6, "1203085"),
    (1.5, 4, "1.5"),
    (2.5, 1, "3"),
    (100000.5, 6, "100001"),
    (999999.96, 6, "1000000"),
    (0.000123456, 3, "0.000123"),
    (0.0000123456, 3, "1.23e-5"),
    (2e15, 3, "2e+15"),
    (-12.0, 3, "-12"),
    (-0.0625, 2, "-0.063"),
]
#: Value and unit, and the time in the unit that suits it.
DURATIONS = [
    (0.0, "us", "0 us"),
    (435781.0933333335, "us", "435.781 ms"),
    (1203084.57, "us", "1.20308 s"),
    (999.9999996, "us", "1 ms"),
    (0.9999995, "ms", "1 ms"),
    (0.5, "ms", "500 us"),
    (0.00002, "s", "20 us"),
    (3600.0, "s", "3600 s"),
    (1e-3, "us", "1 ns"),
    (2e-9, "us", "2e-6 ns"),
    (-1500.0, "us", "-1.5 ms"),
    (0.999923, "of a device", "0.999923 of a device"),
    (1234.5, "", "1234.5"),
]
#: A time, its unit, the span that has to be told apart there and its digits.
MOMENTS = [
    (3600.00002, "s", 0.00002, 3, "3600.00002 s"),
    (3600.0, "s", 0.00002, 3, "3600 s"),
    (1700000000001.5, "ms", 4.5, 6, "1700000000.0015 s"),
    (2.0, "ms", 3.0, 6, "2 ms"),
    (2.0, "ms", 0.0, 3, "2 ms"),
]
#: Bytes.
AMOUNTS = [
    (0, "0 B"),
    (1023, "1023 B"),
    (1152, "1.13 KiB"),
    (1048575, "1.00 MiB"),
    (9.9 * 2**30, "9.90 GiB"),
    (2**53, "8192.00 TiB"),
]


@pytest.mark.parametrize(("value", "digits", "text"), NUMBERS)
def test_numbers(value: float, digits: int, text: str) -> None:
    assert significant(value, digits) == text


def test_what_is_not_finite() -> None:
    assert [significant(float(text), 3) for text in ("inf", "-inf", "nan")] == [
        "inf",
        "-inf",
        "nan",
    ]
    assert duration(float("inf"), "ms") == "inf ms"


@pytest.mark.parametrize(("value", "unit", "text"), DURATIONS)
def test_durations(value: float, unit: str, text: str) -> None:
    assert duration(value, unit) == text


@pytest.mark.parametrize(("time", "unit", "span", "digits", "text"), MOMENTS)
def test_moments(time: float, unit: str, span: float, digits: int, text: str) -> None:
    assert moment(time, unit, span, digits) == text


@pytest.mark.parametrize(("amount", "text"), AMOUNTS)
def test_bytes(amount: float, text: str) -> None:
    assert format_bytes(amount) == text


def test_all_marks_of_an_axis_have_the_unit_of_the_largest() -> None:
    assert time_unit(435781.0, "us") == (1e3, "ms")
    assert time_unit(0.0, "us") == (1.0, "us")
    assert time_unit(3.0, "") == (1.0, "")
