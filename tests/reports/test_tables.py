"""How numbers and tables look to a person."""

from __future__ import annotations

import math

import pytest

from talos_opt.reports.texts.tables import number, percent, quantity, settled, table


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"),
        (9.0, "9"),
        (4.5, "4.5"),
        (-2.25, "-2.25"),
        (100.0, "100"),
        (0.1 + 0.2, "0.3"),
        (1234.56789, "1234.57"),
        (123456789.0, "123456789"),
        (0.000123456789, "0.000123457"),
        (1.5e-9, "1.5e-9"),
        (2.5e15, "2.5e+15"),
        (999999.96, "1000000"),
        (math.inf, "inf"),
    ],
)
def test_number_has_six_digits_and_no_needless_exponent(value: float, text: str) -> None:
    assert number(value) == text


def test_quantity_has_a_unit_or_is_a_dash() -> None:
    assert quantity(4.5, "ms") == "4.5 ms"
    assert quantity(0.25, "of a device") == "0.25 of a device"
    assert quantity(3 * 2**20, "bytes") == "3.00 MiB"
    assert quantity(None, "ms") == "-"


@pytest.mark.parametrize(
    ("share", "text"),
    [(None, "-"), (0.0, "0 %"), (0.125, "12.5 %"), (1e-7, "<0.01 %"), (1 / 3, "33.33 %")],
)
def test_percent_never_hides_a_gap(share: float | None, text: str) -> None:
    assert percent(share) == text


def test_what_rounding_leaves_is_settled() -> None:
    assert settled(9e-13, 22581.8) == 0
    assert settled(-1e-10, 1.0) == 0
    assert settled(0.001, 22581.8) == 0.001
    assert settled(0.0, 0.0) == 0


def test_a_piped_table_is_neither_cut_nor_styled() -> None:
    long = "a reason " * 40
    text = table(("name", "value"), [(long.strip(), "1"), ("[bold]x[/bold] :smile:", "20")])
    lines = text.splitlines()
    assert len(lines) == 3
    assert long.strip() in lines[1]
    assert lines[2].startswith("[bold]x[/bold] :smile:")
    assert "\x1b" not in text
    assert lines[1].endswith(" 1")
    assert lines[2].endswith("20")
    assert len(lines[1]) == len(lines[2])  # numbers stand flush right
