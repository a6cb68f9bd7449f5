"""The tensors that a config stands for, where no file lists their sizes.

Names are those that the models are published with; shapes follow the modelling files of
transformers. The tests hold the sums of every family that it has against its own models.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from itertools import islice

from talos_opt.core.errors import FormatError
from talos_opt.frameworks.llm.architecture import NONE, STATE, Fields
from talos_opt.frameworks.llm.configs import Config
from talos_opt.frameworks.llm.mixers import latent, linear_attention, mamba, mamba2

#: A tensor's name and shape.
Shape = tuple[str, tuple[int, ...]]
#: Tensors that a config may stand for: DeepSeek-V3 has 46,000.
_MOST = 2**18


def shapes_of(config: Config) -> list[Shape]:
    """Return names and shapes of all tensors of a model, without quantisation.

    Raises
    ------
    FormatError
        If the family is unknown, or no model has so many tensors.
    """
    make = FAMILIES.get(config.kind)
    if make is None:
        raise FormatError(
            f"is {config.kind!r}, whose tensors are unknown without a file that lists them: "
            f"give a GGUF file or the safetensors files, or one of {', '.join(sorted(FAMILIES))}",
            source=config.source, path="model_type",
        )  # fmt: skip
    found = list(islice(make(config), _MOST + 1))
    if len(found) > _MOST:
        raise FormatError(
            f"stands for more than {_MOST} tensors: is its number of experts damaged?",
            source=config.source,
        )
    return found


def linear(name: str, out: int, width: int, bias: bool = False) -> Iterator[Shape]:
    """Yield a product's weight, and its bias."""
    yield f"{name}.weight", (out, width)
    if bias:
        yield f"{name}.bias", (out,)


def norm(name: str, width: int, bias: bool = False) -> Iterator[Shape]:
    """Yield a normalisation's weight, and its bias."""
    yield f"{name}.weight", (width,)
    if bias:
        yield f"{name}.bias", (width,)


def _attention(c: Config, at: str, kv: int) -> Iterator[Shape]:
    """Yield the products of an attention with its own head size, and norms of heads."""
    kind, d, width = c.kind, c.head_size, c.hidden
    bias = bool(c.get("attention_bias", "use_qkv_bias")) or kind in ("qwen2", "qwen2_moe", "phi")
    out = "dense" if kind == "phi" else "o_proj"
    if kind in ("phi3",):
        yield from linear(f"{at}.qkv_proj", (c.heads + 2 * kv) * d, width)
        yield from linear(f"{at}.o_proj", width, c.heads * d)
        return
    double = 2 if kind == "qwen3_next" else 1  # a gate beside the queries
    yield from linear(f"{at}.q_proj", double * c.heads * d, width, bias)
    yield from linear(f"{at}.k_proj", kv * d, width, bias)
    yield from linear(f"{at}.v_proj", kv * d, width, bias)
    ends = bias and kind not in ("qwen2", "qwen2_moe")
    yield from linear(f"{at}.{out}", width, c.heads * d, ends)
    if kind.startswith(("qwen3", "gemma3")):
        yield from norm(f"{at}.q_norm", d)
        yield from norm(f"{at}.k_norm", d)
    if kind.startswith("cohere") and c.get("use_qk_norm"):
        yield f"{at}.q_norm.weight", (c.heads, d)
        yield f"{at}.k_norm.weight", (kv, d)
    if kind == "gpt_oss":
        yield f"{at}.sinks", (c.heads,)


def _gated(at: str, width: int, inner: int, bias: bool = False) -> Iterator[Shape]:
    yield from linear(f"{at}.gate_proj", inner, width, bias)
    yield from linear(f"{at}.up_proj", inner, width, bias)
    yield from linear(f"{at}.down_proj", width, inner, bias)


def _mixture(c: Config, at: str) -> Iterator[Shape]:
    """Yield router, shared and routed experts of one layer, by the family's names."""
    width, inner, count = c.hidden, c.expert_ffn, c.experts
    if c.kind == "mixtral":
        yield from linear(f"{at}.gate", count, width)
        for e in range(count):
            yield from linear(f"{at}.experts.{e}.w1", inner, width)
            yield from linear(f"{at}.experts.{e}.w2", width, inner)
            yield from linear(f"{at}.experts.{e}.w3", inner, width)
        return
    if c.kind.startswith("granitemoe"):
        yield f"{at}.router.layer.weight", (count, width)
        yield f"{at}.input_linear.weight", (count, 2 * inner, width)
        yield f"{at}.output_linear.weight", (count, width, inner)
        return
    if c.kind == "gpt_oss":
        yield from linear(f"{at}.router", count, width, True)
        yield f"{at}.experts.gate_up_proj", (count, width, 2 * inner)
        yield f"{at}.experts.gate_up_proj_bias", (count, 2 * inner)
        yield f"{at}.experts.down_proj", (count, inner, width)
        yield f"{at}.experts.down_proj_bias", (count, width)
        return
    yield from linear(f"{at}.{'router' if c.kind == 'jamba' else 'gate'}", count, width)
    if c.kind == "deepseek_v3":
        yield f"{at}.gate.e_score_correction_bias", (count,)
    for e in range(count):
        yield from _gated(f"{at}.experts.{e}", width, inner)
    shared = c.number("n_shared_experts", default=0)
    if shared:
        yield from _gated(f"{at}.shared_experts", width, shared * inner)
    single = c.number("shared_expert_intermediate_size", default=0)
    if single and not shared:
        yield from _gated(f"{at}.shared_expert", width, single)
        yield from linear(f"{at}.shared_expert_gate", 1, width)


