"""Outputs against outputs."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from talos_opt.frameworks.common.comparing import Value, compare_outputs


def value(*numbers: Any, dtype: str = "float32", name: str | None = None) -> Value:
    return Value(np.array(numbers, dtype=dtype), name or dtype)


@pytest.mark.parametrize(
    ("a", "b", "error", "equal"),
    [
        (value(1.0, 2.0), value(1.0, 2.0), 0.0, True),
        (value(1.0, 1.0), value(1.0, 1.25), 0.25, False),
        (value(), value(), 0.0, True),
        (value(1, 2, dtype="int64"), value(1, 3, dtype="int64"), 1.0, False),
        (value(0, 255, dtype="uint8"), value(255, 255, dtype="uint8"), 255.0, False),
        (value(True, dtype="bool"), value(False, dtype="bool"), 1.0, False),
        (value(1j, dtype="complex64"), value(1j, dtype="complex64"), 0.0, True),
        (value(1j, dtype="complex64"), value(2j, dtype="complex64"), 1.0, False),
        (value("a", dtype="object"), value("a", dtype="object"), 0.0, True),
        (value("a", dtype="object"), value("b", dtype="object"), math.inf, False),
        (value(1.0), value(1.0, 1.0), math.inf, False),
        (value(1.0), value(1.0, dtype="float64"), math.inf, False),
        (value(1.0), value(1.0, name="bfloat16"), math.inf, False),
        (3, 3, 0.0, True),
        (3, 3.0, 0.0, False),
        (None, value(1.0), 0.0, False),
    ],
)
def test_outputs_that_agree_or_differ(a: Any, b: Any, error: float, equal: bool) -> None:
    assert compare_outputs([a], [b]) == (error, equal)
    assert compare_outputs([b], [a]) == (error, equal)


def test_how_much_is_allowed_depends_on_the_type() -> None:
    for name, within in (("float64", 1e-10), ("float32", 1e-5), ("bfloat16", 1e-2)):
        one, near = (value(100.0 * k, dtype="float64", name=name) for k in (1.0, 1.0 + within))
        far = value(100.0 * (1.0 + 20 * within), dtype="float64", name=name)
        assert compare_outputs([one], [near])[1]
        assert not compare_outputs([one], [far])[1]


def test_values_that_are_no_numbers_must_be_the_same() -> None:
    odd = value(1.0, math.nan, math.inf, -math.inf)
    assert compare_outputs([odd], [odd]) == (0.0, True)
    for other in ((1.0, 0.0, math.inf, -math.inf), (1.0, math.nan, -math.inf, -math.inf)):
        assert compare_outputs([odd], [value(*other)])[1] is False
    assert compare_outputs([value(math.nan)], [value(math.nan)]) == (0.0, True)
    assert compare_outputs([value(math.nan)], [value(math.inf)]) == (math.inf, False)


def test_all_outputs_count_and_none_may_lack() -> None:
    assert compare_outputs([value(1.0), value(2.0)], [value(1.5), value(2.0)]) == (0.5, False)
    assert compare_outputs([value(1.0)], []) == (0.0, False)
    assert compare_outputs([], []) == (0.0, True)
