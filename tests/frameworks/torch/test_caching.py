"""Bytes of caches, held against what the library's own hold after reading real tokens."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")
pytest.importorskip("transformers", reason="transformers is not installed")

from talos_opt.core.errors import InputError  # noqa: E402
from talos_opt.frameworks.llm.configs import architecture_of_config  # noqa: E402
from talos_opt.frameworks.torch import metering, planning  # noqa: E402
from talos_opt.frameworks.torch.blocks import find_blocks  # noqa: E402
from talos_opt.frameworks.torch.caching import KVCache, cache_bytes  # noqa: E402
from talos_opt.frameworks.torch.machines import CPU, Machine, Processor  # noqa: E402
from talos_opt.frameworks.torch.planning import make_plan  # noqa: E402
from tests.frameworks.torch import nets  # noqa: E402

nn = torch.nn
HOST = Machine((Processor(CPU, None, 1e11, 2e10, 1e-6),))
SMALL = {"vocab_size": 64, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}
DECODER = {**SMALL, "intermediate_size": 48, "num_key_value_heads": 2}


def llama() -> Any:
    return nets.llama()


def mistral() -> Any:
    from transformers.models.mistral.modeling_mistral import MistralConfig, MistralModel

    return MistralModel(MistralConfig(**DECODER, sliding_window=8))


def gemma() -> Any:
    from transformers.models.gemma3.modeling_gemma3 import Gemma3TextConfig, Gemma3TextModel

    kinds = ["sliding_attention", "full_attention"]
    config = Gemma3TextConfig(**DECODER, head_dim=8, sliding_window=8, layer_types=kinds)
    return Gemma3TextModel(config)


def deepseek() -> Any:
    from transformers.models.deepseek_v3.modeling_deepseek_v3 import (
        DeepseekV3Config,
        DeepseekV3Model,
    )

    config = DeepseekV3Config(
        **{**DECODER, "num_key_value_heads": 4}, kv_lora_rank=16, q_lora_rank=16,
        qk_rope_head_dim=8, qk_nope_head_dim=8, v_head_dim=8, moe_intermediate_size=16,
        n_routed_experts=4, num_experts_per_tok=2, n_group=2, topk_group=1, first_k_dense_replace=1,
    )  # fmt: skip
    return DeepseekV3Model(config)


def falcon() -> Any:
    from transformers.models.falcon.modeling_falcon import FalconConfig, FalconModel

    return FalconModel(FalconConfig(**SMALL, multi_query=True, new_decoder_architecture=False))


def qwen_next() -> Any:
    from transformers.models.qwen3_next.modeling_qwen3_next import Qwen3NextConfig, Qwen3NextModel

    config = Qwen3NextConfig(
        **DECODER, head_dim=8, layer_types=["linear_attention", "full_attention"],
        linear_num_key_heads=2, linear_num_value_heads=2, linear_key_head_dim=8,
        linear_value_head_dim=8, num_experts=4, num_experts_per_tok=2, moe_intermediate_size=16,
        shared_expert_intermediate_size=16,
    )  # fmt: skip
    return Qwen3NextModel(config)


def mamba() -> Any:
    from transformers.models.mamba.modeling_mamba import MambaConfig, MambaModel

    return MambaModel(MambaConfig(vocab_size=64, hidden_size=32, num_hidden_layers=2, state_size=4))


def t5() -> Any:
    from transformers.models.t5.modeling_t5 import T5Config, T5Model

    return T5Model(T5Config(vocab_size=64, d_model=32, d_kv=8, d_ff=48, num_layers=2, num_heads=4))


def ids(batch: int, tokens: int) -> Any:
    return torch.zeros(batch, tokens, dtype=torch.long)


def held(layer: Any) -> int:
    """Bytes of keys and values, and of states, of a layer of a real cache."""
    parts = [getattr(layer, "keys", None), getattr(layer, "values", None)]
    for states in ("conv_states", "recurrent_states"):
        parts += list(getattr(layer, states, {}).values())
    return sum(t.numel() * t.element_size() for t in parts if t is not None)


def real(module: Any, **step: Any) -> list[int]:
    with torch.no_grad():
        (cache,) = (
            v for v in module.eval()(use_cache=True, **step).values() if hasattr(v, "update")
        )
    if hasattr(cache, "cross_attention_cache"):
        own, other = cache.self_attention_cache.layers, cache.cross_attention_cache.layers
        return [held(a) + held(b) for a, b in zip(own, other, strict=True)]
    return [held(layer) for layer in cache.layers]


def ours(module: Any, cache: KVCache, **more: Any) -> dict[str, int]:
    blocks = find_blocks(module)
    sizes = cache_bytes(module.eval(), blocks, cache, **more)
    return {b.name: size for b, size in zip(blocks, sizes, strict=True) if size}


@pytest.mark.parametrize("make", [llama, mistral, gemma, deepseek, falcon, qwen_next, mamba])
def test_layers_hold_what_the_library_holds(make: Any) -> None:
    torch.manual_seed(0)
    module = make()
    expected = real(module, input_ids=ids(2, 21))
    found = ours(module, KVCache(21, batch=2))
    assert list(found.values()) == expected
    assert all(name.split(".")[-2] in ("layers", "h") for name in found)


def test_a_decoder_holds_what_it_saw_of_its_encoder() -> None:
    torch.manual_seed(0)
    module = t5()
    expected = real(module, input_ids=ids(2, 9), decoder_input_ids=ids(2, 21))
    found = ours(module, KVCache(21, batch=2, source=9))
    assert found == {f"decoder.block.{k}": size for k, size in enumerate(expected)}


def test_windows_latents_shared_heads_and_states_by_hand() -> None:
    each = 4 * 2 * 2 * 8  # float32, keys and values, two heads of 8
    assert list(ours(gemma(), KVCache(100)).values()) == [7 * each, 100 * each]
    assert list(ours(gemma(), KVCache(5)).values()) == [5 * each] * 2
    assert list(ours(deepseek(), KVCache(100)).values()) == [4 * 100 * (16 + 8)] * 2
    assert list(ours(falcon(), KVCache(100)).values()) == [4 * 100 * 2 * 8] * 2
    assert ours(mamba(), KVCache(7)) == ours(mamba(), KVCache(100_000))


def published(kind: str, **changes: Any) -> Any:
    """A model with heads of their published sizes, without memory."""
    from transformers import AutoConfig, AutoModelForCausalLM

    with torch.device("meta"):
        config = AutoConfig.for_model(kind, **changes)
        return AutoModelForCausalLM.from_config(config, dtype=torch.float16)


@pytest.mark.parametrize(
    ("kind", "changes", "each"),
    [
        # 512 of a latent and 64 of its rotary part; 128 heads of 64, twice, were 28 times as much
        ("deepseek_v3", {"num_hidden_layers": 2}, 512 + 64),
        # one head of 64 for all 71
        ("falcon", {"num_hidden_layers": 2}, 2 * 64),
        ("qwen3_moe", {"num_hidden_layers": 2}, 2 * 4 * 64),
    ],
)
def test_a_token_of_published_models(kind: str, changes: dict[str, Any], each: int) -> None:
    """The library's cache, the config's figures and arithmetic by hand are the same."""
    module = published(kind, **changes)
    assert list(ours(module, KVCache(1000, 3)).values()) == [2 * 3 * 1000 * each] * 2
    architecture = architecture_of_config(module.config.to_dict(), "config")
    assert architecture.cache_bytes(1000, 3) == 2 * 2 * 3 * 1000 * each


def test_what_the_library_keeps_beyond_the_config_counts() -> None:
    """Falcon 40B shares 8 heads among 128, but transformers copies them before it keeps them."""
    module = published(
        "falcon", num_hidden_layers=1, new_decoder_architecture=True, num_kv_heads=8,
        hidden_size=8192, num_attention_heads=128,
    )  # fmt: skip
    assert list(ours(module, KVCache(10)).values()) == [2 * 10 * 2 * 128 * 64]
    assert architecture_of_config(module.config.to_dict(), "config").cache_bytes(10) == (
        2 * 10 * 2 * 8 * 64
    )


def test_states_beside_the_layers_of_a_cache_count() -> None:
    from transformers.models.minimax.modeling_minimax import MiniMaxConfig, MiniMaxModel

    config = MiniMaxConfig(
        **DECODER, head_dim=8, layer_types=["full_attention", "linear_attention"], block_size=4,
        num_local_experts=2,
    )  # fmt: skip
    found = list(ours(MiniMaxModel(config), KVCache(9)).values())
    assert found == [4 * 9 * 2 * 2 * 8, 4 * 4 * 8 * 8]  # keys and values; a square for each head


def unable(make: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A model that does not run on fake tensors, as with operators of its maker's own."""
    module = make()

    def forward(input_ids: Any = None, use_cache: bool = False) -> Any:
        raise RuntimeError("an operator without a fake")

    monkeypatch.setattr(module, "forward", forward)
    return module


