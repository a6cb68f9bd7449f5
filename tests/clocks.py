"""Clocks for tests: one that the test decides on, one that a busy machine does not speed up."""

from __future__ import annotations

import os
import time


class Looks:
    """A clock that stands still for so many looks, and from then on is past every deadline.

    How often solvers look at it, before and after, does not depend on the machine.
    """

    def __init__(self, before: float) -> None:
        self.before = before
        self.count = 0

    def __call__(self) -> float:
        """Look at it."""
        self.count += 1
        return 0.0 if self.count <= self.before else 1e9

    @property
    def late(self) -> float:
        """How many looks came after the time was over."""
        return max(0, self.count - self.before)


class Stopwatch:
    """Seconds since it was started, by the wall and by what this process and its children worked.

    Other work on the machine lengthens the first, threads the second; neither is the fault of what
    is measured. Tests that use one are marked `timing`.
    """

    def __init__(self) -> None:
        self.start()

    def start(self) -> None:
        """Begin at zero."""
        self._wall, self._work = time.monotonic(), _work()

    def check(self, seconds: float, slack: float = 10.0) -> None:
        """Fail after so many seconds; on a busy machine after as much work, or with all slack used.

        Parameters
        ----------
        seconds : float
        slack : float
            Seconds by the wall that other work on the machine may add.
        """
        wall, work = time.monotonic() - self._wall, _work() - self._work
        assert min(wall, work) < seconds, f"took {wall:.2f} s and {work:.2f} s of work"
        assert wall < seconds + slack, f"took {wall:.2f} s, whatever the machine is busy with"


def _work() -> float:
    return sum(os.times()[:4])
