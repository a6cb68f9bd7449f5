"""A GGUF file without weights: to try plans for llama.cpp before anything is downloaded.

    python examples/gguf_stand_in.py mixture.gguf
    python examples/gguf_stand_in.py --layers 32 --experts 8 --hidden 4096 --ffn 14336 mixtral.gguf

The file has the header of a mixture of experts in four to six bits: names, types and shapes of all
tensors. What follows it is a hole, which takes no room on most disks. `talos-opt profile llm` reads
headers only, so that the file stands for a real one of the same sizes. It cannot be run.
"""

from __future__ import annotations

import argparse
import struct
from pathlib import Path

#: Number of a type in GGUF, values of a block, and its bytes.
TYPES = {"F32": (0, 1, 4), "Q4_K": (12, 256, 144), "Q6_K": (14, 256, 210)}

Tensor = tuple[str, str, tuple[int, ...]]


def tensors(args: argparse.Namespace) -> list[Tensor]:
    """Return name, type and shape of each tensor, as llama.cpp names them."""
    hidden, ffn, kv = args.hidden, args.ffn, args.hidden // 4
    rows: list[Tensor] = [("token_embd.weight", "Q4_K", (hidden, args.vocab))]
    for layer in range(args.layers):
        parts: list[Tensor] = [
            ("attn_norm", "F32", (hidden,)),
            ("attn_q", "Q4_K", (hidden, hidden)),
            ("attn_k", "Q4_K", (hidden, kv)),
            ("attn_v", "Q6_K", (hidden, kv)),
            ("attn_output", "Q4_K", (hidden, hidden)),
            ("ffn_norm", "F32", (hidden,)),
            ("ffn_gate_inp", "F32", (hidden, args.experts)),
            ("ffn_gate_exps", "Q4_K", (hidden, ffn, args.experts)),
            ("ffn_up_exps", "Q4_K", (hidden, ffn, args.experts)),
            ("ffn_down_exps", "Q6_K", (ffn, hidden, args.experts)),
        ]
        rows += [(f"blk.{layer}.{name}.weight", kind, shape) for name, kind, shape in parts]
    rows.append(("output_norm.weight", "F32", (hidden,)))
    rows.append(("output.weight", "Q6_K", (hidden, args.vocab)))
    return rows


def text(value: str) -> bytes:
    """Return a string as GGUF has it: its length, then UTF-8."""
    raw = value.encode()
    return struct.pack("<Q", len(raw)) + raw


def write(target: Path, metadata: dict[str, str | int], rows: list[Tensor]) -> int:
    """Write the header and a hole for the weights; return their bytes."""
    header = b"GGUF" + struct.pack("<IQQ", 3, len(rows), len(metadata))
    for key, value in metadata.items():
        header += text(key)
        is_text = isinstance(value, str)
        header += struct.pack("<I", 8) + text(value) if is_text else struct.pack("<II", 4, value)
    offset = 0
    for name, kind, shape in rows:
        number, block, size = TYPES[kind]
        count = 1
        for axis in shape:
            count *= axis
        axes = struct.pack(f"<I{len(shape)}Q", len(shape), *shape)
        header += text(name) + axes + struct.pack("<IQ", number, offset)
        offset += -(-(count // block * size) // 32) * 32  # tensors begin at multiples of 32 bytes
    with target.open("wb") as file:
        file.write(header)
        file.truncate(-(-len(header) // 32) * 32 + offset)
    return offset


def main() -> None:
    """Write the file that the command line describes."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("target", type=Path, help="file to write")
    parser.add_argument("--layers", type=int, default=24)
    parser.add_argument("--experts", type=int, default=64)
    parser.add_argument("--hidden", type=int, default=2048, help="a multiple of 1024")
    parser.add_argument("--ffn", type=int, default=1024, help="width of an expert; of 256")
    parser.add_argument("--vocab", type=int, default=64000)
    args = parser.parse_args()
    metadata: dict[str, str | int] = {
        "general.architecture": "llama",
        "general.name": args.target.stem,
        "llama.block_count": args.layers,
        "llama.embedding_length": args.hidden,
        "llama.context_length": 32768,
        "llama.attention.head_count": args.hidden // 128,
        "llama.attention.head_count_kv": args.hidden // 512,
        "llama.expert_count": args.experts,
        "llama.expert_used_count": 2 if args.experts < 16 else 8,
        "llama.vocab_size": args.vocab,
    }
    held = write(args.target, metadata, tensors(args))
    size = f"{held / 2**30:.2f} GiB"
    print(f"{args.target}: {args.layers} layers, and a hole of {size} in place of weights")


if __name__ == "__main__":
    main()
