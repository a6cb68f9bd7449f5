"""``profile llm`` and ``fit``: clusters of one's own, buffers of devices, measured speeds."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from talos_opt.cli.main import main
from talos_opt.core.problem import Problem
from talos_opt.formats import read_problem
from tests.frameworks.llm.files import dense_rows, metadata, write_config, write_gguf

Capture = pytest.CaptureFixture[str]

CLUSTER: dict[str, Any] = {
    "devices": [{"id": "gpu0", "kind": "gpu", "memory": "10MiB"},
                {"id": "gpu1", "kind": "gpu", "memory": "20MiB", "memory_fraction": 0.5},
                {"id": "cpu", "kind": "cpu"}],
    "links": [{"between": ["gpu", "cpu"], "latency": 7, "bandwidth": "10GB/s"},
              {"between": ["gpu", "gpu"], "via": "cpu"}],
}  # fmt: skip


def profiled(folder: Path, *more: str) -> Problem:
    """The graph of a model of one sixth of a megabyte."""
    write_config(folder)
    graph = folder / "graph.yaml"
    assert main(["profile", "llm", str(folder), "--context", "64", "-o", str(graph), *more]) == 0
    return read_problem(str(graph))


def with_cluster(folder: Path, *more: str, cluster: dict[str, Any] = CLUSTER) -> Problem:
    (folder / "cluster.json").write_text(json.dumps(cluster))
    return profiled(folder, "--cluster", str(folder / "cluster.json"), *more)


def test_a_cluster_has_the_devices_and_links(tmp_path: Path) -> None:
    """Its memory counts unless another is stated; a hop is made for each chunk, and waits so."""
    problem = with_cluster(
        tmp_path, "--phase", "prefill", "--prompt", "64", "--chunk", "16", "--reserve",
        "gpu0=1MiB,0", "--devices", "gpu1=6MiB:rtx-4090,gpu0=90GB/s:1TFLOPS,cpu=ryzen-7950x",
    )  # fmt: skip
    assert [device.usable_memory for device in problem.cluster.devices] == [9 << 20, 3 << 20, None]
    assert problem.cluster.links is not None
    first, second = problem.cluster.links
    assert (first.latency, first.bandwidth) == (4 * 7, 10e9)
    assert second.via == "cpu"
    fraction = with_cluster(tmp_path, "--devices", "gpu1=rtx-4090,gpu0=90GB/s",
                            "--memory-fraction", "0.25")  # fmt: skip
    assert [d.usable_memory for d in fraction.cluster.devices] == [10 << 18, 20 << 18, None]


def test_devices_of_a_cluster_are_known_by_their_names(tmp_path: Path) -> None:
    cluster = {"devices": [{"id": "rtx-3090", "kind": "gpu"}, {"id": "b", "kind": "rtx-4090"}]}
    problem = with_cluster(tmp_path, cluster=cluster)
    assert [d.memory for d in problem.cluster.devices] == [24 << 30, 24 << 30]
    assert problem.cluster.links is None
    slow, fast = (sum(op.time[name] for op in problem.ops) for name in ("rtx-3090", "b"))
    assert slow > fast


def test_buffers_of_single_devices(tmp_path: Path) -> None:
    """The least is the workspace of ops; what others need beyond it is taken off their memory."""
    devices = ("--devices", "a=10MiB:90GB/s,b=10MiB:90GB/s,cpu")
    problem = profiled(tmp_path, *devices, "--buffer", "a=3MiB,1MiB")
    assert {op.memory.workspace for op in problem.ops} == {1 << 20}
    assert [d.usable_memory for d in problem.cluster.devices] == [8 << 20, 10 << 20, None]
    same = profiled(tmp_path, *devices, "--buffer", "1MiB")
    assert {op.memory.workspace for op in same.ops} == {1 << 20}
    assert [d.usable_memory for d in same.cluster.devices] == [10 << 20, 10 << 20, None]
    estimate = max(op.memory.workspace for op in profiled(tmp_path, *devices).ops)
    mixed = profiled(tmp_path, *devices, "--buffer", "b=64KiB")
    assert {op.memory.workspace for op in mixed.ops} == {64 << 10}
    assert mixed.cluster.devices[0].usable_memory == (10 << 20) - estimate + (64 << 10)


def test_a_device_that_its_buffer_fills_is_left_out(tmp_path: Path, capsys: Capture) -> None:
    """Buffers of GGUF files grow with the context: b, without one of its own, is soon too small."""
    total = write_gguf(tmp_path / "m.gguf", metadata(2), dense_rows(2))
    argv = ["fit", str(tmp_path), "--devices", f"a={total * 100}B:9GB/s,b={total}B:9GB/s",
            "--buffer", "a=1KiB", "--json"]  # fmt: skip
    assert main(argv) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["largest"] == 32768
    assert found["memory"]["b"] == 0


def test_speeds_that_were_measured(tmp_path: Path, capsys: Capture) -> None:
    """Half of the bandwidth makes times twice as long, and the graph says so."""
    devices = ("--devices", "a=90GB/s,b=80GB/s")
    whole = profiled(tmp_path, *devices)
    (tmp_path / "m.json").write_text(json.dumps({"measurements": [
        {"layers": "a", "context": 64,
         "tokens_per_second": 1e6 / 2 / sum(op.time["a"] for op in whole.ops)}]}))  # fmt: skip
    capsys.readouterr()
    calibrated = ("--calibrate", str(tmp_path / "m.json"))
    slowed = profiled(tmp_path, *devices, *calibrated)
    for op, before in zip(slowed.ops, whole.ops, strict=True):
        assert op.time["a"] == pytest.approx(2 * before.time["a"])
        assert op.time["b"] == pytest.approx(before.time["b"])
    assert "a: measured to reach 0.5 of its bandwidth" in slowed.graph.description
    shown = capsys.readouterr().out
    assert "0.5 (was 1)" in shown
    assert "predicted times are off by +0.0 %" in shown
    profiled(tmp_path, *devices, *calibrated, "--json")
    found = json.loads(capsys.readouterr().out)["calibration"]["efficiencies"]
    assert found["a"]["bandwidth"] == pytest.approx(0.5)
    assert found["b"] == {"bandwidth": None, "compute": None}
    assert main(["fit", str(tmp_path), *devices, *calibrated, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["calibration"]["efficiencies"] == found


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--cluster", "cluster.json"], "nothing says how fast 'gpu0' of the cluster is"),
        (["--cluster", "cluster.json", "--devices", "gpu9=l4"],
         "the cluster has no device 'gpu9', it has gpu0, gpu1, cpu: name the one that is meant, as "
         "in gpu0=l4"),
        (["--cluster", "cluster.json", "--devices", "x=90GB/s"], "as in gpu0=36GB:264.4GB/s"),
        (["--cluster", "none.json"], "none.json: does not exist"),
        (["--devices", "cpu", "--buffer", "gpu0=1GiB"], "buffer names the unknown device 'gpu0'"),
        (["--devices", "a=1GiB:9GB/s", "--buffer", "a=2GiB,0"],
         "the buffer of a is 2.00 GiB, expected at most its memory, 1.00 GiB"),
        (["--devices", "cpu", "--calibrate", "none.yaml"], "none.yaml: does not exist"),
        (["--cluster", "apart.json", "--devices", "a=9GB/s,b=9GB/s", "--calibrate", "m.json"],
         "measurements[0]: the cluster has no route from a to b"),
    ],
)  # fmt: skip
def test_bad_clusters_buffers_and_measurements(
    tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch, more: list[str], message: str
) -> None:
    monkeypatch.chdir(write_config(tmp_path))
    Path("cluster.json").write_text(json.dumps(CLUSTER))
    apart = {"devices": [{"id": "a", "kind": "gpu"}, {"id": "b", "kind": "gpu"}], "links": []}
    Path("apart.json").write_text(json.dumps(apart))
    Path("m.json").write_text(json.dumps({"measurements": [
        {"layers": {"a": "0-1", "b": "2-3"}, "context": 9, "tokens_per_second": 99}]}))  # fmt: skip
    assert main(["profile", "llm", ".", "--context", "64", *more]) == 2
    assert message in capsys.readouterr().err
