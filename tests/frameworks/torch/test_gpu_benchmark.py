"""The benchmark of a CPU beside a GPU runs anywhere, and says what it left out."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")

from benchmarks import gpu, gpu_nets  # noqa: E402


def test_it_runs_with_or_without_a_gpu(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(gpu_nets, "small", lambda: SMALL[2:])
    target, traces = tmp_path / "gpu.json", tmp_path / "traces"
    limits = ["--small", "--max-time", "1", "--time-limit", "1"]
    command = ["gpu", *limits, "--json", str(target), "--traces", str(traces)]
    monkeypatch.setattr(sys, "argv", command)
    gpu.main()
    found = json.loads(target.read_text())
    assert len(found["rows"]) == 4
    for row in found["rows"]:
        assert row["error"] != "DIFFERS"
        assert row["measured ms"] > 0
        assert (row["measured MiB"] is not None) == (torch.cuda.is_available() and row["on GPU"])
    assert len(list(traces.iterdir())) == 4
    told = "torch finds no CUDA device here" in capsys.readouterr().out
    assert told is not torch.cuda.is_available()


SMALL = gpu_nets.small()


@pytest.mark.parametrize("case", SMALL, ids=[case.name for case in SMALL])
def test_its_models_are_the_same_whenever_they_are_made(case: gpu_nets.Case) -> None:
    with torch.no_grad():
        first, second = (case.make()(*case.inputs()) for _ in range(2))
    torch.testing.assert_close(first, second, rtol=0, atol=0)
