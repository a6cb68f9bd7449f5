"""A process that solves cases, as its parent sees it."""

from __future__ import annotations

import pickle
import signal
import subprocess
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

from talos_opt.core.errors import SolverError
from talos_opt.solvers.engine.background import start_python

#: Seconds that a process has to end by itself.
_GRACE = 1.0


class Child:
    """A running `talos_opt.studies.crews.worker`.

    Parameters
    ----------
    hear : callable
        Called from a thread with each message: a row, or news of a solve under way; and once with
        None when there are no more, as the process has ended.
    cores : sequence of int
        On which it may run; empty: on all.

    Raises
    ------
    SolverError
        If no process can be started.
    """

    def __init__(self, hear: Callable[[Any], object], cores: Sequence[int] = ()) -> None:
        try:
            self._process = start_python(
                "talos_opt.studies.crews.worker",
                "main",
                ",".join(map(str, cores)),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
            )
        except OSError as error:
            raise SolverError(f"no process can be started for the cases: {error}") from error
        threading.Thread(target=self._listen, args=(hear,), daemon=True).start()

    @property
    def pid(self) -> int:
        """Number of the process."""
        return self._process.pid

    def send(self, message: object) -> None:
        """Hand over a request, or news for the solve under way."""
        assert self._process.stdin is not None
        with suppress(BrokenPipeError, OSError):  # that it is gone shows in what it answers
            pickle.dump(message, self._process.stdin)
            self._process.stdin.flush()

    def kill(self) -> None:
        """End the process now."""
        self._close()
        self._process.kill()
        self._process.wait()

    def dismiss(self) -> None:
        """Ask the process to end, and what it has started itself; do not wait for it."""
        self._close()

    def join(self) -> int:
        """Wait until a process ends that was dismissed, or kill it; return its exit code."""
        try:
            return self._process.wait(_GRACE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return self._process.wait()

    def obituary(self) -> str:
        """Say how the process ended, which it has."""
        self._close()
        code = self.join()
        if code >= 0:
            return f"the worker process ended with exit code {code}"
        name = signal.Signals(-code).name if -code in set(signal.Signals) else str(-code)
        hint = ", as it does where memory runs out" if name == "SIGKILL" else ""
        return f"the worker process was ended by {name}{hint}"

    def _listen(self, hear: Callable[[Any], object]) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as stream:
            while True:
                try:
                    hear(pickle.load(stream))
                except Exception:  # its end, or half a row: either way there is no more
                    hear(None)
                    return

    def _close(self) -> None:
        assert self._process.stdin is not None
        with suppress(BrokenPipeError, OSError):
            self._process.stdin.close()
