"""Cases for device maps: models from their configs, on machines from the catalogue.

Needs transformers and accelerate.
"""

from __future__ import annotations

import logging
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from accelerate import infer_auto_device_map
from accelerate.utils.modeling import check_device_map
from torch import nn

import talos_opt
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
        gpus = (catalogued(k, n, size) for k, (n, size) in enumerate(self.gpus))
        return Machine((*gpus, catalogued(CPU, self.host)))

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
