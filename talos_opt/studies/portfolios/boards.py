"""The board at the scheduler through which the solves of a portfolio share what they find.

Each solve hands its news to the client, in a queue that holds a few for each. The client puts up
what has passed its check, in two variables: a small one, which all solves look at, and the
schedule, which they read when it has changed.
"""

from __future__ import annotations

import math
import pickle
from contextlib import suppress
from importlib import import_module
from typing import Any

from talos_opt.studies.portfolios.news import News

#: News in the queue for each member of a portfolio.
_EACH = 4
#: Seconds to wait for the scheduler.
_PATIENCE = 10


class ClientBoard:
    """The client's side.

    Parameters
    ----------
    client : distributed.Client
    name : str
    members : int
    """

    def __init__(self, client: Any, name: str, members: int) -> None:
        dask: Any = import_module("distributed")
        self._queue = dask.Queue(f"{name}-news", client=client, maxsize=_EACH * members)
        self._head = dask.Variable(f"{name}-head", client=client)
        self._schedule = dask.Variable(f"{name}-schedule", client=client)
        self._number = 0
        self.post(News())

    def post(self, news: News) -> None:
        """Put up the best bound, and a new best schedule if there is one."""
        if news.schedule is not None:
            self._number += 1
            self._schedule.set(news.schedule)
        self._head.set([self._number, None if math.isinf(news.bound) else news.bound])

    def take(self) -> list[tuple[int, News]]:
        """Return what the members have handed in."""
        return [(member, pickle.loads(data)) for member, data in self._queue.get(batch=True)]

    def close(self) -> None:
        """Take the board down."""
        with suppress(Exception):  # with the scheduler it is gone too
            for item in (self._head, self._schedule):
                item.delete()
            self._queue.close()


class WorkerBoard:
    """A member's side, in the thread of its task."""

    def __init__(self, name: str, member: int) -> None:
        dask: Any = import_module("distributed")
        client = dask.get_client()
        self._queue = dask.Queue(f"{name}-news", client=client)
        self._head = dask.Variable(f"{name}-head", client=client)
        self._schedule = dask.Variable(f"{name}-schedule", client=client)
        self._member, self._seen = member, (0, -math.inf)
        self._waiting, self._told_bound = News(), -math.inf

    def put(self, news: News) -> None:
        """Hand in what is new; where the queue is full, later."""
        self._waiting = self._waiting.then(news)
        if self._waiting.schedule is None and self._waiting.bound <= self._told_bound:
            return
        with suppress(TimeoutError):
            self._queue.put((self._member, pickle.dumps(self._waiting)), timeout=_PATIENCE)
            self._told_bound, self._waiting = self._waiting.bound, News(self._waiting.bound)

    def get(self) -> News | None:
        """Return what is new on the board; None if nothing is."""
        number, bound = self._head.get(timeout=_PATIENCE)
        bound = -math.inf if bound is None else bound
        before, self._seen = self._seen, (number, bound)
        if self._seen == before:
            return None
        schedule = self._schedule.get(timeout=_PATIENCE) if number != before[0] else None
        return News(bound, schedule)

    def close(self) -> None:
        """Leave the board."""
        with suppress(Exception):  # a scheduler that is gone needs no goodbye
            self._queue.close()
