"""The architecture that a config.json describes."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

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

_LAYERS = ("num_hidden_layers", "n_layer", "num_layers", "n_layers")
_HEADS = ("num_attention_heads", "n_head", "num_heads", "n_heads")
_HIDDEN = ("hidden_size", "n_embd", "d_model")
_STATES = ("mamba_d_state", "ssm_state_size", "state_size")
_FFN = ("intermediate_size", "ffn_hidden_size", "n_inner")
#: Layers of a window among a period, where the config does not list them: every but the last.
_PERIODS = {"gemma2": 2, "gemma3": 6, "gemma3_text": 6, "gpt_oss": 2, "cohere2": 4, "gemma3n": 5,
            "gemma3n_text": 5}  # fmt: skip
_KINDS = {"full_attention": FULL, "attention": FULL, "sliding_attention": WINDOW,
          "chunked_attention": WINDOW, "linear_attention": STATE, "mamba": STATE, "mlp": NONE,
          "moe": NONE}  # fmt: skip
#: Of which the size of a state is known from other keys, or by default.
_KNOWN_STATES = frozenset(("kimi_linear", "minimax", "mamba", "mamba2", "jamba"))
_DTYPES = {"float16": "fp16", "bfloat16": "bf16", "float32": "fp32"}


class Config(_Fields):
    """A config.json with the names that its makers use for the same things."""

    def __init__(self, values: Mapping[str, Any], source: str) -> None:
        inner = values.get("text_config") or values.get("llm_config")
        outer = {k: v for k, v in values.items() if k not in ("text_config", "llm_config")}
        super().__init__({**outer, **inner} if isinstance(inner, dict) else values, source)
        kind = self.get("model_type")
        if not isinstance(kind, str) or not kind:
            raise FormatError("is missing, expected the type of a model", source=source,
                              path="model_type")  # fmt: skip
        self.kind = kind.lower().replace("-", "_")
        self.layers = self.number(*_LAYERS, default=self._listed(), least=1, most=MOST_LAYERS)
        self.hidden = self.number(*_HIDDEN, least=1)
        self.vocabulary = self.number("vocab_size", least=1)
        self.tied = self._tied()

    def _listed(self) -> int | None:
        """Count the layers where the config only lists their types."""
        listed = self.get("layers_block_type", "layer_types", "hybrid_override_pattern")
        return len(listed) if isinstance(listed, list | str) and listed else None

    def _tied(self) -> bool:
        said = self.get("tie_word_embeddings")
        default = re.match(r"(gemma|cohere|bloom|falcon|gpt2|granite|mamba)", self.kind)
        return bool(default) if said is None else bool(said)

    @property
    def heads(self) -> int:
        """Query heads of a layer."""
        return self.number(*_HEADS, least=1)

    @property
    def head_size(self) -> int:
        """Values of a head."""
        return self.number("head_dim", "attention_head_dim", default=self.hidden // self.heads)

    @property
    def kv_heads(self) -> list[int]:
        """KV heads of each layer."""
        if self.kind == "falcon" and not self.get("new_decoder_architecture"):
            count = 1 if self.get("multi_query") in (None, True) else self.heads
            return [count] * self.layers
        names = ("num_key_value_heads_per_layer", "num_key_value_heads", "num_kv_heads",
                 "n_head_kv", "multi_query_group_num")  # fmt: skip
        if self.is_pruned:
            return [self._group(block) for block in self.blocks]
        return self.each(self.layers, *names, default=self.heads)

    @property
    def is_pruned(self) -> bool:
        """Whether the config lists for each layer what is left of it."""
        return self.kind == "nemotron_nas" or self.get("block_configs") is not None

    @property
    def blocks(self) -> list[Mapping[str, Any]]:
        """What a config of Nemotron lists for each layer."""
        found = self.get("block_configs")
        if not isinstance(found, list) or len(found) != self.layers:
            raise FormatError(f"expected one for each of {self.layers} layers",
                              source=self.source, path="block_configs")  # fmt: skip
        for k, block in enumerate(found):
            parts = [block, *(block.get(n) or {} for n in ("attention", "ffn"))] if isinstance(
                block, dict) else [block]  # fmt: skip
            if not all(isinstance(part, dict) for part in parts):
                raise FormatError("expected an object of attention and ffn", source=self.source,
                                  path=f"block_configs[{k}]")  # fmt: skip
        return found

    def _group(self, block: Mapping[str, Any]) -> int:
        attention = block.get("attention") or {}
        if attention.get("no_op") or attention.get("replace_with_linear"):
            return 0
        said = _Fields(attention, self.source)
        if said.get("num_key_value_heads") is not None:
            return said.number("num_key_value_heads")
        return self.heads // said.number("n_heads_in_group", default=1, least=1)

    @property
    def ffn(self) -> int:
        """Width of a feed-forward network that is not a mixture's."""
        return self.number(*_FFN, default=4 * self.hidden)

    @property
    def experts(self) -> int:
        """Routed experts of a mixture layer."""
        return self.number("num_local_experts", "num_experts", "n_routed_experts",
                           "moe_num_experts", default=0)  # fmt: skip

    @property
    def routed(self) -> int:
        """Routed experts that a token uses."""
        return self.number("num_experts_per_tok", "num_experts_per_token", "moe_topk",
                           "moe_top_k", "num_selected_experts",
                           default=2 if self.experts else 0)  # fmt: skip

    @property
    def expert_ffn(self) -> int:
        """Width of a routed expert."""
        return self.number("moe_intermediate_size", *_FFN)

    def is_mixture(self, k: int) -> bool:
        """Whether layer *k* has routed experts."""
        if not self.experts or k < self.number("first_k_dense_replace", default=0):
            return False
        if self.kind == "jamba":
            period = self.number("expert_layer_period", default=2, least=1)
            return k % period == self.number("expert_layer_offset", default=1)
        only = self.get("mlp_only_layers")
        if isinstance(only, list) and k in only:
            return False
        step = self.number("decoder_sparse_step", "moe_layer_freq", "interleave_moe_layer_step",
                           default=1, least=1)  # fmt: skip
        return (k % step == 0) if self.kind.startswith("deepseek") else (k + 1) % step == 0

    def kinds(self) -> list[str]:
        """Return what each layer does with the tokens before."""
        listed = self.get("layer_types", "layers_block_type")
        if isinstance(listed, list):
            if len(listed) != self.layers:
                raise FormatError(
                    f"has {len(listed)} entries, expected one for each of {self.layers} layers",
                    source=self.source, path="layer_types",
                )  # fmt: skip
            return [self._kind(word) for word in listed]
        if self._delta.get("kda_layers") is not None:
            return self._delta_kinds()
        pattern = self.get("hybrid_override_pattern")
        if isinstance(pattern, str) and len(pattern) == self.layers:
            return [{"M": STATE, "*": FULL}.get(mark, NONE) for mark in pattern]
        if "mamba" in self.kind and not self.get("attn_layer_period"):
            return [STATE] * self.layers
        if self.kind == "jamba":
            period = self.number("attn_layer_period", default=8, least=1)
            offset = self.number("attn_layer_offset", default=4)
            return [FULL if k % period == offset else STATE for k in range(self.layers)]
        if self.get("linear_num_value_heads") is not None:
            period = self.number("full_attention_interval", default=4, least=1)
            return [FULL if (k + 1) % period == 0 else STATE for k in range(self.layers)]
        return self._windows()

    @property
    def _delta(self) -> _Fields:
        """What a config of Kimi's says of its delta attention."""
        found = self.get("linear_attn_config")
        return _Fields(found if isinstance(found, dict) else {}, self.source)

    def _delta_kinds(self) -> list[str]:
        """Return the kinds by a list of layers, of which the first is 1."""
        listed = self._delta.get("kda_layers")
        if isinstance(listed, list) and all(
            type(k) is int and 1 <= k <= self.layers for k in listed
        ):
            return [STATE if k + 1 in listed else FULL for k in range(self.layers)]
        raise FormatError(f"expected layers from 1 to {self.layers}", source=self.source,
                          path="linear_attn_config.kda_layers")  # fmt: skip

    def _kind(self, word: object) -> str:
        if word not in _KINDS:
            raise FormatError(
                f"names the unknown layer type {word!r}, expected one of {', '.join(_KINDS)}",
                source=self.source, path="layer_types",
            )  # fmt: skip
        return _KINDS[str(word)]

    def _windows(self) -> list[str]:
        if self.get("sliding_window") is None or self.get("use_sliding_window") is False:
            return [FULL] * self.layers
        if self.get("use_sliding_window"):  # Qwen2: layers from here on
            first = self.number("max_window_layers", default=self.layers)
            return [WINDOW if k >= first else FULL for k in range(self.layers)]
        period = self.number("sliding_window_pattern", default=_PERIODS.get(self.kind, 0))
        if not period:
            return [WINDOW] * self.layers
        return [FULL if (k + 1) % period == 0 else WINDOW for k in range(self.layers)]

    def state_values(self) -> int:
        """Return the values of a state, with what a convolution keeps of the last tokens."""
        if self.get("linear_num_value_heads") is not None:
            heads, keys = (self.number("linear_num_value_heads"),
                           self.number("linear_num_key_heads"))  # fmt: skip
            key, value = self.number("linear_key_head_dim"), self.number("linear_value_head_dim")
            kernel = self.number("linear_conv_kernel_dim", default=4)
            return heads * key * value + (kernel - 1) * (2 * keys * key + heads * value)
        if self.kind == "kimi_linear":  # a square for each head, and three convolutions
            delta = self._delta if self._delta.values else self
            heads = delta.number("linear_num_heads", "num_heads")
            size = delta.number("linear_head_dim", "head_dim")
            kernel = delta.number("linear_conv_kernel_dim", "short_conv_kernel_size", default=4)
            return heads * size * size + (kernel - 1) * 3 * heads * size
        if self.kind.startswith("minimax"):
            return self.heads * self.head_size**2
        size = self.number(*_STATES, default=16)
        kernel = self.number("mamba_d_conv", "conv_kernel", default=4)
        inner = self.inner
        groups = self.number("mamba_n_groups", "n_groups", default=0)
        return inner * size + (kernel - 1) * (inner + 2 * groups * size)

    @property
    def inner(self) -> int:
        """Width of a Mamba layer."""
        heads = self.get("mamba_num_heads", "mamba_n_heads")
        if heads is not None:
            return self.number("mamba_num_heads", "mamba_n_heads") * self.number(
                "mamba_head_dim", "mamba_d_head")  # fmt: skip
        expand = self.number("mamba_expand", "expand", default=2)
        return self.number("intermediate_size", default=0) if self.kind == "mamba" and self.get(
            "intermediate_size") else expand * self.hidden  # fmt: skip


