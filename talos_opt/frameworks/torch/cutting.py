"""A module cut into stages: graphs of calls, each of which hands tensors on to the next.

The whole module is exported once and cut where the modules that later stages begin with are
called, as ``torch.distributed.pipelining.pipeline`` does. Its stages have skip connections that it
cannot differentiate, and inputs that only its first stage may read. Here what a stage further on
reads goes through all stages in between, and every stage has the inputs that it reads.
"""

from __future__ import annotations

import operator
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import fx, nn
from torch.distributed.pipelining import pipe_split

from talos_opt.core.errors import InputError
from talos_opt.frameworks.common.loading import explain
from talos_opt.frameworks.torch.arguments import Arguments

#: What `pipe_split` leaves in a graph.
_MARK = "pippy._pipe_split.default"


@dataclass(frozen=True)
class Part:
    """A stage of a module.

    Parameters
    ----------
    module : torch.fx.GraphModule
        Called with what it receives, by position, and with the inputs that it reads, by name.
    received, made : tuple of torch.Tensor
        What comes from the stage before and what it returns, as tensors without memory; those
        that a gradient comes back for require one. The last stage returns the model's outputs.
    inputs : mapping of str to int
        Position, among the tensors of the model's arguments, of each input.
    outputs : tuple
        Of the last stage: for each of the model's outputs its position in `made`, or None and what
        it always is.
    """

    module: fx.GraphModule
    received: tuple[torch.Tensor, ...]
    made: tuple[torch.Tensor, ...]
    inputs: dict[str, int]
    outputs: tuple[tuple[int | None, Any], ...] = ()

    def leaves(self, made: Sequence[Any]) -> list[Any]:
        """Return the model's outputs, flat, from what the last stage has returned."""
        return [made[k] if k is not None else value for k, value in self.outputs]


def cut(module: nn.Module, given: Arguments, begins: Sequence[str]) -> list[Part]:
    """Cut a module into stages.

    Parameters
    ----------
    module : torch.nn.Module
        In the mode that it is to run in; its parameters are those of the stages.
    given : Arguments
        Of one micro-batch.
    begins : sequence of str
        Module that each stage but the first begins with, in the order in which they run.

    Raises
    ------
    InputError
        If the module cannot be exported or has no such modules, if one of them is not called
        exactly once, or if a stage would have no parameters in common with what it returns.
    """
    graph_module = _export(module, given, begins)
    return _Cutting(graph_module, module, len(begins) + 1).parts()


def move_part(part: Part, device: torch.device) -> None:
    """Move a stage to a device: weights, constants, and what its calls make there."""
    if device.type == "cpu":
        return
    module = part.module
    for node in module.graph.nodes:
        if node.op == "get_attr":
            *path, name = str(node.target).split(".")
            owner = module.get_submodule(".".join(path))
            value = getattr(owner, name)
            if name not in {**dict(owner.named_parameters()), **dict(owner.named_buffers())}:
                delattr(owner, name)
                owner.register_buffer(name, value)
        elif "device" in node.kwargs:  # that of the export
            node.update_kwarg("device", device)
    module.recompile()
    module.to(device)


def _export(module: nn.Module, given: Arguments, begins: Sequence[str]) -> fx.GraphModule:
    args, kwargs = given.nested()
    hooks = []
    called: list[str] = []
    try:
        for path in begins:
            try:
                part = module.get_submodule(path)
            except AttributeError:
                raise InputError(
                    f"a schedule of another model: there is no module {path!r}, which a stage "
                    "begins with"
                ) from None

            def mark(_: nn.Module, __: Any, path: str = path) -> None:
                called.append(path)
                pipe_split()  # type: ignore[no-untyped-call]

            hooks.append(part.register_forward_pre_hook(mark))
        try:
            exported = torch.export.export(module, args, kwargs)
        except Exception as error:
            raise InputError(
                f"the model cannot be exported, which its stages are made from: {explain(error)}"
            ) from error
    finally:
        for hook in hooks:
            hook.remove()
    if called != list(begins):
        raise InputError(
            f"stages begin with {', '.join(begins)}, but the model calls "
            f"{', '.join(called) or 'none of them'}, in this order: each has to be called once"
        )
    found = exported.module(check_guards=False)
    assert isinstance(found, fx.GraphModule)
    return found


