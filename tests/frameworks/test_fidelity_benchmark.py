"""The benchmark of predicted times runs anywhere; what it finds is not judged here."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="torch is not installed")

ROOT = Path(__file__).resolve().parents[2]


def test_it_runs_each_placement_of_each_model(tmp_path: Path) -> None:
    target = tmp_path / "fidelity.json"
    done = subprocess.run(
        [
            sys.executable, "-m", "benchmarks.fidelity", "--small", "--framework", "torch",
            "--max-time", "0.3", "--time-limit", "0.3", "--repeats", "1", "--json", str(target),
        ],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = json.loads(target.read_text())
    assert len({row["model"] for row in found["rows"]}) == 2
    assert {row["placement"] for row in found["rows"]} == {"one", "chosen", "halves", "random"}
    for row in found["rows"]:
        assert row["equal"] == "yes"
        assert row["predicted ms"] >= row["makespan ms"] * (1 - 1e-9)
        assert row["measured ms"] > 0
        assert row["placement"] != "one" or row["transfers"] == 0
    assert "pairs in order" in found["settings"]["torch"]
