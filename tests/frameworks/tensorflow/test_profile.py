"""Profiles: times that sum to the step, what is estimated, what is asked for wrongly."""

from __future__ import annotations

import json
from pathlib import Path
from threading import Event

import numpy as np
import pytest

tf = pytest.importorskip("tensorflow", reason="needs talos-opt[tensorflow]")

import talos_opt  # noqa: E402
from talos_opt.cli.main import main  # noqa: E402
from talos_opt.core.errors import InputError  # noqa: E402
from talos_opt.frameworks.tensorflow import measuring, profile_model  # noqa: E402
from talos_opt.frameworks.tensorflow.links import measure_links  # noqa: E402
from talos_opt.frameworks.tensorflow.loading import example_inputs, load_model  # noqa: E402
from talos_opt.frameworks.tensorflow.models import as_model  # noqa: E402
from talos_opt.frameworks.tensorflow.targets import parse_targets, strings_of  # noqa: E402
from tests.frameworks.tensorflow import nets  # noqa: E402
from tests.frameworks.tensorflow.placements import inputs_of  # noqa: E402

Capture = pytest.CaptureFixture[str]
NETS = str(Path(nets.__file__))
MODES = ("inference", "training")


@pytest.mark.parametrize("mode", MODES)
def test_times_sum_to_the_step(mode: str) -> None:
    profile = profile_model(as_model(nets.cnn()), inputs_of("cnn"), mode=mode, max_time_s=2)
    (device,) = profile.devices
    assert device.whole_s is not None
    assert profile.sum_of_ops_s("cpu") == pytest.approx(device.whole_s, rel=1e-6)
    assert not any(op.timings["cpu"].estimated for op in profile.ops)
    assert all(op.timings["cpu"].repeats >= 1 for op in profile.ops)
    assert device.memory is not None


def test_logical_devices_are_alike_and_linked() -> None:
    profile = profile_model(
        as_model(nets.branches()), inputs_of("branches"), logical_devices=2, max_time_s=1
    )
    assert [d.id for d in profile.devices] == ["cpu0", "cpu1"]
    for op in profile.ops:
        assert op.timings["cpu0"] == op.timings["cpu1"]
    (link,) = profile.links
    assert 0 <= link.latency_s < 1.0
    assert profile.contention is not None
    assert profile.contention.factors["cpu0"] == profile.contention.factors["cpu1"] >= 1
    problem = profile.problem()
    assert "times as long while all devices compute: cpu0" in problem.graph.description
    result = talos_opt.solve(problem, "fast", time_limit=1)
    assert talos_opt.check(problem, result.schedule) == ()


def test_devices_of_the_catalogue_are_estimated() -> None:
    profile = profile_model(
        as_model(nets.cnn()), inputs_of("cnn"), devices=("cpu", "gpu0=estimate:a100"), max_time_s=1
    )
    assert [(d.id, d.estimated) for d in profile.devices] == [("cpu", False), ("gpu0", True)]
    assert all(op.timings["gpu0"].estimated for op in profile.ops)
    assert any(op.timings["gpu0"].time_s > 0 for op in profile.ops)


def test_estimates_alone_measure_nothing() -> None:
    profile = profile_model(as_model(nets.cnn()), inputs_of("cnn"), devices=("estimate:v100",))
    assert profile.devices[0].estimated
    assert profile.devices[0].whole_s is None


def test_a_cancelled_profile_keeps_what_was_measured() -> None:
    cancel = Event()
    cancel.set()
    profile = profile_model(as_model(nets.cnn()), inputs_of("cnn"), cancel=cancel)
    assert all("cpu" in op.timings for op in profile.ops)
    profile.problem()


def test_an_op_without_a_kernel_has_no_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        measuring, "can_run", lambda captured, op, device: "dense" not in op or "GPU" in device
    )
    profile = profile_model(as_model(nets.branches()), inputs_of("branches"), max_time_s=1)
    able = {op.id for op in profile.ops if "cpu" in op.timings}
    assert able == {op.id for op in profile.ops if "dense" not in op.id}
    assert able
    assert profile.devices[0].whole_s is None


def test_threads_are_searched_for() -> None:
    profile = profile_model(
        as_model(nets.two_inputs()), inputs_of("two_inputs"), threads="auto", max_time_s=1
    )
    assert profile.devices[0].threads is not None
    assert profile.devices[0].threads >= 1