def architecture_of_config(values: Mapping[str, Any], source: str) -> Architecture:
    """Return the architecture that a config.json describes.

    Raises
    ------
    FormatError
        If a value is missing or of the wrong type, or a list has not one entry for each layer.
    """
    config = Config(values, source)
    kinds = config.kinds()
    attends = any(kind in (FULL, WINDOW) for kind in kinds)
    heads = config.kv_heads if attends else [0] * config.layers
    shared = config.number("num_kv_shared_layers", default=0)
    layers = tuple(
        _layer(config, k, kind, heads[k], k >= config.layers - shared)
        for k, kind in enumerate(kinds)
    )
    notes: tuple[str, ...] = ()
    if (
        STATE in kinds
        and config.kind not in _KNOWN_STATES
        and config.get(*_STATES) is None
        and (config.get("linear_num_value_heads") is None)
    ):
        notes = ("nothing says how large the states of linear layers are: 16 values for each of "
                 f"{config.inner} channels, as Mamba has them",)  # fmt: skip
    word = str(config.get("dtype", "torch_dtype") or "bfloat16").rpartition(".")[2]
    return Architecture(
        config.kind, layers, config.hidden, config.vocabulary, config.tied,
        _DTYPES.get(word, "bf16"),
        config.number("max_position_embeddings", "n_positions", "seq_length", "max_seq_len",
                      default=0) or None, notes,
    )  # fmt: skip


def _layer(config: Config, k: int, kind: str, kv_heads: int, shared: bool) -> Layer:
    experts = (config.experts, config.routed) if config.is_mixture(k) else (0, 0)
    if kind == STATE:
        return Layer(STATE, state_values=config.state_values(), experts=experts[0],
                     routed=experts[1])  # fmt: skip
    if kind == NONE or not kv_heads:
        return Layer(NONE, experts=experts[0], routed=experts[1])
    latent = config.number("kv_lora_rank", default=0)
    if latent:
        rope = config.number("qk_rope_head_dim", default=64)
        # Queries meet the latent and its rotary part, what is mixed then is the latent alone.
        values, scores = latent + rope, config.heads * (2 * latent + rope) // 2
    else:
        values, scores = 2 * kv_heads * config.head_size, config.heads * config.head_size
    window = config.number("sliding_window", "attention_chunk_size", default=0) or None
    return Layer(
        kind, 0 if shared else values, window if kind == WINDOW else None, 0, scores, *experts
    )
