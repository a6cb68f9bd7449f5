"""What the bounds prove on the public workloads: no less than written down, no more than known."""

from __future__ import annotations

import math
from functools import cache
from pathlib import Path

import pytest

from talos_opt import read
from talos_opt.core.problem import Problem
from talos_opt.solvers.bounds import root_bound
from talos_opt.solvers.bounds.diagram import Diagrams
from talos_opt.solvers.bounds.path_memory import PathMemory

FOLDER = Path(__file__).resolve().parents[4] / "shared" / "data" / "msr"
pytestmark = pytest.mark.skipif(
    not FOLDER.is_dir(), reason="the NeurIPS 2020 workloads (../shared/data/msr) are not here"
)

#: File, what paths prove, what a diagram of 250 labels proves, the best value known.
LATENCY = [
    ("LayerGraphs-bert24_inference", 100.218, 100.218, 100.2185),
    ("LayerGraphs-gnmt_inference", 219.056, 219.056, 219.0561),
    ("LayerGraphs-resnet50_inference", 743.0, 989.41, 993.33),
    ("OperatorGraphs-bert_l-3_inference", 397.18, 398.65, 399.738),
    ("OperatorGraphs-bert_l-6_inference", 424.35, 426.5, 429.61),
]


@cache
def latency(name: str) -> Problem:
    return read(FOLDER / "latency" / f"{name}.json", objective="makespan")


@pytest.mark.parametrize(("name", "least", "_diagram", "best"), LATENCY)
def test_paths_at_the_root(name: str, least: float, _diagram: float, best: float) -> None:
    assert least <= root_bound(latency(name)) <= best


@pytest.mark.parametrize(("name", "_paths", "least", "best"), LATENCY)
def test_diagrams(name: str, _paths: float, least: float, best: float) -> None:
    memory = PathMemory(latency(name))
    memory.improve()
    Diagrams(memory).improve(best, 250, lambda: False)
    assert least <= memory.bound() <= best


def test_no_incumbent_is_needed_where_the_graph_is_narrow() -> None:
    memory = PathMemory(latency("LayerGraphs-resnet50_inference"))
    memory.improve()
    Diagrams(memory).improve(math.inf, 1000, lambda: False)
    assert 989.41 <= memory.bound() <= 993.33


THROUGHPUT = [
    ("LayerGraphs-bert24_inference", 14.65, 17.7148),
    ("LayerGraphs-bert24_training", 34.5, 39.7895),
    ("LayerGraphs-gnmt_training", 82.5, 88.4623),
    ("LayerGraphs-resnet50_inference", 31.9, 33.527),
    ("OperatorGraphs-bert_l-3_inference", 15.9, 21.9085),
    ("OperatorGraphs-bert_l-3_training", 39.8, 54.2075),
    ("OperatorGraphs-bert_l-6_inference", 25.0, 28.333),
    ("OperatorGraphs-resnet50_inference", 51.5, 124.349),
]


@pytest.mark.parametrize(("name", "least", "best"), THROUGHPUT)
def test_loads_at_the_root(name: str, least: float, best: float) -> None:
    problem = read(FOLDER / "throughput" / f"{name}.json", objective="bottleneck")
    assert least <= root_bound(problem) <= best
