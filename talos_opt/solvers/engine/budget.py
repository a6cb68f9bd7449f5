"""How long work may go on: immutable budgets on a clock that leaves out compiling."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field


class Clock:
    """A clock that can be held, so that what happens meanwhile is in nobody's budget.

    Safe to use from several threads. All budgets of a solve share one clock: whoever holds it
    need not know whose time runs, and no budget has to be corrected afterwards.

    Parameters
    ----------
    raw : callable
        Returns seconds.
    most_held : float
        Seconds that it can be held in all; then it goes on, whoever holds it.
    """

    def __init__(
        self, raw: Callable[[], float] = time.monotonic, most_held: float = math.inf
    ) -> None:
        self.raw = raw
        self.most_held = most_held
        self._lock = threading.Lock()
        self._holders = 0
        self._since = 0.0
        self._before = 0.0

    def __call__(self) -> float:
        """Return the seconds of the raw clock, less those for which this one was held."""
        with self._lock:
            now = self.raw()
            return now - self._held(now)

    @property
    def held(self) -> float:
        """Seconds for which it was held until now."""
        with self._lock:
            return self._held(self.raw() if self._holders else 0.0)

    @property
    def exhausted(self) -> bool:
        """Whether it was held for as long as it can be."""
        return self.held >= self.most_held

    def _held(self, now: float) -> float:
        total = self._before + (now - self._since if self._holders else 0.0)
        return min(total, self.most_held)

    @contextmanager
    def hold(self) -> Iterator[None]:
        """Hold the clock; what several threads hold at the same time counts once."""
        with self._lock:
            if self._holders == 0:
                self._since = self.raw()
            self._holders += 1
        try:
            yield
        finally:
            with self._lock:
                if self._holders == 1:
                    self._before = self._held(self.raw())
                self._holders -= 1


@dataclass(frozen=True)
class Budget:
    """When work must end: at a moment, or as soon as one of several conditions holds.

    Parameters
    ----------
    clock : Clock
    end : float
        Moment on the clock.
    stops : tuple of callable
        Conditions, each a function without arguments that returns a bool: a cancelled event, a
        first schedule, a gap reached, an amount of work done.
    """

    clock: Clock = field(default_factory=Clock)
    end: float = math.inf
    stops: tuple[Callable[[], bool], ...] = ()

    @property
    def spent(self) -> bool:
        """Whether the work must end now."""
        return any(stop() for stop in self.stops) or self.clock() >= self.end

    @property
    def remaining(self) -> float:
        """Seconds left, never negative; 0 where a condition holds."""
        if any(stop() for stop in self.stops):
            return 0.0
        return max(0.0, self.end - self.clock())

    def is_over_by(self, seconds: float) -> bool:
        """Tell whether the time, whatever the conditions, was over so many seconds ago."""
        return self.clock() >= self.end + seconds

    def within(self, seconds: float = math.inf, *stops: Callable[[], bool]) -> Budget:
        """Return the budget of a part of the work, which ends no later than this one.

        Parameters
        ----------
        seconds : float
            From now on.
        *stops : callable
            Further conditions.
        """
        end = self.end if seconds == math.inf else min(self.end, self.clock() + seconds)
        return Budget(self.clock, end, self.stops + stops)
