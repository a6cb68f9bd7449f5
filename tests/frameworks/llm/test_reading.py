"""Reading: sizes are the files' own, to the byte, and what is broken is refused."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import pytest

from talos_opt.core.errors import FormatError
from talos_opt.frameworks.llm.gguf import bytes_of, read_gguf
from talos_opt.frameworks.llm.model import read_model
from tests.frameworks.llm.files import (
    blocks,
    dense_rows,
    metadata,
    mixture_rows,
    write_config,
    write_gguf,
    write_safetensors,
)

DATA = Path(__file__).resolve().parents[4] / "shared" / "data" / "files" / "llm"
public = pytest.mark.skipif(not DATA.is_dir(), reason=f"public files are not in {DATA}")


@public
@pytest.mark.parametrize(
    ("name", "ops"), [("llama-3.1-8b-instruct-int8", 66), ("wizardlm-2-8x22b", 170)]
)
def test_sizes_of_a_config_are_the_total_of_its_index(name: str, ops: int) -> None:
    model = read_model(DATA / name)
    index = json.loads((DATA / name / "model.safetensors.index.json").read_text())
    assert model.total_bytes == index["metadata"]["total_size"]
    assert len(model.parts) == ops
    assert {t.name for p in model.parts for t in p.tensors} == set(index["weight_map"])


@public
def test_every_tensor_of_a_public_gguf_has_its_bytes() -> None:
    listed = json.loads((DATA / "gguf/mistral-7b-instruct-v0.2.Q3_K_M.tensors.json").read_text())
    sizes = [bytes_of(row["type"], row["shape"]) for row in listed["tensors"]]
    assert sizes == [row["bytes"] for row in listed["tensors"]]
    assert sum(sizes) == listed["total_bytes"]


def test_a_gguf_is_read_to_its_parts(tmp_path: Path) -> None:
    said = metadata(2, expert_count=8, expert_used_count=2)
    total = write_gguf(tmp_path / "m.gguf", said, mixture_rows(2))
    model = read_model(tmp_path)
    assert model.total_bytes == total
    assert [part.id for part in model.parts] == [
        "token_embd", "blk.0.attn", "blk.0.router", "blk.0.experts", "blk.1.attn", "blk.1.router",
        "blk.1.experts", "output",
    ]  # fmt: skip
    names = {tensor.name for tensor in model.parts[2].tensors}
    assert names == {"blk.0.ffn_gate_inp.weight", "blk.0.ffn_norm.weight"}


def test_a_gguf_in_parts_is_one_model(tmp_path: Path) -> None:
    rows = dense_rows(2)
    first = write_gguf(tmp_path / "m-00001-of-00002.gguf",
                       metadata(2) | {"split.tensors.count": len(rows)}, rows[:5])  # fmt: skip
    second = write_gguf(tmp_path / "m-00002-of-00002.gguf", {"general.alignment": 32}, rows[5:])
    assert read_model(tmp_path).total_bytes == first + second
    (tmp_path / "m-00002-of-00002.gguf").unlink()
    with pytest.raises(FormatError, match="part 2 of 2 is missing"):
        read_model(tmp_path / "m-00001-of-00002.gguf")


def test_a_tied_head_reads_the_embedding(tmp_path: Path) -> None:
    rows = [row for row in dense_rows(2) if row[0] != "output.weight"]
    total = write_gguf(tmp_path / "m.gguf", metadata(2), rows)
    model = read_model(tmp_path / "m.gguf")
    assert model.total_bytes == total
    assert model.parts[-1].tied is not None
    assert model.parts[-1].tied.name == "token_embd.weight"


@pytest.mark.parametrize("cut", [2, 20, 100, 900, -1])
def test_a_truncated_gguf_is_refused(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "m.gguf"
    write_gguf(path, metadata(2), dense_rows(2))
    whole = path.read_bytes()
    path.write_bytes(whole[:cut])
    with pytest.raises(FormatError, match=r"m\.gguf: (is not a GGUF file|the file ends inside)"):
        read_gguf(path)


def test_an_index_with_a_merge_conflict_is_refused(tmp_path: Path) -> None:
    write_config(tmp_path)
    index = tmp_path / "model.safetensors.index.json"
    index.write_text('{"metadata": {\n<<<<<<< HEAD\n"total_size": 1\n=======\n')
    with pytest.raises(FormatError, match=r"index\.json:2: .*a merge conflict was committed"):
        read_model(tmp_path)


def test_sizes_that_do_not_add_up_are_refused(tmp_path: Path) -> None:
    write_config(tmp_path, num_hidden_layers=1)
    names = [t.name for p in read_model(tmp_path).parts for t in p.tensors]
    index = tmp_path / "model.safetensors.index.json"
    document = {"metadata": {"total_size": 7}, "weight_map": dict.fromkeys(names, "a.safetensors")}
    index.write_text(json.dumps(document))
    with pytest.raises(FormatError, match=r"total_size: is 7, but the tensors .* sum to"):
        read_model(tmp_path)
    document["weight_map"]["model.layers.0.mlp.odd.weight"] = "a.safetensors"
    index.write_text(json.dumps(document))
    with pytest.raises(FormatError, match=r"names 'model\.layers\.0\.mlp\.odd\.weight', which"):
        read_model(tmp_path)


def test_shards_have_to_be_there_and_to_hold_what_the_index_says(tmp_path: Path) -> None:
    files = {"layers.0.a.weight": "1.safetensors", "layers.1.a.weight": "2.safetensors"}
    index = tmp_path / "model.safetensors.index.json"
    index.write_text(json.dumps({"metadata": {"total_size": 30}, "weight_map": files}))
    write_safetensors(tmp_path / "1.safetensors", {"layers.0.a.weight": 10})
    with pytest.raises(FormatError, match=r"missing: 2\.safetensors"):
        read_model(tmp_path)
    write_safetensors(tmp_path / "2.safetensors", {"layers.1.a.weight": 21})
    with pytest.raises(FormatError, match=r"sum to 31 bytes, expected .* 30"):
        read_model(tmp_path)
    write_safetensors(tmp_path / "2.safetensors", {"layers.1.b.weight": 20})
    with pytest.raises(FormatError, match=r"'layers\.1\.a\.weight' is not in 2\.safetensors"):
        read_model(tmp_path)
    write_safetensors(tmp_path / "2.safetensors", {"layers.1.a.weight": 20})
    assert read_model(tmp_path).total_bytes == 30


def test_a_config_of_an_unknown_type_needs_its_tensors(tmp_path: Path) -> None:
    write_config(tmp_path, model_type="novel")
    with pytest.raises(FormatError, match="model_type: is 'novel', whose tensors are unknown"):
        read_model(tmp_path)
    blocks(tmp_path, [10] * 4, embed__tokens_weight=5)
    model = read_model(tmp_path)
    assert model.total_bytes == 45
    assert "model type 'novel' is unknown" in model.notes[0]
    assert model.architecture.cache_bytes(1) == 4 * 2 * 2 * 8 * 2


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"num_hidden_layers": "4"}, "num_hidden_layers: is '4', expected a whole number"),
        ({"num_key_value_heads": [2, 2]}, "has 2 entries, expected one for each of 4 layers"),
        ({"layer_types": ["full_attention"] * 3}, "has 3 entries, expected one for each of 4"),
        ({"layer_types": ["odd"] * 4}, "unknown layer type 'odd'"),
        ({"torch_dtype": "int3"}, "torch_dtype: is 'int3'"),
        ({"quantization_config": {"quant_method": "odd"}}, "quant_method: is 'odd'"),
    ],
)
def test_a_config_that_makes_no_sense_is_refused(
    tmp_path: Path, more: dict[str, object], message: str
) -> None:
    with pytest.raises(FormatError, match=message):
        read_model(write_config(tmp_path, **more))


ABSURD: list[tuple[dict[str, object], str]] = [
    ({"num_hidden_layers": 2**39}, "num_hidden_layers: is 549755813888, .* at most 10000"),
    ({"model_type": "mixtral", "num_local_experts": 10**9}, "stands for more than .* tensors"),
    ({"quantization_config": [1]}, "quantization_config: is not an object"),
    ({"quantization_config": {"quant_method": "gptq", "group_size": "x"}}, "group_size: is 'x'"),
    ({"quantization_config": {"quant_method": "fp8", "weight_block_size": [0, 1]}}, "block_size"),
    ({"model_type": "nemotron-nas", "block_configs": [None] * 4}, r"block_configs\[0\]: expected"),
    ({"model_type": "nemotron-nas", "block_configs": [{"ffn": {"ffn_mult": "x"}}] * 4}, "ffn_mult"),
    ({"model_type": "nemotron-nas", "block_configs": [{"attention": {"n_heads_in_group": -1}}] * 4},
     "n_heads_in_group: is -1"),
]  # fmt: skip


@pytest.mark.parametrize(("values", "message"), ABSURD, ids=[m for _, m in ABSURD])
def test_absurd_configs_are_refused_at_once(
    tmp_path: Path, values: dict[str, object], message: str
) -> None:
    with pytest.raises(FormatError, match=message):
        read_model(write_config(tmp_path / "m", **values))


def test_numbers_of_too_many_digits_are_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"hidden_size": 1' + "0" * 5000 + "}")
    with pytest.raises(FormatError, match=r"config\.json: has a number of too many digits"):
        read_model(tmp_path)


@pytest.mark.parametrize(
    "row",
    [
        '{"dtype": "U8", "shape": [4], "data_offsets": [0, Infinity]}',
        '{"dtype": "U8", "shape": [4], "data_offsets": ["0", "4"]}',
        '{"dtype": "U8", "shape": [4], "data_offsets": [-4, 0]}',
        '{"dtype": "NEW", "shape": [4], "data_offsets": [4, 0]}',
        '{"dtype": "U8", "shape": [-2, -2], "data_offsets": [0, 4]}',
    ],
)
def test_headers_of_safetensors_with_impossible_places_are_refused(
    tmp_path: Path, row: str
) -> None:
    header = f'{{"layers.0.w.weight": {row}}}'.encode()
    path = tmp_path / "model.safetensors"
    path.write_bytes(struct.pack("<Q", len(header)) + header + bytes(8))
    with pytest.raises(FormatError, match=r"tensor 'layers\.0\.w\.weight' has shape"):
        read_model(path)


def test_numbers_in_names_may_be_too_large_for_layers(tmp_path: Path) -> None:
    names = [f"layers.{'9' * digits}.w.weight" for digits in (10, 5000)]
    write_safetensors(tmp_path / "model.safetensors", dict.fromkeys(names, 1) | {"layers.0.w": 4})
    assert len(read_model(tmp_path).architecture.layers) == 1


def test_an_index_that_names_an_impossible_file_is_refused(tmp_path: Path) -> None:
    index = write_config(tmp_path / "m") / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"a": "x" * 5000}}))
    with pytest.raises(FormatError, match="names a file that cannot be read"):
        read_model(tmp_path / "m")


def test_a_gguf_of_absurdly_many_layers_is_refused(tmp_path: Path) -> None:
    write_gguf(tmp_path / "m.gguf", metadata(2**31), dense_rows(1))
    with pytest.raises(FormatError, match=r"block_count: is 2147483648, .* at most 10000"):
        read_model(tmp_path)
