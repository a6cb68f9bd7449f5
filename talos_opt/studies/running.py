"""A study from its first case to its last: what is solved next, by whom, and what is kept."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from talos_opt.core.problem import Objective
from talos_opt.studies.cases import Case
from talos_opt.studies.chains import list_chains, relaxes
from talos_opt.studies.pool import Pool, available_memory, own_cores
from talos_opt.studies.solving import make_request
from talos_opt.studies.store import FAILURES, Store

#: Seconds between two looks at the clock and the cancel flag.
_TICK = 0.1

#: Seconds that a case may take beyond its limit, to read it and to compile kernels.
ALLOWANCE = 120.0

#: How much more than the largest case so far has to be free, for another to begin beside others.
_MARGIN = 1.2


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
    """

    total: int = 0
    done: int = 0
    solved: int = 0
    failed: int = 0
    solve_s: float = 0.0
    elapsed_s: float = 0.0


@dataclass
class _Chain:
    """Cases that follow each other, and how many of them are over."""

    cases: list[Case]
    over: int = 0


@dataclass
class _Busy:
    chain: _Chain
    case: Case
    began: float = field(default_factory=time.monotonic)


def run_study(
    cases: Sequence[Case],
    store: Store,
    *,
    workers: int = 1,
    retry: bool = False,
    cancel: threading.Event | None = None,
    on_progress: Callable[[Tally], None] | None = None,
    warm_starts: bool = True,
) -> Tally:
    """Solve the cases that have no result in processes, and keep each result as it comes.

    Parameters
    ----------
    cases : sequence of Case
    store : Store
        Has planned them.
    workers : int
        Processes; the machine's cores are shared out among them.
    retry : bool
        Solve what failed before once more.
    cancel : threading.Event, optional
        Set it, from another thread, to stop; cases under way are given up.
    on_progress : callable, optional
        Called with the tally after each case.
    warm_starts : bool
        Let cases start from their neighbours.
    """
    runner = _Runner(cases, store, workers, retry, warm_starts)
    return runner.run(cancel or threading.Event(), on_progress or (lambda tally: None))


class _Runner:
    """State of one run."""

    def __init__(
        self, cases: Sequence[Case], store: Store, workers: int, retry: bool, warm_starts: bool
    ) -> None:
        self.store, self.warm_starts = store, warm_starts
        self.finished = store.finished(retry=retry)
        first: dict[str, Case] = {}
        for case in cases:
            first.setdefault(case.fingerprint, case)
        distinct = list(first.values())
        self.pool = Pool(max(1, min(workers, len(distinct))), own_cores())
        self.chains = deque(_Chain(chain) for chain in list_chains(distinct, self.pool.size))
        self.busy: dict[int, _Busy] = {}
        self.largest = 0
        done = sum(case.fingerprint in self.finished for case in distinct)
        self.tally = Tally(total=len(distinct), done=done)

    def run(self, cancel: threading.Event, on_progress: Callable[[Tally], None]) -> Tally:
        began = time.monotonic()
        on_progress(self.tally)
        try:
            while not cancel.is_set() and (self.dispatch() or self.busy):
                event = self.pool.receive(_TICK)
                self.tally.elapsed_s = time.monotonic() - began
                if event is not None and event[0] in self.busy:
                    self.take(*event)
                    on_progress(self.tally)
                for slot in [slot for slot, item in self.busy.items() if _is_late(item)]:
                    self.pool.end(slot)
                    self.take(slot, f"the case was not over {ALLOWANCE:g} s after its time limit")
                    on_progress(self.tally)
        finally:
            self.pool.close()
        self.tally.elapsed_s = time.monotonic() - began
        return self.tally

    def dispatch(self) -> bool:
        """Give a case to each worker that is free; tell whether any is waiting still."""
        for slot in range(self.pool.size):
            if slot in self.busy or not self.has_room():
                continue
            chain = self.next_chain()
            if chain is None:
                return False
            case = chain.cases[chain.over]
            self.store.start(case.fingerprint)
            self.pool.send(slot, self.request(chain))
            self.busy[slot] = _Busy(chain, case)
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

    def has_room(self) -> bool:
        """Tell whether another case may begin: memory is free for one as large as the largest."""
        if not self.busy or not self.largest:
            return True
        free = available_memory()
        return free is None or free > _MARGIN * self.largest

    def request(self, chain: _Chain) -> dict[str, Any]:
        case = chain.cases[chain.over]
        request = make_request(
            case.document, objective=case.objective, solver=case.solver, seed=case.seed,
            time_limit=case.time_limit, threads=self.pool.threads,
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

    def take(self, slot: int, outcome: dict[str, Any] | str) -> None:
        """Keep what became of a case, and let its chain go on."""
        item = self.busy.pop(slot)
        if isinstance(outcome, str):
            wall = time.monotonic() - item.began
            outcome = {
                "status": "crashed", "reason": outcome, "wall_s": wall,
                "threads": self.pool.threads,
            }  # fmt: skip
        self.store.finish(item.case.fingerprint, outcome)
        self.finished.add(item.case.fingerprint)
        self.largest = max(self.largest, outcome.get("peak_bytes") or 0)
        self.tally.done += 1
        self.tally.solved += 1
        self.tally.failed += outcome["status"] in FAILURES
        self.tally.solve_s += outcome.get("runtime_s") or 0.0
        self.chains.appendleft(item.chain)


def _is_late(item: _Busy) -> bool:
    return time.monotonic() - item.began > item.case.time_limit + ALLOWANCE
