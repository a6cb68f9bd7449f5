"""Device maps of ours against those of accelerate's infer_auto_device_map.

Models are made from their configs on the meta device. Both maps of a case are evaluated by the
same function (`talos_opt.frameworks.torch.planning.evaluate_device_map`); times are predicted by
a roofline, not measured. `memory` says what counts against the limits: weights alone, as
accelerate counts, or the KV cache and activations as well. Where accelerate's map then does not
fit, it is asked again with limits lowered by 5 % steps, as one would by hand.

    python -m benchmarks.device_maps [--time-limit S] [--json FILE]
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch

from benchmarks.report import Column, Row, make_parser, progress, publish
from talos_opt.frameworks.torch.machines import CPU, Target
from talos_opt.frameworks.torch.planning import Evaluation, KVCache
from tests.frameworks.torch.device_map_cases import (
    Case,
    Outcome,
    bert,
    compare,
    llama,
    size_of,
    tokens,
    unbalanced,
)

GIB = 2**30
COLUMNS = [
    Column("case"),
    Column("memory"),
    Column("map"),
    Column("fits"),
    Column("step ms", 2),
    Column("on GPUs %", 1),
    Column("streamed MiB", 0),
    Column("devices"),
    Column("seconds", 1),
]


def cases() -> list[Case]:
    share = size_of(bert()) // 8
    split = ("BertEmbeddings", "BertLayer")
    on_bert: dict[str, Any] = {
        "make": bert, "gpus": [("t4", share)] * 8, "inputs": {"input_ids": tokens(8, 128)},
        "no_split": split,
    }  # fmt: skip
    on_llama: dict[str, Any] = {
        "make": llama, "inputs": {"input_ids": tokens(1, 512), "use_cache": False},
        "dtype": torch.float16, "no_split": ("LlamaDecoderLayer",),
    }  # fmt: skip
    large = [("rtx-2080-ti", 10 * GIB), ("t4", 6 * GIB)]
    small = [("rtx-2080-ti", 8 * GIB), ("t4", 4 * GIB)]
    counted: dict[str, Any] = {"cache": KVCache(4096), "activations": True}
    return [
        Case("BERT-base, 8 x 1/8", **on_bert),
        Case("BERT-base, 8 x 1/8, main cpu", **on_bert, mains=[CPU]),
        Case(
            "unbalanced, 600 + 1000 MiB", unbalanced,
            [("rtx-2080-ti", 600 * 2**20), ("t4", 1000 * 2**20)], [tokens(8, 128)],
        ),
        Case("Llama 7B, 10 + 6 GiB", gpus=large, **on_llama),
        Case("Llama 7B, 10 + 6 GiB", gpus=large, **on_llama, **counted),
        Case("Llama 7B, 8 + 4 GiB", gpus=small, **on_llama),
        Case("Llama 7B, 8 + 4 GiB", gpus=small, **on_llama, **counted),
    ]  # fmt: skip


def rows_of(outcome: Outcome) -> Iterator[Row]:
    """Yield a row for each map."""
    counted = "weights, KV, activations" if outcome.case.activations else "weights"
    maps: list[tuple[str, Evaluation, float | None]] = [
        ("accelerate", outcome.their_evaluation, outcome.seconds["theirs"])
    ]
    if outcome.lowered is not None:
        percent, evaluation = outcome.lowered
        maps.append((f"accelerate at {percent} %", evaluation, None))
    maps.append(("talos_opt", outcome.ours.evaluation, outcome.seconds["ours"]))
    for name, evaluation, seconds in maps:
        total = sum(evaluation.memory.values())
        on_gpus = sum(size for t, size in evaluation.memory.items() if t != CPU)
        used = [str(t) for t, size in evaluation.memory.items() if size]
        yield {
            "case": outcome.case.name,
            "memory": counted,
            "map": name,
            "fits": "yes" if evaluation.fits else f"no, {_mib(evaluation.over)} MiB over",
            "step ms": evaluation.step_s * 1e3,
            "on GPUs %": 100 * on_gpus / total,
            "streamed MiB": evaluation.streamed_bytes / 2**20,
            "devices": " ".join(used),
            "seconds": seconds,
        }


def _mib(sizes: Mapping[Target, int]) -> int:
    return round(sum(sizes.values()) / 2**20)


def main() -> None:
    """Compare the maps of all cases."""
    parser = make_parser(__doc__)
    parser.add_argument("--time-limit", type=float, default=5.0, help="seconds for each solve")
    args = parser.parse_args()
    rows: list[Row] = []
    for case in cases():
        progress(case.name)
        outcome = compare(case, args.time_limit)
        slower = outcome.ours.evaluation.step_s > outcome.their_evaluation.step_s * (1 + 1e-9)
        if slower and outcome.their_evaluation.fits:
            raise AssertionError(f"{case.name}: accelerate's map is better")
        rows += rows_of(outcome)
    publish(
        "device_maps", COLUMNS, rows, settings={"time_limit": args.time_limit}, target=args.target
    )


if __name__ == "__main__":
    main()