def _mlp(c: Config, lead: str, k: int) -> Iterator[Shape]:
    place = {"mixtral": "block_sparse_moe", "granitemoe": "block_sparse_moe",
             "granitemoeshared": "block_sparse_moe", "jamba": "feed_forward"}  # fmt: skip
    at = f"{lead}.{place.get(c.kind, 'mlp')}"
    if c.is_mixture(k):
        yield from _mixture(c, at)
        shared = c.number("shared_intermediate_size", default=0)
        if c.kind == "granitemoeshared" and shared:
            yield from linear(f"{lead}.shared_mlp.input_linear", 2 * shared, c.hidden)
            yield from linear(f"{lead}.shared_mlp.output_linear", c.hidden, shared)
    elif c.kind == "phi":
        yield from linear(f"{at}.fc1", c.ffn, c.hidden, True)
        yield from linear(f"{at}.fc2", c.hidden, c.ffn, True)
    elif c.kind == "phi3":
        yield from linear(f"{at}.gate_up_proj", 2 * c.ffn, c.hidden)
        yield from linear(f"{at}.down_proj", c.hidden, c.ffn)
    else:
        yield from _gated(at, c.hidden, c.ffn, bool(c.get("mlp_bias")))


def _mixer(c: Config, lead: str, kind: str, kv: int) -> Iterator[Shape]:
    if kind == STATE:
        if c.get("linear_num_value_heads") is not None:
            yield from linear_attention(c, f"{lead}.linear_attn")
        else:
            yield from mamba(c, f"{lead}.mamba")
    elif c.get("kv_lora_rank"):
        yield from latent(c, f"{lead}.self_attn")
    elif kv:
        yield from _attention(c, f"{lead}.self_attn", kv)


def _decoder(c: Config) -> Iterator[Shape]:
    """Yield a decoder of Llama's build: attention and a gated network or a mixture in a layer."""
    four = c.kind.startswith(("gemma2", "gemma3"))
    parallel = c.kind.startswith(("cohere", "phi")) and c.kind != "phi3"
    biased = c.kind == "phi"
    yield "model.embed_tokens.weight", (c.vocabulary, c.hidden)
    after = "pre_ff_layernorm" if c.kind == "jamba" else "post_attention_layernorm"
    for k, kind in enumerate(c.kinds()):
        lead = f"model.layers.{k}"
        yield from norm(f"{lead}.input_layernorm", c.hidden, biased)
        yield from _mixer(c, lead, kind, c.kv_heads[k])
        if not parallel:
            yield from norm(f"{lead}.{after}", c.hidden)
        if four:
            yield from norm(f"{lead}.pre_feedforward_layernorm", c.hidden)
            yield from norm(f"{lead}.post_feedforward_layernorm", c.hidden)
        yield from _mlp(c, lead, k)
    end = {"phi": "model.final_layernorm", "jamba": "model.final_layernorm"}
    yield from norm(end.get(c.kind, "model.norm"), c.hidden, biased)
    if not c.tied:
        yield from linear("lm_head", c.vocabulary, c.hidden, biased)


def _pruned(c: Config) -> Iterator[Shape]:
    """Yield Nemotron's decoders, whose layers differ: some have no attention, or no network."""
    if not c.is_pruned:  # DeciLM differs in its KV heads alone
        yield from _decoder(c)
        return
    yield "model.embed_tokens.weight", (c.vocabulary, c.hidden)
    for k, (block, kv) in enumerate(zip(c.blocks, c.kv_heads, strict=True)):
        lead, ffn = f"model.layers.{k}", block.get("ffn") or {}
        attention = block.get("attention") or {}
        if not attention.get("no_op"):
            yield from norm(f"{lead}.input_layernorm", c.hidden)
            if attention.get("replace_with_linear"):
                yield from linear(f"{lead}.self_attn.linear_attn", c.hidden, c.hidden)
            else:
                yield from _attention(c, f"{lead}.self_attn", kv)
        if ffn.get("no_op"):
            continue
        yield from norm(f"{lead}.post_attention_layernorm", c.hidden)
        if ffn.get("replace_with_linear"):
            yield from linear(f"{lead}.mlp.linear_mlp", c.hidden, c.hidden)
        else:
            yield from _gated(f"{lead}.mlp", c.hidden, _width(c, k, ffn))
    yield from norm("model.norm", c.hidden)
    if not c.tied:
        yield from linear("lm_head", c.vocabulary, c.hidden)


