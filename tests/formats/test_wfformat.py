"""Workflows in WfFormat: what is read of each version, and a row for each mistake."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest

import talos_opt
from talos_opt.cli.main import main
from talos_opt.core.cluster import Cluster, Device
from talos_opt.core.errors import InputError
from talos_opt.core.model import Input
from talos_opt.core.problem import Objective, Problem
from talos_opt.formats import read_problem, write_problem

from .samples import DELETE, SHARED, spoil

FILES = SHARED / "files" / "wfformat"


def task(name: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "id": name, "parents": [], "children": [], **more}


#: Made up: one task writes two files, of which two others read one each.
FLOW: dict[str, Any] = {
    "name": "flow",
    "schemaVersion": "1.5",
    "workflow": {
        "specification": {
            "tasks": [
                task("cut", children=["left"], inputFiles=["raw"], outputFiles=["l", "r"]),
                task("left", parents=["cut"], inputFiles=["l", "raw"], outputFiles=["x"]),
                task("right", parents=["cut"], inputFiles=["r"], outputFiles=["y"]),
                task("join", parents=["right", "left"], inputFiles=["x", "y"]),
                task("mail", parents=["join"]),
            ],
            "files": [
                {"id": "raw", "sizeInBytes": 1000},
                {"id": "l", "sizeInBytes": 125_000_000},
                {"id": "r", "sizeInBytes": 250_000_000},
                {"id": "x", "sizeInBytes": 1},
                {"id": "y", "sizeInBytes": 2},
            ],
        },
        "execution": {
            "makespanInSeconds": 9,
            "executedAt": "today",
            "tasks": [
                {"id": "cut", "runtimeInSeconds": 1.5, "machines": ["n1"], "coreCount": 2},
                {"id": "left", "runtimeInSeconds": 2, "command": {"program": "half"}},
                {"id": "right", "runtimeInSeconds": 2, "coreCount": 64},
                {"id": "join", "runtimeInSeconds": 0.5, "machine": "n2"},
                {"id": "mail", "runtimeInSeconds": 0},
            ],
            "machines": [
                {"nodeName": "n1", "cpu": {"coreCount": 4, "speedInMHz": 1}},
                {"nodeName": "n2"},
            ],
        },
    },
}


def flow() -> dict[str, Any]:
    """Return a copy of FLOW to spoil."""
    return copy.deepcopy(FLOW)


def older() -> dict[str, Any]:
    """Return the same workflow in version 1.4, where tasks hold their files and times."""
    spec, ran = (flow()["workflow"][key] for key in ("specification", "execution"))
    sizes = {file["id"]: file["sizeInBytes"] for file in spec["files"]}
    rows = []
    for item, run in zip(spec["tasks"], ran["tasks"], strict=True):
        files = [("input", f) for f in item.get("inputFiles", ())]
        files += [("output", f) for f in item.get("outputFiles", ())]
        row = {
            "name": item["name"],
            "type": "compute",
            "parents": item["parents"],
            "runtimeInSeconds": run["runtimeInSeconds"],
            "files": [{"link": k, "name": f, "sizeInBytes": sizes[f]} for k, f in files],
            "machine": (run.get("machines") or [run.get("machine")])[0],
            "command": run.get("command"),
        }
        if "coreCount" in run:
            row["cores"] = run["coreCount"]
        rows.append({key: value for key, value in row.items() if value is not None})
    machines = [{"nodeName": "n1", "cpu": {"count": 4}}, {"nodeName": "n2"}]
    return {
        "name": "flow",
        "schemaVersion": "1.4",
        "workflow": {"makespanInSeconds": 9, "tasks": rows, "machines": machines},
    }


def read(folder: Path, document: Any, **options: Any) -> Problem:
    path = folder / "flow.json"
    path.write_text(json.dumps(document, indent=1))
    return read_problem(path, **options)


@pytest.mark.parametrize("version", ["1.3", "1.4", "1.5", "1.6"])
def test_tasks_are_ops_and_files_tensors(tmp_path: Path, version: str) -> None:
    document = older() if version in ("1.3", "1.4") else flow()
    document["schemaVersion"] = version
    if version == "1.3":
        for row in document["workflow"]["tasks"]:
            row["runtime"] = row.pop("runtimeInSeconds")
            for file in row["files"]:
                file["size"] = file.pop("sizeInBytes")
    problem = read(tmp_path, document)
    assert problem.objective is Objective.MAKESPAN
    assert problem.graph.time_unit == "s"
    assert problem.cluster.devices == (
        Device("n1", "machine", slots=4),
        Device("n2", "machine", slots=1),
    )
    cut, left, right, join, mail = problem.ops
    assert cut.memory.output == 375_000_000
    assert cut.outputs == {"l": 125_000_000, "r": 250_000_000}
    assert left.inputs == (Input("cut", output="l"),)
    assert right.inputs == (Input("cut", output="r"),)
    assert set(join.inputs) == {Input("left", output="x"), Input("right", output="y")}
    assert mail.inputs == (Input("join", 0),)
    assert [op.slots for op in problem.ops] == [2, 1, 4, 1, 1]
    assert [dict(op.time) for op in problem.ops] == [
        {"machine": time} for time in (1.5, 2, 2, 0.5, 0)
    ]
    assert cut.attrs == {"machine": "n1"}
    assert left.type == "half"
    assert talos_opt.solve(problem, "cpsat").value <= 6.0


def test_another_cluster_runs_every_task_for_as_long(tmp_path: Path) -> None:
    cluster = Cluster((Device("a", "fast", slots=3), Device("b", "slow")))
    problem = read(tmp_path, FLOW, cluster=cluster, objective="toct")
    assert problem.cluster == cluster
    assert problem.ops[0].time == {"fast": 1.5, "slow": 1.5}
    assert problem.ops[2].slots == 3
    assert problem.objective is Objective.TOCT


def test_machines_that_only_tasks_name(tmp_path: Path) -> None:
    document = flow()
    del document["workflow"]["execution"]["machines"]
    assert read(tmp_path, document).device_ids == ("n1", "n2")


def test_a_file_that_two_tasks_write_is_read_of_the_parent(tmp_path: Path) -> None:
    document = flow()
    spoil(document, "workflow.specification.tasks.1.outputFiles", ["x", "y"])
    spoil(document, "workflow.specification.tasks.3.parents", ["right"])
    joined = read(tmp_path, document).ops[3]
    assert joined.inputs == (Input("right", output="y"), Input("left", output="x"))
    spoil(document, "workflow.specification.tasks.3.parents", [])
    spoil(document, "workflow.specification.tasks.3.inputFiles", ["y"])
    with pytest.raises(InputError, match=r"'y' is written by 2 tasks \(left, right\), expec"):
        read(tmp_path, document)


SPEC, RAN = "workflow.specification", "workflow.execution"


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("schemaVersion", "1.2", ": schemaVersion: is WfFormat '1.2', expected one of 1.3, 1.4"),
        ("schemaVersion", 2, ": schemaVersion: is WfFormat 2, expected one of"),
        ("workflow", [], ": workflow: workflow is a list, expected a mapping"),
        (RAN, DELETE, ": workflow: the workflow has no 'execution', expected run times"),
        (SPEC, DELETE, ": workflow: the workflow has no 'specification', expected tasks"),
        (f"{SPEC}.tasks", [], ": workflow: the workflow has no tasks, expected at least one"),
        (f"{SPEC}.tasks.0.id", "left", "tasks[1]: task 'left' is given twice, first as workflow.s"),
        (f"{SPEC}.tasks.0.parents", ["cut"], "has a cycle: cut -> cut, expected a DAG"),
        (f"{SPEC}.tasks.0.parents", ["join"], "has a cycle: "),
        (f"{SPEC}.tasks.0.parents", ["no"], "tasks[0].parents[0]: 'no' is not a task, expected"),
        (f"{SPEC}.tasks.0.children", [None], "tasks[0].children[0]: an entry of children is empty"),
        (f"{SPEC}.files.1", {"id": "l"}, "files[1]: an entry of files has no 'sizeInBytes'"),
        (f"{SPEC}.files.1.id", "z", "tasks[0].outputFiles[0]: file 'l' has no size, expected it"),
        (f"{SPEC}.files.1.sizeInBytes", -1, "files[1].sizeInBytes: sizeInBytes is -1, expected"),
        (f"{SPEC}.files.1.id", "r", "files[2].sizeInBytes: file 'r' has 250000000 bytes here and"),
        (f"{RAN}.tasks.1.id", "cut", "tasks[1].id: task 'cut' is given twice, expected it once"),
        (f"{RAN}.tasks.1", DELETE, "tasks[1]: task 'left' has no run time, expected it among"),
        (f"{RAN}.tasks.1.runtimeInSeconds", DELETE, "tasks[1]: task 'left' has no run time, expec"),
        (f"{RAN}.tasks.1.runtimeInSeconds", -2, "runtimeInSeconds: runtimeInSeconds is -2, expec"),
        (f"{RAN}.tasks.1.runtimeInSeconds", float("nan"), "is nan, expected a finite number"),
        (f"{RAN}.tasks.0.coreCount", -1, "tasks[0].coreCount: coreCount is -1, expected"),
        (f"{RAN}.machines.1.nodeName", "n1", "machines[1].nodeName: machine 'n1' is given twice"),
        (f"{RAN}.machines.0.cpu.coreCount", 0, "machines[0].cpu.coreCount: coreCount is 0, expec"),
    ],
)
def test_mistakes_are_named(tmp_path: Path, path: str, value: Any, message: str) -> None:
    document = flow()
    spoil(document, path, value)
    with pytest.raises(InputError) as error:
        read(tmp_path, document, format="wfformat")
    assert message in str(error.value)
    assert "flow.json" in str(error.value)


def test_a_workflow_without_tasks_or_machines(tmp_path: Path) -> None:
    empty = {"schemaVersion": "1.5", "workflow": {"specification": {}, "execution": {}}}
    with pytest.raises(InputError, match="the workflow has no tasks, expected at least one"):
        read(tmp_path, empty)
    document = older()
    del document["workflow"]["machines"]
    for row in document["workflow"]["tasks"]:
        row.pop("machine", None)
    with pytest.raises(InputError, match=r"names no machines, expected some, or a cluster file"):
        read(tmp_path, document)


@pytest.mark.skipif(not FILES.is_dir(), reason="the workflows (../shared/data/files) are absent")
def test_public_workflows(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for path in sorted(FILES.iterdir()):
        problem = read_problem(path)
        write_problem(problem, tmp_path / "again.json")
        assert read_problem(tmp_path / "again.json", objective="makespan") == problem
        assert main(["solve", str(path), "--from", "wfformat", "--solver", "heft"]) == 0
    assert "makespan" in capsys.readouterr().out
