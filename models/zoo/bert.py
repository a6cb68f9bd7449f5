"""BERT-base, the encoder with its pooler.

Devlin, Chang, Lee and Toutanova, "BERT: Pre-training of deep bidirectional transformers for
language understanding" (2019).
"""

from __future__ import annotations

from models.zoo.layers import Layers

VOCABULARY = 30522
POSITIONS = 512
SEGMENTS = 2
LAYERS = 12
HIDDEN = 768
HEADS = 12
FEED_FORWARD = 3072
SEQUENCE_LENGTH = 128
LABELS = 2
"""Classes of the sentence-pair task that the network is tuned to."""


def bert_base(net: Layers) -> str:
    """Build the encoder and return the pooled output, of shape (batch, 768)."""
    mask = net.input("mask", SEQUENCE_LENGTH)
    x = _embeddings(net)
    for layer in range(1, LAYERS + 1):
        x = _attention(net, f"l{layer}", x, mask)
        x = _feed_forward(net, f"l{layer}", x)
    first = net.first_token("pooler.first", x)
    return net.tanh("pooler.tanh", net.linear("pooler.dense", first, HIDDEN))


def bert_base_classifier(net: Layers) -> str:
    """Build BERT-base with the head that fine-tuning adds, and return the logits."""
    return net.linear("classifier", bert_base(net), LABELS)


def _embeddings(net: Layers) -> str:
    tokens = net.input("tokens", SEQUENCE_LENGTH)
    segments = net.input("segments", SEQUENCE_LENGTH)
    word = net.embedding("emb.word", tokens, VOCABULARY, HIDDEN)
    segment = net.embedding("emb.segment", segments, SEGMENTS, HIDDEN)
    position = net.position_embedding("emb.position", POSITIONS, SEQUENCE_LENGTH, HIDDEN)
    return net.layer_norm("emb.norm", net.sum("emb.add", word, segment, position))


def _attention(net: Layers, layer: str, x: str, mask: str) -> str:
    """Append multi-head self-attention with its residual sum and normalisation."""
    query, key, value = (net.linear(f"{layer}.{part}", x, HIDDEN) for part in "qkv")
    square = (net.batch, HEADS, SEQUENCE_LENGTH, SEQUENCE_LENGTH)
    scores = net.batch_matmul(f"{layer}.scores", query, key, square, inner=HIDDEN // HEADS)
    weights = net.softmax(f"{layer}.softmax", scores, mask)
    context = net.batch_matmul(
        f"{layer}.context", weights, value, net.shape(value), inner=SEQUENCE_LENGTH
    )
    out = net.linear(f"{layer}.out", context, HIDDEN)
    return net.layer_norm(f"{layer}.norm1", net.sum(f"{layer}.add1", out, x))


def _feed_forward(net: Layers, layer: str, x: str) -> str:
    """Append the two-layer perceptron with its residual sum and normalisation."""
    inner = net.gelu(f"{layer}.gelu", net.linear(f"{layer}.ff1", x, FEED_FORWARD))
    out = net.linear(f"{layer}.ff2", inner, HIDDEN)
    return net.layer_norm(f"{layer}.norm2", net.sum(f"{layer}.add2", out, x))
