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


#: Where the general convolutions, and their gradients, are told whether they are transposed.
_TRANSPOSED = {"convolution": 6, "_convolution": 6, "convolution_overrideable": 6}


def flops_of(
    name: str,
    inputs: Sequence[object],
    outputs: Sequence[object],
    values: Sequence[object] = (),
) -> float | None:
    """Return the operations of a call; None where they are unknown, infinite beyond all floats.

    Parameters
    ----------
    name : str
        As PyTorch names operators: ``aten::addmm``.
    inputs, outputs : sequence
        Shapes, a list of sizes for each tensor; anything else for other values.
    values : sequence
        What the call was given, by position as `inputs`; may be empty.
    """
    try:
        return _flops(name.rpartition("::")[2].removesuffix("_"), inputs, outputs, values)
    except OverflowError:
        return math.inf


def _flops(
    base: str, inputs: Sequence[object], outputs: Sequence[object], values: Sequence[object]
) -> float | None:
    read, made = [_shape(item) for item in inputs], [_shape(item) for item in outputs]
    result = next((shape for shape in made if shape), None)
    if result is None:
        return None
    if base in _PRODUCTS and len(read) > _PRODUCTS[base]:
        first = read[_PRODUCTS[base]]
        return 2.0 * math.prod(result) * first[-1] if first else None
    if base == "linear" and read and read[0]:
        return 2.0 * math.prod(result) * read[0][-1]
    if "conv" in base and "convert" not in base and len(read) > 1:
        return _convolution(base, read, made, values)
    if "scaled_dot_product" in base or base.endswith(("attention_forward", "attention_backward")):
        return _attention(base, read)
    return None


def _attention(base: str, read: Sequence[Shape | None]) -> float | None:
    """Scores, and values weighted by them; backwards the scores again, and four gradients."""
    backwards = "backward" in base
    query, key = read[1:3] if backwards and len(read) > 2 else (*read, None, None)[:2]
    if not query or not key or len(query) != len(key) or len(query) < 3:
        return None
    # The kernels inside have heads beside channels, (b, t, h, d), the operator (b, h, t, d).
    inner = "scaled_dot_product" not in base and len(key) > 3
    return (10.0 if backwards else 4.0) * math.prod(query) * key[-3 if inner else -2]


def _convolution(
    base: str,
    read: Sequence[Shape | None],
    made: Sequence[Shape | None],
    values: Sequence[object],
) -> float | None:
    """Each output is a sum over the weights of one output channel, (out, in / groups, ...).

    Transposed, weights are (in, out / groups, ...), and each input is multiplied by all of its
    channel's.
    """
    backwards = "backward" in base
    if backwards:
        result, source, weights = read[0], read[1], read[2] if len(read) > 2 else None
    else:
        result, source, weights = made[0], read[0], read[1]
    if not result or not weights:
        return None
    if _is_transposed(base, result, source, weights, values):
        if not source:
            return None
        result = source
    once = 2.0 * math.prod(result) * math.prod(weights[1:])
    # Backwards as much for each gradient: that of the input, and that of the weights.
    return once * sum(shape is not None and len(shape) > 1 for shape in made) if backwards else once


def _is_transposed(
    base: str, result: Shape, source: Shape | None, weights: Shape, values: Sequence[object]
) -> bool:
    """Whether a convolution is transposed: by its name, by what it was told, or by its shapes."""
    if "transpose" in base:
        return True
    place = _TRANSPOSED.get(base.removesuffix("_backward"))
    if place is None:
        return False
    place += "backward" in base  # the gradient of the result comes first
    if place < len(values) and isinstance(values[place], bool):
        return bool(values[place])
    # Channels stand behind the batch, if there is one.
    rank = len(weights)
    if not source or len(source) != rank or len(result) != rank:
        return False
    return weights[0] == source[1] != result[1]


def _shape(value: object) -> Shape | None:
    """Return a shape as a trace gives it; None for a scalar, a list of tensors or anything else."""
    if not isinstance(value, (list, tuple)) or not value:
        return None
    if all(type(item) is int and item >= 0 for item in value):
        return tuple(value)
    return None
