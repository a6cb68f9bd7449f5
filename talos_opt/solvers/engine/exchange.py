"""What solves of one problem tell each other while they run: incumbents and bounds."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable

from talos_opt.core.schedule import Schedule

#: Who a schedule or bound of another solve is from, in the history of this one.
OTHERS = "others"


class Exchange:
    """One solve's mailbox, in the user's terms; safe from any thread.

    Parameters
    ----------
    tell : callable
        Called from a thread of the solve with its best schedule, where that has changed, else
        None, and with its best bound.
    """

    def __init__(self, tell: Callable[[Schedule | None, float], object]) -> None:
        self.tell = tell
        self._lock = threading.Lock()
        self._schedule: Schedule | None = None
        self._bound = -math.inf

    def post(self, schedule: Schedule | None, bound: float) -> None:
        """Leave what others have found: a feasible schedule, and a bound that is proven.

        Of several schedules the latest counts.
        """
        with self._lock:
            self._schedule = schedule or self._schedule
            self._bound = max(self._bound, bound)

    def take(self) -> tuple[Schedule | None, float]:
        """Return what was left, the schedule only once."""
        with self._lock:
            schedule, self._schedule = self._schedule, None
            return schedule, self._bound
