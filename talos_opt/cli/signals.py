"""Ctrl-C and SIGTERM: the first asks for the best schedule so far, the second ends immediately."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any, TypeVar

from talos_opt.cli import exits

T = TypeVar("T")

#: Seconds between two looks at the solver's thread; a signal is handled within this time.
TICK = 0.1

#: What a signal leaves of a solve.
SCHEDULE = "the best schedule so far"


class Signals:
    """Handlers for the signals that ask the process to stop.

    While the command reads its input, they end it. While `run` has a solver at work, the first
    one sets the event that stops the solver, so that the best schedule can be written, and the
    next one ends the process.
    """

    def __init__(self) -> None:
        self.cancel = threading.Event()
        self._working = False
        self._kept = SCHEDULE
        self._previous: dict[int, Any] = {}

    @property
    def interrupted(self) -> bool:
        """Whether a signal asked the solver to stop."""
        return self.cancel.is_set()

    def __enter__(self) -> Signals:
        if threading.current_thread() is threading.main_thread():
            numbers = [signal.SIGINT, signal.SIGTERM]
            # Under nohup a lost terminal must not stop the run.
            hang_up = getattr(signal, "SIGHUP", None)
            if hang_up is not None and signal.getsignal(hang_up) != signal.SIG_IGN:
                numbers.append(hang_up)
            for number in numbers:
                self._previous[number] = signal.signal(number, self._handle)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def run(self, work: Callable[[], T], tick: Callable[[], None], kept: str = SCHEDULE) -> T:
        """Do `work` in a thread and return its result; `kept` is what a signal leaves of it.

        The main thread only waits, in short steps: Python handles signals there, and a solver
        deep in compiled code would hold them up. `tick` is called at every step.
        """
        outcome: list[T] = []
        failure: list[BaseException] = []

        def target() -> None:
            try:
                outcome.append(work())
            except BaseException as error:  # raised again below, in the main thread
                failure.append(error)

        self._working, self._kept = True, kept
        thread = threading.Thread(target=target, name="solve", daemon=True)
        thread.start()
        while thread.is_alive():
            thread.join(TICK)
            tick()
        if failure:
            raise failure[0]
        return outcome[0]

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if not self._working:
            raise KeyboardInterrupt
        if self.cancel.is_set():
            os._exit(exits.INTERRUPTED)
        self.cancel.set()
        # The buffered streams may be in the middle of a write, so not through them.
        text = f"\nstopping: {self._kept} follows (again: quit immediately)\n"
        os.write(2, text.encode())
