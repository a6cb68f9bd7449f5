"""profile -> solve -> run, by the command line: equal outputs, the schedule's own transfers."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

tf = pytest.importorskip("tensorflow", reason="needs talos-opt[tensorflow]")

from talos_opt.cli.main import main  # noqa: E402
from talos_opt.formats import trace_reader  # noqa: E402
from talos_opt.frameworks import choosing  # noqa: E402
from tests.frameworks.tensorflow import nets  # noqa: E402

Capture = pytest.CaptureFixture[str]
NETS = str(Path(nets.__file__))


def solved(folder: Path, name: str, shape: str, mode: str) -> tuple[list[str], Path, dict]:
    """Profile and solve a network; a pipeline uses both devices. Returns words for ``run``."""
    words = ["tensorflow", f"{NETS}:{name}", "--input", shape, "--mode", mode]
    words += ["--logical-devices", "2"]
    graph, schedule = folder / "g.yaml", folder / "s.json"
    assert main(["profile", *words, "--max-time", "1", "-o", str(graph)]) == 0
    solve = ["solve", str(graph), "--objective", "bottleneck", "--solver", "fast"]
    assert main([*solve, "--time-limit", "2", "-o", str(schedule)]) == 0
    return words, schedule, json.loads(schedule.read_text())


@pytest.mark.parametrize(
    ("name", "shape", "mode"),
    [
        ("resnet50", "1x64x64x3", "inference"),
        ("bert", "3x12:int32:0-99", "inference"),
        ("cnn", "4x16x16x3", "inference"),
        ("cnn", "4x16x16x3", "training"),
    ],
)
def test_profile_solve_run(
    name: str, shape: str, mode: str, tmp_path: Path, capsys: Capture
) -> None:
    words, schedule, document = solved(tmp_path, name, shape, mode)
    assert {row["device"] for row in document["ops"]} == {"cpu0", "cpu1"}
    capsys.readouterr()
    trace = tmp_path / "t.json"
    options = ["--schedule", str(schedule), "--repeats", "1", "--trace", str(trace), "--json"]
    assert main(["run", *words, *options]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["outputs_equal"]
    # Transfers without bytes are sent where they stand for a control edge, and not where they say
    # that a view is done with (test_execute looks at each).
    carrying = sum(row["bytes"] > 0 for row in document["transfers"])
    assert 0 < carrying <= report["transfers"] <= len(document["transfers"])
    assert report["measured_s"] > 0
    assert report["single_device_s"] > 0
    assert json.loads(trace.read_text())["traceEvents"]
    assert trace_reader.read_trace(trace, process="cpu0").ops


def test_schedules_that_do_not_fit(tmp_path: Path, capsys: Capture) -> None:
    words, schedule, document = solved(tmp_path, "branches", "8x1024", "inference")
    other = ["tensorflow", f"{NETS}:cnn", "--input", "4x16x16x3"]
    capsys.readouterr()

    def complaint(*words: str) -> str:
        assert main(["run", *words]) == 2
        return capsys.readouterr().err

    assert "a schedule of another graph" in complaint(*other, "--schedule", str(schedule))
    one = [w for w in words if w not in ("--logical-devices", "2")]
    assert "--logical-devices is 1" in complaint(
        *one, "--logical-devices", "1", "--schedule", str(schedule)
    )
    assert "unknown device 'gpu9'" in complaint(
        *one, "--map", "gpu9=cpu", "--schedule", str(schedule)
    )
    document["ops"] = []
    empty = tmp_path / "empty.json"
    empty.write_text(json.dumps(document))
    assert "holds no schedule" in complaint(*one, "--schedule", str(empty))


def test_without_tensorflow_the_extra_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    monkeypatch.setattr(choosing, "find_spec", lambda name: None)
    assert main(["profile", "tensorflow", f"{NETS}:cnn"]) == 2
    assert "pip install tensorflow" in capsys.readouterr().err


_ALL_IN_ONE = """
import tensorflow  # first: after this, OR-Tools would crash in this process
import sys
import talos_opt
from talos_opt.frameworks.tensorflow import profile_model
from talos_opt.frameworks.tensorflow.capture import capture
from talos_opt.frameworks.tensorflow.loading import example_inputs, load_model
from talos_opt.frameworks.tensorflow.run import run_schedule

model = load_model(sys.argv[1])
inputs = example_inputs(model, ["8x1024"])
profile = profile_model(model, inputs, logical_devices=2, max_time_s=1)
result = talos_opt.solve(profile.problem(), "cpsat", time_limit=5)
report = run_schedule(capture(model, inputs), inputs, result.to_dict(), repeats=1)
print(result.status, report.outputs_equal, len(profile.ops), report.notes)
"""


def test_tensorflow_first_then_all_in_one_process() -> None:
    done = subprocess.run(
        [sys.executable, "-c", _ALL_IN_ONE, f"{NETS}:branches"],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    status, equal, ops, notes = done.stdout.split()[-4:]
    assert status in ("optimal", "feasible")
    assert (equal, ops, notes) == ("True", "22", "()")
