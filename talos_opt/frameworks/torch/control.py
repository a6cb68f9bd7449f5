"""Branches and loops inside a captured graph: each is one op, whatever is in it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import fx

#: What holds graphs of its own and is one op, by its name.
_KINDS = ("cond", "while_loop")


def fold_control_flow(graph_module: fx.GraphModule) -> None:
    """Let every ``torch.cond`` and ``while_loop`` be a call of one function of tensors.

    Nothing may trace the graph afterwards: it would follow one of the ways.
    """
    graph = graph_module.graph
    for node in graph.find_nodes(op="get_attr"):
        inner = getattr(graph_module, str(node.target), None)
        if not isinstance(inner, fx.GraphModule):
            continue
        for user in list(node.users):
            if getattr(user.target, "__name__", "") in _KINDS:
                _fold(graph_module, user)
        if not node.users:
            graph.erase_node(node)
    graph_module.recompile()


def _fold(graph_module: fx.GraphModule, node: fx.Node) -> None:
    def graph_of(item: Any) -> fx.GraphModule:
        inner = getattr(graph_module, str(item.target))
        assert isinstance(inner, fx.GraphModule), "export keeps branches as graphs"
        return inner

    if getattr(node.target, "__name__", "") == "cond":
        predicate, yes, no, operands = node.args
        node.target = branch(graph_of(yes), graph_of(no))
        node.args = (predicate, *operands)  # type: ignore[misc]
        return
    condition, body, carried, extra = node.args
    node.target = loop(graph_of(condition), graph_of(body), len(carried))  # type: ignore[arg-type]
    node.args = (*carried, *extra)  # type: ignore[misc]


def branch(yes: fx.GraphModule, no: fx.GraphModule) -> Callable[..., Any]:
    """Return a function of a predicate and tensors that goes one of two ways.

    On tensors without values both ways are gone: it costs no more than that.
    """

    def cond(predicate: torch.Tensor | bool, *operands: torch.Tensor) -> Any:
        if _unknown(predicate):
            no(*operands)
            return yes(*operands)
        return yes(*operands) if predicate else no(*operands)

    return cond


def loop(condition: fx.GraphModule, body: fx.GraphModule, count: int) -> Callable[..., Any]:
    """Return a function that runs a body on its first `count` tensors until a condition fails.

    On tensors without values it runs once: how often nobody knows.
    """

    def while_loop(*values: torch.Tensor) -> Any:
        carried, extra = tuple(values[:count]), values[count:]
        if _unknown(condition(*carried, *extra)):
            return tuple(body(*carried, *extra))
        while condition(*carried, *extra):
            carried = tuple(body(*carried, *extra))
        return carried

    return while_loop


def _unknown(predicate: Any) -> bool:
    return isinstance(predicate, torch.Tensor) and predicate.device.type == "meta"
