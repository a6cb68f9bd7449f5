"""Plain data to text that a person can read: one op, transfer or device a line.

A layout says what is spread over lines. A dict spreads a mapping, one key a line, and gives the
layouts of some of its values; a list spreads a list, one item a line, and gives the layout of its
items; None writes the value on one line.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from typing import Any

from talos_opt.core.errors import FormatError

Layout = dict[str, Any] | list[Any] | None

GRAPH: Layout = {"cluster": {"devices": [], "links": []}, "models": [{"ops": []}]}
BREAKDOWN: Layout = {
    "devices": [],
    "critical_path": {"by_link": [], "steps": []},
    "models": [],
    "memory": [],
    "moved": [],
    "op_types": [],
}
SCHEDULE: Layout = {
    "metrics": {},
    "ops": [],
    "transfers": [],
    "history": [],
    "made": {"cluster": {"devices": [], "links": []}},
    "breakdown": BREAKDOWN,
    "modules": [],
}

#: Text that every YAML reader takes for text without quotes; words that one of them does not.
_BARE = re.compile(r"[A-Za-z_][A-Za-z0-9_./+-]*")
_WORDS = frozenset(["true", "false", "yes", "no", "on", "off", "y", "n", "null", "nan", "inf"])

_to_json = json.JSONEncoder(ensure_ascii=False, allow_nan=False).encode


class JsonRows:
    """A list that `json_lines` spreads, its items written as JSON already.

    Parameters
    ----------
    rows : iterable of str
    """

    def __init__(self, rows: Iterable[str]) -> None:
        self.rows = rows


def yaml_lines(value: dict[str, Any], layout: Layout) -> Iterator[str]:
    """Yield the lines of a YAML document."""
    for key, item in value.items():
        yield from _yaml_entry(f"{_text(key)}:", item, _part(layout, key), "")


def _yaml_entry(lead: str, value: Any, layout: Layout, indent: str) -> Iterator[str]:
    """Yield a key (or dash) with what belongs to it."""
    if isinstance(layout, dict) and isinstance(value, dict) and value:
        if lead:
            yield f"{indent}{lead}"
        for key, item in value.items():
            yield from _yaml_entry(f"{_text(key)}:", item, layout.get(key), indent + "  ")
    elif isinstance(layout, list) and isinstance(value, (list, tuple)) and value:
        yield f"{indent}{lead}"
        item_layout = layout[0] if layout else None
        for item in value:
            yield from _yaml_item(item, item_layout, indent + "  ")
    else:
        yield f"{indent}{lead} {_flow(value)}"


def _yaml_item(value: Any, layout: Layout, indent: str) -> Iterator[str]:
    """Yield an item of a list: a dash, then a spread mapping's first key on the same line."""
    lines = _yaml_entry("", value, layout, indent)
    if not (isinstance(layout, dict) and isinstance(value, dict) and value):
        yield f"{indent}- {_flow(value)}"
        return
    first = next(lines)
    yield f"{indent}- {first[len(indent) + 2 :]}"
    yield from lines


def _flow(value: Any) -> str:
    """Return a value as YAML on one line."""
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_text(k)}: {_flow(item)}" for k, item in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(_flow, value)) + "]"
    if isinstance(value, float):
        # YAML 1.1 readers take 1e-07 for text, but not 1.0e-07.
        text = _to_json(value)
        return text if "e" not in text or "." in text else text.replace("e", ".0e")
    return _to_json(value)


def _text(value: str) -> str:
    """Return text as a YAML scalar, quoted and escaped where it could be read as anything else."""
    if _BARE.fullmatch(value) and value.lower() not in _WORDS:
        return value
    return '"' + "".join(map(_escaped, value)) + '"'


def _escaped(char: str) -> str:
    if char in '"\\':
        return "\\" + char
    if char == "\n":
        return "\\n"
    # Line separators, control characters and byte order marks are escaped; half of a surrogate
    # pair is no text in YAML even so, and is left for the encoder to refuse.
    raw = char.isprintable() or "\ud800" <= char <= "\udfff"
    return char if raw else f"\\U{ord(char):08x}"


def json_lines(value: dict[str, Any], layout: Layout) -> Iterator[str]:
    """Yield the lines of a JSON document."""
    yield from _json_entry("", value, layout, "", "")


def _json_entry(lead: str, value: Any, layout: Layout, indent: str, end: str) -> Iterator[str]:
    """Yield a value with what stands before it on its first line, and after it on its last."""
    if isinstance(value, JsonRows):
        yield from _json_rows(lead, value.rows, indent, end)
        return
    if isinstance(layout, dict) and isinstance(value, dict) and value:
        items = [(f"{_to_json(key)}: ", item, layout.get(key)) for key, item in value.items()]
        brackets = "{}"
    elif isinstance(layout, list) and isinstance(value, (list, tuple)) and value:
        item_layout = layout[0] if layout else None
        items = [("", item, item_layout) for item in value]
        brackets = "[]"
    else:
        yield f"{indent}{lead}{_to_json(value)}{end}"
        return
    yield f"{indent}{lead}{brackets[0]}"
    last = len(items) - 1
    for i, (name, item, item_layout) in enumerate(items):
        yield from _json_entry(name, item, item_layout, indent + " ", "," if i < last else "")
    yield f"{indent}{brackets[1]}{end}"


def _json_rows(lead: str, rows: Iterable[str], indent: str, end: str) -> Iterator[str]:
    """Yield a spread list whose items are written already, one line behind them."""
    last = None
    for row in rows:
        yield f"{indent}{lead}[" if last is None else f"{indent} {last},"
        last = row
    if last is None:
        yield f"{indent}{lead}[]{end}"
        return
    yield f"{indent} {last}"
    yield f"{indent}]{end}"


def _part(layout: Layout, key: str) -> Layout:
    return layout.get(key) if isinstance(layout, dict) else None


def lines_of(value: dict[str, Any], layout: Layout, suffix: str) -> Iterator[str]:
    """Yield the lines of a document in the language of a suffix.

    Raises
    ------
    FormatError
        If the suffix is none of ``.json``, ``.yaml`` and ``.yml``.
    """
    if suffix == ".json":
        return json_lines(value, layout)
    if suffix in (".yaml", ".yml"):
        return yaml_lines(value, layout)
    raise FormatError(f"suffix {suffix!r} is unknown, expected .json, .yaml or .yml, or with .gz")
