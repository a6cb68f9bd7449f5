"""Floating-point operations of a call in an execution trace, from its name and its shapes.

Multiplications and additions count as one each. What is not listed is bound by the bytes that it
moves, and counts as unknown.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

Shape = tuple[int, ...]

#: Operators that multiply two matrices, and where these stand among the inputs.
_PRODUCTS = {"mm": 0, "bmm": 0, "matmul": 0, "addmm": 1, "baddbmm": 1, "_int_mm": 0, "mv": 0}


def flops_of(name: str, inputs: Sequence[object], outputs: Sequence[object]) -> float | None:
    """Return the operations of a call; None where they are unknown.

    Parameters
    ----------
    name : str
        As PyTorch names operators: ``aten::addmm``.
    inputs, outputs : sequence
        Shapes, a list of sizes for each tensor; anything else for other values.
    """
    base = name.rpartition("::")[2].removesuffix("_")
    read, made = [_shape(item) for item in inputs], [_shape(item) for item in outputs]
    result = next((shape for shape in made if shape), None)
    if result is None:
        return None
    if base in _PRODUCTS and len(read) > _PRODUCTS[base]:
        first = read[_PRODUCTS[base]]
        return 2.0 * math.prod(result) * first[-1] if first else None
    if base == "linear" and read and read[0]:
        return 2.0 * math.prod(result) * read[0][-1]
    if "conv" in base and len(read) > 1:
        return _convolution(base, read, made)
    if "scaled_dot_product" in base or base.endswith("attention_forward"):
        query, key = read[0], read[1] if len(read) > 1 else None
        if query and key and len(query) == len(key) and len(query) > 2:
            return 4.0 * math.prod(query) * key[-2]
    return None


def _convolution(
    base: str, read: Sequence[Shape | None], made: Sequence[Shape | None]
) -> float | None:
    """Each output is a sum over the weights of one output channel, (out, in / groups, ...)."""
    backwards = "backward" in base
    if backwards:
        result, weights = read[0], read[2] if len(read) > 2 else None
    else:
        result, weights = made[0], read[1]
    if not result or not weights or "transpose" in base:
        return None
    once = 2.0 * math.prod(result) * math.prod(weights[1:])
    # Backwards as much for each gradient: that of the input, and that of the weights.
    return once * sum(shape is not None and len(shape) > 1 for shape in made) if backwards else once


def _shape(value: object) -> Shape | None:
    """Return a shape as a trace gives it; None for a scalar, a list of tensors or anything else."""
    if not isinstance(value, (list, tuple)) or not value:
        return None
    if all(type(item) is int and item >= 0 for item in value):
        return tuple(value)
    return None
