"""Numbers with units as people write them: sizes, bandwidths, times.

Every function takes a value as a file reader hands it over and either returns a number or
raises `GraphError` saying what was found and what was expected.
"""

from __future__ import annotations

import decimal
import math
import re
from decimal import Decimal
from numbers import Real

from talos_opt.core.errors import GraphError

#: How many of each time unit make a second.
PER_SECOND = {"us": 1e6, "ms": 1e3, "s": 1.0}
_MOMENT = re.compile(r"\s*(\d+(?:\.\d*)?(?:[eE][+-]?\d+)?)\s*(us|ms|s)?\s*")

_BYTES = {"": 1, "B": 1}
for _power, _prefix in enumerate("KMGTP", start=1):
    _BYTES[f"{_prefix}B"] = 1000**_power
    _BYTES[f"{_prefix}iB"] = 1024**_power
_BYTES["kB"] = _BYTES["KB"]
_BYTES["kiB"] = _BYTES["KiB"]

_QUANTITY = re.compile(r"^\s*([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)\s*([A-Za-z]*)\s*$")

#: Largest amount accepted anywhere: a float holds it exactly. Sums: `talos_opt.core.limits`.
MAX_BYTES = 2**53

#: What a time, weight, latency or bandwidth may be, 0 aside, and what times may add up to: so
#: squares and ratios of all that a problem adds up to are finite, and no product vanishes.
SMALLEST, LARGEST = 1e-150, 1e150

#: Largest count of slots: some solvers keep a number for each.
MOST_SLOTS = 2**20


def number(value: object, what: str, *, path: str | None = None, positive: bool = False) -> float:
    """Return `value` as a finite float, at least 0 (or above 0 when `positive`).

    Strings such as ``1e9`` are accepted since YAML 1.1 writers quote them; booleans are not.

    Raises
    ------
    GraphError
        If the value is not a number, is not finite, or has the wrong sign.
    """
    result = _as_float(value, what, path)
    if not math.isfinite(result):
        raise GraphError(f"{what} is {value!r}, expected a finite number", path=path)
    if positive and result <= 0:
        raise GraphError(f"{what} is {value!r}, expected a number above 0", path=path)
    if result < 0:
        raise GraphError(f"{what} is {value!r}, expected a number of at least 0", path=path)
    return result


def share(value: object, what: str, *, path: str | None = None) -> float:
    """Return a share, a number such as 0.005 or a text such as ``0.5%``, as a float of at least 0.

    Raises
    ------
    GraphError
        If the value is neither.
    """
    if isinstance(value, str) and value.strip().endswith("%"):
        return number(value.strip()[:-1], what, path=path) / 100
    return number(value, what, path=path)


def magnitude(value: object, what: str, *, path: str | None = None) -> float:
    """Return `value` as 0 or a float from `SMALLEST` to `LARGEST`: a time, a weight, a latency.

    Raises
    ------
    GraphError
        As `number` does, and if sums with the value could not be finite or lose it.
    """
    if type(value) is float and (SMALLEST <= value <= LARGEST or value == 0):
        return value or 0.0  # minus zero prints as such
    result = number(value, what, path=path)
    if result and not SMALLEST <= result <= LARGEST:
        raise GraphError(
            f"{what} is {describe(value)}, expected 0 or a number from {SMALLEST:g} to "
            f"{LARGEST:g}: sums must stay finite",
            path=path,
        )
    return result


def _as_float(value: object, what: str, path: str | None) -> float:
    # NumPy's spans of time have units of their own, which their numbers would leave out.
    span = getattr(getattr(value, "dtype", None), "kind", "") == "m"
    if span or isinstance(value, bool) or not isinstance(value, (int, float, str, Real)):
        raise GraphError(f"{what} is {describe(value)}, expected a number", path=path)
    try:
        return float(value)
    except (ValueError, OverflowError):
        raise GraphError(f"{what} is {describe(value)}, expected a number", path=path) from None


def positive_int(value: object, what: str, *, path: str | None = None) -> int:
    """Return `value` as an int of at least 1; floats with a fraction and booleans are refused."""
    if type(value) is int and 1 <= value <= MOST_SLOTS:
        return value
    result = number(value, what, path=path, positive=True)
    if result != int(result) or result > MOST_SLOTS:
        raise GraphError(
            f"{what} is {value!r}, expected a whole number from 1 to {MOST_SLOTS}", path=path
        )
    return int(result)


