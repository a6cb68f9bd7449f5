"""Numbers and times as people read them; `page/format.js` has the same rules.

A number has some significant digits, no zeros at its end, no exponent where one can be avoided,
and is never cut before its point. A time is written in the largest of s, ms, us and ns in which it
is at least 1. Ties round away from zero, as in JavaScript.
"""

from __future__ import annotations

import math
from decimal import ROUND_HALF_UP, Context, Decimal

from talos_opt.core.units import PER_SECOND

#: Significant digits that a person gets; files hold every digit.
DIGITS = 6
#: More digits than these a float does not have for sure.
FLOAT_DIGITS = 16

#: Units of time, largest first, and how many of each make a second.
UNITS = {"s": 1.0, "ms": 1e3, "us": 1e6, "ns": 1e9}


def significant(value: float, digits: int) -> str:
    """Write a number with a number of significant digits.

    Parameters
    ----------
    value : float
    digits : int
    """
    if value == 0:
        return "0"
    if not math.isfinite(value):
        return f"{value:g}"
    exact = Decimal(value)
    if not 1e-4 <= abs(value) < 1e12:
        rounded = Context(prec=digits, rounding=ROUND_HALF_UP).create_decimal(exact)
        return f"{rounded.normalize():e}"
    decimals = max(0, digits - 1 - exact.adjusted())
    rounded = exact.quantize(Decimal(1).scaleb(-decimals), ROUND_HALF_UP)
    text = f"{rounded:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def time_unit(largest: float, unit: str, digits: int = DIGITS) -> tuple[float, str]:
    """Choose the unit of a time, or of the largest of several.

    Parameters
    ----------
    largest : float
    unit : {'us', 'ms', 's'}
        That of `largest`; any other stays as it is.
    digits : int
        Of the number: what rounds to 1000 us is 1 ms.

    Returns
    -------
    float, str
        What to divide times by, and the name of the unit.
    """
    if unit not in PER_SECOND or largest == 0 or not math.isfinite(largest):
        return 1.0, unit
    for name in UNITS:
        divisor = _divisor(unit, name)
        if float(significant(abs(largest) / divisor, digits)) >= 1:
            return divisor, name
    return _divisor(unit, "ns"), "ns"


def _divisor(unit: str, name: str) -> float:
    return PER_SECOND[unit] / UNITS[name]


def duration(value: float, unit: str, digits: int = DIGITS) -> str:
    """Write a time with its unit: 1234.5 us is ``1.2345 ms``.

    Parameters
    ----------
    value : float
    unit : str
        Of the value; one that is not a unit of time stays as it is.
    digits : int
    """
    divisor, name = time_unit(value, unit, digits)
    return f"{significant(value / divisor, digits)} {name}".rstrip()


def moment(time: float, unit: str, span: float, digits: int = DIGITS) -> str:
    """Write a time with its unit, a `span` of which has `digits` digits, however late it is.

    Parameters
    ----------
    time : float
    unit : str
    span : float
        Length that has to be told apart at that time; 0: none.
    digits : int
        Of the span. The time itself has `DIGITS` or more.
    """
    if not abs(time) > span > 0:
        return duration(time, unit)
    more = digits + Decimal(time).adjusted() - Decimal(span).adjusted()
    return duration(time, unit, max(DIGITS, min(more, FLOAT_DIGITS)))
