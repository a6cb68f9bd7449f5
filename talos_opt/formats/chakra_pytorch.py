"""Nodes of PyTorch's execution traces, from which Chakra's are made.

A node is a call, whose parent is the call that made it. What becomes an op is the outermost call
of an operator, one with a schema (``aten::linear``): the calls that it makes in turn are part of
it, and what is around it (threads, steps, modules, autograd's own) does no work. Left out are
operators that only make views. An op waits for those that wrote what it reads, and one that
changes a tensor for those that read it before.
"""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from talos_opt.core import units
from talos_opt.core.errors import GraphError
from talos_opt.core.plain import as_list, as_mapping, as_text
from talos_opt.formats.chakra_flops import flops_of
from talos_opt.formats.chakra_nodes import CPU, GPU, Node, tensors_in
from talos_opt.formats.trace_rows import KERNELS

#: Calls without a schema that do work all the same.
_WORK = ("nccl:", "record_param_comms")


@dataclass(slots=True)
class _Call:
    """A node of the trace."""

    path: str
    id: int
    parent: int
    name: str
    schema: str
    inputs: Sequence[Any]
    outputs: Sequence[Any]
    record: Mapping[str, Any]
    facts: Mapping[str, Any]
    children: list[_Call] = field(default_factory=list)

    @property
    def works(self) -> bool:
        """Whether it is an operator, or does an operator's work where it calls none."""
        if self.schema or self.name.startswith("aten::"):
            return True
        own = self.name.startswith(_WORK) or bool(self.facts.get("kernel_backend"))
        return own or (not self.children and any(True for _ in tensors_in(self.outputs)))


def pytorch_nodes(
    document: Mapping[str, Any], span: tuple[int, float] | None = None
) -> tuple[list[Node], dict[int, int]]:
    """Return the ops of a trace in the order of their calls, and the record that each is.

    Parameters
    ----------
    document : mapping
    span : (int, float), optional
        Only calls whose ids lie between these: of one step. What others made is there before.

    Returns
    -------
    nodes : list of Node
    records : dict of int to int
        By id of a node: the number under which Kineto's trace has its event.

    Raises
    ------
    GraphError
        If a value is missing or of the wrong kind, an id comes twice, or calls form no tree.
    """
    calls = [_call(row, f"nodes[{k}]") for k, row in enumerate(as_list(document["nodes"], *_NODES))]
    order = sorted(_outermost(calls), key=lambda call: call.id)
    if span is not None:
        order = [call for call in order if span[0] < call.id < span[1]]
    flow = _Flow()
    nodes: list[Node] = []
    records: dict[int, int] = {}
    for call in order:
        node = flow.add(call)
        if node is None:
            continue
        record = call.facts.get("rf_id")
        if type(record) is int:
            records[call.id] = record
        nodes.append(node)
    return nodes, records


def pytorch_steps(document: Mapping[str, Any]) -> list[tuple[str, tuple[int, float]]]:
    """Return the steps that a trace marks: their names, and between which ids their calls lie."""
    marks = []
    for k, row in enumerate(as_list(document["nodes"], *_NODES)):
        record = as_mapping(row, "a node", f"nodes[{k}]")
        name, number = record.get("name"), record.get("id")
        if isinstance(name, str) and type(number) is int and _STEP.fullmatch(name):
            marks.append((number, name))
    marks.sort()
    ends: list[float] = [*(number for number, _ in marks), math.inf]
    return [(name, (number, ends[k + 1])) for k, (number, name) in enumerate(marks)]


_NODES = ("nodes", "nodes")
#: Numbers of calls rise as they are made, on all threads.
_STEP = re.compile(r"ProfilerStep#\d+")


def _call(row: object, path: str) -> _Call:
    record = as_mapping(row, "a node", path)
    for key in ("id", "name"):
        if key not in record:
            raise GraphError(f"a node has no {key!r}, expected one", path=path)
    facts: Mapping[str, Any] = record
    if "attrs" in record:  # since 1.1.0; before, they were keys of the node
        facts = {}
        for item in as_list(record["attrs"], "attrs", f"{path}.attrs"):
            attr = as_mapping(item, "an attribute", f"{path}.attrs")
            facts[str(attr.get("name"))] = attr.get("value")
    parent = record.get("ctrl_deps", record.get("parent", record["id"]))
    schema = facts.get("op_schema", "")
    return _Call(
        path,
        _whole(record["id"], "id", f"{path}.id"),
        _whole(parent, "the parent of a node", f"{path}.ctrl_deps"),
        as_text(record["name"], "name", f"{path}.name"),
        schema if isinstance(schema, str) else "",
        _values(record, "inputs", path),
        _values(record, "outputs", path),
        record,
        facts,
    )


def _whole(value: object, what: str, path: str) -> int:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    raise GraphError(f"{what} is {units.describe(value)}, expected a whole number", path=path)


def _values(record: Mapping[str, Any], key: str, path: str) -> Sequence[Any]:
    value = record.get(key, ())
    if isinstance(value, Mapping):  # since 1.1.0, beside shapes and types
        value = value.get("values", ())
    return as_list(value, key, f"{path}.{key}")


def _shapes(call: _Call, side: str) -> Sequence[Any]:
    """Return the shapes of what a call reads (`side` input) or makes; none where none are given."""
    value = call.record.get(f"{side}_shapes")
    if value is None:  # since 1.1.0 beside the values
        values = call.record.get(f"{side}s")
        value = values.get("shapes") if isinstance(values, Mapping) else None
    return value if isinstance(value, list) else ()


