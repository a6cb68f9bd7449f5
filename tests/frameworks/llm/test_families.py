"""The tensors that a config stands for, held against transformers' own models of every family."""

from __future__ import annotations

from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")
transformers = pytest.importorskip("transformers", reason="transformers is not installed")

from talos_opt.frameworks.llm.configs import Config  # noqa: E402
from talos_opt.frameworks.llm.shapes import FAMILIES, shapes_of  # noqa: E402

SMALL: dict[str, Any] = {
    "vocab_size": 96, "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2,
    "num_attention_heads": 4, "num_key_value_heads": 2, "pad_token_id": 0,
}  # fmt: skip
MIXTURE = {"num_local_experts": 4, "num_experts": 4, "n_routed_experts": 4,
           "num_experts_per_tok": 2, "moe_intermediate_size": 48}  # fmt: skip
LATENT = {"kv_lora_rank": 16, "q_lora_rank": 24, "qk_rope_head_dim": 8, "qk_nope_head_dim": 8,
          "v_head_dim": 8, "n_shared_experts": 1, "first_k_dense_replace": 1, "n_group": 2,
          "topk_group": 1}  # fmt: skip
STATES = {"mamba_d_state": 8, "mamba_dt_rank": 4, "state_size": 8, "use_mamba_kernels": False}
LINEAR = {"linear_num_key_heads": 2, "linear_num_value_heads": 4, "linear_key_head_dim": 8,
          "linear_value_head_dim": 8, "layer_types": ["linear_attention", "full_attention"],
          "shared_expert_intermediate_size": 32}  # fmt: skip
#: What a family's configs do not have.
UNUSED = "unused"
WIDE = MIXTURE | {"moe_intermediate_size": UNUSED}
FALCON = {"intermediate_size": UNUSED}
#: Family and what its config has beside the small sizes.
CASES: dict[str, tuple[str, dict[str, Any]]] = {
    **{kind: (kind, {}) for kind in ("llama", "mistral", "qwen2", "qwen3", "gemma", "phi", "phi3",
                                     "cohere", "granite", "mamba")},
    **{kind: (kind, WIDE) for kind in ("mixtral", "gpt_oss", "granitemoe")},
    "qwen3_moe": ("qwen3_moe", MIXTURE),
    "llama with biases": ("llama", {"attention_bias": True, "mlp_bias": True, "head_dim": 8}),
    "llama, tied": ("llama", {"tie_word_embeddings": True}),
    "qwen2_moe": ("qwen2_moe", MIXTURE | {"shared_expert_intermediate_size": 32}),
    "gemma2": ("gemma2", {"head_dim": 8}),
    "gemma3_text": ("gemma3_text", {"head_dim": 8}),
    "cohere2": ("cohere2", {}),
    "deepseek_v2": ("deepseek_v2", MIXTURE | LATENT),
    "deepseek_v2 without a latent of queries":
        ("deepseek_v2", MIXTURE | LATENT | {"q_lora_rank": None}),
    "deepseek_v3": ("deepseek_v3", MIXTURE | LATENT),
    "granitemoeshared": ("granitemoeshared", WIDE | {"shared_intermediate_size": 32}),
    "qwen3_next": ("qwen3_next", MIXTURE | LINEAR | {"head_dim": 16}),
    "jamba": ("jamba", WIDE | STATES | {"num_hidden_layers": 8}),
    "mamba2": ("mamba2", {"state_size": 8, "head_dim": 16, "num_heads": 8, "n_groups": 2}),
    "nemotron_h": ("nemotron_h", {
        "hybrid_override_pattern": "M-*-", "layers_block_type": None, "num_hidden_layers": 4,
        "mamba_num_heads": 4, "mamba_head_dim": 16, "ssm_state_size": 8, "n_groups": 2,
        "head_dim": 16}),
    "falcon": ("falcon", FALCON),
    "falcon, new": ("falcon", FALCON | {"new_decoder_architecture": True, "num_kv_heads": 2}),
    "falcon, all heads": ("falcon", FALCON | {"multi_query": False, "bias": True,
                                              "parallel_attn": False}),
    "bloom": ("bloom", {}),
}  # fmt: skip
#: Which transformers does not have.
MISSING = {"deci", "nemotron_nas", "gemma3"}


def test_every_family_has_a_case() -> None:
    """What is called gemma3 is gemma3_text beside a part for images."""
    assert {kind for kind, _ in CASES.values()} | MISSING == set(FAMILIES)


@pytest.mark.parametrize("name", CASES)
def test_parameters_are_those_of_transformers(name: str) -> None:
    kind, more = CASES[name]
    given = {key: value for key, value in (SMALL | more).items() if value != UNUSED}
    config = transformers.AutoConfig.for_model(kind, **given)
    with torch.device("meta"):
        module = transformers.AutoModelForCausalLM.from_config(config)
    expected = sum(parameter.numel() for parameter in module.parameters())
    expected += sum(b.numel() for n, b in module.named_buffers() if n.endswith("correction_bias"))
    found = shapes_of(Config(config.to_dict(), "config.json"))
    sizes = {name: torch.Size(shape).numel() for name, shape in found}
    assert len(sizes) == len(found)
    assert sum(sizes.values()) == expected
