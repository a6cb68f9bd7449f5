"""``export``: from a graph file and a schedule to what other tools take, and what hinders it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from talos_opt.cli.main import main
from tests.cli.process import FIG1

Capture = pytest.CaptureFixture[str]


def op(name: str, module: str, cpu: float, gpu: float, *inputs: str, **more: Any) -> dict[str, Any]:
    memory = {"weights": 10, "output": 1}
    return {
        "id": name, "time": {"cpu": cpu, "gpu": gpu}, "memory": memory, "inputs": list(inputs),
        "attrs": {"module": module}, **more,
    }  # fmt: skip


@pytest.fixture
def graph(tmp_path: Path) -> Path:
    """A chain in which each device is best for some ops of module ``mid``."""
    document = {
        "schema": "talos-graph/1",
        "name": "net",
        "cluster": {"devices": [{"id": "host", "kind": "cpu"}, {"id": "gpu0", "kind": "gpu"}]},
        "ops": [
            op("a", "head", 1, 9),
            op("b", "mid.conv", 1, 9, "a"),
            op("c", "mid.conv", 20, 1, "b"),
            op("d", "mid.norm", 9, 1, "c"),
            op("e", "tail", 9, 1, "d"),
        ],
    }
    path = tmp_path / "net.json"
    path.write_text(json.dumps(document))
    return path


def solved(graph: Path, *argv: str) -> Path:
    target = graph.with_name("schedule.json")
    assert main(["solve", str(graph), "-o", str(target), "--time-limit", "5", *argv]) == 0
    return target


def export(*argv: object, to: str = "device-map") -> int:
    return main(["export", *map(str, argv), "--to", to])


def test_modules_stay_whole(capsys: Capture, graph: Path) -> None:
    schedule = solved(graph, "--granularity", "module")
    target = graph.with_name("device_map.json")
    capsys.readouterr()
    assert export(graph, schedule, "-o", target) == 0
    assert capsys.readouterr().out == f"{target}: 3 modules, 2 devices\n"
    assert json.loads(target.read_text()) == {"head": "cpu", "mid": 0, "tail": 0}
    assert export(graph, schedule, "-o", "-", "--map", "gpu0=3", "--map", "host=disk") == 0
    assert json.loads(capsys.readouterr().out) == {"head": "disk", "mid": 3, "tail": 3}


def test_the_graph_was_once_an_option(capsys: Capture, graph: Path) -> None:
    schedule = solved(graph)
    capsys.readouterr()
    argv = ("-o", "-")
    assert export(graph, schedule, *argv, to="tf-device-scopes") == 0
    new = capsys.readouterr()
    assert export(schedule, "--graph", graph, *argv, to="tf-device-scopes") == 0
    old = capsys.readouterr()
    assert (old.out, new.err) == (new.out, "")
    assert f"the graph comes first now: talos-opt export {graph} {schedule};" in old.err
    assert export(schedule, *argv) == 2
    assert f"one file is given, {schedule}, expected GRAPH SCHEDULE" in capsys.readouterr().err


def test_no_split_keeps_more_together(graph: Path) -> None:
    schedule = solved(graph, "--granularity", "module", "--no-split", "mid")
    devices = {row["op"]: row["device"] for row in json.loads(schedule.read_text())["ops"]}
    assert devices["b"] == devices["c"] == devices["d"]


def test_a_split_module_is_named(capsys: Capture, graph: Path) -> None:
    schedule = solved(graph)
    capsys.readouterr()
    assert export(graph, schedule, "-o", "-") == 2
    error = capsys.readouterr().err
    assert "module 'mid.conv' is split: op 'b' is on 'cpu', op 'c' on 0" in error
    assert "--granularity module" in error


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (("-o", "map.yaml"), "suffix '.yaml' is unknown"),
        (("-o", "-", "--map", "gpu7=0"), "unknown device 'gpu7', expected one of host, gpu0"),
        (("-o", "-", "--map", "gpu0"), "not of the form NAME=VALUE"),
        (("-o", "-", "--map", "gpu0=1,gpu0=2"), "gives 'gpu0' twice"),
        (("-o", "-", "--map", "gpu0=1", "--map", "gpu0=2"), "'gpu0' is given twice"),
    ],
)
def test_bad_input(capsys: Capture, graph: Path, argv: tuple[str, ...], message: str) -> None:
    schedule = solved(graph, "--granularity", "module")
    capsys.readouterr()
    assert export(graph, schedule, *argv) == 2
    assert message in capsys.readouterr().err


def test_another_graph_or_no_modules(capsys: Capture, graph: Path) -> None:
    schedule = solved(graph, "--granularity", "module")
    assert export(FIG1, schedule, "-o", "-") == 2
    assert "expected that of the graph, 'ms'" in capsys.readouterr().err
    assert export(graph, "-", "-o", "-") == 2
    assert main(["solve", str(FIG1), "--granularity", "module"]) == 2
    assert "no op says which module it belongs to" in capsys.readouterr().err
    assert main(["solve", str(graph), "--no-split", "mid"]) == 2
    assert "needs --granularity module" in capsys.readouterr().err


def test_device_scopes(capsys: Capture, graph: Path) -> None:
    schedule = solved(graph)
    target = graph.with_name("scopes.json")
    capsys.readouterr()
    assert export(graph, schedule, "-o", target, to="tf-device-scopes") == 0
    assert capsys.readouterr().out == f"{target}: 5 nodes, 2 devices\n"
    placed = {row["op"]: row["device"] for row in json.loads(schedule.read_text())["ops"]}
    called = {"host": "/device:CPU:0", "gpu0": "/device:GPU:0"}
    assert json.loads(target.read_text()) == {op: called[d] for op, d in placed.items()}
    given = ["--map", "gpu0=/device:CPU:1"]
    assert export(graph, schedule, "-o", "-", *given, to="tf-device-scopes") == 0
    found = json.loads(capsys.readouterr().out)
    assert set(found.values()) == {"/device:CPU:0", "/device:CPU:1"}


def test_device_scopes_of_two_models(capsys: Capture, tmp_path: Path) -> None:
    schedule = tmp_path / "schedule.json"
    mix = FIG1.with_name("mix_serving.yaml")
    assert main(["solve", str(mix), "-o", str(schedule), "--solver", "heft"]) == 0
    capsys.readouterr()
    assert export(mix, schedule, "-o", "-", to="tf-device-scopes") == 0
    found = json.loads(capsys.readouterr().out)
    rows = json.loads(schedule.read_text())["ops"]
    assert len(found) > 1
    assert {(m, op) for m, scopes in found.items() for op in scopes} == {
        (row["model"], row["op"]) for row in rows
    }


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (("--map", "gpu0=1"), "--map gpu0=1: '1' is not a TensorFlow device"),
        (("--map", "tpu=/device:TPU:0"), "unknown device 'tpu', expected one of host, gpu0"),
    ],
)
def test_names_that_tensorflow_lacks(
    capsys: Capture, graph: Path, argv: tuple[str, ...], message: str
) -> None:
    schedule = solved(graph)
    capsys.readouterr()
    assert export(graph, schedule, "-o", "-", *argv, to="tf-device-scopes") == 2
    assert message in capsys.readouterr().err
