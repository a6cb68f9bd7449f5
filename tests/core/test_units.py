"""Numbers with units as people write them."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from talos_opt.core import units
from talos_opt.core.errors import GraphError


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (0, 0),
        (12, 12),
        (1.5, 2),  # a need is never understated
        ("12", 12),
        ("1e9", 10**9),
        ("4KiB", 4096),
        ("4 KiB", 4096),
        (" 1.5MiB ", 3 * 2**19),
        ("2kB", 2000),
        ("2KB", 2000),
        (".5GB", 5 * 10**8),
        ("1e3 MB", 10**9),
        ("3TiB", 3 * 2**40),
        ("7B", 7),
        ("8PiB", 2**53),
    ],
)
def test_sizes(text: object, value: int) -> None:
    assert units.size(text, "memory") == value
    assert type(units.size(text, "memory")) is int


@pytest.mark.parametrize(
    ("text", "value"),
    [("12GB/s", 12e9), ("12 GiB/s", 12 * 2**30), (25e9, 25e9), ("25e9", 25e9), ("1GB", 1e9)],
)
def test_bandwidths(text: object, value: float) -> None:
    assert units.bandwidth(text, "bandwidth") == value


@pytest.mark.parametrize(
    "bad",
    [
        None, True, [], {}, "", "much", "4 kib", "4Kb", "12GB/s", "-1", -1, math.nan, math.inf,
        "nan", "1e999", "9PiB", "1 2", "1_000", "0x10", "12:30",
    ],
)  # fmt: skip
def test_sizes_that_cannot_be_read(bad: object) -> None:
    with pytest.raises(GraphError, match=r"^at: memory is .*, expected a") as caught:
        units.size(bad, "memory", path="at")
    assert caught.value.path == "at"


@pytest.mark.parametrize("bad", [0, "0GB/s", "-1GB/s", "1GB/h", "fast", math.inf, True, None])
def test_bandwidths_that_cannot_be_read(bad: object) -> None:
    with pytest.raises(GraphError, match=r"bandwidth is .*, expected a"):
        units.bandwidth(bad, "bandwidth")


@pytest.mark.parametrize("bad", [True, None, "x", [1], -0.5, math.nan, -math.inf, 10**400])
def test_numbers_that_cannot_be_read(bad: object) -> None:
    with pytest.raises(GraphError, match=r"weight is .*, expected a"):
        units.number(bad, "weight")


@pytest.mark.parametrize(("text", "value"), [("1e9", 1e9), (0, 0), ("12", 12), (2.5, 2.5)])
def test_numbers(text: object, value: float) -> None:
    assert units.number(text, "weight") == value
    assert type(units.number(text, "weight")) is float


@pytest.mark.parametrize("bad", [0, 1.5, -1, True, "1.5", 2**40, math.nan])
def test_counts_that_cannot_be_read(bad: object) -> None:
    with pytest.raises(GraphError, match="slots is "):
        units.positive_int(bad, "slots")


def test_counts() -> None:
    assert units.positive_int("3", "slots") == 3
    assert units.positive_int(2.0, "slots") == 2


@given(st.integers(0, 2**53))
def test_a_size_written_for_a_person_is_close(amount: int) -> None:
    number, unit = units.format_bytes(amount).split()
    factor: dict[str, Any] = {"B": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40}
    assert float(number) * factor[unit] == pytest.approx(amount, rel=0.005)


def test_long_values_are_cut_in_messages() -> None:
    assert len(units.describe("x" * 1000)) == 60
    assert [units.describe(item) for item in (None, {}, [], 3)] == [
        "empty", "a mapping", "a list", "3",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "value"), [(0, 0.0), (0.005, 0.005), ("0.5%", 0.005), ("50 %", 0.5), ("0.1", 0.1)]
)
def test_shares(text: object, value: float) -> None:
    assert units.share(text, "worth") == value


@pytest.mark.parametrize("bad", [-0.1, "-1%", "%", "1%%", "half", None, True, float("nan")])
def test_shares_that_cannot_be_read(bad: object) -> None:
    with pytest.raises(GraphError, match=r"worth is .*, expected a"):
        units.share(bad, "worth")


@pytest.mark.parametrize(
    ("text", "need", "capacity"),
    [
        ("1.1PB", 11 * 10**14, 11 * 10**14),  # not the float's byte more
        ("2.3TB", 23 * 10**11, 23 * 10**11),
        (1.5, 2, 1),
        ("1.0000000000000000000000001", 2, 1),
        ("0.1KiB", 103, 102),
        ("1e-400", 1, 0),
        ("1e-99999999999999999999999", 1, 0),
        ("0e99999999999999999999999", 0, 0),
        (2**53, 2**53, 2**53),
    ],
)
def test_needs_are_rounded_up_and_capacities_down(text: object, need: int, capacity: int) -> None:
    assert units.size(text, "memory") == need
    assert units.size(text, "memory", capacity=True) == capacity


@pytest.mark.parametrize("bad", [2**53 + 1, str(2**53 + 1), "8.0000000000000001PiB", "1e400"])
def test_sizes_beyond_the_limit(bad: object) -> None:
    with pytest.raises(GraphError, match=r"expected (at most|a finite)"):
        units.size(bad, "memory")


@given(st.integers(1, 10**6), st.sampled_from(["B", "kB", "MB", "GB"]))
def test_two_decimals_are_exact(hundredths: int, unit: str) -> None:
    factor = {"B": 1, "kB": 10**3, "MB": 10**6, "GB": 10**9}[unit]
    text = f"{hundredths / 100:.2f}{unit}"
    assert units.size(text, "memory") == -(-hundredths * factor // 100)
    assert units.size(text, "memory", capacity=True) == hundredths * factor // 100
