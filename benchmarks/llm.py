"""Placements of language models: rules that people use, against what is solved.

Each rule's placement is a schedule of the same graph, so its time per token is predicted by the
same catalogue, and its memory counted by the same check. A rule whose placement does not fit is not
mended: the row says so. Files are written without weights, with the shapes of the models.

    python -m benchmarks.llm [--time-limit S] [--json FILE]
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from benchmarks.report import Column, Row, make_parser, progress, publish, solve
from talos_opt.core.feasibility import check
from talos_opt.core.problem import Problem
from talos_opt.core.simulator import simulate
from talos_opt.frameworks.llm.devices import parse_cards
from talos_opt.frameworks.llm.graph import Room, problem_of
from talos_opt.frameworks.llm.model import read_model
from talos_opt.frameworks.llm.workload import Workload
from tests.frameworks.llm.files import blocks, metadata, mixture_rows, write_config, write_gguf

MIB, GIB = 2**20, 2**30
COLUMNS = [
    Column("case"),
    Column("rule"),
    Column("fits"),
    Column("ms per token", 2),
    Column("slower %", 1),
    Column("gap %", 2),
    Column("seconds", 1),
]
Placement = list[int]


@dataclass(frozen=True)
class Case:
    """A model on devices.

    Parameters
    ----------
    name : str
    write : callable
        Writes the model's files into a folder.
    devices : str
    load : Workload
    room : Room
    """

    name: str
    write: Callable[[Path], object]
    devices: str
    load: Workload
    room: Room = field(default_factory=Room)

    def problem(self, folder: Path) -> Problem:
        """Write the files, read them, and return the problem."""
        self.write(folder)
        cards, _ = parse_cards(self.devices.split(","))
        return problem_of(read_model(folder), cards, self.load, room=self.room)


def _llama_70b(folder: Path) -> object:
    return write_config(
        folder, hidden_size=8192, intermediate_size=28672, num_hidden_layers=80,
        num_attention_heads=64, num_key_value_heads=8, vocab_size=128256,
        quantization_config={"quant_method": "awq", "bits": 4, "group_size": 128},
        max_position_embeddings=131072,
    )  # fmt: skip


def _mixtral(folder: Path) -> object:
    return write_config(
        folder, model_type="mixtral", hidden_size=6144, intermediate_size=16384,
        num_hidden_layers=56, num_attention_heads=48, num_key_value_heads=8, vocab_size=32000,
        num_local_experts=8, num_experts_per_tok=2, max_position_embeddings=65536,
    )  # fmt: skip


def _mixture_48(folder: Path) -> object:
    said = metadata(48, "qwen3moe", 2048, expert_count=128, expert_used_count=8)
    said |= {"qwen3moe.attention.key_length": 128, "qwen3moe.attention.value_length": 128}
    return write_gguf(folder / "m.gguf", said, mixture_rows(48, 128, 2048, 768, 512, 151936))


CASES = (
    Case("mixture of 48 layers on 12 GB (ollama PR#15207)", _mixture_48,
         "12GB:rtx-3060,ryzen-5950x", Workload(8192)),
    Case("Llama 70B in 4 bits, 16 + 12 GiB and a CPU", _llama_70b,
         "16GiB:rtx-4080,12GiB:rtx-3060,ryzen-7950x", Workload(8192)),
    Case("Mixtral 8x22B, 4 x 24 GiB and a CPU", _mixtral, "4x24GiB:rtx-3090,epyc-9654",
         Workload(8192)),
    Case("48 layers on 11.5 + 4.6 GiB (ollama#8430)",
         lambda folder: blocks(folder, [162 * MIB] * 48, mm_projector_weight=round(1.8 * GIB),
                               lm__head_weight=round(1.9 * GIB)),
         "11.5GiB:rtx-3060,4.6GiB:rtx-2080-ti,ryzen-5950x", Workload(1, buffer=round(1.3 * GIB))),
    Case("61 heavy layers on 4 x 24 GiB (ik_llama.cpp#1916)",
         lambda folder: blocks(folder, [round(9295.5 * MIB)] * 61),
         "4x24124MiB:rtx-3090,epyc-9654", Workload(1, buffer=0),
         Room(1.0, 2500 * MIB, {"rtx-3090-0": 0})),
    Case("40 layers on five machines (exo#957)", lambda folder: blocks(folder, [10**9] * 40),
         "36GB:264.4GB/s,96GB:344GB/s,64GB:308.7GB/s,96GB:351.2GB/s,36GB:177.6GB/s",
         Workload(1, buffer=0)),
)  # fmt: skip


class Rules:
    """What people do by hand, as placements of a graph."""

    def __init__(self, problem: Problem) -> None:
        self._problem = problem
        self._layers = 1 + max(op.attrs.get("layer", -1) for op in problem.ops)
        devices = problem.cluster.devices
        self._gpus = [d for d, device in enumerate(devices) if device.kind != "cpu"]
        self._cpu = next((d for d, device in enumerate(devices) if device.kind == "cpu"), None)
        self._free = [device.usable_memory or 2**50 for device in devices]
        self._held = [op.memory.weights for op in problem.ops]

    def all(self) -> Iterator[tuple[str, Placement | None]]:
        """Yield each rule with its placement; None: it finds none that fits."""
        yield "accelerate: fill in order, weights alone", self.in_order()
        yield "llama.cpp: whole layers, as many as fit", self.whole_layers(self._memory())
        if any(op.attrs["part"] == "experts" for op in self._problem.ops):
            yield "llama.cpp: experts to the CPU, as few as fit", self.experts_first()
        yield "split by memory", self.split(self._memory())
        yield "split by bandwidth", self.split(self._speeds())

    def _memory(self) -> list[float]:
        return [float(self._free[d]) for d in self._gpus]

    def _speeds(self) -> list[float]:
        time = [sum(op.time[self._problem.device_ids[d]] for op in self._problem.ops)
                for d in self._gpus]  # fmt: skip
        return [1 / t for t in time]

    def in_order(self) -> Placement:
        """Whole layers to one device after the other, by their parameters alone."""
        found: Placement = []
        order = [*self._gpus, *([] if self._cpu is None else [self._cpu])]
        left = {d: self._free[d] for d in order}
        at = 0
        for block in self._blocks():
            size = sum(self._problem.ops[i].attrs["parameters"] for i in block)
            while at < len(order) - 1 and left[order[at]] < size:
                at += 1
            left[order[at]] -= size
            found += [order[at]] * len(block)
        return found

    def _blocks(self) -> list[list[int]]:
        """Numbers of ops that are one layer, or stand alone."""
        found: list[list[int]] = []
        for i, op in enumerate(self._problem.ops):
            layer = op.attrs.get("layer")
            same = layer is not None and found and layer == self._layer(found[-1][0])
            if same:
                found[-1].append(i)
            else:
                found.append([i])
        return found

    def _layer(self, i: int) -> int | None:
        layer = self._problem.ops[i].attrs.get("layer")
        return layer if isinstance(layer, int) else None

    def split(self, shares: Sequence[float], first: int = 0, cpu: int = 0) -> Placement:
        """Layers from `first` on in a row on the GPUs in proportion to shares, the head last.

        The experts of the first `cpu` layers are on the CPU.
        """
        ends = np.cumsum(shares) / np.sum(shares)
        count = max(1, self._layers - first)
        found: Placement = []
        host = self._gpus[0] if self._cpu is None else self._cpu
        for op in self._problem.ops:
            layer, part = op.attrs.get("layer"), op.attrs["part"]
            if layer is None:
                last = part == "head" and first < self._layers
                found.append(self._gpus[-1] if last else host)
            elif layer < first or (part == "experts" and layer < cpu):
                found.append(host)
            else:
                found.append(self._gpus[int(np.searchsorted(ends, (layer - first) / count,
                                                            side="right"))])  # fmt: skip
        return found

    def whole_layers(self, shares: Sequence[float]) -> Placement | None:
        """The last layers on GPUs, as many as fit."""
        tries = (self.split(shares, first) for first in range(self._layers + 1))
        return next((place for place in tries if fits(self._problem, place)), None)

    def experts_first(self) -> Placement | None:
        """All layers on GPUs, and the experts of the first ones on the CPU, as few as fit."""
        tries = (self.split(self._memory(), 0, cpu) for cpu in range(self._layers + 1))
        return next((place for place in tries if fits(self._problem, place)), None)


def fits(problem: Problem, placement: Placement) -> bool:
    """Whether every device has room."""
    held = [0] * len(problem.cluster.devices)
    space = [0] * len(held)
    for op, d in zip(problem.ops, placement, strict=True):
        held[d] += op.memory.weights + op.memory.output
        space[d] = max(space[d], op.memory.workspace)
    limits = [device.usable_memory for device in problem.cluster.devices]
    return all(m is None or a + b <= m for a, b, m in zip(held, space, limits, strict=True))


def rows_of(case: Case, time_limit: float) -> Iterator[Row]:
    """Yield a row for each rule, and one for what was solved."""
    with tempfile.TemporaryDirectory() as folder:
        problem = case.problem(Path(folder))
    result = solve(problem, time_limit=time_limit)
    assert result.value is not None
    assert result.gap is not None
    for name, placement in Rules(problem).all():
        if placement is None or not fits(problem, placement):
            yield {"case": case.name, "rule": name, "fits": "no"}
            continue
        schedule = simulate(problem, np.array(placement), range(len(placement)))
        assert not check(problem, schedule)
        slower = schedule.makespan / result.value - 1
        assert slower >= -1e-9, f"{name} is better than what was solved: {case.name}"
        yield {
            "case": case.name, "rule": name, "fits": "yes",
            "ms per token": schedule.makespan / 1e3, "slower %": 100 * slower,
        }  # fmt: skip
    yield {
        "case": case.name, "rule": "talos_opt", "fits": "yes", "ms per token": result.value / 1e3,
        "slower %": 0.0, "gap %": 100 * result.gap, "seconds": result.runtime_s,
    }  # fmt: skip


def main() -> None:
    """Solve all cases and print the table."""
    parser = make_parser(__doc__)
    parser.add_argument("--time-limit", type=float, default=10.0, help="seconds for each solve")
    args = parser.parse_args()
    rows: list[Row] = []
    for case in CASES:
        progress(case.name)
        rows += rows_of(case, args.time_limit)
    publish("llm", COLUMNS, rows, settings={"time_limit": args.time_limit}, target=args.target)


if __name__ == "__main__":
    main()
