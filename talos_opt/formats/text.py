"""Text to plain data: JSON through `json`, everything else as YAML."""

from __future__ import annotations

import json
from typing import Any

from talos_opt.core import units
from talos_opt.core.errors import FormatError

#: Most values that a JSON text may hold: a hundred kilobytes of gzip can unfold to millions of
#: empty lists, each of which takes a hundred bytes of memory.
MAX_VALUES = 2**25


class _DuplicateKeyError(Exception):
    """A JSON object gives a key twice; the hook that notices does not know where."""


def parse(text: str, *, json_only: bool = False) -> object:
    """Return the plain data in a text: mappings, lists, text, numbers, booleans, None.

    Parameters
    ----------
    text : str
    json_only : bool
        Accept JSON alone; otherwise YAML, of which JSON is a part.

    Raises
    ------
    FormatError
        If the text cannot be parsed, gives a key twice, is nested too deep or holds too many
        values; names the line where it can.
    """
    require_few_values(text)
    if json_only:
        return parse_json(text)
    from talos_opt.formats.yaml_text import parse_yaml

    if text.lstrip()[:1] == "{":  # json is many times faster where the text happens to be JSON
        try:
            return parse_json(text)
        except FormatError:  # a YAML flow mapping, or broken: the YAML parser tells
            return parse_yaml(text)
    return parse_yaml(text)


def require_few_values(text: str) -> None:
    """Refuse text that may hold more than `MAX_VALUES` values, before anything is made of them.

    Raises
    ------
    FormatError
    """
    if len(text) <= MAX_VALUES:
        return
    count = sum(map(text.count, ",[{"))  # there are no more values in JSON than that, and one
    if count > MAX_VALUES:
        raise FormatError(
            f"holds {count} commas and brackets, expected at most {MAX_VALUES}: larger graphs and "
            "schedules go into .npz"
        )


def parse_json(text: str) -> object:
    """Return the plain data in a JSON text; see `parse`."""
    try:
        document = json.loads(text, object_pairs_hook=_unique)
        if "\\u" in text:
            json.dumps(document, ensure_ascii=False).encode()  # finds halves of surrogate pairs
    except json.JSONDecodeError as error:
        found = repr(text[error.pos]) if error.pos < len(text) else "the end of the text"
        raise FormatError(
            f"is not valid JSON: {error.msg} at column {error.colno}, found {found}",
            line=error.lineno,
        ) from None
    except _DuplicateKeyError as error:
        message = f"key {units.describe(error.args[0])} is given twice in one mapping"
        raise FormatError(message, line=_line_of_complaint(text, message)) from None
    except UnicodeEncodeError:
        raise FormatError("is not valid JSON: \\u escape of half a surrogate pair") from None
    except RecursionError:
        raise FormatError("is nested too deeply") from None
    except ValueError:  # Python reads no integers of more than 4300 digits
        raise FormatError("is not valid JSON: holds a number with thousands of digits") from None
    return document


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    record = dict(pairs)
    if len(record) < len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                raise _DuplicateKeyError(key)
            seen.add(key)
    return record


def _line_of_complaint(text: str, message: str) -> int | None:
    """Ask the YAML parser, which knows lines; None where it stumbles over something else."""
    from talos_opt.formats.yaml_text import parse_yaml

    try:
        parse_yaml(text)
    except FormatError as error:
        return error.line if error.message == message else None
    return None
