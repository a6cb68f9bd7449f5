"""One run of one or several solvers on a problem: the clock, the incumbent, the bound.

The incumbent is never lost: whoever finds a schedule hands it to `Run.offer`, which checks it and
keeps it if it is better. Safe to use from several threads.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from talos_opt.core.errors import InfeasibleScheduleError
from talos_opt.core.feasibility import check
from talos_opt.core.metrics import idle_times, objective_value
from talos_opt.core.problem import Problem
from talos_opt.core.result import OPTIMALITY_TOLERANCE, Event, relative_gap
from talos_opt.core.schedule import Schedule

#: Seconds by which a quick solver may outlast the time limit if there is no schedule yet.
GRACE = 0.5


@dataclass(frozen=True, slots=True)
class Progress:
    """What a caller is told while solvers run.

    Parameters
    ----------
    time_s : float
        Seconds since the run began.
    value : float or None
        Best value so far.
    lower_bound : float
        Best proven bound so far.
    solver : str
        Who reports.
    """

    time_s: float
    value: float | None
    lower_bound: float
    solver: str

    @property
    def gap(self) -> float | None:
        """(value - lower_bound) / value, None while there is no value."""
        return None if self.value is None else relative_gap(self.value, self.lower_bound)


class Run:
    """Clock, incumbent, bound and cancellation of one solve.

    Parameters
    ----------
    problem : Problem
    time_limit : float
        Seconds from now until every solver must have stopped.
    seed : int
    workers : int
        Threads that a solver may use.
    on_progress : callable, optional
        Called with a `Progress` on every improvement, from the solver's thread.
    cancel : threading.Event, optional
        Set it to stop all solvers at once.
    started : float, optional
        `time.monotonic` value that the time limit counts from.
    """

    def __init__(
        self,
        problem: Problem,
        *,
        time_limit: float = 10.0,
        seed: int = 0,
        workers: int = 1,
        on_progress: Callable[[Progress], None] | None = None,
        cancel: threading.Event | None = None,
        started: float | None = None,
    ) -> None:
        self.problem = problem
        self.seed = seed
        self.workers = workers
        self.cancel = cancel or threading.Event()
        self.started = time.monotonic() if started is None else started
        self.deadline = self.started + time_limit
        self.best: Schedule | None = None
        self.best_solver = ""
        self.value = math.inf
        self.lower_bound = 0.0
        self.history: list[Event] = []
        self.notes: list[str] = []
        self._tie: tuple[float, int] = (math.inf, 0)
        self.on_progress = on_progress
        self._lock = threading.RLock()

    @property
    def elapsed(self) -> float:
        """Seconds since the run began."""
        return time.monotonic() - self.started

    @property
    def remaining(self) -> float:
        """Seconds left, never negative."""
        return max(0.0, self.deadline - time.monotonic())

    @property
    def stopped(self) -> bool:
        """Whether solvers must stop: cancelled, out of time, or proven optimal."""
        return self.cancel.is_set() or time.monotonic() >= self.deadline or self.proven

    @property
    def overdue(self) -> bool:
        """Whether a quick solver must give up: stopped, and something is in hand.

        With nothing in hand it may outlast the time limit by `GRACE`: the difference between
        a schedule and none.
        """
        if self.best is None and not self.cancel.is_set():
            return time.monotonic() >= self.deadline + GRACE
        return self.stopped

    @property
    def proven(self) -> bool:
        """Whether the incumbent meets the bound."""
        return (
            self.best is not None
            and relative_gap(self.value, self.lower_bound) <= OPTIMALITY_TOLERANCE
        )

    def offer(self, schedule: Schedule, solver: str) -> bool:
        """Keep a schedule if it is better: smaller value, then less idle time, then fewer bytes.

        Raises
        ------
        InfeasibleScheduleError
            If it breaks the model. A solver that offers such a schedule has a bug.
        """
        value = objective_value(self.problem, schedule)
        with self._lock:
            slack = 1e-12 * max(1.0, abs(self.value)) if math.isfinite(self.value) else 0.0
            if value > self.value + slack:
                return False
            tie = (
                float(idle_times(self.problem, schedule).sum()),
                int(schedule.transfers.bytes.sum()),
            )
            improves = value < self.value - slack
            if not improves and tie >= self._tie:
                return False
            violations = check(self.problem, schedule)
            if violations:
                raise InfeasibleScheduleError([str(item) for item in violations])
            if value < self.lower_bound * (1 - 10 * OPTIMALITY_TOLERANCE):
                raise AssertionError(
                    f"{solver} found {value!r}, below the proven bound {self.lower_bound!r}"
                )
            self.best, self.value, self._tie = schedule, value, tie
            self.lower_bound = min(self.lower_bound, value)
            if improves:
                self.best_solver = solver
                self._record(solver)
            return True

    def raise_bound(self, bound: float, solver: str) -> None:
        """Keep a proven lower bound if it is better.

        A bound above the incumbent by no more than rounding is cut down to it; one above it by
        more would be a wrong proof, and raises.
        """
        with self._lock:
            if not bound > self.lower_bound:
                return
            if bound > self.value:
                if bound > self.value * (1 + 10 * OPTIMALITY_TOLERANCE):
                    raise AssertionError(
                        f"{solver} claims bound {bound!r} above the known value {self.value!r}"
                    )
                bound = self.value
            if bound > self.lower_bound:
                self.lower_bound = bound
                self._record(solver)

    @contextmanager
    def limited_to(self, seconds: float) -> Iterator[None]:
        """Let solvers inside the block stop after so many seconds, if not earlier."""
        deadline = self.deadline
        self.deadline = min(deadline, time.monotonic() + seconds)
        try:
            yield
        finally:
            self.deadline = deadline

    def note(self, text: str) -> None:
        """Keep a remark for the result."""
        with self._lock:
            if text not in self.notes:
                self.notes.append(text)

    def _record(self, solver: str) -> None:
        value = None if self.best is None else self.value
        event = Event(self.elapsed, value, self.lower_bound, solver)
        self.history.append(event)
        if self.on_progress is not None:
            self.on_progress(Progress(event.time_s, value, self.lower_bound, solver))
