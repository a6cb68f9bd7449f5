"""What a schedule records of how it was made is read back wherever it is taken with its graph."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from talos_opt import __version__
from talos_opt.cli.main import main

Capture = pytest.CaptureFixture[str]

#: Three ops, of whose outputs 25 bytes hold two at a time: too little by the rule static.
GRAPH: dict[str, Any] = {
    "schema": "talos-graph/1",
    "name": "g",
    "cluster": {"devices": [{"id": "c", "kind": "cpu", "memory": 25}]},
    "ops": [
        {
            "id": name,
            "time": {"cpu": 1},
            "memory": {"output": 10},
            "inputs": inputs,
            "attrs": {"module": module},
        }
        for name, inputs, module in (("a", [], "x"), ("b", ["a"], "x"), ("d", ["b"], "y"))
    ],
}


@pytest.fixture
def graph(tmp_path: Path) -> Path:
    path = tmp_path / "g.json"
    path.write_text(json.dumps(GRAPH))
    return path


def solved(graph: Path, name: str, *argv: object) -> Path:
    target = graph.with_name(name)
    assert main(["solve", str(graph), "-o", str(target), *map(str, argv)]) == 0
    return target


def commands(graph: Path, schedule: Path) -> list[list[object]]:
    folder = graph.parent
    return [
        ["check", graph, schedule],
        ["report", graph, schedule, "-o", folder / "r.html"],
        ["plot", graph, schedule, "-o", folder / "p.html"],
        ["explain", graph, schedule, "b"],
        ["simulate", graph, schedule, "--samples", 5],
        ["trace", graph, schedule, "-o", folder / "t.json"],
        ["export", graph, schedule, "--to", "device-map", "-o", folder / "m.json"],
        ["solve", graph, "--warm-start", schedule],
    ]


@pytest.mark.parametrize("name", ["s.json", "s.yaml.gz", "s.npz"])
def test_the_memory_rule_is_the_schedules_own(capsys: Capture, graph: Path, name: str) -> None:
    schedule = solved(graph, name, "--memory-rule", "peak")
    for command in commands(graph, schedule):
        capsys.readouterr()
        assert main(list(map(str, command))) == 0, command
        err = capsys.readouterr().err
        assert f"{schedule}: memory rule peak as recorded there" in err
        assert "not feasible" not in err


def test_a_flag_wins(capsys: Capture, graph: Path) -> None:
    schedule = solved(graph, "s.json", "--memory-rule", "peak")
    assert main(["check", str(graph), str(schedule), "--memory-rule", "static"]) == 1
    assert "memory: c has 25 bytes, 30 are placed there" in capsys.readouterr().out


def test_the_cluster_is_the_schedules_own(capsys: Capture, graph: Path, tmp_path: Path) -> None:
    cluster = tmp_path / "c.yaml"
    cluster.write_text("devices: [{id: big, kind: cpu, memory: 1GiB, memory_fraction: 0.29}]\n")
    for name in ("s.json", "s.npz"):
        schedule = solved(graph, name, "--cluster", cluster)
        for command in commands(graph, schedule):
            capsys.readouterr()
            if command[0] == "export":
                command += ["--map", "big=0"]
            assert main(list(map(str, command))) == 0, command
            assert f"{schedule}: cluster as recorded there" in capsys.readouterr().err
        given = ["check", str(graph), str(schedule), "--cluster", str(cluster)]
        capsys.readouterr()
        assert main(given) == 0
        assert capsys.readouterr().err == ""


def test_a_graph_without_a_cluster(capsys: Capture, graph: Path, tmp_path: Path) -> None:
    cluster = tmp_path / "c.json"
    cluster.write_text(json.dumps(GRAPH["cluster"] | {"devices": [{"id": "z", "kind": "cpu"}]}))
    document = {key: value for key, value in GRAPH.items() if key != "cluster"}
    graph.write_text(json.dumps(document))
    schedule = solved(graph, "s.json", "--cluster", cluster)
    assert main(["check", str(graph), str(schedule)]) == 0


def test_objective_and_granularity(capsys: Capture, graph: Path) -> None:
    argv = ("--objective", "makespan", "--granularity", "module", "--memory-rule", "peak")
    schedule = solved(graph, "s.json", *argv, "--no-split", "y")
    made = json.loads(schedule.read_text())["made"]
    assert (made["granularity"], made["no_split"]) == ("module", ["y"])
    again = solved(graph, "t.json", "--warm-start", schedule)
    err = capsys.readouterr().err
    assert "objective makespan, memory rule peak, granularity module as recorded there" in err
    document = json.loads(again.read_text())
    assert document["objective"] == "makespan"
    assert document["made"]["granularity"] == "module"
    other = solved(graph, "u.json", "--warm-start", schedule, "--granularity", "op")
    assert json.loads(other.read_text())["made"]["granularity"] == "op"


def test_stages(capsys: Capture, graph: Path, tmp_path: Path) -> None:
    argv = ("--memory-rule", "peak", "--stages", "ordered", "--use-all")
    schedule = solved(graph, "s.json", *argv)
    asked = {"rule": "ordered", "use_all": True}
    assert json.loads(schedule.read_text())["made"]["stages"] == asked
    capsys.readouterr()
    assert main(["check", str(graph), str(schedule)]) == 0
    assert "stages ordered, all devices used as recorded there" in capsys.readouterr().err
    other = tmp_path / "t.yaml"
    given = json.loads(graph.read_text())
    other.write_text(json.dumps(given | {"memory_rule": "peak", "stages": asked}))
    made = json.loads(solved(other, "t.json").read_text())["made"]
    assert made["stages"] == asked


def test_what_is_recorded(graph: Path) -> None:
    argv = ("--memory-rule", "peak", "--time-limit", 7, "--workers", 1, "--seed", 3)
    schedule = solved(graph, "s.json", *argv, "--option", "cpsat.deterministic=true")
    document = json.loads(schedule.read_text())
    made = document["made"]
    assert document["seed"] == 3
    assert made["cluster"]["devices"] == [{"id": "c", "kind": "cpu", "memory": 25}]
    assert made.pop("fingerprint").startswith("ops-edges-1:")
    assert made.pop("stages") == "any"
    assert made == {
        "version": __version__,
        "memory_rule": "peak",
        "granularity": "op",
        "no_split": [],
        "time_limit": 7.0,
        "workers": 1,
        "worth": 0.0,
        "options": {"cpsat": {"deterministic": True}},
        "cluster": made["cluster"],
    }


def test_another_graph_is_told(capsys: Capture, graph: Path) -> None:
    schedule = solved(graph, "s.json", "--memory-rule", "peak")
    changed = json.loads(json.dumps(GRAPH))
    changed["ops"][2]["inputs"] = []  # the same ops, an edge fewer
    graph.write_text(json.dumps(changed))
    capsys.readouterr()
    assert main(["check", str(graph), str(schedule)]) == 0
    assert "the graph has other ops or edges than when" in capsys.readouterr().err
    changed["ops"][2]["id"] = "e"
    graph.write_text(json.dumps(changed))
    assert main(["check", str(graph), str(schedule)]) == 2


def test_old_files_stay_readable(capsys: Capture, graph: Path) -> None:
    schedule = solved(graph, "s.json", "--memory-rule", "peak")
    document = json.loads(schedule.read_text())
    del document["made"]
    schedule.write_text(json.dumps(document))
    capsys.readouterr()
    assert main(["check", str(graph), str(schedule)]) == 1
    assert main(["check", str(graph), str(schedule), "--memory-rule", "peak"]) == 0
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("edit", "where"),
    [
        ({"objective": {"a": 1}}, "objective: objective is a mapping, expected one of toct"),
        ({"objective": "speed"}, "objective: objective is 'speed'"),
        ({"value": 10**400}, "value: value is 1000"),
        ({"value": float("nan")}, "value: value is nan"),
        ({"metrics": {"load": {"c": 10**400}}}, "metrics.load.c: c is 1000"),
        ({"history": [{"value": 10**400}]}, "history[0].value: value is 1000"),
        ({"time_unit": "min"}, "time_unit: time_unit is 'min', expected one of us, ms, s"),
        ({"made": 3}, "made: made is 3, expected a mapping"),
        ({"made": {"memory_rule": []}}, "made.memory_rule: memory_rule is a list, expected one of"),
        ({"made": {"no_split": [1]}}, "made.no_split[0]: a pattern is 1, expected text"),
        ({"made": {"cluster": {"devices": []}}}, "made.cluster.devices: the cluster has no devi"),
        ({"made": {"fingerprint": 1}}, "made.fingerprint: fingerprint is 1, expected text"),
    ],
)
def test_broken_headers(capsys: Capture, graph: Path, edit: dict[str, Any], where: str) -> None:
    schedule = solved(graph, "s.json", "--memory-rule", "peak")
    schedule.write_text(json.dumps(json.loads(schedule.read_text()) | edit))
    run = ["run", "torch", "m:f", "--schedule", schedule]
    for command in [*commands(graph, schedule), ["plot", schedule, "-o", "x.html"], run]:
        capsys.readouterr()
        assert main(list(map(str, command))) == 2, command
        err = capsys.readouterr().err
        assert err.startswith(f"error: {schedule}")
        assert where in err
        assert err.count("\n") == 1


def test_rows_that_no_run_can_take(capsys: Capture, tmp_path: Path) -> None:
    schedule = tmp_path / "s.json"
    row = {"model": "m", "op": "a", "device": "cpu", "start": 0, "end": 1}
    for rows, moves, where in (
        (["a"], None, "ops[0]: an op is 'a', expected a mapping"),
        ([row], None, "transfers: transfers is empty, expected a list"),
        ([{**row, "end": 10**400}], [], "ops[0].end: end is 1000"),
        ([{key: row[key] for key in row if key != "start"}], [], "ops[0]: an op has no 'start'"),
    ):
        document = {"schema": "talos-schedule/1", "ops": rows, "transfers": moves}
        schedule.write_text(json.dumps(document))
        assert main(["run", "torch", "m:f", "--schedule", str(schedule)]) == 2
        assert where in capsys.readouterr().err
