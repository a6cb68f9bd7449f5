"""The benchmark of a CPU beside a GPU runs anywhere, and says what it left out."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")

ROOT = Path(__file__).resolve().parents[3]


def test_it_runs_with_or_without_a_gpu(tmp_path: Path) -> None:
    target, traces = tmp_path / "gpu.json", tmp_path / "traces"
    done = subprocess.run(
        [
            sys.executable, "-m", "benchmarks.gpu", "--small", "--only", "two branches",
            "--max-time", "0.3", "--time-limit", "0.5",
            "--json", str(target), "--traces", str(traces),
        ],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = json.loads(target.read_text())
    assert {row["model"] for row in found["rows"]} == {"two branches"}
    for row in found["rows"]:
        assert row["error"] != "DIFFERS"
        assert row["measured ms"] > 0
        assert (row["measured MiB"] is not None) == (torch.cuda.is_available() and row["on GPU"])
    assert len(list(traces.iterdir())) == len(found["rows"]) == 4
    told = "torch finds no CUDA device here" in done.stderr
    assert told is not torch.cuda.is_available()
