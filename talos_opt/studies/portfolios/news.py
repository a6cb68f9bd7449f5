"""News between solves of one problem, as they travel: schedules and bounds as plain data."""

from __future__ import annotations

import math
import pickle
import threading
import zlib
from collections.abc import Callable
from dataclasses import dataclass

from talos_opt.core.schedule import Schedule
from talos_opt.solvers.engine.exchange import Exchange


@dataclass(frozen=True)
class News:
    """What a solve has found since it told last.

    Parameters
    ----------
    bound : float
        The best that it knows.
    schedule : bytes, optional
        Packed; None: none that is better.
    """

    bound: float = -math.inf
    schedule: bytes | None = None

    def then(self, later: News) -> News:
        """Return both as one."""
        return News(max(self.bound, later.bound), later.schedule or self.schedule)


def pack_schedule(schedule: Schedule) -> bytes:
    """Return a schedule as bytes, which only a process with the same problem can use."""
    return zlib.compress(pickle.dumps(schedule), 1)


def unpack_schedule(data: bytes) -> Schedule:
    """Return the schedule in `pack_schedule`'s bytes."""
    found = pickle.loads(zlib.decompress(data))
    assert isinstance(found, Schedule)
    return found


class Mailbox:
    """Where the process of a solve gets and leaves its news.

    Parameters
    ----------
    send : callable
        Takes `News` for the others.
    """

    def __init__(self, send: Callable[[News], object]) -> None:
        self._send = send
        self._lock = threading.Lock()
        self._early = News()
        self._exchange: Exchange | None = None

    def open(self) -> Exchange:
        """Return the exchange for the solve that begins, with what has come already."""
        with self._lock:
            self._exchange = Exchange(self._tell)
            _post(self._exchange, self._early)
            return self._exchange

    def deliver(self, news: News) -> None:
        """Take news from outside."""
        with self._lock:
            if self._exchange is None:
                self._early = self._early.then(news)
            else:
                _post(self._exchange, news)

    def _tell(self, schedule: Schedule | None, bound: float) -> None:
        self._send(News(bound, None if schedule is None else pack_schedule(schedule)))


def _post(exchange: Exchange, news: News) -> None:
    exchange.post(None if news.schedule is None else unpack_schedule(news.schedule), news.bound)
