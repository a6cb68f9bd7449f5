"""The search for a thread count."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from talos_opt.core.errors import InputError
from talos_opt.core.machine import available_cores
from talos_opt.frameworks.common.threads import MOST, climb, require_threads


def test_hill_climbing_finds_the_valley() -> None:
    asked: list[int] = []

    def cost(count: int) -> float:
        asked.append(count)
        return 1 + abs(count - 6)

    assert climb(cost, 1, 16) == 6
    assert len(asked) == len(set(asked))
    assert climb(lambda count: 1.0, 4, 8) == 4
    assert climb(lambda count: 1 / count, 1, 2) == 2


@given(st.integers(1, 64), st.integers(-3, 99), st.integers(1, 64))
def test_it_stays_within_its_limit_and_gets_no_worse(valley: int, start: int, limit: int) -> None:
    def cost(count: int) -> float:
        assert 1 <= count <= limit
        return 1 + abs(count - valley) / 4

    found = climb(cost, start, limit)
    assert cost(found) <= cost(max(1, min(start, limit)))


def test_there_is_a_core() -> None:
    assert available_cores() >= 1


@pytest.mark.parametrize(
    ("threads", "message"),
    [
        (0, "threads is 0, expected at least 1"),
        (MOST + 1, f"threads is {MOST + 1}, expected at most {MOST}"),
        ("many", "threads is 'many', expected a whole number or auto"),
    ],
)
def test_what_is_no_number_of_threads(threads: int | str, message: str) -> None:
    for right in (1, MOST, "auto", None):
        require_threads(right)
    with pytest.raises(InputError, match=message):
        require_threads(threads)
