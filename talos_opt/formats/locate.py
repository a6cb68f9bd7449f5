"""From the JSON path of a value to its line in the text: for error messages only."""

from __future__ import annotations

from yaml import events as ev

from talos_opt.core.errors import FormatError
from talos_opt.core.plain import join
from talos_opt.formats.yaml_text import line_of, read_events, resolve

_STARTS = (ev.MappingStartEvent, ev.SequenceStartEvent)
_ENDS = (ev.MappingEndEvent, ev.SequenceEndEvent)


class _Frame:
    """A mapping or list on the way, and the path of its next value."""

    __slots__ = ("count", "is_list", "key", "path")

    def __init__(self, path: str, *, is_list: bool) -> None:
        self.path = path
        self.is_list = is_list
        self.count = 0
        self.key: tuple[str, int] | None = None  # path and line of a key whose value is next


def find_line(text: str, path: str) -> int | None:
    """Return the one-based line of the value that a JSON path leads to.

    Parameters
    ----------
    text : str
        YAML, or JSON, which nearly always is YAML too.
    path : str
        Such as ``models[0].ops[3].time.cpu``. Where there is no such value (a missing key), the
        line of the nearest value around it.

    Returns
    -------
    int or None
        None if the text cannot be parsed or nothing on the way to the path is in it.
    """
    best: tuple[int, int] | None = None  # length of the path that was found, its line
    frames: list[_Frame] = []
    try:
        for event in read_events(text):
            if isinstance(event, _ENDS):
                frames.pop()
                continue
            if not isinstance(event, (*_STARTS, ev.ScalarEvent, ev.AliasEvent)):
                continue
            node = _enter(frames, event)
            if node is None:
                continue
            here, line = node
            if _leads(here, path) and (best is None or len(here) > best[0]):
                best = (len(here), line)
            if here == path and here:
                return line
            if isinstance(event, _STARTS):
                frames.append(_Frame(here, is_list=isinstance(event, ev.SequenceStartEvent)))
    except FormatError:  # no line is better than a second error about a text that was read
        return None
    return best[1] if best is not None and best[0] > 0 else None


def _enter(frames: list[_Frame], event: ev.Event) -> tuple[str, int] | None:
    """Return path and line of the value that an event begins; None for a mapping's key."""
    if not frames:
        return "", line_of(event)
    frame = frames[-1]
    if frame.is_list:
        frame.count += 1
        return f"{frame.path}[{frame.count - 1}]", line_of(event)
    if frame.key is None:
        frame.key = (join(frame.path, _key(event)), line_of(event))
        return None
    node, frame.key = frame.key, None
    return node


def _key(event: ev.Event) -> str:
    if isinstance(event, ev.AliasEvent):
        return f"*{event.anchor}"
    if not isinstance(event, ev.ScalarEvent):
        raise FormatError("a key is not text")
    return str(resolve(event.value)) if event.implicit[0] else str(event.value)


def _leads(here: str, path: str) -> bool:
    """Whether the value at `here` is, or holds, the one at `path`."""
    return path.startswith(here) and (not here or path[len(here) : len(here) + 1] in ("", ".", "["))
