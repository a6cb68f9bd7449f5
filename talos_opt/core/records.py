"""Plain data to domain objects, strictly: what YAML, JSON and networkx attributes hold.

Every function takes the JSON path of its value (``models[0].ops[3].time``) and raises a
`GraphError` that carries it, with what was found and what was expected.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import NoneType
from typing import Any, TypeGuard

from talos_opt.core import units
from talos_opt.core.errors import GraphError, InputError
from talos_opt.core.graph import Input, Memory, Op

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

OP_KEYS = Keys("id time", "type memory inputs colocate device devices slots attrs")
MEMORY_KEYS = Keys("", "weights output workspace")
INPUT_KEYS = Keys("op", "bytes")


def join(path: str, key: object) -> str:
    """Return the path of a mapping's value."""
    return f"{path}.{key}" if path else str(key)


@contextmanager
def within(path: str) -> Iterator[None]:
    """Put `path` before the path of every error raised inside, which names a part of it."""
    try:
        yield
    except InputError as error:
        full = join(path, error.path) if error.path else path
        raise type(error)(
            error.message, path=full or None, source=error.source, line=error.line
        ) from None


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
    """Return `value` if it is text."""
    if not isinstance(value, str):
        raise GraphError(f"{what} is {units.describe(value)}, expected text", path=path)
    return value


def as_name(value: object, what: str, path: str) -> str:
    """Return a non-empty name; whole numbers are names too, as YAML reads an id 7 as one."""
    if isinstance(value, str) and value:
        return value
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    hint = " (put it in quotes)" if isinstance(value, float) else ""
    raise GraphError(f"{what} is {units.describe(value)}, expected a name{hint}", path=path)


def as_flag(value: object, what: str, path: str) -> bool:
    """Return `value` if it is true or false."""
    if not isinstance(value, bool):
        raise GraphError(f"{what} is {units.describe(value)}, expected true or false", path=path)
    return value


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


def read_op(value: object, path: str) -> Op:
    """Return the op that a mapping of the graph format describes (docs: talos-graph/1)."""
    record = OP_KEYS.check(value, "an op", path)
    optional: dict[str, Any] = {}
    if "memory" in record:
        optional["memory"] = read_memory(record["memory"], f"{path}.memory")
    if "inputs" in record:
        optional["inputs"] = read_inputs(record["inputs"], f"{path}.inputs")
    if "type" in record:
        optional["type"] = as_text(record["type"], "type", f"{path}.type")
    if "colocate" in record:
        optional["colocate"] = as_name(record["colocate"], "colocate", f"{path}.colocate")
    if "device" in record or "devices" in record:
        optional["devices"] = read_pins(record, path)
    if "slots" in record:
        optional["slots"] = units.positive_int(record["slots"], "slots", path=f"{path}.slots")
    if "attrs" in record:
        attrs = as_mapping(record["attrs"], "attrs", f"{path}.attrs")
        optional["attrs"] = as_plain(attrs, "attrs", f"{path}.attrs")
    return Op(
        id=as_name(record["id"], "id", f"{path}.id"),
        time=read_times(record["time"], f"{path}.time"),
        **optional,
    )


def read_times(value: object, path: str) -> dict[str, float]:
    """Return times keyed by device kind or id."""
    if not is_mapping(value):
        raise GraphError(
            f"time is {units.describe(value)}, expected a mapping from device kind or id "
            "to a number, such as {cpu: 5, gpu: 1}",
            path=path,
        )
    times = {}
    for key, number in value.items():
        name = as_name(key, "a device of time", path)
        times[name] = units.number(number, "time", path=f"{path}.{name}")
    return times


def read_memory(value: object, path: str) -> Memory:
    """Return the memory of an op: a mapping of its parts, or a size, which means weights."""
    if not is_mapping(value):
        return Memory(weights=units.size(value, "memory", path=path))
    parts = MEMORY_KEYS.check(value, "memory", path)
    return Memory(**{key: units.size(parts[key], key, path=f"{path}.{key}") for key in parts})


def read_inputs(value: object, path: str) -> tuple[Input, ...]:
    """Return the edges into an op: names of ops, or mappings of op and bytes."""
    edges = []
    for k, item in enumerate(as_list(value, "inputs", path)):
        if not is_mapping(item):
            edges.append(Input(as_name(item, "an input", f"{path}[{k}]")))
            continue
        record = INPUT_KEYS.check(item, "an input", f"{path}[{k}]")
        size = None
        if "bytes" in record:
            size = units.size(record["bytes"], "bytes", path=f"{path}[{k}].bytes")
        edges.append(Input(as_name(record["op"], "op", f"{path}[{k}].op"), size))
    return tuple(edges)


def read_pins(record: Mapping[str, Any], path: str) -> tuple[str, ...]:
    """Return the devices an op is pinned to: ``device: X``, ``devices: X`` or a list of them."""
    if "device" in record and "devices" in record:
        raise GraphError("an op has device and devices, expected one of them", path=path)
    key = "device" if "device" in record else "devices"
    value, path = record[key], join(path, key)
    if key == "device" or not isinstance(value, (list, tuple)):
        return (as_name(value, key, path),)
    if not value:
        raise GraphError("devices is an empty list, expected at least one device", path=path)
    return tuple(as_name(item, "a device", f"{path}[{k}]") for k, item in enumerate(value))
