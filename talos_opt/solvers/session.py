"""One solve, from the user's problem to the user's result.

Solvers see the problem normalised (`core/normalised`); what they find is put back in the user's
terms here. Here too is decided what an exception means: an expected limit of a backend is a note
beside the best schedule, a bug is an `InternalError` that carries it, and Ctrl-C an `Interrupted`.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace

from talos_opt.core import rounding
from talos_opt.core.config import SolveConfig
from talos_opt.core.errors import (
    DependencyError,
    InputError,
    InternalError,
    Interrupted,
    SolverError,
)
from talos_opt.core.feasibility import check, require_feasible
from talos_opt.core.gains import Rules
from talos_opt.core.machine import available_cores
from talos_opt.core.metrics import forced_value, objective_value
from talos_opt.core.normalised import Normalised
from talos_opt.core.problem import Problem
from talos_opt.core.relaxations import Explanation
from talos_opt.core.result import OPTIMALITY_TOLERANCE, Event, Result, Status
from talos_opt.core.schedule import Schedule
from talos_opt.core.simulator import MemoryDeadlockError, simulate
from talos_opt.solvers import bounds
from talos_opt.solvers.engine.base import Solver, Verdict
from talos_opt.solvers.engine.compilation import describe_keeping
from talos_opt.solvers.engine.exchange import Exchange
from talos_opt.solvers.engine.run import Progress, Run
from talos_opt.solvers.engine.warmup import TOO_LATE
from talos_opt.solvers.infeasibility.diagnosis import explain_infeasibility
from talos_opt.solvers.polish import consolidate, polish, reserve
from talos_opt.solvers.presolve import presolve
from talos_opt.solvers.shared.steps import value_step
from talos_opt.solvers.shared.whole_models import first_schedule
from talos_opt.solvers.trading import Trader

#: Share of the time limit that bounds by paths may take before a solver starts.
_BOUND_SHARE = 0.1
#: Polishing again is taken to need so many times what it needed first.
_MARGIN = 1.5
#: Seconds for which it is worth to let a solver go on after polishing.
_WORTH_S = 0.1
#: Reason of a solver that has found a schedule which nobody can check (`Run.is_blurred`).
_BLURRED = "what was found cannot be checked: times are too large for the shortest ops"
#: Why there is no schedule, of a solver that found none and did not say why.
NO_REASON = "the solver gave no reason"
#: Seconds that explaining infeasibility may take at least, even where the time limit is over.
EXPLAIN_S = 2.0


class Cancel(threading.Event):
    """An event that counts as set if a caller's is, and does not set that one.

    Parameters
    ----------
    outer : threading.Event, optional
        The caller's.
    """

    def __init__(self, outer: threading.Event | None) -> None:
        super().__init__()
        self._outer = outer

    def is_set(self) -> bool:
        """Tell whether either event is set."""
        return super().is_set() or (self._outer is not None and self._outer.is_set())


class Session:
    """Runs one solver on one problem and answers for what comes of it.

    Parameters
    ----------
    problem : Problem
        The user's.
    plan : SolveConfig
    on_progress : callable, optional
        Called with a `Progress` in the user's terms, from solver threads.
    cancel : threading.Event, optional
        The caller's; it is only looked at.
    started : float
        `time.monotonic` value that the time limit counts from.
    exchange : Exchange, optional
        With other solves of the problem.
    """

    def __init__(
        self,
        problem: Problem,
        plan: SolveConfig,
        *,
        on_progress: Callable[[Progress], None] | None,
        cancel: threading.Event | None,
        started: float,
        exchange: Exchange | None = None,
    ) -> None:
        if problem.is_pipelined:
            problem.require_pipeline()
        self.problem, self.plan = problem, plan
        self.presolved = presolve(problem)
        self.shape = Normalised.of(self.presolved.problem)
        self.forced = forced_value(problem)
        self.warm: Schedule | None = None
        self.on_progress = on_progress
        #: What the caller's `on_progress` raised: his to deal with, and no bug of a solver.
        self.callers_error: Exception | None = None
        #: Whether kernels were still being compiled in the end.
        self.unfinished = False
        self.run = Run(
            self.shape.problem,
            time_limit=plan.time_limit,
            seed=plan.seed,
            workers=plan.workers or available_cores(),
            on_progress=None if on_progress is None else self._tell,
            cancel=Cancel(cancel),
            started=started,
        )
        self.trader = None
        if exchange is not None:
            self.trader = Trader(self.run, self.shape, self.adopted, self.restored, exchange)
        if self.presolved.describe():
            self.run.note(self.presolved.describe())

    def start_from(self, schedule: Schedule) -> None:
        """Take a feasible schedule of the user's problem as the first incumbent.

        Rounding may keep it from being one of the normalised problem; then one like it starts,
        and the answer is still no worse than the given one.
        """
        self.warm = schedule
        adopted = self.adopted(schedule)
        if adopted is not None:
            self.run.offer(adopted, "warm start")

    def adopted(self, schedule: Schedule) -> Schedule | None:
        """Return a feasible schedule of the user's problem, or one like it, as solvers see it."""
        problem = self.shape.problem
        adopted = self.shape.adopt(self.presolved.adopt(schedule))
        if not check(problem, adopted):
            return adopted
        try:
            return simulate(problem, adopted.device, adopted.start)
        except MemoryDeadlockError:
            return None

    def restored(self, schedule: Schedule) -> Schedule:
        """Return a schedule as solvers see it in the user's terms."""
        found = self.presolved.restore(self.shape.restore(schedule))
        frozen = self.problem.frozen
        return found if frozen is None else frozen.impose(found)

    def solve(self, solver: Solver) -> Verdict:
        """Run a solver after the first bounds.

        Raises
        ------
        InputError, DependencyError
        SolverError, MemoryError
            If a backend failed and there is no schedule to return.
        InternalError
            If a solver broke a promise: carries the best checked result.
        Interrupted
            On Ctrl-C: carries the best checked result.
        """
        run, root = self.run, self.run.forced
        try:
            self._first_bounds()
            root = run.lower_bound
            with nullcontext() if self.trader is None else self.trader.at_work():
                return self._search(solver)
        except KeyboardInterrupt:
            verdict = Verdict(Status.UNKNOWN, "interrupted before a schedule was found")
            raise self._interruption(verdict) from None
        except (InputError, DependencyError):
            raise
        except ImportError as error:
            raise DependencyError(f"solver {solver.name!r} cannot import it: {error}") from error
        except (SolverError, MemoryError) as error:
            if run.best is None:
                raise
            what = "out of memory" if isinstance(error, MemoryError) else str(error)
            run.note(f"{solver.name} ended early: {what}")
            return Verdict(Status.FEASIBLE)
        except Exception as error:
            if error is self.callers_error:
                raise
            # The last claims of a solver that broke a promise are not passed on.
            run.withdraw_bound(root)
            blurred = run.best is not None and run.is_blurred(run.best)
            if isinstance(error, InternalError) and blurred:
                return Verdict(Status.FEASIBLE)  # which is noted with the result
            raise self._fault(error, solver.name) from error
        finally:
            self.unfinished = run.kernels.compiling
            run.kernels.close()

    def _first_bounds(self) -> None:
        """Raise the bounds that need no search: all of the quick one, the other as time allows."""
        run = self.run
        run.count_in(value_step(run.problem))
        run.raise_bound(bounds.quick_bound(run.problem, lambda: run.stopped), "bounds")
        part = run.limited(_BOUND_SHARE * run.remaining)
        run.raise_bound(bounds.path_bound(run.problem, lambda: part.stopped), "bounds")

    def _offer_first(self) -> None:
        """Offer a schedule that takes no search: time ran out before there was one."""
        schedule = first_schedule(self.run.problem)
        if schedule is not None:
            self.run.offer(schedule, "whole models")
            why = "the run was cancelled" if self.run.cancel.is_set() else "time ran out"
            self.run.note(f"{why} before there was a schedule: whole models were placed one by one")

    def _search(self, solver: Solver) -> Verdict:
        """Let a solver search, then consolidate what it has found, or polish an exact answer."""
        run, worth = self.run, self.plan.worth
        # Moves of single ops, which these are about, seldom leave a pipeline.
        finished = (solver.exact or worth > 0) and not run.problem.is_pipelined
        if worth > 0 and not finished:
            run.note("worth has no effect on pipelines")
            worth = 0.0
        kept_s = reserve(run.problem, run.remaining) if finished else 0.0
        part = run.limited(run.remaining - kept_s)
        verdict = solver.solve(run.problem, part)
        if not isinstance(verdict, Verdict):
            raise TypeError(f"solve returned {verdict!r}, expected a Verdict")
        if not isinstance(verdict.status, Status):
            raise TypeError(f"its status is {verdict.status!r}, expected a Status")
        if verdict.status is Status.INFEASIBLE:
            return verdict
        if run.best is None and verdict.status is Status.UNKNOWN and part.stopped:
            self._offer_first()
        if worth > 0:
            found = consolidate(run.problem, run, worth)
            if found is not None:
                best, unit = self.shape.value(found.best), self.problem.graph.time_unit
                run.note(found.describe(f"{best:.6g} {unit}"))
        elif finished:
            self._polish(solver)
        return verdict

    def _polish(self, solver: Solver) -> None:
        """Polish over ties; what that leaves of the time goes to the solver once more."""
        run = self.run
        began = run.clock()
        polish(run.problem, run)
        kept_s = _MARGIN * (run.clock() - began)
        if run.proven or run.remaining < kept_s + _WORTH_S:
            return
        solver.go_on(run.problem, run.limited(run.remaining - kept_s))
        polish(run.problem, run)

    def conclude(self, verdict: Verdict, *, explain: bool) -> Result:
        """Return the result, with what would make an infeasible problem feasible.

        Raises
        ------
        Interrupted
            On Ctrl-C: carries the result without that.
        """
        try:
            return self.result(verdict, explain=explain)
        except KeyboardInterrupt:
            raise self._interruption(verdict) from None

    def _interruption(self, verdict: Verdict) -> Interrupted:
        self.run.cancel.set()
        interrupted = Interrupted("interrupted; the best answer so far is in .result")
        interrupted.result = self.result(verdict)
        return interrupted

    def _fault(self, error: Exception, name: str) -> InternalError:
        if isinstance(error, InternalError):
            fault = error
        else:
            fault = InternalError(f"{type(error).__name__} in solver {name!r}: {error}")
        reason = "a bug ended the search before a schedule was found"
        fault.result = self.result(Verdict(Status.UNKNOWN, reason))
        return fault

    # ---- in the user's terms ---------------------------------------------------------------

    def _tell(self, event: Progress) -> None:
        assert self.on_progress is not None
        value = None if event.value is None else self.shape.value(event.value)
        bound = self._bound(event.value, event.lower_bound)
        try:
            self.on_progress(replace(event, value=value, lower_bound=bound, forced=self.forced))
        except Exception as error:
            self.callers_error = error
            raise

    def _bound(self, value: float | None, bound: float) -> float:
        """Return a bound in the user's terms, never above the value beside it."""
        found = self.shape.value(bound)
        return found if value is None else min(found, self.shape.value(value))

    def _schedule(self) -> Schedule | None:
        """Return the best schedule in the user's terms; it passes `check` there too."""
        if self.run.best is None:
            return self.warm
        found = self.restored(self.run.best)
        frozen = self.problem.frozen
        if self.shape.origin > 0 or self.presolved.counts or frozen is not None:
            require_feasible(self.problem, found)
        if self.warm is None or self.run.settled:
            return found
        warm = objective_value(self.problem, self.warm)
        return self.warm if warm < objective_value(self.problem, found) else found

    def result(self, verdict: Verdict, *, explain: bool = False) -> Result:
        """Put together what is known.

        Parameters
        ----------
        verdict : Verdict
            Of the solver.
        explain : bool
            Find out what would make an infeasible problem feasible.
        """
        run, schedule = self.run, self._schedule()
        if schedule is not None:
            status = Status.OPTIMAL if self._proven(schedule) else Status.FEASIBLE
        else:
            status = verdict.status if verdict.status is Status.INFEASIBLE else Status.UNKNOWN
        why_not = verdict.reason or (NO_REASON if run.best is None else _BLURRED)
        reason, runtime_s = "" if schedule is not None else why_not, run.elapsed
        explanation = None
        if status is Status.INFEASIBLE and explain:
            explanation = self._explain()
            if explanation is not None:
                reason = f"{reason}. To make it feasible: {explanation}"
        self._note_compiling()
        if schedule is not None:
            latest, unit = schedule.makespan, self.problem.graph.time_unit
            warning = rounding.lost_digits(self.problem.arrays, latest, unit)
            if warning:
                run.note(warning)
        return Result(
            problem=self.problem,
            status=status,
            schedule=schedule,
            lower_bound=self._lower_bound(status, schedule),
            solver=self.plan.solver,
            seed=self.plan.seed,
            runtime_s=runtime_s,
            history=tuple(self._event(event) for event in run.history),
            reason=reason,
            interrupted=run.cancel.is_set(),
            notes=tuple(run.notes),
            explanation=explanation,
            config=self.plan,
            rules=self._rules(),
        )

    def _rules(self) -> Rules:
        """Return what the rules that were run came to."""
        ids = self.problem.device_ids
        found = self.run.rules.items()
        return Rules(self.problem, {name: (self.shape.value(v), ids[d]) for name, (v, d) in found})

    def _proven(self, schedule: Schedule) -> bool:
        """Whether nothing is better: proven, or as early as floats after late releases can tell."""
        return self.run.proven or objective_value(self.problem, schedule) <= self.forced

    def _note_compiling(self) -> None:
        spent = self.run.clock.held
        if spent > 0:
            kept = describe_keeping()
            once = f"; {kept}" if kept else "" if self.unfinished else ", once on this machine"
            self.run.note(f"compiling kernels took {spent:.1f} s beside the limit{once}")
            if self.unfinished and self.run.clock.exhausted:
                self.run.note(TOO_LATE)

    def _lower_bound(self, status: Status, schedule: Schedule | None) -> float:
        if status is Status.INFEASIBLE:
            return float("inf")
        bound = self.shape.value(self.run.lower_bound)
        if schedule is None:
            return bound
        value = objective_value(self.problem, schedule)
        # A bound that only rounding keeps from the value is the value. It may have been lowered
        # more than once on its way here.
        allowed = 4 * rounding.sum_error(self.problem.arrays.op_count) * (value - self.forced)
        allowed += 2 * rounding.ULPS * rounding.spacing(value)
        if status is Status.OPTIMAL:
            return value if value - bound <= allowed else min(bound, value)
        # What is not proven has a gap, though the digits of a late origin may not show it.
        shown = value - OPTIMALITY_TOLERANCE * (value - self.forced)
        return min(bound, math.nextafter(shown, -math.inf))

    def _event(self, event: Event) -> Event:
        value = None if event.value is None else self.shape.value(event.value)
        return replace(event, value=value, lower_bound=self._bound(event.value, event.lower_bound))

    def _explain(self) -> Explanation | None:
        """Find out what would make the problem feasible; whatever fails, the verdict stands."""
        run = self.run
        if run.cancel.is_set() or self.problem.frozen is not None:
            return None
        try:
            return explain_infeasibility(
                self.problem,
                seconds=max(EXPLAIN_S, run.remaining),
                seed=run.seed,
                workers=run.workers,
                cancel=run.cancel,
            )
        except (DependencyError, SolverError) as error:
            run.note(f"what would make the problem feasible could not be determined: {error}")
        return None
