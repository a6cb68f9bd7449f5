"""Files of language models without their weights: sparse, so that 100 GB take no room."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

#: Values of a block and its bytes, for the types that the tests write; as gguf-py has them.
GGML = {"F32": (0, 1, 4), "F16": (1, 1, 2), "Q8_0": (8, 32, 34), "Q3_K": (11, 256, 110),
        "Q4_K": (12, 256, 144), "Q5_K": (13, 256, 176), "Q6_K": (14, 256, 210)}  # fmt: skip

Row = tuple[str, str, Sequence[int]]


def _text(text: str) -> bytes:
    raw = text.encode()
    return struct.pack("<Q", len(raw)) + raw


def _value(value: Any) -> bytes:
    if isinstance(value, bool):
        return struct.pack("<I?", 7, value)
    if isinstance(value, int):
        return struct.pack("<II", 4, value)
    if isinstance(value, float):
        return struct.pack("<If", 6, value)
    if isinstance(value, str):
        return struct.pack("<I", 8) + _text(value)
    kind = 8 if isinstance(value[0], str) else 5
    body = b"".join(_text(v) if kind == 8 else struct.pack("<i", v) for v in value)
    return struct.pack("<IIQ", 9, kind, len(value)) + body


def write_gguf(path: Path, metadata: Mapping[str, Any], rows: Sequence[Row]) -> int:
    """Write a GGUF file; return the bytes of its tensors."""
    out = b"GGUF" + struct.pack("<IQQ", 3, len(rows), len(metadata))
    for key, value in metadata.items():
        out += _text(key) + _value(value)
    offset = total = 0
    for name, dtype, shape in rows:
        number, block, size = GGML[dtype]
        count = 1
        for axis in shape:
            count *= axis
        out += _text(name) + struct.pack(f"<I{len(shape)}QIQ", len(shape), *shape, number, offset)
        offset += -(-(count // block * size) // 32) * 32
        total += count // block * size
    with path.open("wb") as file:
        file.write(out)
        file.truncate(-(-len(out) // 32) * 32 + offset)
    return total


def write_safetensors(path: Path, rows: Mapping[str, int]) -> None:
    """Write tensors of so many bytes each, as one axis of U8."""
    document, at = {}, 0
    for name, size in rows.items():
        document[name] = {"dtype": "U8", "shape": [size], "data_offsets": [at, at + size]}
        at += size
    header = json.dumps(document).encode()
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(header)) + header)
        file.truncate(8 + len(header) + at)


def write_config(folder: Path, **values: Any) -> Path:
    """Write a config.json, of Llama where nothing else is said."""
    folder.mkdir(exist_ok=True)
    document = {
        "model_type": "llama", "hidden_size": 64, "intermediate_size": 128,
        "num_hidden_layers": 4, "num_attention_heads": 8, "num_key_value_heads": 2,
        "vocab_size": 320, "torch_dtype": "bfloat16", "max_position_embeddings": 4096,
    } | values  # fmt: skip
    (folder / "config.json").write_text(json.dumps(document))
    return folder


def blocks(folder: Path, layers: Sequence[int], **ends: int) -> Path:
    """Write a model of layers of so many bytes, and parts outside them; nothing else is known."""
    folder.mkdir(exist_ok=True)
    rows = {name.replace("_", "."): size for name, size in ends.items() if name != "lm_head_weight"}
    rows |= {f"layers.{k}.block.weight": size for k, size in enumerate(layers)}
    if "lm_head_weight" in ends:
        rows["lm_head.weight"] = ends["lm_head_weight"]
    write_safetensors(folder / "model.safetensors", rows)
    return folder


def dense_rows(
    layers: int, hidden: int = 256, ffn: int = 512, kv: int = 128, vocab: int = 1024
) -> list[Row]:
    """Tensors of a GGUF of Llama's build."""
    rows: list[Row] = [("token_embd.weight", "Q4_K", (hidden, vocab))]
    for k in range(layers):
        rows += _attention(k, hidden, kv)
        rows += [(f"blk.{k}.ffn_gate.weight", "Q4_K", (hidden, ffn)),
                 (f"blk.{k}.ffn_up.weight", "Q4_K", (hidden, ffn)),
                 (f"blk.{k}.ffn_down.weight", "Q6_K", (ffn, hidden)),
                 (f"blk.{k}.ffn_norm.weight", "F32", (hidden,))]  # fmt: skip
    return [*rows, ("output_norm.weight", "F32", (hidden,)),
            ("output.weight", "Q6_K", (hidden, vocab))]  # fmt: skip


def mixture_rows(
    layers: int, experts: int = 8, hidden: int = 256, ffn: int = 512, kv: int = 128,
    vocab: int = 1024,
) -> list[Row]:  # fmt: skip
    """Tensors of a GGUF of Mixtral's or Qwen's build."""
    rows: list[Row] = [("token_embd.weight", "Q4_K", (hidden, vocab))]
    for k in range(layers):
        rows += _attention(k, hidden, kv)
        rows += [(f"blk.{k}.ffn_gate_inp.weight", "F32", (hidden, experts)),
                 (f"blk.{k}.ffn_gate_exps.weight", "Q4_K", (hidden, ffn, experts)),
                 (f"blk.{k}.ffn_up_exps.weight", "Q4_K", (hidden, ffn, experts)),
                 (f"blk.{k}.ffn_down_exps.weight", "Q6_K", (ffn, hidden, experts)),
                 (f"blk.{k}.ffn_norm.weight", "F32", (hidden,))]  # fmt: skip
    return [*rows, ("output_norm.weight", "F32", (hidden,)),
            ("output.weight", "Q6_K", (hidden, vocab))]  # fmt: skip


def _attention(k: int, hidden: int, kv: int) -> list[Row]:
    return [(f"blk.{k}.attn_norm.weight", "F32", (hidden,)),
            (f"blk.{k}.attn_q.weight", "Q4_K", (hidden, hidden)),
            (f"blk.{k}.attn_k.weight", "Q4_K", (hidden, kv)),
            (f"blk.{k}.attn_v.weight", "Q6_K", (hidden, kv)),
            (f"blk.{k}.attn_output.weight", "Q4_K", (hidden, hidden))]  # fmt: skip


def metadata(layers: int, arch: str = "llama", hidden: int = 256, **more: Any) -> dict[str, Any]:
    """Return the metadata of a GGUF with 8 heads, 4 of them for keys."""
    said = {"block_count": layers, "embedding_length": hidden, "context_length": 32768,
            "attention.head_count": 8, "attention.head_count_kv": 4} | more  # fmt: skip
    return {"general.architecture": arch, "general.name": f"a {arch}",
            "tokenizer.ggml.tokens": ["a", "b"],
            **{f"{arch}.{key}": value for key, value in said.items()}}  # fmt: skip
