"""TensorFlow's traces by hand: timelines of GPUs, trace-viewer JSON, and what in them is no op."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from talos_opt.core.errors import FormatError
from talos_opt.formats.chrome_trace import Trace, read_trace

Event = dict[str, Any]

#: Processes of a timeline, with the numbers that it gives them: tensors have one in between.
TASK = "/job:localhost/replica:0/task:0/device:"
PLACES = {
    1: f"{TASK}CPU:0", 3: f"{TASK}GPU:0", 5: "/device:GPU:0/stream:all",
    7: "/device:GPU:0/stream:13", 9: "/device:GPU:0/memcpy", 11: "/host:CPU",
    13: f"{TASK}GPU:1", 15: "/device:GPU:1/stream:all",
}  # fmt: skip


def named(pid: int, name: str, tid: int | None = None) -> Event:
    kind = {"name": "process_name"} if tid is None else {"name": "thread_name", "tid": tid}
    return {"ph": "M", "pid": pid, "args": {"name": name}} | kind


def compute(pid: int, op: str, node: str, ts: int, dur: int, tid: int = 0) -> Event:
    args = {"name": node, "op": op}
    return {
        "ph": "X", "cat": "Op", "name": op, "pid": pid, "tid": tid, "ts": ts, "dur": dur,
        "args": args,
    }  # fmt: skip


def timeline(*events: Event, memory: bool = False) -> list[Event]:
    """Events with the processes that they are in, and what a timeline draws around them."""
    pids = dict.fromkeys(event["pid"] for event in events)
    rows = [named(pid, f"{PLACES[pid]} Compute") for pid in pids]
    rows += [named(pid + 1, f"{PLACES[pid]} Tensors") for pid in pids]
    flow = {"cat": "DataFlow", "name": "x", "pid": 1, "tid": 0, "ts": 4, "id": 0}
    rows += [{"ph": "s"} | flow, {"ph": "t"} | flow]
    if memory:
        tensor = {"cat": "Tensor", "name": "x", "pid": 2, "tid": 0, "ts": 3, "id": 0}
        rows += [named(0, "Allocators"), {"ph": "N"} | tensor, {"ph": "D"} | tensor]
        rows += [{"ph": "O", "args": {"snapshot": {"tensor_description": "dtype"}}} | tensor]
        counted = {"ph": "C", "cat": "Memory", "name": "cpu", "pid": 0, "tid": 0, "ts": 3}
        rows += [counted | {"args": {"cpu": 4096}}]
    return rows + list(events)


def span(pid: int, tid: int, name: str, ts: float, dur: float, **args: str) -> Event:
    """A complete event as the trace viewer has them: without a category."""
    return {"ph": "X", "pid": pid, "tid": tid, "name": name, "ts": ts, "dur": dur} | (
        {"args": args} if args else {}
    )


def viewer(*events: Event) -> list[Event]:
    """A file of the profiler's: it ends in an empty event."""
    return [*events, {}]


def read(folder: Path, events: list[Event], **more: Any) -> Trace:
    path = folder / "trace.json"
    path.write_text(json.dumps({"displayTimeUnit": "ns", "traceEvents": events}))
    return read_trace(path, **more)


def rows(trace: Trace) -> list[tuple[str, str, float]]:
    return [(op.name, op.type, op.duration_us) for op in trace.ops]


# ---- timelines -----------------------------------------------------------------------------


@pytest.mark.parametrize("memory", [False, True])
def test_what_waits_or_was_added_is_no_op(tmp_path: Path, memory: bool) -> None:
    trace = read(
        tmp_path,
        timeline(
            compute(1, "NoOp", "_SOURCE", 0, 1),
            compute(1, "_Arg", "_arg_x_0_0", 1, 3),
            compute(1, "Conv2D", "net/conv", 5, 80),
            compute(1, "RecvTensor", "RecvTensor", 6, 500, tid=1),
            compute(1, "_Recv", "net/far/_7", 7, 300, tid=2),
            compute(1, "Const", "net/conv/ctrl/_8", 86, 2),
            compute(1, "MatMul", "net/dense_1", 90, 20),
            compute(1, "_Send", "net/dense_1/_9", 111, 5),
            compute(1, "_Retval", "_retval_y_0_0", 117, 2),
            memory=memory,
        ),
    )
    assert rows(trace) == [("net/conv", "Conv2D", 80), ("net/dense_1", "MatMul", 20)]
    assert not trace.kernels


