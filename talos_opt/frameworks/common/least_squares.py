"""Least squares with bounds."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def bounded_least_squares(
    matrix: Floats, target: Floats, low: Floats, high: Floats, start: Floats
) -> Floats:
    """Return the x between bounds for which ``matrix @ x`` is closest to `target`.

    An active set of bounds: Stark and Parker (1995), Bounded-variable least-squares.

    Parameters
    ----------
    matrix : array of shape (m, n)
    target : array of shape (m,)
    low, high : array of shape (n,)
        Finite, low <= high.
    start : array of shape (n,)
        Where columns depend on each other, the answer is close to it.
    """
    x = np.clip(start, low, high)
    free = (x > low) & (x < high)
    size = max(1.0, float(np.abs(matrix).max(initial=0.0))) * max(1.0, float(np.abs(target).max()))
    for _ in range(20 * (1 + len(x))):
        x, free = _settled(matrix, target, low, high, x, free)
        slope = matrix.T @ (target - matrix @ x)
        leaving = np.where(x <= low, slope, -slope) * ~free * (low < high)
        worst = int(np.argmax(leaving)) if len(x) else 0
        if not len(x) or leaving[worst] <= 1e-12 * size:
            break
        free[worst] = True
    return x


def _settled(
    matrix: Floats, target: Floats, low: Floats, high: Floats, x: Floats, free: NDArray[np.bool_]
) -> tuple[Floats, NDArray[np.bool_]]:
    """Return the best values of what is free, and fewer free ones if bounds are in the way."""
    x, free = x.copy(), free.copy()
    while free.any():
        rest = target - matrix @ x
        step = np.zeros_like(x)
        step[free] = np.linalg.lstsq(matrix[:, free], rest, rcond=None)[0]
        with np.errstate(divide="ignore", invalid="ignore"):
            room = np.where(
                step > 0, (high - x) / step, np.where(step < 0, (low - x) / step, np.inf)
            )
        first = float(room[free].min())
        if first >= 1:
            return np.clip(x + step, low, high), free
        hit = free & (room <= max(first, 0.0))
        x = np.clip(x + max(first, 0.0) * step, low, high)
        x[hit] = np.where(step[hit] > 0, high[hit], low[hit])
        free &= ~hit
    return x, free
