"""What calls do whose work the sizes of their tensors do not tell.

A table lookup reads a few rows and computes nothing; experts of a mixture multiply only the tokens
that were routed to them; a causal attention kernel skips the scores above the diagonal. Everything
here follows from shapes, so it holds for fake and meta tensors too.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch

_Args = Mapping[str, Any]

#: Lookups: they return what they read of their first argument.
_LOOKUPS = frozenset(
    (
        "aten::embedding", "aten::index", "aten::_unsafe_index", "aten::index_select",
        "aten::gather", "aten::take", "aten::take_along_dim",
    )
)  # fmt: skip
_BAGS = frozenset(
    ("aten::embedding_bag", "aten::_embedding_bag", "aten::_embedding_bag_forward_only")
)
#: Copies of a part of their first argument, where they are no views.
_PARTS = frozenset(("aten::slice", "aten::select", "aten::narrow"))
#: Products of rows that are sorted by expert with the matrix of each expert, and their gradients.
_GROUPED = frozenset(("aten::_grouped_mm", "transformers::grouped_mm_fallback"))
_GROUPED_BACKWARD = "transformers::grouped_mm_fallback_backward"
#: Attention in one kernel that skips what a causal mask hides; the math kernel computes all of it.
_FUSED = frozenset(
    (
        "aten::scaled_dot_product_attention", "aten::_scaled_dot_product_flash_attention",
        "aten::_scaled_dot_product_flash_attention_for_cpu",
        "aten::_scaled_dot_product_efficient_attention",
        "aten::_scaled_dot_product_cudnn_attention",
        "aten::_scaled_dot_product_fused_attention_overrideable",
    )
)  # fmt: skip
#: Pooling that also writes where each maximum is, as 64-bit numbers, though nobody asks for that.
_MAXIMA = frozenset(("aten::max_pool1d", "aten::max_pool2d", "aten::max_pool3d"))
#: A layer of an LSTM.
_RECURRENT = "aten::mkldnn_rnn_layer"
_MATH = "aten::_scaled_dot_product_attention_math"


def flops(func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> float | None:
    """Return the FLOPs of a call by a rule of its own.

    Parameters
    ----------
    func : torch.ops overload, or any other callable
    args, kwargs : sequence and mapping
        Tensors may be fake or on the meta device.

    Returns
    -------
    float or None
        None: no rule is needed here, since torch's counter, or the sizes, tell.
    """
    name = _name(func)
    rule = _rule(name)
    return None if rule is None else float(rule(_bound(func, args, kwargs)))


def unread_bytes(
    func: Any, args: Sequence[Any], kwargs: Mapping[str, Any], written_bytes: int
) -> int:
    """Return the bytes of its arguments that a call does not read.

    Parameters
    ----------
    func, args, kwargs
        As for `flops`.
    written_bytes : int
        Size of what the call returns.
    """
    name = _name(func)
    if name in _LOOKUPS or name in _PARTS:
        table = _bound(func, args, kwargs)[func._schema.arguments[0].name]
        return max(0, _bytes(table) - written_bytes) if isinstance(table, torch.Tensor) else 0
    if name in _BAGS:
        given = _bound(func, args, kwargs)
        weight = given["weight"]
        rows = given["indices"].numel() * weight.shape[-1] * weight.element_size()
        return max(0, _bytes(weight) - int(rows))
    if name in _GROUPED or name == _GROUPED_BACKWARD:
        rows, experts = _operands(_bound(func, args, kwargs))
        if rows.dim() == 2 and experts.dim() == 3:
            idle = max(0, experts.shape[0] - rows.shape[0])
            return _bytes(experts) // max(1, experts.shape[0]) * int(idle)
    return 0


def unseen_bytes(func: Any, made: Sequence[torch.Tensor]) -> int:
    """Return the bytes that a call writes beside what it returns.

    Parameters
    ----------
    func : torch.ops overload, or any other callable
    made : sequence of torch.Tensor
        What it returns.
    """
    return 8 * sum(t.numel() for t in made) if _name(func) in _MAXIMA else 0


def _name(func: Any) -> str:
    schema = getattr(func, "_schema", None)
    return str(getattr(schema, "name", ""))


def _bound(func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> _Args:
    """Arguments by name, defaults included."""
    declared = func._schema.arguments
    found = {a.name: a.default_value for a in declared if a.has_default_value()}
    found.update(zip((a.name for a in declared), args, strict=False))
    return {**found, **kwargs}


def _bytes(tensor: torch.Tensor) -> int:
    return tensor.numel() * tensor.element_size()


def _rule(name: str) -> Callable[[_Args], float] | None:
    if name in _LOOKUPS:
        return lambda given: 0.0
    if name in _BAGS:
        return lambda given: given["indices"].numel() * given["weight"].shape[-1]
    if name == "aten::embedding_dense_backward":
        return lambda given: given["grad_output"].numel()
    if name in _GROUPED:
        return _grouped
    if name == _GROUPED_BACKWARD:
        return lambda given: 2 * _grouped(given)
    if name in _FUSED:
        return lambda given: _attention(given, 1, 1) * _visible(given)
    if name == _RECURRENT:
        return lambda given: _recurrent(given, "weight0", "weight1")
    if name == f"{_RECURRENT}_backward":  # for what is read, and for the weights
        return lambda given: 2 * _recurrent(given, "weight1", "weight2")
    if name == _MATH:
        return lambda given: _attention(given, 1, 1)
    if name.removesuffix("_backward") in _FUSED:
        # The scores once more, and the gradients of scores, values, queries and keys.
        return lambda given: _attention(given, 3, 2) * _visible(given)
    return None


def _operands(given: _Args) -> tuple[torch.Tensor, torch.Tensor]:
    if "mat2" in given:
        return given["self"], given["mat2"]
    return given["input"], given["weight"]


def _grouped(given: _Args) -> float:
    """Every row is multiplied by the matrix of one expert, wherever the groups end."""
    a, b = _operands(given)
    groups = a.shape[0] if a.dim() == b.dim() == 3 else 1
    return float(2 * groups * a.shape[-2] * a.shape[-1] * b.shape[-1])


def _attention(given: _Args, with_keys: int, with_values: int) -> float:
    """So many products of the size of queries times keys, and of scores times values."""
    query, key, value = given["query"], given["key"], given["value"]
    rows = math.prod(query.shape[:-1])
    width = with_keys * query.shape[-1] + with_values * value.shape[-1]
    return float(2 * rows * key.shape[-2] * width)


def _recurrent(given: _Args, *weights: str) -> float:
    """At every step two weights, (4h, i) and (4h, h), are applied."""
    steps: int = math.prod(given["input"].shape[:2])
    applied: int = sum(given[name].numel() for name in weights)
    return 2.0 * steps * applied


def _visible(given: _Args) -> float:
    """Share of the scores that a kernel computes: query i sees keys 0 to i if it is causal."""
    queries, keys = given["query"].shape[-2], given["key"].shape[-2]
    if not given.get("is_causal") or not queries or not keys:
        return 1.0
    full = max(0, queries - keys)  # queries that see every key
    part = queries - full
    return float((part * (part + 1) / 2 + full * keys) / (queries * keys))
