"""Numbers as people read them: some significant digits, no exponent where it can be helped."""

from __future__ import annotations

import math


def significant(value: float, digits: int, *, thousands: bool = False) -> str:
    """Write a number with so many significant digits.

    Parameters
    ----------
    value : float
    digits : int
    thousands : bool
        Put commas between thousands.
    """
    if value == 0 or not math.isfinite(value):
        return f"{value:g}"
    if not 1e-4 <= abs(value) < 1e12:
        return f"{value:.{digits}g}"
    decimals = max(0, digits - 1 - math.floor(math.log10(abs(value))))
    text = f"{value:{',' if thousands else ''}.{decimals}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
