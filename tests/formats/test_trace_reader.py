"""Profilers' traces: outermost ops, kernels and who launched them, and nonsense by its name."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from talos_opt.core.errors import FormatError
from talos_opt.formats.chrome_trace import Trace, read_trace

Event = dict[str, Any]


def bar(name: str, ts: Any, dur: Any, cat: str = "cpu_op", **more: Any) -> Event:
    return {"ph": "X", "cat": cat, "name": name, "pid": 7, "tid": 7, "ts": ts, "dur": dur} | more


def read(folder: Path, events: list[Any], **more: Any) -> Trace:
    path = folder / "trace.json"
    path.write_text(json.dumps({"traceEvents": events}))
    return read_trace(path, **more)


def rows(trace: Trace) -> list[tuple[str, float, int]]:
    return [(op.name, op.duration_us, op.count) for op in trace.ops]


def test_only_outermost_ops_count(tmp_path: Path) -> None:
    trace = read(
        tmp_path,
        [
            bar("relu", 20, 5),
            bar("conv2d", 0, 10),
            bar("convolution", 1, 8),
            bar("mkldnn", 2, 7),  # ends with convolution
            bar("linear", 10, 10),  # starts where conv2d ends
            bar("addmm", 10, 10),  # spans linear exactly
            bar("step", 0, 100, "user_annotation"),
            bar("backward", 3, 4, tid=8),  # another thread
        ],
    )
    assert rows(trace) == [
        ("conv2d", 10, 1),
        ("backward", 4, 1),
        ("linear", 10, 1),
        ("relu", 5, 1),
    ]
    assert not trace.kernels
    assert trace.total_us == 29


def test_begins_and_ends(tmp_path: Path) -> None:
    common = {"pid": 1, "tid": 1, "cat": "Op"}
    events = [
        common | {"ph": "B", "name": "outer", "ts": 5},
        common | {"ph": "B", "name": "inner", "ts": 6},
        common | {"ph": "E", "ts": 8},
        common | {"ph": "E", "ts": 9},
    ]
    assert rows(read(tmp_path, events)) == [("outer", 4, 1)]
    with pytest.raises(FormatError, match=r"traceEvents\[1\]: 'inner' begins \(B\) and never"):
        read(tmp_path, [*events[:2], events[0] | {"ph": "E", "ts": 7, "tid": 2}][:2])
    with pytest.raises(FormatError, match=r"traceEvents\[0\]: an end \(E\) without a begin"):
        read(tmp_path, events[2:])
    with pytest.raises(FormatError, match="'outer' takes -1 us"):
        read(tmp_path, [events[0], events[3] | {"ts": 4}])


def test_kernels_count_for_the_op_that_launched_them(tmp_path: Path) -> None:
    gpu = {"pid": 0, "tid": 3}
    trace = read(
        tmp_path,
        [
            bar("conv2d", 0, 10, args={"External id": 1}),
            bar("cudnn", 1, 8, args={"External id": 2}),
            bar("view", 11, 1, args={"External id": 3}),
            bar("relu", 12, 4),  # no id: found by the time of its launch
            bar("launch", 2, 1, "cuda_runtime", args={"correlation": 51, "External id": 2}),
            bar("launch", 13, 1, "cuda_runtime", args={"correlation": 52}),
            # two streams at once: 20 to 60 is busy for 40, not for 55
            bar("k1", 20, 30, "kernel", args={"External id": 2, "correlation": 51}, **gpu),
            bar("k2", 35, 25, "kernel", args={"External id": 1}, **gpu | {"tid": 4}),
            bar("k3", 60, 7, "kernel", args={"correlation": 52, "External id": 0}, **gpu),
            bar("stray", 70, 3, "gpu_memcpy", args={"correlation": 99}, **gpu),
        ],
    )
    assert rows(trace) == [("conv2d", 40, 2), ("view", 0, 0), ("relu", 7, 1)]
    assert trace.kernels
    assert trace.unattributed_us == 3


def test_tensorflow_names_nodes_and_types(tmp_path: Path) -> None:
    events = [
        {"ph": "M", "name": "process_name", "pid": 1, "args": {"name": "/device:CPU:0 Compute"}},
        {"ph": "O", "cat": "Tensor", "name": "t", "id": 1, "pid": 2, "tid": 0, "ts": 0, "args": {}},
        bar("Conv2D", 0, 5, "Op", pid=1, args={"name": "net/conv1", "op": "Conv2D"}),
        bar("Relu", 5, 2, "Op", pid=1, args={"name": "net/relu1", "op": "Relu"}),
    ]
    (conv, relu) = read(tmp_path, events).ops
    assert (conv.name, conv.type, conv.process) == ("net/conv1", "Conv2D", "/device:CPU:0 Compute")
    assert relu.type == "Relu"


def test_events_without_categories_all_count(tmp_path: Path) -> None:
    plain = bar("mul", 0, 5)
    del plain["cat"]
    assert rows(read(tmp_path, [plain])) == [("mul", 5, 1)]


def test_backward_ops_have_types_without_autograds_prefix(tmp_path: Path) -> None:
    name = "autograd::engine::evaluate_function: ReluBackward0"
    (op,) = read(tmp_path, [bar(name, 0, 5)]).ops
    assert (op.name, op.type) == (name, "ReluBackward0")


def test_the_bare_list_may_lack_its_bracket(tmp_path: Path) -> None:
    path = tmp_path / "trace.json.gz"
    text = "[" + json.dumps(bar("mul", 0, 5)) + ",\n"
    path.write_bytes(gzip.compress(text.encode()))
    assert rows(read_trace(path)) == [("mul", 5, 1)]


def test_clocks_that_count_from_long_ago(tmp_path: Path) -> None:
    base = 4790357172823.458  # the float's last digit is worth 0.001 us
    events = [bar("a", base, 0.042), bar("b", base + 0.042, 1.5), bar("c", base + 1.541, 2.0)]
    assert rows(read(tmp_path, events)) == [("a", 0.042, 1), ("b", 1.5, 1), ("c", 2.0, 1)]


@pytest.mark.parametrize(
    ("events", "complaint"),
    [
        ([], "holds no ops"),
        ([bar("k", 0, 1, "kernel")], "holds no ops"),
        ([bar("a", 0, 0), bar("b", 1, 0)], r"all 2 ops take no time \(a, b\)"),
        ([bar("a", 0, -3)], r"traceEvents\[0\]: 'a' takes -3 us"),
        (
            [bar("a", 0, 10), bar("b", 5, 10)],
            r"traceEvents\[1\]: 'b' \(5.000 to 15.000 us\) overlaps 'a' \(0.000 to 10.000 us\)",
        ),
        ([bar("a", 0, 10), bar("b", 1, 8), bar("c", 5, 5)], "'c' .* overlaps 'b'"),
        ([bar("a", "soon", 1)], r"ts of 'a' is 'soon', expected a number"),
        ([bar("a", 0, None)], r"dur of 'a' is empty"),
        ([bar("a", float("nan"), 1)], "ts of 'a' is nan"),
        ([3], r"traceEvents\[0\]: is 3, expected an event"),
        ([bar("a", 0, 1), bar("b", 0, 1, pid=8)], "ops of 2 processes"),
    ],
)
def test_nonsense_is_refused_by_name(tmp_path: Path, events: list[Any], complaint: str) -> None:
    with pytest.raises(FormatError, match=complaint) as caught:
        read(tmp_path, events)
    assert str(caught.value).startswith(str(tmp_path / "trace.json"))


@pytest.mark.parametrize("text", ["{", "[{]", '{"a": 1}', '"text"', "[1", ""])
def test_what_is_no_trace_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "trace.json"
    path.write_text(text)
    with pytest.raises(FormatError, match=r"trace\.json"):
        read_trace(path)


def test_a_trace_of_torchs_profiler_is_read_back(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch", reason="torch is not installed")
    profiler = pytest.importorskip("torch.profiler")
    net = torch.nn.Sequential(
        torch.nn.Conv2d(3, 4, 3), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(144, 5)
    )
    image = torch.randn(1, 3, 8, 8)
    for name in ("trace.json", "trace.json.gz"):
        with profiler.profile(activities=[profiler.ProfilerActivity.CPU]) as run, torch.no_grad():
            net(image)
        path = tmp_path / name
        run.export_chrome_trace(str(path))
        trace = read_trace(path)
        names = [op.name for op in trace.ops]
        wanted = ["aten::conv2d", "aten::relu", "aten::flatten", "aten::linear"]
        assert [name for name in names if name in wanted] == wanted
        assert "aten::convolution" not in names  # conv2d calls it
        assert all(op.duration_us > 0 for op in trace.ops)
