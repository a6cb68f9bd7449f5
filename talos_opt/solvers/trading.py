"""A solve among others of its problem: it takes what they find, and tells what it has found."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from talos_opt.core.errors import TalosError
from talos_opt.core.normalised import Normalised
from talos_opt.core.schedule import Schedule
from talos_opt.solvers.engine.exchange import OTHERS, Exchange
from talos_opt.solvers.engine.run import Run

#: Seconds between two looks.
_TICK = 0.1


class Trader:
    """A thread between a run and its exchange.

    Parameters
    ----------
    run : Run
    shape : Normalised
        Between the run's problem and the user's.
    adopt, restore : callable
        Make a schedule of the user's problem one of the run's, None where that cannot be, and one
        of the run's one of the user's.
    exchange : Exchange
    """

    def __init__(
        self,
        run: Run,
        shape: Normalised,
        adopt: Callable[[Schedule], Schedule | None],
        restore: Callable[[Schedule], Schedule],
        exchange: Exchange,
    ) -> None:
        self._run, self._shape, self._exchange = run, shape, exchange
        self._adopt, self._restore = adopt, restore
        self._ended = threading.Event()
        self._told: Schedule | None = None
        self._told_bound = -math.inf
        self._error: TalosError | None = None

    @contextmanager
    def at_work(self) -> Iterator[None]:
        """Trade as long as the block runs.

        Raises
        ------
        InternalError
            If what others claim and what is known here contradict each other.
        """
        self._take()
        thread = threading.Thread(target=self._trade, name="talos_opt exchange", daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._ended.set()
            thread.join()
        if self._error is not None:
            raise self._error
        self._give()

    def _trade(self) -> None:
        while not self._ended.wait(_TICK):
            try:
                self._take()
                self._give()
            except TalosError as error:
                self._error = error
                self._run.cancel.set()
                return

    def _take(self) -> None:
        run, (schedule, bound) = self._run, self._exchange.take()
        if schedule is not None:
            adopted = self._adopt(schedule)
            if adopted is not None and run.offer(adopted, OTHERS):
                self._told = run.best
        if bound > self._told_bound:
            self._told_bound = bound
            run.raise_bound(self._shape.bound(bound), OTHERS)

    def _give(self) -> None:
        run = self._run
        best, bound = run.best, self._shape.value(run.lower_bound)
        if best is self._told and bound <= self._told_bound:
            return
        news = None if best is None or best is self._told else self._restore(best)
        self._told, self._told_bound = best, max(bound, self._told_bound)
        self._exchange.tell(news, bound)
