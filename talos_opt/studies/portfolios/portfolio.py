"""One problem, solved by several solvers on the workers of a Dask cluster, which help each other.

The client holds the best schedule and the best bound (`standings`): it checks what members send,
puts it up for all (`boards`), and ends them when the two meet.
"""

from __future__ import annotations

import math
import threading
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import cycle, islice
from typing import TYPE_CHECKING, Any

from talos_opt import api
from talos_opt.core import logs
from talos_opt.core.config import SolveConfig
from talos_opt.core.errors import InputError, SolverError, UnsupportedError
from talos_opt.core.problem import Problem
from talos_opt.core.result import Result, Status
from talos_opt.core.schedule import Schedule
from talos_opt.formats.graph_writer import document_of
from talos_opt.formats.schedule_document import bound_schedule
from talos_opt.studies.crews import remote
from talos_opt.studies.crews.crew import ALLOWANCE
from talos_opt.studies.crews.dask_link import DaskLink
from talos_opt.studies.crews.farm import count_by_host, explain_failure
from talos_opt.studies.portfolios.boards import ClientBoard
from talos_opt.studies.portfolios.news import News, pack_schedule, unpack_schedule
from talos_opt.studies.portfolios.standings import Standings
from talos_opt.studies.solving import make_request
from talos_opt.studies.store import FAILURES, unpack
from talos_opt.version import __version__

if TYPE_CHECKING:
    from talos_opt.solvers.engine.run import Progress

#: Who takes part beside `auto`, of those that cover the problem; then more of them, with other
#: seeds.
_OTHERS = ("cpsat", "fast", "lns", "relax", "pipeline")
#: From this size on these come to nothing.
_SMALL = 5_000
#: Members where there is no worker yet: an adaptive cluster grows by what waits.
_LEAST = 4
#: Seconds between two looks at the news.
_TICK = 0.1
#: Seconds to wait for a result that is there.
_FETCH = 5.0
#: Seconds that members may take to make a proven answer tidier, and beyond their time limit.
_POLISH, _BEYOND = 1.0, 5.0


@dataclass(frozen=True)
class Member:
    """One of the solves.

    Parameters
    ----------
    solver : str
    seed : int
    """

    solver: str
    seed: int

    def __str__(self) -> str:
        return f"{self.solver}, seed {self.seed}"


