"""Which of several searches goes on: the one that has gained most in its latest turns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

#: What a gain counts for after each later turn of the same search.
_MEMORY = 0.5
#: Every so many turns the search that has waited longest has one, whatever it gained.
_ROUND = 4
#: Turns of a search that found nothing grow by this, up to so much: some need time to warm up.
_GROWTH, _MOST_GROWTH = 1.5, 4.0


@dataclass
class _Arm:
    """What is known of one search.

    Parameters
    ----------
    rate : float
        Share of the value gained per second, late turns counting more.
    last : int
        Number of its latest turn, -1: none yet.
    growth : float
        By what its next turn is longer than others.
    """

    rate: float = 0.0
    last: int = -1
    growth: float = 1.0


@dataclass
class Turns:
    """Shares time among searches by what they gain, as a bandit does among its arms.

    The first turn goes through all in their order. After that the one with the highest rate of
    gain is next, the earlier one of equal rates; every fourth turn is for the one that has waited
    longest.

    Parameters
    ----------
    names : sequence of str
        Searches, the one expected to gain most first.
    """

    names: Sequence[str]
    taken: int = 0
    _arms: dict[str, _Arm] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._arms = {name: _Arm() for name in self.names}

    def choose(self) -> tuple[str, float]:
        """Return who is next, and by what its turn is longer than the shortest."""
        arms = self._arms
        untried = [name for name in self.names if arms[name].last < 0]
        if untried:
            chosen = untried[0]
        elif self.taken % _ROUND == _ROUND - 1:
            chosen = min(self.names, key=lambda name: arms[name].last)
        else:
            chosen = max(self.names, key=lambda name: arms[name].rate)
        return chosen, arms[chosen].growth

    def tell(self, name: str, before: float, after: float, seconds: float) -> None:
        """Note what a turn came to.

        Parameters
        ----------
        name : str
        before, after : float
            Value of the incumbent; infinite where there was none.
        seconds : float
        """
        arm = self._arms[name]
        gain = 0.0
        if after < before:
            gain = (before - after) / before if before < float("inf") else 1.0
        rate = gain / max(seconds, 1e-3)
        arm.rate = rate if arm.last < 0 else _MEMORY * arm.rate + (1 - _MEMORY) * rate
        arm.growth = 1.0 if gain > 0 else min(_MOST_GROWTH, arm.growth * _GROWTH)
        arm.last = self.taken
        self.taken += 1

    def drop(self, name: str) -> None:
        """Leave a search out from now on: it cannot go on."""
        self.names = [other for other in self.names if other != name]
