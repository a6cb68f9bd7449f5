"""A captured graph as what is called: forwards, and backwards from a gradient of an output.

The loss that a training graph was captured with, and its step of gradient descent, are left out:
who trains has a loss and an optimiser. Between the halves pass the values that the backward half
reads of the forward one.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from torch import fx, nn

from talos_opt.core.errors import InputError
from talos_opt.frameworks.common.running import CapturedOp, Hop, Planned, needed
from talos_opt.frameworks.torch.captured import Captured
from talos_opt.frameworks.torch.signature import Output
from talos_opt.frameworks.torch.steps import outputs
from talos_opt.frameworks.torch.tensors import is_pick, made_by
from talos_opt.frameworks.torch.tracing import SEED


@dataclass(frozen=True)
class Halves:
    """A captured graph, taken apart.

    Parameters
    ----------
    forward : Captured
        Returns the outputs of the module, in their order, then the new values of `mutated`, then
        those of `saved`. Its placeholders are those of the whole graph.
    user : int
        Outputs of the module.
    mutated : tuple of str or int
        Buffers, parameters (by name) and inputs (by position) that the model changes.
    saved : tuple of fx.Node
        Values of the forward half that the backward half reads.
    backward : Captured, optional
        Returns `gradients`. Its placeholders are those of the whole graph, then `saved`, then
        the gradient of the output that is minimised. None: the graph has no backward pass.
    gradients : tuple of str
        Parameters that have a gradient.
    seed : fx.Node, optional
        The gradient of the output that is minimised, in the whole graph.
    """

    forward: Captured
    user: int
    mutated: tuple[str | int, ...]
    saved: tuple[fx.Node, ...] = ()
    backward: Captured | None = None
    gradients: tuple[str, ...] = ()
    seed: fx.Node | None = None


def split(captured: Captured) -> Halves:
    """Take a captured graph apart.

    Raises
    ------
    InputError
        If the graph of a training step does not say where its backward pass begins.
    """
    pairs = list(zip(captured.outputs, outputs(captured), strict=True))
    user = [item for spec, item in pairs if spec.kind == "user_output"]
    changed = {spec.target: item for spec, item in pairs if spec.kind == "mutation"}
    ends = [*user, *changed.values()]
    ahead = _ancestors(ends)
    if captured.mode == "inference":
        return Halves(_part(captured, ahead, (), ends), len(user), tuple(changed))
    seed = next((n for n in captured.graph_module.graph.nodes if SEED in n.meta), None)
    if seed is None:
        raise InputError("the captured training step does not say where its backward pass begins")
    gradients = {str(spec.target): item for spec, item in pairs if spec.kind == "gradient"}
    behind = _ancestors(gradients.values(), stop=seed) - ahead
    for node in captured.graph_module.graph.nodes:  # a pick goes with its op
        if node in behind and is_pick(node) and made_by(node).node in ahead:
            behind.remove(node)
            ahead.add(node)
    read = {n: None for node in behind for n in node.all_input_nodes}
    read |= {n: None for item in gradients.values() for n in _nodes(item)}
    entries = {n for n in read if n in ahead and n.op != "placeholder"}
    saved = tuple(node for node in captured.graph_module.graph.nodes if node in entries)
    return Halves(
        _part(captured, ahead, (), [*ends, *saved]),
        len(user),
        tuple(changed),
        saved,
        _part(captured, behind, (*saved, seed), list(gradients.values())),
        tuple(gradients),
        seed,
    )


def differentiable(captured: Captured, trained: Iterable[str]) -> list[bool]:
    """Return of every output of the module whether a parameter that is trained reaches it."""
    names = set(trained)
    nodes = captured.graph_module.graph.find_nodes(op="placeholder")
    sources = {
        node for node, p in zip(nodes, captured.placeholders, strict=True) if p.target in names
    }
    pairs = zip(captured.outputs, outputs(captured), strict=True)
    return [
        bool(sources & _ancestors([item])) for spec, item in pairs if spec.kind == "user_output"
    ]


def hops_of(whole: Captured, part: Captured, plan: Planned) -> list[Hop]:
    """Return the hops of a plan that bring something to an op of a part, by the part's names."""
    own = {node.name: node for node in part.ops()}
    ops = [
        CapturedOp(part.op_id(n), "", part.reads(n), part.tensors.outputs(n)) for n in own.values()
    ]
    names: dict[tuple[str, str], str] = {}
    for node in whole.ops():
        if node.name in own:
            there = part.tensors.of(own[node.name])
            for path, name in whole.tensors.of(node).items():
                if path in there:
                    names[whole.op_id(node), name] = there[path]
    hops = [
        dataclasses.replace(hop, output=names[hop.op, hop.output])
        for hop in plan.hops
        if (hop.op, hop.output) in names
    ]
    return list(needed(ops, plan.device, hops))


def _nodes(item: Any) -> list[fx.Node]:
    found: list[fx.Node] = []
    fx.node.map_arg(item, found.append)
    return found


def _ancestors(items: Iterable[Any], stop: fx.Node | None = None) -> set[fx.Node]:
    """Return the nodes that some values come from, themselves included, down to placeholders."""
    found: set[fx.Node] = set()
    left = [node for item in items for node in _nodes(item)]
    while left:
        node = left.pop()
        if node not in found and node is not stop:
            found.add(node)
            left += node.all_input_nodes
    return found


def _part(
    captured: Captured, chosen: set[fx.Node], entries: Sequence[fx.Node], ends: Sequence[Any]
) -> Captured:
    """Return a part of a graph, with the ids of the whole."""
    graph = fx.Graph()
    copies: dict[fx.Node, fx.Node] = {}
    whole = captured.graph_module.graph
    for node in (*whole.find_nodes(op="placeholder"), *entries):
        copies[node] = graph.placeholder(node.name)
        copies[node].meta = dict(node.meta)
        copies[node].name = node.name
    for node in whole.nodes:
        if node in chosen and node not in copies:
            copies[node] = graph.node_copy(node, copies.__getitem__)
            copies[node].name = node.name
    graph.output(tuple(fx.node.map_arg(end, copies.__getitem__) for end in ends))
    return dataclasses.replace(
        captured,
        graph_module=fx.GraphModule(nn.Module(), graph),
        outputs=tuple(Output("user_output", k) for k in range(len(ends))),
        placeholders=(),
    )
