"""The largest context or batch that fits: bisection over exact answers.

What a model holds never shrinks as its context or batch grows, so that beyond one number that does
not fit no other does, and a placement of a larger number is one of every smaller.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum


class Answer(Enum):
    """Whether a number fits."""

    FITS = "fits"
    PROVEN = "does not fit: proven"
    UNKNOWN = "no placement was found"


@dataclass(frozen=True)
class Largest:
    """What a bisection found.

    Parameters
    ----------
    blocks : int
        The most that fit; 0: not even one does.
    next : Answer or None
        Of one block more; None: it is beyond the limit.
    proven : int or None
        The fewest blocks that provably do not fit.
    tried : int
        Numbers that were tried.
    """

    blocks: int
    next: Answer | None
    proven: int | None
    tried: int


def largest(
    ask: Callable[[int], Answer],
    limit: int,
    report: Callable[[float, str], None] = lambda share, doing: None,
    stopped: Callable[[], bool] = lambda: False,
) -> Largest:
    """Return the most blocks that fit, at most `limit`.

    Parameters
    ----------
    ask : callable
        Whether so many blocks fit; monotone but for `Answer.UNKNOWN`.
    limit : int
        At least 1.
    report : callable
        Takes the share that is done, and what is being done.
    stopped : callable
        Whether to return what is known by now.
    """
    low, high = 0, limit + 1
    proven: int | None = None
    following: Answer | None = None
    tried = 0
    rounds = max(1, limit.bit_length())
    trial = limit  # often everything fits
    while high - low > 1 and not stopped():
        report(min(1.0, tried / rounds), f"{trial} blocks")
        found = ask(trial)
        tried += 1
        if found is Answer.FITS:
            low = trial
        else:
            high, following = trial, found
            if found is Answer.PROVEN:
                proven = trial if proven is None else min(proven, trial)
        trial = (low + high) // 2
    return Largest(low, following if high <= limit else None, proven, tried)
