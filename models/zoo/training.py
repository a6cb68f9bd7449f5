"""One training step: loss, backward pass and parameter update, appended to a forward network.

The backward pass is reverse-mode differentiation, one rule per type of op: a rule appends the ops
that compute the gradients of an op's inputs and weights from the gradient of its output. Backward
ops read what the forward pass saved, so the saved activations are edges of the graph, and count as
memory for as long as they are needed.

Ops that touch one layer's weights form a colocation group: the forward op, the gradients of its
input and of its weights, and the update. The update also waits for the gradient of the input, which
still needs the old weights.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from math import prod

from models.zoo.layers import Layers
from models.zoo.ops import Op, nbytes

Gradients = dict[str, str]
"""Of an op's inputs: id of the input -> id of the op that makes its gradient."""

Rule = Callable[[Layers, Op, str], Gradients]

# Operations per element, counted from each derivative's formula.
GELU_GRAD_FLOPS = 14
TANH_GRAD_FLOPS = 3
SOFTMAX_GRAD_FLOPS = 4
NORM_GRAD_INPUT_FLOPS = 10
NORM_GRAD_WEIGHT_FLOPS = 4


@dataclass(frozen=True)
class Optimizer:
    """What an update costs.

    Parameters
    ----------
    name : str
        The update op's type.
    state : int
        Numbers kept per parameter.
    flops : int
        Operations per parameter.
    """

    name: str
    state: int
    flops: int


MOMENTUM = Optimizer("SGDUpdate", state=1, flops=6)
"""Stochastic gradient descent with momentum and weight decay, as He et al. (2016) train ResNet."""

ADAM = Optimizer("AdamUpdate", state=2, flops=14)
"""Adam (Kingma and Ba 2015) with weight decay, as Devlin et al. (2019) tune BERT."""


def add_training_step(net: Layers, logits: str, optimizer: Optimizer) -> None:
    """Append the rest of a training step to a forward network.

    Parameters
    ----------
    net : Layers
        Holds the forward pass; it is changed in place.
    logits : str
        The forward pass's result, of shape (batch, classes).
    optimizer : Optimizer
        How parameters are updated.
    """
    for op in list(net.ops.values()):
        if op.params:
            net.ops[op.id] = replace(op, group=op.id)
    forward = list(net.ops.values())
    pending: dict[str, list[str]] = {op.id: [] for op in forward}
    pending[logits].append(_loss(net, logits))
    for op in reversed(forward):
        if op.type == "Input":
            continue
        gradient = _total(net, op, pending[op.id])
        for x, grad in RULES[op.type](net, op, gradient).items():
            pending[x].append(grad)
        if op.params:
            _update(net, op, optimizer)


def _loss(net: Layers, logits: str) -> str:
    """Append softmax cross-entropy, whose output are the probabilities, and its gradient."""
    labels = net.input("labels")
    shape, size = net.shape(logits), net.size(logits)
    kind, work = "SoftmaxCrossEntropy", "transcendental"
    loss = net.add("loss", kind, work, shape, logits, labels, flops=6 * size)
    return net.add("loss.grad", f"{kind}Grad", "elementwise", shape, loss, labels, flops=size)


def _total(net: Layers, op: Op, parts: list[str]) -> str:
    """Append the sum of the gradients that an op's readers send back, where there are several."""
    return parts[0] if len(parts) == 1 else net.sum(f"{op.id}.grad_sum", *parts)


def _update(net: Layers, op: Op, optimizer: Optimizer) -> None:
    """Append the update of an op's parameters, which happens in place."""
    readers = (f"{op.id}.grad_input",) if f"{op.id}.grad_input" in net.ops else ()
    # The weights and the state are read and written, the gradient is read.
    passes = 2 * (1 + optimizer.state) + 1
    net.add(
        f"{op.id}.update",
        optimizer.name,
        "elementwise",
        (0,),
        f"{op.id}.grad_weight",
        after=readers,
        flops=optimizer.flops * op.params,
        traffic=nbytes(passes * op.params),
        buffers=optimizer.state * op.params,
        group=op.group,
    )


def _weighted(net: Layers, op: Op, gradient: str) -> Gradients:
    """Differentiate a convolution or a fully connected layer: two products like the forward one."""
    (x,) = (edge.op for edge in op.inputs)
    work = "conv_grad" if op.type == "Conv2D" else "matmul"
    net.add(
        f"{op.id}.grad_weight",
        f"{op.type}GradWeight",
        work,
        (op.params,),
        x,
        gradient,
        macs=op.macs,
        workspace=op.workspace,
        group=op.group,
    )
    if net.ops[x].type == "Input":
        return {}
    grad_input = net.add(
        f"{op.id}.grad_input",
        f"{op.type}GradInput",
        work,
        net.shape(x),
        gradient,
        macs=op.macs,
        workspace=op.workspace,
        traffic=nbytes(op.params, net.size(gradient), net.size(x)),
        group=op.group,
    )
    return {x: grad_input}


