"""The search over ways to bundle: cheapest bounds first, and the time shared among what is left.

Every way is an ordinary problem, so a session solves it with any solver. What it finds makes the
bounds of other ways too large; what no bound rules out gets more time in every round.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from dataclasses import replace

from talos_opt.core import rounding
from talos_opt.core.bundle_memory import View
from talos_opt.core.bundles import Bundle
from talos_opt.core.bundling import Derivation
from talos_opt.core.config import SolveConfig
from talos_opt.core.errors import InputError, InternalError, Interrupted, SolverError
from talos_opt.core.feasibility import check, require_feasible
from talos_opt.core.metrics import forced_value
from talos_opt.core.problem import Problem
from talos_opt.core.result import OPTIMALITY_TOLERANCE, Event, Result, Status
from talos_opt.core.schedule import Schedule
from talos_opt.solvers.bundling.candidates import Candidate
from talos_opt.solvers.bundling.pricing import cheap_bound, common_bound
from talos_opt.solvers.bundling.ways import EqualDevices, allows, find_classes, find_ways
from talos_opt.solvers.engine.base import Solver, Verdict
from talos_opt.solvers.engine.run import Progress
from talos_opt.solvers.session import Session
from talos_opt.solvers.shared.obstacles import find_obstacle

#: Share of the time that cheap bounds of all ways may take.
_PRICING = 0.25
#: The first round gets so much of the time; each further one has slices twice as long.
_FIRST_ROUND = 0.25
#: A solver that uses less of its time, and does so twice, has nothing more to find.
_IDLE, _MOST_IDLE = 0.5, 2
#: A session gets at least as long as so many ways take to price: less finds nothing on large
#: problems.
_PRICES = 20
#: Seconds that a session gets at least.
_LEAST_S = 0.05


def solve_bundles(
    problem: Problem,
    plan: SolveConfig,
    create: Callable[[], Solver],
    *,
    warm_start: Schedule | None,
    on_progress: Callable[[Progress], None] | None,
    cancel: threading.Event | None,
    started: float,
) -> Result:
    """Place and schedule a problem whose devices may be bundled, or are.

    Parameters
    ----------
    problem : Problem
        Its cluster has rules for bundles; or it was derived with given ones, which are kept if
        its source has no rules.
    plan : SolveConfig
    create : callable
        Makes the solver that is run on each way.
    warm_start : Schedule, optional
        A feasible schedule of `problem`.
    on_progress : callable, optional
        Called with a `Progress` about all ways together.
    cancel : threading.Event, optional
        Looked at, never set.
    started : float
        `time.monotonic` value that the time limit counts from.

    Returns
    -------
    Result
        Of the derived problem with the best bundles found.

    Raises
    ------
    InputError, DependencyError, SolverError, InternalError, Interrupted
        As `talos_opt.api.solve` does.
    """
    search = _Search(problem, plan, create, on_progress, cancel, started)
    try:
        search.run(warm_start)
    except KeyboardInterrupt as interrupt:
        search.interrupted = True
        raise _carrying(interrupt, search.result()) from None
    except InternalError as error:
        error.result = search.result()
        raise
    return search.result()


def _carrying(interrupt: KeyboardInterrupt, result: Result) -> Interrupted:
    found = interrupt if isinstance(interrupt, Interrupted) else Interrupted(str(interrupt))
    found.result = result
    return found


class _Search:
    def __init__(
        self,
        problem: Problem,
        plan: SolveConfig,
        create: Callable[[], Solver],
        on_progress: Callable[[Progress], None] | None,
        cancel: threading.Event | None,
        started: float,
    ) -> None:
        self.given, self.plan, self.create = problem, plan, create
        self.on_progress, self.cancel, self.started = on_progress, cancel, started
        self.end = started + plan.time_limit
        self.base = problem.source
        self.derivation = Derivation(self.base)
        self.forced = forced_value(self.base)
        self.classes: list[EqualDevices] = []
        self.candidates: list[Candidate] = []
        self.history: list[Event] = []
        self.notes: list[str] = []
        self.failure: SolverError | None = None
        self.interrupted = False
        self._sent = math.inf, -math.inf
        #: Seconds that deriving and pricing a way takes.
        self.priced_s = 0.0

    # ---- time and what is known ------------------------------------------------------------

    @property
    def cancelled(self) -> bool:
        """Whether the caller has set his event."""
        return self.cancel is not None and self.cancel.is_set()

    @property
    def remaining(self) -> float:
        """Seconds left, 0 if cancelled."""
        return 0.0 if self.cancelled else max(0.0, self.end - time.monotonic())

    @property
    def best(self) -> Candidate | None:
        """The way with the best schedule."""
        found = [c for c in self.candidates if c.schedule is not None]
        return min(found, key=lambda c: (c.value, len(c.way))) if found else None

    @property
    def value(self) -> float:
        """Value of the best schedule, infinite without one."""
        return min((c.value for c in self.candidates), default=math.inf)

    @property
    def lower_bound(self) -> float:
        """Least of all bounds, no more than the value."""
        return min(min((c.bound for c in self.candidates), default=self.forced), self.value)

    def _reaches(self, bound: float) -> bool:
        """Whether nothing with this bound is better than the incumbent."""
        value = self.value
        if not math.isfinite(value):
            return math.isinf(bound)
        allowed = OPTIMALITY_TOLERANCE * (value - self.forced)
        return value - bound <= allowed + rounding.ULPS * math.ulp(value)

    def _is_open(self, candidate: Candidate) -> bool:
        return not candidate.exhausted and not self._reaches(candidate.bound)

    # ---- the search ------------------------------------------------------------------------

    def run(self, warm_start: Schedule | None) -> None:
        """Look at all ways until none can be better, or time is over."""
        self._list()
        if warm_start is not None:
            self._start_from(warm_start)
        share = _FIRST_ROUND * self.remaining / max(1, len(self.candidates))
        share = max(share, min(_PRICES * self.priced_s, self.remaining / 3), _LEAST_S)
        while True:
            rest = [c for c in self.candidates if self._is_open(c)]
            rest.sort(key=lambda c: (c.searched, c.value, c.bound, len(c.way)))
            alone = [c for c in rest if not c.way and not c.searched]
            if alone:  # where bundles do not pay, this is the answer: it comes second
                rest.remove(alone[0])
                rest.insert(1, alone[0])
            if not rest:
                break
            for candidate in rest:
                if self.remaining <= 0 and self.best is not None:
                    return
                if self.cancelled:
                    return
                if self._is_open(candidate):
                    others = sum(self._is_open(c) for c in self.candidates) > 1
                    self._look_at(candidate, share if others else self.remaining)
            if self.remaining <= 0:
                break
            share = max(2 * share, _LEAST_S)
        if self.best is None and self.failure is not None:
            raise self.failure

    def _list(self) -> None:
        """List all ways, and price as many as there is time for."""
        if not self.base.cluster.bundles:
            assert self.given.bundling is not None
            candidate = Candidate(self.given.bundling.bundles, self.forced)
            self.candidates = [candidate]
            candidate.prepare(self.derivation)
            return
        end = time.monotonic() + _PRICING * self.remaining
        self.classes = find_classes(self.base, self.derivation.twins)
        ways = find_ways(self.base, self.classes)
        common = common_bound(self.derivation, self.classes, lambda: self.cancelled)
        floor = max(self.forced, common)
        self.candidates = [Candidate(way, floor) for way in ways]
        began = time.monotonic()
        for count, candidate in enumerate(self.candidates, 1):
            if time.monotonic() > end or self.cancelled:
                break
            if candidate.prepare(self.derivation):
                priced = cheap_bound(candidate.views[0].problem, lambda: self.cancelled)
                candidate.bound = max(floor, priced)
            self.priced_s = (time.monotonic() - began) / count
        self._tell("bounds")

    def _start_from(self, schedule: Schedule) -> None:
        way: tuple[Bundle, ...] = ()
        if self.given.bundling is not None:
            way = self.given.bundling.bundles
        own = next((c for c in self.candidates if set(c.way) == set(way)), None)
        if own is None:  # equal devices may have changed places
            if not allows(self.classes, self.base.device_ids, way):
                raise InputError(
                    f"the warm start has bundles that are not allowed: {_named(Candidate(way))}"
                )
            own = Candidate(way, self.forced)
            self.candidates.append(own)
        if own.prepare(self.derivation) and not check(own.problem, schedule):
            own.keep(schedule, "warm start")
            self._tell("warm start")

    def _look_at(self, candidate: Candidate, seconds: float) -> None:
        """Let the solver search one way for some time."""
        if not candidate.prepare(self.derivation):
            return
        finished, began, held = True, time.monotonic(), self.end
        for k, view in enumerate(candidate.views):
            left = len(candidate.views) - k
            result = self._solve(candidate, view, max(seconds / left, _LEAST_S))
            if result is None:
                finished = False
                continue
            found = candidate.learn(view, result)
            finished &= result.status in (Status.OPTIMAL, Status.INFEASIBLE)
            self._tell(candidate.solver or self.plan.solver)
            if (k == 0 and found) or not self._is_open(candidate):
                break
            if self.cancelled:
                return
        spent = time.monotonic() - began - (self.end - held)
        candidate.idle = candidate.idle + 1 if spent < _IDLE * seconds else 0
        candidate.exhausted |= finished or candidate.idle >= _MOST_IDLE

    def _solve(self, candidate: Candidate, view: View, seconds: float) -> Result | None:
        """Run a session on a view; None if a backend failed."""
        solver, problem = self.create(), view.problem
        solver.require(problem)
        plan = replace(self.plan, time_limit=max(min(seconds, self.remaining), _LEAST_S))
        session = Session(
            problem,
            plan,
            on_progress=self._listener(candidate, view),
            cancel=self.cancel,
            started=time.monotonic(),
        )
        obstacle = find_obstacle(problem)
        if obstacle:
            return session.conclude(Verdict(Status.INFEASIBLE, obstacle), explain=False)
        warm = candidate.schedule
        if warm is not None and not check(problem, warm):
            session.start_from(warm)
        try:
            verdict = session.solve(solver)
        except SolverError as error:
            self.failure, candidate.exhausted = error, True
            self.notes.append(f"{_named(candidate)}: {error}")
            return None
        except (InternalError, Interrupted) as error:
            if error.result is not None:
                candidate.learn(view, error.result)
            raise
        finally:
            self.end += session.run.clock.held  # compiling is beside the limit
        return session.conclude(verdict, explain=False)

    # ---- what others see -------------------------------------------------------------------

    def _listener(self, candidate: Candidate, view: View) -> Callable[[Progress], None] | None:
        """Return what a session tells: of one way, whose bound is only one of several."""
        if self.on_progress is None or not view.schedules:
            return None

        def listen(event: Progress) -> None:
            others = min((c.bound for c in self.candidates if c is not candidate), default=math.inf)
            bound = max(candidate.bound, event.lower_bound) if view.bounds else candidate.bound
            value = math.inf if event.value is None else event.value
            self._send(min(self.value, value), min(others, bound), event.solver)

        return listen

    def _tell(self, solver: str) -> None:
        """Record what is known now if it is more than before."""
        value = self.value if math.isfinite(self.value) else None
        bound = self.lower_bound
        last = self.history[-1] if self.history else None
        if last is not None and (last.value, last.lower_bound) == (value, bound):
            return
        if math.isfinite(bound):
            self.history.append(Event(self._elapsed, value, bound, solver))
            self._send(self.value, bound, solver)

    def _send(self, value: float, bound: float, solver: str) -> None:
        if self.on_progress is None or self._sent == (value, bound):
            return
        self._sent = value, bound
        shown = value if math.isfinite(value) else None
        self.on_progress(Progress(self._elapsed, shown, min(bound, value), solver, self.forced))

    @property
    def _elapsed(self) -> float:
        return time.monotonic() - self.started

    def result(self) -> Result:
        """Return the best answer: a schedule on its bundles, and the least of all bounds."""
        best = self.best
        if best is not None:
            assert best.schedule is not None
            require_feasible(best.problem, best.schedule)
            status = Status.OPTIMAL if self._reaches(self.lower_bound) else Status.FEASIBLE
            problem, reason = best.problem, ""
        else:
            none = self.candidates and all(math.isinf(c.bound) for c in self.candidates)
            status = Status.INFEASIBLE if none else Status.UNKNOWN
            problem, reason = self.base, self._why(status)
        return Result(
            problem=problem,
            status=status,
            schedule=None if best is None else best.schedule,
            lower_bound=self.lower_bound,
            solver=self.plan.solver,
            seed=self.plan.seed,
            runtime_s=self._elapsed,
            history=tuple(self.history),
            reason=reason,
            interrupted=self.interrupted or self.cancelled,
            notes=tuple(
                dict.fromkeys([*self.notes, *(best.notes if best else ()), *self._counts()])
            ),
            config=self.plan,
        )

    def _all_notes(self, best: Candidate | None) -> tuple[str, ...]:
        found = [*self.notes, *(best.notes if best is not None else ()), *self._counts()]
        return tuple(dict.fromkeys(found))

    def _why(self, status: Status) -> str:
        """Say why there is no schedule."""
        if status is Status.UNKNOWN:
            return (
                f"no schedule was found in any of {len(self.candidates)} ways to bundle; give more "
                "time"
            )
        first = self.candidates[0]
        if len(self.candidates) == 1:
            return first.reason
        return f"in none of {len(self.candidates)} ways to bundle; {_named(first)}: {first.reason}"

    def _counts(self) -> list[str]:
        """Note how many ways were looked at."""
        count = len(self.candidates)
        if count < 2:
            return []
        searched = sum(c.searched for c in self.candidates)
        dropped = sum(not c.searched and self._reaches(c.bound) for c in self.candidates)
        left = count - searched - dropped
        return [
            f"bundles: {count} ways, {searched} searched, {dropped} ruled out by bounds"
            + (f", {left} not looked at" if left else "")
        ]


def _named(candidate: Candidate) -> str:
    names = ", ".join(f"{bundle.id} ({bundle.mode.value})" for bundle in candidate.way)
    return names or "without bundles"
