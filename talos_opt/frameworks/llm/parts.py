"""Which part of a model a tensor belongs to, by its name: GGUF's names, and those of modules."""

from __future__ import annotations

import re
from typing import NamedTuple

EMBEDDING, ATTENTION, NETWORK, ROUTER, EXPERTS, HEAD, OTHER = (
    "embedding", "attention", "network", "router", "experts", "head", "other",
)  # fmt: skip

#: The first number in a path: which of a list of modules a tensor belongs to.
_LAYER = re.compile(r"(?P<list>(?:[^.]+\.)*?[^.]+)\.(?P<number>[0-9]{1,4})\.(?P<rest>.+)")
#: First match counts, on what follows the layer's number.
_ROLES = (
    (ROUTER, r"shared_expert|shared_mlp|_shexp\b|ffn_gate_inp|exp_probs_b"),
    (ROUTER, r"^(mlp|block_sparse_moe|feed_forward|moe|ffn)\.(gate|router)(\.|$)"),
    (EXPERTS, r"(^|\.)experts?\.|_exps\b|block_sparse_moe\.(in|out)put_linear"),
    (ATTENTION, r"attn|attention(?!_layernorm)|^(mixer|mamba|ssm|time_mix|linear_attn)"),
    (ATTENTION, r"^(input_layernorm|ln_1|norm)\b"),
    (NETWORK, ""),
)
_COMPILED = tuple((role, re.compile(pattern)) for role, pattern in _ROLES)
#: Outside the layers.
_FIRST = re.compile(
    r"(?:^|\.)(embed_tokens|wte|wpe|word_embeddings|word_embeddings_layernorm|token_embd|embeddings?"
    r"|token_embd_norm|position_embd|embed_positions|tok_embeddings)\b"
)
_LAST = re.compile(
    r"(?:^|\.)(lm_head|output|output_norm|embed_out|head|norm|norm_f|ln_f|final_layernorm"
    r"|final_norm|rope_freqs|rope_factors_\w+)\b[^.]*(?:\.(?:weight|bias|SCB|qweight|qzeros|scales"
    r"|g_idx|weight_format|weight_scale_inv))?$"
)
#: The head's product among them, which a tied model lacks.
PRODUCT = re.compile(r"(?:^|\.)(lm_head|output|embed_out|head)\.")
#: The last words of a tensor's name that are no module.
_LEAF = re.compile(r"\.(weight|bias|SCB|weight_format|weight_scale\w*|qweight|qzeros|scales|g_idx"
                   r"|A_log|D|dt_bias|sinks|e_score_correction_bias)$")  # fmt: skip
_EXPERT = re.compile(r"(?:^|\.)experts\.([0-9]{1,6})\.")


class Place(NamedTuple):
    """Where a tensor belongs.

    Parameters
    ----------
    list : str
        Path of the list of layers, or of the module outside any list.
    layer : int
        -1 outside.
    rest : str
        What follows.
    """

    list: str
    layer: int
    rest: str


def place_of(name: str) -> Place:
    """Return where a tensor belongs."""
    match = _LAYER.fullmatch(name)
    if match is None:
        return Place(name.rpartition(".")[0], -1, name)
    return Place(match["list"], int(match["number"]), match["rest"])


def role_in_layer(rest: str) -> str:
    """Return the part of a layer that a tensor belongs to."""
    return next(role for role, pattern in _COMPILED if pattern.search(rest))


def role_outside(name: str) -> str:
    """Return the part outside the layers that a tensor belongs to."""
    if _FIRST.search(name):
        return EMBEDDING
    return HEAD if _LAST.search(name) else OTHER


def module_of(name: str, lead: str, role: str) -> str:
    """Return the path of the module that a device map places a tensor by.

    Parameters
    ----------
    name : str
    lead : str
        Path of its layer; empty outside.
    role : str
    """
    stem = _LEAF.sub("", name)
    if not lead:
        return stem
    parts = stem[len(lead) + 1 :].split(".")
    depth = {ROUTER: 2, EXPERTS: 3 if expert_of(name) is not None else 2}.get(role, 1)
    return ".".join([lead, *parts[:depth]])


def expert_of(name: str) -> int | None:
    """Return the number of the expert that a tensor belongs to; None: it is of all of them."""
    match = _EXPERT.search(name)
    return int(match[1]) if match else None
