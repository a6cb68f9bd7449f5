"""Nodes of Chakra's own execution traces: as protobuf, and as the JSON forms of its tools.

The schema is `et_def.proto` of MLCommons Chakra. A file of it is a row of messages, each with its
length before it: one of metadata, then the nodes. Decoded here are the fields that are read.
"""

from __future__ import annotations

import json
import re
import struct
from ast import literal_eval
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from talos_opt.core import units
from talos_opt.core.errors import FormatError, GraphError
from talos_opt.core.plain import MAX_DEPTH, as_list, as_mapping, as_text
from talos_opt.formats.source import PROTOBUF

CPU, GPU = "cpu", "gpu"

#: Types of nodes, in the order of their numbers.
TYPES = (
    *("INVALID_NODE", "METADATA_NODE", "MEM_LOAD_NODE", "MEM_STORE_NODE", "COMP_NODE"),
    *("COMM_SEND_NODE", "COMM_RECV_NODE", "COMM_COLL_NODE"),
    *("STORAGE_NODE", "BATCH_NODE", "CHECKPOINT_NODE"),
)
_VERSION = re.compile(rb"[!-~]*")
_METADATA = frozenset(("INVALID_NODE", "METADATA_NODE"))


@dataclass(slots=True)
class Node:
    """What becomes an op.

    Parameters
    ----------
    path : str
        JSON path, or the number of the message, for errors.
    id : int
    name : str
    kind : str
        Of the device that it ran on.
    time : float, optional
        Microseconds; None: the trace does not say.
    reads : mapping of int to dict of int to int
        By id of the node whose output is read: bytes of the tensors that are, by storage. An
        empty one is a dependency through which nothing travels, None the whole output.
    writes : mapping of int to int
        Bytes of the tensors that it makes, by storage.
    weights : int
        Bytes of tensors that it reads first and that no node makes.
    estimated : bool
        Whether the time is that of other nodes.
    attrs : dict
    """

    path: str
    id: int
    name: str
    kind: str = CPU
    time: float | None = None
    reads: dict[int, dict[int, int] | None] = field(default_factory=dict)
    writes: dict[int, int] = field(default_factory=dict)
    weights: int = 0
    estimated: bool = False
    attrs: dict[str, Any] = field(default_factory=dict)


def is_protobuf(data: bytes) -> bool:
    """Whether a file begins with the metadata of a trace: its length, and a version as text."""
    start = PROTOBUF.match(data)
    if start is None:
        return False
    size, begin = _varint(data, 0, len(data))
    end, first = begin + size, begin + 2
    version = data[first : first + data[begin + 1]] if begin + 1 < len(data) else b" "
    after = first + len(version)
    # Text may begin with such bytes too, but it does not go on like this.
    return bool(_VERSION.fullmatch(version)) and (
        after == end or data[after : after + 1] == b"\x12"
    )


def protobuf_nodes(data: bytes) -> list[Node]:
    """Return the nodes of a trace in Chakra's protobuf form.

    Raises
    ------
    FormatError
        If the file is cut off or is something else; names the message.
    """
    nodes: list[Node] = []
    position, number = 0, 0
    while position < len(data):
        where = f"message {number}"
        size, start = _varint(data, position, len(data), where)
        position = start + size
        if position > len(data):
            raise FormatError(
                f"{where} has {size} bytes, but {len(data) - start} are left (cut off?)"
            )
        record = _decoded(data, start, position, where)
        if number or "version" not in record:
            nodes.append(_node(record, where))
        number += 1
    return _without_metadata(nodes)


