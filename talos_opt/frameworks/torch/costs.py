"""What one call costs and whose memory it uses, found out on tensors without memory."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.utils._pytree as pytree
from torch import fx
from torch.utils.flop_counter import FlopCounterMode, flop_registry

from talos_opt.frameworks.common.roofline import Call
from talos_opt.frameworks.torch import work
from talos_opt.frameworks.torch.substitutes import place_call

_aten = torch.ops.aten


@dataclass(frozen=True, slots=True)
class Cost:
    """What a call does.

    Parameters
    ----------
    flops : float, optional
        None: the call could not be evaluated.
    alias_of : int, optional
        Which of the call's tensors (in flat order) its output is a view of, or is.
    """

    flops: float | None
    alias_of: int | None


class Evaluator:
    """Evaluates calls on the meta device; calls that are alike once."""

    def __init__(self) -> None:
        self._known: dict[object, Cost] = {}

    def cost(self, node: fx.Node) -> Cost:
        """Return what a call costs."""
        key = _key(node)
        if key not in self._known:
            self._known[key] = self._evaluate(node)
        return self._known[key]

    def _evaluate(self, node: fx.Node) -> Cost:
        args, kwargs = fx.node.map_aggregate(
            (node.args, place_call(node, "meta")),
            lambda a: fx.node.map_arg(a, _stand_in) if isinstance(a, fx.Node) else a,
        )
        tensors = [t for t in pytree.tree_leaves((args, kwargs)) if isinstance(t, torch.Tensor)]
        known = work.flops(node.target, args, kwargs)
        try:
            counter = FlopCounterMode(display=False)
            with torch.no_grad(), counter:
                result = _target(node)(*args, **kwargs)
        except Exception:  # an op that only runs on real tensors, say
            return Cost(known, _declared_alias(node))
        made = [t for t in pytree.tree_leaves(result) if isinstance(t, torch.Tensor)]
        alias = _shared(made, tensors)
        if alias is None and node.target is _aten._unsafe_view.default:
            alias = 0
        counted = float(counter.get_total_flops())
        return Cost(_flops(known, counted, (*tensors, *made), alias is not None), alias)


def counted_flops(func: Any, args: Sequence[Any], kwargs: Mapping[str, Any], result: Any) -> float:
    """Return FLOPs by a rule of our own, else by torch's formula; 0 where there is none."""
    known = work.flops(func, args, kwargs)
    if known is not None:
        return known
    formula = flop_registry.get(func._overloadpacket)
    return 0.0 if formula is None else float(formula(*args, **kwargs, out_val=result))


def call_of(
    func: Any,
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    result: Any,
    counted: float | None = None,
) -> Call | None:
    """Return the work of a call that has run, on fake tensors perhaps, as a graph would state it.

    Parameters
    ----------
    func : torch.ops overload
    args, kwargs : sequence and mapping
    result : object
        What it returned.
    counted : float, optional
        FLOPs of the ops that it consists of; default: by `counted_flops`.

    Returns
    -------
    Call or None
        None: it is a view, or has to do with no tensor, and costs nothing.
    """
    read = _distinct((args, dict(kwargs)))
    made = _distinct(result)
    view = func is _aten._unsafe_view.default or _shared(made, read) is not None
    if not made or (view and not func._schema.is_mutable):
        return None
    written = nbytes(made)
    known = work.flops(func, args, kwargs)
    if counted is None:
        counted = counted_flops(func, args, kwargs, result)
    return Call(
        type_of(func),
        _flops(known, counted, (*read, *made), view=False),
        written
        + work.unseen_bytes(func, made)
        + nbytes(read)
        - work.unread_bytes(func, args, kwargs, written),
        written,
    )


def _distinct(value: Any) -> list[torch.Tensor]:
    """Return the tensors in a value, each once: a call reads an argument given twice once."""
    leaves = (t for t in pytree.tree_leaves(value) if isinstance(t, torch.Tensor))
    return list({id(t): t for t in leaves}.values())


def _flops(
    known: float | None, counted: float, tensors: Sequence[torch.Tensor], view: bool
) -> float:
    """Return FLOPs by a rule of our own, else by torch's formula, else one for each element."""
    if known is not None:
        return known
    if counted or view:
        return counted
    return float(max((t.numel() for t in tensors), default=0))


def _target(node: fx.Node) -> Callable[..., Any]:
    target = node.target
    if not callable(target):
        raise TypeError(f"op {node.name} calls {target!r}")
    return target


def _stand_in(node: fx.Node) -> Any:
    """Return what a call's argument looks like, without memory."""
    return pytree.tree_map_only(torch.Tensor, _meta_like, node.meta.get("val"))


def _meta_like(value: torch.Tensor) -> torch.Tensor:
    return torch.empty_strided(value.shape, value.stride(), dtype=value.dtype, device="meta")


def _key(node: fx.Node) -> object:
    def describe(value: Any) -> Any:
        leaves = pytree.tree_leaves(value.meta.get("val") if isinstance(value, fx.Node) else value)
        return tuple(
            (tuple(x.shape), x.stride(), x.dtype) if isinstance(x, torch.Tensor) else repr(x)
            for x in leaves
        )

    flat = pytree.tree_leaves((node.args, dict(node.kwargs)))
    return (node.target, tuple(describe(value) for value in flat))


def _shared(made: list[torch.Tensor], given: list[torch.Tensor]) -> int | None:
    owners = {t.untyped_storage()._cdata: k for k, t in reversed(list(enumerate(given)))}
    for tensor in made:
        owner = owners.get(tensor.untyped_storage()._cdata)
        if owner is not None:
            return owner
    return None


def _declared_alias(node: fx.Node) -> int | None:
    schema = getattr(node.target, "_schema", None)
    if schema is None or not any(value.alias_info for value in schema.returns):
        return None
    return 0


def op_type(node: fx.Node) -> str:
    """Return the name of what is called, such as ``aten.convolution``."""
    return type_of(node.target)


def type_of(func: Any) -> str:
    """Return the type of the op that a function is."""
    schema = getattr(func, "_schema", None)
    if schema is not None:
        return str(schema.name).replace("::", ".")
    return str(getattr(func, "__name__", func))


def nbytes(value: Any) -> int:
    """Return the bytes of a tensor, or of all tensors in a nested value."""
    leaves = pytree.tree_leaves(value)
    return sum(math.prod(t.shape) * t.element_size() for t in leaves if isinstance(t, torch.Tensor))


def moved_bytes(node: fx.Node, cost: Cost) -> int:
    """Return the bytes that a call reads and writes; none for views."""
    if cost.alias_of is not None:
        return 0
    written = nbytes(node.meta.get("val"))
    read = sum(nbytes(source.meta.get("val")) for source in node.all_input_nodes)
    args, kwargs = fx.node.map_arg((node.args, dict(node.kwargs)), lambda n: n.meta.get("val"))
    unread = work.unread_bytes(node.target, args, kwargs, written)
    made = [t for t in pytree.tree_leaves(node.meta.get("val")) if isinstance(t, torch.Tensor)]
    return written + work.unseen_bytes(node.target, made) + read - unread