class _Cutting:
    """A flat graph, each call of which belongs to one stage."""

    def __init__(self, graph_module: fx.GraphModule, module: nn.Module, count: int) -> None:
        self.graph_module, self.count = graph_module, count
        graph = graph_module.graph
        self.inputs = {node: k for k, node in enumerate(graph.find_nodes(op="placeholder"))}
        self.stage = self._stages()
        self.returned: list[Any] = list(_flat(graph.output_node().args[0]))
        self.last = self._last_readers()
        learnt = {name for name, p in module.named_parameters() if p.requires_grad}
        self.learning = self._learning(learnt)

    def parts(self) -> list[Part]:
        """Return the stages in order."""
        found: list[Part] = []
        received: list[fx.Node] = []
        for k in range(self.count):
            made = self._handed_on(k) if k < self.count - 1 else self._results()
            found.append(self._part(k, received, made))
            received = made
        return found

    def _stages(self) -> dict[fx.Node, int]:
        """Return the stage of each call; results are picked where they are made."""
        found: dict[fx.Node, int] = {}
        now = 0
        for node in self.graph_module.graph.nodes:
            if node.op != "call_function":
                continue
            if str(node.target) == _MARK:
                now += 1
            elif node.target is operator.getitem and node.args[0] in found:
                found[node] = found[node.args[0]]
            else:
                found[node] = now
        return found

    def _last_readers(self) -> dict[fx.Node, int]:
        """Return the last stage that each call's result is read in."""
        last = dict(self.stage)
        for node, k in self.stage.items():
            for read in node.all_input_nodes:
                if read in last:
                    last[read] = max(last[read], k)
        for node in self.returned:
            if node in last:
                last[node] = self.count - 1
        return last

    def _learning(self, learnt: set[str]) -> set[fx.Node]:
        """Return the nodes whose values depend on a parameter that has a gradient."""
        found: set[fx.Node] = set()
        for node in self.graph_module.graph.nodes:
            if (node.op == "get_attr" and node.target in learnt) or (
                node in self.stage
                and any(read in found for read in node.all_input_nodes)
                and not _is_whole(node.meta.get("val"))
            ):
                found.add(node)
        return found

    def _handed_on(self, k: int) -> list[fx.Node]:
        return [node for node, at in self.stage.items() if at <= k < self.last[node]]

    def _results(self) -> list[fx.Node]:
        return list(dict.fromkeys(node for node in self.returned if isinstance(node, fx.Node)))

    def _part(self, k: int, received: Sequence[fx.Node], made: Sequence[fx.Node]) -> Part:
        graph = fx.Graph()
        own = [node for node, at in self.stage.items() if at == k]
        known: dict[fx.Node, fx.Node] = {}
        for node in received:
            known[node] = graph.placeholder(f"got_{node.name}")
        read = [node for call in own for node in call.all_input_nodes]
        read += made if k == self.count - 1 else []
        inputs: dict[str, int] = {}
        for node in dict.fromkeys(node for node in read if node in self.inputs):
            known[node] = graph.placeholder(f"input_{self.inputs[node]}")
            inputs[known[node].name] = self.inputs[node]
        for node in dict.fromkeys(node for node in read if node.op == "get_attr"):
            known[node] = graph.get_attr(str(node.target))
        changed = {_base(call.args[0], own) for call in own if _changes(call)}
        for node in received:
            if node in changed:  # what was received is a leaf, which nothing may change in place
                known[node] = graph.call_function(torch.ops.aten.clone.default, (known[node],))
        for call in own:
            known[call] = graph.node_copy(call, lambda node: known[node])
        graph.output(tuple(self._returned(graph, known[node], k, node) for node in made))
        outputs = [(made.index(x), None) if x in made else (None, x) for x in self.returned]
        return Part(
            fx.GraphModule(self.graph_module, graph),
            tuple(map(self._example, received)),
            tuple(map(self._example, made)),
            inputs,
            tuple(outputs) if k == self.count - 1 else (),
        )

    def _returned(self, graph: fx.Graph, made: fx.Node, k: int, node: fx.Node) -> fx.Node:
        """Return what a stage hands on: only contiguous tensors can be sent."""
        value = node.meta.get("val")
        last = k == self.count - 1
        if last or not isinstance(value, torch.Tensor) or value.is_contiguous():
            return made
        return graph.call_function(torch.ops.aten.contiguous.default, (made,))

    def _example(self, node: fx.Node) -> torch.Tensor:
        value = node.meta["val"]
        if not isinstance(value, torch.Tensor):
            raise InputError(
                f"{node.name} is a {type(value).__name__} that goes from one stage to another, "
                "expected only tensors"
            )
        made = torch.empty(value.shape, dtype=value.dtype, device="meta")
        return made.requires_grad_(node in self.learning)


def _flat(value: Any) -> Sequence[Any]:
    return value if isinstance(value, (tuple, list)) else (value,)


def _is_whole(value: Any) -> bool:
    """Whether a value is a tensor that no gradient can go through."""
    return isinstance(value, torch.Tensor) and not (value.is_floating_point() or value.is_complex())


def _base(value: Any, calls: Sequence[fx.Node]) -> Any:
    """Return what a value is a view of, as far as these calls made it."""
    while value in calls and getattr(value.target, "is_view", False):
        value = value.args[0]
    return value


def _changes(call: fx.Node) -> bool:
    schema = getattr(call.target, "_schema", None)
    return bool(schema is not None and schema.is_mutable and call.args)