def gpu_step() -> list[Event]:
    """One step: launches on the host, kernels by stream and all together, copies twice."""
    return timeline(
        compute(1, "Identity", "feed", 0, 2),
        compute(3, "Conv2D", "net/conv", 10, 4),
        compute(3, "Reshape", "net/flat", 15, 1),
        compute(3, "MatMul", "net/dense", 17, 3),
        compute(5, "Conv2D", "net/conv", 14, 30),
        compute(5, "Conv2D", "net/conv", 30, 20, tid=1),  # beside the first until 44
        compute(5, "MatMul", "net/dense", 60, 9),
        compute(5, "unknown", "memset", 70, 5),  # nobody's
        compute(7, "Conv2D", "net/conv", 14, 30),
        compute(7, "MatMul", "net/dense", 60, 9),
        compute(9, "MEMCPYHtoD", "feed", 3, 8),
        compute(11, "Conv2D", "net/conv", 10, 4),
        compute(13, "Relu", "net/relu", 80, 2),
        compute(15, "Relu", "net/relu", 90, 7),
    )


def test_kernels_are_the_time_of_a_gpus_ops(tmp_path: Path) -> None:
    trace = read(tmp_path, gpu_step(), process="GPU:0")
    assert rows(trace) == [
        ("net/conv", "Conv2D", 36),  # 14 to 50
        ("net/flat", "Reshape", 0),
        ("net/dense", "MatMul", 9),
    ]
    assert [op.count for op in trace.ops] == [2, 0, 1]
    assert trace.kernels
    assert trace.unattributed_us == 5
    other = read(tmp_path, gpu_step(), process="GPU:1")
    assert rows(other) == [("net/relu", "Relu", 7)]
    assert other.unattributed_us == 0


def test_the_cpu_of_the_same_step_has_no_kernels(tmp_path: Path) -> None:
    trace = read(tmp_path, gpu_step(), process="CPU:0")
    assert rows(trace) == [("feed", "Identity", 2)]
    assert not trace.kernels


def test_only_devices_are_offered(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match=r"holds ops of 3 processes") as caught:
        read(tmp_path, gpu_step())
    assert "stream" not in str(caught.value)
    assert "/host:CPU" not in str(caught.value)


def test_kernels_go_to_the_last_launch_of_their_node(tmp_path: Path) -> None:
    trace = read(
        tmp_path,
        timeline(
            compute(3, "MatMul", "net/dense", 10, 3),
            compute(3, "MatMul", "net/dense", 50, 3),
            compute(5, "MatMul", "net/dense", 9, 5),  # clocks differ a little: the first one's
            compute(5, "MatMul", "net/dense", 60, 7),
        ),
    )
    assert [op.duration_us for op in trace.ops] == [5, 7]


def test_kernels_alone_are_ops(tmp_path: Path) -> None:
    trace = read(tmp_path, timeline(compute(5, "MatMul", "net/dense", 10, 5)))
    assert rows(trace) == [("net/dense", "MatMul", 5)]
    assert not trace.kernels


# ---- trace viewer --------------------------------------------------------------------------

HOST = (
    named(701, "/host:CPU"),
    named(701, "python", 1),
    named(701, "tf_Compute/42", 2),
    span(701, 1, "train 3", 0, 900, step_num="3", group_id="0"),
    span(701, 1, "$model.py:12 call", 1, 800),
    span(701, 1, "EagerLocalExecute: MatMul", 5, 90),
    span(701, 1, "Iterator::Batch::Map", 100, 50, long_name="Iterator::Root::Batch::Map"),
    span(701, 2, "ExecutorState::Process", 10, 300, id="1"),
    span(701, 2, "Conv2D", 12, 200, long_name="net/conv:Conv2D"),
    span(701, 2, "net/conv/kernel:ReadVariableOp", 15, 3),  # within the convolution
    span(701, 2, "_Recv", 215, 40, long_name="net/far/_3:_Recv"),
    span(701, 2, "net/dense:MatMul", 260, 40),
)
GPU = (
    named(1, "/device:GPU:0"),
    named(1, "Stream #13(Compute,MemcpyD2D)", 13),
    named(1, "Steps", 101),
    named(1, "TensorFlow Name Scope", 102),
    named(1, "TensorFlow Ops", 103),
    named(1, "XLA Modules", 104),
    named(1, "Launch Stats", 106),
    span(1, 13, "volta_sgemm_128x64_nn", 400, 30, correlation_id="7"),
    span(1, 13, "volta_scudnn_winograd", 500, 90),
    span(1, 101, "3", 400, 500),
    span(1, 102, "net", 400, 190),
    span(1, 103, "Conv2D", 400, 30, long_name="net/conv:Conv2D"),
    span(1, 103, "MatMul", 500, 90, long_name="net/dense:MatMul"),
    span(1, 106, "Launch Stats for 3", 12, 300, num_launches="2"),
)
TPU = (
    named(2, "host-1 /device:TPU:0"),
    named(2, "XLA Modules", 1),
    named(2, "XLA Ops", 2),
    span(2, 1, "cluster_1(42)", 0, 70),
    span(2, 2, "fusion.12", 0, 40, long_name="%fusion.12 = ...", tf_op="net/conv:Conv2D"),
    span(2, 2, "copy-done.3", 41, 5, long_name="%copy-done.3 = ..."),
    span(2, 2, "recv-done.1", 46, 4, long_name="%recv-done.1 = ..."),
    span(2, 2, "multiply_fusion.clone.1", 50, 20, hlo_category="loop fusion"),
)


