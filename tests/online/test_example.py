"""What docs/online.md says of its worked examples, which run while the site is built."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from talos_opt.cli.main import main
from tests.cli.process import FIG1, ROOT

Capture = pytest.CaptureFixture[str]
PAGE = (ROOT / "docs" / "online.md").read_text()


def test_planning_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    assert "a weighted sum of completion times of 11.5\nms" in PAGE
    assert "two of six ops have started. The best that is left is 9 ms" in PAGE
    monkeypatch.chdir(tmp_path)
    for line in re.findall(r"^\$ talos-opt (solve .*)$", PAGE, re.MULTILINE):
        assert main(line.replace("models/fig1.yaml", str(FIG1)).split()) == 0
    running, again = (json.loads(Path(name).read_text()) for name in ("running.json", "again.json"))
    assert (running["value"], again["value"], again["status"]) == (11.5, 9, "optimal")
    assert sum(row["start"] < 1 for row in running["ops"]) == 2
    assert len(running["ops"]) == 6
    assert main(["check", str(FIG1), "again.json"]) == 0


def test_models_that_arrive(tmp_path: Path, capsys: Capture) -> None:
    trace = re.search(r"```yaml title=\"evening.yaml\"\n(.*?)```", PAGE, re.DOTALL)
    assert trace is not None
    path = tmp_path / "evening.yaml"
    path.write_text(trace[1].replace("models/fig1.yaml", str(FIG1)))
    assert main(["online", str(path), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    values = {row["policy"]: row["value"] for row in found["policies"]}
    assert found["clairvoyant"]["status"] == "optimal"
    assert found["clairvoyant"]["value"] <= values.pop("resolve") < min(values.values())
    assert set(values) == {"keep", "fifo", "talos"}
