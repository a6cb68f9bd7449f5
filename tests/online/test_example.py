"""The worked examples of docs/online.md come out as they stand there."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from talos_opt.cli.main import main
from tests.cli.process import FIG1

Capture = pytest.CaptureFixture[str]
PAGE = Path("docs/online.md").read_text()


def test_planning_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    shown = re.search(r"```text\n(at 1 ms: .*?)\n```", PAGE, re.DOTALL)
    assert shown is not None
    monkeypatch.chdir(tmp_path)
    for line in re.findall(r"^\$ talos-opt (solve .*)$", PAGE, re.MULTILINE):
        assert main(line.replace("models/fig1.yaml", str(FIG1)).split()) == 0
    assert shown[1] in capsys.readouterr().out
    assert main(["check", str(FIG1), "again.json"]) == 0


def test_models_that_arrive(tmp_path: Path, capsys: Capture) -> None:
    trace = re.search(r"```yaml title=\"evening.yaml\"\n(.*?)```", PAGE, re.DOTALL)
    assert trace is not None
    path = tmp_path / "evening.yaml"
    path.write_text(trace[1].replace("models/fig1.yaml", str(FIG1)))
    assert main(["online", str(path), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    shown = {
        row[1]: float(row[2])
        for row in re.finditer(r"^(resolve|keep|fifo|talos|all known) +([\d.]+) ms", PAGE, re.M)
    }
    values = {row["policy"]: row["value"] for row in found["policies"]}
    # Of plans of equal value `resolve` may follow another, and meet the urgent model otherwise.
    assert shown.pop("all known") == found["clairvoyant"]["value"] <= values.pop("resolve")
    assert shown.pop("resolve") < min(values.values())
    assert found["clairvoyant"]["status"] == "optimal"
    assert shown == values