@pytest.mark.parametrize("make", [llama, deepseek, falcon])
def test_the_config_counts_where_the_library_cannot_be_asked(
    make: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes = ours(make(), KVCache(21, batch=2))
    assert ours(unable(make, monkeypatch), KVCache(21, batch=2)) == sizes
    half = ours(unable(make, monkeypatch), KVCache(21, batch=2), dtype=torch.float16)
    assert {name: 2 * size for name, size in half.items()} == sizes


def test_of_split_layers_attention_keeps_what_the_config_counts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    module = unable(llama, monkeypatch)
    blocks = find_blocks(module, [])
    sizes = cache_bytes(module, blocks, KVCache(9))
    names = [b.name for b, size in zip(blocks, sizes, strict=True) if size]
    assert [name.rpartition(".")[0] for name in names] == [
        f"model.layers.{k}.self_attn" for k in range(2)
    ]


def test_a_config_of_other_layers_is_not_believed(monkeypatch: pytest.MonkeyPatch) -> None:
    module = unable(llama, monkeypatch)
    module.config.num_hidden_layers = 3
    with pytest.raises(InputError, match="an operator without a fake"):
        ours(module, KVCache(9))


def test_the_type_of_the_weights_is_that_of_the_cache() -> None:
    with torch.device("meta"):
        module = gemma()
        halves = ours(module, KVCache(9), dtype=torch.float16)
    assert {name: 2 * size for name, size in halves.items()} == ours(module, KVCache(9))


def test_caches_are_where_modules_are_that_fill_them() -> None:
    """Without whole layers, on the module that ran last before keys and values were kept."""
    module = nets.llama()
    blocks = find_blocks(module, [])
    sizes = cache_bytes(module, blocks, KVCache(9))
    names = [b.name for b, size in zip(blocks, sizes, strict=True) if size]
    assert [name.rpartition(".")[0] for name in names] == [
        f"model.layers.{k}.self_attn" for k in range(2)
    ]
    whole = cache_bytes(module, find_blocks(module), KVCache(9))
    assert sum(sizes) == sum(whole)


class Plain(nn.Module):
    """Keeps what it read in a form of its own, beside a state of a fixed size."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(10, 4)

    def forward(self, input_ids: Any, use_cache: bool = False) -> Any:
        x = self.table(input_ids)
        kept = {"state": [x * 2, x.sum(1)]} if use_cache else {}
        return {"logits": x, **kept}


def test_other_caches_are_read_at_two_lengths() -> None:
    assert ours(Plain(), KVCache(1)) == {"table": 4 * (4 + 4)}
    assert ours(Plain(), KVCache(50, batch=3)) == {"table": 3 * 4 * (50 * 4 + 4)}


def test_layers_with_ways_of_their_own_read_every_token(monkeypatch: pytest.MonkeyPatch) -> None:
    from transformers import cache_utils

    monkeypatch.setattr(cache_utils.DynamicLayer, "__module__", "modeling_other")
    reads = Counter[str]()
    run = metering.run

    def counted(*args: Any) -> Any:
        reads["run"] += 1
        return run(*args)

    monkeypatch.setattr("talos_opt.frameworks.torch.caching.run", counted)
    assert list(ours(llama(), KVCache(21)).values()) == real(llama(), input_ids=ids(1, 21))
    assert reads["run"] == 2


@pytest.mark.parametrize(
    ("module", "message"),
    [
        (nets.tied, "takes use_cache.* Tied does not: plan without cache="),
        (nets.bert, "BertModel returns no cache"),
    ],
)
def test_modules_that_keep_nothing_are_refused_before_a_step_is_metered(
    module: Any, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(planning, "meter", lambda *_: pytest.fail("metered first"))
    with pytest.raises(InputError, match=message):
        make_plan(module(), HOST, (ids(1, 4),), cache=KVCache(4))


def test_numbers_of_tokens_that_make_no_sense() -> None:
    with pytest.raises(InputError, match="length of a KV cache is 0, expected at least 1"):
        KVCache(0)
    with pytest.raises(InputError, match="source of a KV cache is -1"):
        KVCache(3, source=-1)


def test_plans_count_caches_by_block() -> None:
    plan = make_plan(gemma().eval(), HOST, {"input_ids": ids(1, 2)}, cache=KVCache(100, 2))
    kept = {b.name: size for b, size in zip(plan.blocks, plan.cache, strict=True) if size}
    assert kept == {"layers.0": 2 * 7 * 128, "layers.1": 2 * 100 * 128}
