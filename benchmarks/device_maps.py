"""Device maps of ours against those of accelerate's infer_auto_device_map.

Models are made from their configs on the meta device. Both maps of a case are evaluated by the
same function (`talos_opt.frameworks.torch.planning.evaluate_device_map`); times are predicted by
a roofline, not measured. `memory` says what counts against the limits: weights alone, as
accelerate counts, or the KV cache and activations as well. Where accelerate's map then does not
fit, it is asked again with limits lowered by 5 % steps, as one would by hand.

    python -m benchmarks.device_maps [--time-limit S] [--json FILE]
"""

from __future__ import annotations

import logging
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from accelerate import infer_auto_device_map
from accelerate.utils.modeling import check_device_map
from torch import nn

import talos_opt
from benchmarks.report import Column, Row, make_parser, progress, publish
from talos_opt.core.problem import Problem
from talos_opt.core.schedule import Schedule
from talos_opt.frameworks.torch.blocks import find_blocks
from talos_opt.frameworks.torch.machines import CPU, Machine, Target, catalogued
from talos_opt.frameworks.torch.placing import Placed, place
from talos_opt.frameworks.torch.planning import (
    Evaluation,
    KVCache,
    Plan,
    evaluate_device_map,
    make_plan,
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


@dataclass(frozen=True)
class Case:
    """A model on a machine.

    Parameters
    ----------
    name : str
    make : callable
        Makes the model, on meta.
    gpus : sequence of (str, int)
        Catalogue name and bytes of each GPU.
    inputs : mapping or sequence
    dtype : torch.dtype
    no_split : sequence of str
    cache : KVCache, optional
        Counted, with activations, where it is given.
    mains : sequence, optional
        Main devices that dispatch is told of.
    """

    name: str
    make: Callable[[], nn.Module]
    gpus: Sequence[tuple[str, int]]
    inputs: Any
    dtype: torch.dtype = torch.float32
    no_split: Sequence[str] = ()
    cache: KVCache | None = None
    activations: bool = False
    mains: Sequence[Target] | None = None
    host: str = "xeon-8480+"

    @property
    def machine(self) -> Machine:
        kind = str(self.dtype)
        gpus = (catalogued(k, n, size, kind) for k, (n, size) in enumerate(self.gpus))
        return Machine((*gpus, catalogued(CPU, self.host, None, kind)))

    @property
    def limits(self) -> dict[Target, int]:
        return {k: size for k, (_, size) in enumerate(self.gpus)} | {CPU: 2**42}


@dataclass
class Outcome:
    """The maps of a case and what they are worth."""

    case: Case
    module: nn.Module
    plan: Plan
    theirs: dict[Target, Any]
    their_evaluation: Evaluation
    ours: Placed
    lowered: tuple[int, Evaluation] | None = None
    seconds: dict[str, float] = field(default_factory=dict)


def bert(layers: int = 12, hidden: int = 768, vocabulary: int = 30522) -> nn.Module:
    from transformers import BertConfig, BertModel

    config = BertConfig(
        vocab_size=vocabulary, hidden_size=hidden, num_hidden_layers=layers,
        num_attention_heads=hidden // 64, intermediate_size=4 * hidden,
    )  # fmt: skip
    with torch.device("meta"):
        return BertModel(config)


def llama(layers: int = 32, hidden: int = 4096, vocabulary: int = 32000) -> nn.Module:
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=vocabulary, hidden_size=hidden, num_hidden_layers=layers,
        num_attention_heads=hidden // 64, intermediate_size=hidden * 11008 // 4096,
        dtype=torch.float16,
    )  # fmt: skip
    with torch.device("meta"):
        return LlamaForCausalLM(config).half()


class Unbalanced(nn.Module):
    """A large table, then layers of equal size."""

    def __init__(self, rows: int, width: int, layers: int) -> None:
        super().__init__()
        self.table = nn.Embedding(rows, width)
        self.layers = nn.Sequential(
            *(
                nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))
                for _ in range(layers)
            )
        )
        self.head = nn.Linear(width, 1000)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        return self.head(self.layers(self.table(ids)))


def unbalanced(rows: int = 200_000, width: int = 1024, layers: int = 16) -> nn.Module:
    with torch.device("meta"):
        return Unbalanced(rows, width, layers)


def size_of(module: nn.Module) -> int:
    return sum(block.owned_bytes for block in find_blocks(module, ()))


def tokens(batch: int, length: int) -> torch.Tensor:
    return torch.zeros(batch, length, dtype=torch.long)


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


def compare(case: Case, time_limit: float) -> Outcome:
    """Make both maps of a case, and evaluate them."""
    module = case.make()
    plan = make_plan(
        module, case.machine, case.inputs, no_split=case.no_split, dtype=case.dtype,
        cache=case.cache, activations=case.activations,
    )  # fmt: skip
    main = None if case.mains is None else case.mains[0]
    began = time.perf_counter()
    theirs = infer(module, case, 1.0)
    between = time.perf_counter()
    ours = place(plan, solver(time_limit), candidates=[theirs], mains=case.mains)
    ended = time.perf_counter()
    check_device_map(module, ours.device_map)
    evaluation = evaluate_device_map(plan, theirs, main)
    lowered = None
    if not evaluation.fits:
        for percent in range(95, 0, -5):
            found = evaluate_device_map(plan, infer(module, case, percent / 100), main)
            if found.fits:
                lowered = (percent, found)
                break
    seconds = {"theirs": between - began, "ours": ended - between}
    return Outcome(case, module, plan, theirs, evaluation, ours, lowered, seconds)


def infer(module: nn.Module, case: Case, share: float) -> dict[Any, Any]:
    """Return accelerate's map, with a share of the limits."""
    limits = {t: int(m * share) if t != CPU else m for t, m in case.limits.items()}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # GPUs that are not here
        logging.getLogger("accelerate.utils.modeling").setLevel(logging.ERROR)
        return dict(
            infer_auto_device_map(
                module, max_memory=limits, no_split_module_classes=list(case.no_split)
            )
        )


def solver(time_limit: float) -> Callable[[Problem, Schedule | None], Schedule | None]:
    def solve(problem: Problem, start: Schedule | None) -> Schedule | None:
        return talos_opt.solve(problem, warm_start=start, time_limit=time_limit).schedule

    return solve


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
