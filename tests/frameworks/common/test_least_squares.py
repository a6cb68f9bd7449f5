"""Least squares with bounds, held against the conditions of an optimum."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from talos_opt.frameworks.common.least_squares import bounded_least_squares


@given(st.integers(1, 6), st.integers(1, 5), st.integers(0, 2**32 - 1))
def test_no_step_within_the_bounds_is_better(rows: int, columns: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    matrix = np.round(rng.normal(0, 2, (rows, columns)), 1)
    target = rng.normal(0, 3, rows)
    low = rng.uniform(-1, 0, columns)
    high = low + rng.choice([0.0, 0.5, 2.0, 100.0], columns)
    x = bounded_least_squares(matrix, target, low, high, rng.uniform(-5, 5, columns))
    assert (low <= x).all()
    assert (x <= high).all()
    slope = matrix.T @ (matrix @ x - target)
    for value, at, least, most in zip(slope, x, low, high, strict=True):
        assert value >= -1e-8 or at == most
        assert value <= 1e-8 or at == least


def test_by_hand() -> None:
    """Of x + y = 3 and x - y = 1, with x at most 1.5: y is 1, as 1.5 - 3 and 0.5 pull equally."""
    matrix = np.array([[1.0, 1.0], [1.0, -1.0]])
    low, start = np.zeros(2), np.ones(2)
    free = bounded_least_squares(matrix, np.array([3.0, 1.0]), low, np.full(2, 9.0), start)
    assert np.allclose(free, [2, 1])
    held = bounded_least_squares(matrix, np.array([3.0, 1.0]), low, np.array([1.5, 9.0]), start)
    assert np.allclose(held, [1.5, 1])


def test_what_has_no_influence_stays() -> None:
    matrix = np.array([[2.0, 0.0]])
    start = np.array([5.0, 4.0])
    x = bounded_least_squares(matrix, np.array([3.0]), np.zeros(2), np.full(2, 9.0), start)
    assert np.allclose(x, [1.5, 4.0])
