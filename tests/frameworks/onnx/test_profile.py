"""Profiles: times that sum to the whole, devices, and what a solver makes of them."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from threading import Event

import onnx
import pytest
from onnx import TensorProto as T
from onnx import helper as h

import talos_opt
from talos_opt.cli.main import main
from talos_opt.frameworks import choosing
from talos_opt.frameworks.common.profile import DeviceProfile, LinkProfile, Profile, Timing
from talos_opt.frameworks.common.whatif import what_if
from talos_opt.frameworks.onnx import profile_model
from talos_opt.frameworks.onnx.events import read_profile
from talos_opt.frameworks.onnx.inputs import declared_inputs, draw, parse_dims, specs_of
from talos_opt.frameworks.onnx.ops import describe_ops
from talos_opt.frameworks.onnx.reading import read_model
from talos_opt.frameworks.onnx.run import run_schedule
from tests.frameworks.onnx import nets
from tests.frameworks.onnx.nets import value, weight

Capture = pytest.CaptureFixture[str]


def profiled(made: onnx.ModelProto, folder: Path, dims: tuple = (), **options: object) -> Profile:
    source = read_model(str(nets.saved(made, folder)))
    specs = specs_of(declared_inputs(source.proto), (), parse_dims(dims))
    return profile_model(source, specs, draw(specs), max_time_s=1, **options)


@pytest.mark.parametrize("optimized", [True, False])
def test_times_sum_to_the_whole(optimized: bool, tmp_path: Path) -> None:
    profile = profiled(nets.two_branches(64), tmp_path, optimized=optimized)
    (device,) = profile.devices
    assert device.whole_s is not None
    assert profile.sum_of_ops_s("cpu") == pytest.approx(device.whole_s, rel=1e-6)
    assert all(op.timings["cpu"].repeats >= 1 for op in profile.ops)
    assert device.memory is not None
    assert profile.facts["graph"] == f"optimised {'all' if optimized else 'none'}"


def test_sessions_of_one_cpu_are_alike_and_linked(tmp_path: Path) -> None:
    profile = profiled(nets.two_branches(64), tmp_path, devices=("2xcpu",))
    assert [d.id for d in profile.devices] == ["cpu0", "cpu1"]
    assert all(op.timings["cpu0"] == op.timings["cpu1"] for op in profile.ops)
    (link,) = profile.links
    assert 0 < link.latency_s < 0.1
    assert profile.contention is not None
    assert profile.contention.factors["cpu0"] >= 1
    problem = profile.problem()
    result = talos_opt.solve(problem, "fast", time_limit=1)
    assert talos_opt.check(problem, result.schedule) == ()


def test_devices_of_the_catalogue_are_estimated(tmp_path: Path) -> None:
    profile = profiled(nets.mlp(), tmp_path, ("batch=4",), devices=("cpu", "gpu0=estimate:a100"))
    assert [(d.id, d.estimated) for d in profile.devices] == [("cpu", False), ("gpu0", True)]
    assert all(op.timings["gpu0"].estimated for op in profile.ops)
    assert profile.facts["graph"] == "optimised extended"  # what other devices run, too
    assert "model: net.onnx sha256 " in profile.problem().graph.description


def test_estimates_alone_have_the_ops_that_are_measured(tmp_path: Path) -> None:
    measured = profiled(nets.mlp(), tmp_path, ("batch=4",), devices=("cpu", "estimate:v100"))
    estimated = profiled(nets.mlp(), tmp_path, ("batch=4",), devices=("estimate:v100",))
    assert [op.id for op in estimated.ops] == [op.id for op in measured.ops]
    assert [op.flops for op in estimated.ops] == [op.flops for op in measured.ops]
    assert estimated.devices[0].whole_s is None


def test_a_loop_starts_as_many_kernels_as_ran_in_it(tmp_path: Path) -> None:
    made = nets.looping()
    source = read_model(str(nets.saved(made, tmp_path)))
    times = []
    for n in (1, 101):
        specs = specs_of(declared_inputs(source.proto), [f"n=scalar:int64:{n}-{n}"], {})
        profile = profile_model(source, specs, draw(specs), devices=("estimate:t4",))
        times.append(profile.ops[0].timings["t4"].time_s)
    assert times[1] - times[0] > 100 * 5e-6


def test_what_is_in_16_bits_stays_so_for_other_devices(tmp_path: Path) -> None:
    made = nets.model(
        [
            h.make_node("MatMul", ["x", "w"], ["a"], name="multiply"),
            h.make_node("Softmax", ["a"], ["y"], name="normalise"),
        ],
        [value("x", [4, 64], T.FLOAT16)],
        [value("y", None, T.FLOAT16)],
        [weight("w", 64, 64, dtype="float16")],
    )
    profile = profiled(made, tmp_path, devices=("cpu", "estimate:t4"))
    assert [op.id for op in profile.ops] == ["multiply", "normalise"]
    assert profile.ops[0].weights == 64 * 64 * 2
    assert profile.ops[1].facts["dtype"] == ["float16"]
    assert any("in 16 bits" in note for note in profile.notes)
    assert "fp16" in profile.problem().graph.description
    problem = profile.problem()
    schedule = talos_opt.solve(problem, time_limit=1).to_dict()
    captured = nets.captured(made, tmp_path, level="file")
    report = run_schedule(captured, draw(captured.specs), schedule, {"t4": "cpu"}, repeats=1)
    assert report.outputs_equal


def test_another_card_starts_as_many_kernels(tmp_path: Path) -> None:
    source = read_model(str(nets.saved(nets.looping(), tmp_path)))
    specs = specs_of(declared_inputs(source.proto), ["n=scalar:int64:9-9"], {})
    problem = profile_model(source, specs, draw(specs), devices=("estimate:t4",)).problem()
    times = what_if(problem, add=["gpu1=t4"]).arrays.time
    assert times[:, 0] == pytest.approx(times[:, 1])


def test_a_cancelled_profile_keeps_what_was_measured(tmp_path: Path) -> None:
    cancel = Event()
    cancel.set()
    profile = profiled(nets.mlp(), tmp_path, ("batch=4",), cancel=cancel)
    assert all("cpu" in op.timings for op in profile.ops)
    assert "stopped before" in profile.facts["measured on cpu"]
    profile.problem()


def test_threads_are_searched_for(tmp_path: Path) -> None:
    profile = profiled(nets.mlp(), tmp_path, ("batch=4",), threads="auto")
    assert profile.devices[0].threads is not None
    assert profile.devices[0].threads >= 1


def test_what_is_no_profile_of_the_runtime_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "p.json"
    path.write_text('{"traceEvents": 1}')
    with pytest.raises(talos_opt.InputError, match="is not a profile of ONNX Runtime"):
        read_profile(path)


def slices() -> onnx.ModelProto:
    """Four slices of constants of 4 MiB, joined and convolved; where they begin is an input."""
    ends = nets.array("end", [1024], "int64")
    nodes, weights = [], [ends, nets.array("axis", [3]), weight("k", 4, 4, 3, 3)]
    for k in range(4):
        weights.append(weight(f"c{k}", 1, 1, 1024, 1024))
        nodes.append(
            h.make_node("Slice", [f"c{k}", "from", "end", "axis"], [f"s{k}"], name=f"slice{k}")
        )
    nodes.append(h.make_node("Concat", ["s0", "s1", "s2", "s3"], ["j"], name="join", axis=1))
    nodes.append(h.make_node("Conv", ["j", "k"], ["y"], name="conv"))
    return nets.model(nodes, [value("from", [1], T.INT64)], [value("y", None)], weights)


def test_constants_go_to_the_only_device_that_can_read_what_becomes_of_them(tmp_path: Path) -> None:
    """onnxruntime puts shape arithmetic on the CPU, and copies the constants' slices each time."""
    captured = nets.captured(slices(), tmp_path, ["from=1:int64:0-0"], level="none")
    ops = []
    for op in describe_ops(captured):
        gpu, cpu = Timing(5e-6, 5e-6), Timing(2e-6, 2e-6)
        where = {"gpu0": gpu} if op.id == "conv" else {"gpu0": gpu, "cpu": cpu}
        ops.append(dataclasses.replace(op, timings=where))
    assert [op.weights for op in ops[:4]] == [4 * 2**20 + 16] * 4
    profile = Profile(
        "slices", "onnx", "inference", tuple(ops),
        (DeviceProfile("cpu", "cpu"), DeviceProfile("gpu0", "gpu")),
        (LinkProfile("cpu", "gpu0", 12e-6, 12e9),),
    )  # fmt: skip
    result = talos_opt.solve(profile.problem("makespan"), time_limit=5)
    assert result.status == "optimal"
    assert set(result.schedule.device.tolist()) == {1}
    assert result.value == pytest.approx(30)


