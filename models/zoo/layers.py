"""The layers of a forward pass: each method appends one op with its output shape, size and work.

Views (flatten, reshape, transpose) and dropout make no op: the first move nothing, the second does
nothing at inference. A bias is added inside its convolution or matrix product.
"""

from __future__ import annotations

from collections.abc import Callable
from math import ceil, floor, prod

from models.zoo.network import Network
from models.zoo.ops import Shape, nbytes

Pair = int | tuple[int, int]

# Operations per element, counted from each layer's formula. They hardly matter: all but the
# transcendental ones are bound by memory.
BATCH_NORM_FLOPS = 2  # the statistics are known: one scale, one shift
BATCH_NORM_TRAINING_FLOPS = 7  # mean and variance, then normalise, scale and shift
LAYER_NORM_FLOPS = 8
SOFTMAX_FLOPS = 5  # maximum, difference, exponential, sum, quotient
MASK_FLOPS = 2  # scale, then add the mask
GELU_FLOPS = 8
TANH_FLOPS = 6


class Layers(Network):
    """A network that grows by layers; each method takes and returns op ids."""

    def input(self, op: str, *shape: int) -> str:
        """Append the data that enters the network, of shape (batch, *shape)."""
        return self.add(op, "Input", "input", (self.batch, *shape))

    def conv(
        self,
        op: str,
        x: str,
        channels: int,
        kernel: Pair,
        stride: int = 1,
        padding: Pair = 0,
        *,
        bias: bool = False,
    ) -> str:
        """Append a 2-D convolution: (N, C, H, W) to (N, channels, H', W')."""
        n, c, *image = self.shape(x)
        taps = _pair(kernel)
        shape = (n, channels, *_windows(image, taps, stride, _pair(padding), floor))
        depth = c * prod(taps)
        # A 1x1 convolution is a matrix product as it stands. Others are taken to be lowered one
        # image at a time to a matrix of patches (Chellapilla, Puri and Simard 2006).
        pointwise = prod(taps) == 1
        return self.add(
            op,
            "Conv2D",
            "conv_1x1" if pointwise else "conv",
            shape,
            x,
            macs=prod(shape) * depth,
            flops=prod(shape) if bias else 0,
            params=channels * (depth + (1 if bias else 0)),
            workspace=0 if pointwise else nbytes(depth * prod(shape[2:])),
        )

    def linear(self, op: str, x: str, features: int) -> str:
        """Append a fully connected layer with bias over the last axis; an image is flattened."""
        shape = self.shape(x)
        rows = shape[:1] if len(shape) == 4 else shape[:-1]
        out = (*rows, features)
        width = prod(shape) // prod(rows)
        macs, params = prod(out) * width, (width + 1) * features
        return self.add(op, "MatMul", "matmul", out, x, macs=macs, flops=prod(out), params=params)

    def batch_matmul(self, op: str, a: str, b: str, shape: Shape, inner: int) -> str:
        """Append a product of two batches of matrices, of the given result and inner dimension."""
        return self.add(op, "BatchMatMul", "batch_matmul", shape, a, b, macs=prod(shape) * inner)

    def batch_norm(self, op: str, x: str) -> str:
        """Append a batch normalisation; scale and shift are trained, two statistics are kept."""
        channels, size = self.shape(x)[1], self.size(x)
        per_element = BATCH_NORM_TRAINING_FLOPS if self.training else BATCH_NORM_FLOPS
        passes = 3 if self.training else 2  # the statistics take a pass over the input of their own
        return self.add(
            op,
            "BatchNorm",
            "elementwise",
            self.shape(x),
            x,
            flops=per_element * size,
            params=2 * channels,
            buffers=2 * channels,
            traffic=nbytes(passes * size, 4 * channels),
        )

    def layer_norm(self, op: str, x: str) -> str:
        """Append a layer normalisation over the last axis."""
        shape = self.shape(x)
        flops = LAYER_NORM_FLOPS * prod(shape)
        return self.add(op, "LayerNorm", "elementwise", shape, x, flops=flops, params=2 * shape[-1])

    def relu(self, op: str, x: str) -> str:
        """Append a rectifier."""
        return self.add(op, "ReLU", "elementwise", self.shape(x), x, flops=self.size(x))

    def gelu(self, op: str, x: str) -> str:
        """Append a Gaussian error linear unit."""
        flops = GELU_FLOPS * self.size(x)
        return self.add(op, "GELU", "transcendental", self.shape(x), x, flops=flops)

    def tanh(self, op: str, x: str) -> str:
        """Append a hyperbolic tangent."""
        flops = TANH_FLOPS * self.size(x)
        return self.add(op, "Tanh", "transcendental", self.shape(x), x, flops=flops)

    def softmax(self, op: str, x: str, *mask: str) -> str:
        """Append a softmax over the last axis; with a mask it first scales and masks its input."""
        flops = (SOFTMAX_FLOPS + (MASK_FLOPS if mask else 0)) * self.size(x)
        return self.add(op, "Softmax", "transcendental", self.shape(x), x, *mask, flops=flops)

    def max_pool(
        self,
        op: str,
        x: str,
        kernel: int,
        stride: int,
        padding: int = 0,
        *,
        round_up: bool = False,
    ) -> str:
        """Append a maximum over windows; `round_up` keeps a last, partly filled window."""
        return self._pool(op, "MaxPool", x, kernel, stride, padding, ceil if round_up else floor)

    def avg_pool(self, op: str, x: str, kernel: int, padding: int) -> str:
        """Append a mean over windows, one window per position."""
        return self._pool(op, "AvgPool", x, kernel, 1, padding, floor)

    def global_avg_pool(self, op: str, x: str) -> str:
        """Append a mean over the whole image: (N, C, H, W) to (N, C, 1, 1)."""
        shape = (*self.shape(x)[:2], 1, 1)
        return self.add(op, "GlobalAvgPool", "pool", shape, x, flops=self.size(x))

    def concat(self, op: str, *xs: str) -> str:
        """Append a concatenation along the channels."""
        n, _, *image = self.shape(xs[0])
        channels = sum(self.shape(x)[1] for x in xs)
        return self.add(op, "Concat", "elementwise", (n, channels, *image), *xs)

    def sum(self, op: str, *xs: str) -> str:
        """Append an element-wise sum; the later inputs are broadcast to the first one's shape."""
        flops = (len(xs) - 1) * self.size(xs[0])
        return self.add(op, "Add", "elementwise", self.shape(xs[0]), *xs, flops=flops)

    def embedding(self, op: str, ids: str, rows: int, width: int) -> str:
        """Append a table look-up: (N, T) indices to (N, T, width)."""
        shape = (*self.shape(ids), width)
        traffic = nbytes(self.size(ids), 2 * prod(shape))  # only the rows looked up are read
        params = rows * width
        return self.add(op, "Embedding", "elementwise", shape, ids, params=params, traffic=traffic)

    def position_embedding(self, op: str, rows: int, length: int, width: int) -> str:
        """Append the first `length` rows of a learnt table, of shape (1, length, width)."""
        shape, params = (1, length, width), rows * width
        traffic = nbytes(2 * prod(shape))
        return self.add(op, "Embedding", "elementwise", shape, params=params, traffic=traffic)

    def first_token(self, op: str, x: str) -> str:
        """Append a copy of each sample's first row: (N, T, D) to (N, D)."""
        n, _, width = self.shape(x)
        return self.add(op, "Slice", "elementwise", (n, width), x, traffic=nbytes(2 * n * width))

    def _pool(
        self,
        op: str,
        kind: str,
        x: str,
        kernel: int,
        stride: int,
        padding: int,
        rounding: Callable[[float], int],
    ) -> str:
        n, channels, *image = self.shape(x)
        windows = _windows(image, _pair(kernel), stride, _pair(padding), rounding)
        shape = (n, channels, *windows)
        return self.add(op, kind, "pool", shape, x, flops=prod(shape) * kernel**2)


def _pair(value: Pair) -> tuple[int, int]:
    return value if isinstance(value, tuple) else (value, value)


def _windows(
    image: list[int],
    taps: tuple[int, int],
    stride: int,
    padding: tuple[int, int],
    rounding: Callable[[float], int],
) -> tuple[int, ...]:
    """Count the windows along each axis of an image."""
    return tuple(
        rounding((side + 2 * margin - tap) / stride) + 1
        for side, tap, margin in zip(image, taps, padding, strict=True)
    )
