"""What are bundles worth on eight equal GPUs, and how much of that is proven?

The networks of `models/` in stages, and training steps of a transformer whose weights fit the GPUs
together, with and without bundles. `ways` counts the ways to bundle, then those that were searched.

    python -m benchmarks.bundles [--limit 20] [--gpus 8] [--json FILE]
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import talos_opt
from benchmarks.report import Cell, Column, make_parser, progress, publish, solve
from talos_opt import Cluster, Device, Graph, Input, Link, Memory, Model, Op, Problem, Result

_MODELS = Path(__file__).resolve().parents[1] / "models"
_NETWORKS = ("bert_base", "inception_v3", "resnet50", "vgg19")
_GIB, _MIB = 2**30, 2**20
#: Microseconds of a layer's forward pass on one GPU, and the parts of it: attention and the two
#: products of its MLP can be split, normalisation cannot.
_PARTS = {"norm": (100.0, False), "attention": (900.0, True), "mlp": (1500.0, True)}


def main() -> None:
    """Solve every problem with and without bundles, and print a row for each."""
    parser = make_parser(__doc__)
    parser.add_argument("--limit", type=float, default=20.0, help="seconds for each solve")
    parser.add_argument("--gpus", type=int, default=8)
    args = parser.parse_args()
    rows = []
    for name, problem in problems(args.gpus):
        progress(name)
        rows.append(compare(name, problem, args.limit))
    publish(
        "bundles",
        [
            Column("problem"), Column("ops"), Column("alone", 1), Column("gap %", 2),
            Column("bundled", 1), Column("bundled gap %", 2), Column("seconds", 1), Column("ways"),
            Column("bundles"),
        ],
        rows,
        settings={"limit": args.limit, "gpus": args.gpus},
        target=args.target,
    )  # fmt: skip


def problems(gpus: int) -> Iterator[tuple[str, Problem]]:
    """Yield problems on a CPU and equal GPUs, all of them to be split into stages."""
    for name in _NETWORKS:
        given = talos_opt.read(_MODELS / f"{name}.yaml", objective="bottleneck")
        yield name, replace(given, cluster=cluster(gpus, 11 * _GIB), stages="acyclic")
    for layers in (6, 24, 48):
        graph = Graph(f"transformer{layers}", (transformer(layers),))
        whole = sum(op.memory.weights for op in graph.models[0].ops)
        held = cluster(gpus, int(1.5 * whole / gpus) + _GIB)
        yield graph.name, Problem(graph, held, "bottleneck", stages="acyclic")


def cluster(gpus: int, memory: int) -> Cluster:
    """Return a CPU and GPUs with a link of 100 GB/s between any two of them."""
    devices = (Device("cpu0", "cpu"), *(Device(f"gpu{k}", "gpu", memory) for k in range(gpus)))
    return Cluster(devices, (Link("gpu", "gpu", 5.0, 100e9), Link("cpu", "gpu", 12.0, 12e9)))


def transformer(layers: int) -> Model:
    """Return a training step: forward and backward ops, and weights with gradients and state."""
    ops: list[Op] = []
    for k in range(layers):
        for part, (time_us, split) in _PARTS.items():
            name, weights = f"{part}{k}", 600 * _MIB if split else _MIB
            memory = Memory(weights, 16 * _MIB, 8 * _MIB)
            inputs = (Input(ops[-1].id),) if ops else ()
            ops.append(Op(name, {"gpu": time_us}, memory, inputs, colocate=name, split=split))
    for op in reversed(ops[:]):
        ops.append(
            Op(
                f"{op.id}.grad", {"gpu": 2 * op.time["gpu"]}, Memory(0, 16 * _MIB, 8 * _MIB),
                (Input(op.id), Input(ops[-1].id)) if ops[-1].id != op.id else (Input(op.id),),
                colocate=op.colocate, phase="backward", split=op.split,
            )
        )  # fmt: skip
    return Model("m", tuple(ops))


def compare(name: str, problem: Problem, limit: float) -> dict[str, Cell]:
    """Solve a problem without bundles and with those of two, four and eight GPUs."""
    alone = solve(problem, time_limit=limit)
    begin = time.perf_counter()
    bundled = solve(problem, time_limit=limit, bundles={"gpu": {}})
    return {
        "problem": name,
        "ops": problem.graph.op_count,
        "alone": alone.value,
        "gap %": percent(alone),
        "bundled": bundled.value,
        "bundled gap %": percent(bundled),
        "seconds": time.perf_counter() - begin,
        "ways": ways(bundled),
        "bundles": shapes(bundled),
    }


def percent(result: Result) -> float | None:
    """Return the gap in percent."""
    return None if result.gap is None else 100 * result.gap


def ways(result: Result) -> str:
    """Return how many ways there were, and how many were searched."""
    for note in result.notes:
        found = re.match(r"bundles: (\d+) ways, (\d+) searched", note)
        if found:
            return f"{found[1]}, {found[2]}"
    return ""


def shapes(result: Result) -> str:
    """Return sizes and modes of the bundles, such as ``2 data, 4 tensor``."""
    found = result.problem.bundling
    rows = () if found is None else found.bundles
    return ", ".join(f"{bundle.size} {bundle.mode.value}" for bundle in rows) or "none"


if __name__ == "__main__":
    main()
