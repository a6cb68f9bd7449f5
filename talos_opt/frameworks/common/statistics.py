"""What a handful of repeated measurements say, whatever a busy machine did to some of them.

Medians and quartiles: up to a quarter of the measurements may be as wrong as they like, at
either end, without moving the spread without bound; up to half without moving the median so.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from talos_opt.core.errors import InputError
from talos_opt.frameworks.common.profile import Timing


@dataclass(frozen=True, slots=True)
class Summary:
    """Repeated measurements of one thing in three numbers.

    Parameters
    ----------
    median : float
        In the unit of the measurements.
    spread : float
        Half the interquartile range over the median; 0 where the median is 0.
    repeats : int
        Measurements behind it.
    """

    median: float
    spread: float
    repeats: int


def summarise(samples: Iterable[float]) -> Summary:
    """Return median and spread; quartiles are interpolated linearly between measurements.

    Parameters
    ----------
    samples : iterable of float
        At least one; finite and not negative.

    Raises
    ------
    InputError
        If there is none, or one is no time.
    """
    values = [float(value) for value in samples]
    if not values:
        raise InputError("there is no measurement, expected at least one")
    for value in values:
        if not (math.isfinite(value) and value >= 0):
            raise InputError(f"a measurement is {value!r}, expected a finite number of at least 0")
    low, median, high = (float(q) for q in np.percentile(values, (25, 50, 75)))
    spread = (high - low) / 2 / median if median > 0 else 0.0
    return Summary(median, spread, len(values))


def timing(seconds: Iterable[float]) -> Timing:
    """Return the timing that repeated measurements in seconds give, not yet calibrated."""
    found = summarise(seconds)
    return Timing(found.median, found.median, found.spread, found.repeats)
