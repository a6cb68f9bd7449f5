"""What a layer keeps of a token, with the arithmetic of each kind of attention."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from talos_opt.core.errors import FormatError
from talos_opt.frameworks.llm.configs import architecture_of_config
from talos_opt.frameworks.llm.model import read_model
from talos_opt.frameworks.llm.workload import KV_TYPES, Workload, buffer_of, distinct_share
from tests.frameworks.llm.files import dense_rows, metadata, mixture_rows, write_gguf

BASE = {"hidden_size": 4096, "vocab_size": 32000, "intermediate_size": 14336}

#: name: config, tokens of context, bytes kept of them in 16 bits, as worked out.
CASES: dict[str, tuple[dict[str, Any], int, int]] = {
    # Llama 3.1 8B: 32 layers x 2 x 8 heads x 128 x 2 bytes
    "grouped query": (
        {"model_type": "llama", "num_hidden_layers": 32, "num_attention_heads": 32,
         "num_key_value_heads": 8}, 1, 32 * 2 * 8 * 128 * 2,
    ),
    # Falcon 7B: one head of 64 for all 71, 32 layers
    "multi query": (
        {"model_type": "falcon", "hidden_size": 4544, "num_hidden_layers": 32,
         "num_attention_heads": 71, "multi_query": True}, 1, 32 * 2 * 1 * 64 * 2,
    ),
    # DeepSeek-V3: 61 layers x (512 + 64) x 2 bytes: 70,272 (DeepSeek-V3 report)
    "latent": (
        {"model_type": "deepseek_v3", "num_hidden_layers": 61, "num_attention_heads": 128,
         "hidden_size": 7168, "kv_lora_rank": 512, "qk_rope_head_dim": 64}, 1, 70_272,
    ),
    # Mistral 7B v0.1: 32 layers keep 4,096 tokens of any context
    "window": (
        {"model_type": "mistral", "num_hidden_layers": 32, "num_attention_heads": 32,
         "num_key_value_heads": 8, "sliding_window": 4096}, 32768, 4096 * 32 * 2 * 8 * 128 * 2,
    ),
    # Gemma 3 27B: of 62 layers every sixth keeps all, the others 1,024; 16 heads of 128
    "windows in between": (
        {"model_type": "gemma3_text", "num_hidden_layers": 62, "num_attention_heads": 32,
         "num_key_value_heads": 16, "head_dim": 128, "hidden_size": 5376, "sliding_window": 1024,
         "sliding_window_pattern": 6}, 32768, (10 * 32768 + 52 * 1024) * 2 * 16 * 128 * 2,
    ),
    # Qwen3-Next 80B: 12 of 48 layers keep 2 heads of 256; 36 a state of 32 x 128 x 128 and 3 tokens
    # of 2 x 16 x 128 + 32 x 128 values in a convolution, in 4 bytes
    "linear": (
        {"model_type": "qwen3_next", "num_hidden_layers": 48, "num_attention_heads": 16,
         "num_key_value_heads": 2, "head_dim": 256, "hidden_size": 2048,
         "linear_num_value_heads": 32, "linear_num_key_heads": 16, "linear_key_head_dim": 128,
         "linear_value_head_dim": 128, "full_attention_interval": 4},
        1000, 12 * 1000 * 2 * 2 * 256 * 2 + 36 * 4 * (32 * 128 * 128 + 3 * 8192),
    ),
    # Jamba v0.1: 4 layers attend with 8 heads of 128; 28 states of 8192 x 16 and 3 x 8192
    "attention among states": (
        {"model_type": "jamba", "num_hidden_layers": 32, "num_attention_heads": 32,
         "num_key_value_heads": 8, "mamba_d_state": 16, "mamba_d_conv": 4, "mamba_expand": 2},
        1000, 4 * 1000 * 2 * 8 * 128 * 2 + 28 * 4 * (8192 * 16 + 3 * 8192),
    ),
    # Kimi Linear 48B: 7 of 27 layers keep latents; 20 a state of 32 x 128 x 128 and 3 tokens of
    # 3 x 32 x 128 values in convolutions
    "delta": (
        {"model_type": "kimi_linear", "num_hidden_layers": 27, "num_attention_heads": 32,
         "kv_lora_rank": 512, "qk_rope_head_dim": 64, "linear_attn_config": {
             "kda_layers": [k for k in range(1, 27) if k % 4], "num_heads": 32, "head_dim": 128,
             "short_conv_kernel_size": 4}},
        1000, 7 * 1000 * 576 * 2 + 20 * 4 * (32 * 128 * 128 + 3 * 3 * 32 * 128),
    ),
    # MiniMax: a square of 128 for each of 64 heads in 7 of 8 layers
    "lightning": (
        {"model_type": "minimax", "num_hidden_layers": 8, "num_attention_heads": 64,
         "num_key_value_heads": 8, "head_dim": 128,
         "layer_types": ["linear_attention"] * 7 + ["full_attention"]},
        1000, 1000 * 2 * 8 * 128 * 2 + 7 * 4 * 64 * 128 * 128,
    ),
    # Gemma 3n: the last 15 of 35 layers share what others keep
    "shared": (
        {"model_type": "gemma3n_text", "num_hidden_layers": 35, "num_attention_heads": 8,
         "num_key_value_heads": 2, "head_dim": 256, "num_kv_shared_layers": 15},
        1, 20 * 2 * 2 * 256 * 2,
    ),
    # Nemotron 51B has layers without attention, and others with fewer heads
    "pruned": (
        {"model_type": "nemotron-nas", "num_hidden_layers": 3, "num_attention_heads": 32,
         "block_configs": [{"attention": {"n_heads_in_group": 8}, "ffn": {}},
                           {"attention": {"no_op": True}, "ffn": {}},
                           {"attention": {"n_heads_in_group": 16}, "ffn": {}}]},
        1, (2 * 4 * 128 + 2 * 2 * 128) * 2,
    ),
    "heads by layer": (
        {"model_type": "llama", "num_hidden_layers": 3, "num_attention_heads": 32,
         "num_key_value_heads": [8, 0, 4]}, 1, 2 * (8 + 4) * 128 * 2,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_bytes_kept_of_a_context(name: str) -> None:
    config, context, kept = CASES[name]
    assert architecture_of_config(BASE | config, "config.json").cache_bytes(context) == kept


def test_layers_of_a_delta_attention_are_counted_from_one() -> None:
    config, _, _ = CASES["delta"]
    for layers in ([0], [28], ["1"], 3):
        broken = BASE | config | {"linear_attn_config": {"kda_layers": layers, "num_heads": 1}}
        with pytest.raises(FormatError, match=r"kda_layers: expected layers from 1 to 27"):
            architecture_of_config(broken, "config.json")


def test_states_of_a_size_that_nothing_says_are_noted() -> None:
    linear = {"model_type": "novel", "num_hidden_layers": 2, "num_attention_heads": 8,
              "layer_types": ["linear_attention", "full_attention"]}  # fmt: skip
    (note,) = architecture_of_config(BASE | linear, "config.json").notes
    assert "16 values for each of 8192 channels" in note
    said = BASE | linear | {"state_size": 64}
    assert architecture_of_config(said, "config.json").notes == ()


def test_a_quantised_cache_counts_its_scales() -> None:
    config, _, kept = CASES["grouped query"]
    found = architecture_of_config(BASE | config, "config.json")
    assert found.cache_bytes(32, 1, KV_TYPES["q8_0"]) == kept * 32 // 2 * 34 // 32
    assert found.cache_bytes(32, 3, KV_TYPES["q4_0"]) == 3 * kept * 32 // 2 * 18 // 32


def test_distinct_experts_of_a_batch() -> None:
    assert distinct_share(8, 2, 1) == pytest.approx(2 / 8)
    assert distinct_share(8, 2, 2) == pytest.approx(1 - (6 / 8) ** 2)
    assert distinct_share(0, 0, 5) == 1
    assert distinct_share(4, 4, 1) == 1


@pytest.mark.parametrize(("latent", "kept"), [(True, 512 + 64), (False, 128 * (192 + 128))])
def test_old_gguf_files_keep_what_all_heads_have(tmp_path: Path, latent: bool, kept: int) -> None:
    """DeepSeek-V3 as it was converted after and before llama.cpp had latent caches."""
    said = {"attention.head_count": 128, "attention.head_count_kv": 1 if latent else 128,
            "attention.kv_lora_rank": 512, "rope.dimension_count": 64,
            "attention.key_length": 576 if latent else 192,
            "attention.value_length": 512 if latent else 128}  # fmt: skip
    said |= {"attention.key_length_mla": 192} if latent else {}
    write_gguf(tmp_path / "m.gguf", metadata(2, "deepseek2", **said), dense_rows(2))
    model = read_model(tmp_path)
    assert model.architecture.cache_bytes(1) == 2 * 2 * kept
    assert bool(model.notes) != latent


def test_latents_are_mixed_without_their_rotary_part() -> None:
    """DeepSeek-V3: 128 heads multiply 576 values with each token before, then mix 512 of them."""
    config, _, _ = CASES["latent"]
    layer = architecture_of_config(BASE | config, "config.json").layers[0]
    assert 2 * layer.score_values == 128 * (576 + 512)


@pytest.mark.parametrize(
    ("width", "context", "reserved"),
    [(4096, 2048, 32.01), (8192, 2048, 56.01), (4096, 8192, 38.01)],
)
def test_buffers_are_those_that_llama_cpp_reserves(
    tmp_path: Path, width: int, context: int, reserved: float
) -> None:
    """MiB that it logged for a chunk of 512 tokens (llama-cpp-python 0.3.36, RPC backend)."""
    write_gguf(tmp_path / "m.gguf", metadata(1, hidden=1024),
               dense_rows(1, hidden=1024, ffn=width, vocab=256))  # fmt: skip
    model = read_model(tmp_path)
    load = Workload(context)
    found = max(buffer_of(part, model, load) for part in model.parts)
    assert found / 2**20 == pytest.approx(reserved, abs=0.02)


def test_of_a_mixture_each_expert_of_a_token_has_its_width(tmp_path: Path) -> None:
    """2 of 4 experts of 2,048: as wide as a network of 4,096, for which it logged 32.01 MiB."""
    said = metadata(1, hidden=1024, expert_count=4, expert_used_count=2)
    write_gguf(tmp_path / "m.gguf", said, mixture_rows(1, 4, hidden=1024, ffn=2048, vocab=256))
    model = read_model(tmp_path)
    (experts,) = (part for part in model.parts if part.role == "experts")
    assert buffer_of(experts, model, Workload(2048)) / 2**20 == pytest.approx(32.01, abs=0.02)