def test_from_the_command_line(tmp_path: Path, capsys: Capture) -> None:
    path = nets.saved(nets.mlp(), tmp_path)
    graph, trace = tmp_path / "g.yaml", tmp_path / "t.json"
    words = ["profile", "onnx", str(path), "--dim", "batch=8", "--devices", "2xcpu"]
    code = main([*words, "--time-limit", "1", "-o", str(graph), "--trace", str(trace), "--json"])
    out, err = capsys.readouterr()
    assert (code, err) == (0, "")
    figures = json.loads(out)
    problem = talos_opt.read(graph)
    assert figures["ops"] == len(problem.ops)
    assert set(figures["devices"]) == {"cpu0", "cpu1"}
    assert figures["sum_of_ops_s"] == pytest.approx(figures["measured_s"], rel=1e-6)
    assert json.loads(trace.read_text())["traceEvents"]


@pytest.mark.parametrize("missing", ["onnx", "onnxruntime"])
def test_without_a_library_the_extra_is_named(
    missing: str, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    monkeypatch.setattr(choosing, "find_spec", lambda name: None if name == missing else name)
    assert main(["profile", "onnx", "net.onnx"]) == 2
    assert (
        f"{missing} is not installed: pip install 'onnx>=1.18' 'onnxruntime>=1.23'"
        in capsys.readouterr().err
    )
