"""The ten pairs of models that the Talos paper compares, on the authors' own profiles."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import talos_opt
from talos_opt.core.cluster import Cluster, Device
from talos_opt.core.graph import Graph, Input, Model, Op
from talos_opt.core.problem import Problem

DATA = Path(__file__).parents[3] / "shared" / "data" / "talos"
pytestmark = pytest.mark.skipif(
    not DATA.exists(), reason="needs ../shared/data/talos, the Talos authors' profiles"
)

#: docs/model.md: TOCT reduced by %, against one model on the GPU and the other on the CPU.
TALOS = {
    "bert+googlenet": 64.5,
    "resnet+bert": 61.2,
    "resnet+googlenet": 59.6,
    "bert+alexnet": 44.1,
    "googlenet+alexnet": 49.5,
    "resnet+alexnet": 37.1,
    "bert+squeezenet": 37.7,
    "alexnet+squeezenet": 56.5,
    "googlenet+squeezenet": 42.7,
    "resnet+squeezenet": 32.6,
}


def chain(name: str) -> Model:
    """Return a model as a chain; SqueezeNet with its lost first segment restored."""
    sets = json.loads((DATA / "op_sequences.json").read_text())["sets"]["sv0.5-2_tv20ms"]
    arrays = sets["models"]["resnet50" if name == "resnet" else name]
    cpu, gpu = list(arrays["cpu"]), list(arrays["gpu"])
    if name == "squeezenet":
        first = sets["squeezenet_missing_first_segment"]
        cpu, gpu = [first["cpu"], *cpu], [first["gpu"], *gpu]
    ops = tuple(
        Op(f"s{i}", {"cpu": a, "gpu": b}, inputs=(Input(f"s{i - 1}"),) if i else ())
        for i, (a, b) in enumerate(zip(cpu, gpu, strict=True))
    )
    return Model(name, ops)


def pair(row: dict[str, Any]) -> Problem:
    names = (row["gpu_model"], row["cpu_model"])
    graph = Graph("+".join(names), tuple(chain(name) for name in names))
    return Problem(graph, Cluster((Device("cpu0", "cpu"), Device("gpu0", "gpu"))))


def rows() -> list[dict[str, Any]]:
    if not DATA.exists():
        return []
    found = json.loads((DATA / "reference.json").read_text())["pairs_recomputed_tv20"]
    return [
        row
        for row in found
        if ("squeezenet" in (row["gpu_model"], row["cpu_model"])) == (row["arrays"] != "stored")
    ]


@pytest.mark.parametrize("row", rows(), ids=lambda row: f"{row['gpu_model']}+{row['cpu_model']}")
def test_reductions_and_optimum(row: dict[str, Any]) -> None:
    problem = pair(row)

    def reduced(solver: str) -> float:
        value = talos_opt.solve(problem, solver, time_limit=30).value
        assert value is not None
        return 100 * (1 - value / row["split_toct"])

    assert reduced("aswm") == pytest.approx(row["aswm_pct"], abs=6e-4)
    assert reduced("tsam") == pytest.approx(row["tsam_pct_nodouble"], abs=6e-4)
    assert reduced("talos") == pytest.approx(TALOS[problem.graph.name], abs=0.05)
    result = talos_opt.solve(problem, time_limit=20)
    assert result.value == pytest.approx(row["opt_toct"], rel=1e-3)
    assert result.value >= row["opt_toct"] * (1 - 1e-6)
    assert result.lower_bound <= row["opt_toct"] * (1 + 1e-6)


def test_there_are_ten() -> None:
    assert len(rows()) == len(TALOS) == 10
