"""Profiles: timings, calibration, devices, and the way from a model to a schedule."""

from __future__ import annotations

import json
import math
import subprocess
import sys
import threading
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="needs talos-opt[torch]")

import talos_opt  # noqa: E402
from talos_opt.cli.main import main  # noqa: E402
from talos_opt.core.errors import InputError  # noqa: E402
from talos_opt.frameworks.common.measuring import Budget  # noqa: E402
from talos_opt.frameworks.torch import profile_module  # noqa: E402
from talos_opt.frameworks.torch.capture import capture  # noqa: E402
from talos_opt.frameworks.torch.execute import alone  # noqa: E402
from talos_opt.frameworks.torch.handover import chain  # noqa: E402
from talos_opt.frameworks.torch.links import measure_links  # noqa: E402
from talos_opt.frameworks.torch.targets import parse_targets  # noqa: E402
from talos_opt.frameworks.torch.timing import measure  # noqa: E402
from tests.clocks import Stopwatch  # noqa: E402
from tests.frameworks.torch import nets  # noqa: E402
from tests.frameworks.torch.test_capture import MODES, image, tokens  # noqa: E402

NETS = "tests.frameworks.torch.nets"


@pytest.mark.parametrize("mode", MODES)
def test_the_ops_sum_to_the_measured_whole(mode: str) -> None:
    profile = profile_module(nets.branches(), (image(),), mode=mode, max_time_s=5, threads=1)
    (device,) = profile.devices
    assert device.whole_s is not None
    assert device.threads == 1
    assert device.step_s is not None
    assert profile.sum_of_ops_s("cpu") == pytest.approx(device.step_s)
    raw = sum(op.timings["cpu"].raw_s for op in profile.ops)
    starting = device.launch_s * len(profile.ops)
    assert raw * device.factor + starting == pytest.approx(device.step_s)
    assert 0 < starting < device.step_s
    assert all(op.timings["cpu"].repeats >= 3 for op in profile.ops)
    assert all(op.workspace_estimated for op in profile.ops)


@pytest.mark.timing
def test_resnet50_is_profiled_within_its_time() -> None:
    watch = Stopwatch()
    profile = profile_module(nets.resnet50(), (image(1, 64),), max_time_s=6, threads=1)
    watch.check(40)
    (device,) = profile.devices
    assert profile.sum_of_ops_s("cpu") == pytest.approx(device.step_s)
    assert device.step_s == pytest.approx(device.whole_s, rel=0.5)


@pytest.mark.timing
def test_the_sum_is_near_the_whole_even_before_calibration() -> None:
    captured = capture(nets.googlenet_like(), (image(4, 64),))
    measured = measure(captured, torch.device("cpu"), (image(4, 64),), Budget(4))
    assert measured.whole_s is not None
    assert 0.3 < measured.sum_s / measured.whole_s < 3


def test_times_too_short_for_the_timer_are_marked() -> None:
    captured = capture(nets.branches(), (image(),))
    measured = measure(captured, torch.device("cpu"), (image(),), Budget(2), rounds=3)
    measured.resolution_s = math.inf
    assert all(measured.too_short(op) for op in measured.ops)


def test_what_was_not_reached_counts_as_estimated() -> None:
    profile = profile_module(nets.branches(), (image(),), max_time_s=1e-9)
    assert all(op.timings["cpu"].estimated for op in profile.ops)
    assert "stopped" in profile.facts["measured on cpu"]
    profile.problem()


def test_a_cancelled_profile_keeps_what_there_is() -> None:
    cancel = threading.Event()
    cancel.set()
    profile = profile_module(nets.branches(), (image(),), cancel=cancel)
    assert len(profile.ops) == len(capture(nets.branches(), (image(),)).ops())


def test_devices_that_are_not_there() -> None:
    profile = profile_module(
        nets.branches(), (image(),), devices=("gpu0=estimate:a100", "cpu"), max_time_s=2
    )
    assert [(d.id, d.kind, d.estimated) for d in profile.devices] == [
        ("gpu0", "gpu", True),
        ("cpu", "cpu", False),
    ]
    assert all(op.timings["gpu0"].estimated for op in profile.ops)
    problem = profile.problem()
    assert problem.cluster.routes["cpu", "gpu0"] is not None


def test_several_logical_devices_on_one_processor() -> None:
    profile = profile_module(nets.branches(), (image(),), devices=("2xcpu",), max_time_s=2)
    assert [d.id for d in profile.devices] == ["cpu0", "cpu1"]
    assert profile.contention is not None
    assert profile.contention.lock_s >= 0
    for known in (profile.contention.whole, profile.contention.factors):
        assert set(known) == {"cpu0", "cpu1"}
        assert known["cpu0"] == known["cpu1"] >= 1
    result = talos_opt.solve(profile.problem(), solver="heft")
    assert result.schedule is not None


def test_a_meta_model_is_estimated_but_not_measured() -> None:
    pytest.importorskip("transformers")
    with torch.device("meta"):
        module = nets.llama(layers=3)
    inputs = (tokens().to("meta"),)
    profile = profile_module(module, inputs, devices=("estimate:a100", "estimate:t4"))
    assert {d.id for d in profile.devices} == {"a100", "t4"}
    result = talos_opt.solve(profile.problem(), solver="heft")
    assert result.schedule is not None
    with pytest.raises(InputError, match="on the meta device, so the model cannot be measured"):
        profile_module(module, inputs)


