"""Tokens of a language model on a GPU: as `profile llm` predicts them, and as they are.

A model of given shapes with random weights runs whole on the card, by transformers and without
compiling. Prediction is the sum of the graph's op times on the catalogue's device. `busy` is how
long the card's kernels took by torch's profiler; `measured` is the wall clock, in which the
processor also has to start them, one by one. Needs a GPU and transformers.

    python -m benchmarks.llm_gpu [--device NAME] [--small] [--json FILE]
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from benchmarks.report import Column, Row, make_parser, progress, publish
from talos_opt.frameworks.llm.devices import parse_cards
from talos_opt.frameworks.llm.graph import problem_of
from talos_opt.frameworks.llm.model import read_model
from talos_opt.frameworks.llm.workload import Workload
from tests.frameworks.llm.files import write_config

COLUMNS = [
    Column("model"),
    Column("phase"),
    Column("tokens before"),
    Column("predicted ms", 3),
    Column("busy ms", 3),
    Column("measured ms", 3),
    Column("busy / predicted", 2),
]
MODELS: dict[str, dict[str, Any]] = {
    "Llama 3.1 8B": {
        "hidden_size": 4096, "intermediate_size": 14336, "num_hidden_layers": 32,
        "num_attention_heads": 32, "num_key_value_heads": 8, "vocab_size": 128256,
        "max_position_embeddings": 131072,
    },
    "Llama 3.2 1B": {
        "hidden_size": 2048, "intermediate_size": 8192, "num_hidden_layers": 16,
        "num_attention_heads": 32, "num_key_value_heads": 8, "vocab_size": 128256,
        "max_position_embeddings": 131072, "tie_word_embeddings": True,
    },
}  # fmt: skip
SMALL: dict[str, dict[str, Any]] = {"small": {"max_position_embeddings": 8192}}
CONTEXTS = (512, 8192)
REPEATS = 5


def main() -> None:
    """Print the table."""
    parser = make_parser(__doc__)
    parser.add_argument("--device", default="h100", help="the card's name in the catalogue")
    parser.add_argument("--small", action="store_true", help="a tiny model: tries the benchmark")
    args = parser.parse_args()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if device.type == "cpu" and not args.small:
        raise SystemExit("there is no CUDA device here")
    rows: list[Row] = []
    for name, shapes in (SMALL if args.small else MODELS).items():
        progress(name)
        for row in _rows(name, shapes, args.device, device):
            progress(str(row))
            rows.append(row)
    settings = {
        "torch": torch.__version__,
        "transformers": version("transformers"),
        "card": torch.cuda.get_device_name(0) if device.type == "cuda" else "none",
        "device": args.device,
    }
    publish("llm_gpu", COLUMNS, rows, settings=settings, target=args.target)


def _rows(name: str, shapes: dict[str, Any], card: str, device: torch.device) -> Iterator[Row]:
    with tempfile.TemporaryDirectory() as folder:
        path = write_config(Path(folder, "m"), **shapes)
        read = read_model(path)
        model = _random_model(path, device)
    cards, _ = parse_cards([card])
    for context in CONTEXTS:
        for phase in ("prefill", "decode"):
            load = Workload(context, phase=phase, chunk=context)
            problem = problem_of(read, cards, load)
            predicted = float(problem.arrays.time[:, 0].sum()) / 1e3  # of microseconds
            step = _step(model, context, phase, device)
            busy = statistics.median(_busy_ms(step, device) for _ in range(3))
            yield {
                "model": name,
                "phase": phase,
                "tokens before": 0 if phase == "prefill" else context,
                "predicted ms": predicted,
                "busy ms": busy,
                "measured ms": _wall_ms(step, device),
                "busy / predicted": busy / predicted,
            }


def _random_model(path: Path, device: torch.device) -> Any:
    from transformers import AutoConfig, AutoModelForCausalLM

    config = AutoConfig.from_pretrained(path)
    with torch.device(device):
        model = AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16)
    return model.eval().requires_grad_(False)


def _step(model: Any, context: int, phase: str, device: torch.device) -> Callable[[], object]:
    """Return what reads a prompt of so many tokens, or makes a token after as many."""
    from transformers import DynamicCache

    tokens = torch.zeros((1, context), dtype=torch.long, device=device)

    @torch.inference_mode()
    def prefill(cache: Any = None) -> object:
        return model(tokens, past_key_values=cache, use_cache=True, logits_to_keep=1)

    if phase == "prefill":
        return prefill
    cache = DynamicCache(config=model.config)  # without a mask, so that attention reads it once
    prefill(cache)

    @torch.inference_mode()
    def decode() -> object:
        return model(tokens[:, :1], past_key_values=cache, use_cache=True)

    return decode


def _wall_ms(step: Callable[[], object], device: torch.device) -> float:
    found = []
    for _ in range(REPEATS):
        _wait(device)
        began = time.perf_counter()
        step()
        _wait(device)
        found.append((time.perf_counter() - began) * 1e3)
    return statistics.median(found)


def _busy_ms(step: Callable[[], object], device: torch.device) -> float:
    """Return the sum of the kernels' times; on a CPU, of the ops'."""
    from torch.autograd import DeviceType
    from torch.profiler import ProfilerActivity, profile

    cuda = device.type == "cuda"
    kinds = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if cuda else [])]
    step()
    _wait(device)
    with profile(activities=kinds) as found:
        step()
        _wait(device)
    rows = found.key_averages()
    if cuda:  # an op has the time of its kernels too: they would count twice
        kernels = [row for row in rows if row.device_type == DeviceType.CUDA]
        return float(sum(row.self_device_time_total for row in kernels)) / 1e3
    return float(sum(row.self_cpu_time_total for row in rows)) / 1e3


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


if __name__ == "__main__":
    main()
