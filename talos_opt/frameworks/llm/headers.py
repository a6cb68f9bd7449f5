"""The architecture that the header of a GGUF file describes."""

from __future__ import annotations

import re

from talos_opt.core.errors import FormatError
from talos_opt.frameworks.llm.architecture import (
    FULL,
    MOST_LAYERS,
    NONE,
    STATE,
    WINDOW,
    Architecture,
    Layer,
)
from talos_opt.frameworks.llm.architecture import Fields as _Fields
from talos_opt.frameworks.llm.gguf import Header

#: Where llama.cpp knows which layers have a window and the file does not say: one of so many has
#: none, the last (llama-model.cpp, set_swa_pattern). Other architectures ignore the key.
_PERIODS = {"gemma2": 2, "gemma3": 6, "gemma3n": 5, "gpt-oss": 2, "cohere2": 4, "phi3": 1,
            "exaone4": 4, "smallthinker": 4, "llama4": 4}  # fmt: skip
_STATES = re.compile(r"blk\.(\d+)\.(?:ssm_|time_mix)")
_EXPERTS = re.compile(r"blk\.(\d+)\.ffn_.*_exps")


def architecture_of_header(header: Header) -> Architecture:
    """Return the architecture of a GGUF file.

    Raises
    ------
    FormatError
        If it does not say what it is, or a list has not one entry for each layer.
    """
    source = str(header.path)
    name = header.metadata.get("general.architecture")
    if not isinstance(name, str):
        raise FormatError("is missing, expected the name of an architecture", source=source,
                          path="general.architecture")  # fmt: skip
    prefix = f"{name}."
    values = {k[len(prefix) :]: v for k, v in header.metadata.items() if k.startswith(prefix)}
    fields = _Fields(values, source)
    listed = fields.number("block_count", least=1, most=MOST_LAYERS)
    # The last of them predict further tokens, which llama.cpp does not do unless it is asked to.
    count = listed - fields.number("nextn_predict_layers", default=0, most=listed - 1)
    hidden = fields.number("embedding_length", least=1)
    heads = fields.each(listed, "attention.head_count", default=0)[:count]
    kv = fields.each(listed, "attention.head_count_kv", default=max(heads))[:count]
    kinds = _kinds(name, fields, count, heads, kv, header)
    mixtures = {m[1] for t in header.tensors if (m := _EXPERTS.match(t.name))}
    layers = tuple(
        _layer(fields, kind, hidden, heads[k], kv[k], str(k) in mixtures)
        for k, kind in enumerate(kinds)
    )
    names = {tensor.name: tensor for tensor in header.tensors}
    table = names.get("token_embd.weight")
    vocabulary = table.shape[-1] if table else fields.number("vocab_size", default=0)
    tied = table is not None and "output.weight" not in names
    notes: tuple[str, ...] = ()
    if fields.get("attention.kv_lora_rank") is not None and not _is_latent(fields):
        notes = ("the file has no attention.key_length_mla: llama.cpp keeps the keys and values of "
                 "all heads, not latents",)  # fmt: skip
    return Architecture(name, layers, hidden, vocabulary, tied, "fp16",
                        fields.number("context_length", default=0) or None, notes,
                        listed - count)  # fmt: skip


def _kinds(
    name: str, fields: _Fields, count: int, heads: list[int], kv: list[int], header: Header
) -> list[str]:
    own = {tensor.name for tensor in header.tensors}
    stateful = fields.get("ssm.state_size", "wkv.head_size") is not None
    states = {m[1] for name in own if (m := _STATES.match(name))}
    kinds = []
    period = fields.get("attention.sliding_window_pattern")
    for k in range(count):
        if (
            stateful
            and f"blk.{k}.attn_k.weight" not in own
            and f"blk.{k}.attn_kv_a_mqa.weight" not in own
        ):
            kinds.append(STATE if str(k) in states else NONE)
        elif not kv[k] or not heads[k]:
            kinds.append(NONE)
        elif fields.number("attention.sliding_window", default=0) and _in_window(name, k, period):
            kinds.append(WINDOW)
        else:
            kinds.append(FULL)
    return kinds


def _in_window(name: str, k: int, period: object) -> bool:
    if isinstance(period, list):
        return bool(period[k]) if k < len(period) else False
    step = period if isinstance(period, int) and period > 0 else _PERIODS.get(name, 0)
    return step == 1 or (step > 1 and (k + 1) % step != 0)


def _is_latent(fields: _Fields) -> bool:
    """Whether llama.cpp keeps latents: of files before April 2025 it keeps what all heads have."""
    return fields.get("attention.key_length_mla") is not None


def _layer(fields: _Fields, kind: str, hidden: int, heads: int, kv: int, mixture: bool) -> Layer:
    experts = (0, 0)
    if mixture:
        experts = (fields.number("expert_count", least=1),
                   fields.number("expert_used_count", least=1))  # fmt: skip
    if kind == STATE:
        return Layer(STATE, 0, None, _state(fields, hidden), 0, *experts)
    if kind == NONE:
        return Layer(NONE, experts=experts[0], routed=experts[1])
    latent = fields.number("attention.kv_lora_rank", default=0) if _is_latent(fields) else 0
    size = hidden // heads if heads else 0
    if latent:
        rope = fields.number("rope.dimension_count", default=64)
        values, scores = latent + rope, heads * (2 * latent + rope) // 2
    else:
        key = fields.number("attention.key_length", default=size)
        values = kv * (key + fields.number("attention.value_length", default=size))
        scores = heads * key
    window = fields.number("attention.sliding_window", default=0) or None
    return Layer(kind, values, window if kind == WINDOW else None, 0, scores, *experts)


def _state(fields: _Fields, hidden: int) -> int:
    head = fields.number("wkv.head_size", default=0)
    if head:  # RWKV: a square for each head, and the last token twice
        return hidden * head + 2 * hidden
    inner = fields.number("ssm.inner_size", default=2 * hidden)
    size, kernel = fields.number("ssm.state_size"), fields.number("ssm.conv_kernel", default=4)
    groups = fields.number("ssm.group_count", default=0)
    return inner * size + (kernel - 1) * (inner + 2 * groups * size)
