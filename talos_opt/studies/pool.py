"""Worker processes, one on each set of cores, and what comes from them."""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import threading
from contextlib import suppress
from queue import Empty, Queue
from typing import Any

from talos_opt.core.errors import SolverError
from talos_opt.solvers.engine.background import start_python

#: Seconds that a worker has to end by itself.
_GRACE = 1.0


class Pool:
    """Processes that solve one case each at a time.

    Parameters
    ----------
    workers : int
    cores : sequence of int
        Those that the workers share out among them; each has at least one.
    """

    def __init__(self, workers: int, cores: list[int]) -> None:
        self.size = workers
        self.threads = max(1, len(cores) // workers)
        self._cores = [
            [cores[(k * self.threads + i) % len(cores)] for i in range(self.threads)]
            for k in range(workers)
        ]
        self._processes: dict[int, subprocess.Popen[bytes]] = {}
        self._events: Queue[tuple[int, int, Any]] = Queue()

    def send(self, slot: int, request: dict[str, Any]) -> None:
        """Give a case to a worker, which is started where it is not there.

        Raises
        ------
        SolverError
            If no process can be started.
        """
        process = self._processes.get(slot) or self._start(slot)
        assert process.stdin is not None
        with suppress(BrokenPipeError, OSError):  # that it is gone shows in what it answers
            pickle.dump(request, process.stdin)
            process.stdin.flush()

    def receive(self, timeout: float) -> tuple[int, dict[str, Any] | str] | None:
        """Return the next worker that has a row, or how it ended; None where there is none yet."""
        try:
            slot, number, content = self._events.get(timeout=timeout)
        except Empty:
            return None
        process = self._processes.get(slot)
        if process is None or process.pid != number:
            return None  # of a worker that was ended on purpose
        if content is None:
            return slot, self._bury(slot)
        return slot, content

    def end(self, slot: int) -> None:
        """End a worker; the next case starts another."""
        process = self._processes.pop(slot, None)
        if process is not None:
            _close(process)
            process.kill()
            process.wait()

    def close(self) -> None:
        """End all workers, which have a moment to end what they started themselves."""
        for process in self._processes.values():
            _close(process)
        for process in self._processes.values():
            try:
                process.wait(_GRACE)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self._processes.clear()

    def _start(self, slot: int) -> subprocess.Popen[bytes]:
        cores = ",".join(map(str, self._cores[slot]))
        try:
            process = start_python(
                "talos_opt.studies.worker",
                "main",
                cores,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
            )
        except OSError as error:
            raise SolverError(f"no process can be started for the cases: {error}") from error
        self._processes[slot] = process
        threading.Thread(target=self._listen, args=(slot, process), daemon=True).start()
        return process

    def _listen(self, slot: int, process: subprocess.Popen[bytes]) -> None:
        assert process.stdout is not None
        with process.stdout as stream:
            while True:
                try:
                    self._events.put((slot, process.pid, pickle.load(stream)))
                except Exception:  # its end, or half a row: either way there is no more
                    self._events.put((slot, process.pid, None))
                    return

    def _bury(self, slot: int) -> str:
        process = self._processes.pop(slot)
        _close(process)
        try:
            code = process.wait(_GRACE)
        except subprocess.TimeoutExpired:
            process.kill()
            code = process.wait()
        if code >= 0:
            return f"the worker process ended with exit code {code}"
        name = signal.Signals(-code).name if -code in set(signal.Signals) else str(-code)
        hint = ", as it does where memory runs out" if name == "SIGKILL" else ""
        return f"the worker process was ended by {name}{hint}"


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


def _close(process: subprocess.Popen[bytes]) -> None:
    assert process.stdin is not None
    with suppress(BrokenPipeError, OSError):
        process.stdin.close()
