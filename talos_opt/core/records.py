"""Ops as plain data: what files and networkx attributes hold, and `Op` does not.

Names may be whole numbers there, as YAML reads an id 7 as one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from talos_opt.core import units
from talos_opt.core.errors import GraphError
from talos_opt.core.model import Input, Memory, Op
from talos_opt.core.plain import (
    Keys,
    as_list,
    as_mapping,
    as_name,
    as_plain,
    is_mapping,
    join,
    made,
)

OP_KEYS = Keys(
    "id time", "type memory outputs inputs colocate device devices slots attrs phase split"
)
#: Keys whose values are those of `Op`.
_PLAIN = ("time", "type", "slots", "phase", "split")
MEMORY_KEYS = Keys("", "weights output workspace")
INPUT_KEYS = Keys("op", "bytes output")


def read_op(value: object, path: str) -> Op:
    """Return the op that a mapping of the graph format describes (docs: talos-graph/1)."""
    record = OP_KEYS.check(value, "an op", path)
    given: dict[str, Any] = {key: record[key] for key in _PLAIN if key in record}
    if is_mapping(given["time"]):
        where = f"{path}.time"
        given["time"] = {
            as_name(key, "a device of time", where): time for key, time in given["time"].items()
        }
    if "memory" in record:
        given["memory"] = read_memory(record["memory"], f"{path}.memory")
    if "outputs" in record:
        given["outputs"] = read_outputs(record["outputs"], f"{path}.outputs")
    if "inputs" in record:
        given["inputs"] = read_inputs(record["inputs"], f"{path}.inputs")
    if "colocate" in record:
        given["colocate"] = as_name(record["colocate"], "colocate", f"{path}.colocate")
    if "device" in record or "devices" in record:
        given["devices"] = read_pins(record, path)
    if "attrs" in record:
        attrs = as_mapping(record["attrs"], "attrs", f"{path}.attrs")
        given["attrs"] = as_plain(attrs, "attrs", f"{path}.attrs")
    return made(Op, path, id=as_name(record["id"], "id", f"{path}.id"), **given)


def read_memory(value: object, path: str) -> Memory:
    """Return the memory of an op: a mapping of its parts, or a size, which means weights."""
    if not is_mapping(value):
        return Memory(weights=units.size(value, "memory", path=path))
    return made(Memory, path, **MEMORY_KEYS.check(value, "memory", path))


def read_outputs(value: object, path: str) -> dict[str, Any]:
    """Return the output tensors of an op: a mapping from name to size."""
    if not is_mapping(value):
        found = units.describe(value)
        raise GraphError(
            f"outputs is {found}, expected a mapping from name to bytes, such as {{logits: 4MiB}}",
            path=path,
        )
    return {as_name(name, "an output", path): size for name, size in value.items()}


def read_inputs(value: object, path: str) -> tuple[Input, ...]:
    """Return the edges into an op: names of ops, or mappings of op, output and bytes."""
    edges = []
    for k, item in enumerate(as_list(value, "inputs", path)):
        where = f"{path}[{k}]"
        if not is_mapping(item):
            edges.append(Input(as_name(item, "an input", where)))
            continue
        given = dict(INPUT_KEYS.check(item, "an input", where))
        given["op"] = as_name(given["op"], "op", f"{where}.op")
        if "output" in given:
            given["output"] = as_name(given["output"], "output", f"{where}.output")
        if "bytes" in given:  # an Input takes None for what the producer makes, a file does not
            given["bytes"] = units.size(given["bytes"], "bytes", path=f"{where}.bytes")
        edges.append(made(Input, where, **given))
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
