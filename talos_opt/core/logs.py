"""What happens, for whoever listens: events on the logger ``talos_opt`` of the standard library.

Each record has an ``event`` and ``fields``, a dict of plain values, beside its message. Nobody
hears them, and nothing is computed for them, until somebody sets a level and a handler.
"""

from __future__ import annotations

import json
import logging
import math
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

if TYPE_CHECKING:
    from talos_opt.core.config import SolveConfig
    from talos_opt.core.problem import Problem
    from talos_opt.core.result import Result

NAME = "talos_opt"
LOGGER = logging.getLogger(NAME)
LOGGER.addHandler(logging.NullHandler())

_muted = ContextVar("_muted", default=False)


class _Progress(Protocol):
    """What a search reports, as `talos_opt.Progress` has it."""

    @property
    def time_s(self) -> float: ...
    @property
    def value(self) -> float | None: ...
    @property
    def lower_bound(self) -> float: ...
    @property
    def solver(self) -> str: ...
    @property
    def gap(self) -> float | None: ...


P = TypeVar("P", bound=_Progress)


def tell(event: str, message: str, level: int = logging.INFO, **fields: Any) -> None:
    """Log an event.

    Parameters
    ----------
    event : str
        Its name, by which programs find it.
    message : str
        For a person.
    level : int
    **fields
        Plain values; numbers that are not finite become None.
    """
    if not LOGGER.isEnabledFor(level):
        return
    plain = {name: _plain(value) for name, value in fields.items()}
    LOGGER.log(level, "%s", message, extra={"event": event, "fields": plain})


def _plain(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value


@contextmanager
def muted() -> Iterator[None]:
    """Keep solves that are no answer of their own, such as baselines, out of the log."""
    token = _muted.set(True)
    try:
        yield
    finally:
        _muted.reset(token)


def solving(
    problem: Problem,
    plan: SolveConfig,
    on_progress: Callable[[P], None] | None,
    solve: Callable[[Callable[[P], None] | None], Result],
) -> Result:
    """Solve, and log that: its start, each incumbent, its notes and its end.

    Parameters
    ----------
    problem : Problem
    plan : SolveConfig
    on_progress : callable, optional
        The caller's.
    solve : callable
        Takes what is to be told of the progress.
    """
    if _muted.get() or not LOGGER.isEnabledFor(logging.ERROR):
        return solve(on_progress)
    about: dict[str, Any] = {"graph": problem.graph.name, "objective": problem.objective.value}
    tell(
        "start", f"{problem.graph.name}: solving with {plan.solver}", **about, solver=plan.solver,
        ops=problem.graph.op_count, devices=len(problem.device_ids),
        time_unit=problem.graph.time_unit, time_limit_s=plan.time_limit, seed=plan.seed,
    )  # fmt: skip
    best = math.inf

    def report(seen: P) -> None:
        nonlocal best
        if on_progress is not None:
            on_progress(seen)
        known: dict[str, Any] = {
            **about, "solver": seen.solver, "time_s": seen.time_s, "value": seen.value,
            "lower_bound": seen.lower_bound, "gap": seen.gap,
        }  # fmt: skip
        if seen.value is not None and seen.value < best:
            best = seen.value
            tell("incumbent", f"{seen.value:g} by {seen.solver}", **known)
        else:
            tell("bound", f"{seen.lower_bound:g} by {seen.solver}", logging.DEBUG, **known)

    try:
        result = solve(report if LOGGER.isEnabledFor(logging.INFO) else on_progress)
    except BaseException as error:
        what = f"{type(error).__name__}: {error}"
        tell("failed", f"{problem.graph.name}: {what}", logging.ERROR, **about, error=what)
        raise
    for note in result.notes:
        tell("note", note, **about)
    value = "no schedule" if result.value is None else f"{result.value:g}"
    tell(
        "end", f"{problem.graph.name}: {result.status.value}, {value}", **about,
        solver=result.solver, status=result.status.value, value=result.value,
        lower_bound=result.lower_bound, gap=result.gap, runtime_s=result.runtime_s,
        interrupted=result.interrupted, reason=result.reason,
    )  # fmt: skip
    return result


class JsonLines(logging.Formatter):
    """One JSON object a line: ``time`` (ISO 8601, UTC), ``level``, ``event``, ``message``, more."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line of a record."""
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "event": getattr(record, "event", "message"),
            "message": record.getMessage(),
        }
        return json.dumps(line | getattr(record, "fields", {}), ensure_ascii=False)


class Text(logging.Formatter):
    """Time (ISO 8601, local, with its offset), level, event and message; fields as NAME=VALUE."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line of a record."""
        time = datetime.fromtimestamp(record.created).astimezone().isoformat(timespec="seconds")
        fields: dict[str, Any] = getattr(record, "fields", {})
        shown = " ".join(
            f"{name}={f'{value:.6g}' if isinstance(value, float) else value}"
            for name, value in fields.items()
            if not (value is None or value is False or value == "")
        )
        event = getattr(record, "event", "message")
        text = f"{time} {record.levelname} {event}: {record.getMessage()}"
        line = f"{text} ({shown})" if shown else text
        return "".join(c if c.isprintable() else repr(c)[1:-1] for c in line)


class _OnceEach(logging.Filter):
    """Drops a note that has been written: a command prints those of a solve, which logs them."""

    def __init__(self) -> None:
        super().__init__()
        self._seen: set[str] = set()

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether a record is to be written."""
        if getattr(record, "event", "") != "note":
            return True
        text, known = record.getMessage(), len(self._seen)
        self._seen.add(text)
        return len(self._seen) > known


class LogFile(logging.FileHandler):
    """Appends to a file until that fails, as on a full disk: a log is not worth an answer.

    Attributes
    ----------
    failure : str
        Why it ended early; empty if it did not.
    """

    failure = ""

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record."""
        if not self.failure:
            super().emit(record)

    def handleError(self, record: logging.LogRecord) -> None:
        """Note why a record was not written."""
        self._end(sys.exc_info()[1])

    def close(self) -> None:
        """Close the file; what could not be written is lost."""
        try:
            super().close()
        except OSError as error:
            self._end(error)

    def _end(self, error: BaseException | None) -> None:
        what = getattr(error, "strerror", None) or str(error)
        self.failure = self.failure or what


@contextmanager
def into_file(path: str, form: str = "text") -> Iterator[LogFile]:
    """Append what happens to a file, meanwhile.

    Parameters
    ----------
    path : str
    form : {'text', 'json'}

    Raises
    ------
    OSError
        If the file cannot be written.
    """
    # What is no text, as of a file name, is escaped as JSON does.
    handler = LogFile(path, encoding="utf-8", errors="backslashreplace")
    handler.setFormatter(JsonLines() if form == "json" else Text())
    handler.addFilter(_OnceEach())
    level = LOGGER.level
    LOGGER.addHandler(handler)
    LOGGER.setLevel(logging.INFO)
    try:
        yield handler
    finally:
        LOGGER.setLevel(level)
        LOGGER.removeHandler(handler)
        handler.close()
