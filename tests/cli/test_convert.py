"""``convert``: the graph that is written is the graph that was read."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import talos_opt.api as api
from talos_opt.cli.main import main
from tests.cli.process import FIG1

Capture = pytest.CaptureFixture[str]

#: A workload in the form of the NeurIPS 2020 set: two nodes on one accelerator and one host.
MSR = {
    "maxSizePerFPGA": 100,
    "maxFPGAs": 1,
    "maxCPUs": 1,
    "nodes": [
        {"id": 1, "supportedOnFpga": 1, "cpuLatency": 5, "fpgaLatency": 1, "size": 10},
        {"id": 2, "supportedOnFpga": 1, "cpuLatency": 6, "fpgaLatency": 2, "size": 10},
    ],
    "edges": [{"sourceId": 1, "destId": 2, "cost": 0.5}],
}


def convert(*argv: object) -> int:
    return main(["convert", *map(str, argv)])


@pytest.mark.parametrize("name", ["graph.json", "graph.yaml", "graph.yml.gz", "graph.json.gz"])
def test_there_and_back(capsys: Capture, tmp_path: Path, name: str) -> None:
    target = tmp_path / name
    assert convert(FIG1, "-o", target) == 0
    assert capsys.readouterr().out == f"{target}: 2 models, 6 ops, 2 devices\n"
    before, after = api.read(FIG1), api.read(target)
    assert (after.graph, after.cluster) == (before.graph, before.cluster)


def test_standard_output_holds_the_graph_alone(capsys: Capture) -> None:
    assert convert(FIG1, "-o", "-") == 0
    captured = capsys.readouterr()
    assert captured.out.startswith("schema: talos-graph/1\n")
    assert captured.err == ""


def test_another_cluster_is_written_into_it(tmp_path: Path) -> None:
    cluster, target = tmp_path / "one.yaml", tmp_path / "graph.json"
    cluster.write_text("devices: [{id: big, kind: cpu}]\n")
    assert convert(FIG1, "-o", target, "--cluster", cluster) == 0
    assert api.read(target).device_ids == ("big",)


@pytest.mark.parametrize(("objective", "copies"), [("makespan", True), ("bottleneck", False)])
def test_an_msr_workload_by_its_objective(tmp_path: Path, objective: str, copies: bool) -> None:
    source, target = tmp_path / "workload.json", tmp_path / "graph.json"
    source.write_text(json.dumps(MSR))
    assert convert(source, "-o", target, "--from", "msr", "--objective", objective) == 0
    problem = api.read(target)
    engines = {d.kind: d.copy_engine for d in problem.cluster.devices if d.kind != "cpu"}
    assert set(engines.values()) == {copies}
    assert len(problem.ops) == 2


@pytest.mark.parametrize(
    ("argv", "complaint"),
    [
        (["nowhere.yaml", "-o", "g.json"], "nowhere.yaml"),
        ([FIG1, "-o", "g.txt"], "g.txt"),
        ([FIG1, "-o", "nowhere/g.json"], "no folder nowhere"),
        ([FIG1, "-o", "g.json", "--to", "msr"], "can only be read"),
        ([FIG1, "-o", "g.json", "--to", "onnx"], "no format is called 'onnx'"),
        ([FIG1, "-o", "g.json", "--from", "onnx"], "no format is called 'onnx'"),
        ([FIG1, "-o", "g.json", "--from", "msr"], "fig1.yaml"),
        ([FIG1, "-o", "g.json", "--dtype", "fp16"], "name some with --estimate"),
        ([FIG1, "-o", "g.json", "--measured", "gpu0=t4"], "leave --measured out"),
    ],
)
def test_bad_arguments_are_two_with_one_message(
    capsys: Capture,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    argv: list[object],
    complaint: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert convert(*argv) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("error: ")
    assert captured.err.count("\n") == 1
    assert complaint in captured.err
    assert list(tmp_path.iterdir()) == []


def test_models_of_several_graphs_become_one(capsys: Capture, tmp_path: Path) -> None:
    target, other = tmp_path / "both.yaml", tmp_path / "other.yaml"
    models = FIG1.parent
    assert convert(models / "alexnet.yaml", "--add", models / "squeezenet.yaml", "-o", target) == 0
    assert "2 models, 86 ops, 2 devices" in capsys.readouterr().out
    both, second = api.read(target), api.read(models / "squeezenet.yaml")
    assert both.graph.models[1] == second.graph.models[0]
    assert both.cluster == second.cluster
    assert both.graph.name == "alexnet+squeezenet"
    assert "alexnet" in both.graph.description.lower()
    assert "squeezenet" in both.graph.description.lower()

    assert convert(FIG1, "--add", FIG1, "-o", other) == 2
    assert "graph 'fig1' has a model 'm1', as graph 'fig1' has" in capsys.readouterr().err
    assert convert(FIG1, "--add", models / "alexnet.yaml", "-o", other) == 2
    assert "times of graph 'alexnet' are in us, expected the unit of" in capsys.readouterr().err
    assert not other.exists()