def test_links_between_logical_devices_cost_no_bandwidth() -> None:
    found = measure_links({"a": "/device:CPU:0", "b": "/device:CPU:1", "c": "/device:CPU:2"})
    assert [(link.a, link.b) for link in found] == [("a", "b"), ("a", "c"), ("b", "c")]
    assert all(link.bandwidth == np.inf for link in found)


def test_targets() -> None:
    found = parse_targets(["cpu", "estimate:a100"], logical_devices=3)
    assert [target.id for target in found] == ["cpu0", "cpu1", "cpu2", "a100"]
    assert strings_of(found) == {f"cpu{k}": f"/device:CPU:{k}" for k in range(3)}


@pytest.mark.parametrize(
    ("specs", "logical", "complaint"),
    [
        (["gpu:7"], None, "not available: TensorFlow finds"),
        (["tpu"], None, "device 'tpu' is unknown"),
        (["cpu:1"], None, "asked for as 2xcpu"),
        (["estimate:a100"], 2, "--logical-devices splits the CPU"),
        (["cpu", "cpu"], None, "two devices are called 'cpu'"),
    ],
)
def test_targets_that_are_not_clear(specs: list, logical: int | None, complaint: str) -> None:
    with pytest.raises(InputError, match=complaint):
        parse_targets(specs, logical)


@pytest.mark.parametrize(
    ("target", "complaint"),
    [
        ("nets", "not of the form"),
        ("no_such_module:make", "no module no_such_module"),
        (f"{NETS}:nothing", "has no nothing"),
        (f"{NETS}:broken", r"broken\(\) raised RuntimeError: no such network"),
        (f"{NETS}:number", "a int is not a model"),
        ("missing.keras", "no such file"),
    ],
)
def test_models_that_cannot_be_loaded(target: str, complaint: str) -> None:
    with pytest.raises(InputError, match=complaint):
        load_model(target)


def test_folders_and_files(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no saved_model\.pb"):
        load_model(str(tmp_path))
    made = nets.two_inputs()
    made.save(str(tmp_path / "net.keras"))
    model = load_model(str(tmp_path / "net.keras"))
    assert (model.name, model.by) == ("net", "keras")
    assert [value.shape for value in example_inputs(model, [])] == [(1, 4), (1, 4)]
    (tmp_path / "bad.keras").write_text("no model")
    with pytest.raises(InputError, match="loading it raised"):
        load_model(str(tmp_path / "bad.keras"))


def test_inputs_that_the_model_does_not_tell() -> None:
    with pytest.raises(InputError, match="give each with --input"):
        example_inputs(as_model(nets.bert()), [])
    with pytest.raises(InputError, match="does not state its inputs"):
        example_inputs(as_model(nets.twice), [])


def test_from_the_command_line(tmp_path: Path, capsys: Capture) -> None:
    graph, trace = tmp_path / "g.yaml", tmp_path / "t.json"
    code = main(
        ["profile", "tensorflow", f"{NETS}:cnn", "--input", "2x16x16x3", "--logical-devices", "2",
         "--max-time", "1", "-o", str(graph), "--trace", str(trace), "--json"]
    )  # fmt: skip
    out, err = capsys.readouterr()
    assert (code, err) == (0, "")
    figures = json.loads(out)
    problem = talos_opt.read(graph)
    assert figures["ops"] == len(problem.ops)
    assert set(figures["devices"]) == {"cpu0", "cpu1"}
    assert figures["sum_of_ops_s"] == pytest.approx(figures["measured_s"], rel=1e-6)
    assert json.loads(trace.read_text())["traceEvents"]


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["tensorflow", f"{NETS}:cnn", "--input", "2x7"], "cannot be captured"),
        (["tensorflow", f"{NETS}:bert", "--input", "3x12:int32"], "needs a range"),
        (["tensorflow", f"{NETS}:cnn", "--devices", "estimate:nothing"], "nothing"),
        (["torch", f"{NETS}:cnn", "--logical-devices", "2"], "for tensorflow, not for torch"),
        (["jax", f"{NETS}:cnn"], "invalid choice"),
    ],
)
def test_bad_input_ends_in_one_line(words: list[str], complaint: str, capsys: Capture) -> None:
    assert main(["profile", *words]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert complaint in err
    assert err.startswith("error: ")
    assert err.count("\n") == 1
