"""Worker processes, one on each set of cores, and what comes from them."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, field
from functools import partial
from queue import Empty, Queue
from typing import Any

from talos_opt.studies.crews.children import Child
from talos_opt.studies.crews.crew import ALLOWANCE, LATE

#: How much more than the largest case so far has to be free, for another to begin beside others.
_MARGIN = 1.2


@dataclass
class _Busy:
    name: str
    seconds: float
    began: float = field(default_factory=time.monotonic)

    @property
    def late(self) -> bool:
        return time.monotonic() - self.began > self.seconds


class Pool:
    """Processes that solve one case each at a time; a `Crew`.

    Parameters
    ----------
    workers : int
    cores : sequence of int
        Those that the workers share out among them; each has at least one.
    """

    def __init__(self, workers: int, cores: list[int]) -> None:
        self.workers = workers
        self.threads: int | None = max(1, len(cores) // workers)
        self._cores = [
            [cores[(k * self.threads + i) % len(cores)] for i in range(self.threads)]
            for k in range(workers)
        ]
        self._children: dict[int, Child] = {}
        self._busy: dict[int, _Busy] = {}
        self._largest = 0
        self._events: Queue[tuple[int, Child, Any]] = Queue()

    def has_room(self) -> bool:
        """Tell whether a process is idle, and memory is free for a case as large as the largest."""
        if len(self._busy) >= self.workers:
            return False
        if not self._busy or not self._largest:
            return True
        free = available_memory()
        return free is None or free > _MARGIN * self._largest

    def begin(self, name: str, request: dict[str, Any]) -> None:
        """Give a case to a process that is idle, which is started where it is not there.

        Raises
        ------
        SolverError
            If no process can be started.
        """
        slot = next(k for k in range(self.workers) if k not in self._busy)
        child = self._children.get(slot)
        if child is None:
            # What it says comes with who it is: one that was ended on purpose is not listened to.
            said: Queue[Child] = Queue(1)
            child = Child(partial(self._hear, slot, said), self._cores[slot])
            said.put(child)
            self._children[slot] = child
        child.send(request)
        self._busy[slot] = _Busy(name, request["time_limit"] + ALLOWANCE)

    def receive(self, timeout: float) -> tuple[str, dict[str, Any] | str] | None:
        """Return the next case that is over; None where there is none yet."""
        for slot, item in list(self._busy.items()):
            if item.late:
                self._children.pop(slot).kill()
                return self._over(slot, LATE)
        try:
            slot, child, content = self._events.get(timeout=timeout)
        except Empty:
            return None
        if self._children.get(slot) is not child:
            return None
        if content is None:
            content = self._children.pop(slot).obituary()
        else:
            self._largest = max(self._largest, content.get("peak_bytes") or 0)
        return self._over(slot, content) if slot in self._busy else None

    def close(self) -> None:
        """End all workers, which have a moment to end what they started themselves."""
        for child in self._children.values():
            child.dismiss()
        for child in self._children.values():
            child.join()
        self._children.clear()
        self._busy.clear()

    def _over(self, slot: int, content: Any) -> tuple[str, dict[str, Any] | str]:
        return self._busy.pop(slot).name, content

    def _hear(self, slot: int, who: Queue[Child], content: Any) -> None:
        child = who.get()
        who.put(child)
        self._events.put((slot, child, content))


def available_memory() -> int | None:
    """Return the bytes that new work may use without swapping; None where unknown."""
    try:
        with open("/proc/meminfo", encoding="ascii") as file:
            for line in file:
                if line.startswith("MemAvailable:"):
                    return int(line.split()[1]) * 1024
    except (OSError, ValueError):
        pass
    return None


def own_cores() -> list[int]:
    """Return the numbers of the cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))
