"""A thread for each device, there before the first job and the same for every one.

What a thread keeps for itself (intra-op threads, handles of CUDA libraries) so belongs to one
device. Only queues pass between the threads and whoever runs them, since they survive a Ctrl-C at
any moment.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Iterable
from queue import SimpleQueue

#: What a thread does next; None: it ends.
Job = Callable[[], None] | None


class Workers:
    """Threads by name; they end when this is dropped.

    Parameters
    ----------
    names : iterable of str
    start : callable
        Called in each thread before any job.
    """

    def __init__(self, names: Iterable[str], start: Callable[[], None]) -> None:
        self._jobs: dict[str, SimpleQueue[Job]] = {name: SimpleQueue() for name in names}
        ready: SimpleQueue[None] = SimpleQueue()
        for name, jobs in self._jobs.items():
            threading.Thread(
                target=_serve, args=(jobs, start, ready), name=f"device {name}", daemon=True
            ).start()
        for _ in self._jobs:
            ready.get()
        weakref.finalize(self, _end, tuple(self._jobs.values()))

    def put(self, name: str, job: Callable[[], None]) -> None:
        """Have a job done by a thread, after those that it has; it must not raise."""
        self._jobs[name].put(job)


def _serve(jobs: SimpleQueue[Job], start: Callable[[], None], ready: SimpleQueue[None]) -> None:
    start()
    ready.put(None)
    while (job := jobs.get()) is not None:
        job()
        del job  # with all that it holds, before the next one is waited for


def _end(queues: Iterable[SimpleQueue[Job]]) -> None:
    for jobs in queues:
        jobs.put(None)
