"""From a captured graph to the ops that are placed: bytes, FLOPs, and what must stay together."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.utils._pytree as pytree
from torch import fx

from talos_opt.frameworks.common.groups import REPLICATED_BYTES, Groups
from talos_opt.frameworks.common.phases import find_phases
from talos_opt.frameworks.common.profile import OpProfile, Read
from talos_opt.frameworks.torch.captured import Captured
from talos_opt.frameworks.torch.costs import Cost, Evaluator, moved_bytes, nbytes, op_type
from talos_opt.frameworks.torch.lines import line_of
from talos_opt.frameworks.torch.signature import Placeholder
from talos_opt.frameworks.torch.tensors import Made, is_pick, made_by, tensors_read, value_at
from talos_opt.frameworks.torch.views import Views


def describe_ops(captured: Captured) -> tuple[OpProfile, ...]:
    """Return the ops of a captured model, without timings.

    - A view is colocated with its base and has no output. Who reads it also reads no bytes of the
      base, which so stays alive.
    - A call with several results has a named output for each that something reads; the others
      are held while it runs.
    - All readers of a weight are colocated, through views too; the first one holds it. Tied
      weights are one weight; a weight's gradient and update belong to its readers.
    - Inputs of the model are taken to be wherever they are read: no op makes them.

    Parameters
    ----------
    captured : Captured
    """
    return _Description(captured).ops()


@dataclass(frozen=True, slots=True)
class _Weight:
    """A tensor that the model owns, and the ops that read it."""

    bytes: int
    together: bool
    readers: list[fx.Node]


class _Description:
    def __init__(self, captured: Captured) -> None:
        self._captured = captured
        self._nodes = captured.ops()
        evaluator = Evaluator()
        self._costs = {node: evaluator.cost(node) for node in self._nodes}
        graph = captured.graph_module.graph
        self._views = Views(captured, self._costs)
        self._bases: dict[fx.Node, fx.Node] = {
            node: made_by(node).node for node in graph.nodes if is_pick(node)
        }
        self._bases |= {node: base for node in self._nodes if (base := self._views.base(node))}
        self._placeholders = dict(
            zip(graph.find_nodes(op="placeholder"), captured.placeholders, strict=True)
        )
        self._returned = pytree.tree_leaves(graph.output_node().args[0])
        self._in_place = self._find_in_place()
        self._weights = self._find_weights()

    def ops(self) -> tuple[OpProfile, ...]:
        groups = self._groups()
        held = self._held()
        modules, phases = self._modules(), self._phases()
        made = (
            self._op(node, groups.get(node), held.get(node, 0), modules[node])
            for node in self._nodes
        )
        return tuple(
            replace(op, phase=phases.get(node, op.phase))
            for node, op in zip(self._nodes, made, strict=True)
        )

    def _phases(self) -> dict[fx.Node, str]:
        """Return the phase of each op of a training step; of inference none."""
        if self._captured.mode == "inference":
            return {}
        reads = {node: [item.node for item in tensors_read(node)] for node in self._nodes}
        made: dict[bool, list[fx.Node]] = {True: [], False: []}
        for spec, value in zip(self._captured.outputs, self._returned, strict=True):
            if isinstance(value, fx.Node) and spec.kind != "gradient":
                made[spec.kind == "update"].append(made_by(value).node)
        return find_phases(reads, made[False], set(made[True]))

    def _op(self, node: fx.Node, group: str | None, weights: int, module: str) -> OpProfile:
        cost = self._costs[node]
        value = node.meta.get("val")
        sizes = self._sizes(node)
        return OpProfile(
            id=self._captured.op_id(node),
            type=op_type(node),
            inputs=tuple(self._reads(node)),
            flops=cost.flops,
            moved_bytes=moved_bytes(node, cost),
            weights=weights,
            output=sum(sizes.values()),
            outputs=sizes if len(sizes) > 1 else {},
            unread=self._unread(node),
            colocate=group,
            module=module,
            line=line_of(node),
            facts={**_facts(value), **self._view_of(node)},
        )

    def _view_of(self, node: fx.Node) -> dict[str, str]:
        """Return the op in whose output a call's is, if there is one: see `core.granularity`."""
        base = made_by(self._bases[node]).node if node in self._bases else None
        if base is None or base.op != "call_function":
            return {}
        return {"view_of": self._captured.op_id(base)}

    def _root(self, node: fx.Node) -> fx.Node:
        while node in self._bases:
            node = self._bases[node]
        return node

    def _reads(self, node: fx.Node) -> Iterator[Read]:
        for tensor in tensors_read(node):
            if tensor.node.op == "call_function":
                name = self._captured.tensors.name(tensor)
                yield Read(self._captured.op_id(tensor.node), _bytes_of(tensor), name)
        for op, name in self._views.kept(node):
            yield Read(op, 0, name)

    def _sizes(self, node: fx.Node) -> dict[str, int]:
        """Return the bytes of each tensor that a call makes and something reads, by its name."""
        fresh = self._costs[node].alias_of is None
        return {
            name: _bytes_of(tensor) if fresh and tensor not in self._in_place else 0
            for path, name in self._captured.tensors.of(node).items()
            for tensor in (Made(node, path),)
        }

    def _unread(self, node: fx.Node) -> int:
        """Return the bytes of the results that nothing reads."""
        if self._costs[node].alias_of is not None:
            return 0
        read = sum(_bytes_of(Made(node, path)) for path in self._captured.tensors.of(node))
        return nbytes(node.meta.get("val")) - read

    def _find_in_place(self) -> set[Made]:
        """Return the tensors that are a new value of a weight, which live where the old one did."""
        kinds = ("mutation", "update")
        pairs = zip(self._captured.outputs, self._returned, strict=True)
        return {made_by(node) for spec, node in pairs if spec.kind in kinds}

    def _find_weights(self) -> dict[str | int, _Weight]:
        """Return the weights by qualified name, tied ones by the least of theirs."""
        tied = {name: min(names) for names in self._captured.tied for name in names}
        changed = {s.target for s in self._captured.outputs if s.kind in ("mutation", "update")}
        found: dict[str | int, _Weight] = {}
        readers: dict[str | int, list[fx.Node]] = defaultdict(list)
        for node in self._nodes:
            for target in dict.fromkeys(self._weights_read(node, tied)):
                readers[target].append(node)
        for node, placeholder in self._placeholders.items():
            target = tied.get(str(placeholder.target), placeholder.target)
            if placeholder.kind == "input":
                continue
            size = nbytes(node.meta.get("val"))
            together = (
                placeholder.kind == "parameter"
                or size > REPLICATED_BYTES
                or placeholder.target in changed
            )
            earlier = found.get(target)
            if earlier is not None:
                size, together = max(size, earlier.bytes), together or earlier.together
            found[target] = _Weight(size, together, readers[target])
        return found

    def _weights_read(self, node: fx.Node, tied: Mapping[str, str]) -> Iterable[str | int]:
        for source in node.all_input_nodes:
            root = self._root(source)
            placeholder: Placeholder | None = self._placeholders.get(root)
            if placeholder is not None and placeholder.kind != "input":
                yield tied.get(str(placeholder.target), placeholder.target)

    def _held(self) -> dict[fx.Node, int]:
        """Bytes of weights by the op that is taken to hold them."""
        held: dict[fx.Node, int] = defaultdict(int)
        for weight in self._weights.values():
            for reader in weight.readers[: 1 if weight.together else None]:
                if weight.together or reader not in self._bases:
                    held[reader] += weight.bytes
        return held

    def _groups(self) -> dict[fx.Node, str]:
        """Return the colocation group of each op that has one: the id of its first op."""
        union = Groups(self._nodes)
        for node in self._nodes:
            base = made_by(self._bases[node]).node if node in self._bases else None
            if base is not None and base.op == "call_function":
                union.join(node, base)
        for weight in self._weights.values():
            if weight.together:
                union.join(*weight.readers)
        tied = {name: min(names) for names in self._captured.tied for name in names}
        for spec, value in zip(self._captured.outputs, self._returned, strict=True):
            maker = made_by(value).node if isinstance(value, fx.Node) else None
            if spec.kind in ("gradient", "update", "mutation") and maker in self._costs:
                target = tied.get(str(spec.target), spec.target)
                owned = self._weights.get(target)
                union.join(maker, *(owned.readers if owned is not None else ()))
        return {node: self._captured.op_id(first) for node, first in union.leaders().items()}

    def _modules(self) -> dict[fx.Node, str]:
        """Return the path of the module of each op; ops of a backward pass follow their inputs."""
        found: dict[fx.Node, str] = {}
        for node in self._nodes:
            stack = list((node.meta.get("nn_module_stack") or {}).values())
            if stack:
                found[node] = str(stack[-1][0])
                continue
            owned = [
                str(placeholder.target).rpartition(".")[0]
                for source in node.all_input_nodes
                if (placeholder := self._placeholders.get(self._root(source)))
                and placeholder.kind in ("parameter", "buffer")
            ]
            made = [found[item.node] for item in tensors_read(node) if found.get(item.node)]
            # What was saved by the forward pass comes last among a gradient's arguments.
            found[node] = (owned or made[::-1] or [""])[0]
        return found


def _bytes_of(tensor: Made) -> int:
    return nbytes(value_at(tensor.node.meta.get("val"), tensor.path))


def _facts(value: Any) -> dict[str, Any]:
    tensors = [t for t in pytree.tree_leaves(value) if isinstance(t, torch.Tensor)]
    if not tensors:
        return {}
    shapes = [[int(size) for size in tensor.shape] for tensor in tensors]
    return {
        "shape": shapes[0] if isinstance(value, torch.Tensor) else shapes,
        "dtype": str(tensors[0].dtype).removeprefix("torch."),
    }


__all__ = ["REPLICATED_BYTES", "Cost", "describe_ops"]
