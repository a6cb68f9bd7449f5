"""One run of one or several solvers on a problem: the budget, the incumbent, the bound.

The incumbent is never lost: whoever finds a schedule hands it to `Run.offer`, which checks it and
keeps it if it is better. Safe to use from several threads.
"""

from __future__ import annotations

import copy
import math
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from talos_opt.core import rounding
from talos_opt.core.errors import InfeasibleScheduleError, RefutedProofError
from talos_opt.core.feasibility import require_feasible
from talos_opt.core.metrics import forced_value, objective_value
from talos_opt.core.problem import Objective, Problem
from talos_opt.core.result import OPTIMALITY_TOLERANCE, Event, relative_gap
from talos_opt.core.schedule import Schedule
from talos_opt.core.ties import Standing, standing, value_slack
from talos_opt.solvers.engine.budget import Budget, Clock
from talos_opt.solvers.engine.compilation import MOST_S, Compilation

#: Share of a step, and of a bound, that a bound must pass a step by before it is rounded up to the
#: next: more than proofs may be off by.
_CLEAR, _PASSED = 1e-3, 1e-6
#: Share of a value by which it may be below a multiple of the step: so far may each of the times
#: that it is a sum of be from one of the tick (`shared.ticks`), and rounding.
_BLUR = 1.01e-12
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
    forced : float
        What releases alone force of the value: the gap is of what lies above it.
    """

    time_s: float
    value: float | None
    lower_bound: float
    solver: str
    forced: float = 0.0

    @property
    def gap(self) -> float | None:
        """Gap of the value above the bound (`relative_gap`), None while there is no value."""
        if self.value is None:
            return None
        return relative_gap(self.value, self.lower_bound, self.forced)


@dataclass
class _Known:
    """What all parts of a run share and may change, under the lock."""

    lower_bound: float
    step: float = 0.0
    best: Schedule | None = None
    best_solver: str = ""
    value: float = math.inf
    standing: Standing | None = None
    settled: bool = False
    #: The best value that each solver has offered, and the device of its first op.
    offered: dict[str, tuple[float, int]] = field(default_factory=dict)
    #: The same of rules, as it was when they were through.
    rules: dict[str, tuple[float, int]] = field(default_factory=dict)
    lock: threading.RLock = field(default_factory=threading.RLock)


class Run:
    """Budget, incumbent, bound and cancellation of one solve, or of a part of it.

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
        Value of the clock that the time limit counts from; default: now.
    clock : callable
        Returns seconds; tests hand in their own.
    inside : Run, optional
        A run on another problem that this one is a part of: it has that one's clock, and ends no
        later.
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
        clock: Callable[[], float] = time.monotonic,
        inside: Run | None = None,
    ) -> None:
        self.problem = problem
        self.forced = forced_value(problem)
        self.seed = seed
        self.workers = workers
        self.cancel: threading.Event = inside.cancel if inside else cancel or threading.Event()
        self.kernels: Compilation = inside.kernels if inside else Compilation()
        if inside is not None:
            self.budget: Budget = inside.budget.within(time_limit)
            self.started = self.budget.clock.raw()
        else:
            self.started = clock() if started is None else started
            end = self.started + time_limit
            self.budget = Budget(Clock(clock, MOST_S), end, (self.cancel.is_set,))
        self.history: list[Event] = []
        self.notes: list[str] = []
        self.on_progress = on_progress
        self._known = _Known(self.forced)

    # ---- the budget ------------------------------------------------------------------------

    @property
    def clock(self) -> Clock:
        """The clock of the budget, which leaves out compiling."""
        return self.budget.clock

    @property
    def elapsed(self) -> float:
        """Seconds since the run began, those of compiling included."""
        return self.budget.clock.raw() - self.started

    @property
    def remaining(self) -> float:
        """Seconds left, never negative; 0 if cancelled."""
        return self.budget.remaining

    @property
    def spent(self) -> bool:
        """Whether the run is cancelled or out of time; it may be proven, or not."""
        return self.budget.spent

    @property
    def stopped(self) -> bool:
        """Whether solvers must stop: cancelled, out of time, or proven optimal."""
        return self.budget.spent or self.proven

    @property
    def overdue(self) -> bool:
        """Whether a quick solver must give up: stopped, and something is in hand.

        With nothing in hand it may outlast the time limit by `GRACE`: the difference between
        a schedule and none.
        """
        if self.best is None and not self.cancel.is_set():
            return self.budget.is_over_by(GRACE)
        return self.stopped

    def limited(self, seconds: float = math.inf, *stops: Callable[[], bool]) -> Run:
        """Return the run as a part of the work sees it: all is shared but the budget.

        Parameters
        ----------
        seconds : float
            After which the part ends, if the run does not end earlier.
        *stops : callable
            Further conditions that end it.
        """
        return self.by(self.budget.within(seconds, *stops))

    def by(self, budget: Budget) -> Run:
        """Return the run as a part of the work sees it that has another budget."""
        part = copy.copy(self)
        part.budget = budget
        return part

    # ---- what is known ---------------------------------------------------------------------

    @property
    def best(self) -> Schedule | None:
        """The incumbent."""
        return self._known.best

    @property
    def hint(self) -> Schedule | None:
        """A schedule to start from: the incumbent, or one that breaks some limit of memory."""
        return self.best

    @property
    def best_solver(self) -> str:
        """Who found the incumbent's value."""
        return self._known.best_solver

    @property
    def value(self) -> float:
        """Value of the incumbent, infinite without one."""
        return self._known.value

    @property
    def standing(self) -> Standing | None:
        """All that the incumbent is compared by."""
        return self._known.standing

    @property
    def lower_bound(self) -> float:
        """Best proven bound."""
        return self._known.lower_bound

    @property
    def settled(self) -> bool:
        """Whether the incumbent is wanted in place of a better one."""
        return self._known.settled

    @property
    def proven(self) -> bool:
        """Whether the incumbent meets the bound, as far as floats of their size can tell."""
        if self.best is None:
            return False
        allowed = OPTIMALITY_TOLERANCE * (self.value - self.forced)
        return self.value - self.lower_bound <= allowed + rounding.ULPS * math.ulp(self.value)

    @property
    def target(self) -> float:
        """Value that a schedule must be below to be better by more than `proven` allows for."""
        if self.best is None:
            return math.inf
        return self.value - 0.5 * OPTIMALITY_TOLERANCE * (self.value - self.forced)

    def count_in(self, step: float) -> None:
        """Round bounds up to multiples of a step from now on; 0: do not.

        Parameters
        ----------
        step : float
            The value of some optimal schedule is a multiple of it.
        """
        self._known.step = step

    def _next_value(self, bound: float) -> float:
        """Return the least value that the optimum may have if it is no less than a bound."""
        step = self._known.step
        if step <= 0 or not math.isfinite(bound):
            return bound
        steps = bound / step
        whole = math.ceil(steps - _CLEAR - _PASSED * steps) * step * (1 - _BLUR)
        return max(bound, whole - self._rounding_of(whole))

    def offer(self, schedule: Schedule, solver: str) -> bool:
        """Keep a schedule if it is better: smaller value, then less idle time, then fewer bytes.

        Raises
        ------
        InfeasibleScheduleError
            If it breaks the model. A solver that offers such a schedule has a bug.
        RefutedProofError
            If it is below a bound that was claimed. It is kept, and the bound is not.
        """
        value, known = objective_value(self.problem, schedule), self._known
        with known.lock:
            slack = value_slack(self.problem, value)
            if value < known.offered.get(solver, (math.inf, 0))[0]:
                known.offered[solver] = value, int(schedule.device[0])
            if value > self.value + slack:
                return False
            improves = value < self.value - slack
            rank = standing(self.problem, schedule, value)
            if not improves and self.standing is not None and not rank.tidier(self.standing):
                return False
            require_feasible(self.problem, schedule)
            refuted = self.lower_bound if self._contradicts(self.lower_bound, value) else None
            if refuted is not None and self.is_blurred(schedule):
                return False
            # The schedule last: `proven` looks without the lock, and not before there is one.
            known.value, known.standing, known.best = value, rank, schedule
            known.lower_bound = min(known.lower_bound, value) if refuted is None else self.forced
            if improves:
                known.best_solver = solver
                self._record(solver)
            if refuted is not None:
                raise RefutedProofError(
                    f"{solver} found {value!r}, below the bound {refuted!r} that was proven"
                )
            return True

    def complete(self, solver: str) -> None:
        """Take note that a rule has offered all that it makes; what bears its name later is not."""
        known = self._known
        if solver in known.offered:
            known.rules.setdefault(solver, known.offered[solver])

    @property
    def rules(self) -> Mapping[str, tuple[float, int]]:
        """Value of each rule that is through, and the device of its first op."""
        return self._known.rules

    def is_blurred(self, schedule: Schedule) -> bool:
        """Tell whether floats near a schedule's times cannot tell its ops apart.

        What such ops do to each other cannot be checked: it may seem better than any schedule that
        a proof, which knows lengths and not times, has left. Neither is a bug then.
        """
        return bool(rounding.lost_digits(self.problem.arrays, schedule.makespan, ""))

    def _contradicts(self, bound: float, value: float) -> bool:
        """Whether a bound is above a value by more than proofs are allowed to be off."""
        allowed = 10 * OPTIMALITY_TOLERANCE * (value - self.forced)
        return bound - value > allowed + 2 * self._rounding_of(value)

    def _rounding_of(self, value: float) -> float:
        """What rounding may have added to a bound or value of this size."""
        if self.problem.objective is Objective.MEMORY:  # one division, of whole numbers
            return 0.0
        summed = rounding.sum_error(self.problem.arrays.op_count) * abs(value - self.forced)
        return summed + 0.5 * rounding.ULPS * math.ulp(value)

    def consider(self, schedule: Schedule, solver: str) -> bool:
        """Offer a schedule whose maker does not know all limits of memory, nothing else.

        Returns
        -------
        bool
            Whether it was kept; False too where memory does not suffice for it.
        """
        try:
            return self.offer(schedule, solver)
        except InfeasibleScheduleError as error:
            if not all(item.startswith("memory") for item in error.violations):
                raise
            return False

    def settle(self, schedule: Schedule) -> None:
        """Put a schedule in the incumbent's place that is wanted though its value may be larger.

        Raises
        ------
        InfeasibleScheduleError, RefutedProofError
            As `offer`.
        """
        known = self._known
        with known.lock:
            if not self.offer(schedule, self.best_solver):
                require_feasible(self.problem, schedule)
                rank = standing(self.problem, schedule)
                known.value, known.standing, known.best = rank.value, rank, schedule
            known.settled = True

    def raise_bound(self, bound: float, solver: str) -> None:
        """Keep a proven lower bound if it is better.

        It is lowered by what rounding may have added to its sums, so that no value falls below
        it later and what was reported never has to be taken back. Then it goes up to the next
        possible value (`count_in`).

        Raises
        ------
        RefutedProofError
            If it is above the incumbent by more than that: a wrong proof.
        """
        with self._known.lock:
            if self._contradicts(bound, self.value):
                if self.best is not None and self.is_blurred(self.best):
                    return
                raise RefutedProofError(
                    f"{solver} claims the bound {bound!r}, above the known value {self.value!r}"
                )
            bound = min(self._next_value(bound - self._rounding_of(bound)), self.value)
            if bound > self.lower_bound:
                self._known.lower_bound = bound
                self._record(solver)

    def withdraw_bound(self, bound: float) -> None:
        """Go back to an earlier bound, since the solver that raised it cannot be trusted."""
        with self._known.lock:
            self._known.lower_bound = min(bound, self.value)

    def note(self, text: str) -> None:
        """Keep a remark for the result."""
        with self._known.lock:
            if text not in self.notes:
                self.notes.append(text)

    def _record(self, solver: str) -> None:
        value = None if self.best is None else self.value
        event = Event(self.elapsed, value, self.lower_bound, solver)
        self.history.append(event)
        if self.on_progress is not None:
            self.on_progress(Progress(event.time_s, value, self.lower_bound, solver, self.forced))
