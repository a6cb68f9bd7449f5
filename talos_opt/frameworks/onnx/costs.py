"""FLOPs and bytes of a node, from the shapes of what it reads and makes.

A multiplication and an addition count as two, at whatever precision. What moves data without
computing counts none.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from talos_opt.frameworks.onnx.graphs import attributes_of
from talos_opt.frameworks.onnx.shapes import Tensor

#: What moves or makes data and computes nothing.
_MOVES = frozenset(
    (
        "Reshape", "Squeeze", "Unsqueeze", "Flatten", "Identity", "Dropout", "Transpose", "Concat",
        "Split", "SplitToSequence", "Slice", "Gather", "GatherElements", "GatherND", "Scatter",
        "ScatterElements", "ScatterND", "Expand", "Tile", "Pad", "Cast", "CastLike", "Shape",
        "Size", "Constant", "ConstantOfShape", "Where", "NonZero", "OneHot", "Compress",
        "DepthToSpace", "SpaceToDepth", "ReverseSequence", "EyeLike", "Range", "Trilu",
        "SequenceAt", "SequenceConstruct", "SequenceEmpty", "SequenceInsert", "SequenceErase",
        "ConcatFromSequence", "Optional", "OptionalGetElement", "MemcpyFromHost", "MemcpyToHost",
        "ReorderInput", "ReorderOutput", "GatherBlockQuantized", "Col2Im", "TensorScatter",
    )
)  # fmt: skip
#: Lookups: of the inputs at these places they read as much as they return.
_LOOKUPS: Mapping[str, tuple[int, ...]] = {
    "Gather": (0,),
    "GatherElements": (0,),
    "GatherND": (0,),
    "GatherBlockQuantized": (0,),
    "Slice": (0,),
    "Compress": (0,),
    "EmbedLayerNormalization": (2, 3, 4),
}
#: They read how large their first input is, not what is in it.
_SIZES = frozenset(("Shape", "Size"))
#: What reads every element of its first input once, whatever the size of its output.
_REDUCTIONS = ("Reduce", "ArgMax", "ArgMin", "Global", "CumSum", "TopK", "Hardmax", "Lp")
#: Nodes that hold graphs, of which not everything runs, or some of it several times.
CONTROL_FLOW = frozenset(("If", "Loop", "Scan", "SequenceMap", "BeamSearch", "GreedySearch"))


#: Mixtures: input, how likely each expert is for each token, then matrices of all experts.
_EXPERTS = frozenset(("MoE", "QMoE"))

Attributes = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Sizes:
    """What is known of the values of a node, by place; None: no such value, or nothing known."""

    inputs: tuple[Tensor | None, ...]
    outputs: tuple[Tensor | None, ...]

    def read(self, k: int) -> tuple[int, ...]:
        """Return the shape of an input."""
        return _shape(self.inputs, k)

    def made(self, k: int) -> tuple[int, ...]:
        """Return the shape of an output."""
        return _shape(self.outputs, k)

    def has(self, k: int) -> bool:
        """Whether there is an input of that number."""
        return k < len(self.inputs) and self.inputs[k] is not None


class OpenShapeError(Exception):
    """A shape is not known before the model runs."""


def _shape(values: Sequence[Tensor | None], k: int) -> tuple[int, ...]:
    value = values[k] if k < len(values) else None
    if value is None or value.shape is None:
        raise OpenShapeError
    return value.shape


def sizes_of(node: Any, tensors: Mapping[str, Tensor]) -> Sizes:
    """Return what is known of the values of a node."""

    def known(names: Sequence[str]) -> tuple[Tensor | None, ...]:
        return tuple(tensors.get(name) if name else None for name in names)

    return Sizes(known(node.input), known(node.output))


def read_bytes(node: Any, sizes: Sizes) -> int:
    """Return the bytes that a node reads, weights included, as far as shapes are known."""
    found = [_bytes(value) for value in sizes.inputs]
    if found and node.op_type in _SIZES:
        found[0] = 0
    for k in _LOOKUPS.get(node.op_type, ()):
        if k < len(found):
            found[k] = min(found[k], _bytes(sizes.outputs[0]))
    if node.op_type in _EXPERTS:
        share = _share_of_experts(attributes_of(node), sizes)
        found[2:] = [math.ceil(size * share) for size in found[2:]]
    return sum(found)


def _share_of_experts(attributes: Attributes, sizes: Sizes) -> float:
    """Return the most that tokens can choose of all experts, as each chooses so many of them."""
    try:
        tokens = math.prod(sizes.read(0)[:-1])
        return min(1.0, tokens * int(attributes.get("k", 1)) / sizes.read(1)[-1])
    except OpenShapeError:
        return 1.0


def made_bytes(sizes: Sizes) -> int:
    """Return the bytes that a node makes, as far as shapes are known."""
    return sum(_bytes(value) for value in sizes.outputs)


def _bytes(value: Tensor | None) -> int:
    return 0 if value is None else value.bytes or 0


def flops(node: Any, sizes: Sizes) -> float | None:
    """Return the operations of a node; None where a shape that it needs is not known.

    Of If, Loop and Scan nothing is known here: what ran in them has to be added up.
    """
    kind = node.op_type
    if kind in _MOVES:
        return 0.0
    if kind in CONTROL_FLOW:
        return None
    try:
        rule = _OWN_RULES.get((node.domain, kind)) or _RULES.get(kind)
        if rule is not None:
            return float(rule(attributes_of(node), sizes))
        if kind.startswith(_REDUCTIONS):
            return float(math.prod(sizes.read(0)))
        return float(math.prod(sizes.made(0)))
    except OpenShapeError:
        return None


def _convolution(weights: int) -> Callable[[Attributes, Sizes], int]:
    """Return the rule for filters at an input: (channels made, channels of a group, *window)."""

    def rule(attributes: Attributes, sizes: Sizes) -> int:
        return 2 * math.prod(sizes.made(0)) * math.prod(sizes.read(weights)[1:])

    return rule


def _transposed_convolution(attributes: Attributes, sizes: Sizes) -> int:
    return 2 * math.prod(sizes.read(0)) * math.prod(sizes.read(1)[1:])


def _product(attributes: Attributes, sizes: Sizes) -> int:
    first = sizes.read(0)
    inner = first[-2] if attributes.get("transA") and len(first) > 1 else first[-1]
    return 2 * math.prod(sizes.made(0)) * inner


def _known_inner(attributes: Attributes, sizes: Sizes) -> int:
    return 2 * math.prod(sizes.made(0)) * int(attributes["K"])


def _einsum(attributes: Attributes, sizes: Sizes) -> int:
    """Every combination of index values takes a multiplication and an addition."""
    terms = attributes["equation"].decode().partition("->")[0].replace(" ", "").split(",")
    known: dict[str, int] = defaultdict(lambda: 1)
    for k, term in enumerate(terms):
        shape = sizes.read(k)
        first, _, last = term.partition("...")
        open_sizes = len(shape) - len(first) - len(last)  # broadcast, aligned at their ends
        labels = [*first, *(f"...{place}" for place in range(open_sizes, 0, -1)), *last]
        for label, size in zip(labels, shape, strict=False):
            known[label] = max(known[label], size)
    return 2 * math.prod(known.values())


def _recurrent(attributes: Attributes, sizes: Sizes) -> int:
    """Each step multiplies its input by one matrix and the state before by another."""
    steps, batch = sizes.read(0)[:2]
    return 2 * steps * batch * (math.prod(sizes.read(1)) + math.prod(sizes.read(2)))


def _pool(attributes: Attributes, sizes: Sizes) -> int:
    return math.prod(sizes.made(0)) * math.prod(attributes.get("kernel_shape", ()))


def _normalised_window(attributes: Attributes, sizes: Sizes) -> int:
    return math.prod(sizes.made(0)) * (int(attributes.get("size", 1)) + 3)


def _fourier(attributes: Attributes, sizes: Sizes) -> int:
    *made, _ = sizes.made(0)  # complex numbers
    return 5 * math.prod(made) * max(1, math.ceil(math.log2(max(2, made[-1]))))


def _packed_attention(attributes: Attributes, sizes: Sizes) -> int:
    return _projected_attention(sizes, 4)


def _quantised_attention(attributes: Attributes, sizes: Sizes) -> int:
    return _projected_attention(sizes, 8)


def _projected_attention(sizes: Sizes, past: int) -> int:
    """Projections to queries, keys and values, and both products of attention.

    `past` is the place of keys and values of before: (2, batch, heads, length, width of a head).
    """
    batch, length, _ = sizes.read(0)
    weights, made = sizes.read(1), sizes.made(0)
    total = length + (sizes.read(past)[-2] if sizes.has(past) else 0)
    return 2 * batch * length * math.prod(weights) + 4 * batch * length * total * made[-1]


def _attention(attributes: Attributes, sizes: Sizes) -> int:
    """Queries by keys, and weights by values: each a product over all pairs of positions.

    Inputs are (batch, length, width) or (batch, heads, length, width of a head). Without keys,
    queries, keys and values are packed into one; with keys of five dimensions, (batch, length,
    heads, 2, width of a head), these are packed with values.
    """
    query, made = sizes.read(0), sizes.made(0)
    keys = sizes.read(1) if sizes.has(1) else query
    total = keys[1] if len(keys) == 5 else keys[-2]
    if not sizes.has(1):
        query = made
    caches = [value.shape for value in sizes.outputs[1:] if value is not None and value.shape]
    if caches and len(caches[0]) == 4:
        total = max(total, caches[0][2])
    return 2 * total * (math.prod(query) + math.prod(made))


def _experts(attributes: Attributes, sizes: Sizes) -> int:
    """Each token goes through as many experts as are chosen for it."""
    tokens = math.prod(sizes.read(0)[:-1])
    matrices = [value.shape for value in sizes.inputs[2:] if value is not None and value.shape]
    each = sum(math.prod(shape[1:]) for shape in matrices if len(shape) == 3)
    return 2 * tokens * int(attributes.get("k", 1)) * each


_RULES: Mapping[str, Callable[[Attributes, Sizes], int]] = {
    "Conv": _convolution(1),
    "FusedConv": _convolution(1),
    "NhwcConv": _convolution(1),
    "NhwcFusedConv": _convolution(1),
    "ConvInteger": _convolution(1),
    "DeformConv": _convolution(1),
    "QLinearConv": _convolution(3),
    "ConvTranspose": _transposed_convolution,
    "ConvTransposeWithDynamicPads": _transposed_convolution,
    "MatMul": _product,
    "FusedMatMul": _product,
    "MatMulInteger": _product,
    "MatMulInteger16": _product,
    "MatMulIntegerToFloat": _product,
    "DynamicQuantizeMatMul": _product,
    "QLinearMatMul": _product,
    "MatMulNBits": _known_inner,
    "MatMulBnb4": _known_inner,
    "Gemm": _product,
    "FusedGemm": _product,
    "QGemm": _product,
    "Einsum": _einsum,
    "RNN": _recurrent,
    "GRU": _recurrent,
    "LSTM": _recurrent,
    "DynamicQuantizeLSTM": _recurrent,
    "MaxPool": _pool,
    "AveragePool": _pool,
    "LpPool": _pool,
    "QLinearAveragePool": _pool,
    "LRN": _normalised_window,
    "DFT": _fourier,
    "STFT": _fourier,
    "Attention": _attention,
    "MultiHeadAttention": _attention,
    "GroupQueryAttention": _attention,
    "QAttention": _quantised_attention,
    "MoE": _experts,
    "QMoE": _experts,
}
#: Where the runtime has an op of its own by the name of one of ONNX's.
_OWN_RULES: Mapping[tuple[str, str], Callable[[Attributes, Sizes], int]] = {
    ("com.microsoft", "Attention"): _packed_attention,
}
