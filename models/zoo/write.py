"""Text of the graph files, one op per line."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator

from models.zoo.catalogue import Entry, GraphFile
from models.zoo.networks import BLUEPRINTS
from models.zoo.ops import Edge, Op
from models.zoo.roofline import DEVICES, assumptions, time_us

WIDTH = 96


def graph_text(file: GraphFile) -> str:
    """Text of a graph file in the format talos-graph/1."""
    return "\n".join(_lines(file)) + "\n"


def _lines(file: GraphFile) -> Iterator[str]:
    yield "# Made by `python -m models.zoo`: change the script, not this file."
    yield "schema: talos-graph/1"
    yield f"name: {file.name}"
    yield "description: >-"
    # A line broken at a hyphen would be read back with a space behind it.
    words = textwrap.wrap(_description(file), WIDTH, break_on_hyphens=False)
    yield from (f"  {line}" for line in words)
    yield "time_unit: us"
    yield "memory_rule: static"
    yield f"cluster: {file.cluster}"
    yield "models:"
    for entry in file.entries:
        yield f"  - id: {entry.name}"
        yield f"    weight: {entry.weight}"
        yield f"    release: {entry.release}"
        yield "    ops:"
        for op in entry.network.ops.values():
            yield f"      - {_flow(_op(entry, op))}"


def _description(file: GraphFile) -> str:
    """Describe a file: what it is for, its networks, and where its numbers come from."""
    networks = "; ".join(
        f"{entry.name} is {BLUEPRINTS[entry.name].source}, batch {entry.batch}"
        for entry in file.entries
    )
    return (
        f"{file.about} {networks}. Sizes are bytes of fp32 or int32 numbers; attrs give each op's"
        f" output shape and its floating-point operations, a multiply-add counting two."
        f" {assumptions()}"
    )


def _op(entry: Entry, op: Op) -> dict[str, object]:
    """Give an op's fields in the order of the format; a size of 0 is left out."""
    sizes = {
        "weights": op.weight_bytes,
        "output": op.output_bytes,
        "workspace": op.workspace,
    }
    fields: dict[str, object] = {
        "id": op.id,
        "type": op.type,
        "time": {device.kind: time_us(op, device) for device in DEVICES},
        "memory": {part: size for part, size in sizes.items() if size},
        "inputs": [_edge(edge) for edge in op.inputs],
    }
    if op.group is not None:
        # Group names reach across the models of a file, so each carries its model's name.
        fields["colocate"] = f"{entry.name}.{op.group}"
    fields["attrs"] = {"shape": list(op.shape), "flops": op.flops}
    return {key: value for key, value in fields.items() if value not in ({}, [])}


def _edge(edge: Edge) -> object:
    return edge.op if edge.bytes is None else {"op": edge.op, "bytes": edge.bytes}


def _flow(value: object) -> str:
    """Write a value in YAML's flow style; its strings are all plain names."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {_flow(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_flow, value)) + "]"
    return str(value)
