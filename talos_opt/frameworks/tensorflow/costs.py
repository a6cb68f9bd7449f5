"""FLOPs and bytes of a node, from the shapes that TensorFlow infers.

A multiplication and an addition count as two. What moves data without computing counts none.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from talos_opt.frameworks.tensorflow.flattening import CALLS, CONTROL_FLOW

#: What moves or makes data and computes nothing.
_MOVES = frozenset(
    (
        "Reshape", "Squeeze", "ExpandDims", "Identity", "IdentityN", "StopGradient",
        "PreventGradient", "Snapshot", "Transpose", "Concat", "ConcatV2", "Split", "SplitV",
        "Slice", "StridedSlice", "StridedSliceGrad", "Pack", "Unpack", "Tile", "Fill", "ZerosLike",
        "OnesLike", "Shape", "ShapeN", "Size", "Rank", "Range", "Gather", "GatherV2", "GatherNd",
        "ResourceGather", "ResourceGatherNd", "BroadcastTo", "Pad", "PadV2", "MirrorPad", "Cast",
        "OneHot", "ReadVariableOp", "AssignVariableOp", "SpaceToBatchND", "BatchToSpaceND",
        "SpaceToDepth", "DepthToSpace", "ReverseV2", "Where", "BroadcastGradientArgs",
        "InvertPermutation", "StatelessRandomGetKeyCounter", "NoOp", "VariableShape", "Bitcast",
    )
)  # fmt: skip
#: Lookups: they read of their first input what they return.
_LOOKUPS = frozenset(
    (
        "Gather", "GatherV2", "GatherNd", "ResourceGather", "ResourceGatherNd", "Slice",
        "StridedSlice",
    )
)  # fmt: skip
#: What reads every element of its input once, whatever the size of its output.
_REDUCTIONS = frozenset(
    (
        "Sum", "Mean", "Max", "Min", "Prod", "All", "Any", "ArgMax", "ArgMin", "L2Loss",
        "BiasAddGrad", "Cumsum",
    )
)  # fmt: skip

Shape = tuple[int, ...]


def nbytes(tensor: Any) -> int | None:
    """Return the bytes of a tensor of a graph; None where its shape is open."""
    shape = shape_of(tensor)
    if shape is None:
        return None
    return math.prod(shape) * int(tensor.dtype.size or 0)


def shape_of(tensor: Any) -> Shape | None:
    """Return a tensor's shape; None where it is open."""
    if not tensor.shape.is_fully_defined():
        return None
    return tuple(int(size) for size in tensor.shape.as_list())


def read_bytes(op: Any) -> int:
    """Return the bytes that a node reads, as far as shapes are known.

    Parameters
    ----------
    op : tf.Operation
    """
    sizes = [nbytes(tensor) or 0 for tensor in op.inputs]
    if op.type in _LOOKUPS:
        found = nbytes(op.outputs[0])
        sizes[0] = sizes[0] if found is None else found
    return sum(sizes)


def flops(op: Any) -> float | None:
    """Return the floating-point operations of a node; None where a shape that it needs is open.

    Parameters
    ----------
    op : tf.Operation
    """
    shapes = [shape_of(tensor) for tensor in op.inputs]
    made = [shape_of(tensor) for tensor in op.outputs]
    if op.type in _MOVES:
        return 0.0
    rule = _RULES.get(op.type)
    try:
        if rule is not None:
            return float(rule(op, shapes, made))
        if op.type in _REDUCTIONS:
            return float(math.prod(_known(shapes[0])))
        if op.type in CALLS | CONTROL_FLOW:
            return None  # nothing is known here of what their functions do
        return float(sum(math.prod(_known(shape)) for shape in made))
    except _OpenShapeError:
        return None


class _OpenShapeError(Exception):
    """A shape is not known before the graph runs."""


def _known(shape: Shape | None) -> Shape:
    if shape is None:
        raise _OpenShapeError
    return shape


def _taps(op: Any, filters: Shape | None) -> int:
    """Products per element of what a convolution makes, or made before this gradient of it.

    Filters are (*spatial, channels of a group, channels made); depthwise ones take one channel.
    """
    spare = 2 if op.type.startswith("Depthwise") else 1
    return math.prod(_known(filters)[:-spare])


def _convolution(op: Any, shapes: Sequence[Shape | None], made: Sequence[Shape | None]) -> int:
    return 2 * math.prod(_known(made[0])) * _taps(op, shapes[1])


def _input_gradient(op: Any, shapes: Sequence[Shape | None], made: Sequence[Shape | None]) -> int:
    return 2 * math.prod(_known(shapes[2])) * _taps(op, shapes[1])


def _filter_gradient(op: Any, shapes: Sequence[Shape | None], made: Sequence[Shape | None]) -> int:
    return 2 * math.prod(_known(shapes[2])) * _taps(op, made[0])


def _product(op: Any, shapes: Sequence[Shape | None], made: Sequence[Shape | None]) -> int:
    first = "transpose_a" if op.type == "MatMul" else "adj_x"
    inner = _known(shapes[0])[-2 if op.get_attr(first) else -1]
    return 2 * math.prod(_known(made[0])) * inner


def _einsum(op: Any, shapes: Sequence[Shape | None], made: Sequence[Shape | None]) -> int:
    """Every combination of index values takes a multiplication and an addition."""
    terms = op.get_attr("equation").decode().partition("->")[0].split(",")
    sizes: dict[str, int] = defaultdict(lambda: 1)
    for term, shape in zip(terms, shapes, strict=True):
        labels = term.strip()
        if "..." in labels:
            return 2 * math.prod(_known(made[0]))  # at least
        for label, size in zip(labels, _known(shape), strict=True):
            sizes[label] = size
    return 2 * math.prod(sizes.values())


def _pool(op: Any, shapes: Sequence[Shape | None], made: Sequence[Shape | None]) -> int:
    window = math.prod(op.get_attr("ksize"))
    grad = op.type.endswith("Grad")
    return math.prod(_known(shapes[-1] if grad else made[0])) * int(window)


_RULES: Mapping[str, Callable[[Any, Sequence[Shape | None], Sequence[Shape | None]], int]] = {
    "Conv2D": _convolution,
    "Conv3D": _convolution,
    "DepthwiseConv2dNative": _convolution,
    "Conv2DBackpropInput": _input_gradient,
    "Conv3DBackpropInputV2": _input_gradient,
    "DepthwiseConv2dNativeBackpropInput": _input_gradient,
    "Conv2DBackpropFilter": _filter_gradient,
    "Conv3DBackpropFilterV2": _filter_gradient,
    "DepthwiseConv2dNativeBackpropFilter": _filter_gradient,
    "MatMul": _product,
    "BatchMatMul": _product,
    "BatchMatMulV2": _product,
    "BatchMatMulV3": _product,
    "Einsum": _einsum,
    "MaxPool": _pool,
    "AvgPool": _pool,
    "MaxPoolGrad": _pool,
    "AvgPoolGrad": _pool,
}
