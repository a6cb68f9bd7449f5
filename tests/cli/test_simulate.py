"""``simulate``: what is printed and written, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from talos_opt.cli.main import main
from tests.cli.process import FIG1

Capture = pytest.CaptureFixture[str]


def simulate(*argv: object) -> int:
    return main(["simulate", *map(str, argv)])


@pytest.fixture
def two(tmp_path: Path, capsys: Capture) -> tuple[Path, Path]:
    """The optimum of Fig. 1 (9) and what ASWM makes of it (12.5)."""
    paths = tmp_path / "best.json", tmp_path / "aswm.json"
    assert main(["solve", str(FIG1), "-o", str(paths[0])]) == 0
    assert main(["solve", str(FIG1), "--solver", "aswm", "-o", str(paths[1])]) == 0
    capsys.readouterr()
    return paths


def test_the_tables_tell_value_spread_risk_and_who_wins(
    capsys: Capture, two: tuple[Path, Path]
) -> None:
    assert simulate(FIG1, *two, "--samples", 200) == 0
    text = capsys.readouterr().out
    lines = text.splitlines()
    assert lines[0] == (
        "fig1: toct (weighted sum of completion times) with op times varied by 20 %; "
        "200 samples, seed 0"
    )
    assert lines[3].split()[:3] == [str(two[0]), "9", "ms"]
    assert lines[4].split()[:3] == [str(two[1]), "12.5", "ms"]
    assert "> +10 %" in text
    assert f"against {two[0]}" in text
    assert lines[-1].startswith(f"{two[1]}")
    assert "0 % (0 % to 1.88 %)" in lines[-1]


def test_one_schedule_is_compared_with_none(capsys: Capture, two: tuple[Path, Path]) -> None:
    assert simulate(FIG1, two[0], "--samples", 20, "--transfer-noise", "10%") == 0
    out = capsys.readouterr().out
    assert "against" not in out
    assert "transfers 10 %" in out


def test_json_holds_the_same_and_the_file_too(
    capsys: Capture, two: tuple[Path, Path], tmp_path: Path
) -> None:
    target = tmp_path / "noise.yaml"
    argv = (FIG1, *two, "--samples", 50, "--seed", 3, "--noise", "0.1", "--json", "-o", target)
    assert simulate(*argv) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["schema"] == "talos-sensitivity/1"
    assert (document["noise"], document["samples"], document["seed"]) == (0.1, 50, 3)
    best, aswm = document["schedules"]
    assert (best["announced"], aswm["announced"]) == (9, 12.5)
    assert best["min"] <= best["quantiles"]["0.05"] <= best["mean"] <= best["max"]
    assert document["against_first"][0]["wins"] == 0
    assert target.read_text().startswith("schema: talos-sensitivity/1")
    again = simulate(*argv)
    assert again == 0
    assert json.loads(capsys.readouterr().out) == document


def test_the_objective_is_the_first_schedules_own(
    capsys: Capture, two: tuple[Path, Path], tmp_path: Path
) -> None:
    fast = tmp_path / "fast.json"
    assert main(["solve", str(FIG1), "--objective", "makespan", "-o", str(fast)]) == 0
    capsys.readouterr()
    assert simulate(FIG1, fast, "--json", "--samples", 5) == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["objective"], document["schedules"][0]["announced"]) == ("makespan", 4.5)
    assert simulate(FIG1, fast, "--objective", "bottleneck", "--json", "--samples", 5) == 0
    assert json.loads(capsys.readouterr().out)["objective"] == "bottleneck"


def test_a_picture_is_drawn(capsys: Capture, two: tuple[Path, Path], tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    picture = tmp_path / "noise.svg"
    assert simulate(FIG1, *two, "--samples", 20, "--plot", picture) == 0
    assert "<svg" in picture.read_text()
    assert simulate(FIG1, *two, "--plot", tmp_path / "noise.txt") == 2
    assert "suffix '.txt' is unknown" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("argv", "complaint"),
    [
        (["--noise", "-1"], "'-1' is not a share from 0 to 100"),
        (["--noise", "much"], "'much' is not a share"),
        (["--samples", "0"], "'0' is not a whole number of at least 1"),
        (["-o", "noise.txt"], "suffix '.txt' is unknown"),
        (["--plot", "noise.png.gz"], "suffix '.gz' is unknown"),
        (["-o", "nowhere/noise.json"], "there is no folder"),
    ],
)
def test_bad_arguments(
    capsys: Capture, two: tuple[Path, Path], argv: list[str], complaint: str
) -> None:
    assert simulate(FIG1, two[0], *argv) == 2
    captured = capsys.readouterr()
    assert complaint in captured.err
    assert captured.out == ""


def test_schedules_that_do_not_fit(capsys: Capture, two: tuple[Path, Path], tmp_path: Path) -> None:
    broken = tmp_path / "broken.json"
    document = json.loads(two[0].read_text())
    document["ops"][0]["start"] += 1
    document["ops"][0]["end"] += 1
    broken.write_text(json.dumps(document))
    for argv, complaint in (
        ((FIG1, two[0], two[0]), f"{two[0]}: the schedule is given twice"),
        ((FIG1, two[0], "-"), "a schedule must be a file"),
        ((FIG1, two[0], broken), f"{broken}: the schedule is not feasible, expected one that is: "),
        ((FIG1, tmp_path / "none.json"), "none.json"),
    ):
        assert simulate(*argv) == 2
        assert complaint in capsys.readouterr().err