def test_ops_among_all_that_the_host_does(tmp_path: Path) -> None:
    trace = read(tmp_path, viewer(*HOST))
    assert rows(trace) == [("net/conv", "Conv2D", 200), ("net/dense", "MatMul", 40)]
    assert {op.process for op in trace.ops} == {"/host:CPU"}


def test_an_accelerators_ops_come_before_their_launches(tmp_path: Path) -> None:
    events = viewer(*HOST, *GPU)
    trace = read(tmp_path, events)
    assert rows(trace) == [("net/conv", "Conv2D", 30), ("net/dense", "MatMul", 90)]
    assert {op.process for op in trace.ops} == {"/device:GPU:0"}
    assert rows(read(tmp_path, events, process="/host:CPU"))[0] == ("net/conv", "Conv2D", 200)
    assert rows(read(tmp_path, events, process="GPU:0")) == rows(trace)


def test_ops_of_xla(tmp_path: Path) -> None:
    trace = read(tmp_path, viewer(*TPU))
    assert rows(trace) == [
        ("net/conv", "Conv2D", 40),  # the op that it was compiled from
        ("copy-done.3", "copy-done", 5),
        ("multiply_fusion.clone.1", "multiply_fusion", 20),
    ]


def test_one_row_of_ops_counts(tmp_path: Path) -> None:
    both = [*GPU, named(1, "XLA Ops", 105), span(1, 105, "fusion.1", 400, 30)]
    assert [op.type for op in read(tmp_path, viewer(*both)).ops] == ["Conv2D", "MatMul"]


def test_several_accelerators_must_be_told_apart(tmp_path: Path) -> None:
    events = viewer(*HOST, *GPU, *TPU)
    with pytest.raises(FormatError, match=r"ops of 2 processes .1 '/device:GPU:0', 2 'host-1"):
        read(tmp_path, events)
    assert len(read(tmp_path, events, process="TPU:0").ops) == 3


def test_an_accelerator_without_rows_of_ops(tmp_path: Path) -> None:
    kernels = [event for event in GPU if event.get("tid") in (None, 13)]
    events = viewer(*HOST, *kernels)
    with pytest.raises(FormatError, match=r"'/device:GPU:0' has no ops, only rows such as 'Stream"):
        read(tmp_path, events)
    assert len(read(tmp_path, events, process="host").ops) == 2


def test_what_runs_eagerly_is_not_named(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match=r"no ops of TensorFlow's, expected .* runs eagerly"):
        read(tmp_path, viewer(*HOST[:6]))


def test_other_traces_are_left_alone(tmp_path: Path) -> None:
    """Events of torch.profiler have categories, and its processes other names."""
    event = span(7, 7, "aten::mm", 0, 5) | {"cat": "cpu_op"}
    assert rows(read(tmp_path, [named(7, "python"), event])) == [("aten::mm", "aten::mm", 5)]
    device = named(0, "/device:0 (made up)")
    assert rows(read(tmp_path, [device, event])) == [("aten::mm", "aten::mm", 5)]


# ---- log folders ---------------------------------------------------------------------------


def logged(folder: Path, run: str, host: str, *events: Event) -> Path:
    path = folder / "plugins" / "profile" / run / f"{host}.trace.json.gz"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(json.dumps({"traceEvents": viewer(*events)}).encode()))
    return path


def test_the_latest_run_of_a_log_folder(tmp_path: Path) -> None:
    logged(tmp_path, "2024_01_31_10_00_00", "a", *TPU)
    last = logged(tmp_path, "2024_02_01_09_00_00", "a", *HOST)
    for source in (tmp_path, last.parent, last):
        trace = read_trace(source)
        assert trace.source == str(last)
        assert [op.name for op in trace.ops] == ["net/conv", "net/dense"]
    logged(tmp_path, "2024_02_01_09_00_00", "b", *HOST)
    with pytest.raises(FormatError, match=r"traces of 2 hosts, .*a\.trace\.json\.gz, b\.trace"):
        read_trace(tmp_path)


def test_a_folder_without_traces(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match=r"is a folder without plugins/profile.*gz$"):
        read_trace(tmp_path)
    (tmp_path / "vm.xplane.pb").write_bytes(b"\n")
    with pytest.raises(FormatError, match=r"vm\.xplane\.pb is not JSON; xprof\.convert.*: see doc"):
        read_trace(tmp_path)
