"""Tensors of what mixes tokens otherwise than plain attention: latents, states."""

from __future__ import annotations

from collections.abc import Iterator

from talos_opt.frameworks.llm.configs import Config

_Shape = tuple[str, tuple[int, ...]]


def latent(c: Config, at: str) -> Iterator[_Shape]:
    """Yield multi-head latent attention (DeepSeek-V2, section 2.1)."""
    width, heads = c.hidden, c.heads
    nope, rope = c.number("qk_nope_head_dim"), c.number("qk_rope_head_dim")
    value, rank = c.number("v_head_dim"), c.number("kv_lora_rank")
    queries = c.number("q_lora_rank", default=0)
    if queries:
        yield f"{at}.q_a_proj.weight", (queries, width)
        yield f"{at}.q_a_layernorm.weight", (queries,)
        yield f"{at}.q_b_proj.weight", (heads * (nope + rope), queries)
    else:
        yield f"{at}.q_proj.weight", (heads * (nope + rope), width)
    yield f"{at}.kv_a_proj_with_mqa.weight", (rank + rope, width)
    yield f"{at}.kv_a_layernorm.weight", (rank,)
    yield f"{at}.kv_b_proj.weight", (heads * (nope + value), rank)
    yield f"{at}.o_proj.weight", (width, heads * value)


def linear_attention(c: Config, at: str) -> Iterator[_Shape]:
    """Yield Qwen3-Next's gated delta net."""
    keys, values = c.number("linear_num_key_heads"), c.number("linear_num_value_heads")
    key, value = c.number("linear_key_head_dim"), c.number("linear_value_head_dim")
    wide, deep = keys * key, values * value
    kernel = c.number("linear_conv_kernel_dim", default=4)
    yield f"{at}.dt_bias", (values,)
    yield f"{at}.A_log", (values,)
    yield f"{at}.conv1d.weight", (2 * wide + deep, 1, kernel)
    yield f"{at}.in_proj_qkvz.weight", (2 * wide + 2 * deep, c.hidden)
    yield f"{at}.in_proj_ba.weight", (2 * values, c.hidden)
    yield f"{at}.norm.weight", (value,)
    yield f"{at}.out_proj.weight", (c.hidden, deep)


def mamba(c: Config, at: str) -> Iterator[_Shape]:
    """Yield a Mamba layer (Gu and Dao, 2023); Jamba's has norms of what it selects."""
    inner, size = c.inner, c.number("mamba_d_state", "state_size", default=16)
    kernel = c.number("mamba_d_conv", "conv_kernel", default=4)
    said = c.get("mamba_dt_rank", "time_step_rank")
    rank = said if isinstance(said, int) else -(-c.hidden // 16)
    yield f"{at}.A_log", (inner, size)
    yield f"{at}.D", (inner,)
    yield f"{at}.conv1d.weight", (inner, 1, kernel)
    if c.get("mamba_conv_bias", "use_conv_bias") is not False:
        yield f"{at}.conv1d.bias", (inner,)
    bias = bool(c.get("mamba_proj_bias", "use_bias"))
    yield f"{at}.in_proj.weight", (2 * inner, c.hidden)
    if bias:
        yield f"{at}.in_proj.bias", (2 * inner,)
    yield f"{at}.x_proj.weight", (rank + 2 * size, inner)
    yield f"{at}.dt_proj.weight", (inner, rank)
    yield f"{at}.dt_proj.bias", (inner,)
    yield f"{at}.out_proj.weight", (c.hidden, inner)
    if bias:
        yield f"{at}.out_proj.bias", (c.hidden,)
    if c.kind == "jamba":
        yield f"{at}.dt_layernorm.weight", (rank,)
        yield f"{at}.b_layernorm.weight", (size,)
        yield f"{at}.c_layernorm.weight", (size,)


def mamba2(c: Config, at: str) -> Iterator[_Shape]:
    """Yield a Mamba-2 layer (Dao and Gu, 2024)."""
    heads = c.number("mamba_num_heads", "num_heads")
    inner = heads * c.number("mamba_head_dim", "head_dim")
    size = c.number("ssm_state_size", "state_size", default=128)
    groups, kernel = c.number("n_groups", default=8), c.number("conv_kernel", default=4)
    mixed = inner + 2 * groups * size
    yield f"{at}.A_log", (heads,)
    yield f"{at}.D", (heads,)
    yield f"{at}.dt_bias", (heads,)
    yield f"{at}.conv1d.weight", (mixed, 1, kernel)
    if c.get("use_conv_bias") is not False:
        yield f"{at}.conv1d.bias", (mixed,)
    yield f"{at}.in_proj.weight", (inner + mixed + heads, c.hidden)
    yield f"{at}.norm.weight", (inner,)
    yield f"{at}.out_proj.weight", (c.hidden, inner)