def line_up(problem: Problem, plan: SolveConfig, count: int) -> list[Member]:
    """Return who takes part.

    ``auto``, and other solvers, each with more seeds as there are more workers; where the plan
    names a solver, that one with as many seeds.

    Raises
    ------
    UnsupportedError
        If that solver does not cover the problem.
    """
    names: Sequence[str] = (plan.solver,)
    if plan.solver != "auto":
        if not api.covers(problem, plan):
            raise UnsupportedError(f"solver {plan.solver!r} does not cover the problem")
    elif problem.arrays.op_count <= _SMALL:
        names = ("auto", *(name for name in _OTHERS if _covers(problem, plan, name)))
    turns = islice(cycle(names), count)
    return [Member(name, plan.seed + k // len(names)) for k, name in enumerate(turns)]


def _covers(problem: Problem, plan: SolveConfig, name: str) -> bool:
    return api.covers(problem, plan.override(solver=name))


def solve_together(
    problem: Problem,
    plan: SolveConfig,
    link: DaskLink,
    *,
    warm_start: Schedule | None = None,
    on_progress: Callable[[Progress], None] | None = None,
    cancel: threading.Event | None = None,
) -> Result:
    """Solve a problem on all workers of a cluster.

    Parameters
    ----------
    problem : Problem
        Without bundles.
    plan : SolveConfig
        Each solve has its time limit.
    link : DaskLink
    warm_start : Schedule, optional
        A feasible schedule to start from.
    on_progress : callable, optional
        Called on every improvement.
    cancel : threading.Event, optional
        Set it, from another thread, to stop; the best schedule so far is returned.

    Returns
    -------
    Result
        The best schedule and the best bound of all; its schedule has passed `check` here.

    Raises
    ------
    InputError
        If devices are bundled, the plan has a worth, or the solver does not cover the problem.
    SolverError
        If the scheduler is gone or all solves have failed, and there is no schedule.
    InternalError
        If a solve broke a promise.
    """
    if problem.cluster.bundles or problem.bundling is not None:
        raise InputError("devices are bundled, expected none where workers solve together")
    if plan.worth > 0:
        raise InputError("worth is above 0, expected 0 where workers solve together")
    count = sum(link.nthreads().values()) or _LEAST
    members = line_up(problem, plan, count)

    def work(told: Callable[[Progress], None] | None) -> Result:
        together = _Together(problem, plan, link, members, told or (lambda event: None))
        if warm_start is not None:
            together.standings.offer(warm_start, "warm start", 0.0)
        try:
            together.begin()
            together.follow(cancel or threading.Event())
        finally:
            together.end()
        return together.result(interrupted=cancel is not None and cancel.is_set())

    return logs.solving(problem, plan, on_progress, work)


class _Together:
    """State of a portfolio at work."""

    def __init__(
        self,
        problem: Problem,
        plan: SolveConfig,
        link: DaskLink,
        members: list[Member],
        on_progress: Callable[[Progress], None],
    ) -> None:
        self.problem, self.plan, self.link, self.members = problem, plan, link, members
        self.on_progress = on_progress
        self.standings = Standings(problem)
        self.began = time.monotonic()
        self.notes: list[str] = []
        self.reasons: list[str] = []
        self.futures: dict[int, Any] = {}
        self.board: ClientBoard | None = None
        #: When the first member was heard of, and when it was proven that there is nothing left.
        self.heard = self.proven = math.inf

    @property
    def elapsed(self) -> float:
        return time.monotonic() - self.began

    def begin(self) -> None:
        """Hand the problem to all members."""
        name = f"talos_opt-{uuid.uuid4().hex}"
        self.board = ClientBoard(self.link.client, name, len(self.members))
        if self.standings.schedule is not None:
            self.board.post(News(self.standings.bound, pack_schedule(self.standings.schedule)))
        hosts, document = count_by_host(self.link), document_of(self.problem)
        for k, member in enumerate(self.members):
            request = make_request(
                document, objective=self.problem.objective.value, solver=member.solver,
                seed=member.seed, time_limit=self.plan.time_limit, threads=self.plan.workers,
            ) | {"shared": True, "options": self.plan.options}  # fmt: skip
            self.futures[k] = self.link.client.submit(
                remote.solve_member, __version__, hosts, remote.packed(request), name, k,
                key=f"{name}-{k}", pure=False,
            )  # fmt: skip

    def follow(self, cancel: threading.Event) -> None:
        """Take news until all members have ended, or it is time that they do."""
        assert self.board is not None
        while self.futures and not cancel.wait(_TICK) and not self.overdue():
            try:
                self.link.require_alive()
                for k, news in self._news():
                    self.take(k, news)
                for k in [k for k, future in self.futures.items() if future.done()]:
                    self.over(k)
            except SolverError as error:
                if self.standings.schedule is None:
                    raise
                self.notes.append(f"{error}; the answer is what was known until then")
                return
            if self.standings.proven:
                self.proven = min(self.proven, self.elapsed)

    def _news(self) -> list[tuple[int, News]]:
        assert self.board is not None
        try:
            return self.board.take()
        except Exception as error:
            raise self.link.lost() from error

    def overdue(self) -> bool:
        """Tell whether nothing more is expected of members that have not ended."""
        if self.standings.infeasible or self.elapsed > self.proven + _POLISH:
            return True
        late = self.elapsed - self.heard - self.plan.time_limit
        return late > (ALLOWANCE if self.standings.schedule is None else _BEYOND)

    def take(self, k: int, news: News) -> None:
        """Check what a member has found, and tell the others."""
        self.heard = min(self.heard, self.elapsed)
        schedule = None if news.schedule is None else unpack_schedule(news.schedule)
        self.keep(k, schedule, news.bound)

    def keep(self, k: int, schedule: Schedule | None, bound: float) -> None:
        assert self.board is not None
        who = str(self.members[k])
        before = self.standings.value
        kept = schedule is not None and self.standings.offer(schedule, who, self.elapsed)
        kept = kept and self.standings.value < before
        raised = self.standings.raise_bound(bound, who, self.elapsed)
        if kept or raised:
            best = self.standings.schedule
            packed = pack_schedule(best) if kept and best is not None else None
            try:
                self.board.post(News(self.standings.bound, packed))
            except Exception as error:
                raise self.link.lost() from error
            self.report(who)

    def over(self, k: int) -> None:
        """Take the last word of a member."""
        who = str(self.members[k])
        try:
            row = self.futures[k].result(timeout=_FETCH)
        except TimeoutError:
            return  # its worker died with it, and another one solves again
        except Exception as error:
            row = explain_failure(error)
        del self.futures[k]
        if row is None or isinstance(row, str):
            self.notes.append(f"{who}: {row or 'the Dask worker gave no answer'}")
            return
        if row["status"] in FAILURES:
            self.notes.append(f"{who}: {row['reason']}")
            return
        if row["status"] == Status.INFEASIBLE:
            self.standings.refute(row["reason"], who)
            return
        if row["reason"]:
            self.reasons.append(row["reason"])
        schedule = None
        if row["schedule"] is not None:
            schedule = bound_schedule(unpack(row["schedule"]), self.problem)
        bound = row["lower_bound"]
        self.keep(k, schedule, -math.inf if bound is None else bound)

    def report(self, who: str) -> None:
        from talos_opt.solvers.engine.run import Progress

        known = self.standings
        value = None if known.schedule is None else known.value
        self.on_progress(Progress(self.elapsed, value, known.bound, who, known.forced))

    def end(self) -> None:
        """End what members are at."""
        try:
            self.link.client.cancel(list(self.futures.values()))
        except Exception:  # the scheduler is gone, and so are they
            self.futures.clear()
        if self.board is not None:
            self.board.close()

    def result(self, *, interrupted: bool) -> Result:
        """Put together what is known.

        Raises
        ------
        SolverError
            If no member came to anything.
        """
        known = self.standings
        if known.infeasible:
            status, bound = Status.INFEASIBLE, math.inf
        elif known.schedule is None:
            if len(self.notes) == len(self.members):
                raise SolverError(f"all solves have failed: {self.notes[0]}")
            status, bound = Status.UNKNOWN, known.bound
        else:
            status = Status.OPTIMAL if known.proven else Status.FEASIBLE
            bound = known.bound
        reason = known.infeasible or (self.reasons or [""])[0]
        if status is Status.UNKNOWN and not reason:
            reason = "no schedule was found within the time limit"
        shared = f"{len(self.members)} solves on Dask: " + "; ".join(map(str, self.members[:8]))
        if len(self.members) > 8:
            shared += f"; and {len(self.members) - 8} more"
        result = Result(
            self.problem, status, known.schedule, bound, self.plan.solver, self.plan.seed,
            runtime_s=self.elapsed, history=tuple(known.history),
            notes=(shared, *dict.fromkeys(self.notes)), interrupted=interrupted, config=self.plan,
        )  # fmt: skip
        return result if known.schedule is not None else replace(result, reason=reason)
