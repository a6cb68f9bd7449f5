"""A graph from a trace of torch.profiler, and the execution trace of the same run."""

from __future__ import annotations

from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")
profiler = pytest.importorskip("torch.profiler")

from talos_opt.frameworks.common.traced import profile_traces  # noqa: E402


def test_traces_of_torch_and_their_execution_trace(tmp_path: Path) -> None:
    weight = torch.randn(16, 8, requires_grad=True)
    observer = profiler.ExecutionTraceObserver().register_callback(str(tmp_path / "et.json"))

    def step() -> None:
        hidden = torch.randn(4, 16) @ weight
        (hidden.relu() + hidden.tanh()).sum().backward()

    path = tmp_path / "cpu.json"
    with profiler.profile(
        activities=[profiler.ProfilerActivity.CPU], execution_trace_observer=observer
    ) as run:
        step()
    run.export_chrome_trace(str(path))
    profile = profile_traces([path], flow=tmp_path / "et.json")
    reads = {item.id: {read.op for read in item.inputs} for item in profile.ops}
    assert reads["relu"] == reads["tanh"] == {"matmul"}
    assert reads["add"] == {"relu", "tanh"}
    assert {"threshold_backward", "tanh_backward", "mm"} <= set(reads)  # the backward pass apart
    assert all(not t.estimated for item in profile.ops for t in item.timings.values())
