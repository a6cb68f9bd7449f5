"""What the runtime placed by itself, from its profile, beside a schedule of ours."""

from __future__ import annotations

import json
from pathlib import Path
from typing import NamedTuple

import onnxruntime
import pytest

import talos_opt
from talos_opt.cli.main import main
from tests.frameworks.onnx import nets
from tests.frameworks.onnx.test_exporting import inputs

Capture = pytest.CaptureFixture[str]


class Files(NamedTuple):
    """A graph for a CPU and a GPU, a schedule of it, and a profile of a session on the CPU."""

    graph: Path
    schedule: Path
    profile: Path


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    folder = tmp_path_factory.mktemp("ran")
    path = nets.saved(nets.two_branches(32, 2, 4), folder)
    graph, schedule = folder / "g.json", folder / "s.json"
    words = ["--devices", "host=estimate:xeon-8480+,gpu0=estimate:t4", "--no-optimized"]
    assert main(["profile", "onnx", str(path), *words, "-o", str(graph)]) == 0
    solve = ["solve", str(graph), "--objective", "makespan", "--time-limit", "1"]
    assert main([*solve, "-o", str(schedule)]) == 0
    options = onnxruntime.SessionOptions()
    options.enable_profiling = True
    options.profile_file_prefix = str(folder / "ran")
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    for _ in range(3):
        session.run(None, inputs())
    return Files(graph, schedule, Path(session.end_profiling()))


def with_gpu(files: Files, target: Path, *ops: str, gone: str = "") -> Path:
    """Write the profile as if some ops had run on a GPU, and one not at all."""
    events = json.loads(files.profile.read_text())
    kept = [event for event in events if not gone or not event["name"].startswith(f"{gone}_")]
    for event in kept:
        if event["name"].removesuffix("_kernel_time") in ops:
            event["args"]["provider"] = "CUDAExecutionProvider"
    target.write_text(json.dumps(kept))
    return target


def check(files: Files, profile: Path, *words: str) -> int:
    words = ("check", str(files.graph), str(files.schedule), "--ran", str(profile), *words)
    return main(list(words))


def test_the_placement_that_ran_has_its_value_under_the_graph(
    files: Files, tmp_path: Path, capsys: Capture
) -> None:
    profile = with_gpu(files, tmp_path / "p.json", "b.0", "b.act0", "b.1", "b.act1")
    target = tmp_path / "ran.json"
    assert check(files, profile, "-o", str(target), "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["feasible"]
    assert found["ran"]["ops"] == {"host": 5, "gpu0": 4}
    assert found["ran"]["elsewhere"] == 4
    assert found["ran"]["missing"] == found["ran"]["violations"] == []
    assert 0 < found["ran"]["measured_s"] < 1
    assert found["ran"]["value"] > found["value"]  # both branches would do better on the CPU
    problem = talos_opt.read(files.graph)
    written = json.loads(target.read_text())
    assert {row["op"]: row["device"] for row in written["ops"]}["b.0"] == "gpu0"
    assert written["value"] == pytest.approx(found["ran"]["value"])
    capsys.readouterr()
    assert main(["check", str(files.graph), str(target)]) == 0
    assert len(problem.ops) == 9


def test_it_is_printed_beside_ours(files: Files, tmp_path: Path, capsys: Capture) -> None:
    profile = with_gpu(files, tmp_path / "p.json", "join", gone="b.act1")
    assert check(files, profile) == 0
    out = capsys.readouterr().out
    assert out.startswith("feasible\n")
    assert "1 of 9 ops ran elsewhere; measured " in out
    assert "and so where what they read is: 1 of the ops, b.act1" in out
    assert "host 8, gpu0 1" in out


def test_what_does_not_fit(files: Files, tmp_path: Path, capsys: Capture) -> None:
    def complaint(profile: Path, *words: str) -> str:
        capsys.readouterr()
        assert check(files, profile, *words) == 2
        out, err = capsys.readouterr()
        assert (out, err.count("\n")) == ("", 1)
        return err

    strange = tmp_path / "strange.json"
    strange.write_text(files.profile.read_text().replace("b.", "c.").replace("a.", "d."))
    assert "the profile has 1 of the graph's 9 ops" in complaint(strange)
    assert "is not a profile of ONNX Runtime" in complaint(files.graph)
    assert "'gpu7' is not a device of the graph: host, gpu0" in complaint(
        files.profile, "--map", "CPUExecutionProvider=gpu7"
    )
    assert "'CUDAExecutionprovider', where no op ran: there are CPUExecutionProvider" in complaint(
        files.profile, "--map", "CUDAExecutionprovider=gpu0"
    )
    strange.write_text("[" * 100_000)
    assert "nested too deeply" in complaint(strange)
    assert "none.json: cannot be read: No such file" in complaint(tmp_path / "none.json")
    assert main(["check", str(files.graph), str(files.schedule), "-o", "x.json"]) == 2
    assert "-o needs --ran PROFILE" in capsys.readouterr().err


def test_a_provider_that_the_graph_has_no_device_for(
    files: Files, tmp_path: Path, capsys: Capture
) -> None:
    document = json.loads(files.graph.read_text().replace('"gpu0": ', '"gone": '))
    document["cluster"]["devices"] = document["cluster"]["devices"][:1]
    document["cluster"].pop("links")
    graph, schedule = tmp_path / "g.json", tmp_path / "s.json"
    graph.write_text(json.dumps(document))
    other = files._replace(graph=graph, schedule=schedule)
    for op in document["models"][0]["ops"]:
        op["time"].pop("gone")
    graph.write_text(json.dumps(document))
    assert main(["solve", str(graph), "--time-limit", "1", "-o", str(schedule)]) == 0
    profile = with_gpu(files, tmp_path / "p.json", "join")
    capsys.readouterr()
    assert check(other, profile) == 2
    assert "it is unclear which device CUDAExecutionProvider is" in capsys.readouterr().err