@pytest.mark.parametrize(
    ("devices", "complaint"),
    [
        (("tpu9",), "device 'tpu9' is unknown"),
        (("cuda:97",), "device 'cuda:97' is not available"),
        (("estimate:abacus",), "catalogue has no device 'abacus'"),
        (("cpu", "cpu"), "two devices are called 'cpu'"),
        (("mps",), "cannot be measured"),
        (("=cpu",), "not of the form"),
        (("0xcpu",), "not of the form"),
        ((), "no device is given"),
    ],
)
def test_devices_that_are_not_clear(devices: tuple[str, ...], complaint: str) -> None:
    with pytest.raises(InputError, match=complaint):
        parse_targets(devices)


def test_threads_are_found_and_set_back() -> None:
    before = torch.get_num_threads()
    profile = profile_module(nets.branches(), (image(),), threads="auto", max_time_s=4)
    assert profile.devices[0].threads is not None
    assert torch.get_num_threads() == before
    with pytest.raises(InputError, match="expected a whole number or auto"):
        profile_module(nets.branches(), (image(),), threads="many")


def test_memory_that_is_shared_costs_no_more_than_telling_another_thread() -> None:
    cpu = torch.device("cpu")
    links = measure_links({"a": cpu, "b": cpu, "c": cpu})
    assert [(link.a, link.b) for link in links] == [("a", "b"), ("a", "c"), ("b", "c")]
    assert len({link.latency_s for link in links}) == 1  # measured once
    assert links[0].latency_s >= 0
    assert all(link.bandwidth == math.inf for link in links)
    assert measure_links({"a": cpu}) == ()


def test_between_processes_bytes_take_time() -> None:
    cpu = torch.device("cpu")
    links = measure_links({"a": cpu, "b": cpu, "c": cpu}, processes=True)
    assert len({(link.latency_s, link.bandwidth) for link in links}) == 1  # measured once
    assert 1e-6 < links[0].latency_s < 1
    assert 1e6 < links[0].bandwidth < 1e12


def test_a_chain_is_a_model_like_any_other() -> None:
    captured = chain(5)
    executor = alone(captured, torch.device("cpu"), captured.flat_values([torch.tensor([-2.0])]))
    run = executor.run()
    assert len(run.ops) == 5
    assert run.outputs == captured.reference([torch.tensor([-2.0])]) == [0.0]
    assert run.wall_s == pytest.approx(run.ops[-1].end_s - run.ops[0].start_s)


def test_from_the_command_line_to_a_schedule(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    graph, trace = tmp_path / "graph.yaml", tmp_path / "trace.json"
    argv = ["profile", "torch", f"{NETS}:branches", "--input", "2x3x16x16", "--max-time", "3"]
    argv += ["--devices", "cpu,gpu0=estimate:t4", "-o", str(graph), "--trace", str(trace)]
    assert main([*argv, "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert list(printed) == ["ops", "calibration", "measured_s", "sum_of_ops_s", "devices"]
    cpu, sheet = printed["devices"].values()
    assert printed["sum_of_ops_s"] == pytest.approx(cpu["step_s"])
    assert sheet["step_s"] is None
    assert list(printed["devices"]) == ["cpu", "gpu0"]
    problem = talos_opt.read(graph)
    assert problem.graph.op_count == printed["ops"]
    assert talos_opt.solve(problem, solver="heft").schedule is not None
    bars = [e for e in json.loads(trace.read_text())["traceEvents"] if e["ph"] == "X"]
    assert len(bars) == printed["ops"]
    assert main(argv) == 0
    assert "calibration" in capsys.readouterr().out


def test_training_from_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    graph = tmp_path / "graph.yaml"
    argv = ["profile", "torch", f"{NETS}:tied", "--input", "2x8:int64:0-49", "--mode", "training"]
    assert main([*argv, "--max-time", "3", "--devices", "2xcpu", "-o", str(graph)]) == 0
    assert "times as long while all devices compute: cpu0 " in capsys.readouterr().out
    assert talos_opt.solve(talos_opt.read(graph), solver="heft").schedule is not None


@pytest.mark.parametrize(
    ("target", "given", "devices", "complaint"),
    [
        ("nope:make", "2x3", "cpu", "there is no module nope"),
        (f"{NETS}:number", "2x3", "cpu", "expected a torch.nn.Module"),
        (f"{NETS}:broken", "2x3", "cpu", "no weights today"),
        (f"{NETS}:branches", "2x4x8x8", "cpu", "does not run on inputs 2x4x8x8"),
        (f"{NETS}:branches", "2x4:int64", "cpu", "needs a range"),
        (f"{NETS}:picky", "2x4", "cpu", "if y.sum() > 0"),
        (f"{NETS}:branches", "2x3x8x8", "gpu", "device 'gpu' is unknown"),
    ],
)
def test_bad_input_is_one_message_and_code_2(
    target: str, given: str, devices: str, complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    argv = ["profile", "torch", target, "--input", given, "--devices", devices, "--json"]
    assert main(argv) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("error: ")
    assert complaint in captured.err


def test_torch_is_imported_only_when_it_is_used() -> None:
    code = (
        "import sys, talos_opt, talos_opt.frameworks.torch\n"
        "from talos_opt.cli.main import main\n"
        "main(['profile', '--help'])\n"
        "sys.exit('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
    assert done.returncode == 0, done.stderr


def test_without_torch_the_error_says_what_to_install() -> None:
    code = (
        "import sys\n"
        "sys.modules['torch'] = None\n"
        "from talos_opt.cli.main import main\n"
        "sys.exit(main(['profile', 'torch', 'a:b']))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "pip install 'torch>=2.13'" in done.stderr
