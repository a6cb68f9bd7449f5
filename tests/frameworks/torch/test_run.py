"""The report of a run, and schedules or devices that do not fit."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")

from talos_opt import formats  # noqa: E402
from talos_opt.cli.main import main  # noqa: E402
from talos_opt.core.errors import InputError  # noqa: E402
from talos_opt.core.metrics import measure  # noqa: E402
from talos_opt.formats.chrome_trace import write_schedule_trace  # noqa: E402
from talos_opt.frameworks.torch import run as run_module  # noqa: E402
from talos_opt.frameworks.torch.capture import capture  # noqa: E402
from talos_opt.frameworks.torch.captured import Captured  # noqa: E402
from talos_opt.frameworks.torch.devices import torch_devices  # noqa: E402
from talos_opt.frameworks.torch.loading import make_inputs  # noqa: E402
from talos_opt.frameworks.torch.profile import profile_module  # noqa: E402
from talos_opt.frameworks.torch.run import (  # noqa: E402
    compare_outputs,
    measured_schedule,
    run_schedule,
)
from tests.frameworks.torch import nets  # noqa: E402
from tests.frameworks.torch.synthetic import ON_CPU, moves, problem_of, random_schedule  # noqa: E402

Capture = pytest.CaptureFixture[str]
SHAPE = "2x3x16x16"
NETS = f"{Path(nets.__file__)}:branches"


@pytest.fixture(scope="module")
def captured() -> Captured:
    return capture(nets.branches(), make_inputs([SHAPE]))


@pytest.fixture(scope="module")
def document(captured: Captured) -> dict[str, Any]:
    return random_schedule(problem_of(captured), 0)


@pytest.fixture
def schedule(document: dict[str, Any], tmp_path: Path) -> Path:
    target = tmp_path / "schedule.json"
    formats.write_schedule(document, target)
    return target


def test_the_report(captured: Captured, document: dict[str, Any]) -> None:
    report = run_schedule(captured, make_inputs([SHAPE]), document, ON_CPU, repeats=3)
    assert report.outputs_equal
    assert report.notes == ()  # the profile's graph and the model have one fingerprint
    assert report.max_abs_error < 1e-5
    assert report.predicted_s == pytest.approx(document["metrics"]["makespan"] / 1e6)
    assert 0 < report.measured_s < 10
    assert 0 < report.single_device_s < 10
    assert report.transfers == len(moves(document))
    assert report.moved_bytes == document["metrics"]["transferred_bytes"]
    rows = {row["op"]: row for row in document["ops"]}
    assert {op.op for op in report.ops} == set(rows)
    for op in report.ops:
        row = rows[op.op]
        assert op.device == row["device"]
        assert op.predicted_s == pytest.approx((row["end"] - row["start"]) / 1e6)
        assert op.measured_s >= 0


def test_what_was_measured_as_a_trace(
    captured: Captured, document: dict[str, Any], tmp_path: Path
) -> None:
    report = run_schedule(captured, make_inputs([SHAPE]), document, ON_CPU, repeats=1)
    problem, schedule = measured_schedule(captured, report)
    assert measure(problem, schedule).makespan <= report.measured_s * 1e6
    target = tmp_path / "trace.json"
    write_schedule_trace(problem, schedule, target)
    events = json.loads(target.read_text())["traceEvents"]
    kinds = [event.get("cat", "").split(",") for event in events]
    assert sum("op" in kind for kind in kinds) == len(document["ops"])
    assert sum("transfer" in kind for kind in kinds) == len(moves(document))


def test_a_schedule_of_estimates_fits_the_model() -> None:
    with torch.device("meta"):
        module = nets.several()
    devices = ("gpu0=estimate:a100", "gpu1=estimate:a100")
    given = make_inputs(["2x6x8"], "meta")
    profile = profile_module(module, given, mode="training", devices=devices)
    document = random_schedule(profile.problem(), 1)
    inputs = make_inputs(["2x6x8"])
    here = capture(nets.several(), inputs, "training")
    report = run_schedule(here, inputs, document, ON_CPU, repeats=1)
    assert report.outputs_equal
    assert report.notes == ()  # the graphs have one fingerprint
    assert report.transfers == len(moves(document))
    assert report.moved_bytes == document["metrics"]["transferred_bytes"]
    larger = capture(nets.several(), (other := make_inputs(["3x6x8"])), "training")
    (note,) = run_schedule(larger, other, document, ON_CPU, repeats=1).notes
    assert "profiled with inputs 2x6x8:float32, and the model runs on 3x6x8:float32" in note
    problem, schedule = measured_schedule(here, report)
    assert len(schedule.transfers) == report.transfers
    assert {t.output for t in schedule.named_transfers(problem)} > {""}


def test_a_schedule_in_which_picks_are_ops(captured: Captured, document: dict[str, Any]) -> None:
    row = document["ops"][0]
    older = document | {"ops": [*document["ops"], row | {"op": "getitem"}]}
    with pytest.raises(InputError, match="'getitem' is an op: now it is a tensor of op '_native"):
        run_schedule(captured, make_inputs([SHAPE]), older, ON_CPU)


def renamed(document: dict[str, Any], old: str, new: str) -> dict[str, Any]:
    ops = [row | {"op": new} if row["op"] == old else row for row in document["ops"]]
    return document | {"ops": ops}


def test_a_schedule_of_another_graph(captured: Captured, document: dict[str, Any]) -> None:
    inputs = make_inputs([SHAPE])
    first = document["ops"][0]["op"]
    with pytest.raises(InputError, match=f"another graph: op 0 of the model, '{first}'"):
        run_schedule(captured, inputs, renamed(document, first, "other"), ON_CPU)
    more = document | {"ops": [*document["ops"], document["ops"][0] | {"op": "more"}]}
    with pytest.raises(InputError, match="another graph: the model has no op 'more'"):
        run_schedule(captured, inputs, more, ON_CPU)
    two = document | {"ops": [*document["ops"], document["ops"][0] | {"model": "b"}]}
    with pytest.raises(InputError, match="a schedule of 2 models"):
        run_schedule(captured, inputs, two, ON_CPU)
    none = document | {"ops": [], "status": "infeasible"}
    with pytest.raises(
        InputError, match="the file holds no schedule: ops is empty, status is 'infeasible'"
    ):
        run_schedule(captured, inputs, none, ON_CPU)


@pytest.mark.parametrize(
    ("names", "given", "message"),
    [
        (["npu7"], {}, "it is unclear which torch device 'npu7' is"),
        (["gpu99"], {}, "would be cuda:99, but torch finds"),
        (["gpu0"], {"gpu0": "warp"}, "'warp', which is not a torch device"),
        (["gpu0"], {"gpu0": "meta"}, "'meta', expected cpu or cuda:N"),
        (["gpu0"], {"gpu0": "cuda:99"}, "mapped to 'cuda:99', but torch finds"),
    ],
)
def test_devices_that_are_not_there(names: list[str], given: dict[str, str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        torch_devices(names, given)


def test_outputs_that_differ() -> None:
    a = torch.tensor([1.0, float("nan"), float("inf")])
    assert compare_outputs([a, 3, None], [a.clone(), 3, None]) == (0.0, True)
    assert compare_outputs([a], [torch.tensor([1.0, 2.0, float("inf")])])[1] is False
    error, equal = compare_outputs([torch.ones(3)], [torch.tensor([1.0, 1.0, 1.25])])
    assert (error, equal) == (0.25, False)
    assert compare_outputs([torch.tensor([1, 2])], [torch.tensor([1, 3])]) == (1.0, False)
    assert compare_outputs([torch.ones(2)], [torch.ones(3)]) == (math.inf, False)
    assert compare_outputs([1], []) == (0.0, False)


@pytest.mark.filterwarnings("ignore:ComplexHalf")
@pytest.mark.parametrize(
    "name", ["bfloat16", "float16", "float8_e4m3fn", "float64", "complex32", "complex64", "uint8"]
)
def test_outputs_of_types_that_numpy_has_or_lacks(name: str) -> None:
    dtype = getattr(torch, name)
    a, b = (torch.tensor([1.0, k]).to(dtype).requires_grad_(name == "bfloat16") for k in (2.0, 4.0))
    assert compare_outputs([a], [a.clone()]) == (0.0, True)
    assert compare_outputs([a], [b]) == (2.0, False)
    other = torch.tensor([1, 2], dtype=torch.int16)
    assert compare_outputs([a], [other])[1] is False


def test_outputs_that_are_views() -> None:
    a = torch.tensor([1 + 2j, 3 - 1j])
    assert compare_outputs([a.conj()], [torch.tensor([1 - 2j, 3 + 1j])]) == (0.0, True)
    assert compare_outputs([a.conj().imag], [torch.tensor([-2.0, 1.0])]) == (0.0, True)


def run(*argv: object) -> int:
    return main(["run", "torch", *map(str, argv)])


def test_the_command(capsys: Capture, schedule: Path, tmp_path: Path) -> None:
    trace = tmp_path / "trace.json"
    options = ("--schedule", schedule, "--input", SHAPE, "--repeats", 2, "--threads", 1)
    mapped = ("--map", "gpu0=cpu,gpu1=cpu")
    assert run(NETS, *options, *mapped, "--trace", trace, "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert list(found) == [
        "outputs_equal", "max_abs_error", "predicted_s", "measured_s", "single_device_s",
        "transfers", "spread", "others",
    ]  # fmt: skip
    assert found["outputs_equal"] is True
    assert json.loads(trace.read_text())["traceEvents"]
    assert run(NETS, *options, *mapped) == 0
    text = capsys.readouterr().out
    assert text.startswith("outputs        equal\n")
    assert "longest ops" in text


def test_differing_outputs_are_exit_code_1(
    capsys: Capture, schedule: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_module, "compare_outputs", lambda *_, **__: (0.5, False))
    mapped = ("--map", "gpu0=cpu,gpu1=cpu")
    assert run(NETS, "--schedule", schedule, "--input", SHAPE, *mapped, "--json") == 1
    captured = capsys.readouterr()
    assert json.loads(captured.out)["outputs_equal"] is False
    assert captured.err == "error: the outputs differ from the plain model's, by up to 0.5\n"


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        ((), "give each with --input"),
        (("--input", "2x3x0"), "has no elements"),
        (("--input", "2x4x16x16"), "does not run on inputs 2x4x16x16"),
        (("--input", SHAPE, "--map", "gpu0"), "NAME=VALUE"),
        (("--input", SHAPE, "--map", "gpu0=cpu,gpu1=tape"), "'tape', which is not a torch device"),
        (("--input", SHAPE, "--map", "gpu5=cpu"), "unknown device 'gpu5'"),
        (("--input", SHAPE, "--mode", "training", "--map", "gpu0=cpu,gpu1=cpu"), "another graph"),
        (("--input", SHAPE, "--trace", "/nowhere/trace.json"), "no folder"),
    ],
)
def test_bad_input(capsys: Capture, schedule: Path, argv: tuple[str, ...], message: str) -> None:
    assert run(NETS, "--schedule", schedule, *argv) == 2
    captured = capsys.readouterr()
    assert message in captured.err
    assert captured.out == ""
