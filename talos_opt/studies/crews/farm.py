"""The workers of a Dask cluster as those who solve the cases of a study."""

from __future__ import annotations

import time
import uuid
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from queue import Empty, Queue
from typing import Any

from talos_opt.core.errors import ConfigError
from talos_opt.studies.crews import remote
from talos_opt.studies.crews.dask_link import DaskLink
from talos_opt.version import __version__

#: Cases under way for each that can be solved at the same time: one waits at each worker.
_AHEAD = 2
#: Cases under way where there are fewer workers, or none yet: an adaptive cluster grows by what
#: waits.
_LEAST = 4
#: How often a case is handed over again after Dask gave it up, since workers died that had it.
_RETRIES = 3
#: Seconds between two looks at who is there.
_LOOK = 1.0
#: What Dask says where the scheduler or a worker does not find what is to be called.
_DIFFERS = "Error during deserialization"
#: Results that are fetched at the same time: one that a dying worker took along holds up no other.
_FETCHES = 8


class Farm:
    """Dask workers; a `Crew`.

    Never are more than a few cases for each worker under way. A case whose worker dies is solved
    by another one.

    Parameters
    ----------
    link : DaskLink
        It stays open.
    """

    threads: int | None = None  # each worker has its own cores

    def __init__(self, link: DaskLink) -> None:
        self._link = link
        # Not the tasks of a client before this one, which the scheduler may still know.
        self._name = f"talos_opt-{uuid.uuid4().hex}"
        self._payloads: dict[str, bytes] = {}
        self._attempts: Counter[str] = Counter()
        self._futures: dict[str, Any] = {}
        self._events: Queue[tuple[str, Any, Any]] = Queue()
        self._fetchers = ThreadPoolExecutor(_FETCHES, thread_name_prefix="talos_opt")
        self._hosts: dict[str, int] = {}
        self._looked = -_LOOK
        self._look()

    @property
    def workers(self) -> int:
        """How many cases can be solved at the same time just now."""
        return sum(self._hosts.values())

    def has_room(self) -> bool:
        """Tell whether another case may be handed over."""
        return len(self._futures) < max(_LEAST, _AHEAD * self.workers)

    def begin(self, name: str, request: dict[str, Any]) -> None:
        """Hand over a case.

        Raises
        ------
        SolverError
            If the scheduler is gone.
        """
        self._payloads[name] = remote.packed(request)
        self._submit(name)

    def receive(self, timeout: float) -> tuple[str, dict[str, Any] | str] | None:
        """Return the next case that is over; None where there is none yet.

        Raises
        ------
        SolverError
            If the scheduler is gone.
        ConfigError
            If a worker has joined that has another version of the package, or none.
        """
        self._look()
        try:
            name, future, outcome = self._events.get(timeout=timeout)
        except Empty:
            return None
        if self._futures.get(name) is not future:
            return None
        if isinstance(outcome, (dict, str)):
            self._forget(name)
            return name, outcome
        return self._failed(name, outcome)

    def close(self) -> None:
        """Give up the cases under way."""
        futures, self._futures = list(self._futures.values()), {}
        with suppress(Exception):  # if the scheduler is gone, so are they
            self._link.client.cancel(futures)
        self._fetchers.shutdown(wait=False, cancel_futures=True)

    def _look(self) -> None:
        self._link.require_alive()
        if time.monotonic() - self._looked < _LOOK:
            return
        self._hosts = count_by_host(self._link)
        self._looked = time.monotonic()

    def _submit(self, name: str) -> None:
        self._attempts[name] += 1
        try:
            future = self._link.client.submit(
                remote.solve_case, __version__, self._hosts, self._payloads[name],
                key=f"{self._name}-{name}-{self._attempts[name]}", pure=False,
            )  # fmt: skip
        except Exception as error:
            raise self._link.lost() from error
        self._futures[name] = future
        future.add_done_callback(partial(self._fetch, name))

    def _fetch(self, name: str, future: Any) -> None:
        with suppress(RuntimeError):  # closed meanwhile
            self._fetchers.submit(self._get, name, future)

    def _get(self, name: str, future: Any) -> None:
        try:
            self._events.put((name, future, future.result()))
        except Exception as error:
            self._events.put((name, future, error))

    def _forget(self, name: str) -> None:
        del self._futures[name], self._payloads[name]

    def _failed(self, name: str, error: object) -> tuple[str, str] | None:
        """Hand a case over again where it was not its fault; tell what became of it otherwise."""
        self._link.require_alive()
        said = "the Dask worker gave no answer"
        if isinstance(error, Exception):
            said = explain_failure(error)
        if self._attempts[name] <= _RETRIES:
            self._submit(name)
            return None
        self._forget(name)
        return name, said


def count_by_host(link: DaskLink) -> dict[str, int]:
    """Return how many cases can be solved at the same time on each host.

    Raises
    ------
    SolverError
        If the scheduler is gone.
    """
    from distributed.comm.addressing import get_address_host

    hosts: Counter[str] = Counter()
    for address, threads in link.nthreads().items():
        hosts[get_address_host(address)] += threads
    return dict(hosts)


def explain_failure(error: Exception) -> str:
    """Say why a task has failed.

    Raises
    ------
    ConfigError
        If workers and client do not have the same package: the others would fail too.
    """
    from distributed import KilledWorker

    if isinstance(error, ConfigError):
        raise error
    if isinstance(error, ImportError) or _DIFFERS in str(error):
        text = str(error).partition("\n")[0]
        raise ConfigError(
            "scheduler, workers and client have to have the same talos_opt, but the scheduler or "
            f"a worker cannot load this one: {text}"
        ) from error
    if isinstance(error, KilledWorker):
        return "one worker after the other died while it had the case"
    return f"the Dask worker failed: {type(error).__name__}: {error}"
