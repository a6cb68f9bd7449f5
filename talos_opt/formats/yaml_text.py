"""YAML text to plain data, by the core schema of YAML 1.2.

Built from the parser's events rather than by PyYAML's constructor: that takes 20 times as long,
follows YAML 1.1 (``no`` is false, ``12:30`` is 750, ``1e9`` is text), keeps the last of duplicate
keys, and recurses. Here nothing recurses, and an alias shares what its anchor holds.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any

import yaml
from yaml import events as ev

from talos_opt.core import units
from talos_opt.core.errors import FormatError

#: libyaml's parser where PyYAML was built with it, else the same parser in Python.
LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

MAX_DEPTH = 64

#: Most values that aliases may stand for: nested aliases double a text's content line by line.
MAX_ALIASED = 5_000_000

#: Most values of a text: YAML takes seconds for a million, which JSON reads at once.
MAX_VALUES = 2**23

_SPECIAL: dict[str, object] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
    **dict.fromkeys((".inf", ".Inf", ".INF", "+.inf", "+.Inf", "+.INF"), float("inf")),
    **dict.fromkeys(("-.inf", "-.Inf", "-.INF"), float("-inf")),
    **dict.fromkeys((".nan", ".NaN", ".NAN"), float("nan")),
}
_NUMBER_START = frozenset("+-.0123456789")
_INT = re.compile(r"[-+]?[0-9]{1,300}")
_BASED = re.compile(r"0(?:o[0-7]{1,300}|x[0-9a-fA-F]{1,300})")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")

_STR_TAGS = ("!", "tag:yaml.org,2002:str")
_COLLECTION_TAGS = ("!", "tag:yaml.org,2002:map", "tag:yaml.org,2002:seq")

#: What a mapping's frame waits for: a key, or what its key ``<<`` merges into it.
_NO_KEY = object()
_MERGE = object()


@lru_cache(maxsize=4096)  # most scalars are the same few keys and words
def resolve(text: str) -> object:
    """Return what a plain scalar stands for: None, a boolean, a number, or the text itself."""
    if text in _SPECIAL:
        return _SPECIAL[text]
    if text[0] in _NUMBER_START:
        if _INT.fullmatch(text):
            return int(text)
        if _FLOAT.fullmatch(text):
            return float(text)
        if _BASED.fullmatch(text):
            return int(text, 0)
    return text


def parse_yaml(text: str) -> object:
    """Return the plain data in a YAML text of one document.

    Raises
    ------
    FormatError
        On broken YAML, a tag, a key that is not text, a duplicate key, aliases that stand for
        themselves or for too much, too deep nesting, or several documents; names the line.
    """
    builder = _Builder()
    handlers = builder.handlers
    for event in read_events(text):
        handlers[type(event)](event)
    if not builder.finished:
        raise FormatError("holds no YAML document, only comments")
    return builder.root


def _too_deep(line: int | None) -> FormatError:
    return FormatError(f"is nested deeper than {MAX_DEPTH} levels", line=line)


def read_events(text: str) -> Iterator[ev.Event]:
    """Yield the parser's events; raise `FormatError` where the text is no YAML."""
    loader = None
    try:
        loader = LOADER(text)
        while loader.check_event():
            yield loader.get_event()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = None if mark is None else mark.line + 1
        problem = error.problem or "syntax error"
        if "nesting depth" in problem:  # libyaml's own limit: its scanner runs ahead of ours
            raise _too_deep(line) from None
        context = f" {error.context}" if error.context else ""
        raise FormatError(f"is not valid YAML: {problem}{context}", line=line) from None
    except yaml.reader.ReaderError as error:
        raise FormatError(
            f"is not valid YAML: character {error.character!r} is not allowed",
            line=_line_of(text, error.character),
        ) from None
    finally:
        if loader is not None:
            loader.dispose()


def line_of(event: Any) -> int:
    """Return the one-based line on which an event begins."""
    line: int = event.start_mark.line
    return line + 1


def _line_of(text: str, character: object) -> int | None:
    """Line of the first such character: libyaml's own position counts bytes, PyYAML's does not."""
    char = chr(character) if isinstance(character, int) else character
    spot = text.find(char) if isinstance(char, str) else -1
    return text.count("\n", 0, spot) + 1 if spot >= 0 else None


class _Frame:
    """A mapping or list that is being filled."""

    __slots__ = ("anchor", "items", "key", "merges", "record", "started")

    def __init__(self, event: Any, record: dict[str, Any] | None, started: int) -> None:
        self.anchor: str | None = event.anchor
        self.started = started
        self.record = record  # None: a list
        self.items: list[Any] = []
        self.key: Any = _NO_KEY
        self.merges: list[tuple[Any, int]] = []

    @property
    def value(self) -> Any:
        return self.items if self.record is None else self.record


