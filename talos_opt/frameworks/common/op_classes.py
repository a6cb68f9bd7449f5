"""What sort of work an op is, by its type's name, and how much of a peak such work reaches.

The roofline model (Williams, Waterman and Patterson 2009) bounds an op by arithmetic or by memory
traffic. No op reaches either bound; the shares that it is taken to reach are round numbers,
assumed here and stated with their reason.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache


@dataclass(frozen=True, slots=True)
class Efficiency:
    """Shares of a device's published rates that a class of ops reaches.

    Parameters
    ----------
    compute : mapping of str to float
        Of the peak, by device kind.
    memory : mapping of str to float
        Of the memory bandwidth, by device kind.
    reason : str
    """

    compute: Mapping[str, float]
    memory: Mapping[str, float]
    reason: str


#: Streaming kernels reach this much of the published bandwidth; refresh and turn-around cost it.
_STREAM = {"cpu": 0.75, "gpu": 0.80}

EFFICIENCIES: Mapping[str, Efficiency] = {
    "matmul": Efficiency(
        {"cpu": 0.60, "gpu": 0.70},
        _STREAM,
        "vendor libraries come close to the peak on large square matrices; layers are smaller",
    ),
    "batch_matmul": Efficiency(
        {"cpu": 0.35, "gpu": 0.40},
        _STREAM,
        "many small products, as of experts: tiles at the edges are partly empty",
    ),
    "attention": Efficiency(
        {"cpu": 0.35, "gpu": 0.45},
        _STREAM,
        "one kernel for two products; scores stay on the chip, but a softmax stands between them",
    ),
    "conv": Efficiency(
        {"cpu": 0.30, "gpu": 0.60},
        _STREAM,
        "patches are gathered before they are multiplied, and few channels fill no tile",
    ),
    "conv_grad": Efficiency(
        {"cpu": 0.25, "gpu": 0.45},
        _STREAM,
        "as conv, with a reduction over the batch or scattered sums",
    ),
    "gather": Efficiency(
        {"cpu": 0.05, "gpu": 0.20},
        {"cpu": 0.25, "gpu": 0.40},
        "rows far apart: cache lines and pages are used in part",
    ),
    "normal": Efficiency(
        {"cpu": 0.05, "gpu": 0.20},
        {"cpu": 0.40, "gpu": 0.60},
        "softmax, normalisation, reduction and pooling: two passes, or trees of partial sums",
    ),
    "elementwise": Efficiency(
        {"cpu": 0.05, "gpu": 0.20},
        _STREAM,
        "bound by memory; one operation on each value keeps no multiply-add unit busy",
    ),
}

#: What does no work wherever it appears: names and constants of a graph.
NOTHING = "nothing"
#: What does no work unless it has an output of its own: then it had to copy.
VIEW = "view"

#: First match counts. Types are compared in lower case, without namespace and underscores.
_PATTERNS: tuple[tuple[str, str], ...] = (
    (NOTHING, r"^(placeholder|getattr|output|const|noop|identity|detach|alias)$|getitem$"),
    (NOTHING, r"^(variable(v2)?|readvariableop|stopgradient|varhandleop|symsize|lift.*)$"),
    (
        VIEW,
        r"^((unsafe)?view|reshape|permute|transpose|t|mt|expand(dims)?|slice|select|split"
        r"(withsizes)?|chunk|unbind|narrow|diagonal|squeeze|unsqueeze|flatten|asstrided|unfold)$",
    ),
    ("conv_grad", r"conv.*(backward|backprop|grad)"),
    ("conv", r"conv(?!ert)"),
    ("attention", r"attention"),
    ("batch_matmul", r"bmm|batchmatmul|groupedmm|einsum|^q?moe$"),
    ("matmul", r"matmul|addmm|^mm$|^linear|^addmv$|^mv$|gemm|dense|lstm|gru|rnn"),
    ("gather", r"embedding|gather|index|scatter|take|nonzero|sort|topk"),
    ("normal", r"softmax|norm|pool|^(sum|mean|var|amax|amin|max|min|argmax)$|reduce|cumsum|loss"),
)
_NAMESPACES = frozenset(
    (
        "", "aten", "ops", "torch", "nn", "prims", "operator", "_operator", "transformers",
        "ai", "onnx", "com", "microsoft", "nchwc", "ms", "internal", "nhwc",
    )
)  # fmt: skip
_COMPILED = tuple((name, re.compile(pattern)) for name, pattern in _PATTERNS)


@cache
def class_of(type_: str) -> str:
    """Return a key of `EFFICIENCIES`, or `NOTHING` or `VIEW`, for an op type of any framework.

    ``aten.convolution.default``, ``aten::conv2d``, ``Conv2D`` and ``conv2d`` are all ``conv``.
    """
    text = type_.lower().replace("::", ".")
    parts = [part for part in text.split(".") if part not in _NAMESPACES]
    base = re.sub(r"[^a-z0-9]", "", parts[0]) if parts else ""
    return next((name for name, pattern in _COMPILED if pattern.search(base)), "elementwise")
