"""Step stats and partition graphs, read from small ones that are written here."""

from __future__ import annotations

from typing import Any

import pytest

tf = pytest.importorskip("tensorflow", reason="needs talos-opt[tensorflow]")

from talos_opt.frameworks.tensorflow.stats import Send, read_runs, read_sends  # noqa: E402


def metadata() -> Any:
    return tf.compat.v1.RunMetadata()


def test_times_of_a_node_are_those_of_its_kernel() -> None:
    found = metadata()
    device = found.step_stats.dev_stats.add(device="/job:localhost/replica:0/task:0/device:CPU:0")
    device.node_stats.add(
        node_name="a", all_start_nanos=1000, op_start_rel_nanos=100, op_end_rel_nanos=400,
        all_end_rel_nanos=900,
    )  # fmt: skip
    device.node_stats.add(
        node_name="b", all_start_micros=2, op_start_rel_micros=1, op_end_rel_micros=4
    )
    runs = read_runs(found)
    assert (runs["a"].start_s, runs["a"].end_s) == pytest.approx((0.0, 3e-7))
    assert (runs["b"].start_s, runs["b"].end_s) == pytest.approx((1.9e-6, 4.9e-6))


def test_on_a_gpu_kernels_count_and_their_launch_does_not() -> None:
    found = metadata()
    gpu = found.step_stats.dev_stats.add(device="/device:GPU:0")
    gpu.node_stats.add(node_name="conv", all_start_nanos=1000, op_end_rel_nanos=50)
    stream = found.step_stats.dev_stats.add(device="/device:GPU:0/stream:all")
    for start, end in ((5000, 100), (5200, 300)):
        stream.node_stats.add(
            node_name="conv:Conv2D#id=1#", all_start_nanos=start, op_end_rel_nanos=end
        )
    runs = read_runs(found)
    assert set(runs) == {"conv"}
    assert runs["conv"].end_s - runs["conv"].start_s == pytest.approx(500e-9)


def test_memory_beyond_the_outputs_is_workspace() -> None:
    found = metadata()
    device = found.step_stats.dev_stats.add(device="/device:CPU:0")
    node = device.node_stats.add(node_name="a", all_start_nanos=1, op_end_rel_nanos=1)
    node.memory.add(peak_bytes=5000)
    for slot, size in ((2, 1000), (0, 24)):
        output = node.output.add(slot=slot).tensor_description.allocation_description
        output.requested_bytes, output.allocated_bytes = size, size + 24
    run = read_runs(found)["a"]
    assert (run.output_bytes, run.workspace_bytes) == ({0: 24, 2: 1000}, 5000 - 1072)


def test_sends_are_told_from_control_edges() -> None:
    found = metadata()
    graph = found.partition_graphs.add()
    for name in ("a:1", "a/b", "a/ctrl/_7", "^c"):
        node = graph.node.add(op="_Send", name=f"send/{name}", input=[name])
        node.attr["send_device"].s, node.attr["recv_device"].s = b"x", b"y"
    graph.node.add(op="_Recv", name="other")
    assert read_sends(found) == [
        Send("a", "x", "y", port=1), Send("a/b", "x", "y"), Send("a", "x", "y", True),
        Send("c", "x", "y"),
    ]  # fmt: skip
