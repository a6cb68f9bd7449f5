"""Problems with something to see, and the pages that show them, for the tests of pages."""

from __future__ import annotations

import json
import random
import re
from pathlib import Path
from typing import Any

from talos_opt import solve
from talos_opt.core.cluster import Cluster, Device, Link
from talos_opt.core.graph import Graph, Input, Memory, Model, Op
from talos_opt.core.pipelining.settings import PipelineSchedule, Pipelining
from talos_opt.core.problem import MemoryRule, Objective, Problem
from talos_opt.core.stages import Stages
from talos_opt.reports.page import Answer

MIB = 2**20

_DATA = re.compile(r'<script type="application/json" id="data">(.*?)</script>', re.DOTALL)


def two_models(memory_rule: MemoryRule = MemoryRule.PEAK) -> Problem:
    """Return two chains with a fork, on a CPU of two slots and a GPU, whose tensors take time."""

    def op(name: str, cpu: float, gpu: float, *reads: str, **more: Any) -> Op:
        return Op(
            name,
            {"cpu": cpu, "gpu": gpu},
            memory=Memory(4 * MIB, 2 * MIB, MIB),
            inputs=tuple(Input(read) for read in reads),
            type=name.rstrip("0123456789"),
            **more,
        )

    first = (
        op("load1", 1, 4, devices=("cpu",)),
        op("conv1", 9, 1, "load1"),
        op("conv2", 8, 1, "load1", colocate="pair"),
        op("add1", 2, 1, "conv1", "conv2", colocate="pair"),
    )
    second = (op("embed1", 2, 2), op("dense1", 6, 1.5, "embed1"), op("sort1", 1, 3, "dense1"))
    devices = (
        Device("cpu0", "cpu", memory=4096 * MIB, slots=2),
        Device("gpu0", "gpu", memory=48 * MIB),
    )
    links = (Link("cpu", "gpu", 0.1, 8e9),)
    models = (Model("vision", first, weight=2.0), Model("text", second, release=0.5))
    graph = Graph("two", models, "ms", known={"toct": 1.0, "source": "a guess"})
    return Problem(graph, Cluster(devices, links), memory_rule=memory_rule)


def crowded() -> Problem:
    """Return twelve models of long, foreign and short names, and devices that are nearly full."""
    draw = random.Random(3)
    names = (
        "resnet50_training", "bert_base_training", "a", "encoder.of.a.model.with.a.name.beyond.all",
        "\u6a21\u578b", "\u043c\u043e\u0434\u0435\u043b\u044c",
        *(f"serving_model{j}" for j in range(6)),
    )  # fmt: skip
    models = []
    for j, name in enumerate(names):
        ops = []
        for i in range(6):
            cpu = draw.uniform(1, 9)
            memory = Memory(draw.randrange(4 * MIB), draw.randrange(4 * MIB), MIB)
            reads = (Input(f"layer{i - 1}.block.attention"),) if i else ()
            times = {"cpu": cpu, "gpu": cpu / draw.uniform(0.5, 9)}
            ops.append(
                Op(f"layer{i}.block.attention", times, memory=memory, inputs=reads, type="MatMul")
            )
        models.append(Model(name, tuple(ops), weight=1 + j % 3, release=j / 4))
    devices = (
        Device("cpu0", "cpu", memory=2**40, slots=2),
        Device("gpu0.rack4.datacentre.example.com", "gpu", memory=140 * MIB),
        Device("gpu1", "gpu", memory=140 * MIB),
        Device("gpu2", "gpu", memory=140 * MIB),
    )
    links = (Link("cpu", "gpu", 0.2, 3e9), Link("gpu", "gpu", via="cpu0"))
    graph = Graph("crowded", tuple(models), "ms", description="Twelve models. " * 9)
    return Problem(graph, Cluster(devices, links), memory_rule=MemoryRule.STATIC)


def pipelined() -> Problem:
    """Return a chain of layers to train in two stages, a micro-batch after the other."""
    layers = range(4)
    forward = [
        Op(f"f{k}", {"gpu": 1}, Memory(0, MIB, 0), (Input(f"f{k - 1}"),) if k else ())
        for k in layers
    ]
    backward = [
        Op(
            f"b{k}",
            {"gpu": 2},
            inputs=(Input(f"f{k}"), *((Input(f"b{k + 1}"),) if k < 3 else ())),
            phase="backward",
        )
        for k in reversed(layers)
    ]
    devices = (Device("gpu0", "gpu"), Device("gpu1", "gpu"))
    graph = Graph("pipelined", (Model("net", (*forward, *backward)),), "ms")
    return Problem(
        graph,
        Cluster(devices, (Link("gpu", "gpu", 0.01),)),
        objective=Objective.STEP,
        stages=Stages("ordered"),
        pipeline=Pipelining(4, PipelineSchedule.ONE_F_ONE_B),
    )


def many_ops(count: int) -> Problem:
    """Return four models of narrow layers on a CPU and two GPUs."""
    draw = random.Random(7)
    models = []
    for j in range(4):
        ops: list[Op] = []
        for i in range(count // 4):
            cpu = draw.lognormvariate(0, 1)
            reads = {f"op{draw.randrange(max(0, i - 9), i)}" for _ in range(2)} if i else set()
            ops.append(
                Op(
                    f"op{i}",
                    {"cpu": cpu, "gpu": cpu / draw.uniform(0.5, 9)},
                    memory=Memory(draw.randrange(MIB), draw.randrange(MIB), 0),
                    inputs=tuple(Input(read) for read in sorted(reads)),
                    type=draw.choice(("MatMul", "Add", "Conv2D")),
                )
            )
        models.append(Model(f"m{j}", tuple(ops)))
    devices = (Device("cpu0", "cpu"), Device("gpu0", "gpu"), Device("gpu1", "gpu"))
    links = (Link("cpu", "gpu", 0.01, 12e9), Link("gpu", "gpu", via="cpu0"))
    return Problem(Graph("many", tuple(models), "ms"), Cluster(devices, links))


def answer(problem: Problem, solver: str = "heft", label: str | None = None) -> Answer:
    """Solve a problem and return what a report takes."""
    result = solve(problem, solver, time_limit=5)
    assert result.schedule is not None
    return Answer(label or solver, result.schedule, result.to_dict(rows=False))


def data_of(page: str | Path) -> dict[str, Any]:
    """Return the data that a page holds."""
    text = page.read_text(encoding="utf-8") if isinstance(page, Path) else page
    found: dict[str, Any] = json.loads(_DATA.findall(text)[0])
    return found
