"""A model without calls, with names for all nodes, sizes for all inputs, and constants computed."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from talos_opt.core.errors import InputError
from talos_opt.core.topology import order_by_number
from talos_opt.frameworks.common.inputs import InputSpec
from talos_opt.frameworks.onnx.backend import ox
from talos_opt.frameworks.onnx.devices import CPU
from talos_opt.frameworks.onnx.graphs import (
    constants_of,
    graphs_of,
    outputs_of,
    reads_of,
    subgraphs,
)
from talos_opt.frameworks.onnx.reading import Source
from talos_opt.frameworks.onnx.sessions import Bound, refused, session_of

#: Constants are no inputs from here on, as the runtime takes it.
_LEAST_IR = 4
#: What makes something else each time, so that it is no constant.
RANDOM = frozenset(
    ("RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike", "Multinomial",
     "Bernoulli")
)  # fmt: skip
#: What stays an op though it hangs on constants alone: what makes something else than a tensor, and
#: what widens weights, which are held in the few bits that the file has, as the runtime does it.
_KEPT = RANDOM | frozenset(
    ("SequenceConstruct", "SequenceEmpty", "SequenceInsert", "SequenceErase", "SequenceMap",
     "SplitToSequence", "Optional", "ZipMap", "DequantizeLinear")
)  # fmt: skip


def flatten(
    source: Source, specs: Sequence[InputSpec], *, sized: bool = True
) -> tuple[Any, list[str]]:
    """Return a copy of a model in which every input has its size, and notes about it.

    Functions are inlined. A constant that is declared as an input, too, is a constant only: the
    runtime would otherwise keep it open for another value and fold nothing that it goes into.

    Parameters
    ----------
    source : Source
    specs : sequence of InputSpec
        Of the inputs without values of their own, in their order.
    sized : bool
        If not, sizes that the file leaves open stay so.

    Raises
    ------
    InputError
        If functions cannot be inlined, or nodes read each other in a circle.
    """
    proto = copy.deepcopy(source.proto)
    notes = []
    if proto.functions:
        try:
            proto = ox.inliner.inline_local_functions(proto, convert_version=False)
        except Exception as error:
            raise refused(source.path, error, "its functions cannot be inlined") from error
    graph = proto.graph
    own = constants_of(graph)
    given = [value for value in graph.input if value.name not in own]
    if len(given) < len(graph.input) and proto.ir_version >= _LEAST_IR:
        notes.append(
            f"{len(graph.input) - len(given)} weights are declared as inputs, too, and count as "
            "constants: ONNX Runtime folds less of the model as it stands"
        )
    proto.ir_version = max(proto.ir_version, _LEAST_IR)
    _sort(source.path, graph)
    kept = copy.deepcopy(given)
    del graph.input[:], graph.value_info[:]
    for value, spec in zip(kept, specs if sized else (), strict=sized):
        tensor = value.type.tensor_type
        tensor.shape.CopyFrom(
            ox.helper.make_tensor_type_proto(tensor.elem_type, spec.shape).tensor_type.shape
        )
    graph.input.extend(kept)
    for value in graph.output:  # sizes follow from the inputs', and what is stated may be wrong
        if value.type.HasField("tensor_type"):
            value.type.tensor_type.ClearField("shape")
    name_nodes(graph)  # the runtime refuses two of one name
    return proto, notes


def _sort(path: Path, graph: Any) -> None:
    """Bring nodes behind what they read, in place, where the file has them in another order.

    Raises
    ------
    InputError
        If they read each other in a circle.
    """
    maker = {name: k for k, node in enumerate(graph.node) for name in outputs_of(node)}
    reads = [{maker[name] for name in reads_of(n) if name in maker} for n in graph.node]
    if all(max(read, default=-1) < k for k, read in enumerate(reads)):
        return
    order = order_by_number(reads)
    if len(order) < len(reads):
        stuck = next(k for k in range(len(reads)) if k not in set(order))
        name = graph.node[stuck].name or graph.node[stuck].op_type
        raise InputError(f"{path}: op {name!r} reads, by way of others, what it makes")
    ordered = [copy.deepcopy(graph.node[k]) for k in order]
    del graph.node[:]
    graph.node.extend(ordered)


def name_nodes(graph: Any) -> None:
    """Give every node a name of its own, those of subgraphs behind the one that holds them.

    Names that are there once stay; others get the type and a number. Order decides, so that the
    same model has the same names each time.
    """
    counts: dict[str, int] = {}
    for node in graph.node:
        counts[node.name] = counts.get(node.name, 0) + 1
    taken = {name for name, count in counts.items() if name and count == 1}
    number: dict[str, int] = {}
    for node in graph.node:
        if not node.name or counts[node.name] > 1:
            stem = node.name or node.op_type
            while True:
                k = number[stem] = number.get(stem, -1) + 1
                if f"{stem}_{k}" not in taken:
                    break
            node.name = f"{stem}_{k}"
            taken.add(node.name)
        _name_inner(node, node.name)


def _name_inner(holder: Any, prefix: str) -> None:
    for g, graph in enumerate(subgraphs(holder)):
        for k, node in enumerate(graph.node):
            node.name = f"{prefix}//{g}.{k}"
            _name_inner(node, node.name)


def fold_constants(proto: Any, folder: Path) -> int:
    """Compute what hangs on constants alone, in place, and return how many nodes are gone.

    Parameters
    ----------
    proto : onnx.ModelProto
    folder : Path
        Where external data lie.

    Raises
    ------
    InputError
        If the runtime refuses these nodes.
    """
    graph = proto.graph
    known = set(constants_of(graph))
    chosen: list[Any] = []
    for node in graph.node:
        inner = {n.op_type for g in subgraphs(node) for part in graphs_of(g) for n in part.node}
        if known.issuperset(reads_of(node)) and not _KEPT & {node.op_type, *inner}:
            chosen.append(node)
            known.update(outputs_of(node))
    if not chosen:
        return 0
    names = _wanted(graph, chosen)
    values = _computed(proto, chosen, names, folder)
    gone = {id(node) for node in chosen}
    left = [node for node in graph.node if id(node) not in gone]
    kept = copy.deepcopy(left)
    del graph.node[:]
    graph.node.extend(kept)
    graph.initializer.extend(
        ox.numpy_helper.from_array(value, name) for name, value in zip(names, values, strict=True)
    )
    drop_unread(graph)
    return len(chosen)


def _wanted(graph: Any, chosen: Iterable[Any]) -> list[str]:
    """Return what is read of what the chosen nodes make, by other nodes or as a result."""
    made = {name: None for node in chosen for name in outputs_of(node)}
    gone = {id(node) for node in chosen}
    read = {value.name for value in graph.output}
    for node in graph.node:
        if id(node) not in gone:
            read.update(reads_of(node))
    return [name for name in made if name in read]


def _computed(proto: Any, chosen: Sequence[Any], names: Sequence[str], folder: Path) -> list[Any]:
    if not names:
        return []
    part = ox.ModelProto(ir_version=proto.ir_version)
    part.opset_import.extend(proto.opset_import)
    read = {name for node in chosen for name in reads_of(node)}
    part.graph.name = "constants"
    part.graph.node.extend(chosen)
    part.graph.initializer.extend(t for t in proto.graph.initializer if t.name in read)
    part.graph.sparse_initializer.extend(
        t for t in proto.graph.sparse_initializer if t.values.name in read
    )
    part.graph.output.extend(ox.ValueInfoProto(name=name) for name in names)
    once = Bound(session_of(part, folder=folder, level="none"), CPU, {})
    once.run()
    return once.outputs()


def drop_unread(graph: Any) -> None:
    """Leave out constants that no node reads and that are no result."""
    read = {name for node in graph.node for name in reads_of(node)}
    read.update(value.name for value in graph.output)
    kept = [copy.deepcopy(tensor) for tensor in graph.initializer if tensor.name in read]
    if len(kept) < len(graph.initializer):
        del graph.initializer[:]
        graph.initializer.extend(kept)


def without_dead_ends(graph: Any) -> int:
    """Leave out nodes that no result needs, in place; return how many."""
    needed = {value.name for value in graph.output}
    kept = []
    for node in reversed(graph.node):
        if needed.intersection(outputs_of(node)):
            needed.update(reads_of(node))
            kept.append(copy.deepcopy(node))
    gone = len(graph.node) - len(kept)
    if gone:
        del graph.node[:]
        graph.node.extend(reversed(kept))
    return gone
