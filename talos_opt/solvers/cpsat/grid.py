"""The integer grid that CP-SAT computes on.

Where all durations are multiples of a common tick, the grid is exact. Otherwise every duration
is rounded *down*. A real schedule with starts t then maps to the grid schedule floor(t): since
floor(a + b) >= floor(a) + floor(b), precedence holds; an interval [a, b) becomes one inside
[floor(a), floor(b)), and all that overlap at grid time z overlap just before z + 1 in the
original, so slots, links and memory hold; no completion time grows. Hence whatever bound CP-SAT
proves on the grid is valid for real times. Schedules found on the grid are re-timed exactly.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from talos_opt.core.problem import DIRECT, Floats, Objective, Problem

#: Longest horizon of an inexact grid, in ticks: rounding then costs below 1e-8 of it per op.
_FINE = 2**33
#: Longest horizon that an exact grid may have; beyond it, coefficients overflow.
_LONGEST = 2**44
#: Largest sum of whole weights: with a horizon of `_FINE` the objective stays below `_LARGEST`.
_HEAVIEST = 2**26
#: Largest value that the objective may take: CP-SAT refuses what could pass 2**63.
_LARGEST = 2**60
_TICKS = (1, 2, 4, 5, 8, 10, 16, 20, 32, 40, 50, 64, 100, 1000, 10**4, 10**5, 10**6)


@dataclass(frozen=True)
class Grid:
    """Conversion between the graph's time unit and ticks.

    Parameters
    ----------
    per_unit : float
        Ticks in one time unit.
    exact : bool
        Every duration is a whole number of ticks.
    horizon : int
        Ticks within which some optimal schedule ends.
    """

    per_unit: float
    exact: bool
    horizon: int

    def ticks(self, time: float) -> int:
        """Return a duration in ticks: exact, or rounded down."""
        return round(time * self.per_unit) if self.exact else int(time * self.per_unit)

    def floor(self, time: float) -> int:
        """Return the last tick that is not after a time (for starts of a known schedule)."""
        nearest = round(time * self.per_unit)
        if self.exact and abs(nearest - time * self.per_unit) < 1e-6:
            return nearest
        return int(time * self.per_unit)

    def time(self, ticks: float) -> float:
        """Return ticks in time units."""
        return ticks / self.per_unit


def make_grid(problem: Problem) -> Grid:
    """Choose the grid for a problem."""
    durations = _durations(problem)
    longest = _safe_horizon(problem)
    most = _LONGEST
    if problem.objective is Objective.TOCT:
        most = min(most, _LARGEST // max(1, sum(whole_weights(problem.arrays.model_weight)[0])))
    # A load is divided over the slots, so its ticks must be divisible by their numbers.
    finer = int(np.lcm.reduce(problem.arrays.slots))
    if problem.objective is not Objective.BOTTLENECK or finer > 5040:
        finer = 1
    for ticks in _TICKS:
        scaled = durations * ticks
        if longest * ticks * finer > most:
            break
        if np.all(np.abs(scaled - np.round(scaled)) <= 1e-12 * scaled):
            exact = float(ticks * finer)
            return Grid(exact, True, int(np.ceil(longest * exact)) + 1)
    per_unit = _FINE / max(longest, 1e-300)
    return Grid(per_unit, False, int(np.ceil(longest * per_unit)) + 1)


def _durations(problem: Problem) -> Floats:
    """All distinct op times, hop times and release times."""
    arrays = problem.arrays
    direct = arrays.via == DIRECT
    np.fill_diagonal(direct, False)
    sizes = np.unique(arrays.edge_bytes)
    hops = arrays.latency[direct][:, None] + arrays.per_byte[direct][:, None] * sizes[None, :]
    parts = [arrays.time[np.isfinite(arrays.time)], hops.ravel(), arrays.release]
    return np.unique(np.concatenate(parts))


def _safe_horizon(problem: Problem) -> float:
    """Time within which every left-shifted schedule ends.

    Left-shifting keeps something running at every moment after the last release, so the sum of
    the longest op times and of the longest transfers (one per reader, two hops) is enough.
    """
    arrays = problem.arrays
    ops = np.where(np.isfinite(arrays.time), arrays.time, 0.0).max(axis=1).sum()
    hop = arrays.latency[:, :, None] + arrays.per_byte[:, :, None] * arrays.edge_bytes
    moves = 2.0 * hop.reshape(-1, hop.shape[-1]).max(axis=0).sum() if hop.size else 0.0
    return float(arrays.release.max() + ops + moves)


def whole_weights(weights: Floats) -> tuple[list[int], float]:
    """Return integer weights and the factor that they were scaled by.

    Exact where the weights have a common denominator up to a million, and are small enough;
    otherwise rounded down, which keeps bounds valid since completion times are not negative.
    """
    parts = [Fraction(float(weight)).limit_denominator(10**4) for weight in weights]
    common = math.lcm(*(part.denominator for part in parts))
    whole = [int(part * common) for part in parts]
    exact = all(float(part) == float(weight) for part, weight in zip(parts, weights, strict=True))
    if exact and common <= 10**6 and sum(whole) <= _HEAVIEST:
        return whole, float(common)
    factor = _HEAVIEST / float(weights.sum())
    return [int(weight * factor) for weight in weights], factor
