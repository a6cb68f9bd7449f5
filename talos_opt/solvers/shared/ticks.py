"""A common tick: the number of which all given numbers are whole multiples."""

from __future__ import annotations

from fractions import Fraction

import numpy as np

from talos_opt.core.problem import Floats

#: Relative distance within which a float counts as a multiple: sums of some floats are as far.
_CLOSE = 1e-12


def ticks_per_unit(values: Floats, most: float) -> float:
    """Return how many common ticks one unit has; 0 without a tick that is long enough.

    The smallest value is taken for the tick and divided wherever a value is not a multiple of it,
    like Euclid's algorithm; so nothing depends on the unit that the values are in. What comes out
    is verified: every value must be a whole number of ticks within 1e-12 of itself.

    Parameters
    ----------
    values : (n,) float
        At least 0, finite.
    most : float
        Ticks that the largest value may have.
    """
    positive = np.unique(values[values > 0])
    if len(positive) == 0:
        return 1.0
    largest = float(positive[-1])
    tick = float(positive[0])
    while True:
        if not largest / tick <= most:
            return 0.0
        scaled = positive / tick
        off = np.flatnonzero(np.abs(scaled - np.round(scaled)) > _CLOSE * scaled)
        if len(off) == 0:
            break
        room = int(most * tick / largest)
        if room < 2:
            return 0.0
        part = Fraction(float(scaled[off[0]])).limit_denominator(room)
        if part.denominator == 1 or part.numerator == 0:
            return 0.0
        tick /= part.denominator
    per_unit = round(largest / tick) / largest
    scaled = positive * per_unit
    whole = np.round(scaled)
    if (np.abs(scaled - whole) > _CLOSE * scaled).any() or whole[0] < 1:
        return 0.0
    return per_unit
