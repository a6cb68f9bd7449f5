"""``solve`` on an infeasible graph tells what would make it feasible."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from talos_opt.cli.main import main
from talos_opt.core.relaxations import Explanation, Relaxation, RelaxationKind
from talos_opt.core.result import Result, Status
from talos_opt.reports.texts.summary import summarise
from tests.builders import fig1

Capture = pytest.CaptureFixture[str]

GRAPH = """
schema: talos-graph/1
name: full
cluster: {devices: [{id: gpu0, kind: gpu, memory: 7}, {id: gpu1, kind: gpu, memory: 6}]}
ops:
  - {id: a, time: {gpu: 1}, memory: {weights: 4}, colocate: g}
  - {id: b, time: {gpu: 1}, memory: {weights: 4}, colocate: g}
"""


@pytest.fixture
def full(tmp_path: Path) -> Path:
    path = tmp_path / "full.yaml"
    path.write_text(GRAPH)
    return path


def test_the_changes_are_listed_for_a_person(capsys: Capture, full: Path) -> None:
    assert main(["solve", str(full)]) == 1
    captured = capsys.readouterr()
    assert captured.out.splitlines()[2:] == [
        "one of these changes makes it feasible:",
        "  give gpu0 1 more usable bytes (1 B), no less",
        "  give gpu1 2 more usable bytes (2 B), no less",
        "  allow colocation group 'g' on several devices",
    ]
    assert "To make it feasible: give gpu0 1 more usable bytes (1 B); or give gpu1" in captured.err


def test_the_document_holds_them(capsys: Capture, full: Path, tmp_path: Path) -> None:
    target = tmp_path / "answer.yaml"
    assert main(["solve", str(full), "--json", "-o", str(target)]) == 1
    document = json.loads(capsys.readouterr().out)
    first = {"kind": "memory", "device": "gpu0", "bytes": 1, "bytes_at_least": 1}
    assert document["relaxations"] == [first]
    assert document["single_changes"] == [
        first,
        {"kind": "memory", "device": "gpu1", "bytes": 2, "bytes_at_least": 2},
        {"kind": "colocation", "group": "g"},
    ]
    assert document["relaxations_smallest"] is True
    assert document["single_changes_complete"] is True
    assert "single_changes:" in target.read_text()


def told(explanation: Explanation) -> list[str]:
    result = Result(fig1(), Status.INFEASIBLE, None, math.inf, "mine", explanation=explanation)
    return summarise(result).splitlines()[2:]


def test_what_is_not_proven_is_said() -> None:
    memory = Relaxation(RelaxationKind.MEMORY, "gpu0", bytes=2048, bound=1024, least=False)
    route = Relaxation(RelaxationKind.ROUTE, "gpu0", "cpu0")
    pin = Relaxation(RelaxationKind.PIN, "m/a")
    assert told(Explanation((memory,), True, (memory,))) == [
        "one of these changes makes it feasible; there may be others:",
        "  give gpu0 2048 more usable bytes (2.00 KiB); at least 1.00 KiB are needed",
    ]
    assert told(Explanation((route, pin), True)) == [
        "these changes together make it feasible; no fewer do:",
        "  add a link from gpu0 to cpu0",
        "  unpin m/a",
    ]
    assert told(Explanation((route, pin), False))[0].endswith("; fewer may do:")
    assert str(Explanation((route, pin), True)) == "add a link from gpu0 to cpu0, and unpin m/a"
