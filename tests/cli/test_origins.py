"""Where ops come from, module and line, is shown wherever ops are."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from talos_opt import formats
from talos_opt.cli.main import main
from talos_opt.core.cluster import Cluster, Device
from talos_opt.core.graph import Graph, Input, Model, Op
from talos_opt.core.origins import origin_of
from talos_opt.core.problem import Problem
from tests.reports.pages import data_of

Capture = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """Graph and schedule."""
    folder = tmp_path_factory.mktemp("origins")
    times = {"cpu": 2.0, "gpu": 1.0}
    attrs = {"module": "layers.0.mlp", "line": "net.py:12"}
    ops = (
        Op("linear_10", times, type="linear", attrs=attrs),
        Op("relu_3", times, type="relu", inputs=(Input("linear_10"),), attrs={"module": 3}),
    )
    cluster = Cluster((Device("cpu0", "cpu"), Device("gpu0", "gpu")))
    graph, schedule = str(folder / "graph.yaml"), str(folder / "schedule.json")
    formats.write_problem(Problem(Graph("g", (Model("m", ops),), "us"), cluster), graph)
    assert main(["solve", graph, "--solver", "heft", "-o", schedule]) == 0
    return graph, schedule


def test_what_a_graph_says(files: tuple[str, str]) -> None:
    columns = formats.read_problem(files[0]).graph.columns
    assert str(origin_of(columns, 0)) == "layers.0.mlp, net.py:12"
    assert origin_of(columns, 0).known() == {"module": "layers.0.mlp", "line": "net.py:12"}
    assert str(origin_of(columns, 1)) == ""  # attributes hold anything


def test_explain(files: tuple[str, str], capsys: Capture) -> None:
    capsys.readouterr()
    assert main(["explain", *files, "linear_10"]) == 0
    first = capsys.readouterr().out.splitlines()[0]
    assert first.startswith("m/linear_10 (linear), of layers.0.mlp, net.py:12, runs on ")
    assert main(["explain", *files, "relu_3"]) == 0
    assert capsys.readouterr().out.startswith("m/relu_3 (relu) runs on ")
    assert main(["explain", *files, "linear_10", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["line"] == "net.py:12"


def test_analyze(files: tuple[str, str], capsys: Capture) -> None:
    capsys.readouterr()
    assert main(["analyze", files[0]]) == 0
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert any(line.startswith("op type") and line.endswith("share of") for line in lines)
    assert any(
        line.startswith("linear_10 linear") and line.endswith("layers.0.mlp, net.py:12")
        for line in lines
    )
    assert main(["analyze", files[0], "--json"]) == 0
    ops = json.loads(capsys.readouterr().out)["models"][0]["ops"]
    assert [op.get("module") for op in ops] == ["layers.0.mlp", None]


def test_trace(files: tuple[str, str], tmp_path: Path) -> None:
    assert main(["trace", *files, "-o", str(tmp_path / "trace.json")]) == 0
    events = json.loads((tmp_path / "trace.json").read_text())["traceEvents"]
    facts = {
        event["name"]: event["args"] for event in events if "op" in event.get("cat", "").split(",")
    }
    assert facts["linear_10"]["line"] == "net.py:12"
    assert "line" not in facts["relu_3"]


@pytest.mark.parametrize("command", ["report", "plot"])
def test_pages(command: str, files: tuple[str, str], tmp_path: Path) -> None:
    target = tmp_path / "page.html"
    assert main([command, *files, "-o", str(target)]) == 0
    ops = data_of(target)["ops"]
    assert [ops["origins"][k] for k in ops["origin"]] == ["layers.0.mlp, net.py:12", ""]
