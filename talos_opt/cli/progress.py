"""The live line on a terminal: time, best value, bound, gap, solver. Silent when piped."""

from __future__ import annotations

import os
import sys
import time
from types import TracebackType
from typing import TYPE_CHECKING, Self

from talos_opt.reports.texts.tables import percent, quantity, visible

if TYPE_CHECKING:
    from talos_opt.solvers.engine.run import Progress

_ERASE = "\r\x1b[K"

#: Seconds between two drawings of the line.
INTERVAL = 0.2

#: Characters of a bar.
BAR = 24


class ProgressLine:
    """One line on standard error that is drawn over and over while a solver runs.

    Solver threads call `update`; only the thread that calls `draw` writes.

    Parameters
    ----------
    time_limit : float
        Seconds of one solve.
    unit : str
        Time unit of the values.
    """

    def __init__(self, time_limit: float, unit: str = "") -> None:
        self.enabled = sys.stderr.isatty() and os.environ.get("TERM") != "dumb"
        self.time_limit = time_limit
        self.unit = unit
        self.title = ""
        self._latest: Progress | None = None
        self._began = time.monotonic()
        self._drawn = 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.clear()

    def begin(self, title: str, unit: str) -> None:
        """Start over for the next solve of a series."""
        self.title, self.unit = title, unit
        self._latest, self._began = None, time.monotonic()

    def update(self, progress: Progress) -> None:
        """Take what a solver reports; safe from any thread."""
        self._latest = progress

    def draw(self) -> None:
        """Draw the line if it is due."""
        now = time.monotonic()
        if not self.enabled or now - self._drawn < INTERVAL:
            return
        self._drawn = now
        self._write(_ERASE + visible(self.text(now - self._began))[: _width() - 1])

    def text(self, elapsed: float) -> str:
        """Return the line for this many seconds since the start."""
        parts = [self.title] if self.title else []
        parts.append(f"{elapsed:.1f} of {self.time_limit:g} s")
        latest = self._latest
        if latest is None or latest.value is None:
            parts.append("no schedule yet")
        else:
            parts.append(f"best {quantity(latest.value, self.unit)}")
        if latest is not None:
            parts.append(f"bound {quantity(latest.lower_bound, self.unit)}")
            if latest.gap is not None:
                parts.append(f"gap {percent(latest.gap)}")
            parts.append(latest.solver)
        return "  ".join(parts)

    def clear(self) -> None:
        """Take the line away, so that other text can follow."""
        if self.enabled and self._drawn:
            self._write(_ERASE)

    def _write(self, text: str) -> None:
        try:
            sys.stderr.write(text)
            sys.stderr.flush()
        except OSError:  # the terminal is gone; the solve goes on without it
            self.enabled = False


class ProgressBar(ProgressLine):
    """A bar for work whose end is known: the share that is done, and what is being done."""

    def __init__(self) -> None:
        super().__init__(0.0)
        self._state = (0.0, "")

    def report(self, share: float, doing: str) -> None:
        """Take how far the work is; safe from any thread."""
        self._state = (min(1.0, max(0.0, share)), doing)

    def show(self, share: float, doing: str) -> None:
        """Take how far the work is, and draw it, where nothing else draws now and then."""
        self.report(share, doing)
        self.draw()

    def text(self, elapsed: float) -> str:
        """Return the line for this many seconds since the start."""
        share, doing = self._state
        done = round(share * BAR)
        return f"[{'#' * done}{'.' * (BAR - done)}] {share:4.0%}  {elapsed:.1f} s  {doing}"


def _width() -> int:
    """Columns of the terminal behind standard error; it may have none, or be gone."""
    try:
        return os.get_terminal_size(sys.stderr.fileno()).columns or 80
    except OSError:
        return 80