def _width(c: Config, k: int, ffn: Mapping[str, object]) -> int:
    """Return the width of a network of Nemotron's: given, or a multiple of the hidden size."""
    if ffn.get("intermediate_size") is not None:
        return Fields(ffn, c.source).number("intermediate_size", least=1)
    times = ffn.get("ffn_mult", 1)
    if not isinstance(times, int | float) or not 0 < times < 2**20:
        raise FormatError(f"is {times!r}, expected a number above 0", source=c.source,
                          path=f"block_configs[{k}].ffn.ffn_mult")  # fmt: skip
    return -(-int(2 * times * c.hidden / 3) // 256) * 256


def _falcon(c: Config) -> Iterator[Shape]:
    new, d, bias = bool(c.get("new_decoder_architecture")), c.head_size, bool(c.get("bias"))
    yield "transformer.word_embeddings.weight", (c.vocabulary, c.hidden)
    two = new and c.number("num_ln_in_parallel_attn", default=2) == 2
    for k in range(c.layers):
        lead = f"transformer.h.{k}"
        for name in ("ln_attn", "ln_mlp") if two else ("input_layernorm",):
            yield from norm(f"{lead}.{name}", c.hidden, True)
        if not new and c.get("parallel_attn") is False:
            yield from norm(f"{lead}.post_attention_layernorm", c.hidden, True)
        rows = (c.heads + 2 * c.kv_heads[k]) * d
        yield from linear(f"{lead}.self_attention.query_key_value", rows, c.hidden, bias)
        yield from linear(f"{lead}.self_attention.dense", c.hidden, c.heads * d, bias)
        yield from linear(f"{lead}.mlp.dense_h_to_4h", c.ffn, c.hidden, bias)
        yield from linear(f"{lead}.mlp.dense_4h_to_h", c.hidden, c.ffn, bias)
    yield from norm("transformer.ln_f", c.hidden, True)
    if not c.tied:
        yield from linear("lm_head", c.vocabulary, c.hidden)


def _bloom(c: Config) -> Iterator[Shape]:
    yield "word_embeddings.weight", (c.vocabulary, c.hidden)
    yield from norm("word_embeddings_layernorm", c.hidden, True)
    for k in range(c.layers):
        lead = f"h.{k}"
        yield from norm(f"{lead}.input_layernorm", c.hidden, True)
        yield from linear(f"{lead}.self_attention.query_key_value", 3 * c.hidden, c.hidden, True)
        yield from linear(f"{lead}.self_attention.dense", c.hidden, c.hidden, True)
        yield from norm(f"{lead}.post_attention_layernorm", c.hidden, True)
        yield from linear(f"{lead}.mlp.dense_h_to_4h", 4 * c.hidden, c.hidden, True)
        yield from linear(f"{lead}.mlp.dense_4h_to_h", c.hidden, 4 * c.hidden, True)
    yield from norm("ln_f", c.hidden, True)
    if not c.tied:
        yield from linear("lm_head", c.vocabulary, c.hidden)


def _mamba(c: Config) -> Iterator[Shape]:
    second = c.kind == "mamba2"
    yield "backbone.embeddings.weight", (c.vocabulary, c.hidden)
    for k in range(c.layers):
        yield from norm(f"backbone.layers.{k}.norm", c.hidden)
        yield from (mamba2 if second else mamba)(c, f"backbone.layers.{k}.mixer")
    yield from norm("backbone.norm_f", c.hidden)
    if not c.tied:
        yield from linear("lm_head", c.vocabulary, c.hidden)


def _nemotron_h(c: Config) -> Iterator[Shape]:
    """Yield Nemotron-H: each layer is a Mamba-2, an attention or a network alone."""
    yield "backbone.embeddings.weight", (c.vocabulary, c.hidden)
    for k, kind in enumerate(c.kinds()):
        lead = f"backbone.layers.{k}"
        yield from norm(f"{lead}.norm", c.hidden)
        if kind == STATE:
            yield from mamba2(c, f"{lead}.mixer")
        elif kind == NONE:
            yield from linear(f"{lead}.mixer.up_proj", c.ffn, c.hidden)
            yield from linear(f"{lead}.mixer.down_proj", c.hidden, c.ffn)
        else:
            yield from _attention(c, f"{lead}.mixer", c.kv_heads[k])
    yield from norm("backbone.norm_f", c.hidden)
    if not c.tied:
        yield from linear("lm_head", c.vocabulary, c.hidden)


#: By ``model_type``, what makes its tensors.
FAMILIES: dict[str, Callable[[Config], Iterator[Shape]]] = {
    **dict.fromkeys(
        ("llama", "mistral", "mixtral", "qwen2", "qwen2_moe", "qwen3", "qwen3_moe", "gemma",
         "gemma2", "gemma3", "gemma3_text", "deepseek_v2", "deepseek_v3", "gpt_oss", "phi", "phi3",
         "cohere", "cohere2", "granite", "granitemoe", "granitemoeshared", "qwen3_next", "jamba"),
        _decoder,
    ),
    "falcon": _falcon,
    "bloom": _bloom,
    "mamba": _mamba,
    "mamba2": _mamba,
    "nemotron_h": _nemotron_h,
    "deci": _pruned,
    "nemotron_nas": _pruned,
}  # fmt: skip