def workload_records(document: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """Return the nodes of an object with ``workload_graph``, each with its path."""
    rows = as_list(document["workload_graph"], "workload_graph", "workload_graph")
    return [(f"workload_graph[{k}]", row) for k, row in enumerate(rows)]


def printed_records(text: str) -> list[tuple[str, Any]]:
    """Return the nodes that Chakra's jsonizer printed, one after the other behind the metadata.

    Each comes with a name for errors; none at all where the text is something else.
    """
    found: list[tuple[str, Any]] = []
    decoder, text = json.JSONDecoder(), text.strip()
    position = 0
    while position < len(text):
        try:
            record, position = decoder.raw_decode(text, position)
        except (ValueError, RecursionError):
            return []
        found.append((f"object {len(found)}", record))
        while position < len(text) and text[position].isspace():
            position += 1
    return found[1:]


def json_nodes(records: Sequence[tuple[str, Any]]) -> list[Node]:
    """Return nodes from JSON: `workload_records` or `printed_records`."""
    return _without_metadata([_node(_plain(record, path), path) for path, record in records])


#: Names of the fields in the JSON forms.
_ALIASES = {
    "Id": "id",
    "Name": "name",
    "NodeType": "type",
    "ctrlDeps": "ctrl_deps",
    "dataDeps": "data_deps",
    "runtime": "duration_micros",
    "durationMicros": "duration_micros",
}


def _plain(record: object, path: str) -> dict[str, Any]:
    """Return a node with the fields' own names, attributes among them."""
    given = as_mapping(record, "a node", path)
    plain = {_ALIASES.get(key, key): value for key, value in given.items()}
    for item in as_list(plain.pop("attr", ()), "attr", f"{path}.attr"):
        attr = as_mapping(item, "an attribute", f"{path}.attr")
        values = [value for key, value in attr.items() if key not in ("name", "docString")]
        if values:
            plain.setdefault(str(attr.get("name")), values[0])
    return plain


def _node(record: Mapping[str, Any], path: str) -> Node:
    where = f"{path}." if "[" in path else None

    def place(key: str) -> str | None:
        return where and where + key

    if "id" not in record:
        raise GraphError(f"{_at(path)}a node has no id, expected one", path=where and path)
    number = _whole(record["id"], f"{_at(path)}id", place("id"))
    label = f"node {number}"
    type_ = record.get("type", 0)
    if isinstance(type_, int) and 0 <= type_ < len(TYPES):
        type_ = TYPES[type_]
    if type_ not in TYPES:
        raise GraphError(
            f"type of {label} is {units.describe(type_)}, expected a number below {len(TYPES)} or "
            "a name such as COMP_NODE",
            path=place("type"),
        )
    name = as_text(record.get("name", ""), f"name of {label}", place("name") or "")
    time = record.get("duration_micros", 0 if where is None or type_ in _METADATA else None)
    node = Node(path, number, name or type_)
    if time is not None:
        node.time = units.magnitude(time, f"time of {label}", path=place("runtime"))
    host = record.get("is_cpu_op", True)
    node.kind = CPU if host not in (False, 0, "false") else GPU
    for key, whole in (("ctrl_deps", False), ("data_deps", True)):
        what = f"{key} of {label}"
        for item in as_list(record.get(key, ()), what, place(key) or ""):
            node.reads[_whole(item, what, place(key))] = None if whole else {}
    node.writes = _written(record, label)
    node.attrs["node"] = type_
    flops = record.get("num_ops")
    if isinstance(flops, (int, float)) and 0 < flops <= units.LARGEST:
        node.attrs["flops"] = flops
    return node


def _at(path: str) -> str:
    return "" if "[" in path else f"{path}: "


def _whole(value: object, what: str, path: str | None) -> int:
    """Return an id; those of 64 bits are texts in JSON."""
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= 20:
        return int(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    raise GraphError(f"{what} is {units.describe(value)}, expected a whole number", path=path)


def _written(record: Mapping[str, Any], label: str) -> dict[int, int]:
    """Bytes that a node makes: its output tensors, else what its attributes say."""
    outputs = record.get("outputs")
    values = outputs.get("values") if isinstance(outputs, Mapping) else outputs
    if isinstance(values, str):
        values = _listed(values)
    found = {storage: size for storage, size, _ in tensors_in(values)}
    if found:
        return found
    for key in ("tensor_size", "comm_size"):
        if record.get(key) is not None:
            return {-1: units.size(record[key], f"{key} of {label}")}
    return {}


def _listed(text: str) -> object:
    """Return the values in a text, as JSON or Python writes them; None where it is neither."""
    if "[" not in text:
        return None
    try:
        return json.loads(text.replace("'", '"'))  # ten times as fast
    except (ValueError, RecursionError):
        pass
    try:
        return literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return None


def tensors_in(value: object, depth: int = 0) -> Iterator[tuple[int, int, str]]:
    """Yield storage, bytes and device of the tensors in a value of a node.

    A tensor is a row of its number, its storage's, the offset in this, the number of elements,
    the bytes of each and the device.
    """
    if not isinstance(value, (list, tuple)) or depth > MAX_DEPTH:
        return
    if len(value) >= 6 and isinstance(value[5], str) and all(type(v) is int for v in value[:5]):
        _, storage, _, count, width, device = value[:6]
        if not device and not count:  # an optional tensor that was not given
            return
        size = max(0, count) * max(0, width)
        yield storage, min(size, units.MAX_BYTES), device
        return
    for item in value:
        yield from tensors_in(item, depth + 1)


def _without_metadata(nodes: list[Node]) -> list[Node]:
    """Leave out the nodes that only say something about the trace, and that no other waits for."""
    awaited = {number for node in nodes for number in node.reads}
    return [n for n in nodes if n.attrs.get("node") not in _METADATA or n.id in awaited]


def _varint(data: bytes, position: int, end: int, where: str = "") -> tuple[int, int]:
    """Return a number and the position after it."""
    result = shift = 0
    while position < end and shift < 64:
        byte = data[position]
        position += 1
        result |= (byte & 0x7F) << shift
        if byte < 0x80:
            return result, position
        shift += 7
    raise FormatError(f"{where}: a number does not end (cut off, or no Chakra trace?)")


def _fields(data: bytes, position: int, end: int, where: str) -> Iterator[tuple[int, Any]]:
    """Yield number and value of the fields of a message: ints, or bytes as (start, end)."""
    while position < end:
        key = data[position]  # most numbers have one byte
        position += 1
        if key > 0x7F:
            key, position = _varint(data, position - 1, end, where)
        wire = key & 7
        if wire == 0:
            value, position = _varint(data, position, end, where)
            yield key >> 3, value
            continue
        if wire == 2:
            size = data[position] if position < end else 0xFF
            position += 1
            if size > 0x7F:
                size, position = _varint(data, position - 1, end, where)
        elif wire in (1, 5):
            size = 8 if wire == 1 else 4
        else:
            raise FormatError(f"{where} has a field of unknown wire type {wire} (no Chakra trace?)")
        if position + size > end:
            raise FormatError(f"{where}: a field does not end (cut off, or no Chakra trace?)")
        yield key >> 3, (position, position + size)
        position += size


_TEXTS = {2: "name"}
_NUMBERS = {1: "id", 3: "type", 7: "duration_micros"}
_LISTS = {4: "ctrl_deps", 5: "data_deps"}


def _decoded(data: bytes, start: int, end: int, where: str) -> dict[str, Any]:
    """Return the fields of a node that are read, or ``version`` of the metadata."""
    record: dict[str, Any] = {"ctrl_deps": [], "data_deps": []}
    for number, value in _fields(data, start, end, where):
        single = isinstance(value, int)
        if number == 1 and not single:
            record["version"] = _text(data, value)
        elif number in _NUMBERS and single:
            record[_NUMBERS[number]] = value
        elif number in _TEXTS and not single:
            record[_TEXTS[number]] = _text(data, value)
        elif number in _LISTS:
            record[_LISTS[number]] += [value] if single else _packed(data, value, where)
        elif number == 9 and not single:
            for part, span in _fields(data, value[0], value[1], where):
                if part == 1 and not isinstance(span, int):
                    record["outputs"] = _text(data, span)
        elif number == 10 and not single:
            _add_attribute(record, data, value, where)
    if "version" not in record:
        record.setdefault("id", 0)  # what is 0 is not written
    return record


def _text(data: bytes, span: tuple[int, int]) -> str:
    return data[slice(*span)].decode("utf-8", "replace")


def _packed(data: bytes, span: tuple[int, int], where: str) -> list[int]:
    found = []
    start, end = span
    while start < end:
        value, start = _varint(data, start, end, where)
        found.append(value)
    return found


#: Attributes that are read.
_WANTED = frozenset(("is_cpu_op", "num_ops", "tensor_size", "comm_size"))
_WANTED_BYTES = frozenset(name.encode() for name in _WANTED)
_FLOATS = {3: "<d", 5: "<f"}
_FIXED = {19: "<I", 21: "<Q", 23: "<i", 25: "<q"}


def _add_attribute(record: dict[str, Any], data: bytes, span: tuple[int, int], where: str) -> None:
    start, end = span
    # The name comes first, nearly always, and most attributes are not read.
    named = data[start : start + 1] == b"\x0a" and start + 1 < end and data[start + 1] < 0x80
    if named and data[start + 2 : start + 2 + data[start + 1]] not in _WANTED_BYTES:
        return
    name: str | None = None
    for number, value in _fields(data, start, end, where):
        if number == 1 and not isinstance(value, int):
            name = _text(data, value)
            if name not in _WANTED:
                return
            record[name] = 0  # what is 0 or false may be left out
        elif name is None:
            continue
        elif isinstance(value, int):
            # 15 and 17 are zigzag numbers; the others are written as they are.
            record[name] = (value >> 1) ^ -(value & 1) if number in (15, 17) else value
        elif number in _FLOATS or number in _FIXED:
            record[name] = struct.unpack(
                _FLOATS.get(number) or _FIXED[number], data[slice(*value)]
            )[0]