class _Builder:
    def __init__(self) -> None:
        self.root: object = None
        self.finished = False
        self._frames: list[_Frame] = []
        self._anchors: dict[str, tuple[Any, int] | None] = {}  # None: still being filled
        self._count = 0  # values so far, each alias counting as all that it stands for
        self._aliased = 0
        self.handlers: dict[type, Callable[[Any], None]] = {
            ev.StreamStartEvent: self._ignore,
            ev.StreamEndEvent: self._ignore,
            ev.DocumentEndEvent: self._ignore,
            ev.ScalarEvent: self._scalar,
            ev.MappingStartEvent: self._start_mapping,
            ev.SequenceStartEvent: self._start_list,
            ev.MappingEndEvent: self._end,
            ev.SequenceEndEvent: self._end,
            ev.AliasEvent: self._alias,
            ev.DocumentStartEvent: self._document,
        }

    def _ignore(self, event: ev.Event) -> None:
        """Pass over an event that holds no value."""

    def _document(self, event: ev.DocumentStartEvent) -> None:
        if self.finished:
            raise FormatError("holds a second YAML document, expected one", line=line_of(event))

    def _scalar(self, event: ev.ScalarEvent) -> None:
        if event.tag is not None and event.tag not in _STR_TAGS:
            self._refuse_tag(event)
        plain = event.implicit[0] and event.tag is None
        value = resolve(event.value) if plain else event.value
        self._counted(event)
        if event.anchor is not None:
            self._anchors[event.anchor] = (value, 1)
        self._add(value, event)

    def _counted(self, event: Any) -> None:
        self._count += 1
        if self._count - self._aliased > MAX_VALUES:
            raise FormatError(
                f"holds more than {MAX_VALUES} values, expected fewer in YAML: larger graphs and "
                "schedules go into JSON or .npz",
                line=line_of(event),
            )

    def _start_mapping(self, event: ev.MappingStartEvent) -> None:
        self._start(event, _Frame(event, {}, self._count))

    def _start_list(self, event: ev.SequenceStartEvent) -> None:
        self._start(event, _Frame(event, None, self._count))

    def _start(self, event: Any, frame: _Frame) -> None:
        if event.tag is not None and event.tag not in _COLLECTION_TAGS:
            self._refuse_tag(event)
        if len(self._frames) >= MAX_DEPTH:
            raise _too_deep(line_of(event))
        self._counted(event)
        if frame.anchor is not None:
            self._anchors[frame.anchor] = None
        self._add(frame.value, event)
        self._frames.append(frame)

    def _end(self, event: ev.Event) -> None:
        frame = self._frames.pop()
        for value, line in frame.merges:
            _merge(frame.value, value, line)
        if frame.anchor is not None:
            self._anchors[frame.anchor] = (frame.value, self._count - frame.started)

    def _alias(self, event: ev.AliasEvent) -> None:
        if event.anchor not in self._anchors:
            raise FormatError(
                f"alias *{event.anchor} has no anchor &{event.anchor} before it",
                line=line_of(event),
            )
        known = self._anchors[event.anchor]
        if known is None:
            raise FormatError(f"alias *{event.anchor} stands inside itself", line=line_of(event))
        value, size = known
        self._count += size
        self._aliased += size
        if self._aliased > MAX_ALIASED:
            raise FormatError(
                f"aliases stand for more than {MAX_ALIASED} values, expected a plain file",
                line=line_of(event),
            )
        self._add(value, event)

    def _add(self, value: Any, event: Any) -> None:
        if not self._frames:
            self.root = value
            self.finished = True
            return
        frame = self._frames[-1]
        if frame.record is None:
            frame.items.append(value)
        elif frame.key is _NO_KEY:
            plain = type(value) is str and value != "<<" and value not in frame.record
            frame.key = value if plain else self._key(value, frame.record, event)
        elif frame.key is _MERGE:
            frame.merges.append((value, line_of(event)))  # it is filled by the time this one ends
            frame.key = _NO_KEY
        else:
            frame.record[frame.key] = value
            frame.key = _NO_KEY

    def _key(self, value: Any, record: dict[str, Any], event: Any) -> object:
        if isinstance(value, int) and not isinstance(value, bool):
            value = str(value)  # an id may be a number, and ids are keys
        if not isinstance(value, str):
            raise FormatError(
                f"key {units.describe(value)} is not text, expected a name (in quotes, if need be)",
                line=line_of(event),
            )
        if value == "<<" and isinstance(event, ev.ScalarEvent) and event.implicit[0]:
            return _MERGE
        if value in record:
            raise FormatError(
                f"key {units.describe(value)} is given twice in one mapping", line=line_of(event)
            )
        return value

    def _refuse_tag(self, event: Any) -> None:
        raise FormatError(
            f"tag {units.describe(event.tag)} is not supported, expected plain values",
            line=line_of(event),
        )


def _merge(record: dict[str, Any], value: Any, line: int) -> None:
    """Add what ``<<`` names; keys that the mapping has itself win, then those merged earlier."""
    for part in value if isinstance(value, list) else [value]:
        if not isinstance(part, dict):
            raise FormatError("<< takes a mapping or a list of mappings", line=line)
        for key, item in part.items():
            record.setdefault(key, item)
