"""A study from its first case to its last: what is solved next, and what is kept."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from talos_opt.core.problem import Objective
from talos_opt.studies.cases import Case
from talos_opt.studies.chains import list_chains, relaxes
from talos_opt.studies.crews.crew import Crew
from talos_opt.studies.solving import make_request
from talos_opt.studies.store import FAILURES, Store

#: Seconds between two looks at the clock and the cancel flag.
_TICK = 0.1


@dataclass
class Tally:
    """What became of the cases so far.

    Parameters
    ----------
    total, done, solved : int
        Different cases; those with a result; those of them that this run solved.
    failed : int
        Among the solved.
    solve_s, elapsed_s : float
        Sum of the solvers' own times, and the time of the run.
    workers : int
        How many cases can be solved at the same time just now.
    """

    total: int = 0
    done: int = 0
    solved: int = 0
    failed: int = 0
    solve_s: float = 0.0
    elapsed_s: float = 0.0
    workers: int = 0


@dataclass
class _Chain:
    """Cases that follow each other, and how many of them are over."""

    cases: list[Case]
    over: int = 0


def run_study(
    cases: Sequence[Case],
    store: Store,
    crew: Crew,
    *,
    pieces: int = 1,
    retry: bool = False,
    cancel: threading.Event | None = None,
    on_progress: Callable[[Tally], None] | None = None,
    warm_starts: bool = True,
) -> Tally:
    """Let a crew solve the cases that have no result, and keep each result as it comes.

    Parameters
    ----------
    cases : sequence of Case
    store : Store
        Has planned them.
    crew : Crew
    pieces : int
        Lines of neighbours are cut into at least as many where the cases suffice.
    retry : bool
        Solve what failed before once more.
    cancel : threading.Event, optional
        Set it, from another thread, to stop; cases under way are given up.
    on_progress : callable, optional
        Called with the tally after each case, and when the number of workers changes.
    warm_starts : bool
        Let cases start from their neighbours.

    Raises
    ------
    TalosError
        If the crew cannot go on; what is finished is kept.
    """
    runner = _Runner(cases, store, crew, pieces, retry, warm_starts)
    return runner.run(cancel or threading.Event(), on_progress or (lambda tally: None))


class _Runner:
    """State of one run."""

    def __init__(
        self,
        cases: Sequence[Case],
        store: Store,
        crew: Crew,
        pieces: int,
        retry: bool,
        warm_starts: bool,
    ) -> None:
        self.store, self.crew, self.warm_starts = store, crew, warm_starts
        self.finished = store.finished(retry=retry)
        first: dict[str, Case] = {}
        for case in cases:
            first.setdefault(case.fingerprint, case)
        distinct = list(first.values())
        self.chains = deque(_Chain(chain) for chain in list_chains(distinct, pieces))
        self.busy: dict[str, _Chain] = {}
        self.began: dict[str, float] = {}
        done = sum(case.fingerprint in self.finished for case in distinct)
        self.tally = Tally(total=len(distinct), done=done, workers=crew.workers)

    def run(self, cancel: threading.Event, on_progress: Callable[[Tally], None]) -> Tally:
        began = time.monotonic()
        on_progress(self.tally)
        while not cancel.is_set() and (self.dispatch() or self.busy):
            event = self.crew.receive(_TICK)
            self.tally.elapsed_s = time.monotonic() - began
            workers, self.tally.workers = self.tally.workers, self.crew.workers
            if event is not None and event[0] in self.busy:
                self.take(*event)
            elif workers == self.tally.workers:
                continue
            on_progress(self.tally)
        self.tally.elapsed_s = time.monotonic() - began
        return self.tally

    def dispatch(self) -> bool:
        """Hand over cases as long as there is room; tell whether any is waiting still."""
        while self.crew.has_room():
            chain = self.next_chain()
            if chain is None:
                return False
            name = chain.cases[chain.over].fingerprint
            self.store.start(name)
            self.busy[name], self.began[name] = chain, time.monotonic()
            self.crew.begin(name, self.request(chain))
        return bool(self.chains)

    def next_chain(self) -> _Chain | None:
        """Take the next chain that has a case to solve; it comes back when that is over."""
        while self.chains:
            chain = self.chains.popleft()
            while chain.over < len(chain.cases):
                if chain.cases[chain.over].fingerprint not in self.finished:
                    return chain
                chain.over += 1
        return None

    def request(self, chain: _Chain) -> dict[str, Any]:
        case = chain.cases[chain.over]
        request = make_request(
            case.document, objective=case.objective, solver=case.solver, seed=case.seed,
            time_limit=case.time_limit, threads=self.crew.threads,
        )  # fmt: skip
        if not (self.warm_starts and chain.over):
            return request
        before = chain.cases[chain.over - 1]
        row = self.store.result(before.fingerprint)
        if row is None or row["status"] in FAILURES:
            return request
        wanted = ("fingerprint", "status", "lower_bound", "schedule")
        return request | {
            "neighbour": {name: row[name] for name in wanted},
            # A share of the memory is measured by what is there.
            "relaxed": case.objective != Objective.MEMORY
            and relaxes(before.document, case.document),
        }

    def take(self, name: str, outcome: dict[str, Any] | str) -> None:
        """Keep what became of a case, and let its chain go on."""
        chain, began = self.busy.pop(name), self.began.pop(name)
        if isinstance(outcome, str):
            outcome = {
                "status": "crashed", "reason": outcome, "wall_s": time.monotonic() - began,
                "threads": self.crew.threads,
            }  # fmt: skip
        self.store.finish(name, outcome)
        self.finished.add(name)
        self.tally.done += 1
        self.tally.solved += 1
        self.tally.failed += outcome["status"] in FAILURES
        self.tally.solve_s += outcome.get("runtime_s") or 0.0
        self.chains.appendleft(chain)
