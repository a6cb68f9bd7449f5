"""What floating-point times can tell apart.

All tolerances of the package that decide feasibility or a proof come from here. They follow from
the spacing of floats, so they mean the same at every scale of times and for every origin.
"""

from __future__ import annotations

import numpy as np

from talos_opt.core.arrays import Arrays, Floats

#: Spacings by which two recorded times may differ and still mean one moment: a time is rounded
#: where it is computed, once more where it is written from another origin, and so is the other.
ULPS = 4
#: Share of an activity that no tolerance may reach: what overlaps by more is an overlap.
SHARE = 0.25
#: Spacings of the latest time that the shortest activity should have: three digits of it then.
DIGITS = 1024


def spacing(time: float) -> float:
    """Return the distance from a time to the next float."""
    return float(np.spacing(abs(time)))


def slack(times: Floats) -> Floats:
    """Return by how much recorded times may be off: some spacings of floats of their size."""
    return np.asarray(ULPS * np.spacing(np.abs(times)))


def between(times: Floats, *lengths: Floats, tolerance: float | None = None) -> Floats:
    """Return how much too early one activity may follow another.

    Parameters
    ----------
    times : (q,) float
        The later of the two moments that are compared.
    *lengths : (q,) float
        Lengths of the activities that take part; those of no length do not count.
    tolerance : float, optional
        Instead of the spacing of floats.

    Returns
    -------
    (q,) float
        Never more than `SHARE` of the shortest length.
    """
    allowed = slack(times) if tolerance is None else np.full(len(times), tolerance)
    for length in lengths:
        np.minimum(allowed, np.where(length > 0, SHARE * length, np.inf), out=allowed)
    return allowed


def sum_error(count: int) -> float:
    """Return the relative error that a sum of so many numbers of one sign may have.

    At most count - 1 roundings, each of half a spacing; some more for what is done to the sum.
    """
    return float(np.finfo(np.float64).eps) * (count + 32)


def noise(start: Floats, end: Floats) -> float:
    """Return the rounding in sums of a schedule's times: what analyses take as no difference.

    Parameters
    ----------
    start, end : (n,) float
        Of its ops.
    """
    if not len(end):
        return 0.0
    latest = float(end.max())
    summed = sum_error(len(end)) * (latest - float(start.min()))
    return summed + ULPS * spacing(latest)


def lost_digits(arrays: Arrays, latest: float, unit: str) -> str:
    """Return a warning if times up to `latest` leave the shortest op too few digits, else nothing.

    Parameters
    ----------
    arrays : Arrays
    latest : float
        Latest time of a schedule, in the graph's unit.
    unit : str
    """
    timed = arrays.time[np.isfinite(arrays.time) & (arrays.time > 0)]
    if not len(timed):
        return ""
    shortest, distance = float(timed.min()), spacing(latest)
    if shortest >= DIGITS * distance:
        return ""
    first = float(arrays.release.min())
    found = (
        f"times near {latest:.6g} {unit} can be written to {distance:.3g} {unit} only, "
        f"and the shortest op takes {shortest:.3g} {unit}"
    )
    if first > 0 and shortest >= DIGITS * spacing(latest - first):
        return (
            f"{found}; subtract the earliest release, {first:.17g} {unit}, from all releases to "
            "keep its digits"
        )
    return f"{found}: what such ops do to each other cannot be checked at this scale"
