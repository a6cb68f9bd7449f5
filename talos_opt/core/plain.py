"""Plain data, strictly: what YAML, JSON and networkx attributes hold.

Every function takes the JSON path of its value (``models[0].ops[3].time``) and raises a
`GraphError` that carries it, with what was found and what was expected.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable, Iterable, Mapping
from types import NoneType
from typing import Any, TypeGuard, TypeVar

import numpy as np

from talos_opt.core import units
from talos_opt.core.errors import GraphError

MadeT = TypeVar("MadeT")
ItemT = TypeVar("ItemT")

#: Deeper free-form data (`attrs`, `known`) is refused: nobody means it, and recursion is limited.
MAX_DEPTH = 32


class Keys:
    """The keys that a mapping must and may have.

    Parameters
    ----------
    required, optional : str
        Names, separated by spaces.
    extra : bool
        Accept other keys too: formats of other projects carry more than is read here.
    """

    def __init__(self, required: str = "", optional: str = "", *, extra: bool = False) -> None:
        self.extra = extra
        self.required = tuple(required.split())
        self.allowed = frozenset([*self.required, *optional.split()])

    def check(self, value: object, what: str, path: str) -> Mapping[str, Any]:
        """Return `value` if it is a mapping with these keys."""
        record = as_mapping(value, what, path)
        if not self.extra and not record.keys() <= self.allowed:
            unknown = next(key for key in record if key not in self.allowed)
            raise GraphError(self._complaint(unknown), path=join(path, unknown))
        for key in self.required:
            if key not in record:
                raise GraphError(f"{what} has no {key!r}, expected one", path=path or None)
        return record

    def _complaint(self, unknown: object) -> str:
        names = sorted(self.allowed)
        near = difflib.get_close_matches(str(unknown)[:60], names, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        return f"unknown key {units.describe(unknown)}, expected one of {', '.join(names)}{hint}"


#: Types of the values that need no look inside: a path is made for the others only.
_ATOMS = frozenset((str, int, bool, NoneType))


def join(path: str, key: object) -> str:
    """Return the path of a mapping's value; of the mapping itself without a key."""
    if key is None or key == "":
        return path
    return f"{path}.{key}" if path else str(key)


def made(kind: Callable[..., MadeT], path: str, /, **values: Any) -> MadeT:
    """Return an object, whose errors name a part of it, with `path` put before that of the part."""
    try:
        return kind(**values)
    except GraphError as error:
        raise GraphError(error.message, path=join(path, error.path)) from None


def as_objects(value: object, kind: type[ItemT], what: str) -> tuple[ItemT, ...]:
    """Return objects of one class as a tuple.

    Raises
    ------
    GraphError
        If they are not a sequence, or one of them is something else.
    """
    if type(value) is not tuple and (
        not isinstance(value, Iterable) or isinstance(value, str | Mapping)
    ):
        raise GraphError(
            f"{what} is {units.describe(value)}, expected a sequence of {kind.__name__}", path=what
        )
    items = tuple(value)
    for k, item in enumerate(items):
        if not isinstance(item, kind):
            raise GraphError(
                f"{what}[{k}] is {units.describe(item)}, expected {kind.__name__}",
                path=f"{what}[{k}]",
            )
    return items


def is_mapping(value: object) -> TypeGuard[Mapping[str, Any]]:
    """Tell whether a value is a mapping; a dict is told at a tenth of the price of others."""
    return type(value) is dict or isinstance(value, Mapping)


def as_mapping(value: object, what: str, path: str) -> Mapping[str, Any]:
    """Return `value` if it is a mapping."""
    if not is_mapping(value):
        raise GraphError(
            f"{what} is {units.describe(value)}, expected a mapping", path=path or None
        )
    return value


def as_list(value: object, what: str, path: str) -> list[Any] | tuple[Any, ...]:
    """Return `value` if it is a list."""
    if not isinstance(value, (list, tuple)):
        raise GraphError(f"{what} is {units.describe(value)}, expected a list", path=path)
    return value


def as_text(value: object, what: str, path: str) -> str:
    """Return a text as a plain one."""
    if type(value) is str:
        return value
    if isinstance(value, str):
        return str.__str__(value)  # NumPy's texts and enums are texts that print otherwise
    raise GraphError(f"{what} is {units.describe(value)}, expected text", path=path)


def as_word(value: object, what: str, path: str) -> str:
    """Return a non-empty text; `as_name` takes whole numbers too."""
    if type(value) is str and value:
        return value
    if isinstance(value, str) and value:
        return as_text(value, what, path)
    raise GraphError(f"{what} is {units.describe(value)}, expected a name", path=path)


def as_name(value: object, what: str, path: str) -> str:
    """Return a non-empty name; whole numbers are names too, as YAML reads an id 7 as one."""
    if isinstance(value, str) and value:
        return as_text(value, what, path)
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    hint = " (put it in quotes)" if isinstance(value, float) else ""
    raise GraphError(f"{what} is {units.describe(value)}, expected a name{hint}", path=path)


def as_flag(value: object, what: str, path: str) -> bool:
    """Return true or false, which may be NumPy's, as a bool."""
    if not isinstance(value, (bool, np.bool_)):
        raise GraphError(f"{what} is {units.describe(value)}, expected true or false", path=path)
    return bool(value)


def as_plain(value: object, what: str, path: str, depth: int = 0) -> Any:
    """Return a copy of free-form data that every file format can hold.

    Mappings with text keys, lists, text, finite numbers, booleans and None, nested at most
    `MAX_DEPTH` deep.
    """
    if isinstance(value, (str, int, NoneType)):
        return value
    if isinstance(value, float):
        if math.isfinite(value):
            return float(value)  # numpy's floats are floats that print otherwise
        raise GraphError(f"{what} holds {value!r}, expected a finite number", path=path)
    if depth >= MAX_DEPTH:
        raise GraphError(f"{what} is nested deeper than {MAX_DEPTH} levels", path=path)
    if is_mapping(value):
        return {
            as_text(key, "a key", path): item
            if type(item) in _ATOMS
            else as_plain(item, what, join(path, key), depth + 1)
            for key, item in value.items()
        }
    if isinstance(value, (list, tuple)):
        return [
            item if type(item) in _ATOMS else as_plain(item, what, f"{path}[{i}]", depth + 1)
            for i, item in enumerate(value)
        ]
    raise GraphError(
        f"{what} holds a value of type {type(value).__name__}, "
        "expected text, a number, true or false, a list or a mapping",
        path=path,
    )
