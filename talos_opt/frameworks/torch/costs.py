"""What one call costs and whose memory it uses, found out on tensors without memory."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.utils._pytree as pytree
from torch import fx
from torch.utils.flop_counter import FlopCounterMode

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
        if known is not None:
            return Cost(known, alias)
        flops = float(counter.get_total_flops())
        if not flops and alias is None:
            # One operation per element: the estimate for whatever has no formula.
            flops = float(max((t.numel() for t in (*tensors, *made)), default=0))
        return Cost(flops, alias)


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
    schema = getattr(node.target, "_schema", None)
    if schema is not None:
        return str(schema.name).replace("::", ".")
    return str(getattr(node.target, "__name__", node.target))


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
    return written + read - work.unread_bytes(node.target, args, kwargs, written)
