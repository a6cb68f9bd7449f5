"""Steps of a trace, who launched what in doubt, unknown devices, and how long a device waits."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from talos_opt.analysis.speedups import compare
from talos_opt.core.errors import FormatError
from talos_opt.formats.trace_reader import Trace, read_trace
from talos_opt.formats.trace_rows import Unread
from talos_opt.formats.trace_steps import Idle
from tests.formats.test_trace_reader import bar, read, rows

FILES = Path(__file__).resolve().parents[3] / "shared" / "data" / "files"
GPU: dict[str, Any] = {"pid": 0, "tid": 3}


def launch(ts: float, correlation: int, name: str = "cudaLaunchKernel", **more: Any) -> Any:
    return bar(name, ts, 1, "cuda_runtime", args={"correlation": correlation}, **more)


def kernel(ts: float, dur: float, correlation: int, external: int = 0, **more: Any) -> Any:
    args = {"correlation": correlation, "External id": external}
    return bar("k", ts, dur, "kernel", args=args, **GPU | more)


def in_steps(trace: Trace) -> list[tuple[str, list[str]]]:
    return [(step.name, [op.name for op in step.ops]) for step in trace.steps]


@pytest.mark.parametrize("category", ["Operator", "cpu_op", "user_annotation"])
def test_marks_of_steps_are_no_ops(tmp_path: Path, category: str) -> None:
    ops = "Operator" if category == "Operator" else "cpu_op"
    trace = read(
        tmp_path,
        [
            bar("aten::randn", 0, 5, ops),
            bar("ProfilerStep#3", 10, 20, category),
            bar("aten::add", 11, 5, ops),
            bar("Optimizer.step#SGD.step", 20, 9, category),
            bar("aten::mul_", 21, 5, ops),
            bar("ProfilerStep#4", 30, 20, category),
            bar("aten::add", 31, 7, ops),
            bar("backward", 39, 3, ops, tid=8),  # a step holds the ops of all threads
        ],
    )
    assert in_steps(trace) == [
        ("ProfilerStep#3", ["aten::add", "aten::mul_"]),
        ("ProfilerStep#4", ["aten::add", "backward"]),
    ]
    assert [step.duration_us for step in trace.steps] == [20, 20]
    assert trace.total_us == 25
    assert trace.outside_steps == (1, 5)


def test_what_stands_around_operators_does_not_swallow_them(tmp_path: Path) -> None:
    events = [
        bar("my model", 0, 50, "Operator"),
        bar("aten::linear", 1, 10, "Operator"),
        bar("aten::addmm", 2, 8, "Operator"),
        bar("AddmmBackward", 20, 20, "Operator"),  # a node of the backward pass is an op
        bar("aten::mm", 21, 5, "Operator"),
        bar("aten::mm", 30, 5, "Operator"),
    ]
    assert rows(read(tmp_path, events)) == [("aten::linear", 10, 1), ("AddmmBackward", 20, 1)]
    path = tmp_path / "trace.json"
    apart = read_trace(path, apart=True)
    assert [op.name for op in apart.ops] == ["aten::linear", "aten::mm", "aten::mm"]


def test_a_scope_keeps_the_kernels_that_no_op_in_it_launched(tmp_path: Path) -> None:
    trace = read(
        tmp_path,
        [
            bar("Torch-Compiled Region: 0/0", 0, 30),
            bar("aten::mm", 1, 5),
            launch(2, 1),
            launch(12, 2),  # a fused kernel that no operator stands for
            kernel(20, 4, 1),
            kernel(24, 9, 2),
        ],
    )
    assert rows(trace) == [("Torch-Compiled Region: 0/0", 9, 1), ("aten::mm", 4, 1)]
    assert trace.unattributed_us == 0


def test_steps_that_a_user_numbered(tmp_path: Path) -> None:
    events = [
        bar("train_step#0", 0, 10, "user_annotation"),
        bar("aten::add", 1, 2),
        bar("train_step#1", 10, 10, "user_annotation"),
        bar("aten::add", 11, 2),
    ]
    assert [step.name for step in read(tmp_path, events).steps] == ["train_step#0", "train_step#1"]
    events[2]["ts"] = 5  # they overlap, so they are not steps one after the other
    assert read(tmp_path, events).steps == ()


def test_nesting_is_believed_before_an_external_id(tmp_path: Path) -> None:
    ops = [
        bar("aten::conv2d", 0, 10, args={"External id": 1}),
        bar("aten::relu", 12, 10, args={"External id": 2}),
    ]
    trace = read(tmp_path, [*ops, launch(3, 7), kernel(20, 5, 7, external=2)])
    assert rows(trace) == [("aten::conv2d", 5, 1), ("aten::relu", 0, 0)]
    assert trace.doubted == 1
    # The same id twice: the launch decides; without one the last op to begin before it.
    ops[1]["args"] = {"External id": 1}
    trace = read(tmp_path, [*ops, launch(3, 7), kernel(20, 5, 7, external=1)])
    assert rows(trace)[0] == ("aten::conv2d", 5, 1)
    trace = read(tmp_path, [*ops, kernel(30, 5, 7, external=1)])
    assert rows(trace)[1] == ("aten::relu", 5, 1)


def test_clocks_of_launches_may_be_a_little_off(tmp_path: Path) -> None:
    ops = [bar("aten::add", 0, 5, args={"External id": 1})]
    trace = read(tmp_path, [*ops, launch(12, 7), kernel(20, 4, 7, external=1)])
    assert (rows(trace), trace.doubted) == ([("aten::add", 4, 1)], 0)
    other = [bar("b", 90, 1), launch(90.5, 8), kernel(95, 1, 8)]
    far = read(tmp_path, [*ops, launch(50, 7), kernel(60, 4, 7, external=1), *other])
    assert (rows(far)[0], far.doubted) == (("aten::add", 0, 0), 1)
    assert (far.unattributed_us, far.outside_us) == (4, 0)
    plain = read(tmp_path, [*ops, launch(2, 7), kernel(20, 4, 7)])
    assert (rows(plain), plain.doubted) == ([("aten::add", 4, 1)], 0)


def test_a_kernel_does_not_end_before_its_op_begins(tmp_path: Path) -> None:
    ops = [bar("aten::add", 0, 5, args={"External id": 1}), bar("aten::mul", 50, 9, args={})]
    ops[1]["args"] = {"External id": 2}
    trace = read(tmp_path, [*ops, kernel(6, 4, 0, external=1), kernel(20, 3, 0, external=2)])
    assert rows(trace) == [("aten::add", 4, 1), ("aten::mul", 0, 0)]
    assert trace.outside_us == trace.unattributed_us == 3
    assert trace.kernels_us == 7


def test_what_was_launched_outside_the_trace_is_distinguished(tmp_path: Path) -> None:
    trace = read(
        tmp_path,
        [
            bar("aten::add", 0, 5),
            launch(1, 1),
            launch(8, 2, "cudaGraphLaunch"),  # between ops
            kernel(10, 4, 1),
            kernel(14, 3, 2),
            kernel(17, 1, 99),  # its launch is not here
        ],
    )
    assert (trace.unattributed_us, trace.outside_us, trace.kernels_us) == (4, 1, 8)


def test_how_long_the_device_waits_for_the_host(tmp_path: Path) -> None:
    trace = read(
        tmp_path,
        [
            bar("ProfilerStep#1", 0, 40, "user_annotation"),
            bar("aten::mm", 2, 10),
            launch(5, 1),
            kernel(8, 6, 1),  # idle before: 0 to 8, of which 2 to 8 in an op
            bar("aten::item", 20, 15),  # busy nowhere, waits from 22 to 34
            bar("cudaStreamSynchronize", 22, 12, "cuda_runtime"),
            bar("ProfilerStep#2", 40, 10, "user_annotation"),
            bar("aten::mm", 40, 5),
            launch(41, 2),
            kernel(42, 20, 2),  # goes on after the step: it ends with its last kernel
        ],
    )
    first, second = (step.idle for step in trace.steps)
    assert first is not None
    assert second is not None
    assert (first.span_us, first.idle_us) == (40, 34)
    assert first.launching_us == pytest.approx((8 - 2) + (22 - 20) + (35 - 34))
    assert first.launch_bound_share == pytest.approx(9 / 40)
    assert first.idle_share == pytest.approx(34 / 40)
    assert (Idle(0.0, 0.0, 0.0).idle_share, Idle(0.0, 0.0, 0.0).launch_bound_share) == (0, 0)
    assert (second.span_us, second.idle_us, second.launching_us) == (22, 2, 2)


def test_a_device_of_an_unknown_kind_is_read_by_its_name(tmp_path: Path) -> None:
    trace = read(
        tmp_path,
        [
            bar("aten::add", 0, 5),
            bar("run", 1, 1, "mtia_runtime", args={"correlation": 5}),
            bar("fill", 10, 30, "mtia_ccp_events", args={"correlation": 5}, **GPU),
            bar("other", 50, 2, "mtia_ccp_events", args={"correlation": 6}, **GPU),
        ],
    )
    assert rows(trace) == [("aten::add", 30, 1)]
    assert trace.device == "mtia"
    assert trace.unread == (Unread("mtia_ccp_events", "mtia", 1, 2.0),)


def test_launches_say_which_device_it_is_where_kernels_do_not(tmp_path: Path) -> None:
    events = [bar("aten::add", 0, 5), launch(1, 1), kernel(10, 4, 1)]
    assert read(tmp_path, events).device == "gpu"
    events[1]["cat"] = "xpu_runtime"
    trace = read(tmp_path, events)
    assert (rows(trace), trace.device) == ([("aten::add", 4, 1)], "xpu")


def test_what_cannot_be_linked_is_named(tmp_path: Path) -> None:
    events = [
        bar("aten::add", 0, 5),
        bar("busy", 10, 30, "privateuse1_kernel", **GPU),
        bar("busy", 40, 10, "privateuse1_kernel", **GPU),
        bar("frame", 0, 90, "python_function", **GPU),  # no work of a device
    ]
    trace = read(tmp_path, events)
    assert rows(trace) == [("aten::add", 5, 1)]
    assert not trace.kernels
    assert trace.unread == (Unread("privateuse1_kernel", "privateuse1", 2, 40.0),)


def test_the_device_that_kernels_ran_on(tmp_path: Path) -> None:
    on = {"device": 1, "correlation": 1}
    copy = {"device": 1, "correlation": 2, "bytes": 4096}
    events = [
        bar("aten::add", 0, 5),
        launch(1, 1),
        launch(2, 2),
        bar("k", 10, 3, "kernel", args=on, **GPU),
        bar("Memcpy HtoD (Pageable -> Device)", 20, 4, "gpu_memcpy", args=copy, **GPU),
        bar("Memcpy DtoD (Device -> Device)", 30, 4, "gpu_memcpy", args=copy, **GPU),
    ]
    path = tmp_path / "trace.json"
    listed = [{"id": 0, "name": "A"}, {"id": 1, "name": "Tesla T4", "totalGlobalMem": 2**34}]
    path.write_text(json.dumps({"traceEvents": events, "deviceProperties": listed}))
    trace = read_trace(path)
    assert (trace.device, trace.product, trace.memory) == ("gpu", "Tesla T4", 2**34)
    assert [(c.to_device, c.bytes, c.duration_us) for c in trace.copies] == [(True, 4096, 4.0)]
    path.write_text(json.dumps({"traceEvents": events[:1], "deviceProperties": listed}))
    trace = read_trace(path)  # it lists what the machine has, not what was used
    assert (trace.device, trace.product, trace.memory) == ("cpu", "", None)


def test_bytes_that_an_op_reads(tmp_path: Path) -> None:
    args = {
        "Input Dims": [[2, 3], [4], [], [[1], [2]]],
        "Input type": ["c10::Half", "long int", "Scalar", "TensorList"],
    }
    (op,) = read(tmp_path, [bar("aten::add", 0, 5, args=args)]).ops
    assert op.read_bytes == (12, 32)


def test_an_xplane_file_is_refused_with_the_way_to_convert_it(tmp_path: Path) -> None:
    path = tmp_path / "vm.xplane.pb"
    path.write_bytes(b"\n\x05\0\0\0")
    with pytest.raises(FormatError, match=r"xspace_to_tool_data\(\['vm.xplane.pb'\], 'trace_vi"):
        read_trace(path)


@pytest.mark.skipif(not FILES.is_dir(), reason="the traces (../shared/data/files) are absent")
@pytest.mark.parametrize(
    ("name", "ops", "steps", "launch_bound"),
    [
        ("bert-small.h100.json.gz", 104, 1, 0.442),
        ("bert-small.mi300.json.gz", 104, 1, 0.461),
        ("resnet50.t4.json.gz", 224, 0, 0.587),
    ],
)
def test_traces_of_real_models(name: str, ops: int, steps: int, launch_bound: float) -> None:
    trace = read_trace(FILES / "traces" / name)
    assert (len(trace.ops), len(trace.steps)) == (ops, steps)
    assert trace.unattributed_us == trace.doubted == 0
    idle = trace.steps[0].idle if steps else trace.idle
    assert idle is not None
    assert idle.launch_bound_share == pytest.approx(launch_bound, abs=1e-3)


@pytest.mark.skipif(not FILES.is_dir(), reason="the traces (../shared/data/files) are absent")
@pytest.mark.parametrize(
    ("first", "second", "aligned", "speedup"),
    [
        ("bert-small.h100.json.gz", "bert-small.mi300.json.gz", 104, 0.7919),
        ("resnet50.cpu.json.gz", "resnet50.t4.json.gz", 224, 27.92),
        ("timeline_01.cpu.json", "timeline_01.gpu.json", 11, 183.8),
    ],
)
def test_pairs_of_real_models_are_aligned_wholly(
    first: str, second: str, aligned: int, speedup: float
) -> None:
    one, other = (read_trace(FILES / "traces" / name) for name in (first, second))
    found = compare(one.ops, other.ops)
    assert len(found.pairs) == aligned
    assert found.reference_coverage == found.other_coverage == 1
    assert found.speedup == pytest.approx(speedup, rel=1e-3)
