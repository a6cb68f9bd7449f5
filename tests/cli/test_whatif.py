"""``talos-opt whatif`` with a schedule, and the same in a report."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from talos_opt.cli.main import main
from tests.cli.process import FIG1
from tests.reports.pages import data_of

Capture = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def schedule(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("fig1") / "schedule.json"
    assert main(["solve", str(FIG1), "--solver", "sequential", "-o", str(path)]) == 0
    return path


def test_changes_are_listed_with_their_gains(schedule: Path, capsys: Capture) -> None:
    capsys.readouterr()
    assert main(["whatif", str(FIG1), str(schedule), "--solver", "dp"]) == 0
    text = capsys.readouterr().out
    assert text.startswith(
        "toct 18.5 ms (weighted sum of completion times); "
        "as it is, searched for as long, 9 ms, bound 9 ms\n"
    )
    assert "searched for 10 s" in text
    rows = text.splitlines()[3:]
    assert rows[0].split() == ["change", "what", "speaks", "for", "it", "toct", "bound", "gain",
                               "share"]  # fmt: skip
    assert any(row.startswith("one more gpu ") for row in rows)
    assert main(["whatif", str(FIG1), str(schedule), "--solver", "dp", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["given"], told["value"], told["seconds"]) == (18.5, 9.0, 10.0)
    assert len(told["changes"]) == len(rows) - 1
    assert all(row["value"] <= row["before"] for row in told["changes"])


def test_a_schedule_does_not_go_with_cards(schedule: Path, capsys: Capture) -> None:
    capsys.readouterr()
    assert main(["whatif", str(FIG1), str(schedule), "--add", "a100"]) == 2
    assert "leave out them or the schedule" in capsys.readouterr().err
    assert main(["whatif", str(FIG1), str(schedule), "-o", "x.yaml"]) == 2
    assert "--output goes with --add or --replace" in capsys.readouterr().err
    assert not Path("x.yaml").exists()


def test_a_report_shows_what_would_help(schedule: Path, tmp_path: Path) -> None:
    target = tmp_path / "report.html"
    argv = ["report", str(FIG1), str(schedule), "-o", str(target), "--whatif", "0.2"]
    assert main(argv) == 0
    changes = data_of(target)["changes"]
    assert changes["seconds"] == 0.2
    assert changes["changes"]