def _outermost(calls: Sequence[_Call]) -> Iterator[_Call]:
    """Yield the calls that become ops."""
    by_id: dict[int, _Call] = {}
    for call in calls:
        if call.id in by_id:
            raise GraphError(
                f"node {call.id} is given twice, first as {by_id[call.id].path}, expected unique "
                "ids",
                path=f"{call.path}.id",
            )
        by_id[call.id] = call
    waiting = []
    for call in calls:
        parent = by_id.get(call.parent)
        if parent is None or parent is call:
            waiting.append(call)
        else:
            parent.children.append(call)
    seen = set()
    inside: list[_Call] = []
    while waiting or inside:
        folded = not waiting
        call = inside.pop() if folded else waiting.pop()
        seen.add(call.id)
        if not folded and call.works:
            yield call
            inside += call.children
        else:
            (inside if folded else waiting).extend(call.children)
    for call in calls:
        if call.id not in seen:
            raise GraphError(
                f"node {call.id} is among those that called it, expected a tree of calls",
                path=f"{call.path}.ctrl_deps",
            )


@dataclass(slots=True)
class _Tensor:
    """What is known of a storage: its bytes, who wrote it last, and who read it since."""

    size: int
    writer: int | None = None
    readers: list[int] = field(default_factory=list)


class _Flow:
    """Who reads what of whom, in the order of the calls."""

    def __init__(self) -> None:
        self.storages: dict[int, _Tensor] = {}

    def add(self, call: _Call) -> Node | None:
        """Return a call as a node; None where it only makes a view."""
        read = _largest(call.inputs)
        made = _largest(call.outputs)
        changed = {s for place in _changed(call.schema) for s in _at(call.inputs, place)}
        if call.name.endswith("_"):
            changed |= made.keys() & read.keys()
        fresh = {storage: size for storage, size in made.items() if storage not in read}
        if made and not fresh and not changed:
            return None
        node = Node(call.path, call.id, call.name, kind=_device(call))
        node.time = _time(call)
        self._read(node, read)
        for storage in changed:
            tensor = self.storages[storage]
            for reader in tensor.readers:
                if reader != call.id:
                    node.reads.setdefault(reader, {})
            node.writes[storage] = tensor.size  # of all of it, though a part may have changed
        node.writes |= fresh
        for storage, size in node.writes.items():
            # A fresh one may have the number of one that is gone.
            self.storages[storage] = _Tensor(size, call.id)
        flops = flops_of(call.name, _shapes(call, "input"), _shapes(call, "output"), call.inputs)
        if flops is not None:
            node.attrs["flops"] = min(flops, units.LARGEST)
        node.attrs["moved_bytes"] = sum(read.values()) + sum(node.writes.values())
        return node

    def _read(self, node: Node, read: Mapping[int, int]) -> None:
        tensors: dict[int, dict[int, int]] = defaultdict(dict)
        for storage, size in read.items():
            tensor = self.storages.get(storage)
            if tensor is None:  # a weight, or an input of the traced model
                tensor = self.storages[storage] = _Tensor(size)
                node.weights += size
            tensor.size = max(tensor.size, size)
            if tensor.writer is not None:
                tensors[tensor.writer][storage] = size
            tensor.readers.append(node.id)
        node.reads.update(tensors)


def _largest(values: Sequence[Any]) -> dict[int, int]:
    """Bytes by storage; the largest where several views of one are given."""
    found: dict[int, int] = {}
    for storage, size, _ in tensors_in(values):
        found[storage] = max(size, found.get(storage, 0))
    return found


def _at(values: Sequence[Any], place: int) -> Iterator[int]:
    return (storage for storage, _, _ in tensors_in(values[place : place + 1]))


_MARK = re.compile(r"\([a-z]\w*!\)|\([a-z]!( -> [^)]*)?\)")


@lru_cache(maxsize=4096)
def _changed(schema: str) -> tuple[int, ...]:
    """Positions of the arguments that an operator changes: ``Tensor(a!) self``."""
    if "!" not in schema:
        return ()
    arguments = schema.partition("(")[2].rpartition(" -> ")[0]
    depth, places, place, text = 0, [], 0, ""
    for sign in arguments + ",":
        depth += (sign in "([") - (sign in ")]")
        if sign == "," and depth <= 0:
            if text.strip() != "*":
                if _MARK.search(text):
                    places.append(place)
                place += 1
            text = ""
        else:
            text += sign
    return tuple(places)


def _device(call: _Call) -> str:
    devices = [
        device for values in (call.outputs, call.inputs) for *_, device in tensors_in(values)
    ]
    return CPU if all(device.startswith(("cpu", "meta")) for device in devices) else GPU


def _time(call: _Call) -> float | None:
    """Microseconds of the kernels that a call launched, else of the call itself.

    Only traces that Chakra has linked to Kineto's have either.
    """
    total, kernels = 0.0, False
    waiting = list(call.children)
    while waiting:
        inner = waiting.pop()
        waiting += inner.children
        if str(inner.record.get("cat", "")).lower() in KERNELS:
            kernels = True
            total += _duration(inner) or 0.0
    return total if kernels else _duration(call)


def _duration(call: _Call) -> float | None:
    for key in ("inclusive_dur", "exclusive_dur", "dur"):
        value = call.record.get(key)
        if value is not None:
            return units.magnitude(value, key, path=f"{call.path}.{key}")
    return None
