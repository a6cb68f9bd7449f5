"""Names and tensors of a graph, subgraphs of If, Loop and Scan included."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from talos_opt.frameworks.onnx import dtypes
from talos_opt.frameworks.onnx.backend import ox


def subgraphs(node: Any) -> Iterator[Any]:
    """Yield the graphs that a node holds: branches, bodies."""
    for attribute in node.attribute:
        if attribute.HasField("g"):
            yield attribute.g
        yield from attribute.graphs


def nodes_of(graph: Any) -> Iterator[Any]:
    """Yield all nodes of a graph, each before those of the graphs that it holds."""
    for node in graph.node:
        yield node
        for inner in subgraphs(node):
            yield from nodes_of(inner)


def graphs_of(graph: Any) -> Iterator[Any]:
    """Yield a graph and all graphs inside it."""
    yield graph
    for node in graph.node:
        for inner in subgraphs(node):
            yield from graphs_of(inner)


def tensors_of(graph: Any) -> Iterator[Any]:
    """Yield all constant tensors of a graph: weights, and values of attributes."""
    for inner in graphs_of(graph):
        yield from inner.initializer
        for sparse in inner.sparse_initializer:
            yield from (sparse.values, sparse.indices)
        for node in inner.node:
            for attribute in node.attribute:
                if attribute.HasField("t"):
                    yield attribute.t
                yield from attribute.tensors


def constants_of(graph: Any) -> dict[str, int]:
    """Return the bytes of a graph's own constants, by name."""
    found = {tensor.name: tensor_bytes(tensor) for tensor in graph.initializer}
    for sparse in graph.sparse_initializer:
        found[sparse.values.name] = tensor_bytes(sparse.values) + tensor_bytes(sparse.indices)
    return found


def tensor_bytes(tensor: Any) -> int:
    """Return the bytes of a constant, from its type and shape alone; of text, its letters."""
    if tensor.data_type == ox.TensorProto.STRING:
        return sum(len(text) for text in tensor.string_data)
    return dtypes.nbytes(tensor.data_type, tensor.dims)


def reads_of(node: Any) -> list[str]:
    """Return the values that a node reads, those that its subgraphs take from outside included."""
    found = dict.fromkeys(name for name in node.input if name)
    for inner in subgraphs(node):
        found |= dict.fromkeys(_captured(inner))
    return list(found)


def outputs_of(node: Any) -> list[str]:
    """Return the values that a node makes; those that nobody asks for have no name."""
    return [name for name in node.output if name]


def _captured(graph: Any) -> Iterator[str]:
    """Yield what a graph reads that it does not make: values of the graph around it."""
    own = {value.name for value in graph.input} | set(constants_of(graph))
    for node in graph.node:
        yield from (name for name in reads_of(node) if name not in own)
        own.update(node.output)
    yield from (value.name for value in graph.output if value.name not in own)


def inner_weights(node: Any) -> int:
    """Return the bytes of constants in the graphs that a node holds, those of nodes included."""
    return sum(tensor_bytes(tensor) for graph in subgraphs(node) for tensor in tensors_of(graph))


def attributes_of(node: Any) -> dict[str, Any]:
    """Return a node's attributes that are plain: numbers, texts and lists of them."""
    held = (a for a in node.attribute if a.type in _PLAIN)
    return {a.name: ox.helper.get_attribute_value(a) for a in held}


_PLAIN = frozenset(
    ox.AttributeProto.AttributeType.Value(name)
    for name in ("FLOAT", "INT", "STRING", "FLOATS", "INTS", "STRINGS")
)


def type_of(node: Any) -> str:
    """Return an op's type, with its domain unless it is ONNX's own."""
    return node.op_type if node.domain in ("", "ai.onnx") else f"{node.domain}.{node.op_type}"
