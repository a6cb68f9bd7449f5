"""Branches and loops inside a captured graph: each is one op, whatever is in it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.utils._pytree as pytree
from torch import fx


def fold_control_flow(graph_module: fx.GraphModule) -> None:
    """Let every ``torch.cond``, ``while_loop`` and their like be a call of one function of tensors.

    Nothing may trace the graph afterwards: it would follow one of the ways.
    """
    graph = graph_module.graph
    for node in graph.find_nodes(op="get_attr"):
        inner = getattr(graph_module, str(node.target), None)
        if not isinstance(inner, fx.GraphModule):
            continue
        for user in list(node.users):
            if user.op == "call_function":
                _fold(graph_module, user)
        if not node.users:
            graph.erase_node(node)
    graph_module.recompile()


def _fold(graph_module: fx.GraphModule, node: fx.Node) -> None:
    def inner(item: Any) -> Any:
        held = isinstance(item, fx.Node) and item.op == "get_attr"
        found = getattr(graph_module, str(item.target)) if held else item
        return found if isinstance(found, fx.GraphModule) else item

    name = getattr(node.target, "__name__", "")
    if name == "cond":
        predicate, yes, no, operands = node.args
        node.target = branch(inner(yes), inner(no))
        node.args = (predicate, *operands)  # type: ignore[misc]
    elif name == "while_loop":
        condition, body, carried, extra = node.args
        node.target = loop(inner(condition), inner(body), len(carried))  # type: ignore[arg-type]
        node.args = (*carried, *extra)  # type: ignore[misc]
    else:
        leaves, spec = pytree.tree_flatten((node.args, node.kwargs))
        filled = [inner(leaf) for leaf in leaves]
        node.target = holder(node.target, name, filled, spec)
        node.args, node.kwargs = tuple(x for x in filled if isinstance(x, fx.Node)), {}


def holder(call: Any, name: str, leaves: list[Any], spec: Any) -> Callable[..., Any]:
    """Return a function of the tensors among a call's arguments; graphs and all else are fixed."""
    places = [k for k, leaf in enumerate(leaves) if isinstance(leaf, fx.Node)]
    fixed = [None if isinstance(leaf, fx.Node) else leaf for leaf in leaves]

    def held(*tensors: Any) -> Any:
        values = list(fixed)
        for k, tensor in zip(places, tensors, strict=True):
            values[k] = tensor
        args, kwargs = pytree.tree_unflatten(values, spec)
        return call(*args, **kwargs)

    held.__name__ = held.__qualname__ = name
    return held


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
