"""The events of a trace in Chrome's format, checked and brought into one form.

Begins and ends (ph B, E) become complete events, as most profilers write at once (ph X); flows,
counters and the like are passed over.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NoReturn

from talos_opt.core import units
from talos_opt.core.errors import FormatError
from talos_opt.formats.source import Source
from talos_opt.formats.text import require_few_values

#: How the files of a newer profiler of TensorFlow's end.
XPLANE = ".xplane.pb"
#: What makes JSON of them; docs/profiling.md has an example.
HOW_TO_CONVERT = "xprof.convert.raw_to_tool_data"


@dataclass(slots=True, eq=False)
class Slice:
    """A complete event, or a begin with its end.

    Parameters
    ----------
    where : str
        JSON path of the event, or of its begin.
    name : str
    category : str
        In lower case.
    pid, tid : str
        Process and thread; numbers as text.
    start, duration : float
        Microseconds.
    args : mapping
    outer : Slice, optional
        The outermost slice of its thread that holds it; filled in by whoever nests slices.
    """

    where: str
    name: str
    category: str
    pid: str
    tid: str
    start: float
    duration: float
    args: Mapping[str, Any]
    outer: Slice | None = field(default=None, repr=False)

    @property
    def end(self) -> float:
        """Microseconds; where times count from long ago, `duration` is more exact."""
        return self.start + self.duration

    def __str__(self) -> str:
        return f"{self.name!r} ({self.start:.3f} to {self.end:.3f} us)"


def load_events(file: Source) -> list[Any]:
    """Return the list of events of a trace; see `load_trace`."""
    return load_trace(file)[0]


def load_trace(file: Source) -> tuple[list[Any], Mapping[str, Any]]:
    """Return the events of a trace, and what the file says beside them.

    The bare list may lack its closing bracket, says the format; it says nothing beside.

    Raises
    ------
    FormatError
        If the file is not JSON, or holds no such list.
    """
    refuse_xplane(file)
    text = file.text
    require_few_values(text)
    try:
        document = json.loads(text)
    except json.JSONDecodeError as error:
        document = None
        if text.lstrip().startswith("["):
            try:
                document = json.loads(text.rstrip().rstrip(",") + "]")
            except json.JSONDecodeError:
                document = None
        if document is None:
            raise FormatError(
                f"is not valid JSON: {error.msg} at column {error.colno}", line=error.lineno
            ) from None
    except RecursionError:
        raise FormatError("is nested too deeply") from None
    events = document.get("traceEvents") if isinstance(document, dict) else document
    if not isinstance(events, list):
        raise FormatError("is not a trace, expected a list of traceEvents")
    return events, document if isinstance(document, dict) else {}


def refuse_xplane(file: Source) -> None:
    """Refuse what TensorFlow's and JAX's profilers write now, and say how to convert it.

    Raises
    ------
    FormatError
        If the file is one of these.
    """
    if file.path is None or not file.path.name.lower().endswith(XPLANE):
        return
    name = file.path.name
    raise FormatError(
        f"is an xplane file, which only its own tools read, expected JSON: {HOW_TO_CONVERT} "
        f"writes it ('pip install xprof' brings the converter): text, _ = "
        f"raw_to_tool_data.xspace_to_tool_data([{name!r}], 'trace_viewer', {{}})"
    )


@dataclass(frozen=True)
class RowNames:
    """Names of the rows of a trace; numbers as text.

    Parameters
    ----------
    processes : dict of str to str
        By process.
    threads : dict of (str, str) to str
        By process and thread.
    labels : dict of str to str
        What is said of a process beside its name, by process: ``GPU 0``.
    """

    processes: dict[str, str]
    threads: dict[tuple[str, str], str]
    labels: dict[str, str] = field(default_factory=dict)


def row_names(events: Iterable[Any]) -> RowNames:
    """Return what the metadata events call processes and threads."""
    names = RowNames({}, {})
    for event in events:
        if not isinstance(event, dict) or event.get("ph") != "M":
            continue
        args = event.get("args")
        pid = str(event.get("pid", ""))
        if event.get("name") == "process_labels" and isinstance(args, dict):
            names.labels[pid] = str(args.get("labels") or "")
        name = args.get("name") if isinstance(args, dict) else None
        if not name:
            continue
        if event.get("name") == "process_name":
            names.processes[pid] = str(name)
        elif event.get("name") == "thread_name":
            names.threads[pid, str(event.get("tid", ""))] = str(name)
    return names


def slices_of(events: Sequence[Any]) -> Iterator[Slice]:
    """Yield complete events, and begins with their ends, as slices.

    Raises
    ------
    FormatError
        If a time is not a number or a duration negative, or a begin lacks its end or an end its
        begin; names the event.
    """
    begun: dict[tuple[str, str], list[Slice]] = {}
    for k, event in enumerate(events):
        where = f"traceEvents[{k}]"
        if not isinstance(event, dict):
            raise FormatError(f"is {units.describe(event)}, expected an event", path=where)
        phase = event.get("ph")
        if phase == "X":
            yield _slice(event, where, _duration(event, where))
        elif phase == "B":
            opened = _slice(event, where, 0.0)
            begun.setdefault((opened.pid, opened.tid), []).append(opened)
        elif phase == "E":
            key = (str(event.get("pid", "")), str(event.get("tid", "")))
            if not begun.get(key):
                raise FormatError("an end (E) without a begin (B) in its thread", path=where)
            yield _ended(begun[key].pop(), _number(event, "ts", where))
    for left in begun.values():
        if left:
            raise FormatError(f"{left[-1].name!r} begins (B) and never ends", path=left[-1].where)


def _slice(event: Mapping[str, Any], where: str, duration: float) -> Slice:
    start = _number(event, "ts", where)
    args = event.get("args")
    return Slice(
        where=where,
        name=str(event.get("name", "")),
        category=str(event.get("cat", "")).lower(),
        pid=str(event.get("pid", "")),
        tid=str(event.get("tid", "")),
        start=start,
        duration=duration,
        args=args if isinstance(args, dict) else {},
    )


def _ended(begun: Slice, end: float) -> Slice:
    if end < begun.start:
        _refuse_negative(begun.name, end - begun.start, begun.where)
    begun.duration = end - begun.start
    return begun


def _duration(event: Mapping[str, Any], where: str) -> float:
    duration = _number(event, "dur", where)
    if duration < 0:
        _refuse_negative(str(event.get("name", "")), duration, where)
    return duration


def _refuse_negative(name: str, duration: float, where: str) -> NoReturn:
    raise FormatError(
        f"{name!r} takes {duration:g} us, expected a duration of at least 0", path=where
    )


def _number(event: Mapping[str, Any], key: str, where: str) -> float:
    value = event.get(key)
    if isinstance(value, str):  # some writers quote their numbers
        try:
            value = float(value)
        except ValueError:
            value = None
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise FormatError(
            f"{key} of {event.get('name', '')!r} is {units.describe(event.get(key))}, "
            "expected a number of microseconds",
            path=where,
        )
    return float(value)
