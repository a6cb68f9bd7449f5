"""Which of several searches goes on: the first, unless another one shows that it gains."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

#: Share of the remaining time of a turn on trial, and of one that follows a gain.
TRIAL, AGAIN = 0.15, 0.4


@dataclass
class Turns:
    """Shares time among searches by what they gain.

    Every search but the first has a turn on trial. As long as some of them gained in their latest
    turn, the one with the highest rate goes on. Then the first has all the time that is left:
    annealing comes to more in one long turn than in many short ones.

    Parameters
    ----------
    names : sequence of str
        Searches; the first is the one to rely on.
    """

    names: Sequence[str]
    #: Share of the value gained per second in the latest turn, of those that had one.
    rates: dict[str, float] = field(default_factory=dict)

    def choose(self) -> tuple[str, float]:
        """Return who is next, and its share of the remaining time; 1 for all of it."""
        first, *others = self.names
        untried = [name for name in others if name not in self.rates]
        if untried:
            return untried[0], TRIAL
        best = max(others, key=self.rates.__getitem__, default=first)
        if best != first and self.rates[best] > 0:
            return best, AGAIN
        return first, 1.0

    def tell(self, name: str, before: float, after: float, seconds: float) -> None:
        """Note what a turn came to.

        Parameters
        ----------
        name : str
        before, after : float
            Value of the incumbent; infinite where there was none.
        seconds : float
        """
        gain = 0.0
        if after < before:
            gain = (before - after) / before if math.isfinite(before) else 1.0
        self.rates[name] = gain / max(seconds, 1e-3)

    def drop(self, name: str) -> None:
        """Leave a search out from now on: it cannot go on."""
        self.names = [other for other in self.names if other != name]
