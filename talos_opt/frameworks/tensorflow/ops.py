"""From a captured graph to the ops that are placed: bytes, FLOPs, and what must stay together."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from talos_opt.frameworks.common.groups import REPLICATED_BYTES, Groups
from talos_opt.frameworks.common.phases import find_phases
from talos_opt.frameworks.common.profile import OpProfile, Read
from talos_opt.frameworks.tensorflow.backend import tf
from talos_opt.frameworks.tensorflow.captured import Captured
from talos_opt.frameworks.tensorflow.costs import flops, nbytes, read_bytes, shape_of
from talos_opt.frameworks.tensorflow.folding import node_of
from talos_opt.frameworks.tensorflow.lines import Lines

_BACKWARD = "gradient_tape/"
#: Types of ops that write variables.
_WRITES = re.compile(r"Assign|ResourceApply|ResourceScatter")


def describe_ops(
    captured: Captured, sizes: Mapping[str, int] | None = None
) -> tuple[OpProfile, ...]:
    """Return the ops of a captured model, without timings.

    - What reads or writes a variable is colocated, and the first such op holds it.
    - A view (Reshape, Identity and the like) is colocated with its base and has no output. Who
      reads it also reads no bytes of the base, which so stays alive.
    - Ops that hand each other resources or lists of tensors are colocated.
    - An op of several outputs names those that are read; the others are held while it runs.
    - An op that another one waits for is an input of no bytes.
    - Inputs of the model are taken to be wherever they are read: no op makes them.

    Parameters
    ----------
    captured : Captured
    sizes : mapping of str to int, optional
        Measured bytes of outputs (``node:1``), for those whose shapes are not known beforehand.
    """
    return _Description(captured, sizes or {}).ops()


@dataclass(frozen=True, slots=True)
class _Weight:
    """Bytes of a variable or constant, and whether all that read it share a device."""

    bytes: int
    together: bool


class _Description:
    def __init__(self, captured: Captured, sizes: Mapping[str, int]) -> None:
        self._captured, self._folded, self._sizes = captured, captured.folded, sizes
        graph = captured.graph
        self._nodes = {op: graph.get_operation_by_name(op) for op in captured.op_ids()}
        self._lines = Lines(captured.function)
        self._readers = self._find_readers()
        self._weights = {root: self._weight(root) for root in self._readers}
        self._groups = self._find_groups()

    def ops(self) -> tuple[OpProfile, ...]:
        held = self._held()
        phases = self._phases()
        made = (self._op(op, held.get(op, 0)) for op in self._captured.op_ids())
        return tuple(replace(op, phase=phases.get(op.id, op.phase)) for op in made)

    def _phases(self) -> dict[str, str]:
        """Return the phase of each op of a training step; of inference none.

        The outputs wait for whatever writes variables, which is no reason to call it forward.
        """
        captured = self._captured
        if captured.mode == "inference":
            return {}
        reads = {
            op: [name for name, port in captured.reads(op) if port >= 0] for op in captured.op_ids()
        }
        writes = {op for op, node in self._nodes.items() if _WRITES.match(node.type)}
        return find_phases(reads, [node_of(tensor) for tensor in captured.outputs], writes)

    def _op(self, op: str, weights: int) -> OpProfile:
        node = self._nodes[op]
        base = self._captured.base(op)
        made = [self._bytes(op, port) for port in range(len(node.outputs))]
        names = self._captured.outputs_read[op]
        if not names and len(made) == 1:
            names = {0: ""}
        sizes = {name: 0 if base else made[port] for port, name in names.items()}
        shapes = [shape_of(tensor) for tensor in node.outputs]
        return OpProfile(
            id=op,
            type=node.type,
            inputs=tuple(self._reads(op)),
            flops=flops(node),
            moved_bytes=0 if base else read_bytes(node) + sum(made),
            weights=weights,
            output=sum(sizes.values()),
            outputs=sizes if len(sizes) > 1 else {},
            unread=0 if base else sum(made) - sum(sizes.values()),
            colocate=self._groups.get(op),
            module=module_of(op),
            line=self._lines.of(self._folded.nodes[op]),
            facts={
                "shape": [list(shape) if shape is not None else None for shape in shapes],
                "dtype": [tensor.dtype.name for tensor in node.outputs],
                **({"view_of": base} if base else {}),
            },
        )

    def _reads(self, op: str) -> Iterator[Read]:
        for name, port in self._captured.reads(op):
            if port < 0:
                yield Read(name, 0)
            else:
                yield Read(name, self._bytes(name, port), self._captured.output_name(name, port))
        for name, output in self._captured.kept(op):
            yield Read(name, 0, output)

    def _bytes(self, op: str, port: int) -> int:
        size = nbytes(self._nodes[op].outputs[port])
        return self._sizes.get(f"{op}:{port}", 0) if size is None else size

    def _find_readers(self) -> dict[str, list[str]]:
        """Return the ops that read or write each root of sources."""
        found: dict[str, list[str]] = {}
        for op in self._captured.op_ids():
            for source in self._folded.read_sources(op):
                readers = found.setdefault(self._folded.roots[source], [])
                if op not in readers:
                    readers.append(op)
        return found

    def _weight(self, root: str) -> _Weight:
        given = self._captured.by_node.get(root)
        if given is None:  # a Const node
            size = nbytes(self._captured.graph.get_operation_by_name(root).outputs[0]) or 0
            return _Weight(size, size > REPLICATED_BYTES)
        if given.kind == "variable":
            return _Weight(given.bytes, True)
        return _Weight(given.bytes, given.kind == "constant" and given.bytes > REPLICATED_BYTES)

    def _held(self) -> dict[str, int]:
        """Return the bytes that each op holds for itself and those that it shares them with."""
        held: dict[str, int] = {}
        for root, readers in self._readers.items():
            weight = self._weights[root]
            for op in readers[:1] if weight.together else readers:
                held[op] = held.get(op, 0) + weight.bytes
        return held

    def _find_groups(self) -> dict[str, str]:
        """Return the group of every op that has to share a device; named after its first op."""
        sets = Groups(self._captured.op_ids())
        for root, readers in self._readers.items():
            if self._weights[root].together:
                sets.join(*readers)
        for op, node in self._nodes.items():
            base = self._captured.base(op)
            if base is not None and base in self._nodes:
                sets.join(base, op)
            for text, tensor in zip(self._folded.inputs[op], node.inputs, strict=True):
                if tensor.dtype in (tf.resource, tf.variant) and node_of(text) in self._nodes:
                    sets.join(node_of(text), op)
        return sets.leaders()


def module_of(op: str) -> str:
    """Return the layer that an op belongs to, dotted; gradients belong to what they are of."""
    scope = op.removeprefix(_BACKWARD).rpartition("/")[0]
    return scope.replace("/", ".")


def main_dtype(captured: Captured) -> str:
    """Return the type that most of the model's floating-point weights have."""
    sizes: dict[str, int] = {}
    for given in captured.given:
        if given.kind != "input" and given.dtype.is_floating:
            sizes[given.dtype.name] = sizes.get(given.dtype.name, 0) + given.bytes
    return max(sizes, key=lambda name: sizes[name]) if sizes else "float32"


__all__ = ["REPLICATED_BYTES", "describe_ops", "main_dtype", "module_of"]
