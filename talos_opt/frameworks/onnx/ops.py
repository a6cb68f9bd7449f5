"""From a captured graph to the ops that are placed: bytes, FLOPs, and what must stay together."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from talos_opt.frameworks.common.groups import REPLICATED_BYTES, Groups
from talos_opt.frameworks.common.op_classes import class_of
from talos_opt.frameworks.common.profile import OpProfile, Read
from talos_opt.frameworks.onnx import costs, dtypes
from talos_opt.frameworks.onnx.captured import Captured
from talos_opt.frameworks.onnx.costs import Sizes
from talos_opt.frameworks.onnx.events import NodeEvent, Shapes
from talos_opt.frameworks.onnx.graphs import inner_weights, nodes_of, outputs_of, type_of
from talos_opt.frameworks.onnx.shapes import Tensor

_CHANNELS = "channel_axis"


def describe_ops(captured: Captured) -> tuple[OpProfile, ...]:
    """Return the ops of a captured model, without timings.

    - Readers of a weight of more than 64 KiB are colocated, and the first of them holds it; a
      smaller one is held by each that reads it.
    - A view (Reshape, Squeeze and the like) is colocated with its base and has no output. Who reads
      it also reads no bytes of the base, which so stays alive.
    - What is not a tensor (a sequence, an optional) stays with the op that makes it.
    - An op of several outputs names those that are read; the others are held while it runs.
    - If, Loop and Scan are an op each, whose FLOPs, bytes and launches are those of what ran in it.
    - Inputs of the model are taken to be wherever they are read: no op makes them.
    """
    return _Description(captured).ops()


@dataclass(frozen=True, slots=True)
class _Ran:
    """What ran inside an op: operations, bytes, and how many nodes were started."""

    flops: float = 0.0
    moved_bytes: int = 0
    launches: int = 0


class _Description:
    def __init__(self, captured: Captured) -> None:
        self._captured = captured

    def ops(self) -> tuple[OpProfile, ...]:
        return tuple(self._op(op) for op in self._captured.nodes)

    def _op(self, op: str) -> OpProfile:
        captured, node = self._captured, self._captured.nodes[op]
        view = captured.base(op) is not None
        names = captured.outputs_read[op]
        made = {name: self._bytes(name) for name in outputs_of(node)}
        sizes = {name: 0 if view else made[name] for name in names}
        known = costs.sizes_of(node, captured.tensors)
        moved = 0 if view else costs.read_bytes(node, known) + costs.made_bytes(known)
        flops, launches = costs.flops(node, known), 1
        ran = self._ran.get(op)
        if ran is not None:
            flops, moved, launches = ran.flops, max(moved, ran.moved_bytes), ran.launches
        return OpProfile(
            id=op,
            type=type_of(node),
            inputs=tuple(self._reads(op)),
            flops=flops,
            moved_bytes=moved,
            weights=self._weights.get(op, 0) + inner_weights(node),
            output=sum(sizes.values()),
            outputs=sizes if len(sizes) > 1 else {},
            unread=0 if view else sum(made.values()) - sum(sizes[name] for name in names),
            colocate=self._groups.get(op),
            module=module_of(op),
            launches=launches,
            facts=self._facts(op, node),
        )

    def _facts(self, op: str, node: Any) -> dict[str, Any]:
        tensors = [self._captured.tensors.get(name, Tensor()) for name in outputs_of(node)]
        facts: dict[str, Any] = {
            "shape": [None if t.shape is None else list(t.shape) for t in tensors],
            "dtype": [dtypes.name_of(t.dtype) if t.dtype else "unknown" for t in tensors],
        }
        base = self._captured.base(op)
        if base is not None:
            facts["view_of"] = self._captured.maker[base]
        if class_of(type_of(node)) == "conv" and "Nhwc" not in node.op_type:
            facts[_CHANNELS] = 1
        return facts

    def _reads(self, op: str) -> Iterator[Read]:
        captured = self._captured
        for value in captured.reads[op]:
            if value in captured.maker:
                maker, output = captured.named(value)
                yield Read(maker, self._bytes(value), output)
        for value in captured.kept.get(op, ()):
            maker, output = captured.named(value)
            yield Read(maker, 0, output)

    def _bytes(self, value: str) -> int:
        return self._captured.tensors.get(value, Tensor()).bytes or 0

    @cached_property
    def _readers(self) -> dict[str, list[str]]:
        """Ops that read each weight."""
        found: dict[str, list[str]] = defaultdict(list)
        for op, read in self._captured.reads.items():
            for value in read:
                if value in self._captured.constants:
                    found[value].append(op)
        return found

    @cached_property
    def _weights(self) -> dict[str, int]:
        """Bytes of weights that each op holds, for itself and for who shares them with it."""
        held: dict[str, int] = defaultdict(int)
        for value, readers in self._readers.items():
            size = self._captured.constants[value]
            for op in readers[:1] if size > REPLICATED_BYTES else readers:
                held[op] += size
        return held

    @cached_property
    def _groups(self) -> dict[str, str]:
        """Group of every op that has to share a device, named after its first op."""
        captured = self._captured
        sets = Groups(captured.nodes)
        for value, readers in self._readers.items():
            if captured.constants[value] > REPLICATED_BYTES:
                sets.join(*readers)
        for op in captured.nodes:
            base = captured.base(op)
            if base is not None:
                sets.join(captured.maker[base], op)
            for value in captured.reads[op]:
                if value in captured.maker and not captured.tensors[value].is_tensor:
                    sets.join(captured.maker[value], op)
        return sets.leaders()

    @cached_property
    def _ran(self) -> dict[str, _Ran]:
        """What ran inside If, Loop and Scan, by op."""
        captured, holder = self._captured, self._captured.inner()
        if not holder:
            return {}
        nodes = {node.name: node for node in nodes_of(captured.graph)}
        found: dict[str, _Ran] = defaultdict(_Ran)
        for event in captured.seen:
            node = nodes.get(event.name)
            if event.name in holder and node is not None and node.op_type not in costs.CONTROL_FLOW:
                op, before = holder[event.name], found[holder[event.name]]
                sizes = _seen(event)
                found[op] = _Ran(
                    before.flops + (costs.flops(node, sizes) or 0.0),
                    before.moved_bytes + costs.read_bytes(node, sizes) + costs.made_bytes(sizes),
                    before.launches + 1,
                )
        return found


def _seen(event: NodeEvent) -> Sizes:
    """Return the sizes that a profile shows, which leaves out what is absent."""

    def tensors(rows: Shapes) -> tuple[Tensor, ...]:
        return tuple(Tensor(dtypes.code_of(dtype), tuple(shape)) for dtype, shape in rows)

    return Sizes(tensors(event.inputs), tensors(event.outputs))


def module_of(op: str) -> str:
    """Return the module that an exporter put into the name of a node, dotted: ``/a/b/MatMul``."""
    return op.rpartition("/")[0].strip("/").replace("/", ".")


def main_dtype(captured: Captured) -> str:
    """Return the type that most of the model's floating-point weights have.

    Of a model whose products are of 8-bit integers that is what is multiplied: ``int8``.
    """
    sizes: dict[str, int] = defaultdict(int)
    for tensor in captured.graph.initializer:
        if dtypes.name_of(tensor.data_type) in _COMPUTED:
            sizes[dtypes.name_of(tensor.data_type)] += captured.constants[tensor.name]
    whole = {t.name for t in captured.graph.initializer if dtypes.name_of(t.data_type) in _BYTES}
    for op, node in captured.nodes.items():
        if node.op_type.startswith(_INTEGER):
            read = whole.intersection(captured.reads[op])
            sizes["int8"] += sum(captured.constants[value] for value in read)
    return max(sizes, key=lambda name: sizes[name]) if sizes else "float32"


#: What ops compute in; weights of narrower types are widened before.
_COMPUTED = frozenset(("float64", "float32", "float16", "bfloat16"))
_BYTES = frozenset(("int8", "uint8"))
#: Ops whose products are of integers, in quantised models.
_INTEGER = ("QLinear", "ConvInteger", "MatMulInteger", "DynamicQuantize", "QGemm", "QAttention")
