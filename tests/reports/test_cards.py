"""What a report shows of a language model's cards."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from talos_opt.core.metrics import measure
from talos_opt.core.problem import Problem
from talos_opt.core.simulator import simulate
from talos_opt.frameworks.llm.devices import parse_cards
from talos_opt.frameworks.llm.graph import problem_of
from talos_opt.frameworks.llm.model import read_model
from talos_opt.frameworks.llm.workload import Workload
from talos_opt.reports.cards import cards_of
from talos_opt.reports.page import Answer, write_report
from tests.builders import fig1
from tests.frameworks.llm.files import metadata, mixture_rows, write_gguf
from tests.reports.pages import data_of


@pytest.fixture(scope="module")
def problem(tmp_path_factory: pytest.TempPathFactory) -> Problem:
    folder = tmp_path_factory.mktemp("m")
    said = metadata(4, expert_count=8, expert_used_count=2)
    write_gguf(folder / "m.gguf", said, mixture_rows(4))
    cards, _ = parse_cards(["1GiB:l4", "cpu"])
    return problem_of(read_model(folder), cards, Workload(64, batch=2, buffer=1000))


def test_bars_add_up_to_the_card(problem: Problem, tmp_path: Path) -> None:
    """Experts of the first two layers and the embedding are on the CPU."""
    away = {"token_embd", "blk.0.experts", "blk.1.experts"}
    device = np.array([int(op.id in away) for op in problem.ops])
    schedule = simulate(problem, device, range(len(device)))
    found = cards_of(problem, schedule, measure(problem, schedule))
    assert found is not None
    gpu, cpu = found["cards"]
    assert gpu["weights"] + gpu["kv"] + gpu["buffers"] + gpu["free"] == 2**30
    assert (gpu["buffers"], cpu["free"]) == (1000, None)
    assert gpu["kv"] == 4 * 2 * 64 * 2 * 4 * 32 * 2
    assert gpu["holds"] == "attention and router of layers 0-1, layers 2-3, head"
    assert cpu["holds"] == "experts of layers 0-1, embedding"
    assert found["rate"] == pytest.approx(2e6 / schedule.makespan)
    target = tmp_path / "r.html"
    write_report(problem, [Answer("one", schedule, {})], target)
    assert data_of(target)["schedules"][0]["cards"]["busiest"] == found["busiest"]


def test_other_graphs_have_no_cards() -> None:
    of = fig1()
    schedule = simulate(of, np.zeros(len(of.ops), dtype=np.int64), range(len(of.ops)))
    assert cards_of(of, schedule, measure(of, schedule)) is None
