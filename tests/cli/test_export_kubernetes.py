"""``export --to kubernetes``: options, what is written and said, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from talos_opt.cli.main import main
from tests.cli.process import FIG1

Capture = pytest.CaptureFixture[str]
BOTH = ("--image", "i:1", "--run", "m1=torch nets:a", "--run", "m2=onnx 'my net.onnx'")


@pytest.fixture(scope="module")
def schedule(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("kubernetes") / "schedule.json"
    assert main(["solve", str(FIG1), "--solver", "aswm", "-o", str(path)]) == 0
    return path


def export(*argv: object, to: str = "kubernetes") -> int:
    return main(["export", str(FIG1), *map(str, argv), "--to", to])


def test_jobs_run_what_is_said_with_their_own_schedule(
    schedule: Path, tmp_path: Path, capsys: Capture
) -> None:
    target = tmp_path / "jobs.yaml"
    capsys.readouterr()
    assert export(schedule, *BOTH, "-o", target, "--shares", "hami", "--map", "cpu0=n,gpu0=n") == 0
    assert capsys.readouterr().out == f"{target}: 2 ConfigMaps, 2 Jobs\n"
    objects: list[dict[str, Any]] = list(yaml.safe_load_all(target.read_text()))
    args = objects[3]["spec"]["template"]["spec"]["containers"][0]["args"]
    assert args[:2] == ["onnx", "my net.onnx"]
    own = tmp_path / "own.json"
    own.write_text(objects[2]["data"]["schedule.json"])
    assert {row["model"] for row in json.loads(own.read_text())["ops"]} == {"m2"}


def test_the_plan_of_the_only_model_needs_no_name(
    schedule: Path, tmp_path: Path, capsys: Capture
) -> None:
    graph, plan = tmp_path / "one.json", tmp_path / "plan.json"
    device = {"id": "cpu0", "kind": "cpu"}
    ops = [{"id": "a", "time": {"cpu": 1}}]
    document = {"schema": "talos-graph/1", "cluster": {"devices": [device]}, "ops": ops}
    graph.write_text(json.dumps(document))
    assert main(["solve", str(graph), "--solver", "single", "-o", str(plan)]) == 0
    capsys.readouterr()
    words = ("--image", "i", "--run", "torch nets:net --input x=3")
    code = main(["export", str(graph), str(plan), "--to", "kubernetes", *words, "-o", "-"])
    assert code == 0
    assert [item["kind"] for item in yaml.safe_load_all(capsys.readouterr().out)] == [
        "ConfigMap",
        "Job",
    ]


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (BOTH[2:], "kubernetes needs the image that Jobs run"),
        (BOTH[:4], "it is not said what model 'm2' runs"),
        (("--image", "i", "--run", "torch nets:a"), "has 2 models, expected --run 'm1=torch nets"),
        (("--image", "i", "--run", "m3=torch nets:a"), "--run names model 'm3', expected one of"),
        ((*BOTH, "--run", "m1=torch nets:b"), "--run is given twice for model 'm1'"),
        (("--image", "i", "--run", "m1=torch 'nets"), "cannot be read: No closing quotation"),
        ((*BOTH, "--map", "gpu7=n"), "gpu7"),
        ((*BOTH, "--model", "net.onnx"), "--model is of no use for kubernetes"),
    ],
)
def test_what_is_missing_or_wrong_is_said_in_one_line(
    argv: tuple[str, ...], message: str, schedule: Path, tmp_path: Path, capsys: Capture
) -> None:
    capsys.readouterr()
    target = tmp_path / "jobs.yaml"
    assert export(schedule, *argv, "-o", target) == 2
    error = capsys.readouterr().err
    assert message in error
    assert len(error.splitlines()) == 1
    assert not target.exists()


@pytest.mark.parametrize("argv", [("--image", "i"), ("--run", "x"), ("--shares", "hami")])
def test_other_forms_run_no_jobs(
    argv: tuple[str, ...], schedule: Path, tmp_path: Path, capsys: Capture
) -> None:
    capsys.readouterr()
    assert export(schedule, *argv, "-o", tmp_path / "x.json", to="layer-ranges") == 2
    assert f"{argv[0]} is of what Jobs run, not of layer-ranges" in capsys.readouterr().err