def moment(value: object, unit: str, what: str, *, path: str | None = None) -> float:
    """Return a time in a unit: a bare number is in that unit, text may name its own (``5ms``).

    Raises
    ------
    GraphError
        As `magnitude` does.
    """
    if not isinstance(value, str):
        return magnitude(value, what, path=path)
    match = _MOMENT.fullmatch(value)
    if match is None:
        raise GraphError(f"{what} is {value!r}, expected a time such as 12.5 or 5ms", path=path)
    own = match[2] or unit
    time = magnitude(float(match[1]), what, path=path)
    return time if own == unit else time * PER_SECOND[unit] / PER_SECOND[own]


def size(value: object, what: str, *, path: str | None = None, capacity: bool = False) -> int:
    """Return a size in bytes: a bare number, or text with kB/MB/GB or KiB/MiB/GiB.

    The decimal that was written is what counts, exactly. Fractions of a byte are rounded up, so
    that a need is never understated; those of a capacity down, so that it is never overstated.

    Raises
    ------
    GraphError
        If the number or the unit cannot be read, is negative, not finite or above 8 PiB.
    """
    if type(value) is int and 0 <= value <= MAX_BYTES:
        return value
    text, factor = _parts(value, what, path, per_second=False)
    about = number(text, what, path=path) * factor  # refuses what is no amount
    amount = _rounded(text, factor, about, capacity=capacity) if about <= 2 * MAX_BYTES else None
    if amount is None or amount > MAX_BYTES:
        raise GraphError(
            f"{what} is {describe(value)}, expected at most {MAX_BYTES} bytes", path=path
        )
    return amount


def _rounded(text: object, factor: int, about: float, *, capacity: bool) -> int:
    if isinstance(text, int):
        return text * factor
    if about < SMALLEST:  # its decimal may have an exponent beyond all arithmetic
        nothing = capacity or not re.search("[1-9]", re.split("[eE]", str(text))[0])
        return 0 if nothing else 1
    exact = as_decimal(text)
    with decimal.localcontext(prec=len(str(text)) + 40):
        down, up = decimal.ROUND_FLOOR, decimal.ROUND_CEILING
        return int((exact * factor).to_integral_value(down if capacity else up))


def as_decimal(value: object) -> Decimal:
    """Return a number or its text as the decimal that a person wrote: 0.29, not the float's."""
    return Decimal(value if isinstance(value, str) else repr(float(value)))  # type: ignore[arg-type]


def bandwidth(value: object, what: str, *, path: str | None = None) -> float:
    """Return a bandwidth in bytes per second: a bare number, or text such as ``12GB/s``.

    Raises
    ------
    GraphError
        If it cannot be read, or is not between `SMALLEST` and `LARGEST`.
    """
    text, factor = _parts(value, what, path, per_second=True)
    number(text, what, path=path, positive=True)
    exact = float(as_decimal(text) * factor) if isinstance(text, str) else text
    return magnitude(exact, what, path=path)


def _parts(value: object, what: str, path: str | None, *, per_second: bool) -> tuple[object, int]:
    """Return a number, as it came or as text, and how many bytes its unit stands for."""
    if not isinstance(value, str):
        return value, 1
    text = value.strip()
    if per_second and text.endswith("/s"):
        text = text[:-2]
    match = _QUANTITY.match(text)
    if match is None or match[2] not in _BYTES:
        example = "12GB/s" if per_second else "4KiB, 1.5GB"
        raise GraphError(
            f"{what} is {describe(value)}, expected a number of bytes or one with a unit "
            f"(kB MB GB TB, KiB MiB GiB TiB), such as {example}",
            path=path,
        )
    return match[1], _BYTES[match[2]]


def describe(value: object) -> str:
    """Name a value in a message without flooding it."""
    if value is None:
        return "empty"
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, (list, tuple)):
        return "a list"
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def format_bytes(amount: float) -> str:
    """Write an amount of bytes for a person, in powers of 1024.

    Two decimals, with ties away from zero, as in the page's `format.js`.
    """
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        decimals = Decimal(1) if unit == "B" else Decimal("0.01")
        text = Decimal(amount).quantize(decimals, decimal.ROUND_HALF_UP)
        if abs(text) < 1024 or unit == "TiB":
            return f"{text:f} {unit}"
        amount /= 1024
    raise AssertionError("unreachable")
