"""Layers that are alike exchange placements: devices hold the same, in a row."""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from talos_opt.analysis.regrouping import regrouped
from talos_opt.core.problem import Problem
from talos_opt.core.simulator import simulate
from talos_opt.formats.llama_cpp import flags_of, placement_of
from talos_opt.frameworks.llm.devices import parse_cards
from talos_opt.frameworks.llm.graph import problem_of
from talos_opt.frameworks.llm.model import read_model
from talos_opt.frameworks.llm.workload import Workload
from tests.builders import fig1
from tests.frameworks.llm.files import metadata, mixture_rows, write_gguf

LAYERS = 10


@pytest.fixture(scope="module")
def problem(tmp_path_factory: pytest.TempPathFactory) -> Problem:
    folder: Path = tmp_path_factory.mktemp("m")
    said = metadata(LAYERS, expert_count=8, expert_used_count=2)
    write_gguf(folder / "m.gguf", said, mixture_rows(LAYERS))
    cards, _ = parse_cards(["2xl4", "cpu"])
    return problem_of(read_model(folder), cards, Workload(64))


def test_any_placement_of_equal_layers_becomes_flags(problem: Problem) -> None:
    draw = random.Random(3)
    for _ in range(30):
        device = np.array([draw.randrange(3) for _ in problem.ops])
        found = regrouped(problem, device)
        assert Counter(found.tolist()) == Counter(device.tolist())
        for part in ("attention", "router", "experts"):
            own = [i for i, op in enumerate(problem.ops) if op.attrs["part"] == part]
            assert Counter(found[own].tolist()) == Counter(device[own].tolist())
        outside = [i for i, op in enumerate(problem.ops) if "layer" not in op.attrs]
        assert found[outside].tolist() == device[outside].tolist()
        flags = flags_of(problem, simulate(problem, found, range(len(found))))
        assert placement_of(problem, flags) == found.tolist()


def test_other_graphs_stay_as_they_are() -> None:
    device = np.array([0, 1, 0, 1, 0, 1])
    assert regrouped(fig1(), device).tolist() == device.tolist()
