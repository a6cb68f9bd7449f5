"""Configs held against the tensors of their files."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import pytest

from talos_opt.core.errors import FormatError
from talos_opt.frameworks.llm.configs import Config
from talos_opt.frameworks.llm.model import read_model
from talos_opt.frameworks.llm.shapes import shapes_of
from tests.frameworks.llm.files import write_config

#: Layers of all sorts: eight heads of which 2 or 4 share keys, none, no network, linear ones.
BLOCKS: list[dict[str, Any]] = [
    {"attention": {"n_heads_in_group": 4}, "ffn": {"ffn_mult": 2.625}},
    {"attention": {"no_op": True}, "ffn": {"ffn_mult": 1.0}},
    {"attention": {"n_heads_in_group": 2}, "ffn": {"no_op": True}},
    {"attention": {"replace_with_linear": True}, "ffn": {"replace_with_linear": True}},
    {"attention": {"num_key_value_heads": 1}, "ffn": {"intermediate_size": 96}},
]
PRUNED = {"model_type": "nemotron-nas", "num_hidden_layers": 5, "block_configs": BLOCKS,
          "num_key_value_heads": None}  # fmt: skip


def write(folder: Path, config: dict[str, Any], tensors: dict[str, tuple[int, ...]]) -> Path:
    """A config, and a safetensors file of BF16 without its weights."""
    write_config(folder, **config)
    document, at = {}, 0
    for name, shape in tensors.items():
        size = 2
        for axis in shape:
            size *= axis
        document[name] = {"dtype": "BF16", "shape": list(shape), "data_offsets": [at, at + size]}
        at += size
    header = json.dumps(document).encode()
    with (folder / "model.safetensors").open("wb") as file:
        file.write(struct.pack("<Q", len(header)) + header)
        file.truncate(8 + len(header) + at)
    return folder


def tensors_of(folder: Path, **config: Any) -> dict[str, tuple[int, ...]]:
    """The tensors that transformers would make of a config."""
    values = json.loads((write_config(folder, **config) / "config.json").read_text())
    return dict(shapes_of(Config(values, "config.json")))


def test_layers_that_differ_agree_with_their_tensors(tmp_path: Path) -> None:
    tensors = tensors_of(tmp_path, **PRUNED)
    model = read_model(write(tmp_path, PRUNED, tensors))
    assert model.notes == ()
    assert [layer.kv_values for layer in model.architecture.layers] == [
        2 * 2 * 8, 0, 2 * 4 * 8, 0, 2 * 1 * 8,
    ]  # fmt: skip
    held = {(part.layer, part.role) for part in model.parts if part.layer is not None}
    assert (1, "attention") not in held
    assert (2, "network") not in held
    # the widths of networks: 2 x 2.625 x 64 / 3 = 112 in blocks of 256, and what is said
    assert tensors["model.layers.0.mlp.gate_proj.weight"] == (256, 64)
    assert tensors["model.layers.4.mlp.gate_proj.weight"] == (96, 64)


@pytest.mark.parametrize(
    ("layer", "block", "message"),
    [
        (0, {"attention": {"n_heads_in_group": 8}},
         "layer 0 has 32 values of keys and values for each token, expected 16 as the config"),
        (0, {"attention": {"no_op": True}}, "layer 0 has keys and values, expected none as"),
        (1, {"attention": {"n_heads_in_group": 8}}, "layer 1 has no attention, expected one as"),
    ],
)  # fmt: skip
def test_a_config_that_contradicts_the_tensors_is_refused(
    tmp_path: Path, layer: int, block: dict[str, Any], message: str
) -> None:
    tensors = tensors_of(tmp_path, **PRUNED)
    changed = [BLOCKS[k] | block if k == layer else BLOCKS[k] for k in range(len(BLOCKS))]
    with pytest.raises(FormatError) as caught:
        read_model(write(tmp_path, PRUNED | {"block_configs": changed}, tensors))
    assert message in str(caught.value)
    assert "model.safetensors" in str(caught.value)


def test_an_unknown_type_keeps_what_its_tensors_make(tmp_path: Path) -> None:
    """Values of another size than keys, as some have them: 2 heads of 8 and of 4."""
    tensors = tensors_of(tmp_path) | {
        f"model.layers.{k}.self_attn.v_proj.weight": (2 * 4, 64) for k in range(4)
    }
    model = read_model(write(tmp_path, {"model_type": "novel"}, tensors))
    assert model.architecture.cache_bytes(10) == 10 * 4 * (2 * 8 + 2 * 4) * 2
    assert any(
        "keys and values of 4 layers are as large as their tensors" in n for n in model.notes
    )


@pytest.mark.parametrize("kind", ["deepseek_v3", "qwen3_next", "gpt_oss", "phi3", "jamba"])
def test_other_families_agree_with_themselves(tmp_path: Path, kind: str) -> None:
    config: dict[str, Any] = {
        "model_type": kind, "kv_lora_rank": 16, "qk_rope_head_dim": 8, "qk_nope_head_dim": 8,
        "v_head_dim": 8, "n_routed_experts": 2, "num_experts": 2, "num_local_experts": 2,
        "moe_intermediate_size": 32, "num_experts_per_tok": 1,
    }  # fmt: skip
    if kind != "deepseek_v3":
        del config["kv_lora_rank"]
    if kind == "qwen3_next":
        config |= {"linear_num_value_heads": 2, "linear_num_key_heads": 2, "linear_key_head_dim": 8,
                   "linear_value_head_dim": 8}  # fmt: skip
    model = read_model(write(tmp_path, config, tensors_of(tmp_path, **config)))
    assert model.architecture.name == kind


def test_decilm_differs_in_its_heads_alone(tmp_path: Path) -> None:
    config = {"model_type": "deci", "num_key_value_heads_per_layer": [4, 2, 1, 4]}
    tensors = tensors_of(tmp_path, **config)
    model = read_model(write(tmp_path, config, tensors))
    assert model.architecture.cache_bytes(1) == 2 * 2 * 8 * (4 + 2 + 1 + 4)
    assert tensors["model.layers.2.self_attn.k_proj.weight"] == (8, 64)