def _normalised(net: Layers, op: Op, gradient: str) -> Gradients:
    """Differentiate a normalisation; a batch's input gradient needs the sums over the batch first.

    Those sums are the gradients of shift and scale (Ioffe and Szegedy 2015).
    """
    (x,) = (edge.op for edge in op.inputs)
    size = net.size(x)
    sums = net.add(
        f"{op.id}.grad_weight",
        f"{op.type}GradWeight",
        "elementwise",
        (op.params,),
        x,
        gradient,
        flops=NORM_GRAD_WEIGHT_FLOPS * size,
        group=op.group,
    )
    grad_input = net.add(
        f"{op.id}.grad_input",
        f"{op.type}GradInput",
        "elementwise",
        net.shape(x),
        x,
        gradient,
        *([sums] if op.type == "BatchNorm" else []),
        flops=NORM_GRAD_INPUT_FLOPS * size,
        group=op.group,
    )
    return {x: grad_input}


def _embedding(net: Layers, op: Op, gradient: str) -> Gradients:
    """Differentiate a look-up: a dense table in which the rows looked up are summed."""
    net.add(
        f"{op.id}.grad_weight",
        "EmbeddingGradWeight",
        "elementwise",
        (op.params,),
        *(edge.op for edge in op.inputs),
        gradient,
        flops=net.size(gradient),
        group=op.group,
    )
    return {}


def _products(net: Layers, op: Op, gradient: str) -> Gradients:
    """Differentiate a product of two inputs: each one's gradient is a product with the other."""
    a, b = (edge.op for edge in op.inputs)
    gradients = {}
    for x, other, side in ((a, b, "left"), (b, a, "right")):
        gradients[x] = net.add(
            f"{op.id}.grad_{side}",
            "BatchMatMulGrad",
            "batch_matmul",
            net.shape(x),
            other,
            gradient,
            macs=op.macs,
        )
    return gradients


def _passed_on(_net: Layers, op: Op, gradient: str) -> Gradients:
    """Differentiate a sum: every input's gradient is the output's, so no op is needed."""
    return {edge.op: gradient for edge in op.inputs}


def _elementwise(work: str, flops: int, *, saves: str) -> Rule:
    """Make the rule of an op with one input whose derivative needs its input or its output."""

    def rule(net: Layers, op: Op, gradient: str) -> Gradients:
        x = op.inputs[0].op  # a mask beside it has no gradient
        kind, saved = f"{op.type}Grad", {"input": x, "output": op.id}[saves]
        total = flops * prod(op.shape)
        return {x: net.add(f"{op.id}.grad", kind, work, op.shape, saved, gradient, flops=total)}

    return rule


def _max_pool(net: Layers, op: Op, gradient: str) -> Gradients:
    """Differentiate a maximum: find each window's maximum again, and send the gradient there."""
    (x,) = (edge.op for edge in op.inputs)
    shape, kind = net.shape(x), "MaxPoolGrad"
    return {x: net.add(f"{op.id}.grad", kind, "pool", shape, x, op.id, gradient, flops=op.flops)}


def _spread(net: Layers, op: Op, gradient: str) -> Gradients:
    """Differentiate a mean or a slice: fill the input's shape from the output's gradient."""
    (x,) = (edge.op for edge in op.inputs)
    shape = net.shape(x)
    kind = f"{op.type}Grad"
    return {x: net.add(f"{op.id}.grad", kind, "elementwise", shape, gradient, flops=prod(shape))}


RULES: dict[str, Rule] = {
    "Add": _passed_on,
    "BatchMatMul": _products,
    "BatchNorm": _normalised,
    "Conv2D": _weighted,
    "Embedding": _embedding,
    "GELU": _elementwise("transcendental", GELU_GRAD_FLOPS, saves="input"),
    "GlobalAvgPool": _spread,
    "LayerNorm": _normalised,
    "MatMul": _weighted,
    "MaxPool": _max_pool,
    "ReLU": _elementwise("elementwise", 1, saves="output"),
    "Slice": _spread,
    "Softmax": _elementwise("elementwise", SOFTMAX_GRAD_FLOPS, saves="output"),
    "Tanh": _elementwise("elementwise", TANH_GRAD_FLOPS, saves="output"),
}
